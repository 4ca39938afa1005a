/**
 * Exactly once (thesis 6.3). A client that got no answer sends its write again, with the same session and number; the
 * session remembers the answers it gave and gives the first one again instead of writing twice. All of this is state
 * that every node must hold alike, so its bounds count entries and characters, in the order of the log, never time.
 *
 * @module
 */

import type { Result, TxnOperationResult } from "./command.ts";
import type { SessionLine } from "./snapshot_lines.ts";

// These bounds decide what is remembered, so nodes with other ones would diverge: they are part of the state machine.

/** More sessions than this, and the one not used for the longest time, by the order of the log, expires. */
export const sessionsMax = 10_000;
/** A session keeps its answers to this many latest numbers. */
export const answersMax = 128;
/** A session whose answers hold more UTF-16 units of values than this forgets the oldest ones earlier. */
export const sessionUnitsMax = 2 << 20;
/** All sessions together; beyond, the one not used for the longest time expires. */
export const allSessionsUnitsMax = 32 << 20;

interface Session {
  readonly name: string;
  /** Every number up to here is too old: its answer was forgotten, or it never came. Only grows. */
  forgotten: number;
  /** Answers by number; all numbers are above `forgotten`. */
  readonly answers: Map<number, Result>;
  /** UTF-16 units of the values in `answers`, and as much for the rest of long answers. */
  units: number;
  /** How often all sessions had been frozen when this object was made: it may be in frozen lists made since. */
  readonly generation: number;
}

/** All sessions as they were at one moment. */
export interface FrozenSessions {
  readonly size: number;
  /** As `Sessions.lines` gave them at that moment. */
  lines(): Iterable<string>;
}

/** All open sessions. */
export class Sessions {
  /** By name, the one not used for the longest time first. */
  readonly #sessions = new Map<string, Session>();
  #units = 0;
  /** How often they were frozen. */
  #generation = 0;

  /** How many sessions are open. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Opens the session that the entry at `index` asks for, and returns its name. */
  open(index: number): string {
    const name = String(index);
    this.#add(name, 0);
    this.#expire();
    return name;
  }

  /** Runs a write unless the session has run its number before, in which case the first answer is given again. */
  once(name: string, seq: number, run: () => Result): Result {
    const session = this.#sessions.get(name);
    if (session === undefined) return { ok: false, code: "sessionExpired", session: name };
    this.#sessions.delete(name); // and in again as the latest used
    this.#sessions.set(name, session);
    if (seq <= session.forgotten) {
      return { ok: false, code: "seqTooOld", session: name, seq, oldest: session.forgotten + 1 };
    }
    const first = session.answers.get(seq);
    if (first !== undefined) return first;
    const answer = run();
    this.#remember(this.#toChange(session), seq, answer);
    this.#expire();
    return answer;
  }

  /** The first answer to this number, if the session still has it; null also when there is no such session. */
  answerTo(name: string, seq: number): Result | null {
    return this.#sessions.get(name)?.answers.get(seq) ?? null;
  }

  /** One line of JSON a session, the one not used for the longest time first; equal on nodes in equal states. */
  lines(): Iterable<string> {
    return linesOf(this.#sessions.values());
  }

  /** What they are now, whatever is done to them later. Copies none: one that changes later is copied then. */
  freeze(): FrozenSessions {
    this.#generation++;
    const sessions = [...this.#sessions.values()]; // 50 times as fast as a copy of the map
    return { size: sessions.length, lines: () => linesOf(sessions) };
  }

  /** Takes a session of a snapshot in as the latest used. Returns what is wrong with it, or null. */
  restore({ session: name, forgotten, answers }: SessionLine): string | null {
    if (this.#sessions.has(name)) return `session ${name} was there before`;
    const session = this.#add(name, forgotten);
    let last = forgotten;
    for (const [i, [seq, answer]] of answers.entries()) {
      if (seq <= last) return `answers[${i}][0] must be above ${last}`;
      if (seq > forgotten + answersMax) return `answers[${i}][0] is more than ${answersMax} above forgotten`;
      session.answers.set(seq, answer);
      this.#addUnits(session, unitsOf(answer));
      last = seq;
    }
    if (session.units > sessionUnitsMax && answers.length > 1) return `answers hold more than a session may`;
    if (this.#isTooMuch()) return `session ${name} is more than all sessions together may hold`;
    return null;
  }

  #add(name: string, forgotten: number): Session {
    const session: Session = { name, forgotten, answers: new Map(), units: 0, generation: this.#generation };
    this.#sessions.set(name, session);
    return session;
  }

  /** The session, or a copy in its place when a frozen list may hold it. */
  #toChange(session: Session): Session {
    if (session.generation === this.#generation) return session;
    const copy = { ...session, answers: new Map(session.answers), generation: this.#generation };
    this.#sessions.set(session.name, copy);
    return copy;
  }

  #remember(session: Session, seq: number, answer: Result): void {
    session.answers.set(seq, answer);
    this.#addUnits(session, unitsOf(answer));
    this.#forgetUpTo(session, seq - answersMax);
    while (session.units > sessionUnitsMax && session.answers.size > 1) {
      this.#forgetUpTo(session, session.forgotten + 1);
    }
  }

  #forgetUpTo(session: Session, end: number): void {
    if (end <= session.forgotten) return;
    // A client may leap ahead by any distance, so the way there is walked only when it is short.
    const isLeap = end - session.forgotten > answersMax;
    if (isLeap) {
      for (const seq of session.answers.keys()) if (seq <= end) this.#forget(session, seq);
    } else {
      for (let seq = session.forgotten + 1; seq <= end; seq++) this.#forget(session, seq);
    }
    session.forgotten = end;
  }

  #forget(session: Session, seq: number): void {
    const answer = session.answers.get(seq);
    if (answer === undefined) return;
    session.answers.delete(seq);
    this.#addUnits(session, -unitsOf(answer));
  }

  #addUnits(session: Session, units: number): void {
    session.units += units;
    this.#units += units;
  }

  #expire(): void {
    while (this.#isTooMuch()) {
      const session = this.#sessions.values().next().value!;
      this.#sessions.delete(session.name);
      this.#units -= session.units;
    }
  }

  #isTooMuch(): boolean {
    return this.#sessions.size > sessionsMax || this.#units > allSessionsUnitsMax;
  }
}

function* linesOf(sessions: Iterable<Session>): Generator<string> {
  for (const { name, forgotten, answers } of sessions) {
    const sorted = [...answers].sort(([a], [b]) => a - b);
    yield JSON.stringify({ session: name, forgotten, answers: sorted });
  }
}

/** What an answer holds beyond a few numbers. */
function unitsOf(answer: Result | TxnOperationResult): number {
  if ("previous" in answer && answer.previous) return answer.previous.value.length;
  if ("value" in answer) return answer.value?.length ?? 0;
  if ("results" in answer) return answer.results.reduce((sum, it) => sum + partUnits + unitsOf(it), 0);
  return 0;
}

/** Each part of a transaction's answer counts as a value of so many units, for the few numbers that it holds. */
const partUnits = 64;
