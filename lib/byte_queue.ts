/**
 * What is kept of the past, entry for entry, in memory that the garbage collector never looks at: numbered records of
 * bytes, which come at one end and go at the other. The memory of those that went serves those that come, so a queue
 * that has reached its size costs a copy for each record, unless that is long, and nothing else.
 *
 * @module
 */

import { assert } from "./assert.ts";
import { release } from "./bytes.ts";

const chunkBytes = 64 << 10;
/** A longer record that does not fit gets a chunk that ends with it. So at most half of the memory stays empty. */
const sharedBytesMax = chunkBytes / 2;
/** Memory that nothing is in is kept up to this size. */
const spareBytesMax = 8 << 20;

interface Chunk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Number of the first record. */
  first: number;
  /** Where each record ends. */
  ends: number[];
}

/** Consecutive records. */
export class ByteQueue {
  /** In order; none is empty. */
  #chunks: Chunk[] = [];
  #spare: Chunk[] = [];
  #first = 0;
  #end = 0;

  /** Number of the oldest record; equal to `end` when there is none. */
  get first(): number {
    return this.#first;
  }

  /** Number of the next record. */
  get end(): number {
    return this.#end;
  }

  /** Begins anew, empty, with the next record having the number `first`. */
  restart(first: number): void {
    this.dropBefore(this.#end);
    this.#first = this.#end = first;
  }

  /** Adds a copy of a record. */
  add(record: Uint8Array): void {
    const chunk = this.#chunkFor(record.length);
    const from = chunk.ends.at(-1) ?? 0;
    chunk.bytes.set(record, from);
    chunk.ends.push(from + record.length);
    this.#end++;
  }

  /** Bytes of a record. */
  lengthAt(number: number): number {
    const { ends, first } = this.#chunkOf(number);
    return ends[number - first]! - (ends[number - first - 1] ?? 0);
  }

  /** A record: to be looked at before the queue changes, for its memory will be used again. */
  at(number: number): Uint8Array {
    const { bytes, ends, first } = this.#chunkOf(number);
    return bytes.subarray(ends[number - first - 1] ?? 0, ends[number - first]);
  }

  /** Forgets the records before a number, which is at most `end`. */
  dropBefore(number: number): void {
    assert(number <= this.#end, () => `record ${number} is not behind the last one, ${this.#end - 1}`);
    if (number <= this.#first) return;
    this.#first = number;
    let count = 0;
    while (count < this.#chunks.length && endOf(this.#chunks[count]!) <= number) count++;
    for (const chunk of this.#chunks.splice(0, count)) {
      const isSpare = chunk.bytes.length === chunkBytes && this.#spare.length < spareBytesMax / chunkBytes;
      chunk.ends = [];
      if (isSpare) this.#spare.push(chunk);
      else release(chunk.bytes);
    }
  }

  #chunkFor(length: number): Chunk {
    const last = this.#chunks.at(-1);
    if (last !== undefined && (last.ends.at(-1) ?? 0) + length <= last.bytes.length) return last;
    const chunk = length <= sharedBytesMax ? this.#spare.pop() ?? newChunk(chunkBytes) : newChunk(length);
    chunk.first = this.#end;
    this.#chunks.push(chunk);
    return chunk;
  }

  #chunkOf(number: number): Chunk {
    const isHere = Number.isInteger(number) && number >= this.#first && number < this.#end;
    assert(isHere, () => `record ${number} is one of ${this.#first} to ${this.#end - 1}`);
    let low = 0, high = this.#chunks.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#chunks[middle]!.first <= number) low = middle;
      else high = middle - 1;
    }
    return this.#chunks[low]!;
  }
}

function newChunk(length: number): Chunk {
  return { bytes: new Uint8Array(length), first: 0, ends: [] };
}

/** Number of the record behind its last one. */
function endOf({ first, ends }: Chunk): number {
  return first + ends.length;
}
