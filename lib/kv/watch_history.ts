/**
 * What changed lately, for those who watch: the changes of the latest entries in their order, as many as fit into a
 * bound in bytes. Who watches keeps a position here and no queue of his own, so a thousand slow ones cost no more
 * memory than one; who falls behind the oldest change is told the present state instead.
 *
 * @module
 */

import type { Change } from "./command.ts";

/** What one entry changed. */
export interface ChangedEntry {
  readonly index: number;
  /** At least one, in order. */
  readonly changes: readonly Change[];
}

/** What an event costs beside its texts, in bytes: a few small objects. */
const changeBytes = 100;

/** The changes of the latest entries. Positions count the entries that were ever added, and only grow. */
export class WatchHistory {
  readonly #bytesMax: number;
  /** Index and changes of each entry. Kept are those from #start on; the ones before are cut off when there are many. */
  #indexes: number[] = [];
  #changes: (Change | readonly Change[])[] = [];
  #start = 0;
  /** Position of the first of them. */
  #offset = 0;
  #bytes = 0;
  #floor = 0;
  #beganAt = 0;

  /** Texts count two bytes for each UTF-16 unit, which is the most they can take. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** All changes with an index above this one are here. */
  get floor(): number {
    return this.#floor;
  }

  /** Index of the state that was last taken over whole: what changed up to there, it never knew. */
  get beganAt(): number {
    return this.#beganAt;
  }

  /** Where the next entry will be. */
  get end(): number {
    return this.#offset + this.#indexes.length;
  }

  /** The entry at `index` changed something. Indexes grow. */
  add(index: number, changes: readonly Change[]): void {
    this.#indexes.push(index);
    const kept = changes.length === 1 ? changes[0]! : changes; // an array for each put would cost memory
    this.#changes.push(kept);
    this.#bytes += bytesOf(kept);
    while (this.#bytes > this.#bytesMax) this.#dropOldest();
  }

  /** A state was taken over whole: nobody here knows what changed up to `index`. */
  restart(index: number): void {
    this.#offset = this.end + 1; // so that nobody who had been told everything goes on as if he still had
    this.#indexes = [];
    this.#changes = [];
    this.#start = this.#bytes = 0;
    this.#floor = this.#beganAt = index;
  }

  /** Position of the first entry above `index`; null: changes above `index` are not known any more. */
  seek(index: number): number | null {
    if (index < this.#floor) return null;
    let [low, high] = [this.#start, this.#indexes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#indexes[middle]! <= index) low = middle + 1;
      else high = middle;
    }
    return this.#offset + low;
  }

  /** The entry at a position before the end; null: it is not kept any more. */
  at(position: number): ChangedEntry | null {
    const at = position - this.#offset;
    if (at < this.#start) return null;
    const changes = this.#changes[at]!;
    return { index: this.#indexes[at]!, changes: "type" in changes ? [changes] : changes };
  }

  #dropOldest(): void {
    this.#bytes -= bytesOf(this.#changes[this.#start]!);
    this.#floor = this.#indexes[this.#start]!;
    this.#changes[this.#start++] = dropped; // or its texts would stay
    if (this.#start < 1024 || this.#start < this.#indexes.length / 2) return;
    this.#indexes = this.#indexes.slice(this.#start);
    this.#changes = this.#changes.slice(this.#start);
    this.#offset += this.#start;
    this.#start = 0;
  }
}

const dropped: readonly Change[] = [];

function bytesOf(changes: Change | readonly Change[]): number {
  if (!("type" in changes)) return changes.reduce((sum, change) => sum + bytesOf(change), 0);
  return changeBytes + 2 * changes.key.length + (changes.type === "put" ? 2 * changes.value.length : 0);
}
