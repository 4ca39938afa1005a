/**
 * What must hold of every step of a single node: nothing goes back, nothing is said that its disk does not hold.
 *
 * @module
 */

import type { Message } from "../../lib/raft/messages.ts";
import { holds } from "./logs.ts";
import type { NodeState, Output } from "./processes.ts";
import { type SafetyPromise, type Violation, violation } from "./violation.ts";

/** What does not hold of a step. */
export function checkStep(
  before: NodeState,
  after: NodeState,
  { refusal, sent, committed }: Output,
): Violation[] {
  const { id, term, commitIndex, disk: { hardState } } = after;
  const found: Violation[] = [];
  const check = (promise: SafetyPromise, isKept: boolean, words: string): void => {
    if (!isKept) found.push(violation(promise, id, words));
  };
  check("honest messages are taken", refusal === null, `${refusal}`);
  const { currentTerm, votedFor } = before.disk.hardState;
  const isLater = hardState.currentTerm >= currentTerm && term >= before.term;
  check("terms never go back", isLater, `term ${before.term} to ${term}`);
  const isSame = term > before.term || before.votedFor === null || after.votedFor === before.votedFor;
  const isSameOnDisk = hardState.currentTerm > currentTerm || votedFor === null ||
    hardState.votedFor === votedFor;
  check("a vote stays for its term", isSame && isSameOnDisk, `its vote of term ${before.term} changed`);
  const isForward = commitIndex >= before.commitIndex;
  check("commitIndex never goes back", isForward, `from ${before.commitIndex} to ${commitIndex}`);
  const isInOrder = committed.length === commitIndex - before.commitIndex &&
    committed.every((entry, at) => entry.index === before.commitIndex + at + 1 && holds(after.log, entry));
  check("entries are applied in order, each once", isInOrder, "they were not");
  const leads = before.role === "leader" && after.role === "leader" && term === before.term;
  const isKept = !leads || holds(after.log, before.log.entries.at(-1)!);
  check("a leader only appends", isKept, "its log was cut");
  // A vote that was given is on the disk, where it does not change: so none changes across crashes either.
  for (const packet of sent) {
    const claim = packet.type === "started" ? null : unfounded(packet, after);
    check("nothing is claimed that is not durable", claim === null, `${claim}`);
  }
  return found;
}

/** What a message claims that the disk of its sender does not hold; null: nothing. */
function unfounded(message: Message, { disk: { hardState, entries } }: NodeState): string | null {
  const { type, term } = message;
  const isVote = type === "requestVote" || type === "requestVoteResponse";
  const spoken = isVote && message.preVote ? 0 : term;
  if (spoken > hardState.currentTerm) return `it speaks term ${term}, its disk has ${hardState.currentTerm}`;
  const choice = type === "requestVote" ? message.from : message.to;
  const isGiven = isVote && !message.preVote && (type === "requestVote" || message.voteGranted);
  if (isGiven && term === hardState.currentTerm && hardState.votedFor !== choice) {
    return `it gives node ${choice} its vote of term ${term}, its disk has ${hardState.votedFor}`;
  }
  if (type === "appendEntriesResponse" && message.matchIndex > entries.length) {
    return `it acknowledges entry ${message.matchIndex}, its disk ends with ${entries.length}`;
  }
  return null;
}
