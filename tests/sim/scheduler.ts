/**
 * Simulated time: one queue of events, ordered by time and then by age. Nothing in the simulation happens but
 * here, one event after another, so the same seed gives the same history, event for event.
 *
 * @module
 */

import type { Random } from "./random.ts";

/** Something that will happen. */
export interface Event {
  /** Microseconds. */
  time: number;
  /** Among events of one time, the lower goes first. */
  order: number;
  /** The run of a process that handles it, or null for what happens outside of processes: wires, faults. */
  owner: Life | null;
  /** For the trace. */
  what: string;
  /** null: cancelled. */
  run: (() => void) | null;
  /** Among what a pause holds up, the lower goes first, however often a new pause holds it up again. */
  heldOrder?: number;
}

/** One run of a process, from its start to its crash. Its events die with it. */
export class Life {
  alive = true;
  paused = false;
  /** What came while it was paused. */
  held: Event[] = [];
  /** Order of the last event of the queue that was held before; what is delivered must not overtake it. */
  lastHeldOrder = 0;

  constructor(readonly name: string) {}
}

/** The queue. Public times are in milliseconds. */
export class Scheduler {
  /** Microseconds; an integer. */
  #now = 0;
  #heap: Event[] = [];
  #nextOrder = 1;
  #nextHeldOrder = 1;
  #currentOrder = 0;
  #random: Random;
  /** Delays are rounded up to multiples of this many microseconds, so that many events fall on one moment. */
  #grain: number;

  constructor(random: Random, options: { grainMicroseconds: number }) {
    this.#random = random;
    this.#grain = options.grainMicroseconds;
  }

  /** The time. */
  get now(): number {
    return this.#now / 1000;
  }

  /** Runs `run` after `delayMs`, for `owner`. */
  schedule(delayMs: number, owner: Life | null, what: string, run: () => void): Event {
    const delay = Math.ceil(delayMs * 1000 / this.#grain) * this.#grain;
    return this.#add({ time: this.#now + delay, order: this.#nextOrder++, owner, what, run });
  }

  /**
   * Runs `run` now, but behind a random number of the events that are ready, as a real loop does: some input has
   * been read when its turn comes, some has not.
   */
  soon(owner: Life, what: string, run: () => void): void {
    const behind = this.#random.chance(0.4) ? 0 : this.#random.next();
    // A fraction: between two events of the queue, never equal to one.
    const order = this.#currentOrder + 0.5 + behind * (this.#nextOrder - this.#currentOrder);
    this.#add({ time: this.#now, order, owner, what, run });
  }

  /** The event will not happen. */
  cancel(event: Event): void {
    event.run = null;
  }

  /** The next event that has somebody to handle it; time has moved to it. null: nothing will ever happen again. */
  next(): Event | null {
    for (let event = this.#pop(); event !== null; event = this.#pop()) {
      if (event.run === null || event.owner?.alive === false) continue;
      if (event.owner?.paused) {
        event.heldOrder ??= this.#nextHeldOrder++;
        event.owner.held.push(event);
        continue;
      }
      this.#now = event.time;
      this.#currentOrder = event.order;
      return event;
    }
    return null;
  }

  /** Runs `run` at once if `life` can, later if it is paused, never if it is dead. */
  deliver(life: Life, what: string, run: () => void): void {
    if (!life.alive) return;
    const heldOrder = this.#nextHeldOrder++;
    const event = { time: this.#now, order: 0, owner: life, what, run, heldOrder };
    if (life.paused) life.held.push(event);
    else if (life.lastHeldOrder > this.#currentOrder) this.#addHeld(life, event);
    else run();
  }

  /** Ends a pause: all that was held happens now, in its order. */
  resume(life: Life): void {
    life.paused = false;
    const held = life.held.sort((a, b) => a.heldOrder! - b.heldOrder!);
    life.held = [];
    for (const event of held) this.#addHeld(life, event);
  }

  #addHeld(life: Life, event: Event): void {
    event.time = this.#now;
    event.order = life.lastHeldOrder = this.#nextOrder++;
    this.#add(event);
  }

  #add(event: Event): Event {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(heap[parent]!, event)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
    return event;
  }

  #pop(): Event | null {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined) return null;
    if (heap.length === 0) return first;
    let at = 0;
    while (true) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (isBefore(last, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.time !== b.time ? a.time < b.time : a.order < b.order;
}
