/**
 * Memory for values that the garbage collector never looks at. As texts of the engine, each would be copied twice while
 * it is young and looked at again and again when it is old; here a new value most often takes the place of the one
 * before it.
 *
 * The memory comes in slabs, each of which has slots of one size. What a state does not need any more makes room for
 * others, unless a state that was frozen before still shows it. Large values are left to the collector: they are few for
 * their bytes, and to look at one, or to refer to it, costs nothing.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { decodeText, release } from "../bytes.ts";
import type { Stored } from "./command.ts";
import type { LineBuffer } from "./line_buffer.ts";

/** Where a value is: the number of its slab, and the word in that at which its slot begins. */
type Ref = number;

/** A value by which the heap knows it: where it is or, when it is large, itself. */
export type Held = Ref | Stored;

/** A value to keep: a text or, when it is not large, UTF-8. */
export interface NewValue extends Omit<Stored, "value"> {
  readonly value: string | Uint8Array;
}

/** A value of more UTF-16 units is large. Whoever looks at another one gets a copy. */
export const largeUnits = 4096;

// A slot: four words of eight bytes, which are version, expiresAt (Infinity: it stays), birth (how many states had been
// frozen when it was written) and length, all as numbers; then the value in UTF-8, of `length` bytes.
const wordBytes = 8;
const intsPerWord = 2;
const headWords = 4;
const expiresWord = 1;
const birthWord = 2;
const lengthWord = 3;

const wordBits = 15;
const slabWords = 1 << wordBits;
/** All refs are small integers to the engine. */
const slabsMax = 2 ** (31 - wordBits);
/** So much memory may be empty, whatever is in the rest: more than one slab of each size, of which there are about 70. */
const emptyBytesMin = 32 << 20;

interface Slab {
  readonly bytes: Uint8Array;
  readonly ints: Int32Array;
  readonly words: Float64Array<ArrayBuffer>;
  readonly slotWords: number;
  /** The words at which empty slots begin. */
  readonly empty: number[];
  /** How many slots are not empty. */
  used: number;
  /** Where it is among those of its size that have an empty slot; -1: it has none. */
  openAt: number;
}

/** The values of a state, and of the frozen states that were made of it. */
export class ValueHeap {
  /** null: that number has no slab at present. */
  readonly #slabs: (Slab | null)[] = [];
  readonly #numbers: number[] = [];
  /** Numbers of the slabs that have an empty slot, by its size in words. The last one is filled first. */
  readonly #open = new Map<number, number[]>();
  readonly #emptyWordsMin: number;
  #words = 0;
  #usedWords = 0;
  #slots = 0;
  #freezes = 0;
  /**
   * Frozen states, oldest first, and what each of them keeps from being empty: it is in the list of the newest one that
   * shows it, so that when that is released only the next older one has to be asked.
   */
  readonly #frozen: { number: number; kept: Ref[] }[] = [];

  /** The bytes are for tests, which need not fill so much memory then. */
  constructor(bytes: number = emptyBytesMin) {
    this.#emptyWordsMin = bytes / wordBytes;
  }

  /** How many slots are not empty. */
  get slots(): number {
    return this.#slots;
  }

  /** How many frozen states there are. */
  get frozen(): number {
    return this.#frozen.length;
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#words * wordBytes;
  }

  /** The value. */
  get(held: Held): Stored {
    if (typeof held === "object") return held;
    const { bytes, words } = this.#slabOf(held);
    const at = wordOf(held);
    const from = (at + headWords) * wordBytes;
    const value = decodeText(bytes.subarray(from, from + words[at + lengthWord]!));
    const version = words[at]!, expiresAt = words[at + expiresWord]!;
    return expiresAt === Infinity ? { value, version } : { value, version, expiresAt };
  }

  /** Adds the value to a line. */
  writeTo(lines: LineBuffer, held: Held): void {
    if (typeof held === "object") return lines.string(held.value);
    const { ints, words } = this.#slabOf(held);
    const at = wordOf(held);
    lines.stringOf(ints, (at + headWords) * intsPerWord, words[at + lengthWord]!);
  }

  /** The index of the write that made it. */
  version(held: Held): number {
    return typeof held === "object" ? held.version : this.#slabOf(held).words[wordOf(held)]!;
  }

  /** When it goes; Infinity: it stays. */
  expiresAt(held: Held): number {
    if (typeof held === "object") return held.expiresAt ?? Infinity;
    return this.#slabOf(held).words[wordOf(held) + expiresWord]!;
  }

  /** Keeps a value. */
  add(stored: NewValue): Held {
    if (isLarge(stored)) return stored;
    const { value } = stored;
    const ref = this.#take(slotWordsFor(value.length)); // most texts have as many bytes as units
    if (this.#write(ref, stored)) return ref;
    assert(typeof value === "string", "bytes fit into a slot for as many");
    this.#giveBack(ref);
    const larger = this.#take(slotWordsFor(utf8Length(value)));
    const isWritten = this.#write(larger, stored);
    assert(isWritten, "a text has as many bytes as were counted");
    return larger;
  }

  /** Keeps a value in the place of another one, which the state does not need any more. */
  replace(held: Held, stored: NewValue): Held {
    const isSlot = typeof held === "number" && !isLarge(stored);
    if (isSlot && !this.#isFrozen(held) && this.#write(held, stored)) return held;
    const other = this.add(stored);
    this.drop(held);
    return other;
  }

  /** The state does not need it any more. */
  drop(held: Held): void {
    if (typeof held === "object") return;
    if (this.#isFrozen(held)) this.#frozen.at(-1)!.kept.push(held);
    else this.#giveBack(held);
  }

  /** Nothing that is here now changes until that is released. Returns the number for `release`. */
  freeze(): number {
    this.#frozen.push({ number: ++this.#freezes, kept: [] });
    return this.#freezes;
  }

  /** A frozen state is not needed any more. */
  release(number: number): void {
    const at = this.#frozen.findIndex((frozen) => frozen.number === number);
    assert(at >= 0, "a frozen state is released once");
    const [released] = this.#frozen.splice(at, 1);
    const older = this.#frozen[at - 1];
    for (const ref of released!.kept) {
      if (older !== undefined && this.#birthOf(ref) < older.number) older.kept.push(ref);
      else this.#giveBack(ref);
    }
  }

  /** More of the memory is empty than is not: values should be brought together. */
  get isSparse(): boolean {
    return this.#words - this.#usedWords > this.#usedWords + this.#emptyWordsMin;
  }

  /** It is in a slab that is mostly empty, and is not the one that will be filled next. */
  isBadPlace(held: Held): boolean {
    if (typeof held === "object") return false;
    const { words, slotWords, used } = this.#slabOf(held);
    return 2 * used * slotWords < words.length && this.#openOf(slotWords).at(-1) !== slabNumberOf(held);
  }

  /** Moves a value to where others are. */
  move(held: Held): Held {
    if (typeof held === "object") return held;
    const { bytes, slotWords } = this.#slabOf(held);
    const moved = this.#take(slotWords);
    const from = wordOf(held) * wordBytes;
    const slot = bytes.subarray(from, from + slotWords * wordBytes);
    this.#slabOf(moved).bytes.set(slot, wordOf(moved) * wordBytes);
    this.drop(held);
    return moved;
  }

  /** Whether a frozen state shows it. */
  #isFrozen(ref: Ref): boolean {
    return this.#frozen.length > 0 && this.#birthOf(ref) < this.#frozen.at(-1)!.number;
  }

  #birthOf(ref: Ref): number {
    return this.#slabOf(ref).words[wordOf(ref) + birthWord]!;
  }

  #slabOf(ref: Ref): Slab {
    return this.#slabs[slabNumberOf(ref)]!;
  }

  /** Fills a slot. False: it is too small, or much too large; then there is nothing in it. */
  #write(ref: Ref, { value, version, expiresAt = Infinity }: NewValue): boolean {
    const { bytes, words, slotWords } = this.#slabOf(ref);
    if (slotWords > 4 * slotWordsFor(value.length)) return false; // a unit has up to three bytes
    const at = wordOf(ref);
    const from = (at + headWords) * wordBytes, room = (slotWords - headWords) * wordBytes;
    let { length } = value;
    if (length > room) return false;
    if (typeof value === "string") {
      const { read, written } = encoder.encodeInto(value, bytes.subarray(from, from + room));
      if (read < length) return false;
      length = written;
    } else bytes.set(value, from);
    words[at] = version;
    words[at + expiresWord] = expiresAt;
    words[at + birthWord] = this.#freezes;
    words[at + lengthWord] = length;
    return true;
  }

  /** Takes an empty slot of that size. */
  #take(slotWords: number): Ref {
    const open = this.#openOf(slotWords);
    if (open.length === 0) this.#makeSlab(slotWords);
    const number = open.at(-1)!;
    const slab = this.#slabs[number]!;
    const at = slab.empty.pop()!;
    slab.used++;
    this.#slots++;
    this.#usedWords += slotWords;
    if (slab.empty.length === 0) {
      slab.openAt = -1;
      open.pop();
    }
    return number * slabWords + at;
  }

  #giveBack(ref: Ref): void {
    const number = slabNumberOf(ref);
    const slab = this.#slabs[number]!;
    const open = this.#openOf(slab.slotWords);
    slab.empty.push(wordOf(ref));
    slab.used--;
    this.#slots--;
    this.#usedWords -= slab.slotWords;
    if (slab.openAt < 0) {
      slab.openAt = open.length;
      open.push(number);
    }
    if (slab.used > 0 || open.length === 1) return; // the only one of its size will be needed again
    open.splice(slab.openAt, 1); // in order: the last one goes on being filled
    for (let at = slab.openAt; at < open.length; at++) this.#slabs[open[at]!]!.openAt = at;
    this.#slabs[number] = null;
    this.#numbers.push(number);
    this.#words -= slab.words.length;
    release(slab.words);
  }

  #openOf(slotWords: number): number[] {
    let open = this.#open.get(slotWords);
    if (open === undefined) this.#open.set(slotWords, open = []);
    return open;
  }

  #makeSlab(slotWords: number): void {
    const words = new Float64Array(slabWords - slabWords % slotWords);
    const empty: number[] = [];
    for (let at = words.length - slotWords; at >= 0; at -= slotWords) empty.push(at);
    const number = this.#numbers.pop() ?? this.#slabs.length;
    assert(number < slabsMax, "the values of a state have at most 16 GiB");
    const bytes = new Uint8Array(words.buffer);
    const ints = new Int32Array(words.buffer);
    this.#slabs[number] = { bytes, ints, words, slotWords, empty, used: 0, openAt: 0 };
    this.#openOf(slotWords).push(number); // there was none
    this.#words += words.length;
  }
}

const encoder = new TextEncoder();

/** Whether a value, which must be one that can be kept, is large. */
function isLarge(stored: NewValue): stored is Stored {
  const { value } = stored;
  if (typeof value === "string") {
    assert(value.isWellFormed(), "a value is well-formed Unicode: else its bytes would be another text's");
    return value.length > largeUnits;
  }
  assert(value.length <= largeUnits, "a large value is a text");
  return false;
}

function slabNumberOf(ref: Ref): number {
  return ref >> wordBits;
}

function wordOf(ref: Ref): number {
  return ref & (slabWords - 1);
}

/** Words of the slots for values of so many bytes. There are eight sizes from one power of two to the next. */
function slotWordsFor(bytes: number): number {
  const words = headWords + Math.ceil(bytes / wordBytes);
  const step = Math.max(1, 2 ** (28 - Math.clz32(words)));
  return Math.ceil(words / step) * step;
}

/** Bytes of a well-formed text in UTF-8. */
function utf8Length(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    const isHalf = unit >= 0xd800 && unit < 0xe000; // of a pair, which has four bytes
    if (unit >= 0x80) bytes += unit < 0x800 || isHalf ? 1 : 2;
  }
  return bytes;
}
