/**
 * Assertions that stay on in production: a node whose invariants are broken stops rather than spread the damage.
 *
 * @module
 */

/** An invariant of the program was broken. Caught only where it ends the node (lib/node/fuse.ts): exit code 5. */
export class AssertionFailed extends Error {
  /** Always "AssertionFailed". */
  override name = "AssertionFailed";
}

/**
 * Stops the caller when `condition` is false. The message says what was expected, in words; where many are never needed,
 * a function makes it.
 *
 * @example
 * ```ts
 * import { assert } from "./assert.ts";
 * const commitIndex = 7, lastIndex = 9;
 * assert(commitIndex <= lastIndex, "commitIndex is at most lastIndex");
 * ```
 */
export function assert(condition: boolean, message: string | (() => string)): asserts condition {
  if (!condition) throw new AssertionFailed(typeof message === "string" ? message : message());
}
