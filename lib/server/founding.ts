/**
 * How a cluster comes to be (ARCHITECTURE.md, "How a cluster is founded"): in two steps, so that no two groups of nodes can found different clusters.
 *
 * ```text
 *   open    ---- all nodes seen, their lists agree --------> pinned   members and incarnations are on this disk
 *   pinned  ---- all nodes are pinned to the same members --> founded  the members are the first entry of the log
 * ```
 *
 * A node that sees another one further on follows it, also when the list names another incarnation of this node: then
 * its folder was lost since, and it abstains until it is admitted again (lib/raft/incarnations.ts). It never founds
 * anything new while somebody belongs to a cluster already.
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
      if (!hello.members.some(({ id }) => id === self.nodeId)) {
        return { do: "stop", message: strangeCluster(self.nodeId, hello) };
      }
      const isWhole = clusterIdOf(hello.members) === hello.clusterId;
      if (isWhole && namesSame(hello.members, cluster)) return { do: "pin", members: hello.members };
    }
    const bound = [...hellos.values()].filter((hello) => hello.founded || hello.clusterId !== null);
    if (bound.length > 0) {
      const others = peers.filter((id) => !bound.some(({ nodeId }) => nodeId === id));
      return { do: "wait", for: others, because: "unpinned" };
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

function strangeCluster(id: NodeId, hello: Hello): string {
  return `node ${hello.nodeId} belongs to a cluster that has no node ${id}: ` +
    `start this node with that cluster's --cluster, or another --node-id`;
}

function foreignCluster({ nodeId, clusterId }: Hello): string {
  return `node ${nodeId} belongs to the cluster ${clusterId}, this data folder was prepared for another one that was ` +
    `never founded: look at the addresses in --cluster, or start with the data folder that belongs there`;
}

function differentPins(nodeId: NodeId, other: NodeId): string {
  return `nodes ${nodeId} and ${other} have bound themselves to different clusters while founding, because a data ` +
    `folder was replaced in between. Nothing has been stored yet: stop all nodes, remove their data folders, start again`;
}
