/**
 * Work with a time limit that its caller may also abort. Timers and listeners are gone when it ends.
 *
 * @module
 */

import { ClientError } from "./errors.ts";
import { startTimeout } from "./timeouts.ts";

/** The reason of an abort by `within`. */
export class TimedOut extends Error {
  override readonly name = "TimedOut";
}

/**
 * Runs `work` with a signal that aborts after `ms` milliseconds with TimedOut and that `message`, or with `signal`, if
 * there is one, and its reason. That is what is thrown then, whatever the work made of it, unless it made it a
 * ClientError. Who has no signal gives none: listeners of one that thousands share are found by looking through them all.
 */
export async function within<T>(
  ms: number,
  message: string,
  signal: AbortSignal | undefined,
  work: (limit: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const limit = new AbortController();
  const forward = (): void => limit.abort(signal?.reason);
  signal?.addEventListener("abort", forward);
  const stop = startTimeout(ms, () => limit.abort(new TimedOut(message)));
  try {
    return await work(limit.signal);
  } catch (error) {
    throw limit.signal.aborted && !(error instanceof ClientError) ? limit.signal.reason : error;
  } finally {
    stop();
    signal?.removeEventListener("abort", forward);
  }
}

/** The promise's outcome, or the reason of `signal` as soon as it aborts. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Waits. Rejects with the reason of `signal` as soon as it aborts. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
}
