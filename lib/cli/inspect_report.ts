/**
 * What the folder of a stopped node holds. The verdict is that of the node's own recovery; the figures come from reading
 * each file of the log on its own, up to its first bad line, so that there is something to see of a damaged folder too.
 *
 * @module
 */

import type { Disk } from "../io/io.ts";
import { configurationOf, decodeEntry, isSealed } from "../raft/entry.ts";
import type { Entry, Member } from "../raft/types.ts";
import {
  decodeMark,
  decodeState,
  FolderError,
  type Identity,
  isEntryLine,
  type Mark,
  type State,
  stateFile,
} from "../storage/formats.ts";
import { Storage } from "../storage/storage.ts";
import type { ReadFolder } from "./inspect_folder.ts";

/** All that there is to say of a folder; what cannot be read is null. */
export interface Report {
  folder: string;
  identity: Omit<Identity, "pinned"> | null;
  currentTerm: number | null;
  votedFor: number | null;
  /** The latest configuration in the log, or the one that is being founded. */
  members: { from: number | "pinned"; list: Member[] } | null;
  /** Entries that follow each other without a gap or a bad line. */
  log: { first: Position; last: Position } | null;
  /** The log was durable up to this entry, and what says so. */
  vouched: { index: number; by: string };
  files: FileReport[];
  /** What a start would say and do; none when it would refuse. */
  start: string[];
  /** Why a start would refuse the folder. */
  damage: string | null;
}

/** One file of the folder. */
export interface FileReport {
  name: string;
  bytes: number;
  /** What it holds up to its first bad line; only for files of the log. */
  log?: LogFileReport;
}

/** What a file of the log holds. */
export interface LogFileReport {
  /** Of the entry that its name says it begins with. */
  firstIndex: number;
  /** Index and term of the first and the last entry. */
  first: Position | null;
  last: Position | null;
  /** The highest mark: everything up to this entry was durable. */
  mark: number | null;
  /** The first bad line, and how many bytes there are from it to the end of the file. */
  bad: { offset: number; index: number; bytes: number; reason: string } | null;
}

/** Where an entry stands in the log. */
export interface Position {
  index: number;
  term: number;
}

const newline = 10;
const decoder = new TextDecoder();

/** Reads a folder. Each entry of the log is given to `onEntry` as it is read, in the order of the files. */
export function inspect(path: string, { disk, size }: ReadFolder, onEntry: (entry: Entry) => void): Report {
  const { state, start, damage } = judge(disk);
  const configurations: Entry[] = [];
  const files = disk.list().map((name): FileReport => {
    const bytes = size(name);
    const firstIndex = /^log\/(\d+)\.log$/.exec(name)?.[1];
    if (firstIndex === undefined) return { name, bytes };
    const log = readLogFile(disk.read(name)!, Number(firstIndex), (entry) => {
      if (entry.kind === "configuration") configurations.push(entry);
      onEntry(entry);
    });
    return { name, bytes, log };
  });
  return {
    folder: path,
    identity: state === null ? null : withoutPinned(state.identity),
    currentTerm: state?.hardState.currentTerm ?? null,
    votedFor: state?.hardState.votedFor ?? null,
    members: membersIn(configurations.at(-1), state),
    log: wholeLog(files),
    vouched: vouchedFor(files, state),
    files,
    start,
    damage,
  };
}

/** The state file, and what the node's own recovery says of the folder. */
function judge(disk: Disk): { state: State | null; start: string[]; damage: string | null } {
  const bytes = disk.read(stateFile);
  // The file says whose it is. If that is not to be trusted, its checksum tells, whatever node asks.
  const nodeId = Number(/"nodeId":(\d+)/.exec(bytes === null ? "" : decoder.decode(bytes))?.[1] ?? 0);
  let state: State | null = null;
  try {
    if (bytes !== null) state = decodeState(bytes, nodeId);
    return { state, start: new Storage(disk).recover(nodeId).notes, damage: null };
  } catch (error) {
    if (error instanceof FolderError) return { state, start: [], damage: error.message };
    throw error;
  }
}

function withoutPinned({ nodeId, incarnation, starts, clusterId }: Identity): Omit<Identity, "pinned"> {
  return { nodeId, incarnation, starts, clusterId };
}

function membersIn(configuration: Entry | undefined, state: State | null): Report["members"] {
  if (configuration !== undefined) {
    return { from: configuration.index, list: configurationOf(configuration).members };
  }
  const pinned = state?.identity.pinned ?? null;
  return pinned === null ? null : { from: "pinned", list: pinned };
}

/** Reads a file of the log up to its first bad line. */
function readLogFile(
  bytes: Uint8Array,
  firstIndex: number,
  onEntry: (entry: Entry) => void,
): LogFileReport {
  const report: LogFileReport = { firstIndex, first: null, last: null, mark: null, bad: null };
  let next: Next | null = null;
  for (let offset = 0; offset < bytes.length;) {
    const newlineAt = bytes.indexOf(newline, offset);
    const line = bytes.slice(offset, newlineAt < 0 ? bytes.length : newlineAt + 1);
    const read: Line = next === null ? readHeader(line) : readLine(line, next);
    if (read.is === "bad") {
      const index = next?.index ?? firstIndex;
      report.bad = { offset, index, bytes: bytes.length - offset, reason: read.reason };
      break;
    }
    if (read.is === "header") next = read.next;
    else if (read.is === "mark") report.mark = Math.max(report.mark ?? 0, read.mark.index);
    else {
      const { index, term, crc }: Entry = read.entry;
      report.last = { index, term };
      report.first ??= report.last;
      next = { index: index + 1, prevCrc: crc };
      onEntry(read.entry);
    }
    offset += line.length;
  }
  return report;
}

/** What the next entry has to be. */
interface Next {
  index: number;
  prevCrc: number;
}

/** A line of a file of the log. */
type Line =
  | { is: "header"; next: Next }
  | { is: "mark"; mark: Mark }
  | { is: "entry"; entry: Entry }
  | { is: "bad"; reason: string };

function readHeader(line: Uint8Array): Line {
  const found = /"firstIndex":(\d+),"prev":"([0-9a-f]{8})"/.exec(isSealed(line) ? decoder.decode(line) : "");
  if (found === null) return { is: "bad", reason: "the header is not whole" };
  return { is: "header", next: { index: Number(found[1]), prevCrc: parseInt(found[2]!, 16) } };
}

function readLine(line: Uint8Array, next: Next): Line {
  if (!isEntryLine(line)) {
    const mark = decodeMark(line);
    return mark === null ? { is: "bad", reason: "the line is not whole" } : { is: "mark", mark };
  }
  const entry = decodeEntry(line);
  if (typeof entry === "string") return { is: "bad", reason: entry };
  if (entry.index !== next.index || entry.prevCrc !== next.prevCrc) {
    return {
      is: "bad",
      reason: `the line is entry ${entry.index}, which does not follow the line before it`,
    };
  }
  return { is: "entry", entry };
}

/** From the first file on, as far as each entry follows the one before it. */
function wholeLog(files: readonly FileReport[]): Report["log"] {
  let first: Position | null = null;
  let last: Position | null = null;
  for (const { log } of files) {
    if (log === undefined || log.first === null) continue;
    if (last !== null && log.first.index !== last.index + 1) break;
    first ??= log.first;
    last = log.last;
    if (log.bad !== null) break;
  }
  return first === null || last === null ? null : { first, last };
}

/** The highest of all that vouch for the log. */
function vouchedFor(files: readonly FileReport[], state: State | null): Report["vouched"] {
  let highest = { index: state?.mark.index ?? 0, by: stateFile };
  for (const { name, bytes, log } of files) {
    if (log === undefined || bytes === 0) continue;
    // A file of the log is begun only when all before it is durable.
    if (log.firstIndex - 1 > highest.index) highest = { index: log.firstIndex - 1, by: name };
    if ((log.mark ?? 0) > highest.index) highest = { index: log.mark ?? 0, by: `a mark in ${name}` };
  }
  return highest;
}
