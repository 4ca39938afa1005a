/**
 * How far explorations go: those of `deno task explore`, each of which ends by itself.
 *
 * @module
 */

import type { Budgets } from "./cluster.ts";

/** How far an exploration goes. */
export interface Bounds extends Budgets {
  /** No node enters a later term. */
  terms: number;
  /** No log gets longer; the founding entry, which all begin with, does not count. */
  entries: number;
  /** So many packets are on the way at most; of more, any may be lost. */
  packets: number;
  /** It stops when it has seen so many. */
  states: number;
}

/** What is not said otherwise: elections only, one message at a time. */
export const elections: Bounds = {
  terms: 3,
  entries: 3,
  packets: 1,
  timeouts: 3,
  heartbeats: 0,
  proposals: 0,
  crashes: 0,
  losses: 0,
  duplicates: 0,
  states: 10_000_000,
};

/** What is explored when nothing is asked for in particular. */
export const scopes: Record<string, Bounds> = {
  "long logs": { ...elections, proposals: 3 },
  "crashes": { ...elections, proposals: 1, crashes: 1 },
  "a bad network": { ...elections, proposals: 1, losses: 1, duplicates: 1 },
  "all faults": { ...elections, timeouts: 2, proposals: 1, crashes: 1, losses: 1, duplicates: 1 },
  "two in flight": { ...elections, packets: 2, timeouts: 2, heartbeats: 1 },
};
