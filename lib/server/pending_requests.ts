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
  /** What its session knows it by; null: it belongs to none. */
  name: string | null;
  onWritten: OnWritten;
  /** Of who sent it again. */
  joined: OnWritten[] | null;
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
  /** In the order of arrival, which is that of their indexes. */
  readonly #writes = new Queue<PendingWrite>();
  /** Those of sessions, by name. */
  readonly #numbered = new Map<string, PendingWrite>();
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

  /** How many requests wait. */
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
    const name = numbered === null ? null : nameOf(numbered);
    const write = { index, term, deadline: now + this.#timeoutMs, name, onWritten, joined: null };
    this.#writes.push(write);
    for (const write of replaced) this.#answer(write, null);
    if (name !== null) this.#numbered.set(name, write);
  }

  /**
   * The same write of a session waits already, and was proposed in this term: `onWritten` is told with it, not later than
   * it. Returns its index, or null.
   */
  joinWrite(numbered: Numbered, term: number, onWritten: OnWritten): number | null {
    const write = this.#numbered.get(nameOf(numbered));
    // What was proposed in a term before need not be in this leader's log.
    if (write === undefined || write.term !== term) return null;
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
      this.#answer(write, write.term === place.term && result !== null ? result : noLeader());
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
      this.#answer(first, null);
    }
  }

  /** Tells all who wait for a write; null: nobody knows. */
  #answer(write: PendingWrite, known: Result | RequestError | null): void {
    const { name, onWritten, joined } = write;
    if (name !== null && this.#numbered.get(name) === write) this.#numbered.delete(name);
    const outcome = known ?? outcomeUnknown(name !== null);
    onWritten(outcome);
    if (joined !== null) { for (const onWritten of joined) onWritten(outcome); }
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

function nameOf({ session, seq }: Numbered): string {
  return `${session} ${seq}`;
}
