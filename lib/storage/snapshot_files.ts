/**
 * The snapshots of a folder. One counts when it was read from the disk from its first byte to its last and found whole;
 * an unfinished one and a damaged one look alike and are removed with the next that is kept. Two are kept, so that
 * one may rot.
 *
 * @module
 */

import type { Disk, Done } from "../io/io.ts";
import type { InstallSnapshot } from "../raft/messages.ts";
import type { SnapshotMetadata } from "../raft/types.ts";
import { checkCluster, type Owner } from "./formats.ts";
import { type Reading, SnapshotReader } from "./snapshot_format.ts";
import { inTurn, removal, type Step } from "./steps.ts";

/** Bytes that are read at once. */
const pieceBytes = 128 << 10;

/** The file of the snapshot of the state after this entry. Sorted by name, the snapshots are in order. */
export function snapshotName(index: number): string {
  return `snapshots/${String(index).padStart(20, "0")}.ndjson`;
}

/** The index in the name of a snapshot; null: that is no snapshot's name. */
export function snapshotIndexIn(name: string): number | null {
  const index = /^snapshots\/(\d{20})\.ndjson$/.exec(name)?.[1];
  return index === undefined ? null : Number(index);
}

/** What the lines of a snapshot are read into; each of its texts tells what is wrong with them. */
export interface SnapshotTarget {
  restoreLine(line: unknown): string | null;
  finishRestore(index: number): string | null;
}

/** What a recovery found. */
export interface RecoveredSnapshots {
  /** The newest whole one. */
  newest: SnapshotMetadata | null;
  /** The cluster that it names. */
  clusterId: string | null;
  /** For people: which are not whole. */
  notes: string[];
}

/** The files in `snapshots/`. */
export class SnapshotFiles {
  readonly #disk: Disk;
  /** Sizes of those that are whole or being written, by index. */
  readonly #sizes = new Map<number, number>();
  /** Those that were read and found whole. */
  readonly #whole = new Set<number>();
  /** Changes that wait for the one under way, so that no two meet on one file. */
  readonly #waiting: (() => void)[] = [];
  #isBusy = false;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /**
   * Looks at all of them, newest first, and reads the newest one that is whole into a target, of which each attempt
   * makes a new one. Throws FolderError when one is another cluster's or a newer version's.
   */
  recover(owner: Owner, makeTarget: (() => SnapshotTarget) | null = null): RecoveredSnapshots {
    const found: RecoveredSnapshots = { newest: null, clusterId: null, notes: [] };
    for (const name of this.#disk.list().reverse()) {
      const index = snapshotIndexIn(name);
      if (index === null) continue;
      const target = found.newest === null ? makeTarget?.() ?? null : null;
      const reader = new SnapshotReader(name, target && ((line) => target.restoreLine(line)));
      let reading: Reading = "more";
      let size = 0;
      for (const bytes of this.pieces(index)) {
        reading = reader.take(bytes);
        size += bytes.length;
        if (typeof reading === "object") break;
      }
      const problem = problemOf(reading, reader, index) ?? target?.finishRestore(index) ?? null;
      if (problem !== null) {
        found.notes.push(`${name} is not whole (${problem}) and is not used`);
        continue;
      }
      checkCluster(name, reader.clusterId, owner);
      this.#sizes.set(index, size);
      this.#whole.add(index);
      found.newest ??= reader.metadata;
      found.clusterId ??= reader.clusterId;
    }
    return found;
  }

  /** Bytes of a snapshot; 0: there is none of that index. */
  size(index: number): number {
    return this.#sizes.get(index) ?? 0;
  }

  /** Indexes of those that were found whole, oldest first. */
  get whole(): number[] {
    return [...this.#whole].sort((a, b) => a - b);
  }

  /** The snapshot was read from the disk and is whole. */
  confirm(index: number): void {
    this.#whole.add(index);
  }

  /** Another node found the snapshot not to be whole. */
  doubt(index: number): void {
    this.#whole.delete(index);
  }

  /** Up to `length` bytes from `offset`. */
  read(index: number, offset: number, length: number): Uint8Array {
    return this.#disk.readRange(snapshotName(index), offset, length);
  }

  /** All bytes of a file in `snapshots/`, in pieces. */
  *pieces(index: number): Generator<Uint8Array> {
    for (let offset = 0;;) {
      const bytes = this.read(index, offset, pieceBytes);
      if (bytes.length === 0) return;
      yield bytes;
      offset += bytes.length;
    }
  }

  /** Makes what was read of the newest one durable: a killed process may have left it in the system's cache only. */
  settle(index: number): Step {
    return (next) => this.#disk.truncate(snapshotName(index), this.size(index), next);
  }

  /** Adds bytes to the snapshot of `index`. The first ones, at offset 0, take the place of whatever had its name. */
  write(index: number, offset: number, bytes: Uint8Array, done: Done): void {
    const name = snapshotName(index);
    this.#inTurn(() => {
      const steps: Step[] = [];
      if (offset === 0) {
        this.#sizes.delete(index);
        this.#whole.delete(index);
        if (this.#disk.list().includes(name)) steps.push((next) => this.#disk.truncate(name, 0, next));
      }
      steps.push((next) => this.#disk.append(name, bytes, next));
      return steps;
    }, (error) => {
      if (error === null) this.#sizes.set(index, offset + bytes.length);
      done(error);
    });
  }

  /** Writes a piece that another node sent. One that is there already, because its write is tried again, stays. */
  writeChunk({ lastIncludedIndex, offset, data }: InstallSnapshot): Step {
    return (next) => {
      const isThere = offset > 0 && this.size(lastIncludedIndex) >= offset + data.length;
      if (isThere) next(null);
      else this.write(lastIncludedIndex, offset, data, next);
    };
  }

  /** Removes all files but those that `isKept` names when it is their turn, and calls `done`. */
  keepOnly(isKept: (index: number) => boolean, done: Done): void {
    this.#inTurn(() =>
      this.#disk.list().flatMap((name) => {
        const index = snapshotIndexIn(name);
        if (index === null || isKept(index)) return [];
        this.#sizes.delete(index);
        this.#whole.delete(index);
        return removal(this.#disk, name);
      }), done);
  }

  /** Takes steps once those before are done with. */
  #inTurn(plan: () => Step[], done: Done): void {
    const run = (): void => {
      this.#isBusy = true;
      inTurn(plan(), (error) => {
        done(error); // what it begins waits for its turn like the rest
        const next = this.#waiting.shift();
        if (next === undefined) this.#isBusy = false;
        else next();
      });
    };
    if (this.#isBusy) this.#waiting.push(run);
    else run();
  }
}

/** Why what was read to its end is not the snapshot of `index`, or null. */
function problemOf(reading: Reading, { metadata }: SnapshotReader, index: number): string | null {
  if (reading !== "whole") return reading === "more" ? "it ends too early" : reading.bad;
  return metadata!.lastIncludedIndex === index ? null : "it is another one's";
}
