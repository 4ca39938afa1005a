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
  logFile,
  type Mark,
  noMark,
  type State,
  stateFile,
  wayOut,
} from "./formats.ts";
import { type RecoveredLog, recoverLog } from "./recovery.ts";

export { FolderError, type Identity };

/** What a folder held when the node started. */
export interface Recovered {
  /** null: the folder is empty, this is a first start. */
  identity: Identity | null;
  hardState: HardState;
  entries: Entry[];
  /** For people: what was recovered, and what `repair` will cut. */
  notes: string[];
}

/** One operation on the disk. */
type Step = (done: Done) => void;

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
  #identity: Identity | null = null;
  #hardState: HardState = { currentTerm: 0, votedFor: null };
  /** What the state file and the last mark that this process wrote to the log vouch for. */
  #stateMark: Mark = noMark;
  #logMark: Mark = noMark;

  //  durable.index   lastIndex
  //        v             v
  //  ... | n | n+1 | ... | m |
  //  ^offsets[n-1]            ^end
  /** The last entry that is durable. Equal to the last entry whenever no operation is under way. */
  #durable: Mark = noMark;
  /** Where the line of each entry starts; the one of index i is at i - 1. */
  #offsets: number[] = [];
  /** Size of the log in bytes; 0: it has no header yet. */
  #end = 0;

  #recovered: RecoveredLog | null = null;
  #stage: "new" | "recovered" | "open" | "closed" = "new";
  #isBusy = false;
  #error: Error | null = null;

  constructor(disk: Disk) {
    this.#disk = disk;
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
    this.#end = log.end;
    this.#recovered = log;
    const notes = [
      last === undefined
        ? `recovered term ${state.hardState.currentTerm} and an empty log`
        : `recovered term ${state.hardState.currentTerm} and the log up to entry ${last.index} of term ${last.term}`,
    ];
    if (log.torn !== null) {
      notes.push(
        `${logFile} ends in a write that a crash cut short: ${log.torn.bytes.length} bytes from byte ${log.end} ` +
          `(${log.torn.reason}) are moved to ${this.#tornFile()}`,
      );
    }
    return { identity: state.identity, hardState: state.hardState, entries: log.entries, notes };
  }

  /**
   * Does what `recover` found necessary: a torn tail is saved aside and cut, and entries that no mark vouches for are
   * made durable. They may only be in the system's cache, left by a process that was killed before its fsync.
   */
  repair(done: Done): void {
    assert(this.#stage === "recovered", "repair follows recover");
    this.#stage = "open";
    const log = this.#recovered;
    this.#recovered = null;
    if (log === null) return done(null);
    const { torn, end, entries } = log;
    const last = entries.at(-1);
    const steps: Step[] = [];
    if (torn !== null) steps.push((next) => this.#disk.replace(this.#tornFile(), torn.bytes, next));
    if (torn !== null || entries.length > this.#durable.index) {
      steps.push((next) => this.#disk.truncate(logFile, end, next));
    }
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
      const size = this.#offsets[keep]!;
      this.#offsets.length = keep;
      this.#end = size;
      if (this.#logMark.index > keep) this.#logMark = noMark;
      steps.push((next) => this.#disk.truncate(logFile, size, next));
    }
    if (entries.length > 0) {
      const bytes = this.#encode(entries);
      steps.push((next) => this.#disk.append(logFile, bytes, next));
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

  /** The bytes of a batch behind the present end of the log: header when new, mark when there is a newer one, lines. */
  #encode(entries: Entry[]): Uint8Array {
    const parts: Uint8Array[] = [];
    if (this.#end === 0) parts.push(encodeHeader(this.#knownIdentity()));
    if (this.#durable.index > this.#logMark.index) parts.push(encodeMark(this.#durable));
    this.#logMark = this.#durable;
    for (const part of parts) this.#end += part.length;
    for (const { line } of entries) {
      parts.push(line);
      this.#offsets.push(this.#end);
      this.#end += line.length;
    }
    return concat(parts);
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
    return `torn/start-${this.#knownIdentity().starts}-byte-${this.#end}`;
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

/** Runs steps one after another, up to the first that fails. */
function inTurn(steps: Step[], done: Done): void {
  const [first, ...rest] = steps;
  if (first === undefined) return done(null);
  first((error) => error === null ? inTurn(rest, done) : done(error));
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
