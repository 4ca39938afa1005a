/**
 * The real outside of a node: a folder on a disk, TCP, the system's monotonic clock and random numbers.
 *
 * @module
 */

import { denoNetwork, descriptorsMax } from "./deno_network.ts";
import type { Clock, Disk, Io } from "./io.ts";

export { FolderLocked, type OpenFolder, openFolder } from "./deno_folder.ts";
export { denoNetwork, descriptorsMax };

/**
 * Timers and monotonic time. `soon` is a microtask: data that several connections received in one round of the
 * event loop has all been delivered before it runs. A measured alternative, setImmediate, groups no more and is
 * several times slower in older runtimes.
 */
export function denoClock(): Clock {
  return {
    now: () => performance.now(),
    every: (ms, f) => {
      const timer = setInterval(f, ms);
      return { cancel: () => clearInterval(timer) };
    },
    after: (ms, f) => {
      const timer = setTimeout(f, ms);
      return { cancel: () => clearTimeout(timer) };
    },
    soon: queueMicrotask,
  };
}

/**
 * A random number from 0 to 1 with 53 bits from the system's cryptographic generator: nodes that start together differ,
 * and nobody can foresee the challenges that the nodes give each other (lib/server/handshake.ts).
 */
function random(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2)) as unknown as [number, number];
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}

/** All that a node needs, over the files of `disk`. Failed accepts are told to `onAcceptError`. */
export function denoIo(disk: Disk, onAcceptError?: (error: Error) => void): Io {
  return { disk, network: denoNetwork(onAcceptError), clock: denoClock(), random };
}
