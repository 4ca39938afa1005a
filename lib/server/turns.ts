/**
 * Shares the turns of the event loop out among clients. One that has much to do goes on in the next turn, so that
 * timers, and with them heartbeats, other nodes and clients with little to do are never kept waiting by it.
 *
 * @module
 */

import type { Clock } from "../io/io.ts";

/** All clients together work so long in a turn: a small part of a heartbeat interval. */
const turnMsMax = 10;
/** However many there are, each gets this: enough for some requests, of one who sends few ... */
const workerMsMin = 0.1;
/** ... until a turn has lasted so long: then all that comes yet waits for the next one. */
const overtimeMsMax = 30;
/** Somebody who works looks at the clock each time he has asked so often: a look takes a hundredth of what a request does. */
const askedPerLook = 4;

/** Somebody whose work comes in parts. */
export interface Worker {
  /** Its last turn, how long it has worked in that, and until when it may do so at present. */
  turn: number;
  usedMs: number;
  worksUntil: number;
  /** Bytes of what it has to do. */
  readonly weight: number;
  /** Its next turn has come. */
  goOn(): void;
}

/** The turns. */
export class Turns {
  readonly #clock: Clock;
  #number = 0;
  /** The time when somebody last began or ended a part of his work, or looked at the clock. */
  now: number;
  /** How often it was asked whether somebody's time is over. */
  #asked = 0;
  #usedMs = 0;
  #turnMsMax = turnMsMax;
  /** Those whose time is over, in the order in which they go on. */
  readonly #waiting = new Set<Worker>();
  #isNextDue = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.now = clock.now();
  }

  /** Has a worker do a part of its work. It stops when it is over time; then its `goOn` is called in a later turn. */
  run(worker: Worker, work: () => void): void {
    if (worker.turn !== this.#number) worker.usedMs = 0;
    worker.turn = this.#number;
    const began = this.now = this.#clock.now();
    const count = this.#waiting.size + (this.#waiting.has(worker) ? 0 : 1);
    const share = this.#turnMsMax / count;
    const left = Math.min(share - worker.usedMs, this.#turnMsMax - this.#usedMs);
    const least = this.#usedMs < overtimeMsMax ? workerMsMin - worker.usedMs : 0;
    worker.worksUntil = began + Math.max(left, least);
    work();
    const ended = this.now = this.#clock.now();
    worker.usedMs += ended - began;
    this.#usedMs += ended - began;
    if (ended < worker.worksUntil) return;
    this.#waiting.add(worker);
    this.#scheduleNext();
  }

  /** Whether the time of a worker that runs is over, as far as that is known: after what may take long, call `look`. */
  isOver(worker: Worker): boolean {
    if (++this.#asked % askedPerLook === 0) this.look();
    return this.now >= worker.worksUntil;
  }

  /** Looks at the clock. */
  look(): void {
    this.now = this.#clock.now();
  }

  /** The event loop has come around. */
  begin(): void {
    this.#number++;
    this.#usedMs = 0;
    this.now = this.#clock.now();
  }

  /** From now on nobody has to wait, because there will be no later turn. */
  end(): void {
    this.#turnMsMax = Infinity;
  }

  #goOn(worker: Worker): void {
    this.#waiting.delete(worker);
    worker.goOn();
  }

  #scheduleNext(): void {
    if (this.#isNextDue) return;
    this.#isNextDue = true;
    this.#clock.after(0, () => this.#next());
  }

  #next(): void {
    this.#isNextDue = false;
    this.begin();
    // Those with little to do come first: they wait least and make others wait least. Who waits longest always goes on.
    const [longest] = this.#waiting;
    for (const worker of [...this.#waiting].sort((a, b) => a.weight - b.weight)) {
      if (this.#usedMs >= this.#turnMsMax) break;
      this.#goOn(worker);
    }
    if (longest !== undefined && this.#waiting.has(longest) && longest.turn !== this.#number) {
      this.#goOn(longest);
    }
    if (this.#waiting.size > 0) this.#scheduleNext();
  }
}
