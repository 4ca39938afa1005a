/**
 * The way to the disk: one write at a time, in order. Whatever gathers while the disk is busy shares the next fsync,
 * so batches form by themselves and grow with the load (group commit). Messages that ride on a write leave when
 * it and all before it are durable. When the disk is full everything waits for room, in its order; only votes for others,
 * which need nothing but the state file, go past it.
 *
 * @module
 */

import type { Message } from "../raft/messages.ts";
import type { Write } from "../raft/types.ts";
import { DiskFull, type Done } from "../io/io.ts";
import type { Storage } from "../storage/storage.ts";

/** Who is told what became of the writes. */
export interface LogWriterOwner {
  /** These messages may be sent, or delivered when they are for this node. */
  onDurable(messages: Message[]): void;
  /** These were given to the disk, and are not durable yet. */
  onWritten(writes: readonly Write[]): void;
  /** The disk failed. What it holds is unknown; the node stops. */
  onDiskError(error: Error): void;
  /** Runs `f` behind what is done and sent now. */
  soon(f: () => void): void;
}

/** Whether a write only carries messages. */
function needsNoDisk({ hardState, chunks, snapshot, entries }: Write): boolean {
  return hardState === null && snapshot === null && entries.length + chunks.length === 0;
}

/** The first entry of the log that a write puts there, or takes away; Infinity: it leaves all as they are. */
function firstChanged({ snapshot, entries }: Write): number {
  return snapshot !== null ? 0 : entries[0]?.index ?? Infinity;
}

/** Whether a write does nothing but say once more what the one before it says. */
function isRepetition(write: Write, before: Write | undefined): boolean {
  const [said, ...others] = write.messages;
  const last = before?.messages.at(-1);
  if (said?.type !== "appendEntriesResponse" || others.length > 0 || !needsNoDisk(write)) return false;
  return last?.type === "appendEntriesResponse" && last.to === said.to && last.term === said.term &&
    last.success && said.success && last.matchIndex === said.matchIndex && last.abstains === said.abstains;
}

/** A full disk is tried again after so many ticks. */
const retryTicks = 20;

/** One write in flight; all that wait behind it go together. */
export class LogWriter {
  readonly #storage: Storage;
  readonly #owner: LogWriterOwner;
  #waiting: Write[] = [];
  #isBusy = false;
  /** The next write begins in this turn. */
  #isDue = false;
  #isStopped = false;
  #isFull = false;
  /** A term or vote was handed in that is not yet durable. */
  #isStateDue = false;
  #stillTicks = 0;
  /** Entry bytes handed in and not yet durable. */
  #pendingBytes = 0;
  /** The first entry that a write changes which is handed in and not yet durable; Infinity: none does. */
  #firstPending = Infinity;
  #idle: (() => void) | null = null;

  constructor(storage: Storage, owner: LogWriterOwner) {
    this.#storage = storage;
    this.#owner = owner;
  }

  /** Entry bytes that are not yet durable. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** The log is durable up to here, and no write that was handed in changes that. */
  get settledIndex(): number {
    return Math.min(this.#storage.durableIndex, this.#firstPending - 1);
  }

  /** Time passes. Returns for how many ticks nothing has begun or ended on the disk: it is quiet then, or it hangs. */
  onTick(): number {
    if (this.#isFull && !this.#isBusy && this.#stillTicks >= retryTicks) this.#writeNext();
    return this.#stillTicks++;
  }

  /** The disk had no room when it was last tried. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Nothing waits and nothing is under way. */
  get isIdle(): boolean {
    return !this.#isBusy && this.#waiting.length === 0;
  }

  /** Takes a write. One that only carries messages needs no disk, but not before what came before it. */
  submit(write: Write): void {
    if (this.#isStopped) return;
    if (this.isIdle && needsNoDisk(write)) {
      this.#owner.onDurable(write.messages);
      return;
    }
    if (this.#isFull && needsNoDisk(write)) {
      // What cannot be said now would only pile up: the other end asks for it again and again.
      if (!this.#isStateDue) this.#sendVotes(write);
      return;
    }
    // While the disk hangs a follower is asked thousands of times whether it is there.
    if (isRepetition(write, this.#waiting.at(-1))) return;
    for (const { line } of write.entries) this.#pendingBytes += line.length;
    if (write.hardState !== null) this.#isStateDue = true;
    this.#firstPending = Math.min(this.#firstPending, firstChanged(write));
    this.#waiting.push(write);
    // Without room only a new term or vote is worth another attempt now.
    if (!this.#isBusy && (!this.#isFull || write.hardState !== null)) this.#writeSoon();
  }

  /** Does something else with the storage, alone, as soon as no write waits. */
  whenIdle(job: (done: Done) => void, then: () => void): void {
    if (this.isIdle) {
      this.#run(job, (full) => full === null ? then() : this.#owner.onDiskError(full));
      return;
    }
    const before = this.#idle;
    this.#idle = () => {
      before?.();
      this.whenIdle(job, then);
    };
  }

  /** Nothing is written or told any more. */
  stop(): void {
    this.#isStopped = true;
    this.#waiting = [];
  }

  /** The followers' messages leave first: their disks work while this one does (thesis 10.2.1). */
  #writeSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#stillTicks = 0;
    this.#owner.soon(() => {
      this.#isDue = false;
      if (!this.#isBusy && !this.#isStopped) this.#writeNext();
    });
  }

  #writeNext(): void {
    if (this.#waiting.length === 0) {
      const idle = this.#idle;
      this.#idle = null;
      idle?.();
      return;
    }
    const writes = this.#waiting;
    this.#waiting = [];
    this.#run((done) => this.#storage.append(writes, done), (error) => {
      if (error !== null) return this.#onFull(writes);
      this.#isFull = false;
      this.#isStateDue = this.#waiting.some(({ hardState }) => hardState !== null);
      this.#firstPending = Infinity;
      for (const write of this.#waiting) {
        this.#firstPending = Math.min(this.#firstPending, firstChanged(write));
      }
      for (const write of writes) {
        for (const { line } of write.entries) this.#pendingBytes -= line.length;
        this.#owner.onDurable(write.messages);
      }
    });
    this.#owner.onWritten(writes);
  }

  /** Nothing of the entries is on the disk; the state file may be. */
  #onFull(writes: Write[]): void {
    this.#isFull = true;
    const { currentTerm, votedFor, admittedIndex } = this.#storage.hardState;
    const last = writes.findLast(({ hardState }) => hardState !== null)?.hardState;
    const isSaved = last == null ||
      last.currentTerm === currentTerm && last.votedFor === votedFor && last.admittedIndex === admittedIndex;
    const isNewer = this.#waiting.some(({ hardState }) => hardState !== null);
    this.#isStateDue = !isSaved || isNewer;
    if (isSaved) {
      writes = writes.map((write) => this.#sendVotes(write)).filter((write) => !needsNoDisk(write));
    }
    this.#waiting = [...writes, ...this.#waiting];
    if (isNewer) this.#writeNext();
  }

  /** Sends what of a write claims only the state file; its other messages wait. */
  #sendVotes(write: Write): Write {
    const isVote = ({ type, from, to }: Message): boolean =>
      type === "termDurable" || (type === "requestVoteResponse" && to !== from);
    this.#owner.onDurable(write.messages.filter(isVote));
    return { ...write, hardState: null, messages: write.messages.filter((message) => !isVote(message)) };
  }

  #run(job: (done: Done) => void, then: (full: DiskFull | null) => void): void {
    this.#isBusy = true;
    this.#stillTicks = 0;
    job((error) => {
      this.#isBusy = false;
      this.#stillTicks = 0;
      if (this.#isStopped) return;
      if (error !== null && !(error instanceof DiskFull)) {
        this.stop();
        this.#owner.onDiskError(error);
        return;
      }
      then(error);
      if (!this.#isBusy && !this.#isStopped && error === null) this.#writeNext();
    });
  }
}
