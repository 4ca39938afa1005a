/**
 * Reads the log of a stopped node behind its newest snapshot, and judges what does not belong. A bad line at entry b is
 * a *torn tail*, a write that a crash cut short, unless something vouches that entry b was durable: a mark, the state
 * file, or a later segment, which is begun only when all before it is durable. Then it is *damage*, and the node has
 * lost what it may have acknowledged. A whole line behind a bad one proves nothing: the pages of one unfinished
 * write reach the disk in any order.
 *
 *     header | entry 1 | mark 0..1 | entry 2 | entry 3 | mark 1..3 | entr
 *                                                        vouches ^      ^ torn: nothing vouches for entry 4
 *
 * A snapshot vouches for nothing. What the log has up to it is not needed, however bad; what matters is where the log
 * goes on behind it. A log that ends below it, or conflicts with it, is obsolete: so it looks when a crash came after
 * the snapshot of another node was there and before the log was given up for it.
 *
 * @module
 */

import { crcToHex } from "../crc32.ts";
import type { Disk } from "../io/io.ts";
import { findPlainPut } from "../kv/plain_put.ts";
import { isSealed, readEntry } from "../raft/entry.ts";
import type { Entry } from "../raft/types.ts";
import {
  decodeHeader,
  decodeMark,
  firstIndexIn,
  FolderError,
  isEntryLine,
  type Mark,
  type Owner,
  segmentName,
  stateFile,
} from "./formats.ts";
import { linesOf } from "./file_lines.ts";

/** A file of the log. */
export interface Segment {
  /** Index of its first entry, whether or not that is there yet. */
  readonly first: number;
  /** Size of its good part in bytes; 0: not even the header is whole. */
  end: number;
}

/** The good part of a log, and what is to be done about the rest. */
export interface RecoveredLog {
  /** Those behind the snapshot. */
  entries: Entry[];
  /** Where the line of each of them starts in its segment. */
  offsets: number[];
  /** The files of the good part; the last one may have more bytes than belong to it. */
  segments: Segment[];
  /** Names of segments without a byte, to be removed. */
  empty: string[];
  /** What follows the good part in the last segment, to be saved aside and cut, and what is wrong there. */
  tail: { bytes: Uint8Array; reason: string } | null;
  /** Segments that are not, or not behind, the good part, to be saved aside and removed. */
  lost: Segment[];
  /** Something vouches for entries that are not in the good part: in words, where and what. */
  damage: string | null;
  /** The log has nothing to do with the snapshot, and all of it is to be removed. */
  isObsolete: boolean;
  /** The cluster that a segment names, for a node whose state file is damaged. */
  clusterId: string | null;
}

/** What is known of the folder before its log is read. */
export interface RecoveryView {
  owner: Owner;
  /** The newest snapshot's last entry, or none. */
  base: Mark & { term: number };
  /** What the state file vouches for. */
  stateMark: Mark;
}

/** Reads the log of a folder and changes nothing. Throws FolderError when it is another node's or a newer version's. */
export function recoverLog(disk: Disk, view: RecoveryView): RecoveredLog {
  return new LogReader(disk, view).read();
}

class LogReader {
  readonly #disk: Disk;
  readonly #view: RecoveryView;
  readonly #log: RecoveredLog;
  /** The end of the good part: what the next entry must follow. */
  #last: Mark & { term: number };
  /** The log is known to go on from the snapshot. Before that, bad lines do not matter. */
  #isAnchored: boolean;
  /** The first bad line, once no more lines are taken. */
  #bad: { reason: string } | null = null;
  /** What vouches for the highest entry so far. */
  #voucher: Mark & { by: string };
  #conflict = false;

  constructor(disk: Disk, view: RecoveryView) {
    this.#disk = disk;
    this.#view = view;
    this.#last = view.base;
    this.#isAnchored = view.base.index === 0;
    this.#voucher = { ...view.stateMark, by: stateFile };
    this.#log = {
      entries: [],
      offsets: [],
      segments: [],
      empty: [],
      tail: null,
      lost: [],
      damage: null,
      isObsolete: false,
      clusterId: null,
    };
  }

  read(): RecoveredLog {
    const log = this.#log;
    const names = this.#disk.list().filter((name) => name.startsWith("log/") && name.endsWith(".log"));
    for (const [i, name] of names.entries()) {
      const first = firstIndexIn(name);
      if (first === null) {
        throw new FolderError(
          `${name} is a part of the log that this version of kvapp cannot read. Start the version that wrote it`,
          "newer",
        );
      }
      if (this.#disk.readRange(name, 0, 1).length === 0) log.empty.push(name);
      else {
        const next = firstIndexIn(names[i + 1] ?? "") ?? Infinity;
        this.#takeSegment(name, first, next <= this.#view.base.index + 1);
      }
    }
    const endsBelow = !this.#isAnchored && this.#voucher.index <= this.#view.base.index;
    if (log.damage === null && (this.#conflict || endsBelow)) {
      // A conflicting log is that of a leader which lost its office: nothing of it behind the snapshot was committed.
      log.isObsolete = true;
      log.segments.push(...log.lost);
      log.lost = [];
      log.tail = null;
      log.entries = [];
      log.offsets = [];
      return log;
    }
    this.#judge();
    return log;
  }

  /** Reads a segment, up to the first line that does not belong. `isBelow`: by its place all of it is in the snapshot. */
  #takeSegment(name: string, first: number, isBelow: boolean): void {
    const segment: Segment = { first, end: 0 };
    const lines = linesOf(this.#disk, name);
    let next = lines.next();
    const header = decodeHeader(next.value!, name, this.#view.owner);
    this.#log.clusterId ??= header?.clusterId ?? null;
    // Begun when all before it was durable.
    if (first - 1 > this.#voucher.index) this.#voucher = { index: first - 1, crc: -1, by: name };
    const isGap = this.#isAnchored && first !== this.#last.index + 1;
    // A crash tears files and leaves some out, but it never puts one into another one's place.
    const isOther = header === null ? isSealed(next.value!) : header.before.index + 1 !== first;
    if (isOther) {
      const reason = header === null
        ? "it does not begin as a part of the log does"
        : `it holds the part of the log that begins with entry ${header.before.index + 1}`;
      this.#log.damage ??= `${name} is damaged at byte 0, entry ${first}: ${reason}`;
      if (!isBelow) this.#bad ??= { reason };
      this.#log.lost.push(segment);
      return;
    }
    if (this.#bad !== null || isGap) {
      this.#bad ??= {
        reason: first > this.#last.index
          ? "it is not there"
          : `${name} begins with an entry that was there before`,
      };
      this.#log.lost.push(segment);
      return;
    }
    this.#log.segments.push(segment);
    for (; !next.done; next = lines.next()) {
      const line = next.value;
      const reason = segment.end === 0 ? this.#takeHeader(header, name) : this.#takeLine(line);
      if (this.#bad !== null) return; // a mark showed that the good part ends further back
      if (reason !== null && this.#isAnchored) {
        this.#bad = { reason };
        this.#log.tail = { bytes: this.#disk.read(name)!.subarray(segment.end), reason };
        return;
      }
      if (reason !== null) this.#takeRest(line, segment);
      segment.end += line.length;
    }
  }

  /** Takes what follows, in one line with it, an entry below the snapshot that has lost its newline. */
  #takeRest(line: Uint8Array, segment: Segment): void {
    for (let at = line.indexOf(brace, 1); at > 0; at = line.indexOf(brace, at + 1)) {
      const rest = line.subarray(at);
      if (!isSealed(rest)) continue;
      segment.end += at;
      this.#takeLine(rest);
      segment.end -= at;
      return;
    }
  }

  /** Returns what is wrong with the first line of a segment, or null. */
  #takeHeader(header: ReturnType<typeof decodeHeader>, name: string): string | null {
    if (header === null) return "the header is not whole";
    const { before } = header;
    if (before.index === this.#view.base.index && before.crc === this.#view.base.crc) this.#isAnchored = true;
    this.#takeMark(before, `the header of ${name}`);
    return null;
  }

  /** Adds an entry or a mark to the log; returns what is wrong with the line, or null. */
  #takeLine(line: Uint8Array): string | null {
    if (!isEntryLine(line)) {
      const mark = decodeMark(line);
      if (mark === null) return "the line is not whole";
      this.#takeMark(mark, "a mark");
      return null;
    }
    const entry = readEntry(line, findPlainPut);
    if (typeof entry === "string") return entry;
    const { base } = this.#view;
    if (entry.index <= base.index && !this.#isBehindBase) {
      if (entry.index === base.index) {
        this.#conflict ||= entry.crc !== base.crc;
        this.#isAnchored = true;
      }
      return null;
    }
    if (entry.index !== this.#last.index + 1) {
      return `the line is entry ${entry.index}, which does not follow`;
    }
    if (entry.prevCrc !== this.#last.crc) {
      // Right behind a snapshot, whose last entry is not in the log: the log went another way.
      this.#conflict ||= !this.#isAnchored;
      return "the line follows another entry than the one before it";
    }
    if (entry.term < this.#last.term) return `the line's term ${entry.term} is lower than the one before it`;
    this.#isAnchored = true;
    this.#last = entry;
    this.#log.entries.push(entry);
    this.#log.offsets.push(this.#log.segments.at(-1)!.end);
    return null;
  }

  get #isBehindBase(): boolean {
    return this.#last.index > this.#view.base.index;
  }

  #takeMark(mark: Mark, by: string): void {
    if (mark.index > this.#voucher.index) this.#voucher = { ...mark, by };
    this.#checkMark(mark, by);
  }

  /** Finds the log damaged when something names another entry than it has. */
  #checkMark(mark: Mark, by: string): void {
    const { base } = this.#view;
    const entry = this.#log.entries[mark.index - base.index - 1];
    if (entry === undefined || mark.crc === -1 || entry.crc === mark.crc) return;
    const { segment, offset } = this.#placeOf(mark.index);
    this.#log.damage ??=
      `${segmentName(segment.first)} is damaged at byte ${offset}, entry ${mark.index}: ${by} names ` +
      `another entry, with the checksum ${crcToHex(mark.crc)}`;
    this.#cutAt(mark.index);
  }

  #placeOf(index: number): { segment: Segment; offset: number } {
    const { segments, offsets } = this.#log;
    const segment = segments.findLast(({ first }) => first <= index)!;
    return { segment, offset: offsets[index - this.#view.base.index - 1]! };
  }

  /** Ends the good part before the entry `index`, which is in it. */
  #cutAt(index: number): void {
    const log = this.#log;
    const { segment, offset } = this.#placeOf(index);
    const reason = "what vouches for it names another one";
    while (log.segments.at(-1) !== segment) log.lost.unshift(log.segments.pop()!);
    segment.end = offset;
    log.tail = { bytes: this.#disk.read(segmentName(segment.first))!.subarray(offset), reason };
    log.entries.length = log.offsets.length = index - this.#view.base.index - 1;
    this.#last = log.entries.at(-1) ?? this.#view.base;
    this.#bad = { reason };
  }

  /** Torn or damaged: looks for what vouches for more than the good part has. */
  #judge(): void {
    const log = this.#log;
    this.#checkMark(this.#view.stateMark, stateFile);
    if (log.tail !== null) {
      for (const mark of marksIn(log.tail.bytes)) this.#takeMark(mark, "a mark behind it");
    }
    this.#nameDamage();
    if (log.damage === null || (this.#isAnchored && !this.#conflict)) return;
    log.lost = [...log.segments, ...log.lost]; // nothing of it goes on from the snapshot
    log.segments = [];
    log.entries = [];
    log.offsets = [];
    log.tail = null;
  }

  /** Says what is damaged, unless that is known or nothing is. */
  #nameDamage(): void {
    const log = this.#log;
    const isVouched = this.#voucher.index > this.#last.index;
    if (log.damage !== null || (!isVouched && log.lost.length === 0)) return;
    const { first, end } = log.segments.at(-1) ?? log.lost[0] ?? { first: this.#last.index + 1, end: 0 };
    const { index, by } = this.#voucher;
    const reason = this.#bad?.reason ?? "it is not there";
    const against = isVouched
      ? `${by} says that the log was durable up to entry ${index}`
      : `${segmentName(log.lost[0]!.first)} was begun behind it`;
    log.damage =
      `${segmentName(first)} is damaged at byte ${end}, entry ${this.#last.index + 1}: ${reason}, ` +
      `but ${against}`;
  }
}

/** The whole marks among bytes that are otherwise not trusted, at line starts or not. */
function* marksIn(bytes: Uint8Array): Generator<Mark> {
  let start = 0;
  for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline, start)) {
    const line = bytes.subarray(start, end + 1);
    start = end + 1;
    for (let at = line.indexOf(brace); at >= 0; at = line.indexOf(brace, at + 1)) {
      const mark = decodeMark(line.subarray(at));
      if (mark !== null) yield mark;
    }
  }
}

const newline = 10;
const brace = 0x7b;
