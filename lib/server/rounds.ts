/**
 * The node's rounds of work: one for all that has happened since the last. A round that leaves something to the next
 * one lets sockets and timers have their turn in between, however many others there are meanwhile.
 *
 * @module
 */

import type { Clock } from "../io/io.ts";

/** When the next round is. */
export class Rounds {
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #work: () => boolean;
  #isDue = false;
  /** One is due once others have had their turn. */
  #isContinued = false;

  /** A round begins `delayMs` milliseconds after it is wanted. `work` returns whether it left something to the next one. */
  constructor(clock: Clock, delayMs: number, work: () => boolean) {
    this.#clock = clock;
    this.#delayMs = delayMs;
    this.#work = work;
  }

  /** Something has happened. */
  wake(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    if (this.#delayMs === 0) this.#clock.soon(() => this.#run());
    else this.#clock.after(this.#delayMs, () => this.#run());
  }

  #run(): void {
    this.#isDue = false;
    if (!this.#work() || this.#isContinued) return;
    this.#isContinued = true;
    this.#clock.after(0, () => {
      this.#isContinued = false;
      this.wake();
    });
  }
}
