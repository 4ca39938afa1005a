/**
 * Runs seeds in a thread of its own: a seed comes in, its outcome goes out.
 *
 * @module
 */

import { simulate } from "./simulation.ts";

interface Thread {
  onmessage: ((event: MessageEvent<number>) => void) | null;
  postMessage(message: unknown): void;
}

const thread = globalThis as unknown as Thread;
thread.onmessage = ({ data: seed }) => thread.postMessage(simulate(seed));
