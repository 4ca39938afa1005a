/**
 * Arrays of bytes, for all layers. What is made once for each request or entry lies side by side in larger buffers: an
 * array that shows a part of one costs 40 ns, a buffer of its own 2.5 µs and much of the garbage collector's time.
 *
 * @module
 */

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

/** All of `parts` one behind the other; of a single part that is the part itself. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 ? parts[0]! : copyAll(parts, new Uint8Array(lengthOf(parts)));
}

function lengthOf(parts: readonly Uint8Array[]): number {
  let length = 0;
  for (const part of parts) length += part.length;
  return length;
}

/** Copies `parts`, one behind the other, to the beginning of `target`. Returns what that holds of them now: all. */
export function copyAll(parts: readonly Uint8Array[], target: Uint8Array): Uint8Array {
  let at = 0;
  for (const part of parts) {
    target.set(part, at);
    at += part.length;
  }
  return target.subarray(0, at);
}

/** The same bytes in fewer arrays: parts that lie side by side in one buffer become one. */
export function merged(parts: readonly Uint8Array[]): Uint8Array[] {
  const all: Uint8Array[] = [];
  for (let i = 0; i < parts.length;) {
    const { buffer, byteOffset } = parts[i]!;
    let end = byteOffset;
    while (i < parts.length && parts[i]!.buffer === buffer && parts[i]!.byteOffset === end) {
      end += parts[i++]!.length;
    }
    all.push(new Uint8Array(buffer, byteOffset, end - byteOffset));
  }
  return all;
}

/** The text of UTF-8 bytes. Throws TypeError when they are not UTF-8. */
export function decodeText(bytes: Uint8Array): string {
  // The lenient decoder takes a third of the time. What it could not read, and nothing else but itself, becomes U+FFFD.
  const text = lenient.decode(bytes);
  return text.includes("\ufffd") ? strict.decode(bytes) : text;
}

/** A longer text is decoded as a whole. */
const unitByUnitMax = 32;

/** The text of bytes that are ASCII. A short one takes half as long as by `decodeText`. */
export function decodeAscii(bytes: Uint8Array, from: number, end: number): string {
  if (end - from > unitByUnitMax) return lenient.decode(bytes.subarray(from, end));
  let text = "";
  for (let i = from; i < end; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}

/**
 * Gives the memory of a buffer back, and makes it empty: left to the garbage collector, megabytes stay for as long as a
 * node has little to do.
 */
export function release({ buffer }: Uint8Array<ArrayBuffer> | Float64Array<ArrayBuffer>): void {
  if (buffer.byteLength > 0) buffer.transferToFixedLength(0);
}

/** A text has at most so many bytes in UTF-8: three for each UTF-16 unit. */
export function utf8BytesMax(text: string): number {
  return 3 * text.length;
}

// No loop here looks beyond the end of an array: once it did, the engine reads all arrays more slowly there, for ever.

/** Whether the bytes from `at` on are `expected`. */
export function hasAt(bytes: Uint8Array, at: number, expected: Uint8Array): boolean {
  if (at + expected.length > bytes.length) return false;
  for (let i = 0; i < expected.length; i++) if (bytes[at + i] !== expected[i]) return false;
  return true;
}

const zero = 0x30;
const nine = 0x39;
/** More digits could be more than an integer can count. */
const digitsMax = 15;

/**
 * Where the decimal digits end that begin at `from`; -1: there is none, or there are more than 15, or zeros that JSON would
 * not have there. What they say is a safe integer.
 */
export function endOfDigits(bytes: Uint8Array, from: number): number {
  const endMax = Math.min(bytes.length, from + digitsMax + 1);
  let end = from;
  while (end < endMax && bytes[end]! >= zero && bytes[end]! <= nine) end++;
  const isFine = end > from && end - from <= digitsMax && (bytes[from] !== zero || end === from + 1);
  return isFine ? end : -1;
}

/** What decimal digits say. */
export function readDecimal(bytes: Uint8Array, from: number, end: number): number {
  let value = 0;
  for (let i = from; i < end; i++) value = value * 10 + bytes[i]! - zero;
  return value;
}

/** A part of an array. */
export interface Piece {
  readonly bytes: Uint8Array;
  readonly from: number;
  readonly length: number;
}

/** Makes arrays that lie side by side in buffers of `bufferBytes`. Each keeps its buffer, and so its neighbours, in memory. */
export class Arena {
  readonly #bufferBytes: number;
  /** Longer texts and arrays get a buffer of their own: little would be left of a shared one. */
  readonly #sharedMax: number;
  #buffer = new Uint8Array(0);
  #used = 0;

  constructor(bufferBytes: number, sharedMax: number = bufferBytes >> 4) {
    this.#bufferBytes = bufferBytes;
    this.#sharedMax = sharedMax;
  }

  /** A text as UTF-8. */
  encode(text: string): Uint8Array {
    if (text.length > this.#sharedMax) return encoder.encode(text);
    this.#makeRoom(utf8BytesMax(text));
    const { written } = encoder.encodeInto(text, this.#buffer.subarray(this.#used));
    return this.#take(written);
  }

  /** A text as UTF-8, behind that a copy of some bytes, and behind that another text. */
  join(before: string, { bytes, from, length }: Piece, after: string): Uint8Array {
    const lengthMax = utf8BytesMax(before) + length + utf8BytesMax(after);
    if (lengthMax > this.#sharedMax) {
      return concat([encoder.encode(before), bytes.subarray(from, from + length), encoder.encode(after)]);
    }
    this.#makeRoom(lengthMax);
    const buffer = this.#buffer;
    let at = this.#used + encoder.encodeInto(before, buffer.subarray(this.#used)).written;
    buffer.set(bytes.subarray(from, from + length), at);
    at += length;
    at += encoder.encodeInto(after, buffer.subarray(at)).written;
    return this.#take(at - this.#used);
  }

  /** A copy. */
  copy(bytes: Uint8Array): Uint8Array {
    if (bytes.length > this.#sharedMax) return bytes.slice();
    this.#makeRoom(bytes.length);
    this.#buffer.set(bytes, this.#used);
    return this.#take(bytes.length);
  }

  #makeRoom(length: number): void {
    if (this.#used + length <= this.#buffer.length) return;
    this.#buffer = new Uint8Array(Math.max(length, this.#bufferBytes));
    this.#used = 0;
  }

  #take(length: number): Uint8Array {
    const from = this.#used;
    this.#used += length;
    return this.#buffer.subarray(from, this.#used);
  }
}

/** Puts parts together in a buffer that is used again and again. */
export class Joiner {
  readonly #bufferBytesMax: number;
  #buffer = new Uint8Array(0);

  /** Above `bufferBytesMax` bytes no buffer is kept. */
  constructor(bufferBytesMax: number) {
    this.#bufferBytesMax = bufferBytesMax;
  }

  /** All of `parts` one behind the other; valid until the next call. */
  join(parts: readonly Uint8Array[]): Uint8Array {
    const length = lengthOf(parts);
    if (length > this.#bufferBytesMax) return concat(parts);
    if (length > this.#buffer.length) {
      this.#buffer = new Uint8Array(Math.min(this.#bufferBytesMax, 2 * length));
    }
    return copyAll(parts, this.#buffer);
  }
}
