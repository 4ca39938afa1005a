/**
 * Messages as a peer would send them, for tests of one node. What a test does not name has a harmless value: from
 * node 2 to node 1, granted, successful.
 *
 * @module
 */

import type {
  AppendEntries,
  AppendEntriesResponse,
  ContactResponse,
  InstallSnapshot,
  InstallSnapshotResponse,
  Message,
  ReadIndexResponse,
  RequestVote,
  RequestVoteResponse,
  TimeoutNow,
} from "../../lib/raft/messages.ts";
import type { Entry, SnapshotMetadata } from "../../lib/raft/types.ts";

type Fields<M extends Message> = Partial<Omit<M, "type">> & { term: number };

/** From a leader that has `log`: the `count` entries behind `prevLogIndex`, by default all. */
export function appendEntries(
  log: readonly Entry[],
  fields: Fields<AppendEntries> & { prevLogIndex: number; count?: number },
): AppendEntries {
  const { count = log.length, ...rest } = fields;
  const previous = log[fields.prevLogIndex - 1];
  return {
    type: "appendEntries",
    from: 2,
    to: 1,
    prevLogTerm: previous?.term ?? 0,
    prevLogCrc: previous?.crc ?? 0,
    leaderCommit: 0,
    readRound: 0,
    entries: log.slice(fields.prevLogIndex, fields.prevLogIndex + count),
    ...rest,
  };
}

/** From a leader that has `log`: no entries; by default it believes that this node has them all. */
export function heartbeat(
  log: readonly Entry[],
  fields: Fields<AppendEntries>,
): AppendEntries {
  return appendEntries(log, { prevLogIndex: log.length, count: 0, ...fields });
}

export function appendResponse(fields: Fields<AppendEntriesResponse>): AppendEntriesResponse {
  const { matchIndex = 0 } = fields;
  return {
    type: "appendEntriesResponse",
    from: 2,
    to: 1,
    success: true,
    prevLogIndex: matchIndex,
    matchIndex,
    conflictIndex: 0,
    conflictTerm: 0,
    abstains: false,
    ...fields,
  };
}

export function contactResponse(fields: Fields<ContactResponse>): ContactResponse {
  return { type: "contactResponse", from: 2, to: 1, readRound: 0, abstains: false, ...fields };
}

export function requestVote(fields: Fields<RequestVote>): RequestVote {
  return {
    type: "requestVote",
    from: 2,
    to: 1,
    lastLogIndex: 1,
    lastLogTerm: 0,
    preVote: false,
    leadershipTransfer: false,
    ...fields,
  };
}

export function voteResponse(fields: Fields<RequestVoteResponse>): RequestVoteResponse {
  return { type: "requestVoteResponse", from: 2, to: 1, voteGranted: true, preVote: false, ...fields };
}

/** A piece of a snapshot; by default an empty one in its middle. */
export function installSnapshot(
  snapshot: SnapshotMetadata,
  fields: Fields<InstallSnapshot>,
): InstallSnapshot {
  const { lastIncludedIndex, lastIncludedTerm, lastIncludedCrc } = snapshot;
  return {
    type: "installSnapshot",
    from: 2,
    to: 1,
    lastIncludedIndex,
    lastIncludedTerm,
    lastIncludedCrc,
    offset: 0,
    data: new Uint8Array(),
    done: false,
    ...fields,
  };
}

export function installResponse(
  fields: Fields<InstallSnapshotResponse> & { lastIncludedIndex: number },
): InstallSnapshotResponse {
  return { type: "installSnapshotResponse", from: 2, to: 1, offset: 0, isDamaged: false, ...fields };
}

export function readIndexResponse(fields: Fields<ReadIndexResponse> & { id: number }): ReadIndexResponse {
  return { type: "readIndexResponse", from: 2, to: 1, readIndex: null, ...fields };
}

export function timeoutNow(fields: Fields<TimeoutNow>): TimeoutNow {
  return { type: "timeoutNow", from: 2, to: 1, ...fields };
}

/** The messages of one type, with its fields. */
export function only<T extends Message["type"]>(
  messages: readonly Message[],
  type: T,
): Extract<Message, { type: T }>[] {
  return messages.filter((message): message is Extract<Message, { type: T }> => message.type === type);
}
