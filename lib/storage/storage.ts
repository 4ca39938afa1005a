/**
 * What a node must not forget: its identity, term and vote in `state.json`, and the log. One fsync covers all the
 * entries of a batch, however many writes it is made of. After the first error nothing is written any more, because
 * nobody knows what the disk holds then.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { Disk, Done } from "../io/io.ts";
import type { Entry, HardState, NodeId, Write } from "../raft/types.ts";
import {
  decodeState,
  encodeHeader,
  encodeMark,
  encodeState,
  FolderError,
  type Identity,
  type Mark,
  noMark,
  segmentName,
  type State,
  stateFile,
  wayOut,
} from "./formats.ts";
import { type RecoveredLog, recoverLog, type Segment } from "./recovery.ts";
import { inTurn, removal, type Step } from "./steps.ts";

export { FolderError, type Identity };

/** Bytes of a segment of the log, unless one batch alone has more. */
export const defaultSegmentBytesMax = 64 << 20;

/** What a folder held when the node started. */
export interface Recovered {
  /** null: the folder is empty, this is a first start. */
  identity: Identity | null;
  hardState: HardState;
  entries: Entry[];
  /** For people: what was recovered, and what `repair` will cut. */
  notes: string[];
}

/** What a batch of writes does to the files. */
interface Plan {
  hardState: HardState;
  /** The log keeps its entries up to here; a conflict cuts the others. */
  keep: number;
  /** What then follows. */
  entries: Entry[];
}

/**
 * The files of one node. `recover`, `repair` and `saveIdentity` come first, in this order; afterwards one operation
 * at a time. A `done` runs inside the call only when the disk is not needed: nothing to do, or refused after an error.
 */
export class Storage {
  readonly #disk: Disk;
  readonly #segmentBytesMax: number;
  #identity: Identity | null = null;
  #hardState: HardState = { currentTerm: 0, votedFor: null };
  /** What the state file and the last mark that this process wrote to the log vouch for. */
  #stateMark: Mark = noMark;
  #logMark: Mark = noMark;

  //  durable.index   lastIndex
  //        v             v
  //  ... | n | n+1 | ... | m |
  //  ^offsets[n-1]            ^end of the last segment
  /** The last entry that is durable. Equal to the last entry whenever no operation is under way. */
  #durable: Mark = noMark;
  /** Where the line of each entry starts in its segment; the one of index i is at i - 1. */
  #offsets: number[] = [];
  /** The files of the log, in order. Only the last one grows. */
  #segments: Segment[] = [];

  #recovered: RecoveredLog | null = null;
  #stage: "new" | "recovered" | "open" | "closed" = "new";
  #isBusy = false;
  #error: Error | null = null;

  constructor(disk: Disk, options: { segmentBytesMax?: number } = {}) {
    this.#disk = disk;
    this.#segmentBytesMax = options.segmentBytesMax ?? defaultSegmentBytesMax;
  }

  /** The log is durable up to here. */
  get durableIndex(): number {
    return this.#durable.index;
  }

  /** Reads the folder and changes nothing. Throws FolderError when it is not usable for `nodeId`. */
  recover(nodeId: NodeId): Recovered {
    assert(this.#stage === "new", "a folder is recovered once");
    this.#stage = "recovered";
    const bytes = this.#disk.read(stateFile);
    if (bytes === null) {
      this.#refuseHalf();
      return { identity: null, hardState: this.#hardState, entries: [], notes: ["the data folder is new"] };
    }
    const state = decodeState(bytes, nodeId);
    const log = recoverLog(this.#disk, state);
    const last = log.entries.at(-1);
    this.#identity = state.identity;
    this.#hardState = state.hardState;
    this.#stateMark = state.mark;
    this.#durable = state.mark;
    this.#offsets = log.offsets;
    this.#segments = log.segments;
    this.#recovered = log;
    const notes = [
      last === undefined
        ? `recovered term ${state.hardState.currentTerm} and an empty log`
        : `recovered term ${state.hardState.currentTerm} and the log up to entry ${last.index} of term ${last.term}`,
    ];
    if (log.torn !== null) {
      const { first, end } = log.segments.at(-1)!;
      notes.push(
        `${segmentName(first)} ends in a write that a crash cut short: ${log.torn.bytes.length} bytes from ` +
          `byte ${end} (${log.torn.reason}) are moved to ${this.#tornFile()}`,
      );
    }
    return { identity: state.identity, hardState: state.hardState, entries: log.entries, notes };
  }

  /**
   * Does what `recover` found necessary: a torn tail is saved aside and cut, empty segments are removed, and the last
   * segment is made durable as it was read. It may only be so in the system's cache, left by a process that was killed
   * before its fsync; the segments before it were durable when it was begun.
   */
  repair(done: Done): void {
    assert(this.#stage === "recovered", "repair follows recover");
    this.#stage = "open";
    const log = this.#recovered;
    this.#recovered = null;
    if (log === null) return done(null);
    const { torn, empty } = log;
    const last = log.entries.at(-1);
    const steps: Step[] = [];
    if (torn !== null) {
      const name = this.#tornFile();
      steps.push((next) => this.#disk.replace(name, torn.bytes, next));
    }
    for (const name of empty) steps.push(...removal(this.#disk, name));
    const segment = this.#segments.at(-1);
    if (segment?.end === 0) this.#removeLastSegment(steps);
    else if (segment !== undefined) this.#truncate(segment, segment.end, steps);
    this.#run(steps, (error) => {
      if (error === null && last !== undefined) this.#durable = { index: last.index, crc: last.crc };
      done(error);
    });
  }

  /** Writes the identity, at each start with `starts` counted up. */
  saveIdentity(identity: Identity, done: Done): void {
    if (this.#refuses(done)) return;
    this.#identity = identity;
    this.#run([(next) => this.#replaceState(next)], done);
  }

  /**
   * Makes writes durable, in their order: the state file when there is a new term or vote, then all entries with
   * one fsync. A write whose first entry exists already cuts the log there first.
   */
  append(writes: readonly Write[], done: Done): void {
    if (this.#refuses(done)) return;
    const { hardState, keep, entries } = this.#plan(writes);
    const first = entries[0];
    const last = entries.at(-1);
    const steps: Step[] = [];
    const isCut = keep < this.#durable.index;
    if (isCut) this.#durable = { index: keep, crc: first!.prevCrc };
    // No file may ever vouch for an entry that has been cut: the state file goes first, and the cut takes the
    // marks along, which stand behind the entries that they vouch for.
    if (hardState !== this.#hardState || this.#stateMark.index > keep) {
      this.#hardState = hardState;
      steps.push((next) => this.#replaceState(next));
    }
    if (isCut) {
      // Newest first: what is left at any moment is a log without a gap, and nothing in it vouches for what is gone.
      while (this.#segments.at(-1)!.first > keep + 1) this.#removeLastSegment(steps);
      this.#truncate(this.#segments.at(-1)!, this.#offsets[keep]!, steps);
      this.#offsets.length = keep;
      if (this.#logMark.index > keep) this.#logMark = noMark;
    }
    if (entries.length > 0) {
      const bytes = this.#encode(entries);
      const name = segmentName(this.#segments.at(-1)!.first);
      steps.push((next) => this.#disk.append(name, bytes, next));
    }
    this.#run(steps, (error) => {
      if (error === null && last !== undefined) this.#durable = { index: last.index, crc: last.crc };
      done(error);
    });
  }

  /** Lets the state file vouch for all that is durable. Worth its fsync when the node has been quiet for a while. */
  flushMark(done: Done): void {
    if (this.#refuses(done)) return;
    const isStale = this.#stateMark.index < this.#durable.index;
    this.#run(isStale ? [(next) => this.#replaceState(next)] : [], done);
  }

  /** The last operation, of a clean stop. */
  close(done: Done): void {
    this.flushMark(done);
    this.#stage = "closed";
  }

  /** Whether an earlier error forbids another operation; `done` has then been told of it. */
  #refuses(done: Done): boolean {
    assert(this.#stage === "open", "the folder is recovered, repaired and not closed");
    assert(!this.#isBusy, "one operation at a time on the storage");
    if (this.#error === null) return false;
    done(this.#error);
    return true;
  }

  #run(steps: Step[], done: Done): void {
    this.#isBusy = true;
    inTurn(steps, (error) => {
      this.#isBusy = false;
      this.#error = error;
      done(error);
    });
  }

  /** What `writes` come to when they are done together: an entry that a later write cuts again is never written. */
  #plan(writes: readonly Write[]): Plan {
    let hardState = this.#hardState;
    let keep = this.#offsets.length;
    let entries: Entry[] = [];
    for (const write of writes) {
      if (write.hardState !== null) hardState = laterOf(hardState, write.hardState);
      const first = write.entries[0];
      if (first === undefined) continue;
      if (first.index <= keep) {
        keep = first.index - 1;
        entries = [];
      }
      entries.length = Math.min(entries.length, first.index - keep - 1);
      for (const entry of write.entries) {
        const before = entries.at(-1);
        assert(entry.index === keep + entries.length + 1, `entry ${entry.index} follows the one before it`);
        assert(
          before === undefined || entry.prevCrc === before.crc,
          `entry ${entry.index} continues the hash chain`,
        );
        entries.push(entry);
      }
    }
    const isCut = keep < this.#offsets.length;
    const first = entries[0];
    assert(
      isCut || first === undefined || first.prevCrc === this.#durable.crc,
      "the batch continues the hash chain",
    );
    return { hardState, keep, entries };
  }

  /** The bytes of a batch, which goes whole into one segment: header when new, else mark when there is a newer one. */
  #encode(entries: Entry[]): Uint8Array {
    const segment = this.#segmentFor(entries);
    const parts: Uint8Array[] = [];
    if (segment.end === 0) parts.push(encodeHeader(this.#knownIdentity(), this.#durable));
    else if (this.#durable.index > this.#logMark.index) parts.push(encodeMark(this.#durable));
    this.#logMark = this.#durable;
    for (const part of parts) segment.end += part.length;
    for (const { line } of entries) {
      parts.push(line);
      this.#offsets.push(segment.end);
      segment.end += line.length;
    }
    return concat(parts);
  }

  /** The segment that a batch goes into: the last one, or a new one when that has entries and no room for these. */
  #segmentFor(entries: Entry[]): Segment {
    const last = this.#segments.at(-1);
    if (last !== undefined) {
      let size = last.end;
      for (const { line } of entries) size += line.length;
      if (size <= this.#segmentBytesMax || last.first > this.#durable.index) return last;
    }
    const segment: Segment = { first: this.#durable.index + 1, end: 0 };
    this.#segments.push(segment);
    return segment;
  }

  #truncate(segment: Segment, size: number, steps: Step[]): void {
    segment.end = size;
    steps.push((next) => this.#disk.truncate(segmentName(segment.first), size, next));
  }

  #removeLastSegment(steps: Step[]): void {
    steps.push(...removal(this.#disk, segmentName(this.#segments.pop()!.first)));
  }

  #replaceState(done: Done): void {
    const state: State = { identity: this.#knownIdentity(), hardState: this.#hardState, mark: this.#durable };
    this.#stateMark = this.#durable;
    this.#disk.replace(stateFile, encodeState(state), done);
  }

  #knownIdentity(): Identity {
    assert(this.#identity !== null, "the identity is saved before anything else");
    return this.#identity;
  }

  #tornFile(): string {
    const { first, end } = this.#segments.at(-1)!;
    return `torn/start-${this.#knownIdentity().starts}-log-${first}-byte-${end}`;
  }

  /** A folder without state file that has data was not left so by a crash: that file is the first one written. */
  #refuseHalf(): void {
    const other = this.#disk.list().find((name) => /^(log|snapshots|torn)\//.test(name));
    if (other === undefined) return;
    throw new FolderError(
      `${stateFile} is missing, though there is ${other}: half of the folder is lost. ${wayOut}`,
    );
  }
}

/** The new term and vote, or the old object when they are the same. */
function laterOf(old: HardState, next: HardState): HardState {
  assert(next.currentTerm >= old.currentTerm, "currentTerm only grows");
  if (next.currentTerm > old.currentTerm) return next;
  assert(old.votedFor === null || next.votedFor === old.votedFor, "a vote stays for its term (paper 5.2)");
  return next.votedFor === old.votedFor ? old : next;
}

function concat(parts: Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  let length = 0;
  for (const part of parts) length += part.length;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
