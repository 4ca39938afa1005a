/**
 * What changed lately, for those who watch: the latest changes in their order, as many as fit into a bound in bytes. Who
 * watches keeps a position here and no queue of his own, so a thousand slow ones cost no more memory than one; who
 * falls behind the oldest change is told the present state instead.
 *
 * @module
 */

import { ByteQueue } from "../byte_queue.ts";
import { decodeText, utf8BytesMax } from "../bytes.ts";
import type { Change } from "../kv/command.ts";
import { PlainPut } from "../kv/plain_put.ts";

/** What a change costs beside its record, in bytes. */
const changeBytes = 24;

// A record: the place of its type here, the length of the key (two bytes, the low one first), the key, the value.
const types = ["put", "delete", "expire"] as const;
const headBytes = 3;

/** The latest changes. Positions count the changes that there ever were, and only grow. */
export class WatchHistory {
  readonly #bytesMax: number;
  /** By position. Mostly nobody ever asks, and to the garbage collector a queue of bytes is nothing. */
  readonly #records = new ByteQueue();
  /** Index of the entry that made each change, from #start on; the ones before are cut off when there are many. */
  #indexes: number[] = [];
  #start = 0;
  #bytes = 0;
  #floor = 0;
  #beganAt = 0;

  /** `bytesMax` bounds the records. */
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

  /** Position of the oldest change that is here; equal to `end` when there is none. */
  get first(): number {
    return this.#records.first;
  }

  /** Where the next change will be. */
  get end(): number {
    return this.#records.end;
  }

  /** The entry at `index` made these changes. Indexes grow. */
  add(index: number, changes: readonly Change[]): void {
    for (const change of changes) {
      const record = encode(change);
      this.#indexes.push(index);
      this.#records.add(record);
      this.#bytes += changeBytes + record.length;
      while (this.#bytes > this.#bytesMax) this.#dropOldest(); // also the first ones of an entry that has very many
    }
  }

  /** A state was taken over whole: nobody here knows what changed up to `index`. */
  restart(index: number): void {
    this.#records.restart(this.end + 1); // so that nobody who had been told everything goes on as if he still had
    this.#indexes = [];
    this.#start = this.#bytes = 0;
    this.#floor = this.#beganAt = index;
  }

  /** Position of the first change above `index`; null: changes above `index` are not known any more. */
  seek(index: number): number | null {
    if (index < this.#floor) return null;
    let [low, high] = [this.#start, this.#indexes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#indexes[middle]! <= index) low = middle + 1;
      else high = middle;
    }
    return this.first + low - this.#start;
  }

  /** Index of the entry that made the change at a position from `first` to before `end`. */
  indexAt(position: number): number {
    return this.#indexes[this.#start + position - this.first]!;
  }

  /** The key of that change in UTF-8, to be looked at before anything is added. */
  keyAt(position: number): Uint8Array {
    const record = this.#records.at(position);
    return record.subarray(headBytes, valueStart(record));
  }

  /** That change. */
  changeAt(position: number): Change {
    const record = this.#records.at(position);
    const type = types[record[0]!]!;
    const from = valueStart(record);
    const key = decodeText(record.subarray(headBytes, from));
    return type === "put" ? { type, key, value: decodeText(record.subarray(from)) } : { type, key };
  }

  #dropOldest(): void {
    this.#bytes -= changeBytes + this.#records.lengthAt(this.first);
    this.#floor = this.#indexes[this.#start++]!;
    this.#records.dropBefore(this.first + 1);
    if (this.#start < 1024 || this.#start < this.#indexes.length / 2) return;
    this.#indexes = this.#indexes.slice(this.#start);
    this.#start = 0;
  }
}

const encoder = new TextEncoder();
/** Records are made here; as large as the largest needed. */
let scratch = new Uint8Array(4 << 10);

/** The record of a change; valid until the next one is made. */
function encode(change: Change): Uint8Array {
  if (change instanceof PlainPut) return copyOf(change);
  const { type, key } = change;
  const value = type === "put" ? change.value : "";
  makeRoom(utf8BytesMax(key) + utf8BytesMax(value));
  const from = startRecord(type, encoder.encodeInto(key, scratch.subarray(headBytes)).written);
  return scratch.subarray(0, from + encoder.encodeInto(value, scratch.subarray(from)).written);
}

/** The same without making texts of what is bytes. */
function copyOf(put: PlainPut): Uint8Array {
  const { keyLength, valueLength } = put;
  makeRoom(keyLength + valueLength);
  scratch.set(put.keyBytes(), headBytes);
  const from = startRecord("put", keyLength);
  scratch.set(put.valueBytes(), from);
  return scratch.subarray(0, from + valueLength);
}

/** Makes room in `scratch` for a record whose key and value have at most so many bytes together. */
function makeRoom(bytesMax: number): void {
  if (headBytes + bytesMax > scratch.length) scratch = new Uint8Array(2 * (headBytes + bytesMax));
}

/** Writes the beginning of a record. Returns where its value begins. */
function startRecord(type: Change["type"], keyLength: number): number {
  scratch[0] = types.indexOf(type);
  scratch[1] = keyLength & 0xff;
  scratch[2] = keyLength >> 8;
  return headBytes + keyLength;
}

/** Where the value begins in a record. */
function valueStart(record: Uint8Array): number {
  return headBytes + record[1]! + 256 * record[2]!;
}
