/**
 * What changed lately, for those who watch: the changes of the latest entries in their order, as many as fit into a
 * bound in bytes. Who watches keeps a position here and no queue of his own, so a thousand slow ones cost no more
 * memory than one; who falls behind the oldest change is told the present state instead. Most changes are never asked
 * for, so they are kept as bytes, and made anew for those who do.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { ByteQueue } from "../byte_queue.ts";
import { decodeText } from "../bytes.ts";
import type { Change } from "./command.ts";

/** What one entry changed. */
export interface ChangedEntry {
  readonly index: number;
  /** At least one, in order. */
  readonly changes: readonly Change[];
}

/** What an entry costs beside its record, in bytes. */
const entryBytes = 24;

/** The changes of the latest entries. Positions count the entries that were ever added, and only grow. */
export class WatchHistory {
  readonly #bytesMax: number;
  /** Numbered by position. */
  readonly #records = new ByteQueue();
  /** Index of each entry. Kept are those from #start on; the ones before are cut off when there are many. */
  #indexes: number[] = [];
  #start = 0;
  /** Position of the first of them. */
  #offset = 0;
  #bytes = 0;
  #floor = 0;
  #beganAt = 0;

  /** `bytesMax` bounds the memory: a change takes its texts in UTF-8 and some bytes. */
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
    const record = encodeChanges(changes);
    this.#records.add(record);
    this.#indexes.push(index);
    this.#bytes += entryBytes + record.length;
    while (this.#bytes > this.#bytesMax) this.#dropOldest();
  }

  /** A state was taken over whole: nobody here knows what changed up to `index`. */
  restart(index: number): void {
    this.#offset = this.end + 1; // so that nobody who had been told everything goes on as if he still had
    this.#records.restart(this.#offset);
    this.#indexes = [];
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

  /** The entry at a position before the end, made anew; null: it is not kept any more. */
  at(position: number): ChangedEntry | null {
    const at = position - this.#offset;
    if (at < this.#start) return null;
    return { index: this.#indexes[at]!, changes: decodeChanges(this.#records.at(position)) };
  }

  #dropOldest(): void {
    const position = this.#offset + this.#start;
    this.#bytes -= entryBytes + this.#records.lengthAt(position);
    this.#records.dropBefore(position + 1);
    this.#floor = this.#indexes[this.#start++]!;
    if (this.#start < 1024 || this.#start < this.#indexes.length / 2) return;
    this.#indexes = this.#indexes.slice(this.#start);
    this.#offset += this.#start;
    this.#start = 0;
  }
}

// A record has for each change: its type, the lengths of key and value, then both in UTF-8.
const types = ["put", "delete", "expire"] as const;
const headBytes = 9;
const bytesPerUnitMax = 3;

const encoder = new TextEncoder();
/** Records are put together here; for large ones it is made anew. */
const room = new Uint8Array(64 << 10);

/** Valid until the next call. */
function encodeChanges(changes: readonly Change[]): Uint8Array {
  let bytesMax = 0;
  for (const change of changes) bytesMax += headBytes + bytesPerUnitMax * unitsOf(change);
  const bytes = bytesMax <= room.length ? room : new Uint8Array(bytesMax);
  let at = 0;
  for (const change of changes) {
    const { type, key } = change;
    const begin = at;
    bytes[begin] = types.indexOf(type);
    at = begin + headBytes;
    const keyLength = encoder.encodeInto(key, bytes.subarray(at)).written;
    at += keyLength;
    const valueLength = type === "put" ? encoder.encodeInto(change.value, bytes.subarray(at)).written : 0;
    at += valueLength;
    writeLength(bytes, begin + 1, keyLength);
    writeLength(bytes, begin + 5, valueLength);
  }
  return bytes.subarray(0, at);
}

function unitsOf(change: Change): number {
  return change.key.length + (change.type === "put" ? change.value.length : 0);
}

function decodeChanges(record: Uint8Array): Change[] {
  const changes: Change[] = [];
  for (let at = 0; at < record.length;) {
    const type = types[record[at]!]!;
    const keyAt = at + headBytes;
    const valueAt = keyAt + readLength(record, at + 1);
    const end = valueAt + readLength(record, at + 5);
    const key = decodeText(record.subarray(keyAt, valueAt));
    if (type === "put") changes.push({ type, key, value: decodeText(record.subarray(valueAt, end)) });
    else changes.push({ type, key });
    at = end;
  }
  assert(changes.length > 0, "an entry in the history changed something");
  return changes;
}

function writeLength(bytes: Uint8Array, at: number, length: number): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = length >>> (8 * i);
}

function readLength(bytes: Uint8Array, at: number): number {
  let length = 0;
  for (let i = 0; i < 4; i++) length += bytes[at + i]! * 2 ** (8 * i);
  return length;
}
