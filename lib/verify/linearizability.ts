/**
 * Whether the operations on one key can be put into one order that explains every answer and keeps to real time: what
 * returned before another one was called comes before it (Herlihy and Wing 1990). The search is that of Wing and Gong
 * (1993) with Lowe's memory of what was tried (2017): it takes the first pending operation that fits, and the next
 * one, and goes back when an operation had to be over and is not; no set of taken operations is tried twice with the
 * same value of the key.
 *
 * @module
 */

import type { Operation } from "./operation.ts";
import { type Register, step } from "./register.ts";

/** What is known of a history of one key. */
export type Verdict =
  | { linearizable: true; order: Operation[] }
  | {
    linearizable: false;
    /** The longest order that was found. */
    order: Operation[];
    /** The value behind that. */
    state: Register;
    /** What could not come next, though its time was over. */
    stuck: Operation;
  }
  /** The search was given up. */
  | { linearizable: "unknown" };

/** A call or a return in a list of both by time; a return knows nothing but its call. */
interface Event {
  operation: Operation;
  /** Position among the operations. */
  id: number;
  /** Of a call: its return. Of a return: null. */
  end: Event | null;
  previous: Event | null;
  next: Event | null;
}

/** Searches for an order. Gives up after `stepsMax` attempts to take an operation. */
export function checkRegister(operations: readonly Operation[], stepsMax = 20_000_000): Verdict {
  const known = operations.filter((operation) => operation.op !== "get" || operation.return !== null);
  const head = listOf(known);
  const taken = new Set32(known.length);
  const tried = new Tried();
  const path: { call: Event; before: Register }[] = [];
  let longest: Operation[] = [], longestState: Register = null, stuck: Operation | null = null;
  let state: Register = null;
  // Operations without a known end need not happen: it is enough when all others are in the order.
  let open = known.filter((operation) => operation.return !== null).length;
  let steps = 0;
  let event = head.next;
  while (open > 0) {
    if (++steps > stepsMax) return { linearizable: "unknown" };
    if (event !== null && event.end !== null) {
      const after = step(state, event.operation);
      taken.add(event.id);
      if (after !== undefined && tried.add(taken, after)) {
        path.push({ call: event, before: state });
        state = after;
        if (event.operation.return !== null) open--;
        lift(event);
        event = head.next;
        continue;
      }
      taken.delete(event.id);
      event = event.next;
      continue;
    }
    // This operation is over and nothing that is taken before it helps; or there is nothing left to try.
    const isOver = event !== null && event.operation.return !== null;
    if (isOver && (stuck === null || path.length > longest.length)) {
      longest = path.map(({ call }) => call.operation);
      longestState = state;
      stuck = event!.operation;
    }
    const last = path.pop();
    if (last === undefined) {
      return { linearizable: false, order: longest, state: longestState, stuck: stuck ?? known[0]! };
    }
    state = last.before;
    taken.delete(last.call.id);
    if (last.call.operation.return !== null) open++;
    unlift(last.call);
    event = last.call.next;
  }
  return { linearizable: true, order: path.map(({ call }) => call.operation) };
}

/** All calls and returns by time, behind a head. Of two at one time the call comes first: they overlapped. */
function listOf(operations: readonly Operation[]): Event {
  const timed: { event: Event; at: number; isReturn: boolean }[] = [];
  for (const [id, operation] of operations.entries()) {
    const end: Event = { operation, id, end: null, previous: null, next: null };
    timed.push({ event: { ...end, end }, at: operation.call, isReturn: false });
    timed.push({ event: end, at: operation.return ?? Infinity, isReturn: true });
  }
  timed.sort((a, b) => a.at === b.at ? Number(a.isReturn) - Number(b.isReturn) : a.at - b.at);
  const head: Event = { operation: operations[0]!, id: -1, end: null, previous: null, next: null };
  let last = head;
  for (const { event } of timed) {
    event.previous = last;
    last.next = event;
    last = event;
  }
  return head;
}

/** Takes a call and its return out of the list. */
function lift(call: Event): void {
  for (const event of [call, call.end!]) {
    event.previous!.next = event.next;
    if (event.next !== null) event.next.previous = event.previous;
  }
}

/** Puts them back where they were. */
function unlift(call: Event): void {
  for (const event of [call.end!, call]) {
    event.previous!.next = event;
    if (event.next !== null) event.next.previous = event;
  }
}

/** A set of small numbers, with a hash that changes with it. */
class Set32 {
  readonly words: Uint32Array;
  hash = 0;

  constructor(size: number) {
    this.words = new Uint32Array((size + 31) >> 5);
  }

  add(id: number): void {
    this.words[id >> 5]! |= 1 << (id & 31);
    this.hash ^= scatter(id);
  }

  delete(id: number): void {
    this.words[id >> 5]! &= ~(1 << (id & 31));
    this.hash ^= scatter(id);
  }
}

/** Numbers that are near each other, far from each other. */
function scatter(id: number): number {
  let hash = Math.imul(id + 1, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) | 0;
}

/** The combinations of taken operations and value that were tried. Compared whole: a hash alone could be wrong. */
class Tried {
  readonly #byHash = new Map<number, { words: Uint32Array; state: Register }[]>();

  /** False: it was there before. */
  add({ words, hash }: Set32, state: Register): boolean {
    const known = this.#byHash.get(hash);
    if (known === undefined) this.#byHash.set(hash, [{ words: words.slice(), state }]);
    else if (known.some((other) => other.state === state && areSame(other.words, words))) return false;
    else known.push({ words: words.slice(), state });
    return true;
  }
}

function areSame(a: Uint32Array, b: Uint32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
