/**
 * What a node's disk would certainly show after a power cut, read from the durable bytes themselves by rules of its
 * own, so that no mistake of the storage layer hides from the invariants.
 *
 * @module
 */

import { crc32, crcToHex } from "../../lib/crc32.ts";
import { crcOfLine, isSealed } from "../../lib/raft/entry.ts";
import type { FakeDisk } from "./fake_disk.ts";
import { Violation } from "./violation.ts";

const newline = 10;
// {"crc":"xxxxxxxx","prev":"xxxxxxxx","index":...
const prevAt = 26;
const prevEnd = 34;
const indexAt = 44;
const decoder = new TextDecoder();

/** The end of a log or of a snapshot. */
interface Place {
  index: number;
  crc: number;
}

/** What the checks read of a state file. */
interface SavedState {
  currentTerm: number;
  votedFor: number | null;
  incarnation: string;
  admitted: number;
}

/** A line of a log, and what it is. */
export interface LogLine {
  file: string;
  /** Where it begins and ends in the file. */
  from: number;
  end: number;
  /** The entry that it is, or that it vouches for; null: a header, or nothing whole. */
  index: number | null;
  isMark: boolean;
}

/** The durable log, snapshot, term and vote of one machine. */
export class DurableState {
  /** Latest durable term. */
  currentTerm = 0;
  /** Vote in that term. */
  votedFor: number | null = null;
  /** Name of the folder; "": it has none yet. */
  incarnation = "";
  /** The folder that was admitted last. While a node abstains, what it has is acknowledged to nobody. */
  #admitted: string | null = null;
  /** What the state file said last of its admission. */
  #admittedIndex = 0;
  /** The crc of each durable entry in the log; it may have none at the beginning. */
  readonly crcs: number[] = [0];
  /** The newest whole snapshot; index 0: none. */
  snapshot: Place = { index: 0, crc: 0 };
  /** What it had before it lost something. */
  #lost: { crcs: number[]; snapshot: Place }[] = [];
  /** The segment that was read last, and up to where. */
  #file = "";
  #readUpTo = 0;

  constructor(readonly name: string, readonly disk: FakeDisk) {
    disk.onDurable = (file, grown) => {
      if (file === "state.json") this.#readState();
      else if (file.startsWith("log/")) this.#readLog(file, grown);
      else if (file.startsWith("snapshots/")) this.#readSnapshots();
    };
  }

  /** What the node says counts: it does not abstain. */
  get isAdmitted(): boolean {
    return this.incarnation === this.#admitted;
  }

  /** Index of the last entry that the log or the snapshot has. */
  get lastIndex(): number {
    return Math.max(this.crcs.length - 1, this.snapshot.index);
  }

  /**
   * Whether the committed entry at `index` is here and counts, or did until the disk lost it: a minority of the disks may,
   * and what they have acknowledged stays acknowledged. What a node has while it abstains does not count.
   */
  has(index: number, committedCrcs: readonly number[]): boolean {
    const present = this.incarnation === this.#admitted ? [{ crcs: this.crcs, snapshot: this.snapshot }] : [];
    return [...present, ...this.#lost].some(({ crcs, snapshot }) =>
      crcs[index] === committedCrcs[index] ||
      (index <= snapshot.index && snapshot.crc === committedCrcs[snapshot.index])
    );
  }

  /** The node, which knows by its log that it is admitted, counts from now on. Its state file may say so a little later. */
  admit(): void {
    this.#admitted = this.incarnation;
  }

  /** The disk is about to lose something: what it had before still counts as acknowledged. */
  beforeLoss(): void {
    this.#lost.push({ crcs: [...this.crcs], snapshot: this.snapshot });
  }

  /** The disk was changed behind the node's back. `withState`: term and vote are gone. */
  afterLoss(withState: boolean): void {
    if (withState) {
      this.currentTerm = 0;
      this.votedFor = null;
      this.incarnation = "";
    }
    this.#readSnapshots();
    this.#readLog("", false);
  }

  /** All whole lines of the log. */
  lines(): LogLine[] {
    return this.disk.durableNames().filter((name) => name.startsWith("log/")).flatMap((file) =>
      [...linesIn(this.disk.durable(file)!)].map(({ line, from }): LogLine => {
        const entry = entryIn(line);
        const mark = entry === null ? /"synced":(\d+)/.exec(decoder.decode(line)) : null;
        const index = entry?.index ?? (mark === null ? null : Number(mark[1]));
        return {
          file,
          from,
          end: from + line.length,
          index: isSealed(line) ? index : null,
          isMark: mark !== null,
        };
      })
    );
  }

  /** The highest entry for which the state file or a mark in the log vouches. */
  vouchedIndex(): number {
    const bytes = this.disk.durable("state.json");
    const synced = bytes === null ? 0 : Number(/"synced":(\d+)/.exec(decoder.decode(bytes))?.[1] ?? 0);
    return Math.max(synced, ...this.lines().filter(({ isMark }) => isMark).map(({ index }) => index ?? 0));
  }

  #readState(): void {
    const bytes = this.disk.durable("state.json");
    if (bytes === null || !isSealed(bytes)) return; // gone, or rotten: it says nothing
    const { currentTerm, votedFor, incarnation, admitted } = JSON.parse(decoder.decode(bytes)) as SavedState;
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
    this.incarnation = incarnation;
    if (admitted > 0) this.admit();
    // One that was there before the log lost something stays until the next start is through.
    const isNew = admitted !== this.#admittedIndex;
    this.#admittedIndex = admitted;
    if (isNew && admitted > 1 && admitted > this.lastIndex) {
      throw new Violation(
        "I14",
        `${this.name} is admitted by entry ${admitted}, its disk ends at ${this.lastIndex}`,
      );
    }
  }

  #readSnapshots(): void {
    const before = this.snapshot.index;
    this.snapshot = { index: 0, crc: 0 };
    for (const name of this.disk.durableNames()) {
      const place = name.startsWith("snapshots/") ? snapshotIn(this.disk.durable(name)!) : null;
      // One that has come to stand in another one's place is of no use to a node.
      if (place !== null && isNamedFor(name, place) && place.index > this.snapshot.index) {
        this.snapshot = place;
      }
    }
    if (this.snapshot.index !== before) this.#readLog("", false);
  }

  /** Reads on in the segment that has grown, or all of them again. */
  #readLog(file: string, grown: boolean): void {
    if (grown && file >= this.#file) return this.#readSegment(file);
    this.crcs.length = 1;
    this.#file = "";
    for (const name of this.disk.durableNames()) if (name.startsWith("log/")) this.#readSegment(name);
  }

  /** Reads a segment to its end. What does not continue the chain, or go on from the snapshot, does not count. */
  #readSegment(file: string): void {
    if (file !== this.#file) {
      this.#file = file;
      this.#readUpTo = 0;
    }
    const bytes = this.disk.durable(file) ?? new Uint8Array();
    const isFirst = this.crcs.length === 1;
    for (const { line, from } of linesIn(bytes, this.#readUpTo)) {
      const entry = entryIn(line);
      this.#readUpTo = from + line.length;
      if (entry === null || !isSealed(line)) continue;
      const { index, prev } = entry;
      const isNext = this.crcs[index - 1] === prev;
      const followsSnapshot = index === this.snapshot.index + 1 && prev === this.snapshot.crc;
      const isBeginning = isFirst && this.crcs.length === 1 && index <= this.snapshot.index;
      if (!isNext && !followsSnapshot && !isBeginning) continue;
      this.crcs.length = index;
      this.crcs[index] = crcOfLine(line);
    }
  }
}

function* linesIn(bytes: Uint8Array, from = 0): Generator<{ line: Uint8Array; from: number }> {
  for (let end = bytes.indexOf(newline, from) + 1; end > 0; end = bytes.indexOf(newline, from) + 1) {
    yield { line: bytes.subarray(from, end), from };
    from = end;
  }
}

function entryIn(line: Uint8Array): { index: number; prev: number } | null {
  const text = decoder.decode(line.subarray(0, indexAt + 20));
  if (!text.startsWith('","prev":"', 16)) return null;
  return { index: parseInt(text.slice(indexAt), 10), prev: parseInt(text.slice(prevAt, prevEnd), 16) };
}

/** Whether it is the name of a snapshot that reaches that entry. */
export function isNamedFor(file: string, { index }: { index: number }): boolean {
  return file.endsWith(`/${String(index).padStart(20, "0")}.ndjson`);
}

/** Which entry a snapshot reaches; null: it is not whole. */
function snapshotIn(bytes: Uint8Array): Place | null {
  let place: Place | null = null;
  let blockFrom = 0;
  let blocks = 0;
  for (const { line, from } of linesIn(bytes)) {
    if (!decoder.decode(line.subarray(0, 8)).startsWith('{"crc":"')) continue;
    if (!isSealed(line)) return null;
    const fields = JSON.parse(decoder.decode(line)) as Record<string, unknown>;
    if (place === null) place = { index: Number(fields.index), crc: parseInt(String(fields.at), 16) };
    else if ("block" in fields) {
      if (fields.sum !== crcToHex(crc32(bytes.subarray(blockFrom, from)))) return null;
      blocks++;
    } else return fields.blocks === blocks && from + line.length === bytes.length ? place : null;
    blockFrom = from + line.length;
  }
  return null;
}
