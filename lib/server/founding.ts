/**
 * How a cluster comes to be (ARCHITECTURE.md, "How a cluster is founded"): in two steps, so that no two groups of nodes can found different clusters.
 *
 * ```text
 *   open    ---- all nodes seen, their lists agree --------> pinned   members and incarnations are on this disk
 *   pinned  ---- all nodes are pinned to the same members --> founded  the members are the first entry of the log
 * ```
 *
 * A node that sees another one further on follows it. A pinned list that names another incarnation of this
 * node means that its folder was lost since: whoever had that incarnation may have voted and acknowledged.
 *
 * @module
 */

import { clusterIdOf, type Hello } from "../protocol/peer_protocol.ts";
import type { Member, NodeId } from "../raft/types.ts";

/** What a node knows about the founding, from its folder and the hellos of its peers. */
export interface FoundingView {
  self: { nodeId: NodeId; incarnation: string };
  /** As told on the command line, sorted by id. */
  cluster: readonly { id: NodeId; address: string }[];
  /** The members that this node has pinned, or null. */
  pinned: readonly Member[] | null;
  /** Latest hellos of the peers that are connected. */
  hellos: ReadonlyMap<NodeId, Hello>;
}

/** What to do next. */
export type FoundingStep =
  | { do: "wait"; for: NodeId[]; because: "unseen" | "unpinned" }
  | { do: "pin"; members: Member[] }
  | { do: "found" }
  | { do: "stop"; message: string };

/** Decides the next step of a node that is not yet founded. */
export function nextFoundingStep(view: FoundingView): FoundingStep {
  const { self, cluster, hellos } = view;
  const peers = cluster.map((node) => node.id).filter((id) => id !== self.nodeId);
  if (view.pinned === null) {
    for (const hello of hellos.values()) {
      if (hello.members === null) continue;
      const problem = lostIncarnation(self, hello);
      if (problem !== null) return { do: "stop", message: problem };
      const isWhole = clusterIdOf(hello.members) === hello.clusterId; // whom it refuses, it shows only a part
      if (isWhole && namesSame(hello.members, cluster)) return { do: "pin", members: hello.members };
    }
    const unseen = peers.filter((id) => !hellos.has(id));
    if (unseen.length > 0) return { do: "wait", for: unseen, because: "unseen" };
    const incarnationOf = (id: NodeId) => id === self.nodeId ? self.incarnation : hellos.get(id)!.incarnation;
    return {
      do: "pin",
      members: cluster.map(({ id, address }) => ({ id, address, incarnation: incarnationOf(id) })),
    };
  }
  const { pinned } = view;
  const clusterId = clusterIdOf(pinned);
  for (const hello of hellos.values()) {
    if (hello.clusterId !== null && hello.clusterId !== clusterId) {
      const message = hello.founded ? foreignCluster(hello) : differentPins(self.nodeId, hello.nodeId);
      return { do: "stop", message };
    }
    if (hello.founded) return { do: "found" }; // then all were pinned once
  }
  const others = pinned.map((member) => member.id).filter((id) => id !== self.nodeId);
  const unpinned = others.filter((id) => hellos.get(id)?.clusterId !== clusterId);
  return unpinned.length > 0 ? { do: "wait", for: unpinned, because: "unpinned" } : { do: "found" };
}

/** Whether two lists name the same nodes. */
export function namesSame(a: readonly { id: NodeId }[], b: readonly { id: NodeId }[]): boolean {
  const ids = (nodes: readonly { id: NodeId }[]) => nodes.map((node) => node.id).sort((x, y) => x - y).join();
  return ids(a) === ids(b);
}

/** Why a hello from a cluster tells that this node's folder is not the one that belongs to it; null: it is. */
export function lostIncarnation(self: { nodeId: NodeId; incarnation: string }, hello: Hello): string | null {
  const member = hello.members?.find((one) => one.id === self.nodeId);
  if (member?.incarnation === self.incarnation) return null;
  if (member === undefined) {
    return `node ${hello.nodeId} belongs to a cluster that has no node ${self.nodeId}: ` +
      `start this node with that cluster's --cluster, or another --node-id`;
  }
  return `the cluster of node ${hello.nodeId} knows node ${self.nodeId} with another data folder ` +
    `(${member.incarnation}, this one is ${self.incarnation}): the folder was lost or replaced. ` +
    `A node that forgot its votes must not take part; start it with the folder it had`;
}

function foreignCluster({ nodeId, clusterId }: Hello): string {
  return `node ${nodeId} belongs to the cluster ${clusterId}, this data folder was prepared for another one that was ` +
    `never founded: look at the addresses in --cluster, or start with the data folder that belongs there`;
}

function differentPins(nodeId: NodeId, other: NodeId): string {
  return `nodes ${nodeId} and ${other} have bound themselves to different clusters while founding, because a data ` +
    `folder was replaced in between. Nothing has been stored yet: stop all nodes, remove their data folders, start again`;
}
