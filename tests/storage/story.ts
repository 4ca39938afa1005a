/**
 * The life of a node's folder as a script: batches, conflicts, snapshots of its own and of another node's. Each step is
 * told with what a start may find when it was interrupted.
 *
 * @module
 */

import type { Done } from "../../lib/io/io.ts";
import type { Entry, HardState } from "../../lib/raft/types.ts";
import { type Recovered, Storage } from "../../lib/storage/storage.ts";
import { entriesAfter, identity, nextIdentity, write } from "./folder.ts";
import { type Call, type Files, RecordingDisk } from "./recording_disk.ts";
import { chunkWrites, install, metadataAt, snapshotAt } from "./snapshots.ts";

/** One step of a story. */
export type Step =
  /** The log keeps `keep` entries, `count` follow in one batch. */
  | { do: "append"; count: number; keep?: number }
  /** The state file vouches for the log. */
  | { do: "flush" }
  /** A snapshot of all but the last `behind` entries; two are kept, and the log back to the older one. */
  | { do: "take"; behind: number }
  /** Another node's snapshot of entry `index`, whose log has the first `keep` entries of this one, with `count` entries behind it. */
  | { do: "install"; keep: number; index: number; count: number };

/** A log that may be found, whole or cut behind its first `min` entries. */
export interface Allowed {
  log: readonly Entry[];
  min: number;
}

/** A call to the disk, and what a start may find after a power cut in it. */
export interface Scene {
  call: Call;
  step: Step;
  allowed: Allowed[];
  /** Before and after the step. */
  terms: [HardState, HardState];
}

/** Segments take four entries of some 300 bytes. */
export const options = { segmentBytesMax: 1500 };

/** Starts a node on these files: what it finds, and the storage ready for use. */
export function start(files: Files): { found: Recovered; storage: Storage; recording: RecordingDisk } {
  const recording = new RecordingDisk(files);
  const storage = new Storage(recording.disk, options);
  const found = storage.recover(identity.nodeId);
  recording.do((done) => storage.open(nextIdentity(found), done));
  return { found, storage, recording };
}

/** Whether what was found is one of the logs that may be found. A hash chain is equal where its last entry is. */
export function isAllowed({ snapshot, entries }: Recovered, allowed: readonly Allowed[]): boolean {
  const base = snapshot?.lastIncludedIndex ?? 0;
  const last = base + entries.length;
  return allowed.some(({ log, min }) => {
    if (last < min || last > log.length) return false;
    if (snapshot !== null && log[base - 1]!.crc !== snapshot.lastIncludedCrc) return false;
    return entries.length === 0 || entries.at(-1)!.crc === log[last - 1]!.crc;
  });
}

/** A node that lives through a story. */
export class Teller {
  readonly scenes: Scene[] = [];
  log: Entry[] = [];
  hardState: HardState = { currentTerm: 0, votedFor: null, admittedIndex: 0 };
  readonly recording = new RecordingDisk(new Map());
  readonly #storage = new Storage(this.recording.disk, options);
  /** Indexes of the snapshots that are there. */
  #snapshots: number[] = [];

  constructor() {
    this.#storage.recover(identity.nodeId);
    this.recording.do((done) => this.#storage.open(identity, done));
  }

  /** Lives through a step. */
  tell(step: Step): void {
    switch (step.do) {
      case "append":
        return this.#append(step, step.keep ?? this.log.length);
      case "flush":
        return this.#do(step, [this.#now()], (done) => this.#storage.flushMark(done));
      case "take":
        return this.#take(step, this.log.length - step.behind);
      case "install":
        return this.#install(step);
    }
  }

  #now(): Allowed {
    return { log: this.log, min: this.log.length };
  }

  #do(step: Step, allowed: Allowed[], start: (done: Done) => void, hardState = this.hardState): void {
    const from = this.recording.calls.length;
    this.recording.do(start);
    const terms: Scene["terms"] = [this.hardState, hardState];
    for (const call of this.recording.calls.slice(from)) this.scenes.push({ call, step, allowed, terms });
    this.hardState = hardState;
  }

  #append(step: Step & { do: "append" }, keep: number): void {
    const isNewTerm = keep < this.log.length || this.hardState.currentTerm === 0;
    const hardState = isNewTerm ? nextTerm(this.hardState) : this.hardState;
    const added = entriesAfter(this.log[keep - 1] ?? null, {
      count: step.count,
      term: hardState.currentTerm,
      size: 200,
    });
    const next = [...this.log.slice(0, keep), ...added];
    const allowed = [{ log: next, min: keep }, { log: this.log, min: keep }];
    const writes = [write(added, hardState)];
    this.#do(step, allowed, (done) => this.#storage.append(writes, done), hardState);
    this.log = next;
  }

  #take(step: Step, index: number): void {
    const { snapshots } = this.#storage;
    const bytes = snapshotAt(this.log, index);
    const half = bytes.length >> 1;
    this.#do(step, [this.#now()], (done) => snapshots.write(index, 0, bytes.slice(0, half), done));
    this.#do(step, [this.#now()], (done) => snapshots.write(index, half, bytes.slice(half), done));
    this.#tidy(step, index);
  }

  /** Keeps two snapshots, the newest of entry `index`, and the log back to the older one. */
  #tidy(step: Step, index: number): void {
    this.#snapshots = [...this.#snapshots.slice(-1), index];
    const isKept = (index: number) => this.#snapshots.includes(index);
    this.#do(step, [this.#now()], (done) => this.#storage.snapshots.keepOnly(isKept, done));
    if (this.#snapshots.length < 2) return;
    this.#do(step, [this.#now()], (done) => this.#storage.compact(this.#snapshots[0]!, done));
  }

  #install(step: Step & { do: "install" }): void {
    const { keep, index, count } = step;
    const hardState = nextTerm(this.hardState);
    const term = hardState.currentTerm;
    const common = this.log.slice(0, keep);
    const theirs = [
      ...common,
      ...entriesAfter(common.at(-1) ?? null, { count: index + count - keep, term, size: 200 }),
    ];
    const metadata = metadataAt(theirs, index);
    const chunks = chunkWrites(snapshotAt(theirs, index), metadata, 250);
    chunks[0]!.hardState = hardState;
    // From its last piece on a start takes the snapshot, and with it a log of the very same history.
    const isTheirs = { log: theirs.slice(0, index), min: index };
    for (const chunk of chunks) {
      const allowed = chunk === chunks.at(-1) ? [this.#now(), isTheirs] : [this.#now()];
      this.#do(step, allowed, (done) => this.#storage.append([chunk], done), hardState);
    }
    const behind = theirs.slice(index);
    const allowed = [{ log: theirs, min: index }];
    this.#do(step, allowed, (done) => this.#storage.append([install(metadata, behind)], done));
    this.log = theirs;
    this.#tidy(step, index);
  }
}

/** In the first term the node is admitted, and stays so. */
function nextTerm({ currentTerm }: HardState): HardState {
  return { currentTerm: currentTerm + 1, votedFor: null, admittedIndex: 1 };
}
