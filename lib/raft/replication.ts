/**
 * Log replication (paper 5.3, 5.4.2): both halves of AppendEntries, and what a leader concludes from the answers.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { makeEntry } from "./entry.ts";
import type { AppendEntries, AppendEntriesResponse, ContactResponse } from "./messages.ts";
import { acknowledge, becomeProbe, newProgress, type Progress, recordSent } from "./progress.ts";
import { reachedByQuorum } from "./quorum.ts";
import { cancelForwardedReads, confirmReads } from "./reads.ts";
import { needsSnapshot, sendSnapshot } from "./snapshotting.ts";
import {
  abstains,
  becomeFollower,
  type Leader,
  leaderOf,
  peersOf,
  send,
  sendAfterWrite,
  type State,
} from "./state.ts";
import type { Entry, EntryKind, NodeId } from "./types.ts";

/** A candidate won: it leads, and opens its term with a no-op, which commits what earlier terms left (paper 8). */
export function startLeading(state: State): void {
  const { log, options } = state;
  assert(state.role.name === "candidate", "a leader was a candidate before");
  assert(state.durableTerm === state.currentTerm, "a leader's term is durable before it is spoken");
  assert(state.unwrittenIndex === log.lastIndex + 1, "a candidate's log is durable before it wins");
  const progress = new Map<NodeId, Progress>();
  for (const { id } of log.configuration.members) progress.set(id, newProgress(log.lastIndex, state.tick));
  acknowledge(progress.get(options.id)!, log.lastIndex);
  const leader: Leader = {
    name: "leader",
    progress,
    noopIndex: log.lastIndex + 1,
    uncommittedBytes: 0,
    ticksSinceHeartbeat: 0,
    heartbeatDue: true,
    reads: { waiting: [], rounds: [], round: 0 },
    transfer: null,
  };
  for (let i = state.commitIndex + 1; i <= log.lastIndex; i++) {
    leader.uncommittedBytes += log.at(i)!.line.length;
  }
  state.role = leader;
  appendOwn(state, leader, "noop", null);
}

/** Adds an entry of the leader's own term to its log. The next Ready sends it to the disk and to the followers. */
export function appendOwn(state: State, leader: Leader, kind: EntryKind, command: unknown): Entry {
  const { log } = state;
  const entry = makeEntry({
    index: log.lastIndex + 1,
    term: state.currentTerm,
    kind,
    command,
    prevCrc: log.crcAt(log.lastIndex),
  });
  log.append(entry);
  leader.uncommittedBytes += entry.line.length;
  return entry;
}

/** Time passes for a leader. */
export function tickHeartbeat(state: State, leader: Leader): void {
  if (++leader.ticksSinceHeartbeat < state.options.heartbeatTicks) return;
  leader.ticksSinceHeartbeat = 0;
  leader.heartbeatDue = true;
}

/**
 * Tells every follower what it does not know yet: new entries as far as the window allows, else a read round or,
 * on a tick, a heartbeat or a new commitIndex. Called once for each Ready, so that one message carries all that is new.
 */
export function sendAppendEntries(state: State, leader: Leader, tickPassed: boolean): void {
  const { lastIndex } = state.log;
  for (const { id } of peersOf(state)) {
    const progress = leader.progress.get(id)!;
    let sent = false;
    if (progress.mode === "snapshot" || needsSnapshot(state, progress)) sendSnapshot(state, id, progress);
    while (progress.nextIndex <= lastIndex && hasRoom(state, progress)) {
      sendTo(state, leader, { id, progress }, true);
      sent = true;
    }
    const silentProbe = progress.mode === "probe" && !progress.probeSent;
    const news = progress.sentReadRound < leader.reads.round ||
      (tickPassed && progress.sentCommit < state.commitIndex);
    // A heartbeat goes beside entries too: it is answered at once, they only when the follower's disk has them.
    if (leader.heartbeatDue || (!sent && (silentProbe || news))) {
      sendTo(state, leader, { id, progress }, false);
    }
  }
  leader.heartbeatDue = false;
}

function hasRoom(state: State, progress: Progress): boolean {
  if (progress.mode === "snapshot") return false;
  return progress.mode === "probe"
    ? !progress.probeSent
    : progress.inflightBytes < state.options.inflightBytesMax;
}

function sendTo(
  state: State,
  leader: Leader,
  { id, progress }: { id: NodeId; progress: Progress },
  withEntries: boolean,
): void {
  const { log, options } = state;
  // While a snapshot is under way nothing can be asked of the follower's log: it is only told that its leader lives.
  const isEmpty = progress.mode === "snapshot";
  const prevLogIndex = isEmpty ? 0 : progress.nextIndex - 1;
  const { entries, bytes } = withEntries
    ? log.sliceBytes(progress.nextIndex, options.appendBytesMax)
    : { entries: [], bytes: 0 };
  send(state, {
    type: "appendEntries",
    from: options.id,
    to: id,
    term: state.currentTerm,
    prevLogIndex,
    prevLogTerm: isEmpty ? 0 : log.termAt(prevLogIndex),
    prevLogCrc: isEmpty ? 0 : log.crcAt(prevLogIndex),
    leaderCommit: state.commitIndex,
    readRound: leader.reads.round,
    entries,
  });
  if (entries.length > 0) recordSent(progress, prevLogIndex + entries.length, bytes);
  else if (progress.mode === "probe") progress.probeSent = true;
  progress.sentCommit = state.commitIndex;
  progress.sentReadRound = leader.reads.round;
}

/** A leader speaks. Returns why the message was refused, or null. */
export function onAppendEntries(state: State, request: AppendEntries): string | null {
  if (request.term < state.currentTerm) {
    // The sender leads no more. Told of our term it steps down, also when we are the one
    // that ran ahead alone and could otherwise never be heard again (canonical/raft #279).
    // No answer about the log: the sender might lead again by then, and take it for one of its new term.
    sendContact(state, request.from, 0);
    return null;
  }
  const known = leaderOf(state);
  if (known !== null && known !== request.from) {
    return `node ${request.from} claims to lead term ${request.term}, which node ${known} leads`;
  }
  becomeFollower(state, request.term, request.from);
  state.electionElapsed = 0;
  assert(state.role.name === "follower", "who hears a leader follows it");
  if (request.entries.length === 0 || request.readRound > state.role.readRound) {
    sendContact(state, request.from, request.readRound);
  }
  state.role.readRound = Math.max(state.role.readRound, request.readRound);

  const { log } = state;
  const { prevLogIndex, prevLogTerm, entries } = request;
  const isCut = prevLogIndex < log.base.index; // in the snapshot, so committed
  if (prevLogIndex > log.lastIndex || (!isCut && log.termAt(prevLogIndex) !== prevLogTerm)) {
    assert(
      prevLogIndex > state.commitIndex,
      `entry ${prevLogIndex} is committed; a leader has it with the same term`,
    );
    const conflictIndex = Math.max(state.commitIndex, log.lastIndexWithTermAtMost(prevLogTerm, prevLogIndex));
    const conflictTerm = log.termAt(conflictIndex);
    respond(state, request, { success: false, matchIndex: 0, conflictIndex, conflictTerm });
    return null;
  }
  assert(
    isCut || log.crcAt(prevLogIndex) === request.prevLogCrc,
    `entry ${prevLogIndex} of term ${prevLogTerm} differs from that of node ${request.from}: the logs have diverged`,
  );
  takeEntries(state, entries);
  const matchIndex = prevLogIndex + entries.length;
  state.role.verifiedIndex = Math.max(state.role.verifiedIndex, matchIndex);
  // Not min(leaderCommit, lastIndex): behind matchIndex may stand entries that no leader has confirmed.
  state.commitIndex = Math.max(state.commitIndex, Math.min(request.leaderCommit, matchIndex));
  respond(state, request, { success: true, matchIndex, conflictIndex: 0, conflictTerm: 0 });
  return null;
}

/** Adds what is new. Entries that are there already stay, and so does what follows them (hashicorp/raft #113). */
function takeEntries(state: State, entries: readonly Entry[]): void {
  const { log } = state;
  for (const entry of entries) {
    if (entry.index < log.base.index) continue;
    if (entry.index <= log.lastIndex) {
      if (log.termAt(entry.index) === entry.term) {
        assert(
          log.crcAt(entry.index) === entry.crc,
          `entry ${entry.index} of term ${entry.term} differs from the leader's: the logs have diverged`,
        );
        continue;
      }
      assert(entry.index > state.commitIndex, `entry ${entry.index} is committed and never replaced`);
      log.truncateFrom(entry.index);
      state.unwrittenIndex = Math.min(state.unwrittenIndex, entry.index);
      state.durableConfigurationIndex = Math.min(state.durableConfigurationIndex, log.configurationIndex);
    }
    log.append(entry);
  }
}

/** Answers a leader once everything so far is durable. */
export function respond(
  state: State,
  request: Pick<AppendEntries, "from" | "prevLogIndex">,
  answer: Pick<AppendEntriesResponse, "success" | "matchIndex" | "conflictIndex" | "conflictTerm">,
): void {
  sendAfterWrite(state, {
    type: "appendEntriesResponse",
    from: state.options.id,
    to: request.from,
    term: state.currentTerm,
    prevLogIndex: request.prevLogIndex,
    ...answer,
    abstains: abstains(state),
  });
}

/** Says at once that a leader was heard, or that it leads no more. */
export function sendContact(state: State, to: NodeId, readRound: number): void {
  const { options: { id: from }, currentTerm: term } = state;
  send(state, { type: "contactResponse", from, to, term, readRound, abstains: abstains(state) });
}

/** A follower, or this leader's own disk, answers in the present term. */
export function onAppendEntriesResponse(state: State, response: AppendEntriesResponse): void {
  const { role: leader } = state;
  if (leader.name !== "leader") return;
  const progress = leader.progress.get(response.from);
  if (progress === undefined) return; // removed meanwhile
  progress.lastContactTick = state.tick;
  progress.abstains = response.abstains;
  if (!response.success) {
    onRejection(state, progress, response);
    return;
  }
  assert(
    response.matchIndex <= state.log.lastIndex,
    `node ${response.from} has nothing that its leader lacks`,
  );
  acknowledge(progress, response.matchIndex);
  advanceCommitIndex(state, leader);
}

/** The logs part before `prevLogIndex`: look for the place, skipping a whole term at each exchange. */
function onRejection(state: State, progress: Progress, response: AppendEntriesResponse): void {
  const stale = progress.mode === "snapshot" || response.prevLogIndex <= progress.matchIndex ||
    (progress.mode === "probe" && response.prevLogIndex !== progress.nextIndex - 1);
  if (stale) return;
  const last = state.log.lastIndexWithTermAtMost(response.conflictTerm, response.conflictIndex);
  becomeProbe(progress, Math.min(last + 1, response.prevLogIndex));
}

/** A follower was in this term when it heard a message of ours. */
export function onContactResponse(state: State, response: ContactResponse): void {
  const { role: leader } = state;
  if (leader.name !== "leader") return;
  const progress = leader.progress.get(response.from);
  if (progress === undefined) return;
  progress.lastContactTick = state.tick;
  progress.abstains = response.abstains;
  if (response.abstains) return;
  progress.readRound = Math.max(progress.readRound, Math.min(response.readRound, leader.reads.round));
  confirmReads(state, leader);
}

/** The connection to a node broke: what was under way to it may be lost. */
export function onUnreachable(state: State, id: NodeId): void {
  const { role } = state;
  if (role.name === "leader") {
    const progress = role.progress.get(id);
    // A search for the place where the logs part goes on where it was; replication goes back to what is known.
    if (progress?.mode === "probe") becomeProbe(progress, progress.nextIndex);
    if (progress?.mode === "replicate") becomeProbe(progress, progress.matchIndex + 1);
    if (progress?.transfer) progress.transfer.sentTick = null;
  }
  if (role.name === "follower" && role.leaderId === id) cancelForwardedReads(state, role);
}

/** Commits what a majority has on disk, if it is of this term; earlier terms' entries go with it (paper 5.4.2). */
export function advanceCommitIndex(state: State, leader: Leader): void {
  const { log } = state;
  const reached = reachedByQuorum(log.configuration, (id) => {
    const progress = leader.progress.get(id);
    return progress === undefined || progress.abstains ? 0 : progress.matchIndex;
  });
  if (reached <= state.commitIndex || log.termAt(reached) !== state.currentTerm) return;
  for (let i = state.commitIndex + 1; i <= reached; i++) leader.uncommittedBytes -= log.at(i)!.line.length;
  state.commitIndex = reached;
}
