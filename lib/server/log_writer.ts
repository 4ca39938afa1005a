/**
 * The way to the disk: one write at a time, in order. Whatever gathers while the disk is busy shares the next fsync,
 * so batches form by themselves and grow with the load (group commit). Messages that ride on a write leave when
 * it and all before it are durable.
 *
 * @module
 */

import type { Message } from "../raft/messages.ts";
import type { Write } from "../raft/types.ts";
import type { Done } from "../io/io.ts";
import type { Storage } from "../storage/storage.ts";

/** Who is told what became of the writes. */
export interface LogWriterOwner {
  /** These messages may be sent, or delivered when they are for this node. */
  onDurable(messages: Message[]): void;
  /** The disk failed. What it holds is unknown; the node stops. */
  onDiskError(error: Error): void;
}

/** One write in flight; all that wait behind it go together. */
export class LogWriter {
  readonly #storage: Storage;
  readonly #owner: LogWriterOwner;
  #waiting: Write[] = [];
  #isBusy = false;
  #isStopped = false;
  #stillTicks = 0;
  /** Entry bytes handed in and not yet durable. */
  #pendingBytes = 0;
  #idle: (() => void) | null = null;

  constructor(storage: Storage, owner: LogWriterOwner) {
    this.#storage = storage;
    this.#owner = owner;
  }

  /** Entry bytes that are not yet durable. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Time passes. Returns for how many ticks nothing has begun or ended on the disk: it is quiet then, or it hangs. */
  onTick(): number {
    return this.#stillTicks++;
  }

  /** Nothing waits and nothing is under way. */
  get isIdle(): boolean {
    return !this.#isBusy && this.#waiting.length === 0;
  }

  /** Takes a write. One that only carries messages needs no disk, but not before what came before it. */
  submit(write: Write): void {
    if (this.#isStopped) return;
    if (this.isIdle && write.hardState === null && write.entries.length === 0) {
      this.#owner.onDurable(write.messages);
      return;
    }
    for (const { line } of write.entries) this.#pendingBytes += line.length;
    this.#waiting.push(write);
    if (!this.#isBusy) this.#writeNext();
  }

  /** Does something else with the storage, alone, as soon as no write waits. */
  whenIdle(job: (done: Done) => void, then: () => void): void {
    if (this.isIdle) {
      this.#run(job, then);
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

  #writeNext(): void {
    if (this.#waiting.length === 0) {
      const idle = this.#idle;
      this.#idle = null;
      idle?.();
      return;
    }
    const writes = this.#waiting;
    this.#waiting = [];
    this.#run((done) => this.#storage.append(writes, done), () => {
      for (const write of writes) {
        for (const { line } of write.entries) this.#pendingBytes -= line.length;
        this.#owner.onDurable(write.messages);
      }
    });
  }

  #run(job: (done: Done) => void, then: () => void): void {
    this.#isBusy = true;
    this.#stillTicks = 0;
    job((error) => {
      this.#isBusy = false;
      this.#stillTicks = 0;
      if (this.#isStopped) return;
      if (error !== null) {
        this.stop();
        this.#owner.onDiskError(error);
        return;
      }
      then();
      if (!this.#isBusy && !this.#isStopped) this.#writeNext();
    });
  }
}
