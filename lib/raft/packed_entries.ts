/**
 * Entries of which only the lines are kept. Once an entry is applied, nothing but a follower that lags behind, or an
 * election, asks for it again; but it stays in memory until a snapshot makes it unnecessary. As lines, side by side as
 * they were made, a hundred thousand entries are a few hundred objects for the garbage collector instead of a million.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { crcOfLine, decodeEntry } from "./entry.ts";
import type { Entry } from "./types.ts";

/** Consecutive entries of one term, whose lines lie one behind the other. */
interface Run {
  /** Index of the first. */
  first: number;
  term: number;
  buffer: ArrayBufferLike;
  /** Where in `buffer` the first line begins. */
  from: number;
  /** Where each line ends. */
  ends: number[];
}

/** Consecutive entries. */
export class PackedEntries {
  /** In order; none is empty. */
  #runs: Run[] = [];

  /** Index of the last entry; 0: there is none. */
  get lastIndex(): number {
    const last = this.#runs.at(-1);
    return last === undefined ? 0 : last.first + last.ends.length - 1;
  }

  /** Adds an entry, which must follow the last one. */
  add({ index, term, line }: Entry): void {
    const last = this.#runs.at(-1);
    assert(
      last === undefined || index === this.lastIndex + 1,
      () => `entry ${index} follows ${this.lastIndex}`,
    );
    const { buffer, byteOffset: from } = line;
    const end = from + line.length;
    const isBehind = last !== undefined && last.buffer === buffer && last.ends.at(-1) === from;
    if (isBehind && last.term === term) last.ends.push(end);
    else this.#runs.push({ first: index, term, buffer, from, ends: [end] });
  }

  /** Forgets entries up to `index`; some may stay in memory for a while. */
  dropUpTo(index: number): void {
    const kept = this.#runs.findIndex(({ first, ends }) => first + ends.length - 1 > index);
    this.#runs.splice(0, kept < 0 ? this.#runs.length : kept);
  }

  /** The entry at `index`, which must be here, made anew. */
  at(index: number): Entry {
    const entry = decodeEntry(this.lineAt(index));
    assert(typeof entry !== "string", "what was an entry still is");
    return entry;
  }

  /** Its term. */
  termAt(index: number): number {
    return this.#runOf(index).term;
  }

  /** Its checksum. */
  crcAt(index: number): number {
    return crcOfLine(this.lineAt(index));
  }

  /** Its line. */
  lineAt(index: number): Uint8Array {
    const { first, buffer, from, ends } = this.#runOf(index);
    const at = index - first;
    const begin = at === 0 ? from : ends[at - 1]!;
    return new Uint8Array(buffer, begin, ends[at]! - begin);
  }

  #runOf(index: number): Run {
    let low = 0, high = this.#runs.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#runs[middle]!.first <= index) low = middle;
      else high = middle - 1;
    }
    const run = this.#runs[low];
    const isHere = run !== undefined && index >= run.first && index < run.first + run.ends.length;
    assert(isHere, () => `entry ${index} is among those up to ${this.lastIndex}`);
    return run;
  }
}
