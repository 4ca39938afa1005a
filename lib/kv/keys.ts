/**
 * The keys and their values. Where a value is, is known by its key; what it is lies where the garbage collector does
 * not look (value_heap.ts). What changes is noted, for watches.
 *
 * @module
 */

import type { Change, Stored } from "./command.ts";
import { boundsOf, fromSortable, type Range, toSortable } from "./key_order.ts";
import type { Block, LineBuffer } from "./line_buffer.ts";
import { list, type ListOptions, type Page } from "./list.ts";
import { OrderedMap } from "./ordered_map.ts";
import type { PlainPut } from "./plain_put.ts";
import { type Held, type NewValue, ValueHeap } from "./value_heap.ts";

/** In their order, renumbered for it. */
type Tree = OrderedMap<Held>;
/** Keys that go, in the order in which they do: by `expiryOf`. */
type Expiries = OrderedMap<string>;

/** The keys, which change. */
export class Keys {
  readonly #tree: Tree = new OrderedMap();
  readonly #expiries: Expiries = new OrderedMap();
  readonly #heap: ValueHeap;
  /** What changed: most often one thing, for which a list that can grow would take five times the memory. */
  #firstChange: Change | null = null;
  #otherChanges: Change[] = [];
  /** What was there before each change since `begin`, and is kept until it is known whether they stay; null: they do. */
  #undo: { sortable: string; held: Held | undefined }[] | null = null;
  /** From here on values are brought together next, when there is need to. */
  #gatherFrom = "";

  constructor(heap: ValueHeap = new ValueHeap()) {
    this.#heap = heap;
  }

  /** How many keys there are. */
  get size(): number {
    return this.#tree.size;
  }

  /** For how many values there is memory beside the collector's: of keys, but for large ones, and of frozen states. */
  get slots(): number {
    return this.#heap.slots;
  }

  /** How many keys are to go by themselves. */
  get expiring(): number {
    return this.#expiries.size;
  }

  /** The log time at which the next key goes; Infinity: none does. */
  get nextExpiry(): number {
    const first = this.#expiries.minKey();
    return first === undefined ? Infinity : Number(first.slice(0, timeDigits));
  }

  /** What has changed since this was asked last, in order. */
  takeChanges(): Change[] {
    if (this.#firstChange === null) return noChanges;
    const changes = [this.#firstChange];
    this.#firstChange = null;
    if (this.#otherChanges.length === 0) return changes;
    const others = this.#otherChanges;
    this.#otherChanges = [];
    return changes.concat(others);
  }

  /** How many states that `freeze` gave are not released. */
  get frozen(): number {
    return this.#heap.frozen;
  }

  get(key: string): Stored | undefined {
    const held = this.#tree.get(toSortable(key));
    return held === undefined ? undefined : this.#heap.get(held);
  }

  /** The index of the write that made the value of a key; 0: there is no such key. */
  version(key: string): number {
    const held = this.#tree.get(toSortable(key));
    return held === undefined ? 0 : this.#heap.version(held);
  }

  set(key: string, stored: Stored): void {
    this.#put(toSortable(key), key, stored);
    this.#note({ type: "put", key, value: stored.value });
  }

  /** As `set` does what the put of the entry at `index` says; its value never becomes a text. */
  put(put: PlainPut, index: number): void {
    const { key } = put; // ASCII, which is sorted as it is
    this.#put(key, key, { value: put.valueBytes(), version: index });
    this.#note(put);
  }

  /** Gives a value to a key that comes after all others; does nothing, and returns false, when it does not. */
  append(key: string, stored: Stored): boolean {
    const sortable = toSortable(key);
    const last = this.#tree.maxKey();
    if (last !== undefined && sortable <= last) return false;
    this.#put(sortable, key, stored);
    return true;
  }

  /** False: there is no such key. */
  delete(key: string): boolean {
    return this.#remove(toSortable(key), "delete", key);
  }

  /** Takes away keys whose time is over at `logTime`, at most `max`. Returns how many went. */
  expire(logTime: number, max: number): number {
    let expired = 0;
    while (expired < max && this.nextExpiry <= logTime) {
      const key = this.#expiries.get(this.#expiries.minKey()!)!;
      this.#remove(toSortable(key), "expire", key);
      expired++;
    }
    return expired;
  }

  #put(sortable: string, key: string, stored: NewValue): void {
    this.#tree.update(sortable, (held) => this.#replace(sortable, held, stored));
    if (stored.expiresAt !== undefined) this.#expiries.set(expiryOf(stored.expiresAt, sortable), key);
    if (this.#heap.isSparse) this.#gather();
  }

  #replace(sortable: string, held: Held | undefined, stored: NewValue): Held {
    if (held !== undefined) this.#forgetExpiry(sortable, held);
    this.#undo?.push({ sortable, held });
    return held === undefined || this.#undo !== null
      ? this.#heap.add(stored)
      : this.#heap.replace(held, stored);
  }

  #remove(sortable: string, type: "delete" | "expire", key: string): boolean {
    const held = this.#tree.get(sortable);
    if (held === undefined) return false;
    this.#forgetExpiry(sortable, held);
    this.#tree.delete(sortable);
    if (this.#undo === null) this.#heap.drop(held);
    else this.#undo.push({ sortable, held });
    this.#note({ type, key });
    if (this.#heap.isSparse) this.#gather();
    return true;
  }

  /** Brings the values of some keys together: each write does a little of it while there is need to. */
  #gather(): void {
    const from = this.#gatherFrom;
    this.#gatherFrom = "";
    const sparse: string[] = []; // the tree must not change under its iterator
    let looked = 0;
    for (const [sortable, held] of this.#tree.entries(from)) {
      if (looked++ === gatheredMax) {
        this.#gatherFrom = sortable;
        break;
      }
      if (this.#heap.isBadPlace(held)) sparse.push(sortable);
    }
    for (const sortable of sparse) this.#tree.update(sortable, (held) => this.#heap.move(held!));
  }

  #note(change: Change): void {
    if (this.#firstChange === null) this.#firstChange = change;
    else this.#otherChanges.push(change);
  }

  #forgetExpiry(sortable: string, held: Held): void {
    if (this.#expiries.size === 0) return;
    const expiresAt = this.#heap.expiresAt(held);
    if (expiresAt !== Infinity) this.#expiries.delete(expiryOf(expiresAt, sortable));
  }

  /** Takes the first keys of a range away, at most `max`. */
  deleteRange(range: Range, max: number): { deleted: number; more: boolean } {
    const { low, high } = boundsOf(range);
    const found: string[] = []; // the tree must not change under its iterator
    let more = false;
    for (const [sortable] of this.#tree.entries(low)) {
      if (sortable >= high) break;
      more = found.length === max;
      if (more) break;
      found.push(sortable);
    }
    for (const sortable of found) this.#remove(sortable, "delete", fromSortable(sortable));
    return { deleted: found.length, more };
  }

  /** What changes from here on can be taken back. */
  begin(): void {
    this.#undo = [];
  }

  /** What changed since `begin` stays. */
  commit(): void {
    for (const { held } of this.#undo!) if (held !== undefined) this.#heap.drop(held);
    this.#undo = null;
  }

  /** What changed since `begin`, all that was not taken yet, is as if it had not. */
  rollBack(): void {
    for (const { sortable, held: before } of this.#undo!.reverse()) {
      const held = this.#tree.get(sortable);
      if (held !== undefined) {
        this.#forgetExpiry(sortable, held);
        this.#heap.drop(held);
      }
      if (before === undefined) this.#tree.delete(sortable);
      else {
        this.#tree.set(sortable, before);
        const expiresAt = this.#heap.expiresAt(before);
        if (expiresAt !== Infinity) this.#expiries.set(expiryOf(expiresAt, sortable), fromSortable(sortable));
      }
    }
    this.#undo = null;
    this.#firstChange = null;
    this.#otherChanges = [];
  }

  /** A page of the keys in a range. */
  list(options: ListOptions): Page {
    return list(this.#tree, this.#heap, options);
  }

  /** How many keys a range has. */
  count(range: Range): number {
    const { low, high } = boundsOf(range);
    return low < high ? this.#tree.count(low, high) : 0;
  }

  /** All keys in order, as lines. They are taken from `lines` when these are full. Must not be changed meanwhile. */
  blocks(lines: LineBuffer): Generator<Block> {
    return blocks(lines, this.#tree, this.#heap);
  }

  /** The keys as they are, to be read at leisure. Takes no time: what changes later is copied before. */
  freeze(): FrozenKeys {
    return new FrozenKeys(this.#tree.clone(), this.#heap);
  }
}

/** All keys as they were at one moment. */
export class FrozenKeys {
  readonly #tree: Tree;
  readonly #heap: ValueHeap;
  readonly #number: number;

  constructor(tree: Tree, heap: ValueHeap) {
    this.#tree = tree;
    this.#heap = heap;
    this.#number = heap.freeze();
  }

  /** How many keys there are. */
  get size(): number {
    return this.#tree.size;
  }

  /** As `Keys.list` gave it at that moment. */
  list(options: ListOptions): Page {
    return list(this.#tree, this.#heap, options);
  }

  /** As `Keys.blocks` gave them at that moment. */
  blocks(lines: LineBuffer): Generator<Block> {
    return blocks(lines, this.#tree, this.#heap);
  }

  /** Nobody reads them any more. To be called once: until then, nothing that they show makes room for others. */
  release(): void {
    this.#heap.release(this.#number);
  }
}

function* blocks(lines: LineBuffer, tree: Tree, heap: ValueHeap): Generator<Block> {
  for (const { keys, values } of tree.blocks()) {
    for (let i = 0; i < keys.length; i++) {
      const held = values[i]!, expiresAt = heap.expiresAt(held);
      lines.plain('{"key":');
      lines.string(fromSortable(keys[i]!));
      lines.plain(',"value":');
      heap.writeTo(lines, held);
      lines.plain(`,"version":${heap.version(held)}`);
      if (expiresAt !== Infinity) lines.plain(`,"expiresAt":${expiresAt}`);
      lines.end("}");
      if (lines.isFull) yield lines.take();
    }
  }
}

const noChanges: Change[] = [];

/** A write looks at the places of so many values. */
const gatheredMax = 64;

const timeDigits = 16;

/** Sorts by time, then by key. */
function expiryOf(expiresAt: number, sortable: string): string {
  return String(expiresAt).padStart(timeDigits, "0") + sortable;
}
