/**
 * A look at each message before it may change anything. What no honest member can have sent is refused with a text,
 * so that neither a broken peer nor a stranger gets as far as the protocol or its assertions.
 *
 * @module
 */

import type { AppendEntries, InstallSnapshot, Message } from "./messages.ts";
import type { State } from "./state.ts";

/** No honest cluster gets through that many terms while a node is away. */
const termJumpMax = 1_000_000;

/** What is wrong with a message, or null. */
export function inspect(state: State, message: Message): string | null {
  const { id } = state.options;
  if (message.to !== id) return `the message is for node ${message.to}, this is node ${id}`;
  if (message.from === id) return null; // rode on a write of this node
  if (isOwn(message)) return `${message.type} comes from the node itself only`;
  if (message.term > state.currentTerm + termJumpMax) {
    return `term ${message.term} is too far ahead of ${state.currentTerm}`;
  }
  if (message.type === "appendEntries") return inspectEntries(message) ?? inspectPast(state, message);
  if (message.type === "installSnapshot") return inspectSnapshot(message);
  const isAnswer = message.type === "appendEntriesResponse" && message.term === state.currentTerm;
  if (isAnswer && state.role.name === "leader" && message.matchIndex > state.log.lastIndex) {
    return `it claims to have entry ${message.matchIndex}, the log ends at ${state.log.lastIndex}`;
  }
  return null;
}

/** The entries must continue each other, the place where they belong, and the order of terms. */
function inspectEntries(message: AppendEntries): string | null {
  let index = message.prevLogIndex, term = message.prevLogTerm, crc = message.prevLogCrc;
  for (const entry of message.entries) {
    if (entry.index !== ++index) return `entry ${entry.index} stands where ${index} belongs`;
    if (entry.prevCrc !== crc) return `entry ${index} is not chained to the one before`;
    if (entry.term < term || entry.term > message.term) {
      return `entry ${index} is of a term out of order, ${entry.term}`;
    }
    ({ term, crc } = entry);
  }
  return null;
}

function isOwn({ type }: Message): boolean {
  return type === "termDurable" || type === "configurationDurable" || type === "snapshotReceived";
}

function inspectSnapshot({ lastIncludedIndex, lastIncludedTerm, term }: InstallSnapshot): string | null {
  if (lastIncludedIndex < 1) return "a snapshot holds at least one entry";
  return lastIncludedTerm > term ? `a snapshot of term ${lastIncludedTerm} is offered in term ${term}` : null;
}

/** What is committed is the same on every member. */
function inspectPast(
  state: State,
  { term, prevLogIndex, prevLogTerm, entries }: AppendEntries,
): string | null {
  const { commitIndex, currentTerm, log } = state;
  if (term < currentTerm) return null; // the sender is only told so
  const contradicts = (place: { index: number; term: number }) =>
    place.index >= log.base.index && place.index <= commitIndex && log.termAt(place.index) !== place.term;
  if (contradicts({ index: prevLogIndex, term: prevLogTerm })) return contradiction(prevLogIndex);
  for (const entry of entries) {
    if (entry.index > commitIndex) break; // as a rule already the first one
    if (contradicts(entry)) return contradiction(entry.index);
  }
  return null;
}

function contradiction(index: number): string {
  return `it contradicts entry ${index}, which is committed`;
}
