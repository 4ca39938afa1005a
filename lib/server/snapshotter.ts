/**
 * Snapshots while the node works: taken from a frozen copy of the store when the log has grown, and read back from the
 * disk before they count; the log and older snapshots then go. What another node sent is read the same way, into a new
 * store. All of it in slices of a few milliseconds, so that requests and heartbeats are served in between.
 *
 * @module
 */

import { concat } from "../bytes.ts";
import { DiskFull, type Io } from "../io/io.ts";
import { Store } from "../kv/store.ts";
import { chunkBytesMax } from "../protocol/peer_protocol.ts";
import type { InstallSnapshot } from "../raft/messages.ts";
import type { OldEntryLost, Raft } from "../raft/raft.ts";
import type { Entry, SnapshotMetadata } from "../raft/types.ts";
import { encodeSnapshot, type Reading, SnapshotReader } from "../storage/snapshot_format.ts";
import { snapshotName } from "../storage/snapshot_files.ts";
import { FolderError, type Storage } from "../storage/storage.ts";
import type { ServerOptions } from "./options.ts";
import type { StateMachine } from "./state_machine.ts";

/** The parts of a node that snapshots have to do with. */
export interface SnapshotterNode {
  readonly raft: Raft;
  readonly storage: Storage;
  readonly machine: StateMachine;
  clusterId(): string | null;
  /** The state machine is at `index` from now on, without having applied what is between. */
  onInstalled(index: number): void;
  onDiskError(error: Error): void;
  /** The core has something to say. */
  onWork(): void;
}

/** Bytes that one fsync makes durable. */
const flushBytes = 256 << 10;
/** A small snapshot is followed by so many times as much log, but by no more than so many times the least. */
const growth = 4;
/** A large one is followed by as much log as itself, but by no more than so many times the least: a start holds it in memory. */
const growthMax = 16;
/** After an attempt that found no room. */
const retryMs = 10_000;

/** Takes, keeps, gives and receives snapshots. */
export class Snapshotter {
  readonly #options: Pick<ServerOptions, "limits" | "log">;
  readonly #io: Pick<Io, "clock" | "random">;
  readonly #node: SnapshotterNode;
  /** Applied since the last snapshot. */
  #entries = 0;
  #bytes = 0;
  /** Nodes of a cluster have the same load: each waits a little longer than it must, so that not all are busy at once. */
  #patience = 1;
  /** Index of the snapshot that is being taken; null: none is. */
  #takingIndex: number | null = null;
  /** The newest snapshot's file is shorter than it was. */
  #isSuspect = false;
  #notBefore = 0;
  #isStopped = false;

  constructor(
    options: Pick<ServerOptions, "limits" | "log">,
    io: Pick<Io, "clock" | "random">,
    node: SnapshotterNode,
  ) {
    this.#options = options;
    this.#io = io;
    this.#node = node;
    this.#drawPatience();
  }

  /** A snapshot is being taken. */
  get isTaking(): boolean {
    return this.#takingIndex !== null;
  }

  /** An entry was applied. */
  onApplied(entry: Entry): void {
    this.#entries++;
    this.#bytes += entry.line.length;
  }

  /** Nothing is begun any more, and nothing that is under way comes to anything. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Takes a snapshot of the applied state when it is time to. */
  takeWhenDue(): void {
    const { raft, machine } = this.#node;
    if (this.#takingIndex !== null || this.#isStopped || this.#io.clock.now() < this.#notBefore) return;
    if (!this.#isTermDurable()) return;
    const newest = raft.snapshot?.lastIncludedIndex ?? 0;
    const isSuspect = this.#isSuspect || raft.suspectIndex === newest;
    if (newest > 0 && isSuspect) this.#lookAgain(newest);
    else if (machine.appliedIndex > newest && this.#isDue(newest)) {
      if (machine.appliedIndex !== raft.receivingIndex) this.#take(); // one file cannot be both
    }
  }

  /** Whether a snapshot has what was lost of the log. Then the log before its end is needed no more. */
  makesUpFor({ index, message }: OldEntryLost): boolean {
    const { raft } = this.#node;
    const newest = raft.snapshot?.lastIncludedIndex ?? 0;
    if (index > newest) return false;
    this.#options.log("warn", `${message}: whoever needs it is sent the snapshot of entry ${newest}`);
    raft.compact(newest);
    return true;
  }

  /** Puts the bytes that it asks for into a message; null: that snapshot is not there any more. */
  fill(message: InstallSnapshot): InstallSnapshot | null {
    const { snapshots } = this.#node.storage;
    const { lastIncludedIndex, offset } = message;
    const size = snapshots.size(lastIncludedIndex);
    if (size === 0 || offset >= size) return null;
    const data = snapshots.read(lastIncludedIndex, offset, chunkBytesMax);
    if (data.length === 0) this.#isSuspect = true; // somebody cut the file short
    return { ...message, data, done: offset + data.length >= size };
  }

  /** All of a snapshot came from another node: reads it, and when it is whole and still wanted takes it over. */
  onReceived(index: number): void {
    const { raft, storage } = this.#node;
    const { log } = this.#options;
    const store = new Store();
    this.#read(index, (line) => store.restoreLine(line), (reader, problem) => {
      const { metadata, clusterId } = reader;
      if (problem === null && clusterId !== this.#node.clusterId()) problem = `it is of cluster ${clusterId}`;
      if (problem === null && !raft.isAsAnnounced(metadata!)) problem = "it is not what its sender announced";
      problem ??= store.finishRestore(index);
      if (problem === null) {
        storage.snapshots.confirm(index);
        if (!raft.install(metadata!)) return this.#node.onWork();
        log("info", `took over the snapshot of entry ${index}`);
        this.#restart();
        this.#node.machine.takeOver(store, index);
        this.#node.onInstalled(index);
        this.#tidy();
      } else {
        log("error", `the snapshot of entry ${index} that came from another node is not whole: ${problem}`);
        raft.discard();
        this.#tidy(); // or the next start would find it
      }
      this.#node.onWork();
    });
  }

  /** A follower found the newest snapshot not to be whole. If that is so here too, another one takes its place. */
  #lookAgain(newest: number): void {
    const { raft, storage } = this.#node;
    this.#isSuspect = false;
    this.#takingIndex = newest;
    this.#read(newest, null, (_reader, problem) => {
      this.#takingIndex = null;
      if (raft.snapshot!.lastIncludedIndex !== newest) return;
      if (problem === null) return raft.onSnapshotTaken(raft.snapshot!);
      this.#options.log("error", `${snapshotName(newest)} is damaged (${problem}): it is made again`);
      storage.snapshots.doubt(newest);
      if (this.#isTermDurable()) this.#take();
      else this.#isSuspect = true;
    });
  }

  /**
   * On a disk that is behind, entries of a term can be applied, because others have them, before the state file knows of
   * that term. A snapshot of them must not overtake it: a start would find that the node may have forgotten a vote.
   */
  #isTermDurable(): boolean {
    const { raft, storage, machine } = this.#node;
    return storage.hardState.currentTerm >= (raft.termAt(machine.appliedIndex) ?? 0);
  }

  #isDue(newest: number): boolean {
    const { snapshotLogBytes, snapshotEntries } = this.#options.limits;
    const bytes = logBytesBetween(this.#node.storage.snapshots.size(newest), snapshotLogBytes);
    return this.#bytes >= bytes * this.#patience || this.#entries >= snapshotEntries * this.#patience;
  }

  #take(): void {
    const { raft, storage, machine } = this.#node;
    const { log } = this.#options;
    const index = machine.appliedIndex;
    this.#takingIndex = index;
    const metadata = raft.snapshotAt(index);
    const state = machine.store.snapshot();
    const contents = { clusterId: this.#node.clusterId(), keys: state.keys, sessions: state.sessions };
    this.#restart();
    this.#write(metadata, encodeSnapshot(metadata, contents, state.blocks()), (error) => {
      state.release();
      if (error !== null) return this.#giveUp(error);
      this.#read(index, null, (reader, problem) => {
        this.#takingIndex = null;
        if (problem !== null || reader.metadata!.lastIncludedIndex !== index) {
          return this.#node.onDiskError(
            new Error(`${snapshotName(index)} was written and reads otherwise: ${problem}`),
          );
        }
        storage.snapshots.confirm(index);
        if (index < (raft.snapshot?.lastIncludedIndex ?? 0)) return this.#tidy(); // a newer one came meanwhile
        raft.onSnapshotTaken(metadata);
        log(
          "info",
          `took a snapshot of entry ${index}: ${state.keys} keys, ${storage.snapshots.size(index)} bytes`,
        );
        this.#tidy();
        this.#node.onWork();
      });
    });
  }

  #restart(): void {
    this.#entries = this.#bytes = 0;
    this.#drawPatience();
  }

  #drawPatience(): void {
    this.#patience = 1 + this.#io.random() / 4;
  }

  /** Writes pieces as they are made, one a slice, and makes many of them durable at once. */
  #write(
    metadata: SnapshotMetadata,
    pieces: Iterator<Uint8Array>,
    then: (error: Error | null) => void,
  ): void {
    const { storage } = this.#node;
    const { clock } = this.#io;
    let offset = 0;
    let parts: Uint8Array[] = [];
    let bytes = 0;
    const flush = (isLast: boolean): void => {
      storage.snapshots.write(metadata.lastIncludedIndex, offset, concat(parts), (error) => {
        if (this.#isStopped) return;
        if (error !== null || isLast) return then(error);
        offset += bytes;
        parts = [];
        bytes = 0;
        slice();
      });
    };
    const slice = (): void => {
      if (this.#isStopped) return;
      const next = pieces.next();
      if (next.done) return flush(true);
      parts.push(next.value);
      bytes += next.value.length;
      if (bytes < flushBytes) clock.after(0, slice);
      else flush(false);
    };
    slice();
  }

  /** Reads a snapshot from the disk, a piece a slice. Tells what is wrong with it, or null. */
  #read(
    index: number,
    onLine: ((line: unknown) => string | null) | null,
    then: (reader: SnapshotReader, problem: string | null) => void,
  ): void {
    const { storage } = this.#node;
    const { clock } = this.#io;
    const reader = new SnapshotReader(snapshotName(index), onLine);
    const pieces = storage.snapshots.pieces(index);
    const slice = (): void => {
      if (this.#isStopped) return;
      const next = pieces.next();
      if (next.done) return then(reader, reader.contents === null ? "it ends too early" : null);
      const reading = takeSafely(reader, next.value);
      if (typeof reading === "object") return then(reader, reading.bad);
      clock.after(0, slice);
    };
    slice();
  }

  /** There is no room for a snapshot: what was written of it goes, and the next attempt waits. */
  #giveUp(error: Error): void {
    this.#takingIndex = null;
    if (!(error instanceof DiskFull)) return this.#node.onDiskError(error);
    this.#options.log("warn", `no room for a snapshot, which would make the log shorter: ${error.message}`);
    this.#notBefore = this.#io.clock.now() + retryMs;
    this.#entries = this.#options.limits.snapshotEntries * 2;
    this.#tidy();
  }

  /** Keeps the two newest snapshots and those that followers are being sent, and the log back to the oldest of them. */
  #tidy(): void {
    const { raft, storage, onDiskError } = this.#node;
    const newest = raft.snapshot?.lastIncludedIndex ?? 0;
    const whole = storage.snapshots.whole.filter((index) => index <= newest);
    const kept = [...whole.slice(-2), ...raft.transfers];
    const isKept = (index: number): boolean =>
      kept.includes(index) || raft.transfers.includes(index) || index === this.#takingIndex ||
      index === raft.receivingIndex || index === raft.snapshot?.lastIncludedIndex; // as it is then, not now
    storage.snapshots.keepOnly(isKept, (error) => {
      if (this.#isStopped) return;
      if (error !== null) return onDiskError(error);
      if (whole.length < 2) return; // the log before the only one is the only other copy
      const oldest = Math.min(...kept);
      raft.compact(this.#trailFrom(Math.min(newest, ...raft.transfers), oldest));
      storage.compact(oldest, (error) => {
        if (error !== null && !this.#isStopped) onDiskError(error);
      });
    });
  }

  /** From where on the log serves followers that are not far behind the entry `index`; not before `oldest`. */
  #trailFrom(index: number, oldest: number): number {
    const { raft, storage } = this.#node;
    const { trailingBytes } = this.#options.limits;
    const least = Math.max(oldest, raft.baseIndex);
    for (let bytes = 0; index > least && bytes < trailingBytes; index--) {
      bytes += storage.logBytesOf(index);
    }
    return Math.max(index, least);
  }
}

/**
 * Bytes of log between a snapshot of `size` bytes and the next one: at least `least`. A snapshot costs the more the larger
 * the state is, and so does a start. So there is up to four times as much while the snapshot is small, and as much as
 * itself when it is large, up to a bound.
 */
export function logBytesBetween(size: number, least: number): number {
  return Math.max(least, Math.min(growth * size, growth * least), Math.min(size, growthMax * least));
}

/** What a newer version wrote is no use either. */
function takeSafely(reader: SnapshotReader, bytes: Uint8Array): Reading {
  try {
    return reader.take(bytes);
  } catch (error) {
    if (error instanceof FolderError) return { bad: error.message };
    throw error;
  }
}
