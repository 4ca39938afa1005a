/**
 * Who this node is and which cluster it belongs to: its identity in the folder, what it says of itself in a hello,
 * and whether another one's hello fits.
 *
 * @module
 */

import type { Io } from "../io/io.ts";
import { clusterIdOf, type Hello, protocolVersions } from "../protocol/peer_protocol.ts";
import type { Raft } from "../raft/raft.ts";
import type { HardState, NodeId } from "../raft/types.ts";
import { quorumSize } from "../raft/quorum.ts";
import { wayOut, wayOutAlone } from "../storage/formats.ts";
import { FolderError, type Identity, type Recovered } from "../storage/storage.ts";
import { namesSame, nextFoundingStep } from "./founding.ts";
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
  /** Here for what of the admission is durable. */
  readonly #storage: { readonly hardState: HardState };
  #identity: Identity;
  /** What the disk holds of the identity, which is all that may be said. */
  #saved: Identity;
  #waitingFor: NodeId[] = [];
  #hasCampaigned = false;
  /** What the journal said last about the founding. */
  #reported = "";

  /** Throws FolderError when the log belongs to another cluster than `options` name. */
  constructor(
    options: ServerOptions,
    io: Io,
    node: { raft: Raft; identity: Identity; storage: { hardState: HardState } },
  ) {
    this.#options = options;
    this.#raft = node.raft;
    this.#storage = node.storage;
    this.#nonce = randomHex(io, 16);
    this.#identity = node.identity;
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

  /**
   * Whether the protocol concerns this node already: its cluster is founded, or its folder is bound to one and has lost,
   * with its log, who founded it. Perhaps nobody knows that any more; the log or the snapshot that a leader sends says
   * who belongs to the cluster now.
   */
  get mayReceive(): boolean {
    return this.#isFounded || (this.#saved.clusterId !== null && this.#saved.pinned === null);
  }

  /** The identity is durable. */
  isSaved(): void {
    this.#saved = this.#identity;
  }

  /** What this node says of itself. */
  hello(hasRoom: boolean): Hello {
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
      // A founder is bound to the members by its pinned list, which is durable before the founding entry is.
      admitted: this.#raft.admittedIndex === 1 ? 1 : this.#storage.hardState.admittedIndex,
      hasRoom,
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
    const { clusterId } = this.#identity;
    if (hello.clusterId !== null && hello.clusterId !== clusterId) {
      return `it belongs to another cluster (${hello.clusterId}, this one is ${clusterId})`;
    }
    const { configuration, configurationIndex } = this.#raft;
    const member = configuration.members.find((one) => one.id === hello.nodeId);
    if (member === undefined) return `node ${hello.nodeId} is not a member of this cluster`;
    // One that abstains waits to be admitted; one that was admitted later than this node's log reaches is ahead of it.
    const isKnown = member.incarnation === hello.incarnation;
    if (isKnown || hello.admitted === 0 || hello.admitted > configurationIndex) return null;
    return `the data folder of node ${hello.nodeId} was replaced by another one, which the cluster has admitted: ` +
      `this one must not take part any more. Empty it to join with it`;
  }

  /** The members that say that they abstain, when there are so many that nobody can ever be admitted; else none. */
  lostMembers(hellos: ReadonlyMap<NodeId, Hello>): NodeId[] {
    const { members } = this.#raft.configuration;
    const lost = members.filter(({ id, incarnation }) => {
      const hello = hellos.get(id);
      if (id === this.#options.nodeId) return this.#raft.admittedIndex === 0;
      // One that the log names has been admitted since, or is about to be.
      return hello?.founded && hello.admitted === 0 && hello.incarnation !== incarnation;
    });
    return members.length - lost.length < quorumSize({ members }) ? lost.map(({ id }) => id) : [];
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
        this.#options.log("info", this.#describeFounding());
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

  #describeFounding(): string {
    const { pinned, clusterId, nodeId, incarnation } = this.#identity;
    const isFounder = pinned!.some((member) => member.id === nodeId && member.incarnation === incarnation);
    return isFounder
      ? `the cluster ${clusterId} is founded`
      : `the cluster ${clusterId} knows node ${nodeId} with another data folder: this one takes no part in ` +
        "decisions until the others have given it the data and admitted it";
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
        "foreign",
      );
    }
    const own = members.find((member) => member.id === nodeId);
    if (own?.incarnation === this.#identity.incarnation || this.#raft.admittedIndex === 0) return;
    throw new FolderError(
      `the log names the data folder ${own?.incarnation} of node ${nodeId}, this one is ` +
        `${this.#identity.incarnation}: it was replaced, or the files of two folders are mixed. ${wayOut}`,
    );
  }
}

/**
 * The identity with which a node starts: its folder's, with the start counted up. A new folder draws a name, and one
 * that has lost something another name (lib/raft/incarnations.ts). Throws FolderError when nobody could make up for it.
 */
export function nextIdentity(options: ServerOptions, io: Io, { identity, damage }: Recovered): Identity {
  const { nodeId, cluster } = options;
  if (damage !== null && cluster.length === 1) throw new FolderError(`${damage}. ${wayOutAlone}`);
  if (identity === null) {
    return { nodeId, incarnation: randomHex(io, 16), starts: 1, clusterId: null, pinned: null };
  }
  const incarnation = damage === null ? identity.incarnation : randomHex(io, 16);
  return { ...identity, incarnation, starts: identity.starts + 1 };
}

/** What the journal says of a folder that has lost something. */
export function describeDamage(damage: string): string {
  return `${damage}. What this node may have promised is lost: it takes no part in decisions, under a new name, until ` +
    "the others have given it back what it lacks and admitted it again";
}

/** Why there is no use in going on. */
export function describeHopeless(lost: readonly NodeId[]): string {
  return `beyond self-repair: the data folders of node ${
    lost.join(", ")
  } have lost something, and without them there ` +
    "is no majority that could admit them again. Put the latest copies of their folders back; or give up what may be " +
    "lost on one of them: stop it and run kvapp inspect DIR --repair --accept-loss";
}

function describe(cluster: readonly { id: NodeId; address: string }[]): string {
  return cluster.map(({ id, address }) => `${id}=${address}`).join(",");
}

/** So many hex digits by chance, 4 bits each. */
export function randomHex(io: Io, digits: number): string {
  let text = "";
  while (text.length < digits) text += Math.floor(io.random() * 16).toString(16);
  return text;
}
