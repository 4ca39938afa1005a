/**
 * Many seeds on several threads.
 *
 * @module
 */

import type { Outcome } from "./simulation.ts";

/** Which seeds, and how. */
export interface Batch {
  seeds: readonly number[];
  /** Threads. */
  jobs: number;
  /** Begin no more seeds after the first failure. */
  stopAtFailure: boolean;
  /** Called with each outcome as it comes. */
  onOutcome(outcome: Outcome): void;
}

/** Runs a batch to its end. */
export async function runBatch({ seeds, jobs, stopAtFailure, onOutcome }: Batch): Promise<void> {
  const left = [...seeds].reverse();
  const thread = async (): Promise<void> => {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    try {
      while (left.length > 0) {
        const outcome = await ask(worker, left.pop()!);
        if (outcome.failure !== null && stopAtFailure) left.length = 0;
        onOutcome(outcome);
      }
    } finally {
      worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs, seeds.length) }, thread));
}

function ask(worker: Worker, seed: number): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Outcome>) => resolve(data);
    worker.onerror = (event) =>
      reject(new Error(`the simulator itself broke at seed ${seed}: ${event.message}`));
    worker.postMessage(seed);
  });
}

/** Adds up the counters of many seeds; those that name a greatest value keep it. */
export function addCounters(total: Record<string, number>, counters: Record<string, number>): void {
  for (const [name, value] of Object.entries(counters)) {
    total[name] = name.startsWith("slowest") ? Math.max(total[name] ?? 0, value) : (total[name] ?? 0) + value;
  }
}
