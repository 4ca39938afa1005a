/**
 * Entries of which only the lines are kept. Once an entry is applied, nothing but a follower that lags behind, or an
 * election, asks for it again; but it stays in the log until a snapshot makes it unnecessary. As lines in a queue of
 * bytes, a hundred thousand entries are nothing to the garbage collector instead of a million objects; and lines that
 * are on the disk need not stay in memory at all.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { ByteQueue } from "../byte_queue.ts";
import { decodeEntry, entryLines } from "./entry.ts";
import type { Entry } from "./types.ts";

/** Consecutive entries. */
export class PackedEntries {
  /** Of the newest ones; numbered by index. */
  readonly #lines = new ByteQueue();
  /** Of these lines. */
  #bytes = 0;
  /** Of all. */
  #crcs: number[] = [];
  /** Index of the first one. */
  #first = 1;
  /** The terms and where they begin, ascending. */
  #terms: { term: number; first: number }[] = [];

  /** Index of the last entry; 0: there is none. */
  get lastIndex(): number {
    return this.#crcs.length === 0 ? 0 : this.#first + this.#crcs.length - 1;
  }

  /** Index of the first entry whose line is here; behind the last one when none is. */
  get firstLine(): number {
    return this.#lines.first;
  }

  /** Adds an entry, which must follow the last one. */
  add({ index, term, crc, line }: Entry): void {
    const { lastIndex } = this;
    assert(lastIndex === 0 || index === lastIndex + 1, () => `entry ${index} follows ${lastIndex}`);
    if (lastIndex === 0) {
      this.#first = index;
      this.#lines.restart(index);
    }
    this.#crcs.push(crc);
    this.#lines.add(line);
    this.#bytes += line.length;
    if (this.#terms.at(-1)?.term !== term) this.#terms.push({ term, first: index });
  }

  /** Forgets the entries up to `index`. */
  dropUpTo(index: number): void {
    this.forgetLines(index, 0);
    this.#crcs = this.#crcs.slice(Math.max(0, index + 1 - this.#first));
    this.#first = Math.max(this.#first, index + 1);
    const kept = this.#terms.findLastIndex(({ first }) => first <= index + 1);
    this.#terms = this.lastIndex === 0 ? [] : this.#terms.slice(Math.max(0, kept));
  }

  /** Forgets the oldest lines up to that of the entry `index`, while there are more than `bytesMax` bytes of them. */
  forgetLines(index: number, bytesMax: number): void {
    let before = this.#lines.first;
    while (this.#bytes > bytesMax && before <= index) this.#bytes -= this.#lines.lengthAt(before++);
    this.#lines.dropBefore(before);
  }

  /** The entry at `index`, whose line must be here, made anew. */
  at(index: number): Entry {
    const entry = decodeEntry(entryLines.copy(this.#lines.at(index)));
    assert(typeof entry !== "string", "what was an entry still is");
    return entry;
  }

  /** Its term. */
  termAt(index: number): number {
    return this.#terms.findLast(({ first }) => first <= index)!.term;
  }

  /** Its checksum. */
  crcAt(index: number): number {
    return this.#crcs[index - this.#first]!;
  }

  /** Bytes of its line, which must be here. */
  bytesAt(index: number): number {
    return this.#lines.lengthAt(index);
  }
}
