/**
 * What changed lately, for those who watch: the changes of the latest entries in their order, as many as fit into a
 * bound in bytes. Who watches keeps a position here and no queue of his own, so a thousand slow ones cost no more
 * memory than one; who falls behind the oldest change is told the present state instead.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { ByteQueue } from "../byte_queue.ts";
import { decodeText } from "../bytes.ts";
import type { Change, Command } from "../kv/command.ts";
import { decodeEntry } from "../raft/entry.ts";
import type { Entry } from "../raft/types.ts";

/** What one entry changed. */
export interface ChangedEntry {
  readonly index: number;
  /** At least one, in order. */
  readonly changes: readonly Change[];
}

/** What an entry costs beside its record, in bytes. */
const entryBytes = 16;
/** Entries that were asked for stay at hand, up to so many of so many bytes: others most often ask for the same. */
const readMax = 1000;
const readBytesMax = 4 << 20;

/** The changes of the latest entries. Positions count the entries that were ever added, and only grow. */
export class WatchHistory {
  readonly #bytesMax: number;
  /**
   * One for each entry, by its position: its line in the log when that tells what it changed, else the changes as JSON.
   * Mostly nobody ever asks, and to the garbage collector a queue of bytes is nothing.
   */
  readonly #records = new ByteQueue();
  /** Index of each entry, from #start on; the ones before are cut off when there are many. */
  #indexes: number[] = [];
  #start = 0;
  #bytes = 0;
  #floor = 0;
  #beganAt = 0;
  /** By position. */
  readonly #read = new Map<number, ChangedEntry>();
  #readBytes = 0;
  #parsedBytes = 0;

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

  /** Bytes of all records that had to be parsed for those who watch. */
  get parsedBytes(): number {
    return this.#parsedBytes;
  }

  /** Where the next entry will be. */
  get end(): number {
    return this.#records.end;
  }

  /** An entry made these changes, at least one. Indexes grow. */
  add(entry: Entry, changes: readonly Change[]): void {
    const isPut = (entry.command as Command).op === "put"; // what it changes, if anything, is what it says
    if (!isPut && unitsOf(changes) > this.#bytesMax) return this.#forget(entry.index);
    const record = isPut ? entry.line : encoder.encode(JSON.stringify(changes));
    this.#indexes.push(entry.index);
    this.#records.add(record);
    this.#bytes += entryBytes + record.length;
    while (this.#bytes > this.#bytesMax) this.#dropOldest();
  }

  /** A state was taken over whole: nobody here knows what changed up to `index`. */
  restart(index: number): void {
    this.#forget(index);
    this.#beganAt = index;
  }

  #forget(index: number): void {
    this.#records.restart(this.end + 1); // so that nobody who had been told everything goes on as if he still had
    this.#indexes = [];
    this.#start = this.#bytes = 0;
    this.#floor = index;
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
    return this.#records.first + low - this.#start;
  }

  /** The entry at a position before the end; null: it is not kept any more. */
  at(position: number): ChangedEntry | null {
    if (position < this.#records.first) return null;
    return this.#read.get(position) ?? this.#readAt(position);
  }

  #readAt(position: number): ChangedEntry {
    if (this.#read.size >= readMax || this.#readBytes >= readBytesMax) {
      this.#read.clear();
      this.#readBytes = 0;
    }
    const record = this.#records.at(position);
    const index = this.#indexes[this.#start + position - this.#records.first]!;
    const entry = { index, changes: changesOf(record) };
    this.#read.set(position, entry);
    this.#readBytes += record.length;
    this.#parsedBytes += record.length;
    return entry;
  }

  #dropOldest(): void {
    const position = this.#records.first;
    this.#bytes -= entryBytes + this.#records.lengthAt(position);
    this.#floor = this.#indexes[this.#start++]!;
    this.#records.dropBefore(position + 1);
    if (this.#start < 1024 || this.#start < this.#indexes.length / 2) return;
    this.#indexes = this.#indexes.slice(this.#start);
    this.#start = 0;
  }
}

/** At least so many bytes are in a record of changes. */
function unitsOf(changes: readonly Change[]): number {
  let units = 0;
  for (const change of changes) {
    units += change.key.length + (change.type === "put" ? change.value.length : 0);
  }
  return units;
}

const encoder = new TextEncoder();
const bracket = "[".charCodeAt(0);

function changesOf(record: Uint8Array): readonly Change[] {
  if (record[0] === bracket) return JSON.parse(decodeText(record));
  const entry = decodeEntry(record);
  assert(typeof entry !== "string", "what was an entry still is");
  const command = entry.command as Command;
  assert(command.op === "put", "only the line of a put says by itself what changed");
  return [{ type: "put", key: command.key, value: command.value }];
}
