/**
 * The messages that nodes exchange. `term` is always the sender's current term, except that a pre-vote and its
 * grant carry the term that the candidate would have.
 *
 * @module
 */

import type { Entry, NodeId } from "./types.ts";

interface Envelope {
  from: NodeId;
  to: NodeId;
  term: number;
}

/** Asks for a vote (paper 5.2) or, with `preVote`, whether one would be given (thesis 9.6). */
export interface RequestVote extends Envelope {
  type: "requestVote";
  lastLogIndex: number;
  lastLogTerm: number;
  preVote: boolean;
  /** The leader asked for this election, so its being alive is no reason to refuse (thesis 3.10). */
  leadershipTransfer: boolean;
}

/** Answers RequestVote. A refusal carries the voter's own term. */
export interface RequestVoteResponse extends Envelope {
  type: "requestVoteResponse";
  voteGranted: boolean;
  preVote: boolean;
}

/** Replicates entries; without any it is a heartbeat (paper 5.3). */
export interface AppendEntries extends Envelope {
  type: "appendEntries";
  prevLogIndex: number;
  prevLogTerm: number;
  /** CRC of the entry at prevLogIndex: same index and term with another crc is divergence. */
  prevLogCrc: number;
  leaderCommit: number;
  /** Latest round of read confirmations (thesis 6.4); only grows within a term. */
  readRound: number;
  entries: Entry[];
}

/** Answers AppendEntries once what it claims is durable. */
export interface AppendEntriesResponse extends Envelope {
  type: "appendEntriesResponse";
  success: boolean;
  /** prevLogIndex of the request. */
  prevLogIndex: number;
  /** On success: the log matches the leader's up to here and is durable. Otherwise 0. */
  matchIndex: number;
  /** On failure: the last index at which the logs may still agree, and its term there. Otherwise 0. */
  conflictIndex: number;
  conflictTerm: number;
  /** The sender abstains: this tells what it has, and counts for nothing (incarnations.ts). */
  abstains: boolean;
}

/** "I heard you, and my term is yours": acknowledges no entry, serves CheckQuorum and ReadIndex only. */
export interface ContactResponse extends Envelope {
  type: "contactResponse";
  readRound: number;
  /** As in AppendEntriesResponse. */
  abstains: boolean;
}

/** Sends a piece of a snapshot to a follower whose next entry the leader has no more (paper 7, figure 13). */
export interface InstallSnapshot extends Envelope {
  type: "installSnapshot";
  lastIncludedIndex: number;
  lastIncludedTerm: number;
  lastIncludedCrc: number;
  /** Where in the snapshot's file the piece belongs, in bytes. */
  offset: number;
  /** The bytes. The core sends none: whoever has the file fills them in, and `done`. */
  data: Uint8Array;
  /** The piece is the last one. */
  done: boolean;
}

/**
 * Answers InstallSnapshot, except that a whole snapshot, or entries that make it unnecessary, are acknowledged with
 * an AppendEntriesResponse.
 */
export interface InstallSnapshotResponse extends Envelope {
  type: "installSnapshotResponse";
  lastIncludedIndex: number;
  /** So many bytes are durable: the piece that is wanted next. */
  offset: number;
  /** All of it came, and it was no whole snapshot: the sender's copy may be damaged. */
  isDamaged: boolean;
}

/** A follower asks for a read index on behalf of its clients. `id` is fresh for each attempt. */
export interface ReadIndexRequest extends Envelope {
  type: "readIndexRequest";
  id: number;
}

/** The leader's commitIndex, confirmed by a quorum after the request arrived. */
export interface ReadIndexResponse extends Envelope {
  type: "readIndexResponse";
  id: number;
  /** null: not the leader any more. */
  readIndex: number | null;
}

/** Tells a follower to start an election now (thesis 3.10). */
export interface TimeoutNow extends Envelope {
  type: "timeoutNow";
}

/** To the node itself: all of a snapshot came and is durable. It is to be looked at before it counts. */
export interface SnapshotReceived extends Envelope {
  type: "snapshotReceived";
  lastIncludedIndex: number;
}

/** To the node itself: the configuration entry with this index and checksum is durable. */
export interface ConfigurationDurable extends Envelope {
  type: "configurationDurable";
  configurationIndex: number;
  crc: number;
}

/** To the node itself: `term` and its vote are durable, so that term may be spoken at once. */
export interface TermDurable extends Envelope {
  type: "termDurable";
}

export type Message =
  | RequestVote
  | RequestVoteResponse
  | AppendEntries
  | AppendEntriesResponse
  | ContactResponse
  | InstallSnapshot
  | InstallSnapshotResponse
  | ReadIndexRequest
  | ReadIndexResponse
  | TimeoutNow
  | SnapshotReceived
  | ConfigurationDurable
  | TermDurable;
