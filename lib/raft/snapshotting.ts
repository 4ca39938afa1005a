/**
 * Snapshots (paper 7): the log is cut in front where a snapshot makes it unnecessary, and a follower whose next entry
 * was cut off is sent the snapshot instead, both halves of InstallSnapshot. The core never sees the bytes: it says
 * which piece of which snapshot is wanted, and keeps the order.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { InstallSnapshot, InstallSnapshotResponse } from "./messages.ts";
import { respond, sendContact } from "./replication.ts";
import { becomeSnapshot, type Progress } from "./progress.ts";
import { becomeFollower, leaderOf, send, sendAfterWrite, type State } from "./state.ts";
import type { NodeId, SnapshotMetadata } from "./types.ts";

/** A transfer that has not moved for so many election timeouts begins anew, with the newest snapshot. */
const transferTimeouts = 10;

/** A snapshot that is being received. A piece of another one, or from another folder, begins a new one. */
export interface Receiving {
  from: NodeId;
  /** The folder that it comes from, as far as its node has said. */
  incarnation: string | undefined;
  lastIncludedIndex: number;
  lastIncludedTerm: number;
  lastIncludedCrc: number;
  /** Bytes that came. */
  offset: number;
  /** All of it came. It is looked at before it counts. */
  isComplete: boolean;
}

/** This node has a snapshot, whole and durable, of what it had applied: a newer one, or once more the newest. */
export function onSnapshotTaken(state: State, snapshot: SnapshotMetadata): void {
  const { lastIncludedIndex } = snapshot;
  assert(lastIncludedIndex <= state.handedOutIndex, "a snapshot holds what was applied");
  assert(lastIncludedIndex >= (state.snapshot?.lastIncludedIndex ?? 0), "snapshots never grow older");
  state.snapshot = snapshot;
  state.suspectIndex = 0;
}

/** Cuts the log in front, up to `index`; what is behind the snapshot, and what followers are about to need, stays. */
export function compact(state: State, index: number): void {
  const { lastIncludedIndex } = state.snapshot ?? { lastIncludedIndex: 0 };
  assert(
    index <= lastIncludedIndex,
    `the log is cut up to ${index}, the snapshot reaches to ${lastIncludedIndex}`,
  );
  state.log.compactTo(index);
}

/** Whether a follower needs entries that are only in a snapshot any more. */
export function needsSnapshot(state: State, progress: Progress): boolean {
  return progress.nextIndex <= state.log.base.index;
}

/**
 * Sends a follower the next piece of a snapshot when none is under way. One that brings no answer for an election
 * timeout is sent again: whoever has it already says so.
 */
export function sendSnapshot(state: State, id: NodeId, progress: Progress): void {
  const { snapshot, options, tick } = state;
  assert(snapshot !== null, "what is not in the log is in a snapshot");
  const { transfer: present } = progress;
  // One that is away, or whose disk takes nothing, is not waited for with an old snapshot, which could never be removed.
  const staleTicks = transferTimeouts * options.electionTimeoutTicks.max;
  const isStale = present !== null && tick - present.progressTick > staleTicks;
  const isSuspect = present?.snapshot.lastIncludedIndex === state.suspectIndex &&
    present.snapshot !== snapshot;
  if (present === null || isStale || isSuspect) becomeSnapshot(progress, snapshot, tick);
  const transfer = progress.transfer!;
  if (transfer.sentTick !== null && tick - transfer.sentTick < options.electionTimeoutTicks.max) return;
  transfer.sentTick = tick;
  const { lastIncludedIndex, lastIncludedTerm, lastIncludedCrc } = transfer.snapshot;
  send(state, {
    type: "installSnapshot",
    from: options.id,
    to: id,
    term: state.currentTerm,
    lastIncludedIndex,
    lastIncludedTerm,
    lastIncludedCrc,
    offset: transfer.offset,
    data: new Uint8Array(),
    done: false,
  });
}

/** A leader sends a piece of a snapshot. */
export function onInstallSnapshot(state: State, request: InstallSnapshot): string | null {
  const { log } = state;
  const { from, term, lastIncludedIndex, lastIncludedTerm, lastIncludedCrc, offset, data, done } = request;
  const answer = { from: state.options.id, to: from, term: state.currentTerm };
  const known = leaderOf(state);
  if (term === state.currentTerm && known !== null && known !== from) {
    return `node ${from} claims to lead term ${term}, which node ${known} leads`;
  }
  if (term < state.currentTerm) {
    sendContact(state, from, 0); // as in onAppendEntries
    return null;
  }
  becomeFollower(state, term, from);
  state.electionElapsed = 0;
  sendContact(state, from, 0);
  const isInLog = lastIncludedIndex > log.base.index && lastIncludedIndex <= log.lastIndex &&
    log.termAt(lastIncludedIndex) === lastIncludedTerm;
  if (lastIncludedIndex <= state.commitIndex || isInLog) {
    if (lastIncludedIndex >= log.base.index && log.crcAt(lastIncludedIndex) !== lastIncludedCrc) {
      assert(false, `entry ${lastIncludedIndex} differs from that of node ${from}: the logs have diverged`);
    }
    // It is committed, and what a log has in common with a leader's, it keeps (paper figure 13, step 6).
    state.commitIndex = Math.max(state.commitIndex, lastIncludedIndex);
    acknowledgeSnapshot(state, from, lastIncludedIndex);
    return null;
  }
  const { receiving } = state;
  // While a complete one is looked at nothing is written; then it serves under any leader, who asks again meanwhile.
  if (receiving?.isComplete) return null;
  const incarnation = state.peerIncarnations.get(from);
  const isSame = receiving?.from === from && receiving.incarnation === incarnation &&
    receiving.lastIncludedIndex === lastIncludedIndex;
  const isNext = offset === (isSame ? receiving.offset : 0);
  if (!isNext) {
    const wanted = isSame ? receiving.offset : 0;
    const response = { ...answer, lastIncludedIndex, offset: wanted, isDamaged: false };
    sendAfterWrite(state, { ...response, type: "installSnapshotResponse" });
    return null;
  }
  const end = offset + data.length;
  const name = { from, incarnation, lastIncludedIndex, lastIncludedTerm, lastIncludedCrc };
  state.receiving = { ...name, offset: end, isComplete: done };
  state.chunks.push(request);
  if (done) {
    sendAfterWrite(state, { ...answer, to: answer.from, type: "snapshotReceived", lastIncludedIndex });
  } else {
    const response = { ...answer, lastIncludedIndex, offset: end, isDamaged: false };
    sendAfterWrite(state, { ...response, type: "installSnapshotResponse" });
  }
  return null;
}

/** A snapshot that entries have made needless meanwhile is not waited for. */
export function forgetNeedless(state: State): void {
  const { receiving } = state;
  if (receiving === null || receiving.isComplete || receiving.lastIncludedIndex > state.commitIndex) return;
  state.receiving = null;
}

/** Whether what the received bytes say of themselves is what the leader said of them. */
export function isAsAnnounced(state: State, snapshot: SnapshotMetadata): boolean {
  const { receiving } = state;
  return receiving !== null && receiving.isComplete &&
    receiving.lastIncludedIndex === snapshot.lastIncludedIndex &&
    receiving.lastIncludedTerm === snapshot.lastIncludedTerm &&
    receiving.lastIncludedCrc === snapshot.lastIncludedCrc;
}

/**
 * All of a snapshot came, and it is whole and as announced. True: the log begins anew behind it, and the state machine
 * must become what the snapshot holds before anything else happens. False: it is not needed any more.
 */
export function install(state: State, snapshot: SnapshotMetadata): boolean {
  assert(isAsAnnounced(state, snapshot), "only what was announced is installed");
  const { log } = state;
  const { lastIncludedIndex, lastIncludedTerm } = snapshot;
  state.receiving = null;
  if (state.role.name === "preCandidate") becomeFollower(state, state.currentTerm, null);
  const isInLog = lastIncludedIndex <= log.lastIndex && lastIncludedIndex > log.base.index &&
    log.termAt(lastIncludedIndex) === lastIncludedTerm;
  if (lastIncludedIndex <= state.commitIndex || isInLog || state.role.name !== "follower") return false;
  assert(lastIncludedTerm <= state.currentTerm, "a leader's snapshot is of no later term than its own");
  log.restore(snapshot);
  state.snapshot = state.installed = snapshot;
  state.commitIndex = state.handedOutIndex = lastIncludedIndex;
  state.unwrittenIndex = lastIncludedIndex + 1;
  state.durableConfigurationIndex = log.configurationIndex;
  const { role } = state;
  role.verifiedIndex = lastIncludedIndex;
  if (role.leaderId !== null) acknowledgeSnapshot(state, role.leaderId, lastIncludedIndex);
  return true;
}

/** What came was no whole snapshot. The leader is told, and begins again, if it can with another one. */
export function discard(state: State): void {
  const { receiving, options: { id: from }, currentTerm: term } = state;
  assert(receiving?.isComplete === true, "what is thrown away was received");
  state.receiving = null;
  if (state.role.name !== "follower" || state.role.leaderId !== receiving.from) return;
  const { from: to, lastIncludedIndex } = receiving;
  const answer = { from, to, term, lastIncludedIndex, offset: 0, isDamaged: true };
  sendAfterWrite(state, { ...answer, type: "installSnapshotResponse" });
}

/** A follower says which piece it wants next. */
export function onInstallSnapshotResponse(state: State, response: InstallSnapshotResponse): void {
  const { role: leader } = state;
  if (leader.name !== "leader") return;
  const progress = leader.progress.get(response.from);
  if (progress === undefined) return;
  progress.lastContactTick = state.tick;
  const { transfer } = progress;
  if (transfer === null || transfer.snapshot.lastIncludedIndex !== response.lastIncludedIndex) return;
  if (response.isDamaged) {
    state.suspectIndex = response.lastIncludedIndex;
    becomeSnapshot(progress, transfer.snapshot, state.tick);
    progress.transfer!.sentTick = state.tick; // not in a hurry: a newer one will do better than the same again
    return;
  }
  // The answer to a piece that was sent twice comes twice; the second one asks for what is under way already.
  if (response.offset === transfer.offset && transfer.sentTick !== null) return;
  if (response.offset !== transfer.offset) transfer.progressTick = state.tick;
  transfer.offset = response.offset;
  transfer.sentTick = null;
}

/** Everything up to `index` is here: said as an acknowledgement of entries, once all before it is durable. */
function acknowledgeSnapshot(state: State, to: NodeId, index: number): void {
  const answer = { success: true, matchIndex: index, conflictIndex: 0, conflictTerm: 0 };
  respond(state, { from: to, prevLogIndex: index }, answer);
}
