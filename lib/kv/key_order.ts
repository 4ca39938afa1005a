/**
 * The order of keys, which is that of their UTF-8 bytes (equally, of their Unicode code points): the order of
 * `LC_ALL=C sort` and of most languages, but not of JavaScript's `<`, which compares UTF-16 units and so puts
 * U+10000 and above, written as surrogate pairs, before U+E000. Keys are therefore kept with their units renumbered
 * such that `<` is right; of a key without such characters that is the key itself.
 *
 * @module
 */

/** Which keys: those that meet every condition given. */
export interface Range {
  /** Begins with this. */
  prefix?: string;
  /** Is this or comes after it. */
  start?: string;
  /** Comes before this. */
  end?: string;
}

/** No renumbered key begins with this unit, which stands for a low surrogate, nor goes on with it after a prefix. */
const aboveAll = "\uffff";

/** From `low` (inclusive) to `high` (exclusive), renumbered. */
export function boundsOf(range: Range): { low: string; high: string } {
  let low = toSortable(range.start ?? "");
  let high = range.end === undefined ? aboveAll : toSortable(range.end);
  if (range.prefix !== undefined) {
    const prefix = toSortable(range.prefix);
    if (prefix > low) low = prefix;
    if (prefix + aboveAll < high) high = prefix + aboveAll;
  }
  return { low, high };
}

// UTF-16 units from D800 up, and where they go so that the surrogates of a pair come last:
//
//   unit        D800 .. DFFF   E000 .. FFFF
//   renumbered  F800 .. FFFF   D800 .. F7FF
const isRenumbered = /[\ud800-\uffff]/;

/** A key renumbered. */
export function toSortable(key: string): string {
  if (!isRenumbered.test(key)) return key;
  return mapUnits(key, (unit) => unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800);
}

/** The key that was renumbered. */
export function fromSortable(sortable: string): string {
  if (!isRenumbered.test(sortable)) return sortable;
  return mapUnits(sortable, (unit) => unit < 0xd800 ? unit : unit < 0xf800 ? unit + 0x800 : unit - 0x2000);
}

function mapUnits(text: string, f: (unit: number) => number): string {
  let mapped = "";
  for (let i = 0; i < text.length; i++) mapped += String.fromCharCode(f(text.charCodeAt(i)));
  return mapped;
}
