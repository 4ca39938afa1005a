/**
 * Leadership transfer (thesis 3.10): the leader stops taking proposals, brings the target up to date and tells it
 * to stand for election at once. If that does not happen within an election timeout, everything is as before.
 *
 * @module
 */

import { mayStand, startElection } from "./election.ts";
import { becomeFollower, isMember, type Leader, peersOf, send, type State } from "./state.ts";
import type { TimeoutNow } from "./messages.ts";
import type { NodeId } from "./types.ts";

/**
 * Begins to hand leadership to `target`, or to the follower with the longest matching log. Returns why it cannot,
 * or null. A transfer to another target takes the place of one under way.
 */
export function startTransfer(state: State, target: NodeId | null): string | null {
  const { role: leader } = state;
  if (leader.name !== "leader") return "this node does not lead";
  const chosen = target ?? mostComplete(state, leader);
  if (chosen === null) return "there is no other member";
  if (chosen === state.options.id) return `node ${chosen} leads already`;
  if (!isMember(state, chosen)) return `node ${chosen} is not a member`;
  if (leader.progress.get(chosen)!.abstains) return `node ${chosen} abstains until it is admitted again`;
  if (leader.transfer?.target === chosen) return null;
  leader.transfer = { target: chosen, ticks: 0, timeoutNowSent: false };
  continueTransfer(state, leader);
  return null;
}

/** Tells the target once it has the whole log. */
export function continueTransfer(state: State, leader: Leader): void {
  const { transfer } = leader;
  if (transfer === null || transfer.timeoutNowSent) return;
  if ((leader.progress.get(transfer.target)?.matchIndex ?? 0) < state.log.lastIndex) return;
  transfer.timeoutNowSent = true;
  const { options: { id: from }, currentTerm: term } = state;
  send(state, { type: "timeoutNow", from, to: transfer.target, term });
}

/** Time passes for a transfer; it is given up after the longest election timeout, or when the target is gone. */
export function tickTransfer(state: State, leader: Leader): void {
  const { transfer } = leader;
  if (transfer === null) return;
  transfer.ticks++;
  if (transfer.ticks >= state.options.electionTimeoutTicks.max || !isMember(state, transfer.target)) {
    leader.transfer = null;
  }
}

/** The leader wants this node to take over. Only a follower in the leader's term does. */
export function onTimeoutNow(state: State, message: TimeoutNow): void {
  if (state.role.name !== "follower" || message.term !== state.currentTerm) return;
  if (mayStand(state)) startElection(state, true);
}

/** Leads no more, and tells the follower that suits best to stand for election, without waiting for anything. */
export function abdicate(state: State): void {
  const { role: leader, currentTerm: term, options: { id: from } } = state;
  if (leader.name !== "leader") return;
  const to = mostComplete(state, leader);
  becomeFollower(state, term, null);
  if (to !== null) send(state, { type: "timeoutNow", from, to, term });
}

function mostComplete(state: State, leader: Leader): NodeId | null {
  // Of equal logs the one that was heard last: a member that has gone may have everything and yet never answer.
  const [best] = peersOf(state).map(({ id }) => ({ id, ...leader.progress.get(id)! }))
    .filter(({ abstains }) => !abstains)
    .sort((a, b) => b.matchIndex - a.matchIndex || b.lastContactTick - a.lastContactTick);
  return best?.id ?? null;
}
