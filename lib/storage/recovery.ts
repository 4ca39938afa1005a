/**
 * Reads the log of a stopped node and judges what does not belong. A bad line at entry b is a *torn tail*, a write
 * that a crash cut short, unless something vouches that entry b was durable: a mark behind it or the state file. Then
 * it is *corruption*, and cutting it would take back what was acknowledged. A whole line behind a bad one proves
 * nothing: the pages of one unfinished write reach the disk in any order.
 *
 *     header | entry 1 | mark 0..1 | entry 2 | entry 3 | mark 1..3 | entr
 *                                                        vouches ^      ^ torn: nothing vouches for entry 4
 *
 * The log lies in segments, and one is begun only when all before it is durable: whatever a later segment holds, half
 * a header included, it vouches for all the earlier ones, so only the last may have a torn tail. An empty one vouches
 * for nothing: so looks a segment that a conflict cut, when a crash came before its name was gone.
 *
 * @module
 */

import { crcToHex } from "../crc32.ts";
import type { Disk } from "../io/io.ts";
import { decodeEntry } from "../raft/entry.ts";
import type { Entry } from "../raft/types.ts";
import {
  decodeHeader,
  decodeMark,
  firstIndexIn,
  FolderError,
  isEntryLine,
  type Mark,
  segmentName,
  type State,
  stateFile,
  wayOut,
} from "./formats.ts";

/** A file of the log. */
export interface Segment {
  /** Index of its first entry, whether or not that is there yet. */
  readonly first: number;
  /** Size of its good part in bytes; 0: not even the header is whole. */
  end: number;
}

/** The good part of a log, and what follows it. */
export interface RecoveredLog {
  entries: Entry[];
  /** Where the line of each entry starts in its segment; the one of index i is at i - 1. */
  offsets: number[];
  segments: Segment[];
  /** Names of empty segments, to be removed. */
  empty: string[];
  /** Bytes behind the good part of the last segment, to be saved aside and cut, or null. */
  torn: { bytes: Uint8Array; reason: string } | null;
}

/** Reads the log of the folder that `state` belongs to. Throws FolderError and changes nothing. */
export function recoverLog(disk: Disk, state: State): RecoveredLog {
  const log: RecoveredLog = { entries: [], offsets: [], segments: [], empty: [], torn: null };
  for (const name of disk.list().filter((name) => name.startsWith("log/") && name.endsWith(".log"))) {
    const first = firstIndexIn(name);
    if (first === null) {
      throw new FolderError(
        `${name} is a part of the log that this version of kvapp cannot read. Start the version that wrote it`,
      );
    }
    if (disk.readRange(name, 0, 1).length === 0) log.empty.push(name);
    else takeSegment(disk, { name, first }, log, state);
  }
  checkVouched(log, state.mark, stateFile);
  if (log.torn !== null) {
    for (const mark of marksIn(log.torn.bytes)) checkVouched(log, mark, "a mark behind it");
  }
  checkTerm(log, state);
  return log;
}

/** Reads a segment, up to the first line that does not belong. */
function takeSegment(
  disk: Disk,
  { name, first }: { name: string; first: number },
  log: RecoveredLog,
  state: State,
): void {
  if (log.torn !== null || log.entries.length < first - 1) throw damaged(log, first - 1, name);
  if (log.entries.length >= first) {
    throw new FolderError(
      `${name} is damaged: entry ${first}, with which it begins, is in ` +
        `${segmentName(segmentOf(log, first).first)} too. ${wayOut}`,
    );
  }
  const segment: Segment = { first, end: 0 };
  log.segments.push(segment);
  for (const line of linesOf(disk, name)) {
    const reason = segment.end === 0 ? takeHeader(line, name, log, state) : takeLine(line, log);
    if (reason !== null) {
      log.torn = { bytes: disk.read(name)!.subarray(segment.end), reason };
      return;
    }
    segment.end += line.length;
  }
}

/** The segment that the entry `index` is in, or would be. */
function segmentOf({ segments }: RecoveredLog, index: number): Segment {
  return segments.findLast(({ first }) => first <= index) ?? { first: 1, end: 0 };
}

/** The lines of a file, newline included; the last one may lack it. Each may be kept: its bytes are not reused. */
function* linesOf(disk: Disk, name: string): Generator<Uint8Array> {
  let chunkBytes = 1 << 20;
  for (let offset = 0;;) {
    const chunk = disk.readRange(name, offset, chunkBytes);
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      yield chunk.subarray(start, end + 1);
      start = end + 1;
    }
    const isLast = chunk.length < chunkBytes;
    if (isLast && start < chunk.length) yield chunk.subarray(start);
    if (isLast) return;
    if (start === 0) chunkBytes *= 2; // a line longer than the chunk
    offset += start; // a line that the chunk cut is read again, whole
  }
}

/** Returns what is wrong with the first line of a segment, or null. */
function takeHeader(line: Uint8Array, name: string, log: RecoveredLog, { identity }: State): string | null {
  const before = decodeHeader(line, name, identity);
  if (before === null) return "the header is not whole";
  checkVouched(log, before, `the header of ${name}`);
  return null;
}

/** Adds an entry or a mark to the log; returns what is wrong with the line, or null. */
function takeLine(line: Uint8Array, log: RecoveredLog): string | null {
  if (!isEntryLine(line)) {
    const mark = decodeMark(line);
    if (mark === null) return "the line is not whole";
    checkVouched(log, mark, "a mark");
    return null;
  }
  const entry = decodeEntry(line);
  if (typeof entry === "string") return entry;
  const last = log.entries.at(-1);
  if (entry.index !== log.entries.length + 1) {
    return `the line is entry ${entry.index}, which does not follow`;
  }
  if (entry.prevCrc !== (last?.crc ?? 0)) return "the line follows another entry than the one before it";
  if (entry.term < (last?.term ?? 0)) return `the line's term ${entry.term} is lower than the one before it`;
  log.entries.push(entry);
  log.offsets.push(log.segments.at(-1)!.end);
  return null;
}

/** Throws when an entry that something vouches for is not in the good part of the log. */
function checkVouched(log: RecoveredLog, mark: Mark, voucher: string): void {
  if (mark.index === 0) return;
  const entry = log.entries[mark.index - 1];
  if (entry === undefined) throw damaged(log, mark.index, voucher);
  if (entry.crc !== mark.crc) {
    const at = log.offsets[mark.index - 1];
    throw new FolderError(
      `${segmentName(segmentOf(log, mark.index).first)} is damaged at byte ${at}, entry ${mark.index}: ` +
        `${voucher} names another entry, with the checksum ${crcToHex(mark.crc)}. ${wayOut}`,
    );
  }
}

/** The log breaks off before the entry `index`, which `voucher` knows to have been durable. */
function damaged({ entries, segments, torn }: RecoveredLog, index: number, voucher: string): FolderError {
  const { first, end } = segments.at(-1) ?? { first: 1, end: 0 };
  const reason = torn?.reason ?? "it is not there";
  return new FolderError(
    `${segmentName(first)} is damaged at byte ${end}, entry ${
      entries.length + 1
    }: ${reason}, but ${voucher} says ` +
      `that the log was durable up to entry ${index}. ${wayOut}`,
  );
}

/** Throws when the log knows of a later term than the state file, which is always written first. */
function checkTerm(log: RecoveredLog, { hardState }: State): void {
  const last = log.entries.at(-1);
  if (last === undefined || last.term <= hardState.currentTerm) return;
  throw new FolderError(
    `${stateFile} is older than the log: it knows of term ${hardState.currentTerm}, and entry ${last.index} in ` +
      `${
        segmentName(segmentOf(log, last.index).first)
      } has term ${last.term}. A vote may be forgotten. ${wayOut}`,
  );
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
