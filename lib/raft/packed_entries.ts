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
  bytes: Uint8Array;
  /** Where in `bytes` each line ends. */
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
    assert(last === undefined || index === this.lastIndex + 1, `entry ${index} follows ${this.lastIndex}`);
    if (last !== undefined && last.term === term && isBehind(last.bytes, line)) {
      const { buffer, byteOffset, length } = last.bytes;
      last.bytes = new Uint8Array(buffer, byteOffset, length + line.length);
      last.ends.push(last.bytes.length);
    } else this.#runs.push({ first: index, term, bytes: line, ends: [line.length] });
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
    const { first, bytes, ends } = this.#runOf(index);
    const at = index - first;
    return bytes.subarray(at === 0 ? 0 : ends[at - 1], ends[at]);
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
    assert(isHere, `entry ${index} is among those up to ${this.lastIndex}`);
    return run;
  }
}

function isBehind(bytes: Uint8Array, next: Uint8Array): boolean {
  return next.buffer === bytes.buffer && next.byteOffset === bytes.byteOffset + bytes.length;
}
