/**
 * The state as lines of JSON in UTF-8, as snapshots have them. Most values need no escaping, and their bytes are copied as
 * they are: no text is made of them, no object for the line and none for JSON.stringify.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { decodeText, utf8BytesMax } from "../bytes.ts";

/** Whole lines, one behind the other, each with its newline. */
export interface Block {
  /** Valid until the next block is asked for. */
  readonly bytes: Uint8Array;
  readonly lines: number;
}

/** A block is full when it has more bytes than this. */
const blockBytes = 64 << 10;
/** JSON makes at most so many bytes of a UTF-16 unit, or of a byte in UTF-8: \u001f. */
const escapedBytesMax = 6;

const encoder = new TextEncoder();
const newline = 10;
const quote = 0x22;
const backslash = 0x5c;
const space = 0x20;

/** A block that lines are added to. */
export class LineBuffer {
  #bytes: Uint8Array = new Uint8Array(2 * blockBytes);
  #at = 0;
  #lines = 0;

  /** It should be taken before the next line. */
  get isFull(): boolean {
    return this.#at > blockBytes;
  }

  /** What was added since the last time, as a block. */
  take(): Block {
    const block = { bytes: this.#bytes.subarray(0, this.#at), lines: this.#lines };
    this.#at = this.#lines = 0;
    return block;
  }

  /** Adds a part of a line that is ASCII and needs no escaping. */
  plain(text: string): void {
    this.#makeRoom(text.length);
    const bytes = this.#bytes, at = this.#at;
    for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
    this.#at = at + text.length;
  }

  /** Adds a text, as JSON has it between quotes. */
  string(text: string): void {
    this.#makeRoom(2 + escapedBytesMax * text.length);
    const bytes = this.#bytes;
    let at = this.#at;
    bytes[at++] = quote;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x80 || isEscaped(unit)) return this.#encode(JSON.stringify(text));
      bytes[at++] = unit;
    }
    bytes[at++] = quote;
    this.#at = at;
  }

  /**
   * Adds a text that is there in UTF-8, as JSON has it between quotes: the `length` bytes of `ints` from the place `from`
   * on, which counts integers.
   */
  stringOf(ints: Int32Array, from: number, length: number): void {
    const source = new Uint8Array(ints.buffer, ints.byteOffset + 4 * from, length);
    if (hasEscapes(ints, from, length)) return this.string(decodeText(source));
    this.#makeRoom(2 + length);
    this.#bytes[this.#at] = quote;
    this.#bytes.set(source, this.#at + 1);
    this.#at += length + 2;
    this.#bytes[this.#at - 1] = quote;
  }

  /** Adds a whole line. */
  line(text: string): void {
    this.#makeRoom(utf8BytesMax(text));
    this.#encode(text);
    this.end("");
  }

  /** Adds the end of a line, which is ASCII and needs no escaping. */
  end(text: string): void {
    this.plain(text);
    this.#makeRoom(1);
    this.#bytes[this.#at++] = newline;
    this.#lines++;
  }

  #encode(text: string): void {
    const { read, written } = encoder.encodeInto(text, this.#bytes.subarray(this.#at));
    assert(read === text.length, "room was made for the whole text");
    this.#at += written;
  }

  #makeRoom(length: number): void {
    if (this.#at + length <= this.#bytes.length) return;
    const bytes = new Uint8Array(2 * (this.#at + length));
    bytes.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = bytes;
  }
}

const eachByte = 0x01010101;
const highBits = 0x80808080;

/** Whether JSON.stringify writes an escape for any of the bytes: looks at four at a time, which takes a third of the time. */
function hasEscapes(ints: Int32Array, from: number, length: number): boolean {
  const rest = length & 3, end = from + (length >> 2);
  let found = 0;
  for (let i = from; i < end; i++) found |= escapesIn(ints[i]!);
  // The bytes behind the last one may be anything: in their place come some that need no escape.
  if (rest > 0) found |= escapesIn(ints[end]! & ~(-1 << 8 * rest) | space * eachByte << 8 * rest);
  return (found & highBits) !== 0;
}

/** The high bits of bytes that need an escape, and maybe of some above them: a byte below a limit borrows from the next. */
function escapesIn(four: number): number {
  const quotes = four ^ quote * eachByte, backslashes = four ^ backslash * eachByte;
  return ((four - space * eachByte) & ~four) | ((quotes - eachByte) & ~quotes) |
    ((backslashes - eachByte) & ~backslashes);
}

/** Whether JSON.stringify writes an escape for it; lone surrogates aside, which there are none of. */
function isEscaped(unit: number): boolean {
  return unit < space || unit === quote || unit === backslash;
}
