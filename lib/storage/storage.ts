/**
 * What a node must not forget: its identity, term and vote in `state.json`, the log, and snapshots. One fsync covers
 * all the entries of a batch, however many writes it is made of. After the first error nothing is written any more,
 * because nobody knows what the disk holds then; only a disk without room may be tried again, because that one is
 * certain to have left everything as it was.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { type Disk, DiskFull, type Done } from "../io/io.ts";
import type { InstallSnapshot } from "../raft/messages.ts";
import type { Entry, HardState, NodeId, SnapshotMetadata, Write } from "../raft/types.ts";
import {
  encodeState,
  FolderError,
  type Identity,
  type Mark,
  noMark,
  segmentName,
  type State,
  stateFile,
} from "./formats.ts";
import { LogFiles } from "./log_files.ts";
import type { RecoveredLog } from "./log_recovery.ts";
import { type Recovered, type RecoveredFolder, recoverFolder } from "./recovery.ts";
import { SnapshotFiles, type SnapshotTarget } from "./snapshot_files.ts";
import { inTurn, removal, type Step } from "./steps.ts";

export { FolderError, type Identity, type Recovered };

/** Bytes of a segment of the log, unless one batch alone has more. */
export const defaultSegmentBytesMax = 16 << 20;

/** So many files in `torn/`, and in `damaged/`, are kept when another one comes. */
const asideMax = 15;

/** What a batch of writes does to the files. */
interface Plan {
  hardState: HardState;
  chunks: InstallSnapshot[];
  /** The log begins anew behind this. */
  snapshot: SnapshotMetadata | null;
  /** The log keeps its entries up to here; a conflict cuts the others. */
  keep: number;
  /** What then follows. */
  entries: Entry[];
}

/**
 * The files of one node. `recover` and `open` come first, in this order; afterwards one operation at a time, those of
 * `snapshots` and `compact` aside. A `done` runs inside the call only when the disk is not needed: nothing to do, or
 * refused after an error.
 */
export class Storage {
  /** The files of the snapshots. Their operations may run beside others. */
  readonly snapshots: SnapshotFiles;
  readonly #disk: Disk;
  readonly #log: LogFiles;
  #identity: Identity | null = null;
  /** What the state file holds. */
  #hardState: HardState = { currentTerm: 0, votedFor: null, admittedIndex: 0 };
  #stateMark: Mark = noMark;
  #recovered: RecoveredFolder | null = null;
  #stage: "new" | "recovered" | "open" | "closed" = "new";
  #isBusy = false;
  #error: Error | null = null;

  constructor(disk: Disk, options: { segmentBytesMax?: number } = {}) {
    this.#disk = disk;
    this.#log = new LogFiles(disk, options.segmentBytesMax ?? defaultSegmentBytesMax);
    this.snapshots = new SnapshotFiles(disk);
  }

  /** The log is durable up to here. */
  get durableIndex(): number {
    return this.#log.durable.index;
  }

  /** Bytes of the log that an entry takes; 0: its files have no such entry. */
  logBytesOf(index: number): number {
    return this.#log.bytesOf(index);
  }

  /**
   * Reads durable entries of the log again: from `first` on, at least one, and of those up to `last` about as many as have
   * `bytesMax` bytes. Throws FolderError when the disk does not have what was written.
   */
  readEntries(first: number, last: number, bytesMax: number): Entry[] {
    return this.#log.read(first, last, bytesMax);
  }

  /** The term, vote and admission that are durable. */
  get hardState(): HardState {
    return this.#hardState;
  }

  /**
   * Reads the folder and changes nothing. The newest snapshot goes into a target, of which each attempt makes a new one.
   * Throws FolderError when the folder is not usable for `nodeId`.
   */
  recover(nodeId: NodeId, makeTarget: (() => SnapshotTarget) | null = null): Recovered {
    assert(this.#stage === "new", "a folder is recovered once");
    this.#stage = "recovered";
    const found = recoverFolder(this.#disk, nodeId, this.snapshots, makeTarget);
    this.#recovered = found;
    this.#hardState = found.hardState;
    if (found.log !== null) {
      this.#log.adopt(found.base, found.log.isObsolete ? [] : found.log.segments, found.log.offsets);
    }
    return found;
  }

  /**
   * Makes the folder usable for the node `identity`, with the start counted up and, when the folder was found damaged, a
   * new incarnation: that is durable before anything else is touched. Then what does not belong is saved aside and cut,
   * and what was read is made durable, because it may only be in the system's cache, left by a process that was killed
   * before its fsync.
   */
  open(identity: Identity, done: Done): void {
    assert(this.#stage === "recovered", "open follows recover");
    this.#stage = "open";
    this.#identity = identity;
    const { log, snapshot, damage, base, stateMark } = this.#recovered!;
    this.#recovered = null;
    if (log === null) return this.#run([(next) => this.#saveState(this.#hardState, noMark, next)], done);
    const last: Mark = log.entries.at(-1) ?? base;
    // The state file must not vouch for what will be cut.
    const mark = log.isObsolete || damage !== null ? base : stateMark;
    const steps: Step[] = [];
    if (snapshot !== null) steps.push(this.snapshots.settle(snapshot.lastIncludedIndex));
    steps.push((next) => this.#saveState(this.#hardState, mark, next));
    this.#saveAside(log, steps);
    for (const name of log.empty) steps.push(...removal(this.#disk, name));
    const gone = log.isObsolete ? log.segments : log.lost;
    for (const { first } of gone.toReversed()) steps.push(...removal(this.#disk, segmentName(first)));
    this.#log.settle(steps);
    this.#run(steps, (error) => {
      if (error === null) this.#log.durable = { index: last.index, crc: last.crc };
      done(error);
    });
  }

  /** Writes the identity when it has changed. */
  saveIdentity(identity: Identity, done: Done): void {
    if (this.#refuses(done)) return;
    this.#identity = identity;
    this.#run([(next) => this.#saveState(this.#hardState, this.#log.durable, next)], done);
  }

  /**
   * Makes writes durable, in their order: the state file when there is a new term or vote, then all entries with
   * one fsync. A write whose first entry exists already cuts the log there first. After DiskFull the same writes, and
   * more behind them, may be given again; `hardState` tells whether term and vote got through.
   */
  append(writes: readonly Write[], done: Done): void {
    if (this.#refuses(done)) return;
    const { hardState, chunks, snapshot, keep, entries } = this.#plan(writes);
    const steps: Step[] = [];
    const isCut = snapshot === null && keep < this.#log.durable.index;
    // No file may ever vouch for an entry that has been cut: the state file goes first, and the cut takes the
    // marks along, which stand behind the entries that they vouch for.
    const crc = isCut ? entries[0]!.prevCrc : this.#log.durable.crc;
    const mark = snapshot !== null
      ? { index: snapshot.lastIncludedIndex, crc: snapshot.lastIncludedCrc }
      : isCut
      ? { index: keep, crc }
      : this.#log.durable;
    if (hardState !== this.#hardState || this.#stateMark.index > keep || snapshot !== null) {
      steps.push((next) => this.#saveState(hardState, mark, next));
    }
    for (const chunk of chunks) steps.push(this.snapshots.writeChunk(chunk));
    if (snapshot !== null) steps.push(this.#log.restart(mark));
    else if (isCut) steps.push(this.#log.cutBehind(keep, crc));
    if (entries.length > 0) steps.push(this.#log.add(entries, this.#knownIdentity()));
    this.#run(steps, done);
  }

  /** Removes the parts of the log that hold nothing behind the entry `index`, which a snapshot reaches. */
  compact(index: number, done: Done): void {
    if (this.#error !== null) return done(this.#error);
    const steps: Step[] = [];
    this.#log.compact(index, steps);
    inTurn(steps, done);
  }

  /** Lets the state file vouch for all that is durable. Worth its fsync when the node has been quiet for a while. */
  flushMark(done: Done): void {
    if (this.#refuses(done)) return;
    const { durable } = this.#log;
    const isStale = this.#stateMark.index < durable.index;
    this.#run(isStale ? [(next) => this.#saveState(this.#hardState, durable, next)] : [], done);
  }

  /** The last operation, of a clean stop. */
  close(done: Done): void {
    this.flushMark(done);
    this.#stage = "closed";
  }

  /** Whether an earlier error forbids another operation; `done` has then been told of it. */
  #refuses(done: Done): boolean {
    assert(this.#stage === "open", "the folder is recovered, opened and not closed");
    assert(!this.#isBusy, "one operation at a time on the storage");
    if (this.#error === null) return false;
    done(this.#error);
    return true;
  }

  #run(steps: Step[], done: Done): void {
    this.#isBusy = true;
    inTurn(steps, (error) => {
      this.#isBusy = false;
      if (!(error instanceof DiskFull)) this.#error = error;
      done(error);
    });
  }

  /** What `writes` come to when they are done together: an entry that a later write cuts again is never written. */
  #plan(writes: readonly Write[]): Plan {
    const plan: Plan = {
      hardState: this.#hardState,
      chunks: [],
      snapshot: null,
      keep: this.#log.lastIndex,
      entries: [],
    };
    const superseded = supersededAmong(writes);
    for (const write of writes) {
      if (write.hardState !== null) plan.hardState = laterOf(plan.hardState, write.hardState);
      plan.chunks.push(...write.chunks);
      if (superseded.has(write)) continue;
      if (write.snapshot !== null) {
        plan.snapshot = write.snapshot;
        plan.keep = write.snapshot.lastIncludedIndex;
      }
      if (write.entries.length > 0) addTo(plan, write.entries);
    }
    const first = plan.entries[0];
    const before = plan.snapshot?.lastIncludedCrc ?? this.#log.durable.crc;
    const isCut = plan.snapshot === null && plan.keep < this.#log.lastIndex;
    assert(isCut || first === undefined || first.prevCrc === before, "the batch continues the hash chain");
    return plan;
  }

  #saveState(hardState: HardState, mark: Mark, done: Done): void {
    const state: State = { identity: this.#knownIdentity(), hardState, mark };
    this.#disk.replace(stateFile, encodeState(state), (error) => {
      if (error === null) {
        this.#hardState = hardState;
        this.#stateMark = mark;
      }
      done(error);
    });
  }

  #knownIdentity(): Identity {
    assert(this.#identity !== null, "the identity is saved before anything else");
    return this.#identity;
  }

  /**
   * Copies what will be cut off, so that nothing that a person might want is gone. What a crash tore was never promised:
   * a disk without room for it need not keep it.
   */
  #saveAside({ tail, lost, damage, segments }: RecoveredLog, steps: Step[]): void {
    if (tail === null && lost.length === 0) return;
    const folder = damage === null ? "torn/" : "damaged/";
    this.#prune(folder, steps);
    const start = `${folder}start-${this.#knownIdentity().starts}-log-`;
    const save = (name: string, bytes: () => Uint8Array): void => {
      // Not by `replace`, which would use up the reserve of the state file.
      steps.push((next) =>
        this.#disk.append(name, bytes(), (error) => {
          next(damage === null && error instanceof DiskFull ? null : error);
        })
      );
    };
    if (tail !== null) {
      const { first, end } = segments.at(-1)!;
      save(`${start}${first}-byte-${end}`, () => tail.bytes);
    }
    for (const { first } of lost) save(`${start}${first}-byte-0`, () => this.#disk.read(segmentName(first))!);
  }

  /** Makes room among what was saved aside: the newest few stay. */
  #prune(folder: string, steps: Step[]): void {
    const startOf = (name: string): number => Number(/start-(\d+)-/.exec(name)?.[1] ?? 0);
    const names = this.#disk.list().filter((name) => name.startsWith(folder));
    const old = names.sort((a, b) => startOf(b) - startOf(a)).slice(asideMax);
    for (const name of old) steps.push((next) => this.#disk.remove(name, next));
  }
}

/**
 * The writes whose entries and snapshot a later one of them makes void. They cannot be planned for: when the batch is
 * given a second time, because the disk was full, the log may have been cut below them already.
 */
function supersededAmong(writes: readonly Write[]): Set<Write> {
  const superseded = new Set<Write>();
  let next = Infinity;
  for (const write of writes.toReversed()) {
    const first = write.snapshot !== null ? 0 : write.entries[0]?.index ?? Infinity;
    if (first >= next) superseded.add(write);
    next = Math.min(next, first);
  }
  return superseded;
}

/** Adds the entries of a write to what a batch does; they may replace some of it. */
function addTo(plan: Plan, entries: readonly Entry[]): void {
  const first = entries[0]!;
  if (first.index <= plan.keep) {
    assert(plan.entries.length === 0, "what this write makes void is not planned for");
    plan.keep = first.index - 1;
  }
  plan.entries.length = Math.min(plan.entries.length, first.index - plan.keep - 1);
  for (const entry of entries) {
    const before = plan.entries.at(-1);
    assert(
      entry.index === plan.keep + plan.entries.length + 1,
      () => `entry ${entry.index} follows the one before it`,
    );
    assert(
      before === undefined || entry.prevCrc === before.crc,
      () => `entry ${entry.index} continues the hash chain`,
    );
    plan.entries.push(entry);
  }
}

/** The new term, vote and admission, or the old object when they are the same. */
function laterOf(old: HardState, next: HardState): HardState {
  assert(next.currentTerm >= old.currentTerm, "currentTerm only grows");
  assert(
    next.admittedIndex === old.admittedIndex || old.admittedIndex === 0,
    "an admitted folder stays admitted",
  );
  if (next.currentTerm > old.currentTerm) return next;
  assert(old.votedFor === null || next.votedFor === old.votedFor, "a vote stays for its term (paper 5.2)");
  return next.votedFor === old.votedFor && next.admittedIndex === old.admittedIndex ? old : next;
}
