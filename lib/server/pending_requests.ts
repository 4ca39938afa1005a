/**
 * Requests that wait for the cluster: writes until their entry is applied, reads until a read index is. A write is
 * known by index and term: if another term's entry is applied at its index, the write was replaced and never happened.
 * A read looks at the store between two entries, as soon as it may: after the writes before it on its connection.
 *
 * @module
 */

import type { Result } from "../kv/command.ts";
import { noLeader, outcomeUnknown, type RequestError } from "../protocol/errors.ts";
import type { Trace } from "./trace.ts";

/** Told once what became of a write. */
export type OnWritten = (outcome: Result | RequestError) => void;

/** Told once that a read may look at the store now, or why not. */
export type OnReadable = (error: RequestError | null) => void;

interface PendingWrite {
  term: number;
  deadline: number;
  hasSession: boolean;
  onWritten: OnWritten;
}

interface PendingRead {
  deadline: number;
  /** Index of the last write before it on its connection. */
  afterIndex: number;
  trace: Trace | null;
  onReadable: OnReadable;
}

/** What waits. Deadlines lie in the order of arrival, because every request waits equally long. */
export class PendingRequests {
  readonly #timeoutMs: number;
  /** By index, in the order of arrival. */
  readonly #writes = new Map<number, PendingWrite>();
  /** Not yet asked for. */
  #newReads: PendingRead[] = [];
  /** Asked for, by the number of the attempt. */
  readonly #askedReads = new Map<number, PendingRead[]>();
  /** Confirmed, by the index that must be applied before they look. */
  readonly #dueReads = new Map<number, PendingRead[]>();
  #appliedIndex = 0;
  #lastAttempt = 0;
  /** Of the latest write. */
  #lastTerm = 0;
  /** That term, while writes of it come faster than they are finished, as of the last time it was looked; else 0. */
  #behindTerm = 0;

  /** A request is given up `timeoutMs` after it came. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** How many requests wait. */
  get size(): number {
    let size = this.#writes.size + this.#newReads.length;
    for (const reads of this.#askedReads.values()) size += reads.length;
    for (const reads of this.#dueReads.values()) size += reads.length;
    return size;
  }

  /**
   * Writes of this term come faster than they are finished: the oldest has waited half of its time. One more would wait
   * longer, and be given up when its turn comes; who sends them again and again would keep the node busy with writes
   * nobody waits for. Those of a term before may never be finished, and say nothing.
   */
  isBehind(term: number): boolean {
    return this.#behindTerm === term;
  }

  /** A write was proposed and got its place in the log. */
  addWrite(
    place: { index: number; term: number },
    now: number,
    hasSession: boolean,
    onWritten: OnWritten,
  ): void {
    // An older write at the same index lost its place here; whether another node still has it, nobody can say yet.
    const replaced = this.#writes.get(place.index);
    this.#writes.delete(place.index);
    this.#lastTerm = place.term;
    this.#writes.set(place.index, {
      term: place.term,
      deadline: now + this.#timeoutMs,
      hasSession,
      onWritten,
    });
    replaced?.onWritten(outcomeUnknown(replaced.hasSession));
  }

  /**
   * An entry was applied: the write that waits for this place happened, or was replaced by another one. Then the reads
   * look that this entry was missing for, before the next one is applied.
   */
  onApplied(place: { index: number; term: number }, result: Result | null): void {
    this.#appliedIndex = place.index;
    const write = this.#writes.get(place.index);
    if (write !== undefined) {
      this.#writes.delete(place.index);
      write.onWritten(write.term === place.term && result !== null ? result : noLeader());
    }
    const reads = this.#dueReads.get(place.index);
    if (reads === undefined) return;
    this.#dueReads.delete(place.index);
    for (const read of reads) read.onReadable(null);
  }

  /** The store holds everything up to `index` at once; what became of the writes in between, it does not tell. */
  onInstalled(index: number): void {
    this.#appliedIndex = index;
    for (const [at, write] of this.#writes) {
      if (at > index) continue;
      this.#writes.delete(at);
      write.onWritten(outcomeUnknown(write.hasSession));
    }
    for (const [at, reads] of this.#dueReads) {
      if (at > index) continue;
      this.#dueReads.delete(at);
      for (const read of reads) read.onReadable(null);
    }
  }

  /** A read came, behind the write at `afterIndex`. It is asked for with all that came since the last time. */
  addRead(
    now: number,
    { afterIndex, trace = null }: { afterIndex: number; trace?: Trace | null },
    onReadable: OnReadable,
  ): void {
    this.#newReads.push({ deadline: now + this.#timeoutMs, afterIndex, trace, onReadable });
  }

  /** Hands the new reads to `ask` under one number. When it knows no leader they stay for the next time. */
  askReads(ask: (attempt: number) => boolean): void {
    if (this.#newReads.length === 0) return;
    const attempt = ++this.#lastAttempt;
    if (!ask(attempt)) return;
    for (const { trace } of this.#newReads) trace?.mark("asked");
    this.#askedReads.set(attempt, this.#newReads);
    this.#newReads = [];
  }

  /** An attempt was confirmed, or cancelled (null): then its reads are new again, for a fresh attempt. */
  onReadResult(attempt: number, readIndex: number | null): void {
    const reads = this.#askedReads.get(attempt);
    if (reads === undefined) return;
    this.#askedReads.delete(attempt);
    if (readIndex === null) {
      this.#newReads = [...reads, ...this.#newReads];
      return;
    }
    for (const read of reads) {
      read.trace?.mark("confirmed");
      const dueIndex = Math.max(readIndex, read.afterIndex);
      const others = this.#dueReads.get(dueIndex);
      if (dueIndex <= this.#appliedIndex) read.onReadable(null);
      else if (others !== undefined) others.push(read);
      else this.#dueReads.set(dueIndex, [read]);
    }
  }

  /** Gives up what has waited too long, and sees whether there will be more of that. */
  expire(now: number): void {
    for (const [index, write] of this.#writes) {
      if (write.deadline > now) break;
      this.#writes.delete(index);
      write.onWritten(outcomeUnknown(write.hasSession));
    }
    this.#lookBehind(now);
    const expired: PendingRead[] = [];
    const keep = (reads: PendingRead[]) => {
      if (!reads.some((read) => read.deadline <= now)) return reads;
      expired.push(...reads.filter((read) => read.deadline <= now));
      return reads.filter((read) => read.deadline > now);
    };
    this.#newReads = keep(this.#newReads);
    for (const [attempt, reads] of this.#askedReads) this.#askedReads.set(attempt, keep(reads));
    for (const [index, reads] of this.#dueReads) this.#dueReads.set(index, keep(reads));
    for (const read of expired) read.onReadable(noLeader());
  }

  #lookBehind(now: number): void {
    this.#behindTerm = 0;
    for (const { term, deadline } of this.#writes.values()) {
      if (term !== this.#lastTerm) continue;
      if (deadline - now < this.#timeoutMs / 2) this.#behindTerm = term;
      return;
    }
  }
}
