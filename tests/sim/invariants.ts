/**
 * The safety properties of the paper, checked after every event on the real nodes: their memory, their durable
 * bytes and what they say on the wire. Each check looks only at what changed since the last one.
 *
 * @module
 */

import type { Entry } from "../../lib/raft/types.ts";
import type { DurableState } from "./durable_state.ts";
import { Violation } from "./violation.ts";

/** What the checks need to see of a running Server. */
export interface NodeView {
  readonly raft: {
    readonly role: string;
    readonly currentTerm: number;
    readonly votedFor: number | null;
    readonly commitIndex: number;
    readonly lastIndex: number;
    /** The entries up to this one were cut off. */
    readonly baseIndex: number;
    /** 0: it abstains. */
    readonly admittedIndex: number;
    readonly snapshot: { lastIncludedIndex: number } | null;
    /** The snapshot that it is being sent. */
    readonly receivingIndex: number | null;
    entryAt(index: number): Entry | undefined;
    snapshotAt(index: number): { lastIncludedCrc: number };
  };
  readonly store: {
    digest(): string;
    readonly frozen: number;
    readonly slots: number;
    readonly size: number;
  };
  /** So many frozen states of the store may be in use. */
  readonly frozenStates: number;
  readonly appliedIndex: number;
}

/** What the checks need to see of a disk. */
export type DurableView = Pick<DurableState, "currentTerm" | "votedFor" | "has" | "admit">;

/** One node and what it looked like after the last event. */
interface Watched {
  readonly id: number;
  readonly durable: DurableView;
  /** null: it is down. */
  view: NodeView | null;
  role: string;
  currentTerm: number;
  votedFor: number | null;
  commitIndex: number;
  appliedIndex: number;
  snapshotIndex: number;
  admittedIndex: number;
  receivingIndex: number | null;
  /** The crc of each entry of its log, from 1. */
  crcs: number[];
}

/** What the checks saw, for the statistics. */
export interface Seen {
  elections: number;
  leaderChanges: number;
  truncations: number;
  rivalLeaders: number;
  /** New leaders that found an entry of an older term on a majority of disks, not committed (figure 8). */
  figure8s: number;
  /** Snapshots that nodes took of their own state, and that they took over from another node. */
  snapshots: number;
  installs: number;
  /** Nodes that were being sent a snapshot, and went down or were sent another one. */
  interruptedInstalls: number;
  /** Nodes that abstained and were admitted again. */
  admissions: number;
}

/** The checks of one cluster. */
export class Invariants {
  readonly seen: Seen = {
    elections: 0,
    leaderChanges: 0,
    truncations: 0,
    rivalLeaders: 0,
    figure8s: 0,
    snapshots: 0,
    installs: 0,
    interruptedInstalls: 0,
    admissions: 0,
  };
  /** Called with each entry once, in order, when the first node knows that it is committed. */
  onCommitted: (entry: Entry) => void = () => {};
  /** Called when a node has begun to receive a snapshot. */
  onReceiving: (id: number) => void = () => {};
  /** Index of the last committed entry. */
  committedIndex = 0;
  readonly #nodes: Watched[];
  readonly #leaders = new Map<number, number>();
  /** By index and term: the crc, which stands for the entry and all before it. */
  readonly #entries = new Map<number, number>();
  readonly #committedCrcs: number[] = [0];
  /** Term of the leader that committed the entry at each index. */
  readonly #committedIn: number[] = [0];
  readonly #digests = new Map<number, string>();

  constructor(durables: readonly DurableView[]) {
    this.#nodes = durables.map((durable, i) => ({ id: i + 1, durable, view: null, ...unseen() }));
  }

  /** A node was started. */
  onStart(id: number, view: NodeView): void {
    const node = this.#nodes[id - 1]!;
    Object.assign(node, unseen());
    node.view = view;
    node.admittedIndex = view.raft.admittedIndex;
    node.snapshotIndex = view.raft.snapshot?.lastIncludedIndex ?? 0;
    const { currentTerm, votedFor } = view.raft;
    const { durable } = node;
    check(currentTerm >= durable.currentTerm, "I7", () => `n${id} forgot term ${durable.currentTerm}`);
    const keptVote = currentTerm > durable.currentTerm || durable.votedFor === null ||
      votedFor === durable.votedFor;
    check(keptVote, "I7", () => `n${id} forgot its vote for ${durable.votedFor} in term ${currentTerm}`);
  }

  /** A node is down. */
  onStop(id: number): void {
    const node = this.#nodes[id - 1]!;
    if (node.receivingIndex !== null) this.seen.interruptedInstalls++;
    node.view = null;
  }

  /** Whether the entry that is committed at `index` is on the disks of a majority now. */
  isOnMajority(index: number): boolean {
    const count = this.#nodes.filter(({ durable }) => durable.has(index, this.#committedCrcs)).length;
    return index <= this.committedIndex && count * 2 > this.#nodes.length;
  }

  /** Looks at all that changed. Throws Violation. */
  check(): void {
    for (const node of this.#nodes) {
      if (node.view !== null) this.#checkNode(node, node.view);
    }
  }

  #checkNode(node: Watched, { raft, store, frozenStates, appliedIndex }: NodeView): void {
    const { role, currentTerm, commitIndex } = raft;
    if (currentTerm !== node.currentTerm || raft.votedFor !== node.votedFor) this.#checkTerm(node, raft);
    this.#checkAdmission(node, raft);
    this.#countSnapshot(node, raft);
    const becameLeader = role === "leader" && (node.role !== "leader" || node.currentTerm !== currentTerm);
    const stayedLeader = role === "leader" && !becameLeader;
    this.#checkLog(node, raft, stayedLeader);
    if (role === "candidate" && currentTerm !== node.currentTerm) this.seen.elections++;
    node.role = role;
    node.currentTerm = currentTerm;
    node.votedFor = raft.votedFor;
    if (becameLeader) this.#checkNewLeader(node, raft);
    if (commitIndex !== node.commitIndex) this.#checkCommit(node, raft);
    if (appliedIndex !== node.appliedIndex) {
      check(
        appliedIndex > node.appliedIndex,
        "I8",
        () => `n${node.id}: appliedIndex went back to ${appliedIndex}`,
      );
      node.appliedIndex = appliedIndex;
      if (appliedIndex % 8 === 0) this.#checkDigest(node, store.digest());
    }
    check(
      store.frozen <= frozenStates,
      "memory",
      () => `n${node.id} keeps ${store.frozen} frozen states, and uses ${frozenStates}`,
    );
    check(
      store.frozen > 0 || store.slots <= store.size,
      "memory",
      () => `n${node.id} has ${store.size} keys, and memory for ${store.slots} values`,
    );
    check(
      appliedIndex <= commitIndex,
      "I8",
      () => `n${node.id} applied ${appliedIndex}, committed ${commitIndex}`,
    );
    check(
      commitIndex <= raft.lastIndex,
      "I8",
      () => `n${node.id} committed ${commitIndex} beyond ${raft.lastIndex}`,
    );
  }

  #checkTerm(node: Watched, { currentTerm, votedFor }: NodeView["raft"]): void {
    check(
      currentTerm >= node.currentTerm,
      "I7",
      () => `n${node.id}: term ${node.currentTerm} to ${currentTerm}`,
    );
    const sameVote = currentTerm > node.currentTerm || node.votedFor === null || votedFor === node.votedFor;
    check(
      sameVote,
      "I7",
      () => `n${node.id}: the vote in term ${currentTerm} went from ${node.votedFor} to ${votedFor}`,
    );
  }

  /** A node that abstains leads nothing, and votes for nobody but whom its old folder voted for. */
  #checkAdmission(node: Watched, { role, admittedIndex, commitIndex }: NodeView["raft"]): void {
    const isAbsent = admittedIndex === 0 && commitIndex > 0;
    check(!isAbsent || role === "follower", "I14", () => `n${node.id} abstains and is a ${role}`);
    if (admittedIndex > 1 && node.admittedIndex === 0) this.seen.admissions++;
    if (admittedIndex > node.admittedIndex) node.durable.admit();
    node.admittedIndex = admittedIndex;
  }

  #countSnapshot(node: Watched, { snapshot, receivingIndex }: NodeView["raft"]): void {
    const isOther = receivingIndex !== null && receivingIndex !== node.receivingIndex;
    if (isOther && node.receivingIndex !== null) this.seen.interruptedInstalls++;
    node.receivingIndex = receivingIndex;
    if (isOther) this.onReceiving(node.id);
    const index = snapshot?.lastIncludedIndex ?? 0;
    if (index === node.snapshotIndex) return;
    check(index > node.snapshotIndex, "I8", () => `n${node.id}: the snapshot went back to ${index}`);
    node.snapshotIndex = index;
    this.seen[index > node.appliedIndex ? "installs" : "snapshots"]++;
  }

  /** What was cut off in front is what was committed. */
  #checkBase(node: Watched, raft: NodeView["raft"]): void {
    const { baseIndex } = raft;
    const same = raft.snapshotAt(baseIndex).lastIncludedCrc === this.#committedCrcs[baseIndex];
    check(same, "I4", () => `n${node.id} has a snapshot of another entry ${baseIndex} than was committed`);
    for (let index = 1; index <= baseIndex; index++) node.crcs[index] = this.#committedCrcs[index]!;
  }

  #checkLog(node: Watched, raft: NodeView["raft"], stayedLeader: boolean): void {
    const { crcs } = node;
    const { lastIndex, baseIndex } = raft;
    if (crcs.length - 1 === lastIndex) {
      const crc = lastIndex === baseIndex
        ? raft.snapshotAt(baseIndex).lastIncludedCrc
        : raft.entryAt(lastIndex)!.crc;
      if (crc === crcs[lastIndex]) return;
    }
    // The crc of an entry stands for all before it: only the changed end is looked at.
    let index = lastIndex;
    while (index > baseIndex) {
      const entry = raft.entryAt(index);
      check(entry !== undefined && entry.index === index, "I3", () => `n${node.id} has no entry ${index}`);
      if (entry!.crc === crcs[index]) break;
      const key = index * 2 ** 20 + entry!.term;
      const known = this.#entries.get(key);
      check(
        known === undefined || known === entry!.crc,
        "I3",
        () => `n${node.id} has another entry at index ${index}, term ${entry!.term} than a node had before`,
      );
      this.#entries.set(key, entry!.crc);
      index--;
    }
    if (index === baseIndex && index > 0 && crcs[index] !== this.#committedCrcs[index]) {
      this.#checkBase(node, raft);
    }
    const isCut = crcs.length - 1 > index;
    check(
      !isCut || !stayedLeader,
      "I2",
      () => `n${node.id} leads term ${raft.currentTerm} and cut its log at ${index}`,
    );
    check(
      index >= node.commitIndex,
      "I4",
      () => `n${node.id} committed ${node.commitIndex} and cut its log at ${index}`,
    );
    if (isCut) this.seen.truncations++;
    crcs.length = index + 1;
    while (++index <= lastIndex) crcs.push(raft.entryAt(index)!.crc);
  }

  /** The first entry that is not known to be committed lies on a majority of disks as this new leader has it. */
  #isFigure8({ crcs }: Watched): boolean {
    const next = this.committedIndex + 1;
    const holders = this.#nodes.filter(({ durable }) => durable.has(next, crcs));
    return next < crcs.length && holders.length * 2 > this.#nodes.length;
  }

  #checkNewLeader(node: Watched, { currentTerm }: NodeView["raft"]): void {
    const { id, durable, crcs } = node;
    if (this.#isFigure8(node)) this.seen.figure8s++;
    const rival = this.#leaders.get(currentTerm);
    check(
      rival === undefined || rival === id,
      "I1",
      () => `n${rival} and n${id} both lead term ${currentTerm}`,
    );
    this.#leaders.set(currentTerm, id);
    this.seen.leaderChanges++;
    if (this.#nodes.some((other) => other.id !== id && other.role === "leader" && other.view)) {
      this.seen.rivalLeaders++;
    }
    const votedForItself = durable.currentTerm > currentTerm || durable.votedFor === id;
    check(
      durable.currentTerm >= currentTerm && votedForItself,
      "I14",
      () => `n${id} leads term ${currentTerm}, but its vote for itself is not on its disk`,
    );
    let last = this.committedIndex;
    // A leader of a later term may have committed more already; this one is then about to step down.
    while (this.#committedIn[last]! >= currentTerm) last--;
    check(
      crcs[last] === this.#committedCrcs[last],
      "I5",
      () =>
        `n${id} leads term ${currentTerm} without the entry ${last}, committed in term ${
          this.#committedIn[last]
        }`,
    );
  }

  #checkCommit(node: Watched, raft: NodeView["raft"]): void {
    const { commitIndex, currentTerm } = raft;
    check(commitIndex > node.commitIndex, "I8", () => `n${node.id}: commitIndex went back to ${commitIndex}`);
    for (let index = node.commitIndex + 1; index <= commitIndex; index++) {
      const entry = raft.entryAt(index);
      if (entry === undefined) {
        const isKnown = index <= raft.baseIndex && index <= this.committedIndex;
        check(isKnown, "I4", () => `n${node.id} committed ${index} by a snapshot, and nobody did before`);
        continue;
      }
      if (index <= this.committedIndex) {
        const same = entry.crc === this.#committedCrcs[index];
        check(
          same,
          "I4",
          () => `n${node.id} committed another entry at index ${index} than was committed before`,
        );
        continue;
      }
      this.committedIndex = index;
      this.#committedCrcs.push(entry.crc);
      this.#committedIn.push(currentTerm);
      check(
        this.isOnMajority(index),
        "I4",
        () => `n${node.id} committed index ${index}, which is not on the disks of a majority`,
      );
      this.onCommitted(entry);
    }
    node.commitIndex = commitIndex;
  }

  #checkDigest({ id, appliedIndex }: Watched, digest: string): void {
    const known = this.#digests.get(appliedIndex);
    check(
      known === undefined || known === digest,
      "I6",
      () => `n${id} has another state at index ${appliedIndex}`,
    );
    this.#digests.set(appliedIndex, digest);
  }
}

function unseen(): Omit<Watched, "id" | "durable" | "view"> {
  return {
    role: "",
    currentTerm: 0,
    votedFor: null,
    commitIndex: 0,
    appliedIndex: 0,
    snapshotIndex: 0,
    admittedIndex: 0,
    receivingIndex: null,
    crcs: [0],
  };
}

function check(holds: boolean, invariant: Violation["invariant"], message: () => string): void {
  if (!holds) throw new Violation(invariant, message());
}
