/**
 * What must hold, by names that a command line can choose from, and how a breach of it is told.
 *
 * @module
 */

import type { NodeId } from "../../lib/raft/types.ts";

/** Everything that is checked. */
export const promises = [
  "one leader a term",
  "log matching",
  "state machine safety",
  "committed entries are durable on a majority",
  "leader completeness",
  "who may yet be elected has what is committed",
  "matchIndex is durable there",
  "nothing is claimed that is not durable",
  "terms never go back",
  "a vote stays for its term",
  "commitIndex never goes back",
  "entries are applied in order, each once",
  "a leader only appends",
  "honest messages are taken",
  "no node stops itself",
] as const;

/** One of them. */
export type SafetyPromise = typeof promises[number];

/** A breach of one. */
export interface Violation {
  readonly promise: SafetyPromise;
  readonly words: string;
}

/** Says what node `id` did. */
export function violation(promise: SafetyPromise, id: NodeId, words: string): Violation {
  return { promise, words: `node ${id}: ${words}` };
}
