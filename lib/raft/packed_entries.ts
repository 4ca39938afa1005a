/**
 * Entries of which only the lines are kept. Once an entry is applied, nothing but a follower that lags behind, or an
 * election, asks for it again; but it stays in memory until a snapshot makes it unnecessary. As lines in a queue of
 * bytes, a hundred thousand entries are nothing to the garbage collector instead of a million objects.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { ByteQueue } from "../byte_queue.ts";
import { crcOfLine, decodeEntry, entryLines } from "./entry.ts";
import type { Entry } from "./types.ts";

/** Consecutive entries. */
export class PackedEntries {
  /** Numbered by index. */
  readonly #lines = new ByteQueue();
  /** The terms and where they begin, ascending. */
  #terms: { term: number; first: number }[] = [];

  /** Index of the last entry; 0: there is none. */
  get lastIndex(): number {
    return this.#lines.first === this.#lines.end ? 0 : this.#lines.end - 1;
  }

  /** Adds an entry, which must follow the last one. */
  add({ index, term, line }: Entry): void {
    const { lastIndex } = this;
    assert(lastIndex === 0 || index === lastIndex + 1, () => `entry ${index} follows ${lastIndex}`);
    if (lastIndex === 0) this.#lines.restart(index);
    this.#lines.add(line);
    if (this.#terms.at(-1)?.term !== term) this.#terms.push({ term, first: index });
  }

  /** Forgets the entries up to `index`. */
  dropUpTo(index: number): void {
    this.#lines.dropBefore(Math.min(index + 1, this.#lines.end));
    const kept = this.#terms.findLastIndex(({ first }) => first <= index + 1);
    this.#terms = this.lastIndex === 0 ? [] : this.#terms.slice(Math.max(0, kept));
  }

  /** The entry at `index`, which must be here, made anew. */
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
    return crcOfLine(this.#lines.at(index));
  }

  /** Bytes of its line. */
  bytesAt(index: number): number {
    return this.#lines.lengthAt(index);
  }
}
