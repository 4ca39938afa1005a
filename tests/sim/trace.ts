/**
 * What happened in a simulation: a running hash of everything, by which two runs are compared, and the last lines
 * in words, for the person who has to understand a failure.
 *
 * @module
 */

import { crc32 } from "../../lib/crc32.ts";
import { hash } from "./random.ts";

interface Line {
  time: number;
  who: string;
  what: string;
  bytes: Uint8Array | null;
}

const linesKept = 300;
const decoder = new TextDecoder();

/** The record of one run. */
export class Trace {
  /** Events so far. */
  events = 0;
  /** Called with each line as it is written; null: nobody watches. */
  onLine: ((line: string) => void) | null = null;
  #hash = 1;
  #lines: Line[] = [];
  /** Where the oldest of the kept lines stands. */
  #oldest = 0;

  /** Records an event that is not worth a line. */
  count(time: number, who: string, what: string): void {
    this.add(hash(who, hash(what, Math.round(time * 1000) | 0)));
  }

  /** Records a line; `bytes` are what it is about. They must not change afterwards. */
  note(time: number, who: string, what: string, bytes: Uint8Array | null = null): void {
    this.count(time, who, what);
    if (bytes !== null) this.add(crc32(bytes));
    const line = { time, who, what, bytes };
    if (this.#lines.length < linesKept) this.#lines.push(line);
    else {
      this.#lines[this.#oldest] = line;
      this.#oldest = (this.#oldest + 1) % linesKept;
    }
    this.onLine?.(inWords(line));
  }

  /** Adds a number that both runs must have in common. */
  add(value: number): void {
    this.#hash = Math.imul(this.#hash ^ value, 0x01000193) ^ (this.#hash >>> 13);
  }

  /** The hash of all so far. */
  get digest(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, "0");
  }

  /** The last lines, oldest first. */
  tail(): string[] {
    return [...this.#lines.slice(this.#oldest), ...this.#lines.slice(0, this.#oldest)].map(inWords);
  }
}

function inWords({ time, who, what, bytes }: Line): string {
  const text = bytes === null
    ? ""
    : ` ${decoder.decode(bytes.subarray(0, 260)).trimEnd().replaceAll("\n", " | ")}`;
  return `${time.toFixed(3).padStart(11)} ms  ${who.padEnd(4)} ${what}${text}`;
}
