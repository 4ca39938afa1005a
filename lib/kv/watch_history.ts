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
const changeBytes = 150;

/** The changes of the latest entries. Positions count the entries that were ever added, and only grow. */
export class WatchHistory {
  readonly #bytesMax: number;
  /** Kept are those from #start on; the ones before are dropped in one go when there are many. */
  #entries: ChangedEntry[] = [];
  #start = 0;
  /** Position of #entries[0]. */
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
    return this.#offset + this.#entries.length;
  }

  /** The entry at `index` changed something. Indexes grow. */
  add(index: number, changes: readonly Change[]): void {
    this.#entries.push({ index, changes });
    this.#bytes += bytesOf(changes);
    while (this.#bytes > this.#bytesMax) this.#dropOldest();
  }

  /** A state was taken over whole: nobody here knows what changed up to `index`. */
  restart(index: number): void {
    this.#offset = this.end + 1; // so that nobody who had been told everything goes on as if he still had
    this.#entries = [];
    this.#start = this.#bytes = 0;
    this.#floor = this.#beganAt = index;
  }

  /** Position of the first entry above `index`; null: changes above `index` are not known any more. */
  seek(index: number): number | null {
    if (index < this.#floor) return null;
    let [low, high] = [this.#start, this.#entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#entries[middle]!.index <= index) low = middle + 1;
      else high = middle;
    }
    return this.#offset + low;
  }

  /** The entry at a position before the end; null: it is not kept any more. */
  at(position: number): ChangedEntry | null {
    const at = position - this.#offset;
    return at < this.#start ? null : this.#entries[at]!;
  }

  #dropOldest(): void {
    const { index, changes } = this.#entries[this.#start]!;
    this.#bytes -= bytesOf(changes);
    this.#floor = index;
    this.#start++;
    if (this.#start < 1024 || this.#start < this.#entries.length / 2) {
      this.#entries[this.#start - 1] = dropped; // or its texts would stay
      return;
    }
    this.#entries = this.#entries.slice(this.#start);
    this.#offset += this.#start;
    this.#start = 0;
  }
}

const dropped: ChangedEntry = { index: 0, changes: [] };

function bytesOf(changes: readonly Change[]): number {
  let bytes = 0;
  for (const change of changes) {
    bytes += changeBytes + 2 * change.key.length + (change.type === "put" ? 2 * change.value.length : 0);
  }
  return bytes;
}
