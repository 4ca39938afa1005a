/**
 * Exactly once (thesis 6.3). A client that got no answer sends its write again, with the same session and number; the
 * session remembers the answers it gave and gives the first one again instead of writing twice. All of this is state
 * that every node must hold alike, so its bounds count entries and characters, in the order of the log, never time.
 *
 * @module
 */

import type { Result, TxnOperationResult } from "./command.ts";

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
  /** Every number up to here is too old: its answer was forgotten, or it never came. Only grows. */
  forgotten: number;
  /** Answers by number; all numbers are above `forgotten`. */
  readonly answers: Map<number, Result>;
  /** UTF-16 units of the values in `answers`, and as much for the rest of long answers. */
  units: number;
}

/** All open sessions. */
export class Sessions {
  /** By name, the one not used for the longest time first. */
  readonly #sessions = new Map<string, Session>();
  #units = 0;

  /** How many sessions are open. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Opens the session that the entry at `index` asks for, and returns its name. */
  open(index: number): string {
    const name = String(index);
    this.#sessions.set(name, { forgotten: 0, answers: new Map(), units: 0 });
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
    this.#remember(session, seq, answer);
    this.#expire();
    return answer;
  }

  /** One line of JSON a session, the one not used for the longest time first; equal on nodes in equal states. */
  *lines(): Generator<string> {
    for (const [session, { forgotten, answers }] of this.#sessions) {
      const sorted = [...answers].sort(([a], [b]) => a - b);
      yield JSON.stringify({ session, forgotten, answers: sorted });
    }
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
    while (this.#sessions.size > sessionsMax || this.#units > allSessionsUnitsMax) {
      const [name, session] = this.#sessions.entries().next().value!;
      this.#sessions.delete(name);
      this.#units -= session.units;
    }
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
