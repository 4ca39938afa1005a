/**
 * The log in memory: consecutive entries behind a base, which is where a snapshot allowed it to be cut. It also
 * answers which configuration is in force, because that is the newest one in the log, committed or not (thesis 4.1),
 * and falls back when the log is cut.
 *
 * ```text
 *    base | ........ handed out ........ commitIndex ........ handed to the disk ........ lastIndex
 *  in the   applied by the state machine             known, not yet agreed        only in memory
 *  snapshot
 * ```
 *
 * @module
 */

import { assert } from "../assert.ts";
import { configurationOf } from "./entry.ts";
import type { Configuration, Entry, LogBase, SnapshotMetadata } from "./types.ts";

/** The base of a log from which nothing was cut. */
export const noBase: LogBase = {
  index: 0,
  term: 0,
  crc: 0,
  configuration: { members: [] },
  configurationIndex: 0,
};

/** The base of a log that goes on behind a snapshot. */
export function baseOf(snapshot: SnapshotMetadata | null): LogBase {
  if (snapshot === null) return noBase;
  const { lastIncludedIndex: index, lastIncludedTerm: term, lastIncludedCrc: crc } = snapshot;
  const { configuration, configurationIndex } = snapshot;
  return { index, term, crc, configuration, configurationIndex };
}

/** Consecutive entries, each chained to the one before by its crc. */
export class Log {
  #base: LogBase;
  #entries: Entry[] = [];
  /** Indexes of the configuration entries, ascending. */
  #configurationIndexes: number[] = [];

  constructor(entries: readonly Entry[] = [], base: LogBase = noBase) {
    this.#base = base;
    for (const entry of entries) this.append(entry);
  }

  /** The last entry that was cut off in front; index 0 when none was. Its term and checksum are still known. */
  get base(): LogBase {
    return this.#base;
  }

  /** Index of the last entry; that of the base when there is none. */
  get lastIndex(): number {
    return this.#base.index + this.#entries.length;
  }

  /** Term of the last entry; 0 when there never was one. */
  get lastTerm(): number {
    return this.#entries.at(-1)?.term ?? this.#base.term;
  }

  /** The entry at `index`, or undefined outside of the log. */
  at(index: number): Entry | undefined {
    return this.#entries[index - this.#base.index - 1];
  }

  /** Term of the entry at `index`, which must be in the log or its base; 0 at index 0. */
  termAt(index: number): number {
    return index === this.#base.index ? this.#base.term : this.#known(index).term;
  }

  /** Checksum of the entry at `index`, which must be in the log or its base; 0 at index 0. */
  crcAt(index: number): number {
    return index === this.#base.index ? this.#base.crc : this.#known(index).crc;
  }

  /** The entries from `first` to `last`, both included. */
  slice(first: number, last: number): Entry[] {
    assert(
      first > this.#base.index,
      `entry ${first} is still in the log, which begins behind ${this.#base.index}`,
    );
    return this.#entries.slice(first - this.#base.index - 1, last - this.#base.index);
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
    assert(index > this.#base.index, "a log is cut behind its base");
    this.#entries.length = Math.min(this.#entries.length, index - this.#base.index - 1);
    while ((this.#configurationIndexes.at(-1) ?? 0) >= index) this.#configurationIndexes.pop();
  }

  /** Removes the entries up to `index`, which a snapshot makes unnecessary (paper 7). */
  compactTo(index: number): void {
    assert(
      index <= this.lastIndex,
      `the log, which ends at ${this.lastIndex}, is cut in front up to ${index}`,
    );
    if (index <= this.#base.index) return;
    const base = { index, term: this.termAt(index), crc: this.crcAt(index), ...this.#configurationAt(index) };
    this.#entries = this.#entries.slice(index - this.#base.index);
    this.#configurationIndexes = this.#configurationIndexes.filter((one) => one > index);
    this.#base = base;
  }

  /** Gives everything up and begins anew behind a snapshot. */
  restore(snapshot: SnapshotMetadata): void {
    this.#base = baseOf(snapshot);
    this.#entries = [];
    this.#configurationIndexes = [];
  }

  /** Whether a log that ends with the given entry is at least as complete as this one (paper 5.4.1). */
  isUpToDate(last: { index: number; term: number }): boolean {
    return last.term > this.lastTerm || (last.term === this.lastTerm && last.index >= this.lastIndex);
  }

  /**
   * The last index, at most `index`, whose term is at most `term`. Both halves of the search for the point where
   * two logs part use it, so that a whole term is skipped by each exchange (paper 5.3, end). An index below the base
   * stands for "somewhere in the snapshot".
   */
  lastIndexWithTermAtMost(term: number, index: number): number {
    let low = this.#base.index, high = Math.min(index, this.lastIndex);
    if (high < low || this.#base.term > term) return Math.min(high, low - 1);
    while (low < high) { // terms never go back, so a binary search serves
      const middle = Math.ceil((low + high) / 2);
      if (this.termAt(middle) <= term) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The configuration in force: the newest in the log. Without members before the cluster is founded. */
  get configuration(): Configuration {
    return this.#configurationAt(this.lastIndex).configuration;
  }

  /** Index of the configuration in force; 0 before the cluster is founded. */
  get configurationIndex(): number {
    return this.#configurationIndexes.at(-1) ?? this.#base.configurationIndex;
  }

  /** What a snapshot of the state after the entry `index` says of the log. */
  snapshotAt(index: number): SnapshotMetadata {
    return {
      lastIncludedIndex: index,
      lastIncludedTerm: this.termAt(index),
      lastIncludedCrc: this.crcAt(index),
      ...this.#configurationAt(index),
    };
  }

  #configurationAt(index: number): Pick<LogBase, "configuration" | "configurationIndex"> {
    const configurationIndex = this.#configurationIndexes.findLast((one) => one <= index);
    if (configurationIndex === undefined) {
      const { configuration, configurationIndex } = this.#base;
      return { configuration, configurationIndex };
    }
    return { configuration: configurationOf(this.#known(configurationIndex)), configurationIndex };
  }

  #known(index: number): Entry {
    const entry = this.at(index);
    assert(
      entry !== undefined,
      `index ${index} is in the log, which goes from ${this.#base.index + 1} to ${this.lastIndex}`,
    );
    return entry;
  }
}
