/**
 * Pages of keys: which keys a client gets that asks for a range of them, and where the next page begins.
 *
 * @module
 */

import { boundsOf, fromSortable, type Range } from "./key_order.ts";
import type { OrderedMap } from "./ordered_map.ts";
import type { Held, ValueHeap } from "./value_heap.ts";

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
 * fills neither the memory nor the connection, nor keeps others waiting for long: a page of this many takes two milliseconds.
 */
export const pageUnitsMax = 256 << 10;

/** A page of the keys of `tree`, whose values are in `heap`. */
export function list(tree: OrderedMap<Held>, heap: ValueHeap, options: ListOptions): Page {
  const { limit, reverse = false, keysOnly = false } = options;
  const { low, high } = boundsOf(options);
  const page: Page = { entries: [], next: null };
  let units = 0;
  const pairs = reverse ? tree.entriesReversed(high) : tree.entries(low);
  for (const [sortable, held] of pairs) {
    if (reverse ? sortable < low : sortable >= high) break;
    const key = fromSortable(sortable);
    const version = heap.version(held), expiresAt = heap.expiresAt(held);
    const entry: ListedEntry = keysOnly ? { key, version } : { key, value: heap.get(held).value, version };
    units += key.length + (entry.value?.length ?? 0);
    const isFull = page.entries.length === limit || (units > pageUnitsMax && page.entries.length > 0);
    if (isFull) {
      page.next = reverse ? page.entries.at(-1)!.key : key;
      break;
    }
    if (expiresAt !== Infinity) entry.expiresAt = expiresAt;
    page.entries.push(entry);
  }
  return page;
}
