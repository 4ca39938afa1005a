/**
 * Bytes into lines. Both ports and every file are lines of JSON, so this is where input is cut, and where it is
 * bounded: a line that outgrows its limit is reported while it grows, not when its newline comes.
 *
 * @module
 */

import { release } from "../bytes.ts";

const newline = 10;
const carriageReturn = 13;
/** A larger buffer is given back once it is empty: most connections send a long line rarely. */
const idleBytesMax = 64 << 10;

/**
 * Takes one line with its newline. The array is valid during the call only. Returning false stops the splitter:
 * what follows is kept until `resume`.
 */
export type OnLine = (line: Uint8Array) => boolean | void;

/** How it stands: more can be taken; or the caller stopped it; or a line was too long, and that is the end. */
export type Splitting = "more" | "stopped" | "tooLong";

/** Splits a stream of bytes at its newlines. Lines that lie whole in one chunk are not copied when nothing is kept. */
export class LineSplitter {
  /** Longest line, newline included. May change from line to line: some are longer than others by right. */
  lineBytesMax: number;
  // Bytes kept from earlier chunks are #buffer[#start, #end). Unless stopped they are one unfinished line.
  #buffer = empty;
  #start = 0;
  #end = 0;
  #state: Splitting = "more";

  /** `lineBytesMax` counts the newline. */
  constructor(lineBytesMax: number) {
    this.lineBytesMax = lineBytesMax;
  }

  /** Bytes that were taken and not yet handed on. */
  get bufferedBytes(): number {
    return this.#end - this.#start;
  }

  /** Nothing is kept, and the next line would be handed on at once. */
  get isAtRest(): boolean {
    return this.#state === "more" && this.bufferedBytes === 0;
  }

  /** What is kept: unless stopped, the line without a newline with which the other end may have closed. */
  get rest(): Uint8Array {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /** Takes the next bytes. Only keeps them while stopped; drops them after a line that was too long. */
  push(chunk: Uint8Array, onLine: OnLine): Splitting {
    if (this.#state === "tooLong") return "tooLong";
    if (this.#state === "more") {
      const rest = this.bufferedBytes === 0 ? chunk : this.#finishLine(chunk, onLine);
      this.#settle();
      this.#keep(this.#state === "more" ? rest.subarray(this.#split(rest, 0, onLine)) : rest);
    } else this.#keep(chunk);
    return this.#settle();
  }

  /** Adds to the unfinished line what the chunk has of it, and hands it on when that is all. Returns the rest of the chunk. */
  #finishLine(chunk: Uint8Array, onLine: OnLine): Uint8Array {
    const searched = this.bufferedBytes;
    const end = chunk.indexOf(newline) + 1 || chunk.length;
    this.#keep(chunk.subarray(0, end));
    this.#start += this.#split(this.rest, searched, onLine);
    return chunk.subarray(end);
  }

  /** Keeps what comes, as if the caller had stopped at its last line. */
  stop(): void {
    if (this.#state === "more") this.#state = "stopped";
  }

  /** Goes on after a stop with what was kept. */
  resume(onLine: OnLine): Splitting {
    if (this.#state !== "stopped") return this.#state;
    this.#state = "more";
    this.#start += this.#split(this.rest, 0, onLine);
    return this.#settle();
  }

  /** Forgets what is kept, and gives its memory back. */
  clear(): void {
    release(this.#buffer);
    this.#buffer = empty;
    this.#start = this.#end = 0;
  }

  /** Hands on whole lines until there is none, a stop, or one too long. Returns how far it got. */
  #split(bytes: Uint8Array, searched: number, onLine: OnLine): number {
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(newline, Math.max(start, searched)) + 1;
      if (end === 0) return start;
      if (end - start > this.lineBytesMax) {
        this.#state = "tooLong";
        return start;
      }
      const goesOn = onLine(bytes.subarray(start, end)) !== false;
      start = end;
      if (!goesOn) {
        this.#state = "stopped";
        return start;
      }
    }
  }

  #settle(): Splitting {
    const isUnfinishedTooLong = this.#state === "more" && this.bufferedBytes > this.lineBytesMax;
    if (isUnfinishedTooLong) this.#state = "tooLong";
    if (this.#state === "tooLong") this.#start = this.#end;
    if (this.bufferedBytes === 0) {
      this.#start = this.#end = 0;
      if (this.#buffer.length > idleBytesMax) this.clear();
    }
    return this.#state;
  }

  /** Appends a copy. When it does not fit, the buffer doubles, so that a long line in pieces is not copied often. */
  #keep(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (this.#end + bytes.length > this.#buffer.length) this.#makeRoom(bytes.length);
    this.#buffer.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  #makeRoom(length: number): void {
    const { buffer } = this.#buffer;
    const kept = this.rest;
    const size = Math.max(256, (kept.length + length) * 2);
    const isRightSize = buffer.byteLength >= size && buffer.byteLength <= 4 * size;
    const canGrow = buffer.resizable && buffer.byteLength < size && buffer.maxByteLength >= size;
    const next = isRightSize || canGrow ? this.#buffer : allocate(size, 2 * this.lineBytesMax + idleBytesMax);
    if (this.#start > 0 || next !== this.#buffer) next.set(kept);
    if (canGrow) buffer.resize(size);
    this.#start = 0;
    this.#end = kept.length;
    if (next !== this.#buffer) release(this.#buffer);
    this.#buffer = next;
  }
}

const empty = new Uint8Array(0);

/**
 * A large buffer can grow up to `sizeMax` in place, and has pages of its own: the system gets them back, where an
 * allocator would keep them. Many clients with long lines cost no copying then, and leave nothing behind.
 */
function allocate(size: number, sizeMax: number): Uint8Array<ArrayBuffer> {
  if (size <= idleBytesMax) return new Uint8Array(size);
  try {
    return new Uint8Array(new ArrayBuffer(size, { maxByteLength: Math.max(size, sizeMax) }));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return new Uint8Array(size); // a process may be given little address space
  }
}

/** A line without its newline, nor the carriage return before it that telnet and Windows add. */
export function trimLine(line: Uint8Array): Uint8Array {
  let end = line.length;
  if (line[end - 1] === newline) end--;
  if (line[end - 1] === carriageReturn) end--;
  return line.subarray(0, end);
}
