/**
 * A put that only gives a key its value, maybe in a session, and in whose text both stand as they are: printable ASCII
 * without escapes, of moderate length. Most writes are such, and the value of one never becomes a text of the engine: its
 * bytes come with a request and go into the line of an entry, and from there, on every node, into a slot of the heap and
 * into the history for watches.
 *
 * ```text
 * {"op":"put","key":"color","value":"blue","session":"17","seq":3}
 *                         ^ keyEnd      ^ valueEnd              ^ length
 * ```
 *
 * @module
 */

import { decodeAscii, endOfDigits, hasAt, type Piece, readDecimal } from "../bytes.ts";
import { EncodedCommand } from "../encoded_command.ts";
import type { Numbered, PutCommand } from "./command.ts";
import { largeUnits } from "./value_heap.ts";

const encoder = new TextEncoder();
const head = encoder.encode('{"op":"put","key":"');
const between = encoder.encode('","value":"');
const sessionHead = encoder.encode(',"session":"');
const seqHead = encoder.encode('","seq":');
const quote = 0x22;
const backslash = 0x5c;
const zero = 0x30;

/** Key and value have at most so many bytes each: what is larger is kept as a text. */
const partBytesMax = largeUnits;

/** By byte: 1 for a character that stands in a text of JSON as it is, and is one byte in UTF-8. */
const isPlain = new Uint8Array(256).fill(1, 0x20, 0x7f);
isPlain[quote] = isPlain[backslash] = 0;

/** A put by its text, which it has only as long as nobody changes the bytes. It is also the change that it makes. */
export class PlainPut extends EncodedCommand implements PutCommand {
  readonly session?: string;
  readonly seq?: number;
  /** Where the key and the value end, counted from where the text begins. */
  readonly #keyEnd: number;
  readonly #valueEnd: number;

  constructor(
    { bytes, from, length }: Piece,
    { keyEnd, valueEnd, numbered }: { keyEnd: number; valueEnd: number; numbered: Numbered | null },
  ) {
    super(bytes, from, length);
    this.#keyEnd = keyEnd;
    this.#valueEnd = valueEnd;
    if (numbered === null) return;
    this.session = numbered.session;
    this.seq = numbered.seq;
  }

  get op(): "put" {
    return "put";
  }

  get type(): "put" {
    return "put";
  }

  get key(): string {
    return decodeAscii(this.bytes, this.from + head.length, this.from + this.#keyEnd);
  }

  get value(): string {
    const valueBytes = this.valueBytes();
    return decodeAscii(valueBytes, 0, valueBytes.length);
  }

  /** Bytes of the key. */
  get keyLength(): number {
    return this.#keyEnd - head.length;
  }

  /** Bytes of the value. */
  get valueLength(): number {
    return this.#valueEnd - this.#keyEnd - between.length;
  }

  /** The key as it stands in the text. */
  keyBytes(): Uint8Array {
    return this.bytes.subarray(this.from + head.length, this.from + this.#keyEnd);
  }

  /** The value as it stands in the text. */
  valueBytes(): Uint8Array {
    return this.bytes.subarray(this.from + this.#keyEnd + between.length, this.from + this.#valueEnd);
  }

  /** What it says, for whoever prints it, in the place of its bytes. */
  toJSON(): PutCommand {
    const { op, key, value, session, seq } = this;
    return session === undefined || seq === undefined ? { op, key, value } : { op, key, value, session, seq };
  }
}

/**
 * Finds a plain put whose text begins at `from`, up to the brace that closes it, whatever is there; null: there is none.
 * It borrows the bytes.
 */
export function findPlainPut(bytes: Uint8Array, from: number): PlainPut | null {
  if (!hasAt(bytes, from, head)) return null;
  const keyAt = from + head.length;
  const keyEnd = endOfPlain(bytes, keyAt);
  if (keyEnd <= keyAt || !hasAt(bytes, keyEnd, between)) return null;
  const valueEnd = endOfPlain(bytes, keyEnd + between.length);
  if (valueEnd < 0) return null;
  let end = valueEnd + 1, numbered: Numbered | null = null;
  if (hasAt(bytes, end, sessionHead)) {
    const sessionAt = end + sessionHead.length, sessionEnd = endOfDigits(bytes, sessionAt);
    if (sessionEnd < 0 || !hasAt(bytes, sessionEnd, seqHead)) return null;
    const seqAt = sessionEnd + seqHead.length;
    end = endOfDigits(bytes, seqAt);
    if (end < 0 || bytes[sessionAt] === zero || bytes[seqAt] === zero) return null; // both count from 1
    numbered = {
      session: decodeAscii(bytes, sessionAt, sessionEnd),
      seq: readDecimal(bytes, seqAt, end),
    };
  }
  const ends = { keyEnd: keyEnd - from, valueEnd: valueEnd - from, numbered };
  return new PlainPut({ bytes, from, length: end - from }, ends);
}

/** Where the plain text ends, by a quote, that begins at `from`; -1: it is not plain, or too long. */
function endOfPlain(bytes: Uint8Array, from: number): number {
  const endMax = Math.min(bytes.length, from + partBytesMax + 1); // never beyond the end (lib/bytes.ts)
  let end = from;
  while (end < endMax && isPlain[bytes[end]!] === 1) end++;
  return end < endMax && bytes[end] === quote ? end : -1;
}
