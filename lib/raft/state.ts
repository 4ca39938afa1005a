/**
 * Everything that one node of the protocol remembers, and the changes of role. What only one role has stands in
 * that role, so that "nextIndex of a follower" cannot be written.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { baseOf, Log, type OldEntries } from "./log.ts";
import type { InstallSnapshot, Message } from "./messages.ts";
import type { Progress } from "./progress.ts";
import { cancelForwardedReads, cancelLeaderReads, type ForwardedReads, type LeaderReads } from "./reads.ts";
import type { Receiving } from "./snapshotting.ts";
import type { Entry, HardState, Member, NodeId, ReadResult, SnapshotMetadata } from "./types.ts";

/** What a Raft node is told at its start. Times are in ticks, which the caller delivers; sizes in bytes of entry lines. */
export interface RaftOptions {
  /** Which node it is, from 1. */
  id: NodeId;
  /**
   * Name of the data folder, as the configuration knows it, or will: drawn at random with the folder, kept in it, and
   * drawn anew when the folder has lost something. A node that comes back under the same name must have everything.
   */
  incarnation: string;
  /**
   * A follower waits a random time, min <= t < max, for a leader before it stands for election (paper 5.2). `min` is
   * greater than `heartbeatTicks`.
   */
  electionTimeoutTicks: { min: number; max: number };
  /** Between a leader's heartbeats, at least 1; well below the election timeout. */
  heartbeatTicks: number;
  /** Entry bytes in one AppendEntries; a single larger entry is sent alone. */
  appendBytesMax: number;
  /** Entry bytes under way to one follower. */
  inflightBytesMax: number;
  /** Entry bytes proposed and not yet committed; beyond, proposals are refused. */
  uncommittedBytesMax: number;
  /** Committed entries that one Ready hands out at most, so that a long log is applied in slices. */
  committedEntriesMax: number;
  /** A number from 0 (inclusive) to 1 (exclusive); `Math.random` will do. */
  random(): number;
  /** From where old entries can be read; absent: all of the log stays in memory. */
  oldEntries?: OldEntries;
}

/** Follows a leader, or waits for one. */
export interface Follower {
  name: "follower";
  /** Leader of currentTerm, once it has been heard. */
  leaderId: NodeId | null;
  /** The log is known to equal that leader's up to here. Only grows within a term. */
  verifiedIndex: number;
  /** Latest read round that the leader was heard to ask about. */
  readRound: number;
  /** Reads that the leader was asked to confirm. */
  reads: ForwardedReads;
}

/** Asks whether an election could be won, without disturbing anyone (thesis 9.6). */
export interface PreCandidate {
  name: "preCandidate";
  votes: Map<NodeId, boolean>;
}

/** Stands for election in currentTerm. */
export interface Candidate {
  name: "candidate";
  votes: Map<NodeId, boolean>;
}

/** Leads currentTerm. */
export interface Leader {
  name: "leader";
  /** One for each member, this node included: it acknowledges to itself when its own disk has an entry. */
  progress: Map<NodeId, Progress>;
  /** Index of the no-op that opened this term; reads wait until it is committed (thesis 6.4). */
  noopIndex: number;
  /** Bytes of entries above commitIndex. */
  uncommittedBytes: number;
  ticksSinceHeartbeat: number;
  /** A heartbeat is due with the next Ready. */
  heartbeatDue: boolean;
  reads: LeaderReads;
  /** Leadership is being handed to `target`; proposals are refused meanwhile (thesis 3.10). */
  transfer: { target: NodeId; ticks: number; timeoutNowSent: boolean } | null;
}

/** What a node is at the moment, with all that only this role needs. */
export type Role = Follower | PreCandidate | Candidate | Leader;

/** What the disk of a node that starts had. */
export interface RecoveredState {
  /** Term, vote and admission as the newest Write with a `hardState` had them; 0, null and 0 on a new disk. */
  hardState: HardState;
  /** The newest snapshot; null: there is none. */
  snapshot: SnapshotMetadata | null;
  /** The entries behind it, consecutive; from index 1 on when there is none. */
  entries: readonly Entry[];
}

/** Everything that one node of the protocol remembers. */
export interface State {
  readonly options: RaftOptions;
  readonly log: Log;
  role: Role;
  /** Latest term seen; only grows. */
  currentTerm: number;
  /** Who got this node's vote in currentTerm; once set it stays for the term. */
  votedFor: NodeId | null;
  /** As in HardState. */
  admittedIndex: number;
  /** The folders on which the other members' latest processes were started, as they said themselves. */
  readonly peerIncarnations: Map<NodeId, string>;
  /** Highest index known to be committed; only grows. */
  commitIndex: number;
  /** Highest index handed out for application; at most commitIndex, only grows. */
  handedOutIndex: number;
  /** First index that no Write has carried yet. */
  unwrittenIndex: number;
  /** Index of the newest configuration entry that is durable here; 0: none is known to be. */
  durableConfigurationIndex: number;
  /** This node's newest snapshot. It reaches at least to where the log begins. */
  snapshot: SnapshotMetadata | null;
  /** A follower found this snapshot of ours, by its lastIncludedIndex, to be no whole one; 0: none did. */
  suspectIndex: number;
  /** A snapshot that another node sends; null: none does. */
  receiving: Receiving | null;
  /** Pieces of it that no Write has carried yet. */
  chunks: InstallSnapshot[];
  /** The log began anew behind this snapshot since the last Write. */
  installed: SnapshotMetadata | null;
  /** Term, vote or admittedIndex changed since the last Write. */
  hardStateChanged: boolean;
  /** Term that the disk is known to hold; messages of a later term wait for their write. */
  durableTerm: number;
  /** Ticks so far. */
  tick: number;
  /** Ticks since the leader was heard, a vote was given, or this node's own attempt began. */
  electionElapsed: number;
  /** An attempt starts when electionElapsed gets here. Drawn anew for each. */
  electionTimeout: number;
  /** Leaves at once. */
  outbox: Message[];
  /** Leaves when the next Write is durable. */
  outboxAfterWrite: Message[];
  /** Confirmed or cancelled reads. */
  readResults: ReadResult[];
  /** Number of the last read request sent to a leader; never used twice. It begins anywhere, so that a late answer
   * to what this node asked before a crash is nothing that it asks now. */
  lastReadRequest: number;
}

/** The state of a node that starts with what its disk had. */
export function newState(options: RaftOptions, recovered: RecoveredState): State {
  const { min, max } = options.electionTimeoutTicks;
  assert(min > options.heartbeatTicks, "an election timeout is longer than the time between heartbeats");
  assert(max > min, "election timeouts are drawn from a range, or votes split for ever");
  const { hardState, snapshot } = recovered;
  const log = new Log(recovered.entries, baseOf(snapshot), options.oldEntries);
  const state: State = {
    options,
    log,
    role: newFollower(null),
    currentTerm: hardState.currentTerm,
    votedFor: hardState.votedFor,
    admittedIndex: hardState.admittedIndex,
    peerIncarnations: new Map(),
    commitIndex: log.base.index,
    handedOutIndex: log.base.index,
    unwrittenIndex: log.lastIndex + 1,
    durableConfigurationIndex: log.configurationIndex,
    snapshot,
    suspectIndex: 0,
    receiving: null,
    chunks: [],
    installed: null,
    hardStateChanged: false,
    durableTerm: hardState.currentTerm,
    tick: 0,
    electionElapsed: 0,
    electionTimeout: 0,
    outbox: [],
    outboxAfterWrite: [],
    readResults: [],
    lastReadRequest: Math.floor(options.random() * 2 ** 48),
  };
  assert(log.lastTerm <= state.currentTerm, "no entry is of a later term than the state file");
  resetElectionTimer(state);
  return state;
}

function newFollower(leaderId: NodeId | null): Follower {
  return { name: "follower", leaderId, verifiedIndex: 0, readRound: 0, reads: { waiting: [], asked: [] } };
}

/** The leader of currentTerm as far as this node knows. */
export function leaderOf(state: State): NodeId | null {
  if (state.role.name === "leader") return state.options.id;
  return state.role.name === "follower" ? state.role.leaderId : null;
}

/** Whether this node takes no part in decisions (incarnations.ts). */
export function abstains(state: State): boolean {
  return state.admittedIndex === 0;
}

/** The other members of the configuration in force. */
export function peersOf(state: State): Member[] {
  return state.log.configuration.members.filter((member) => member.id !== state.options.id);
}

/** Whether this node is a member, so that it may stand for election. */
export function isMember(state: State, id: NodeId): boolean {
  return state.log.configuration.members.some((member) => member.id === id);
}

/** Waits a freshly drawn time from now on. */
export function resetElectionTimer(state: State): void {
  const { min, max } = state.options.electionTimeoutTicks;
  state.electionElapsed = 0;
  state.electionTimeout = min + Math.floor(state.options.random() * (max - min));
}

/** Enters a later term, in which this node has not voted. */
export function enterTerm(state: State, term: number): void {
  assert(term > state.currentTerm, `terms only grow: ${state.currentTerm} to ${term}`);
  state.currentTerm = term;
  state.votedFor = null;
  state.hardStateChanged = true;
}

/** Becomes a follower in `term`, of `leaderId` if it is known. Reads under way are cancelled: their asker tries again. */
export function becomeFollower(state: State, term: number, leaderId: NodeId | null): void {
  const { role } = state;
  if (role.name === "follower" && role.leaderId === leaderId && term === state.currentTerm) return;
  if (role.name === "leader") cancelLeaderReads(state, role);
  if (role.name === "follower") cancelForwardedReads(state, role);
  if (role.name !== "follower") resetElectionTimer(state); // a new wait begins; a follower's goes on
  if (term > state.currentTerm) enterTerm(state, term);
  state.role = newFollower(leaderId);
}

/** Sends at once what claims nothing but the term, or with the next write while the term itself is not durable. */
export function send(state: State, message: Message): void {
  if (state.durableTerm === state.currentTerm) state.outbox.push(message);
  else state.outboxAfterWrite.push(message);
}

/** Sends once everything so far is durable. */
export function sendAfterWrite(state: State, message: Message): void {
  state.outboxAfterWrite.push(message);
}
