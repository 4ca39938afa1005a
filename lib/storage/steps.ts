/**
 * Operations on the disk that must follow one another: each begins when the one before it is durable.
 *
 * @module
 */

import type { Disk, Done } from "../io/io.ts";

/** One operation on the disk. */
export type Step = (done: Done) => void;

/** Runs steps one after another, up to the first that fails. */
export function inTurn(steps: Step[], done: Done): void {
  const [first, ...rest] = steps;
  if (first === undefined) return done(null);
  first((error) => error === null ? inTurn(rest, done) : done(error));
}

/**
 * Removes a file for good. A process that is killed before the fsync of a removal leaves a file that the next process
 * does not see, and that comes back when the power fails. So it is emptied first: what comes back vouches for nothing.
 */
export function removal(disk: Disk, name: string): Step[] {
  return [(next) => disk.truncate(name, 0, next), (next) => disk.remove(name, next)];
}
