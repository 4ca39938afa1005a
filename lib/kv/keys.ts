/**
 * The keys in their order, which is that of their UTF-8 bytes (equally, of their Unicode code points): the order of
 * `LC_ALL=C sort` and of most languages, but not of JavaScript's `<`, which compares UTF-16 units and so puts
 * U+10000 and above, written as surrogate pairs, before U+E000. The tree therefore keeps a key with its units
 * renumbered such that `<` is right; of a key without such characters that is the key itself.
 *
 * @module
 */

import sortedBTree from "sorted-btree";
import type { Change, Stored } from "./command.ts";

// The package is CommonJS: its default import is the module, not the class.
const BTree = sortedBTree.default;
type Tree = InstanceType<typeof BTree<string, Stored>>;
/** Keys that go, in the order in which they do: by `expiryOf`. */
type Expiries = InstanceType<typeof BTree<string, string>>;

/** Which keys: those that meet every condition given. */
export interface Range {
  /** Begins with this. */
  prefix?: string;
  /** Is this or comes after it. */
  start?: string;
  /** Comes before this. */
  end?: string;
}

/** Which keys, how many, and what of them. */
export interface ListOptions extends Range {
  /** At most so many entries, from 1. */
  limit: number;
  /** Greatest key first. */
  reverse?: boolean;
  /** Leave the values out. */
  keysOnly?: boolean;
}

/** One key as `list` gives it. */
export interface ListedEntry {
  key: string;
  /** Absent when only keys were asked for. */
  value?: string;
  version: number;
  /** The key goes at this log time; absent: it stays. */
  expiresAt?: number;
}

/** A part of the keys, in order. */
export interface Page {
  entries: ListedEntry[];
  /** Where the next page begins: null when nothing is left out, else the `start`, or the `end` of a reverse list. */
  next: string | null;
}

/**
 * A page ends before its keys and values exceed so many UTF-16 units, one entry aside, so that a list of large values
 * fills neither the memory nor the connection: as JSON in UTF-8 they are at most six times as many bytes.
 */
export const pageUnitsMax = 2 << 20;

/** An ordered map from key to value and version, that notes what changes. */
export class Keys {
  #tree: Tree;
  #expiries: Expiries;
  /** What changed: most often one thing, for which a list that can grow would take five times the memory. */
  #firstChange: Change | null = null;
  #otherChanges: Change[] = [];

  constructor(
    tree: Tree = new BTree<string, Stored>(undefined, compareUnits),
    expiries: Expiries = new BTree<string, string>(undefined, compareUnits),
  ) {
    this.#tree = tree;
    this.#expiries = expiries;
  }

  /** How many keys there are. */
  get size(): number {
    return this.#tree.size;
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

  get(key: string): Stored | undefined {
    return this.#tree.get(toSortable(key));
  }

  set(key: string, stored: Stored): void {
    const sortable = toSortable(key);
    if (this.#expiries.size > 0) this.#forgetExpiry(sortable);
    this.#put(sortable, key, stored);
    this.#note({ type: "put", key, value: stored.value });
  }

  /** Gives a value to a key that comes after all others; does nothing, and returns false, when it does not. */
  append(key: string, stored: Stored): boolean {
    const sortable = toSortable(key);
    const last = this.#tree.maxKey();
    if (last !== undefined && sortable <= last) return false;
    this.#put(sortable, key, stored);
    return true;
  }

  delete(key: string): void {
    this.#remove(toSortable(key), "delete", key);
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

  #put(sortable: string, key: string, stored: Stored): void {
    this.#tree.set(sortable, stored);
    if (stored.expiresAt !== undefined) this.#expiries.set(expiryOf(stored.expiresAt, sortable), key);
  }

  #remove(sortable: string, type: "delete" | "expire", key: string): void {
    if (this.#expiries.size > 0) this.#forgetExpiry(sortable);
    this.#tree.delete(sortable);
    this.#note({ type, key });
  }

  #note(change: Change): void {
    if (this.#firstChange === null) this.#firstChange = change;
    else this.#otherChanges.push(change);
  }

  #forgetExpiry(sortable: string): void {
    const expiresAt = this.#tree.get(sortable)?.expiresAt;
    if (expiresAt !== undefined) this.#expiries.delete(expiryOf(expiresAt, sortable));
  }

  /** Takes the first keys of a range away, at most `max`. */
  deleteRange(range: Range, max: number): { deleted: number; more: boolean } {
    const { low, high } = boundsOf(range);
    const found: string[] = []; // the tree must not change under its iterator
    let more = false;
    for (const sortable of this.#tree.keys(low)) {
      if (sortable >= high) break;
      more = found.length === max;
      if (more) break;
      found.push(sortable);
    }
    for (const sortable of found) this.#remove(sortable, "delete", fromSortable(sortable));
    return { deleted: found.length, more };
  }

  /** Makes this what `other` is, and what changed since is as if it had not. The other one must not be used any more. */
  become(other: Keys): void {
    this.#tree = other.#tree;
    this.#expiries = other.#expiries;
    this.#firstChange = null;
    this.#otherChanges = [];
  }

  /** A page of the keys in a range. */
  list(options: ListOptions): Page {
    const { limit, reverse = false, keysOnly = false } = options;
    const { low, high } = boundsOf(options);
    const page: Page = { entries: [], next: null };
    let units = 0;
    const pair: [string, Stored] = ["", { value: "", version: 0 }]; // the iterator fills it again and again
    const pairs = reverse ? this.#tree.entriesReversed(high, pair, true) : this.#tree.entries(low, pair);
    for (const [sortable, { value, version, expiresAt }] of pairs) {
      if (reverse ? sortable < low : sortable >= high) break;
      const key = fromSortable(sortable);
      units += key.length + (keysOnly ? 0 : value.length);
      const isFull = page.entries.length === limit || (units > pageUnitsMax && page.entries.length > 0);
      if (isFull) {
        page.next = reverse ? page.entries.at(-1)!.key : key;
        break;
      }
      const entry: ListedEntry = keysOnly ? { key, version } : { key, value, version };
      if (expiresAt !== undefined) entry.expiresAt = expiresAt;
      page.entries.push(entry);
    }
    return page;
  }

  /** How many keys a range has. */
  count(range: Range): number {
    const { low, high } = boundsOf(range);
    return low < high ? this.#tree.forRange(low, high, false) : 0;
  }

  /** All keys in order. Must not be changed meanwhile; a clone may be read at leisure. */
  *all(): Generator<{ key: string } & Stored> {
    for (const [sortable, stored] of this.#tree.entries()) {
      yield { key: fromSortable(sortable), ...stored };
    }
  }

  /** A copy that does not see later changes. Takes no time: the two share every node until one of them changes it. */
  clone(): Keys {
    return new Keys(this.#tree.clone(), this.#expiries.clone());
  }
}

const noChanges: Change[] = [];

const timeDigits = 16;

/** Sorts by time, then by key. */
function expiryOf(expiresAt: number, sortable: string): string {
  return String(expiresAt).padStart(timeDigits, "0") + sortable;
}

/** No renumbered key begins with this unit, which stands for a low surrogate, nor goes on with it after a prefix. */
const aboveAll = "\uffff";

/** From `low` (inclusive) to `high` (exclusive), renumbered. */
function boundsOf(range: Range): { low: string; high: string } {
  let low = toSortable(range.start ?? "");
  let high = range.end === undefined ? aboveAll : toSortable(range.end);
  if (range.prefix !== undefined) {
    const prefix = toSortable(range.prefix);
    if (prefix > low) low = prefix;
    if (prefix + aboveAll < high) high = prefix + aboveAll;
  }
  return { low, high };
}

function compareUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

// UTF-16 units from D800 up, and where they go so that the surrogates of a pair come last:
//
//   unit        D800 .. DFFF   E000 .. FFFF
//   renumbered  F800 .. FFFF   D800 .. F7FF
const isRenumbered = /[\ud800-\uffff]/;

function toSortable(key: string): string {
  if (!isRenumbered.test(key)) return key;
  return mapUnits(key, (unit) => unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800);
}

function fromSortable(sortable: string): string {
  if (!isRenumbered.test(sortable)) return sortable;
  return mapUnits(sortable, (unit) => unit < 0xd800 ? unit : unit < 0xf800 ? unit + 0x800 : unit - 0x2000);
}

function mapUnits(text: string, f: (unit: number) => number): string {
  let mapped = "";
  for (let i = 0; i < text.length; i++) mapped += String.fromCharCode(f(text.charCodeAt(i)));
  return mapped;
}
