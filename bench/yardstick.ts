/**
 * How fast this machine is at the moment, when others share it: whether a slow stretch of a long run is its own fault.
 *
 * @module
 */

import { sleep } from "../lib/client/deadline.ts";
import { quantile } from "./process_figures.ts";

/** Two pieces of work that are always the same. */
export interface Yardstick {
  /** Computing in one thread; the best of several, so that who else runs here hardly counts. */
  computeMilliseconds: number;
  /** Writing 512 bytes and an fsync: the median and the longest since the last time. */
  fsyncMilliseconds: number;
  longestFsyncMilliseconds: number;
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

const computeRounds = 9, fsyncEveryMs = 100;
const block = new Uint8Array(512);

/** Measures the machine beside all that runs on it. Its fsyncs take turns with a pause, from its making to `close`. */
export class Machine {
  readonly #file: Deno.FsFile;
  readonly #closing = new AbortController();
  readonly #syncing: Promise<void>;
  #fsyncs: number[] = [];
  /** When the fsync began that is under way. */
  #beganAt: number | null = null;

  /** The file is written at its beginning and stays. */
  constructor(path: string) {
    this.#file = Deno.openSync(path, { write: true, create: true });
    this.#syncing = this.#sync();
  }

  /** How fast it was since the last time. Computes for some milliseconds. */
  take(): Yardstick {
    const computing = Array.from({ length: computeRounds }, () => timed(compute));
    const underWay = this.#beganAt === null ? 0 : performance.now() - this.#beganAt;
    const fsyncs = this.#fsyncs.length > 0 ? this.#fsyncs : [underWay];
    this.#fsyncs = [];
    return {
      computeMilliseconds: Math.min(...computing),
      fsyncMilliseconds: quantile(fsyncs, 0.5),
      longestFsyncMilliseconds: Math.max(underWay, ...fsyncs),
    };
  }

  /** Waits for the fsync that is under way. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#syncing;
    this.#file.close();
  }

  async #sync(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      this.#beganAt = performance.now();
      this.#file.seekSync(0, Deno.SeekMode.Start);
      this.#file.writeSync(block);
      await this.#file.syncData();
      this.#fsyncs.push(performance.now() - this.#beganAt);
      this.#beganAt = null;
      await sleep(fsyncEveryMs, signal).catch(() => null); // null: it is closed
    }
  }
}

/** The slowest moment of a run, as multiples of its median, and the longest fsync. */
export function describeSlowest(all: readonly Yardstick[]): string {
  const times = (of: (one: Yardstick) => number): string => {
    const samples = all.map(of);
    return (Math.max(...samples) / quantile(samples, 0.5)).toFixed(1);
  };
  const longest = Math.max(...all.map(({ longestFsyncMilliseconds }) => longestFsyncMilliseconds));
  return `this machine at its slowest: ${times((one) => one.computeMilliseconds)} times the median for the ` +
    `same computation, ${times((one) => one.fsyncMilliseconds)} times for an fsync; the longest fsync took ` +
    `${longest.toFixed(0)} ms`;
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
