/**
 * The door of the protocol: a pure, synchronous state machine (paper figure 2). Ticks, messages, proposals and reads
 * go in as calls; `takeReady` hands out, in one value, all that they want done. Nothing else leaves, nothing waits.
 *
 * @module
 */

import { campaign, checkQuorum, tickElection } from "./election.ts";
import { admitAbstaining, noteAdmission, onPeerStarted } from "./incarnations.ts";
import { found, proposeConfiguration } from "./membership.ts";
import type { Message } from "./messages.ts";
import { describe } from "./progress.ts";
import { expireForwardedReads, forwardReads, startRead, startReadRound } from "./reads.ts";
import { takeCommitted, takeWrite } from "./ready.ts";
import { type OldEntries, OldEntryLost } from "./log.ts";
import { receive } from "./receive.ts";
import { appendOwn, onUnreachable, sendAppendEntries, tickHeartbeat } from "./replication.ts";
import { compact, discard, forgetNeedless, install, isAsAnnounced, onSnapshotTaken } from "./snapshotting.ts";
import { leaderOf, newState, type RaftOptions, type RecoveredState, type State } from "./state.ts";
import { abdicate, continueTransfer, startTransfer, tickTransfer } from "./transfer.ts";
import type {
  Configuration,
  Entry,
  NodeId,
  PeerProgress,
  ProposalRefusal,
  Ready,
  SnapshotMetadata,
} from "./types.ts";

export { type OldEntries, OldEntryLost, type ProposalRefusal, type RaftOptions, type RecoveredState };

/** All that a node remembers, for a checker that tells states apart: to be looked at, never changed. */
export let stateOf: (raft: Raft) => State;

/**
 * One node of the protocol. How to drive it is told at the head of raft.ts, the module that exports it.
 *
 * A method throws AssertionFailed when it is called against its rules, or when logs turn out to contradict each other.
 * Nothing that the node holds in memory may be used or sent after that.
 *
 * @example A cluster of one commits its first command
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Raft } from "./raft.ts";
 *
 * const raft = new Raft({
 *   id: 1, incarnation: "0123456789abcdef", electionTimeoutTicks: { min: 10, max: 20 }, heartbeatTicks: 2,
 *   appendBytesMax: 1 << 20, inflightBytesMax: 1 << 22, uncommittedBytesMax: 1 << 24, committedEntriesMax: 1000,
 *   random: () => 0,
 * }, { hardState: { currentTerm: 0, votedFor: null, admittedIndex: 0 }, snapshot: null, entries: [] });
 * raft.found({ members: [{ id: 1, address: "127.0.0.1:8080", incarnation: "0123456789abcdef" }] });
 * raft.campaign();
 * const committed = [];
 * for (let i = 0; i < 3; i++) {
 *   if (raft.role === "leader" && i === 1) raft.propose({ op: "put", key: "a", value: "1" });
 *   const ready = raft.takeReady(); // a real node writes to its disk here, then delivers the messages
 *   for (const message of ready?.write?.messages ?? []) raft.receive(message);
 *   committed.push(...raft.takeReady()?.committed ?? []);
 * }
 * assertEquals(committed.map((entry) => entry.kind), ["configuration", "noop", "command"]);
 * ```
 */
export class Raft {
  readonly #state: State;
  /** A tick passed since the last Ready. */
  #tickPassed = false;

  static {
    stateOf = (raft) => raft.#state;
  }

  /**
   * Starts as a follower with what its disk had: `hardState` as the last Write brought it (zeros, and null for
   * `votedFor`, on a new disk), and the entries as the Writes left them.
   */
  constructor(options: RaftOptions, recovered: RecoveredState) {
    this.#state = newState(options, recovered);
  }

  /** What the node is in currentTerm (paper 5.1); a preCandidate asks whether it could win (thesis 9.6). */
  get role(): "follower" | "preCandidate" | "candidate" | "leader" {
    return this.#state.role.name;
  }

  /** Latest term this node has seen; only grows. 0 before the first election. */
  get currentTerm(): number {
    return this.#state.currentTerm;
  }

  /** Who got this node's vote in currentTerm, or null. */
  get votedFor(): NodeId | null {
    return this.#state.votedFor;
  }

  /** Index of the committed configuration entry that names this node's folder; 0: it abstains. */
  get admittedIndex(): number {
    return this.#state.admittedIndex;
  }

  /** Highest index known to be committed; only grows. */
  get commitIndex(): number {
    return this.#state.commitIndex;
  }

  /** The entries up to this one were cut off: a snapshot has what they made. */
  get baseIndex(): number {
    return this.#state.log.base.index;
  }

  /** This node's newest snapshot, or null. */
  get snapshot(): SnapshotMetadata | null {
    return this.#state.snapshot;
  }

  /** A follower found this snapshot, by its lastIncludedIndex, to be no whole one: another should take its place. */
  get suspectIndex(): number {
    return this.#state.suspectIndex;
  }

  /** The snapshots that are on their way to followers, by lastIncludedIndex: they are still needed, and so is the log behind them. */
  get transfers(): number[] {
    const { role } = this.#state;
    if (role.name !== "leader") return [];
    return [...role.progress.values()].flatMap(({ transfer }) => transfer?.snapshot.lastIncludedIndex ?? []);
  }

  /** The snapshot that another node sends, by lastIncludedIndex; null: none does. */
  get receivingIndex(): number | null {
    return this.#state.receiving?.lastIncludedIndex ?? null;
  }

  /** Index of the last entry in memory; the disk may be behind. */
  get lastIndex(): number {
    return this.#state.log.lastIndex;
  }

  /** Term of that entry; 0 when there never was one. */
  get lastTerm(): number {
    return this.#state.log.lastTerm;
  }

  /** The leader of currentTerm, as far as this node knows. */
  get leaderId(): NodeId | null {
    return leaderOf(this.#state);
  }

  /** The configuration in force: the newest in the log. Without members before the cluster is founded. */
  get configuration(): Configuration {
    return this.#state.log.configuration;
  }

  /** Index of its entry; 0 before the cluster is founded. */
  get configurationIndex(): number {
    return this.#state.log.configurationIndex;
  }

  /** The leader is handing over and takes no proposals. */
  get isTransferring(): boolean {
    return this.#state.role.name === "leader" && this.#state.role.transfer !== null;
  }

  /** The entry at `index`, or undefined outside of the log. Throws OldEntryLost. */
  entryAt(index: number): Entry | undefined {
    return this.#state.log.at(index);
  }

  /** Term of the entry at `index`; null when it is neither in the log nor right before it. */
  termAt(index: number): number | null {
    const { log } = this.#state;
    return index < log.base.index || index > log.lastIndex ? null : log.termAt(index);
  }

  /** What a leader knows of its followers' logs; empty elsewhere. */
  progress(): PeerProgress[] {
    const { role, options } = this.#state;
    if (role.name !== "leader") return [];
    return [...role.progress].filter(([id]) => id !== options.id)
      .map(([id, progress]) => describe(id, progress));
  }

  /**
   * Writes the first configuration into an empty log: entry 1 of term 0. Each founding member is given the same one,
   * with `members` sorted by id, once in its life; a node that starts again has it in its log.
   */
  found(configuration: Configuration): void {
    found(this.#state, configuration);
    noteAdmission(this.#state); // a founder takes part from the first moment
  }

  /** Stands for election now rather than after a timeout. For a node that knows that there is no leader. */
  campaign(): void {
    campaign(this.#state);
  }

  /** Some time passed: the unit of all timeouts. Called at equal intervals, 10 ms for example. */
  tick(): void {
    const state = this.#state;
    state.tick++;
    this.#tickPassed = true;
    forgetNeedless(state);
    if (state.role.name === "leader") {
      tickHeartbeat(state, state.role);
      tickTransfer(state, state.role);
      admitAbstaining(state, state.role);
      checkQuorum(state, state.role);
      return;
    }
    if (state.role.name === "follower") expireForwardedReads(state, state.role);
    tickElection(state);
  }

  /**
   * Takes a command, plain JSON data that nobody changes any more or an EncodedCommand, for the log (paper 5.3). Returns where it will stand
   * if this leadership lasts, or a text that says why it was not taken. It is done when an entry with that index *and*
   * that term is among the `committed`; with another term, it will never be.
   */
  propose(command: unknown): { index: number; term: number } | ProposalRefusal {
    const { role, options } = this.#state;
    if (role.name !== "leader") return "notLeader";
    if (role.transfer !== null) return "transferring";
    if (role.uncommittedBytes >= options.uncommittedBytesMax) return "busy";
    const { index, term } = appendOwn(this.#state, role, "command", command);
    return { index, term };
  }

  /**
   * Proposes another configuration (thesis 4.1); a text says why it cannot be now. At most one member may be added,
   * removed or replaced at a time, and it is in force as soon as it is in a log.
   */
  proposeConfiguration(configuration: Configuration): { index: number; term: number } | string {
    return proposeConfiguration(this.#state, configuration);
  }

  /**
   * Asks for an index that, once applied, lets a read see every write acknowledged before this call (ReadIndex, thesis
   * 6.4), on any node. The outcome comes in a Ready under the same `id`, a number of the caller's own that is used
   * once. False: no leader is known, try later.
   */
  read(id: number): boolean {
    return startRead(this.#state, id);
  }

  /** Hands leadership to `target`, or to whom suits best (thesis 3.10). A text says why it cannot; null: it has begun. */
  transferLeadership(target: NodeId | null = null): string | null {
    return startTransfer(this.#state, target);
  }

  /** What a snapshot of the state after the entry `index`, which was applied, says of the log (paper 7). */
  snapshotAt(index: number): SnapshotMetadata {
    return this.#state.log.snapshotAt(index);
  }

  /** That snapshot is whole and durable: followers may be sent it, and the log up to it is not needed. */
  onSnapshotTaken(snapshot: SnapshotMetadata): void {
    onSnapshotTaken(this.#state, snapshot);
  }

  /**
   * Forgets the entries up to `index`, which is at most that of the newest snapshot; `transfers` says which ones
   * followers are about to need.
   */
  compact(index: number): void {
    compact(this.#state, index);
  }

  /**
   * The entries up to `index` are durable here, and no Write that was handed out and is not durable yet will change them:
   * what was applied of them need not stay in memory (`RaftOptions.oldEntries`).
   */
  forgetLines(index: number): void {
    this.#state.log.forgetLines(index);
  }

  /** Whether a snapshot that came is the one that its sender announced. */
  isAsAnnounced(snapshot: SnapshotMetadata): boolean {
    return isAsAnnounced(this.#state, snapshot);
  }

  /**
   * All of a snapshot came: `snapshotReceived` said so, and its file was found whole and `isAsAnnounced`. True: the state
   * machine must take over what it holds, now. False: it is not needed any more.
   */
  install(snapshot: SnapshotMetadata): boolean {
    return install(this.#state, snapshot);
  }

  /** All of a snapshot came, and it is no whole one: its sender is told, and begins again. */
  discard(): void {
    discard(this.#state);
  }

  /**
   * A process of another member was started, on the folder `incarnation`. To be called before anything that it sends is
   * received: what a predecessor said of its log counts no more.
   */
  peerStarted(id: NodeId, incarnation: string): void {
    onPeerStarted(this.#state, id, incarnation);
  }

  /**
   * This node's disk hangs: it leads no more, and asks the follower with the longest log to stand for election. Its
   * other followers hear nothing any more.
   */
  abdicate(): void {
    abdicate(this.#state);
  }

  /** The connection to a node broke: what was under way to it may be lost. */
  peerUnreachable(id: NodeId): void {
    onUnreachable(this.#state, id);
  }

  /**
   * A message arrives, from another node or, once its write is durable, from this one. Returns null, or a text that
   * says why it was refused: nothing has changed then, and whoever sent it should not be listened to.
   */
  receive(message: Message): string | null {
    return receive(this.#state, message);
  }

  /**
   * What the steps since the last call want done, or null: nothing. Each value is handed out once, and all of it is to
   * be carried out; the order is told at the head of raft.ts. Throws OldEntryLost when a follower needs an entry that
   * `RaftOptions.oldEntries` has not any more; when a snapshot has it, `compact` up to that one and ask again.
   */
  takeReady(): Ready | null {
    const state = this.#state;
    const { role } = state;
    if (role.name === "leader") {
      startReadRound(state, role);
      continueTransfer(state, role);
      sendAppendEntries(state, role, this.#tickPassed);
    }
    if (role.name === "follower" && role.leaderId !== null) forwardReads(state, role);
    this.#tickPassed = false;
    noteAdmission(state);
    const write = takeWrite(state);
    const committed = takeCommitted(state);
    const { outbox: messages, readResults: reads } = state;
    if (write === null && committed.length + messages.length + reads.length === 0) return null;
    state.outbox = [];
    state.readResults = [];
    return { messages, write, committed, reads };
  }
}
