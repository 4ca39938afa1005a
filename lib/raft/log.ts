/**
 * The log in memory: consecutive entries from index 1. It also answers which configuration is in force, because
 * that is the newest one in the log, committed or not (thesis 4.1), and falls back when the log is cut.
 *
 * ```text
 *    1 ........ handed out ........ commitIndex ........ handed to the disk ........ lastIndex
 *      applied by the state machine             known, not yet agreed        only in memory
 * ```
 *
 * @module
 */

import { assert } from "../assert.ts";
import { configurationOf } from "./entry.ts";
import type { Configuration, Entry } from "./types.ts";

const noMembers: Configuration = { members: [] };

/** Consecutive entries from index 1, each chained to the one before by its crc. */
export class Log {
  #entries: Entry[] = [];
  /** Indexes of the configuration entries, ascending. */
  #configurationIndexes: number[] = [];

  constructor(entries: readonly Entry[] = []) {
    for (const entry of entries) this.append(entry);
  }

  /** Index of the last entry; 0 when there is none. */
  get lastIndex(): number {
    return this.#entries.length;
  }

  /** Term of the last entry; 0 when there is none. */
  get lastTerm(): number {
    return this.termAt(this.lastIndex);
  }

  /** The entry at `index`, or undefined outside of the log. */
  at(index: number): Entry | undefined {
    return this.#entries[index - 1];
  }

  /** Term of the entry at `index`, which must be in the log; 0 at index 0. */
  termAt(index: number): number {
    return index === 0 ? 0 : this.#known(index).term;
  }

  /** Checksum of the entry at `index`, which must be in the log; 0 at index 0. */
  crcAt(index: number): number {
    return index === 0 ? 0 : this.#known(index).crc;
  }

  /** The entries from `first` to `last`, both included. */
  slice(first: number, last: number): Entry[] {
    return this.#entries.slice(first - 1, last);
  }

  /** Entries from `first` on, up to about `bytesMax` bytes of lines but at least one if there is one. */
  sliceBytes(first: number, bytesMax: number): { entries: Entry[]; bytes: number } {
    let end = first, bytes = 0;
    for (let entry; (entry = this.at(end)) !== undefined; end++) {
      if (bytes > 0 && bytes + entry.line.length > bytesMax) break;
      bytes += entry.line.length;
    }
    return { entries: this.slice(first, end - 1), bytes };
  }

  /** Adds the next entry, which must continue index, term and chain. */
  append(entry: Entry): void {
    assert(
      entry.index === this.lastIndex + 1,
      `entry ${entry.index} follows the last one, ${this.lastIndex}`,
    );
    assert(entry.term >= this.lastTerm, `terms never go back in a log: ${entry.term} after ${this.lastTerm}`);
    assert(entry.prevCrc === this.crcAt(this.lastIndex), `entry ${entry.index} is chained to the one before`);
    this.#entries.push(entry);
    if (entry.kind === "configuration") this.#configurationIndexes.push(entry.index);
  }

  /** Removes the entry at `index` and all behind it. */
  truncateFrom(index: number): void {
    assert(index >= 1, "a log is cut at an index from 1");
    this.#entries.length = Math.min(this.#entries.length, index - 1);
    while ((this.#configurationIndexes.at(-1) ?? 0) >= index) this.#configurationIndexes.pop();
  }

  /** Whether a log that ends with the given entry is at least as complete as this one (paper 5.4.1). */
  isUpToDate(last: { index: number; term: number }): boolean {
    return last.term > this.lastTerm || (last.term === this.lastTerm && last.index >= this.lastIndex);
  }

  /**
   * The last index, at most `index`, whose term is at most `term`. Both halves of the search for the point where
   * two logs part use it, so that a whole term is skipped by each exchange (paper 5.3, end).
   */
  lastIndexWithTermAtMost(term: number, index: number): number {
    let low = 0, high = Math.min(index, this.lastIndex);
    while (low < high) { // terms never go back, so a binary search serves
      const middle = Math.ceil((low + high) / 2);
      if (this.termAt(middle) <= term) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The configuration in force: the newest in the log. Without members before the cluster is founded. */
  get configuration(): Configuration {
    const index = this.configurationIndex;
    return index === 0 ? noMembers : configurationOf(this.#known(index));
  }

  /** Index of the configuration in force; 0 before the cluster is founded. */
  get configurationIndex(): number {
    return this.#configurationIndexes.at(-1) ?? 0;
  }

  #known(index: number): Entry {
    const entry = this.#entries[index - 1];
    assert(entry !== undefined, `index ${index} is in the log, which ends at ${this.lastIndex}`);
    return entry;
  }
}
