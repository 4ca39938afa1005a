/**
 * Who this node is and which cluster it belongs to: its identity in the folder, what it says of itself in a hello,
 * and whether another one's hello fits.
 *
 * @module
 */

import type { Io } from "../io/io.ts";
import { clusterIdOf, type Hello, protocolVersions } from "../protocol/peer_protocol.ts";
import type { Raft } from "../raft/raft.ts";
import type { NodeId } from "../raft/types.ts";
import { FolderError, type Identity } from "../storage/storage.ts";
import { lostIncarnation, namesSame, nextFoundingStep } from "./founding.ts";
import type { ServerOptions } from "./options.ts";

/** What the server has to do for the founding to go on. */
export type IdentityStep =
  | { do: "save" }
  | { do: "founded" }
  | { do: "campaign" }
  | { do: "stop"; error: FolderError };

/** This node's place in its cluster. */
export class NodeIdentity {
  readonly #options: ServerOptions;
  readonly #raft: Raft;
  readonly #nonce: string;
  #identity: Identity;
  /** What the disk holds of the identity, which is all that may be said. */
  #saved: Identity;
  #waitingFor: NodeId[] = [];
  #hasCampaigned = false;
  /** What the journal said last about the founding. */
  #reported = "";

  /** Throws FolderError when the log belongs to another cluster than `options` name. */
  constructor(options: ServerOptions, io: Io, found: { raft: Raft; identity: Identity | null }) {
    this.#options = options;
    this.#raft = found.raft;
    this.#nonce = randomHex(io, 16);
    this.#identity = found.identity === null
      ? { nodeId: options.nodeId, incarnation: randomHex(io, 16), starts: 1, clusterId: null, pinned: null }
      : { ...found.identity, starts: found.identity.starts + 1 };
    this.#saved = this.#identity; // the server does so before anything is said
    this.#checkConfiguration();
  }

  /** What belongs into the folder. */
  get record(): Identity {
    return this.#identity;
  }

  /** The nodes that the founding waits for; none once the cluster is founded. */
  get waitingFor(): NodeId[] {
    return this.#waitingFor;
  }

  /** The members, or before the founding those on the command line, with the addresses in use. */
  nodes(): { id: NodeId; address: string }[] {
    return this.#options.cluster.map(({ id, address }) => ({ id, address }));
  }

  /** The identity is durable. */
  isSaved(): void {
    this.#saved = this.#identity;
  }

  /** What this node says of itself. */
  hello(): Hello {
    const { nodeId, clientAddress, cluster } = this.#options;
    const { incarnation, starts } = this.#identity;
    return {
      type: "hello",
      versions: protocolVersions,
      nodeId,
      incarnation,
      starts,
      nonce: this.#nonce,
      clientAddress,
      cluster,
      clusterId: this.#saved.clusterId,
      members: this.#saved.pinned,
      founded: this.#isFounded,
    };
  }

  /** Judges another node's hello; a text refuses it. */
  judge(hello: Hello): string | null {
    const { cluster } = this.#options;
    if (!this.#isFounded) {
      if (hello.founded ? namesSame(hello.cluster, cluster) : describe(hello.cluster) === describe(cluster)) {
        return null;
      }
      return `the nodes were given different lists, ${describe(hello.cluster)} and ${describe(cluster)}: ` +
        `give all the same --cluster`;
    }
    const { clusterId, incarnation } = this.#identity;
    const self = { nodeId: this.#options.nodeId, incarnation };
    if (hello.clusterId !== null && hello.clusterId !== clusterId) {
      const problem = lostIncarnation(self, hello);
      return `it belongs to another cluster (${hello.clusterId}, this one is ${clusterId})` +
        (problem === null ? "" : `; ${problem}`);
    }
    const member = this.#raft.configuration.members.find((one) => one.id === hello.nodeId);
    if (member === undefined) return `node ${hello.nodeId} is not a member of this cluster`;
    if (member.incarnation === hello.incarnation) return null;
    return `node ${hello.nodeId} has another data folder than the one this cluster knows: ` +
      `its votes and entries are forgotten, so it must not take part`;
  }

  /** What is to be done next for the cluster to be founded, or null: nothing, or wait. */
  nextStep(hellos: ReadonlyMap<NodeId, Hello>): IdentityStep | null {
    if (this.#isFounded) return this.#firstCampaign(hellos);
    const { nodeId, cluster } = this.#options;
    const { incarnation, pinned, clusterId } = this.#identity;
    if (this.#saved.clusterId !== clusterId) return null; // on its way to the disk
    const step = nextFoundingStep({ self: { nodeId, incarnation }, cluster, pinned, hellos });
    this.#waitingFor = step.do === "wait" ? step.for : [];
    switch (step.do) {
      case "wait":
        this.#report(step);
        return null;
      case "stop":
        return { do: "stop", error: new FolderError(step.message) };
      case "pin":
        this.#identity = { ...this.#identity, pinned: step.members, clusterId: clusterIdOf(step.members) };
        return { do: "save" };
      case "found":
        this.#raft.found({ members: [...this.#identity.pinned!].sort((a, b) => a.id - b.id) });
        this.#options.log("info", `the cluster ${this.#identity.clusterId} is founded`);
        return { do: "founded" };
    }
  }

  #report(step: { for: NodeId[]; because: "unseen" | "unpinned" }): void {
    const text = step.because === "unseen"
      ? `a first start needs every node once: waiting for node ${step.for.join(", ")}`
      : `waiting for node ${step.for.join(", ")} to agree on the members`;
    if (text === this.#reported) return;
    this.#reported = text;
    this.#options.log("info", text);
  }

  /** When all founders are there, the one with the lowest id stands for election at once: nobody leads yet. */
  #firstCampaign(hellos: ReadonlyMap<NodeId, Hello>): IdentityStep | null {
    const { members } = this.#raft.configuration;
    if (this.#hasCampaigned || this.#raft.currentTerm > 0 || members[0]?.id !== this.#options.nodeId) {
      return null;
    }
    if (!members.every(({ id }) => id === this.#options.nodeId || hellos.get(id)?.founded)) return null;
    this.#hasCampaigned = true;
    return { do: "campaign" };
  }

  get #isFounded(): boolean {
    return this.#raft.configuration.members.length > 0;
  }

  #checkConfiguration(): void {
    const logged = this.#raft.configuration.members;
    const members = logged.length > 0 ? logged : this.#identity.pinned ?? [];
    if (members.length === 0) return;
    const { nodeId, cluster } = this.#options;
    if (!namesSame(cluster, members)) {
      const [listed, known] = [cluster, members].map((nodes) => nodes.map((node) => node.id).join(", "));
      throw new FolderError(
        `the data folder belongs to a cluster of the nodes ${known}, but --cluster names ${listed}: ` +
          `start with the same nodes (addresses may differ), or with another --data-dir`,
      );
    }
    const own = members.find((member) => member.id === nodeId);
    if (own?.incarnation === this.#identity.incarnation) return;
    throw new FolderError(
      `the log names the incarnation ${own?.incarnation} of node ${nodeId}, the state file ` +
        `${this.#identity.incarnation}: the files of two folders are mixed`,
    );
  }
}

function describe(cluster: readonly { id: NodeId; address: string }[]): string {
  return cluster.map(({ id, address }) => `${id}=${address}`).join(",");
}

function randomHex(io: Io, digits: number): string {
  let text = "";
  while (text.length < digits) text += Math.floor(io.random() * 16).toString(16);
  return text;
}
