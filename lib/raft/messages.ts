/**
 * The messages that nodes exchange. `term` is always the sender's current term, except that a pre-vote and its
 * grant carry the term that the candidate would have. Indexes, terms and ids are whole numbers; an index or a term of 0
 * means "none".
 *
 * @module
 */

import type { Entry, NodeId } from "./types.ts";

/** What every message says. */
export interface Envelope {
  /** Who sends it. Whoever delivers messages makes sure that it is true. */
  from: NodeId;
  /** Whom it is for; the sender itself in some of those that ride on a Write. */
  to: NodeId;
  /** The sender's current term. */
  term: number;
}

/** Asks for a vote (paper 5.2) or, with `preVote`, whether one would be given (thesis 9.6). */
export interface RequestVote extends Envelope {
  /** Names this kind of message. */
  type: "requestVote";
  /** Index of the last entry in the candidate's log: a voter with more refuses (paper 5.4.1). */
  lastLogIndex: number;
  /** Term of that entry. */
  lastLogTerm: number;
  /** It is only a question: `term` is the one that the candidate would have, and nobody's state changes. */
  preVote: boolean;
  /** The leader asked for this election, so its being alive is no reason to refuse (thesis 3.10). */
  leadershipTransfer: boolean;
}

/** Answers RequestVote. A refusal carries the voter's own term. */
export interface RequestVoteResponse extends Envelope {
  /** Names this kind of message. */
  type: "requestVoteResponse";
  /** Whether the vote was given, or would be. */
  voteGranted: boolean;
  /** As in the request. */
  preVote: boolean;
}

/** Replicates entries; without any it is a heartbeat (paper 5.3). */
export interface AppendEntries extends Envelope {
  /** Names this kind of message. */
  type: "appendEntries";
  /** Index of the entry right before the new ones. */
  prevLogIndex: number;
  /** Its term: who has another one there, or none, refuses. */
  prevLogTerm: number;
  /** CRC of the entry at prevLogIndex: same index and term with another crc is divergence. */
  prevLogCrc: number;
  /** The leader's commitIndex. */
  leaderCommit: number;
  /** Latest round of read confirmations (thesis 6.4); only grows within a term. */
  readRound: number;
  /** Consecutive, from prevLogIndex + 1 on; none in a heartbeat. On the wire an entry is its `line`. */
  entries: Entry[];
}

/** Answers AppendEntries once what it claims is durable. */
export interface AppendEntriesResponse extends Envelope {
  /** Names this kind of message. */
  type: "appendEntriesResponse";
  /** The logs agree at prevLogIndex, and the entries are in this one. */
  success: boolean;
  /** prevLogIndex of the request. */
  prevLogIndex: number;
  /** On success: the log matches the leader's up to here and is durable. Otherwise 0. */
  matchIndex: number;
  /** On failure: the last index at which the logs may still agree. Otherwise 0. */
  conflictIndex: number;
  /** On failure: the term there. Otherwise 0. */
  conflictTerm: number;
  /** The sender abstains: this tells what it has, and counts for nothing (incarnations.ts). */
  abstains: boolean;
}

/** "I heard you, and my term is yours": acknowledges no entry, serves CheckQuorum and ReadIndex only. */
export interface ContactResponse extends Envelope {
  /** Names this kind of message. */
  type: "contactResponse";
  /** As in the AppendEntries that was heard; 0 confirms no read. */
  readRound: number;
  /** As in AppendEntriesResponse. */
  abstains: boolean;
}

/** Sends a piece of a snapshot to a follower whose next entry the leader has no more (paper 7, figure 13). */
export interface InstallSnapshot extends Envelope {
  /** Names this kind of message. */
  type: "installSnapshot";
  /** The snapshot holds the state after this entry. */
  lastIncludedIndex: number;
  /** Term of that entry. */
  lastIncludedTerm: number;
  /** Its checksum. */
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
  /** Names this kind of message. */
  type: "installSnapshotResponse";
  /** Which snapshot. */
  lastIncludedIndex: number;
  /** So many bytes are durable: the piece that is wanted next. */
  offset: number;
  /** All of it came, and it was no whole snapshot: the sender's copy may be damaged. */
  isDamaged: boolean;
}

/** A follower asks for a read index on behalf of its clients (thesis 6.4). */
export interface ReadIndexRequest extends Envelope {
  /** Names this kind of message. */
  type: "readIndexRequest";
  /** Fresh for each attempt. */
  id: number;
}

/** The leader's commitIndex, confirmed by a quorum after the request arrived. */
export interface ReadIndexResponse extends Envelope {
  /** Names this kind of message. */
  type: "readIndexResponse";
  /** As in the request. */
  id: number;
  /** null: not the leader any more. */
  readIndex: number | null;
}

/** Tells a follower to start an election now (thesis 3.10). */
export interface TimeoutNow extends Envelope {
  /** Names this kind of message. */
  type: "timeoutNow";
}

/** To the node itself: all of a snapshot came and is durable. It is to be looked at before it counts. */
export interface SnapshotReceived extends Envelope {
  /** Names this kind of message. */
  type: "snapshotReceived";
  /** Which snapshot. Its driver looks at it, and calls `install` or `discard`. */
  lastIncludedIndex: number;
}

/** To the node itself: the configuration entry with this index and checksum is durable. */
export interface ConfigurationDurable extends Envelope {
  /** Names this kind of message. */
  type: "configurationDurable";
  /** Index of the entry. */
  configurationIndex: number;
  /** Its checksum: the entry may have been cut off meanwhile. */
  crc: number;
}

/** To the node itself: `term` and its vote are durable, so that term may be spoken at once. */
export interface TermDurable extends Envelope {
  /** Names this kind of message. */
  type: "termDurable";
}

/** Any message; `type` tells which. All but `entries` and `data` is plain JSON. */
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
