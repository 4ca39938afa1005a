/**
 * The logs that occur, in memory and on disks, each numbered once: states name them by number, and what is true of
 * two of them is worked out once.
 *
 * @module
 */

import type { Entry } from "../../lib/raft/types.ts";

/** A log; the checksum of an entry stands for all before it. */
export interface KnownLog {
  readonly number: number;
  readonly entries: readonly Entry[];
}

/** Gives logs their numbers. */
export class Logs {
  readonly #logs = new Map<string, KnownLog>();
  readonly #matching = new Map<number, boolean>();

  /** The one log with these entries, from index 1 on. */
  known(entries: readonly Entry[]): KnownLog {
    const key = `${entries.length} ${entries.at(-1)?.crc}`;
    let log = this.#logs.get(key);
    if (log === undefined) this.#logs.set(key, log = { number: this.#logs.size, entries });
    return log;
  }

  /** Log matching (paper 5.3): up to the last index at which the terms are equal, all entries are. */
  match(a: KnownLog, b: KnownLog): boolean {
    if (a === b) return true;
    const key = a.number * 2 ** 26 + b.number;
    let matching = this.#matching.get(key);
    if (matching === undefined) this.#matching.set(key, matching = matches(a, b));
    return matching;
  }
}

function matches({ entries: a }: KnownLog, { entries: b }: KnownLog): boolean {
  for (let at = Math.min(a.length, b.length) - 1; at >= 0; at--) {
    if (a[at]!.term === b[at]!.term && a[at]!.crc !== b[at]!.crc) return false;
  }
  return true;
}

/** Whether a log has this very entry, and so all before it. */
export function holds({ entries }: KnownLog, { index, crc }: Pick<Entry, "index" | "crc">): boolean {
  return entries[index - 1]?.crc === crc;
}

/** Whether a log that ends like `a` would get the vote of a node whose log is `b` (paper 5.4.1). */
export function isUpToDate({ entries: a }: KnownLog, { entries: b }: KnownLog): boolean {
  const own = a.at(-1)!, other = b.at(-1)!;
  return own.term > other.term || (own.term === other.term && own.index >= other.index);
}
