/**
 * What the folder of a stopped node holds. The verdict is that of the node's own recovery; the figures come from reading
 * each file of the log on its own, up to its first bad line, so that there is something to see of a damaged folder too.
 *
 * @module
 */

import { configurationOf, decodeEntry, isSealed } from "../raft/entry.ts";
import type { Entry, Member } from "../raft/types.ts";
import {
  decodeMark,
  type Identity,
  isEntryLine,
  type Mark,
  noMark,
  type State,
  stateFile,
} from "../storage/formats.ts";
import type { ReadFolder } from "./inspect_folder.ts";
import { readSnapshotFile, type SnapshotFileReport } from "./inspect_snapshots.ts";
import { abstains, judge, type Verdict } from "./inspect_verdict.ts";

/** All that there is to say of a folder; what cannot be read is null. */
export interface Report {
  folder: string;
  identity: Omit<Identity, "pinned"> | null;
  currentTerm: number | null;
  votedFor: number | null;
  /** The latest configuration that can be read, or the one that is being founded. */
  members: { from: number | "pinned"; list: Member[] } | null;
  /** Index of the entry that made the folder a member's; 0: none did; null: the state file cannot be read. */
  admitted: number | null;
  /** It belongs to a cluster that has not admitted it, so its node takes no part in decisions. */
  abstains: boolean;
  /** The newest whole snapshot, and how the log goes on behind it. */
  snapshot: (Position & { keys: number; sessions: number; logBehind: Range | null }) | null;
  /** Entries that follow each other without a gap or a bad line. */
  log: Range | null;
  /** The log was durable up to this entry, and what says so. */
  vouched: { index: number; by: string };
  files: FileReport[];
  /** What a start would do: just start; take the loss on itself and be repaired by the others; or refuse. */
  verdict: "starts" | "repairsItself" | "refuses";
  /** What a start would say and do; none when it would refuse. */
  start: string[];
  /** What the folder has lost that its node may have promised. */
  damage: string | null;
  /** Why a start would refuse the folder, or soon give up. */
  refusal: string | null;
}

/** One file of the folder. */
export interface FileReport {
  name: string;
  bytes: number;
  /** What it holds up to its first bad line; only for files of the log. */
  log?: LogFileReport;
  /** Only for snapshots. */
  snapshot?: SnapshotFileReport;
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

/** The first and the last of entries that follow each other. */
export interface Range {
  first: Position;
  last: Position;
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
  const verdict = judge(disk);
  const { state, found } = verdict;
  const base = found?.base ?? noMark;
  const configurations: Entry[] = [];
  const files = disk.list().map((name): FileReport => {
    const bytes = size(name);
    const snapshot = readSnapshotFile(disk, name);
    if (snapshot !== null) return { name, bytes, snapshot };
    const firstIndex = /^log\/(\d+)\.log$/.exec(name)?.[1];
    if (firstIndex === undefined) return { name, bytes };
    const log = readLogFile(disk.read(name)!, { firstIndex: Number(firstIndex), base }, (entry) => {
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
    members: membersIn(verdict, configurations.at(-1)),
    ...admissionIn(verdict),
    snapshot: newestWhole(files, verdict),
    log: wholeLog(files, verdict),
    vouched: vouchedFor(files, state),
    files,
    verdict: verdict.refusal !== null ? "refuses" : found?.damage == null ? "starts" : "repairsItself",
    start: verdict.refusal === null ? found?.notes ?? [] : [],
    damage: found?.damage ?? null,
    refusal: verdict.refusal,
  };
}

function withoutPinned({ nodeId, incarnation, starts, clusterId }: Identity): Omit<Identity, "pinned"> {
  return { nodeId, incarnation, starts, clusterId };
}

/** Of a damaged folder what the state file says, of another one what a start would find. */
function admissionIn(verdict: Verdict): Pick<Report, "admitted" | "abstains"> {
  const { state, found } = verdict;
  if (found === null || found.damage !== null || verdict.identity === null) {
    const admitted = state?.hardState.admittedIndex ?? null;
    return { admitted, abstains: admitted === 0 && verdict.configurationIndex > 0 };
  }
  return { admitted: verdict.admittedIndex, abstains: abstains(verdict) };
}

/** The configuration that a start would find; where it would find none, what else can be read. */
function membersIn(verdict: Verdict, readable: Entry | undefined): Report["members"] {
  const { configuration, configurationIndex, state } = verdict;
  if (configurationIndex > 0) return { from: configurationIndex, list: configuration.members };
  if (readable !== undefined) return { from: readable.index, list: configurationOf(readable).members };
  const pinned = state?.identity.pinned ?? null;
  return pinned === null ? null : { from: "pinned", list: pinned };
}

function newestWhole(files: readonly FileReport[], { found }: Verdict): Report["snapshot"] {
  const newest = files.findLast(({ snapshot }) => snapshot?.isWhole)?.snapshot;
  if (newest === undefined) return null;
  const { index, term, keys, sessions } = newest;
  return { index, term: term!, keys: keys!, sessions: sessions!, logBehind: rangeOf(found?.entries ?? []) };
}

function rangeOf(entries: readonly Entry[]): Range | null {
  const [first, last] = [entries[0], entries.at(-1)];
  if (first === undefined || last === undefined) return null;
  return {
    first: { index: first.index, term: first.term },
    last: { index: last.index, term: last.term },
  };
}

/**
 * Reads a file of the log up to its first bad line. When that is in front of the snapshot, of which `base` is the last
 * entry, nobody needs it, and reading goes on behind the snapshot.
 */
function readLogFile(
  bytes: Uint8Array,
  { firstIndex, base }: { firstIndex: number; base: Mark },
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
      const end = index <= base.index ? firstByteBehind(base, bytes, offset) : bytes.length;
      report.bad ??= { offset, index, bytes: end - offset, reason: read.reason };
      next = { index: base.index + 1, prevCrc: base.crc };
      offset = end;
      continue;
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

/** Where in a file of the log the entry behind `base` begins; the end of the file when it is not there. */
function firstByteBehind(base: Mark, bytes: Uint8Array, from: number): number {
  for (let offset = from; offset < bytes.length;) {
    const end = bytes.indexOf(newline, offset) + 1;
    if (end === 0) break;
    const entry = decodeEntry(bytes.slice(offset, end));
    if (typeof entry !== "string" && entry.index === base.index + 1 && entry.prevCrc === base.crc) {
      return offset;
    }
    offset = end;
  }
  return bytes.length;
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

/**
 * From the first file on, as far as each entry follows the one before it. What is bad in front of a snapshot does not
 * count: then it is what the log has behind the snapshot.
 */
function wholeLog(files: readonly FileReport[], { found }: Verdict): Report["log"] {
  let first: Position | null = null;
  let last: Position | null = null;
  for (const { log } of files) {
    if (log === undefined || log.first === null) continue;
    if (last !== null && log.first.index !== last.index + 1) break;
    first ??= log.first;
    last = log.last;
    if (log.bad !== null) break;
  }
  const read = first === null || last === null ? null : { first, last };
  const behind = rangeOf(found?.entries ?? []);
  const isHoled = files.some(({ log }) => log?.bad != null && log.bad.index <= (found?.base.index ?? 0));
  return behind !== null && (read === null || isHoled) ? behind : read;
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
