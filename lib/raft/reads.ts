/**
 * Linearizable reads without a log entry: ReadIndex (thesis 6.4). A leader notes its commitIndex, makes sure by a
 * round of contact with a majority that it still is the leader, and then answers from anything that has applied
 * that index. Rounds are numbered; each Ready with new reads starts one, and several may be under way.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { ReadIndexRequest, ReadIndexResponse } from "./messages.ts";
import { reachedByQuorum } from "./quorum.ts";
import { type Follower, type Leader, leaderOf, send, type State } from "./state.ts";
import type { NodeId } from "./types.ts";

/** Requests that wait for the next round. Followers send one for many readers, so there are never so many. */
const waitingMax = 4096;

/** Who waits: a caller of this node, or another node on behalf of its own callers. */
interface Reader {
  from: NodeId;
  id: number;
}

/** A leader's reads. */
export interface LeaderReads {
  /** Arrived since the last round began, or before the no-op of this term is committed. */
  waiting: Reader[];
  /** Rounds under way, oldest first: `readIndex` was the commitIndex when the round began. */
  rounds: { round: number; readIndex: number; readers: Reader[] }[];
  /** Number of the latest round; only grows within a term. */
  round: number;
}

/** A follower's reads, which its leader confirms. */
export interface ForwardedReads {
  /** Not yet asked for. */
  waiting: number[];
  /** Requests under way, oldest first. `request` is a number of its own for each attempt. */
  asked: { request: number; tick: number; ids: number[] }[];
}

/** Takes a read of this node's own caller. False: no leader is known, nothing was taken. */
export function startRead(state: State, id: number): boolean {
  const { role } = state;
  if (role.name === "leader") {
    role.reads.waiting.push({ from: state.options.id, id });
    return true;
  }
  if (role.name !== "follower" || role.leaderId === null) return false;
  role.reads.waiting.push(id);
  return true;
}

/** Another node asks on behalf of its callers. */
export function onReadIndexRequest(state: State, request: ReadIndexRequest): void {
  const reader = { from: request.from, id: request.id };
  const { role } = state;
  if (role.name === "leader" && role.reads.waiting.length < waitingMax) role.reads.waiting.push(reader);
  else answer(state, reader, null);
}

/**
 * Begins a round for the leader's new reads. Reads wait for the first commit of this term: before it, commitIndex
 * may lie behind what an earlier leader has acknowledged.
 */
export function startReadRound(state: State, leader: Leader): void {
  const { reads } = leader;
  if (reads.waiting.length === 0 || state.commitIndex < leader.noopIndex) return;
  reads.round++;
  reads.rounds.push({ round: reads.round, readIndex: state.commitIndex, readers: reads.waiting });
  reads.waiting = [];
  confirmReads(state, leader); // in a cluster of one there is nobody to ask
}

/** Answers the rounds that a majority has confirmed. */
export function confirmReads(state: State, leader: Leader): void {
  const { reads } = leader;
  if (reads.rounds.length === 0) return;
  const confirmed = reachedByQuorum(
    state.log.configuration,
    (id) => id === state.options.id ? reads.round : leader.progress.get(id)?.readRound ?? 0,
  );
  while (reads.rounds.length > 0 && reads.rounds[0]!.round <= confirmed) {
    const { readIndex, readers } = reads.rounds.shift()!;
    for (const reader of readers) answer(state, reader, readIndex);
  }
}

/** The leader leads no more: nothing that it has not confirmed may be answered. */
export function cancelLeaderReads(state: State, leader: Leader): void {
  const { waiting, rounds } = leader.reads;
  for (const reader of [...rounds.flatMap((round) => round.readers), ...waiting]) answer(state, reader, null);
}

function answer(state: State, reader: Reader, readIndex: number | null): void {
  const { id: self } = state.options;
  if (reader.from === self) state.readResults.push({ id: reader.id, readIndex });
  else {
    const { currentTerm: term } = state;
    send(state, { type: "readIndexResponse", from: self, to: reader.from, term, id: reader.id, readIndex });
  }
}

/** Asks the leader about a follower's new reads, all in one request. */
export function forwardReads(state: State, follower: Follower): void {
  const { reads, leaderId } = follower;
  if (reads.waiting.length === 0) return;
  assert(leaderId !== null, "reads are taken only where the leader is known");
  const request = ++state.lastReadRequest;
  reads.asked.push({ request, tick: state.tick, ids: reads.waiting });
  reads.waiting = [];
  const { options: { id: from }, currentTerm: term } = state;
  send(state, { type: "readIndexRequest", from, to: leaderId, term, id: request });
}

/** The leader has confirmed, or refused, a follower's reads. An answer to an attempt given up is ignored. */
export function onReadIndexResponse(state: State, response: ReadIndexResponse): void {
  const { role } = state;
  if (role.name !== "follower") return;
  const at = role.reads.asked.findIndex((asked) => asked.request === response.id);
  if (at < 0) return;
  const [asked] = role.reads.asked.splice(at, 1);
  for (const id of asked!.ids) state.readResults.push({ id, readIndex: response.readIndex });
  // What the leader has committed and this log shares with the leader's is committed here too: the
  // read need not wait for the next heartbeat to say so.
  if (response.readIndex !== null && leaderOf(state) === response.from) {
    state.commitIndex = Math.max(state.commitIndex, Math.min(response.readIndex, role.verifiedIndex));
  }
}

/** A follower gives up requests that have been under way for long; their readers try again. */
export function expireForwardedReads(state: State, follower: Follower): void {
  const { asked } = follower.reads;
  while (asked.length > 0 && state.tick - asked[0]!.tick >= state.options.electionTimeoutTicks.min) {
    for (const id of asked.shift()!.ids) state.readResults.push({ id, readIndex: null });
  }
}

/** The leader has changed or cannot be reached: a follower's readers try again. */
export function cancelForwardedReads(state: State, follower: Follower): void {
  const { asked, waiting } = follower.reads;
  for (const id of [...asked.flatMap((request) => request.ids), ...waiting]) {
    state.readResults.push({ id, readIndex: null });
  }
  follower.reads = { waiting: [], asked: [] };
}
