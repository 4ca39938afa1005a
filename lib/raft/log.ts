/**
 * The log: consecutive entries behind a base, which is where a snapshot allowed it to be cut. The newest ones are in
 * memory; old ones are there as lines only, or read from the disk when somebody needs them. It also answers which
 * configuration is in force, because that is the newest one in the log, committed or not (thesis 4.1), and falls back
 * when the log is cut.
 *
 * ```text
 *    base | ........ handed out ........ commitIndex ........ handed to the disk ........ lastIndex
 *  in the   applied by the state machine,            known, not yet agreed        only in memory
 *  snapshot packed
 * ```
 *
 * @module
 */

import { assert } from "../assert.ts";
import { configurationOf } from "./entry.ts";
import { PackedEntries } from "./packed_entries.ts";
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

/** A configuration, and the index of its entry. */
type InForce = Pick<LogBase, "configuration" | "configurationIndex">;

/** From where old entries are read again. */
export interface OldEntries {
  /** Lines of applied entries, in bytes, that stay in memory. */
  memoryBytes: number;
  /**
   * The entries from `first` on, none behind `last`: as many as have `bytesMax` bytes, and at least one. Asked for those
   * behind `Raft.baseIndex` that `Raft.forgetLines` was told of. Throws when it cannot; the core throws OldEntryLost then.
   */
  read(first: number, last: number, bytesMax: number): Entry[];
}

/**
 * An old entry cannot be read any more, or is not what it was. What the call that throws this has done before stays for the
 * next one: nothing is done twice, and nothing is lost.
 */
export class OldEntryLost extends Error {
  /** Always "OldEntryLost". */
  override name = "OldEntryLost";
  /** Its index. */
  readonly index: number;

  /** `cause`: why, if it is known. */
  constructor(index: number, cause?: unknown) {
    const why = cause instanceof Error ? cause.message : "another one stands in its place";
    super(`entry ${index} of the log cannot be read again: ${why}`, { cause });
    this.index = index;
  }
}

/** So many entries at least are packed together. */
const packedTogether = 16;

/** Consecutive entries, each chained to the one before by its crc. */
export class Log {
  #base: LogBase;
  /** Those behind the base that are only kept for others. */
  #packed = new PackedEntries();
  readonly #old: OldEntries | null;
  /** Those behind these. */
  #entries: Entry[] = [];
  /** The configurations and the indexes of their entries, ascending. */
  #configurations: InForce[] = [];

  /** `old`: from where entries can be read whose lines were forgotten; null: nowhere. */
  constructor(entries: readonly Entry[] = [], base: LogBase = noBase, old: OldEntries | null = null) {
    this.#base = base;
    this.#old = old;
    for (const entry of entries) this.append(entry);
  }

  /** The last entry that was cut off in front; index 0 when none was. Its term and checksum are still known. */
  get base(): LogBase {
    return this.#base;
  }

  /** Index of the last entry; that of the base when there is none. */
  get lastIndex(): number {
    return this.#packedIndex + this.#entries.length;
  }

  /** Term of the last entry; 0 when there never was one. */
  get lastTerm(): number {
    return this.termAt(this.lastIndex);
  }

  /** The entry at `index`, or undefined outside of the log. */
  at(index: number): Entry | undefined {
    if (!this.#isPacked(index)) return this.#entries[index - this.#packedIndex - 1];
    if (!Number.isInteger(index)) return undefined;
    return index < this.#packed.firstLine ? this.#readOld(index, 1)[0] : this.#packed.at(index);
  }

  /** Term of the entry at `index`, which must be in the log or its base; 0 at index 0. */
  termAt(index: number): number {
    if (index === this.#base.index) return this.#base.term;
    return this.#isPacked(index) ? this.#packed.termAt(index) : this.#known(index).term;
  }

  /** Checksum of the entry at `index`, which must be in the log or its base; 0 at index 0. */
  crcAt(index: number): number {
    if (index === this.#base.index) return this.#base.crc;
    return this.#isPacked(index) ? this.#packed.crcAt(index) : this.#known(index).crc;
  }

  /** The entries from `first` to `last`, both included. */
  slice(first: number, last: number): Entry[] {
    assert(
      first > this.#base.index,
      () => `entry ${first} is still in the log, which begins behind ${this.#base.index}`,
    );
    const packed: Entry[] = [];
    for (let i = first; i <= last && this.#isPacked(i); i++) packed.push(this.at(i)!);
    const behind = this.#packedIndex;
    const entries = this.#entries.slice(Math.max(0, first - behind - 1), Math.max(0, last - behind));
    return packed.length === 0 ? entries : packed.concat(entries);
  }

  /**
   * Entries from `first` on, up to about `bytesMax` bytes of lines but at least one if there is one; not all of that when a
   * part of them has to be read.
   */
  sliceBytes(first: number, bytesMax: number): { entries: Entry[]; bytes: number } {
    if (this.#isPacked(first) && first < this.#packed.firstLine) {
      const entries = this.#readOld(first, bytesMax);
      return { entries, bytes: entries.reduce((sum, { line }) => sum + line.length, 0) };
    }
    let end = first, bytes = 0;
    for (; end <= this.lastIndex; end++) {
      const length = this.#bytesAt(end);
      if (bytes > 0 && bytes + length > bytesMax) break;
      bytes += length;
    }
    return { entries: this.slice(first, end - 1), bytes };
  }

  /** Adds the next entry, which must continue index, term and chain. */
  append(entry: Entry): void {
    const { index, term, prevCrc } = entry;
    const { lastIndex, lastTerm } = this;
    assert(index === lastIndex + 1, () => `entry ${index} follows the last one, ${lastIndex}`);
    assert(term >= lastTerm, () => `terms never go back in a log: ${term} after ${lastTerm}`);
    assert(prevCrc === this.crcAt(lastIndex), () => `entry ${index} is chained to the one before`);
    this.#entries.push(entry);
    if (entry.kind === "configuration") {
      this.#configurations.push({ configuration: configurationOf(entry), configurationIndex: index });
    }
  }

  /** Nobody needs more of the entries up to `index`, which are committed for good, than their lines. */
  pack(index: number): void {
    const count = index - this.#packedIndex;
    if (count < packedTogether) return; // few at a time would cost more than it saves
    for (let i = 0; i < count; i++) this.#packed.add(this.#entries[i]!);
    this.#entries = this.#entries.slice(count);
  }

  /** The entries up to `index` are durable, and stay so: what need not be in memory of those that are packed is forgotten. */
  forgetLines(index: number): void {
    if (this.#old !== null) this.#packed.forgetLines(index, this.#old.memoryBytes);
  }

  /** Removes the entry at `index` and all behind it. */
  truncateFrom(index: number): void {
    assert(index > this.#packedIndex, "a log is cut behind its base, and behind what is committed");
    this.#entries.length = Math.min(this.#entries.length, index - this.#packedIndex - 1);
    while ((this.#configurations.at(-1)?.configurationIndex ?? 0) >= index) this.#configurations.pop();
  }

  /** Removes the entries up to `index`, which a snapshot makes unnecessary (paper 7). */
  compactTo(index: number): void {
    assert(
      index <= this.lastIndex,
      `the log, which ends at ${this.lastIndex}, is cut in front up to ${index}`,
    );
    if (index <= this.#base.index) return;
    const base = { index, term: this.termAt(index), crc: this.crcAt(index), ...this.#configurationAt(index) };
    this.#entries = this.#entries.slice(Math.max(0, index - this.#packedIndex));
    this.#packed.dropUpTo(index);
    this.#configurations = this.#configurations.filter(({ configurationIndex }) =>
      configurationIndex > index
    );
    this.#base = base;
  }

  /** Gives everything up and begins anew behind a snapshot. */
  restore(snapshot: SnapshotMetadata): void {
    this.#base = baseOf(snapshot);
    this.#packed = new PackedEntries();
    this.#entries = [];
    this.#configurations = [];
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
    return this.#configurationAt(this.lastIndex).configurationIndex;
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

  #configurationAt(index: number): InForce {
    const found = this.#configurations.findLast(({ configurationIndex }) => configurationIndex <= index);
    const { configuration, configurationIndex } = found ?? this.#base;
    return { configuration, configurationIndex };
  }

  /** The last entry that is packed, or that of the base. */
  get #packedIndex(): number {
    return Math.max(this.#base.index, this.#packed.lastIndex);
  }

  #readOld(first: number, bytesMax: number): Entry[] {
    let entries: Entry[];
    try {
      entries = this.#old!.read(first, this.#packed.firstLine - 1, bytesMax);
    } catch (cause) {
      throw new OldEntryLost(first, cause);
    }
    for (const [i, { crc }] of entries.entries()) {
      if (crc !== this.#packed.crcAt(first + i)) throw new OldEntryLost(first + i);
    }
    return entries;
  }

  #bytesAt(index: number): number {
    return this.#isPacked(index) ? this.#packed.bytesAt(index) : this.#known(index).line.length;
  }

  #isPacked(index: number): boolean {
    return index > this.#base.index && index <= this.#packed.lastIndex;
  }

  #known(index: number): Entry {
    const entry = this.#entries[index - this.#packedIndex - 1];
    assert(
      entry !== undefined,
      () => `index ${index} is in the log, which goes from ${this.#base.index + 1} to ${this.lastIndex}`,
    );
    return entry;
  }
}
