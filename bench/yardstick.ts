/**
 * How fast this machine is at the moment, when others share it: whether a slow stretch of a long run is its own fault.
 *
 * @module
 */

import { quantile } from "./process_figures.ts";

/** Two pieces of work that are always the same. */
export interface Yardstick {
  /** Computing in one thread; the best of several, so that who else runs here hardly counts. */
  computeMilliseconds: number;
  /** Writing 512 bytes and an fsync; the median of several. */
  fsyncMilliseconds: number;
}

/** The longest that an event loop did not come around to a timer that ticks all the time. */
export class Stillness {
  #latest = performance.now();
  #longestMs = 0;

  /** The timer has come. */
  tick(): void {
    const now = performance.now();
    this.#longestMs = Math.max(this.#longestMs, now - this.#latest);
    this.#latest = now;
  }

  /** The longest time since the last call, in milliseconds. */
  take(): number {
    const longestMs = this.#longestMs;
    this.#longestMs = 0;
    return longestMs;
  }
}

const rounds = 9;
const block = new Uint8Array(512);

/** Takes some 10 ms. The file is written at its beginning and stays. */
export function measureMachine(file: string): Yardstick {
  const computing = Array.from({ length: rounds }, () => timed(compute));
  using disk = Deno.openSync(file, { write: true, create: true });
  const syncing = Array.from({ length: rounds }, () =>
    timed(() => {
      disk.seekSync(0, Deno.SeekMode.Start);
      disk.writeSync(block);
      disk.syncDataSync();
    }));
  return { computeMilliseconds: Math.min(...computing), fsyncMilliseconds: quantile(syncing, 0.5) };
}

/** The slowest moment of a run, as multiples of its median. */
export function describeSlowest(all: readonly Yardstick[]): string {
  const times = (of: (one: Yardstick) => number): string => {
    const samples = all.map(of);
    return (Math.max(...samples) / quantile(samples, 0.5)).toFixed(1);
  };
  return `this machine at its slowest: ${
    times((one) => one.computeMilliseconds)
  } times the median for the same ` +
    `computation, ${times((one) => one.fsyncMilliseconds)} times for an fsync`;
}

function timed(act: () => void): number {
  const began = performance.now();
  act();
  return performance.now() - began;
}

function compute(): void {
  let sum = 1;
  for (let i = 0; i < 300_000; i++) sum = (Math.imul(sum, 31) + i) | 0;
  block[0] = sum; // so that nothing of it can be left out
}
