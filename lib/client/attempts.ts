/**
 * What is known of an operation that may take several attempts: whether one of them may have been carried out, why the
 * latest failed, and how long to wait before the next.
 *
 * @module
 */

import { ClientError } from "./errors.ts";

/** Operations that change nothing: sending one twice is harmless. All others count as writes. */
export const reads: ReadonlySet<string> = new Set([
  "get",
  "list",
  "session",
  "status",
  "members",
  "ping",
  "help",
]);

/** What the attempts at one operation came to so far. */
export interface Attempts {
  /** A request left and no answer came: it may have been carried out, or yet be. */
  uncertain: boolean;
  /** Why the latest attempt failed. */
  last: ClientError | null;
  /** How long to wait before the next one. */
  waitMs: number;
}

/** Before the first attempt. */
export function noAttempts(): Attempts {
  return { uncertain: false, last: null, waitMs: 0 };
}

/**
 * Errors that tell nothing of attempts before the one that they answer. A node that does not take a line says nothing
 * of what one of another version, or with other limits, made of it.
 */
export const unanswering: ReadonlySet<string> = new Set([
  "closed",
  "sessionExpired",
  "seqTooOld",
  "badRequest",
  "tooLarge",
  "unknownOperation",
]);

/** Nobody saw the end of a write. */
export function outcomeUnknown(why: string, cause: unknown): ClientError {
  const message = `the write may or may not have happened: ${why}`;
  return new ClientError("outcomeUnknown", message, { definite: false, cause });
}

const backoffMsMax = 100;

/** Grows with the number of attempts and is random, so that clients do not come back together. */
export function backoffMs(count: number): number {
  return Math.min(backoffMsMax, 10 * 2 ** count) * (0.5 + Math.random() / 2);
}
