/**
 * What a node's disk would certainly show after a power cut, read from the durable bytes themselves by rules of its
 * own, so that no mistake of the storage layer hides from the invariants.
 *
 * @module
 */

import { crcOfLine, isSealed } from "../../lib/raft/entry.ts";
import type { FakeDisk } from "./fake_disk.ts";
import { Violation } from "./violation.ts";

const newline = 10;
// {"crc":"xxxxxxxx","prev":"xxxxxxxx","index":...
const prevAt = 26;
const prevEnd = 34;
const indexAt = 44;
const decoder = new TextDecoder();

/** The durable log, term and vote of one machine. */
export class DurableState {
  /** Latest durable term. */
  currentTerm = 0;
  /** Vote in that term. */
  votedFor: number | null = null;
  /** The crc of each durable entry; the first entry stands at 1. */
  readonly crcs: number[] = [0];
  /** The segment that was read last, and up to where. */
  #file = "";
  #readUpTo = 0;

  constructor(readonly name: string, readonly disk: FakeDisk) {
    disk.onDurable = (file, grown) => {
      if (file === "state.json") this.#readState();
      else if (file.startsWith("log/")) this.#readLog(file, grown);
    };
  }

  /** Index of the last durable entry. */
  get lastIndex(): number {
    return this.crcs.length - 1;
  }

  #readState(): void {
    const bytes = this.disk.durable("state.json");
    if (bytes === null) return;
    const { currentTerm, votedFor } = JSON.parse(decoder.decode(bytes)) as DurableState;
    if (currentTerm < this.currentTerm) {
      throw new Violation(
        "I7",
        `${this.name}: the term on disk went back: ${this.currentTerm} to ${currentTerm}`,
      );
    }
    if (currentTerm === this.currentTerm && this.votedFor !== null && votedFor !== this.votedFor) {
      throw new Violation(
        "I7",
        `${this.name}: the vote on disk changed within term ${currentTerm}: ${this.votedFor} to ${votedFor}`,
      );
    }
    this.currentTerm = currentTerm;
    this.votedFor = votedFor;
  }

  /** Reads on in the segment that has grown, or all of them again. */
  #readLog(file: string, grown: boolean): void {
    if (grown && file >= this.#file) return void this.#readSegment(file);
    this.crcs.length = 1;
    this.#file = "";
    for (const name of this.disk.durableNames()) {
      if (name.startsWith("log/") && !this.#readSegment(name)) return;
    }
  }

  /** Reads a segment to its end; false: nothing counts behind a line that is not whole or breaks the chain. */
  #readSegment(file: string): boolean {
    if (file !== this.#file) {
      this.#file = file;
      this.#readUpTo = 0;
    }
    const bytes = this.disk.durable(file) ?? new Uint8Array();
    while (this.#readUpTo < bytes.length) {
      const end = bytes.indexOf(newline, this.#readUpTo) + 1;
      if (end === 0) return false;
      const line = bytes.subarray(this.#readUpTo, end);
      if (!isSealed(line)) return false;
      const text = decoder.decode(line.subarray(0, indexAt + 20));
      if (text.startsWith('","prev":"', 16)) {
        const index = parseInt(text.slice(indexAt), 10);
        const prev = parseInt(text.slice(prevAt, prevEnd), 16);
        if (index > this.crcs.length || prev !== this.crcs[index - 1]) return false;
        this.crcs.length = index;
        this.crcs.push(crcOfLine(line));
      }
      this.#readUpTo = end;
    }
    return true;
  }
}
