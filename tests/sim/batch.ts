/**
 * Many seeds on several threads.
 *
 * @module
 */

import type { Outcome } from "./simulation.ts";

/** Which seeds, and how. */
export interface Batch {
  first: number;
  count: number;
  /** Threads. */
  jobs: number;
  /** Begin no more seeds after the first failure. */
  stopAtFailure: boolean;
  /** Called with each outcome as it comes. */
  onOutcome(outcome: Outcome): void;
}

/** Runs a batch to its end. */
export async function runBatch({ first, count, jobs, stopAtFailure, onOutcome }: Batch): Promise<void> {
  let next = first;
  const end = first + count;
  const thread = async (): Promise<void> => {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    try {
      while (next < end) {
        const outcome = await ask(worker, next++);
        if (outcome.failure !== null && stopAtFailure) next = end;
        onOutcome(outcome);
      }
    } finally {
      worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs, count) }, thread));
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
