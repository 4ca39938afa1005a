/**
 * Requests that wait for the cluster: writes until their entry is applied, reads until a read index is. A write is
 * known by index and term: if another term's entry is applied at its index, the write was replaced and never happened.
 * A read looks at the store between two entries, as soon as it may: after the writes before it on its connection.
 *
 * @module
 */

import type { Numbered, Result } from "../kv/command.ts";
import { noLeader, outcomeUnknown, type RequestError } from "../protocol/errors.ts";
import { Queue } from "../queue.ts";
import type { Trace } from "./trace.ts";

/** Told once what became of a write. */
export type OnWritten = (outcome: Result | RequestError) => void;

/** Told once that a read may look at the store now, or why not. */
export type OnReadable = (error: RequestError | null) => void;

interface PendingWrite {
  index: number;
  term: number;
  deadline: number;
  /** null: it belongs to no session. */
  numbered: Numbered | null;
  onWritten: OnWritten;
  /** Those who sent the same again and wait with it; null: nobody did. */
  joined: OnWritten[] | null;
}

interface PendingRead {
  deadline: number;
  /** Index of the last write before it on its connection. */
  afterIndex: number;
  trace: Trace | null;
  onReadable: OnReadable;
}

/** So many latest writes of sessions can be found by their number, but for those that others took the place of. */
const foundMax = 1 << 14;

/** What waits. Deadlines lie in the order of arrival, because all wait equally long; but who joins one, only as long as that. */
export class PendingRequests {
  readonly #timeoutMs: number;
  /** In the order of arrival, which is that of their indexes. */
  readonly #writes = new Queue<PendingWrite>();
  /**
   * The index that a session's write got, at a place that its number says. A Map would never come to rest (queue.ts); here
   * a write may lose its place to another one, and is then not found.
   */
  readonly #indexes = new Float64Array(foundMax);
  /** Not yet asked for. */
  #newReads: PendingRead[] = [];
  /** Asked for, in the order of the attempts. */
  readonly #askedReads: { attempt: number; reads: PendingRead[] }[] = [];
  /** Confirmed, in the order of the indexes that must be applied before they look. */
  readonly #dueReads: { index: number; reads: PendingRead[] }[] = [];
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

  /** How many requests wait; those who wait with another one's write aside. */
  get size(): number {
    let size = this.#writes.size + this.#newReads.length;
    for (const { reads } of [...this.#askedReads, ...this.#dueReads]) size += reads.length;
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
    { now, numbered }: { now: number; numbered: Numbered | null },
    onWritten: OnWritten,
  ): void {
    // Older writes from here on lost their place; whether another node still has them, nobody can say yet.
    const replaced: PendingWrite[] = [];
    while ((this.#writes.last?.index ?? 0) >= place.index) replaced.push(this.#writes.pop()!);
    this.#lastTerm = place.term;
    const { index, term } = place;
    if (numbered !== null) this.#indexes[placeOf(numbered)] = index;
    const deadline = now + this.#timeoutMs;
    this.#writes.push({ index, term, deadline, numbered, onWritten, joined: null });
    for (const write of replaced) answer(write, null);
  }

  /**
   * If the same write of a session waits already, and was proposed in this term, `onWritten` is told what it is told, when
   * its time is over at the latest. Returns its index; null: none is found.
   */
  joinWrite(numbered: Numbered, term: number, onWritten: OnWritten): number | null {
    const write = this.#writeAt(this.#indexes[placeOf(numbered)]!);
    const isIt = write?.numbered?.session === numbered.session && write.numbered.seq === numbered.seq;
    // What was proposed in a term before need not be in this leader's log.
    if (!isIt || write.term !== term) return null;
    (write.joined ??= []).push(onWritten);
    return write.index;
  }

  /**
   * An entry was applied: the write that waits for this place happened, or was replaced by another one. Then the reads
   * look that this entry was missing for, before the next one is applied.
   */
  onApplied(place: { index: number; term: number }, result: Result | null): void {
    this.#appliedIndex = place.index;
    const write = this.#writes.first;
    if (write !== undefined && write.index === place.index) {
      this.#writes.shift();
      answer(write, write.term === place.term && result !== null ? result : noLeader());
    }
    this.#answerDueReads();
  }

  /** The store holds everything up to `index` at once; what became of the writes in between, it does not tell. */
  onInstalled(index: number): void {
    this.#appliedIndex = index;
    this.#giveUpWhile((write) => write.index <= index);
    this.#answerDueReads();
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
    this.#askedReads.push({ attempt, reads: this.#newReads });
    this.#newReads = [];
  }

  /** An attempt was confirmed, or cancelled (null): then its reads are new again, for a fresh attempt. */
  onReadResult(attempt: number, readIndex: number | null): void {
    const at = this.#askedReads.findIndex((asked) => asked.attempt === attempt);
    if (at < 0) return;
    const [asked] = this.#askedReads.splice(at, 1);
    const { reads } = asked!;
    if (readIndex === null) {
      this.#newReads = [...reads, ...this.#newReads];
      return;
    }
    for (const read of reads) {
      read.trace?.mark("confirmed");
      const dueIndex = Math.max(readIndex, read.afterIndex);
      if (dueIndex <= this.#appliedIndex) read.onReadable(null);
      else this.#addDue(dueIndex, read);
    }
  }

  #addDue(index: number, read: PendingRead): void {
    const before = this.#dueReads.findLastIndex((due) => due.index <= index); // most often the last one
    const last = this.#dueReads[before];
    if (last?.index === index) last.reads.push(read);
    else this.#dueReads.splice(before + 1, 0, { index, reads: [read] });
  }

  #answerDueReads(): void {
    while (this.#dueReads.length > 0 && this.#dueReads[0]!.index <= this.#appliedIndex) {
      for (const read of this.#dueReads.shift()!.reads) read.onReadable(null);
    }
  }

  /** Gives up what has waited too long, and sees whether there will be more of that. */
  expire(now: number): void {
    this.#giveUpWhile((write) => write.deadline <= now);
    this.#lookBehind(now);
    const expired: PendingRead[] = [];
    const keep = (reads: PendingRead[]) => {
      if (!reads.some((read) => read.deadline <= now)) return reads;
      expired.push(...reads.filter((read) => read.deadline <= now));
      return reads.filter((read) => read.deadline > now);
    };
    this.#newReads = keep(this.#newReads);
    for (const group of [...this.#askedReads, ...this.#dueReads]) group.reads = keep(group.reads);
    for (const read of expired) read.onReadable(noLeader());
  }

  /** Gives up the oldest writes. */
  #giveUpWhile(isGivenUp: (write: PendingWrite) => boolean): void {
    while (true) {
      const { first } = this.#writes;
      if (first === undefined || !isGivenUp(first)) return;
      this.#writes.shift();
      answer(first, null);
    }
  }

  #writeAt(index: number): PendingWrite | undefined {
    let [low, high] = [0, this.#writes.size];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#writes.at(middle)!.index < index) low = middle + 1;
      else high = middle;
    }
    return this.#writes.at(low);
  }

  #lookBehind(now: number): void {
    this.#behindTerm = 0;
    for (const { term, deadline } of this.#writes) {
      if (term !== this.#lastTerm) continue;
      if (deadline - now < this.#timeoutMs / 2) this.#behindTerm = term;
      return;
    }
  }
}

/** Tells all who wait for a write what became of it; null: nobody knows. */
function answer({ numbered, onWritten, joined }: PendingWrite, known: Result | RequestError | null): void {
  const outcome = known ?? outcomeUnknown(numbered !== null);
  onWritten(outcome);
  if (joined !== null) { for (const onWritten of joined) onWritten(outcome); }
}

/** A session's numbers lie side by side, and those of different sessions anywhere. */
function placeOf({ session, seq }: Numbered): number {
  return ((Math.imul(Number(session), 0x9e3779b1) >>> 8) + seq) & (foundMax - 1);
}
