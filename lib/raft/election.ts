/**
 * Elections (paper 5.2, 5.4.1) with pre-votes (thesis 9.6), leader stickiness (thesis 4.2.3) and CheckQuorum
 * (thesis 6.2). Both halves of RequestVote stand side by side.
 *
 * ```text
 *               timeout                 majority would vote              majority votes
 *    follower ----------> preCandidate -------------------> candidate ------------------> leader
 *       ^  ^------------------'  refused, or a leader speaks    |                           |
 *       '--'----------------------------------------------------'---- a later term, or -----'
 *                                                                     no contact with a majority
 * ```
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { RequestVote, RequestVoteResponse } from "./messages.ts";
import { quorumSize, tally } from "./quorum.ts";
import { startLeading } from "./replication.ts";
import {
  abstains,
  becomeFollower,
  enterTerm,
  isMember,
  type Leader,
  leaderOf,
  peersOf,
  resetElectionTimer,
  send,
  sendAfterWrite,
  type State,
} from "./state.ts";

/** Time passes for a node that is not the leader. */
export function tickElection(state: State): void {
  if (++state.electionElapsed >= state.electionTimeout) campaign(state);
}

/** Asks for pre-votes; once a majority would vote for this node, the election starts. */
export function campaign(state: State): void {
  resetElectionTimer(state);
  if (state.role.name === "leader") return;
  becomeFollower(state, state.currentTerm, null);
  if (!mayStand(state)) return; // but it waits no longer for a leader that is silent
  state.role = { name: "preCandidate", votes: new Map([[state.options.id, true]]) };
  askForVotes(state, { preVote: true, leadershipTransfer: false });
  countPreVotes(state);
}

/** Whether this node may stand for election. */
export function mayStand(state: State): boolean {
  return isMember(state, state.options.id) && !abstains(state);
}

/** Starts an election: a new term, with this node's vote for itself. The vote counts when its own disk has it. */
export function startElection(state: State, leadershipTransfer: boolean): void {
  assert(mayStand(state), "only a member that takes part stands for election");
  becomeFollower(state, state.currentTerm, null);
  resetElectionTimer(state);
  enterTerm(state, state.currentTerm + 1);
  state.votedFor = state.options.id;
  state.role = { name: "candidate", votes: new Map() };
  respondToVote(state, { from: state.options.id, preVote: false }, true);
  askForVotes(state, { preVote: false, leadershipTransfer });
}

function askForVotes(state: State, kind: { preVote: boolean; leadershipTransfer: boolean }): void {
  const { log, options, currentTerm } = state;
  for (const { id } of peersOf(state)) {
    const request: RequestVote = {
      type: "requestVote",
      from: options.id,
      to: id,
      term: kind.preVote ? currentTerm + 1 : currentTerm,
      lastLogIndex: log.lastIndex,
      lastLogTerm: log.lastTerm,
      ...kind,
    };
    // A pre-vote names a term that nobody is in yet, but hints at ours: both wait until the disk has it.
    if (kind.preVote) send(state, request);
    else sendAfterWrite(state, request);
  }
}

/** Someone asks for this node's vote, in a term that is already this node's unless it is a pre-vote. */
export function onRequestVote(state: State, request: RequestVote): void {
  const upToDate = !abstains(state) &&
    state.log.isUpToDate({ index: request.lastLogIndex, term: request.lastLogTerm });
  if (request.preVote) {
    // Says only what would happen. It neither resets a timer nor changes a term, or a node that cannot
    // win could keep the others from trying (hashicorp/raft #609).
    respondToVote(
      state,
      request,
      request.term > state.currentTerm && upToDate && !hasLiveLeader(state, request.from),
    );
    return;
  }
  assert(request.term <= state.currentTerm, "a later term is entered before its vote is considered");
  const free = state.votedFor === request.from || (state.votedFor === null && leaderOf(state) === null);
  const granted = request.term === state.currentTerm && free && upToDate;
  if (granted && state.votedFor === null) {
    state.votedFor = request.from;
    state.hardStateChanged = true;
  }
  if (granted) {
    becomeFollower(state, state.currentTerm, null); // whoever thought of standing itself now does not
    resetElectionTimer(state);
  }
  respondToVote(state, request, granted);
}

/** An answer waits for the disk: a vote must survive a crash, or it might be given twice in one term. */
function respondToVote(
  state: State,
  request: { from: number; preVote: boolean; term?: number },
  voteGranted: boolean,
): void {
  sendAfterWrite(state, {
    type: "requestVoteResponse",
    from: state.options.id,
    to: request.from,
    // A granted pre-vote repeats the term asked about. A refusal tells ours: a candidate behind it follows,
    // so that a longer log in an earlier term and a later term with a shorter log find together (openraft #1796).
    term: voteGranted && request.preVote ? request.term ?? state.currentTerm + 1 : state.currentTerm,
    voteGranted,
    preVote: request.preVote,
  });
}

/**
 * Leader stickiness: this node has heard a leader within the shortest election timeout, so an election would only
 * disturb. The leader that it follows may ask: it has lost its office and says so by asking (hashicorp/raft #606).
 */
export function hasLiveLeader(state: State, asker: number): boolean {
  if (state.role.name === "leader") return true;
  const leaderId = leaderOf(state);
  return leaderId !== null && leaderId !== asker &&
    state.electionElapsed < state.options.electionTimeoutTicks.min;
}

/** A vote arrives, this node's own included. Old ones, and ones for another office, count for nothing. */
export function onRequestVoteResponse(state: State, response: RequestVoteResponse): void {
  const { role } = state;
  if (response.preVote) {
    if (role.name !== "preCandidate") return;
    if (response.voteGranted && response.term !== state.currentTerm + 1) return;
    role.votes.set(response.from, response.voteGranted);
    countPreVotes(state);
    return;
  }
  if (role.name !== "candidate" || response.term !== state.currentTerm) return;
  role.votes.set(response.from, response.voteGranted);
  const result = tally(state.log.configuration, role.votes);
  if (result === "won") startLeading(state);
  if (result === "lost") becomeFollower(state, state.currentTerm, null);
}

function countPreVotes(state: State): void {
  assert(state.role.name === "preCandidate", "only a pre-candidate counts pre-votes");
  const result = tally(state.log.configuration, state.role.votes);
  if (result === "won") startElection(state, false);
  if (result === "lost") becomeFollower(state, state.currentTerm, null);
}

/** CheckQuorum: a leader that a majority has not answered for the longest election timeout steps down. */
export function checkQuorum(state: State, leader: Leader): void {
  const { configuration } = state.log;
  const since = state.tick - state.options.electionTimeoutTicks.max;
  let heard = 0;
  for (const { id } of configuration.members) {
    const progress = leader.progress.get(id);
    const isHeard = progress !== undefined && !progress.abstains && progress.lastContactTick > since;
    if (id === state.options.id || isHeard) heard++;
  }
  if (heard < quorumSize(configuration)) becomeFollower(state, state.currentTerm, null);
}
