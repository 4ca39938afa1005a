/**
 * The segments of the log as a running node changes them: what is added at the end, cut at the end when it conflicts,
 * cut in front when a snapshot makes it unnecessary, and given up for a snapshot. Each change is a step that begins
 * when its turn comes, and leaves a readable log at every moment.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { Joiner } from "../bytes.ts";
import type { Disk } from "../io/io.ts";
import { findPlainPut } from "../kv/plain_put.ts";
import { readEntry } from "../raft/entry.ts";
import type { Entry } from "../raft/types.ts";
import {
  encodeHeader,
  encodeMark,
  FolderError,
  type Identity,
  type Mark,
  noMark,
  segmentName,
} from "./formats.ts";
import type { Segment } from "./log_recovery.ts";
import { inTurn, removal, type Step } from "./steps.ts";

const newline = 10;

/** The files of the log. */
export class LogFiles {
  readonly #disk: Disk;
  readonly #segmentBytesMax: number;
  //    durable.index   lastIndex
  //          v             v
  //  ... | n | n+1 | ... | m |
  //  ^offsets of n            ^end of the last segment
  /** The last entry that is durable. Equal to the last entry whenever no operation is under way. */
  durable: Mark = noMark;
  /** What the last mark that this process wrote vouches for. */
  #logMark: Mark = noMark;
  /** Where the line of each entry starts in its segment, from the entry `offsetsFrom` on. */
  #offsets: number[] = [];
  #offsetsFrom = 1;
  /** In order. Only the last one grows. */
  #segments: Segment[] = [];
  /** The storage does one operation at a time. */
  readonly #joiner = new Joiner(1 << 20);

  constructor(disk: Disk, segmentBytesMax: number) {
    this.#disk = disk;
    this.#segmentBytesMax = segmentBytesMax;
  }

  /** Goes on with what was recovered: the entries behind `base`, with their offsets. Nothing of it is durable for certain. */
  adopt(base: Mark, segments: Segment[], offsets: number[]): void {
    this.durable = base;
    this.#segments = segments;
    this.#offsets = offsets;
    this.#offsetsFrom = base.index + 1;
  }

  /** Index of the last entry that was written or is being written. */
  get lastIndex(): number {
    return this.#offsetsFrom + this.#offsets.length - 1;
  }

  /** The file that grows. */
  get lastSegment(): Segment | undefined {
    return this.#segments.at(-1);
  }

  /** Bytes that the entry at `index` takes, with what stands behind it; 0: it is not there. */
  bytesOf(index: number): number {
    const from = this.#offsetOf(index);
    return from === undefined ? 0 : this.#endOf(index, this.#placeOf(index)) - from;
  }

  /**
   * Reads entries again, from `first` on and at most up to `last`: as many of one segment as have `bytesMax` bytes, and at
   * least one. All of them are durable. Throws FolderError when they are not what was written.
   */
  read(first: number, last: number, bytesMax: number): Entry[] {
    assert(first <= last && last <= this.durable.index, "what is read is durable");
    const from = this.#offsetOf(first);
    assert(from !== undefined, () => `entry ${first} is in a segment`);
    const place = this.#placeOf(first);
    const name = segmentName(place.segment.first);
    let end = first;
    last = Math.min(last, place.last);
    while (end < last && this.#endOf(end + 1, place) - from <= bytesMax) end++;
    const bytes = this.#disk.readRange(name, from, this.#endOf(end, place) - from);
    const entries: Entry[] = [];
    for (let index = first; index <= end; index++) {
      const at = this.#offsetOf(index)! - from;
      const entry = readEntry(bytes.subarray(at, bytes.indexOf(newline, at) + 1), findPlainPut);
      const problem = typeof entry === "string" ? entry : entry.index === index ? null : "it is another one";
      if (problem !== null) {
        throw new FolderError(
          `${name} is damaged: byte ${from + at} is not where entry ${index} begins: ${problem}`,
        );
      }
      entries.push(entry as Entry);
    }
    return entries;
  }

  #offsetOf(index: number): number | undefined {
    return this.#offsets[index - this.#offsetsFrom];
  }

  /** The segment that has an entry, and the last entry of that. */
  #placeOf(index: number): { segment: Segment; last: number } {
    const at = this.#segments.findLastIndex((one) => one.first <= index);
    const next = this.#segments[at + 1];
    return { segment: this.#segments[at]!, last: next === undefined ? this.lastIndex : next.first - 1 };
  }

  /** Where the next entry begins, or the segment ends. */
  #endOf(index: number, { segment, last }: { segment: Segment; last: number }): number {
    return index === last ? segment.end : this.#offsetOf(index + 1)!;
  }

  /** Makes the last segment durable as it is, without what follows its good part. One without a header goes. */
  settle(steps: Step[]): void {
    const segment = this.#segments.at(-1);
    if (segment === undefined) return;
    if (segment.end === 0) this.#removeLast(steps);
    else this.#truncate(segment, segment.end, steps);
  }

  /** Keeps the entries up to `keep`, which has the checksum `crc`; the cut takes along the marks that stand behind them. */
  cutBehind(keep: number, crc: number): Step {
    return (next) => {
      const steps: Step[] = [];
      this.durable = { index: keep, crc };
      // Newest first: what is left at any moment is a log without a gap, and nothing in it vouches for what is gone.
      while (this.#segments.at(-1)!.first > keep + 1) this.#removeLast(steps);
      this.#truncate(this.#segments.at(-1)!, this.#offsets[keep + 1 - this.#offsetsFrom]!, steps);
      this.#offsets.length = keep + 1 - this.#offsetsFrom;
      if (this.#logMark.index > keep) this.#logMark = noMark;
      inTurn(steps, next);
    };
  }

  /** Gives all of it up. The log begins anew behind `base`. */
  restart(base: Mark): Step {
    return (next) => {
      const steps: Step[] = [];
      while (this.#segments.length > 0) this.#removeLast(steps);
      this.adopt(base, [], []);
      this.#logMark = noMark;
      inTurn(steps, next);
    };
  }

  /** Removes the segments that hold nothing behind `index`, oldest first. */
  compact(index: number, steps: Step[]): void {
    while (this.#segments.length > 1 && this.#segments[1]!.first <= index + 1) {
      steps.push(...removal(this.#disk, segmentName(this.#segments.shift()!.first)));
    }
    const first = this.#segments[0]?.first ?? 0;
    if (first <= this.#offsetsFrom) return;
    this.#offsets = this.#offsets.slice(first - this.#offsetsFrom);
    this.#offsetsFrom = first;
  }

  /** Adds a batch, which goes whole into one segment: behind a header when that is new, else a mark when there is a newer one. */
  add(entries: readonly Entry[], identity: Identity): Step {
    return (next) => {
      const segment = this.#segmentFor(entries);
      const { durable } = this;
      const before: Uint8Array[] = [];
      if (segment.end === 0) before.push(encodeHeader(identity, durable));
      else if (durable.index > this.#logMark.index) before.push(encodeMark(durable));
      const bytes = this.#joiner.join([...before, ...entries.map(({ line }) => line)]);
      const last = entries.at(-1)!;
      this.#disk.append(segmentName(segment.first), bytes, (error) => {
        if (error !== null) return next(error); // when there was no room, nothing has changed
        if (this.#segments.at(-1) !== segment) this.#segments.push(segment);
        for (const part of before) segment.end += part.length;
        for (const { line } of entries) {
          this.#offsets.push(segment.end);
          segment.end += line.length;
        }
        this.#logMark = durable;
        this.durable = { index: last.index, crc: last.crc };
        next(null);
      });
    };
  }

  /** The segment that a batch goes into: the last one, or a new one when that has entries and no room for these. */
  #segmentFor(entries: readonly Entry[]): Segment {
    const last = this.#segments.at(-1);
    if (last !== undefined) {
      let size = last.end;
      for (const { line } of entries) size += line.length;
      if (size <= this.#segmentBytesMax || last.first > this.durable.index) return last;
    }
    return { first: this.durable.index + 1, end: 0 };
  }

  #truncate(segment: Segment, size: number, steps: Step[]): void {
    assert(size > 0, "a segment keeps its header");
    segment.end = size;
    steps.push((next) => this.#disk.truncate(segmentName(segment.first), size, next));
  }

  #removeLast(steps: Step[]): void {
    steps.push(...removal(this.#disk, segmentName(this.#segments.pop()!.first)));
  }
}
