/**
 * The keys as they were at some moments, for those who read them in parts: the pages of a list, and watches that begin
 * anew. A frozen state costs nothing when it is made, but keeps what is replaced later in memory; so they are few,
 * and go when nobody used them for a while, or when too much was replaced since.
 *
 * @module
 */

import type { FrozenKeys } from "../kv/keys.ts";
import type { StateMachine } from "./state_machine.ts";

/** A state that may be taken away. */
export interface FrozenState {
  /** Of the last entry that it reflects. */
  readonly index: number;
  /** null: it was taken away. */
  keys: FrozenKeys | null;
  usedAt: number;
  /** So much had been applied when it was made. */
  readonly appliedBytes: number;
}

/** So many are kept. */
export const frozenStatesMax = 64;
/** One that nobody used for so long goes ... */
const idleMs = 60_000;
/** ... and so do those since which so much was applied: what was replaced by it is held in memory by them. */
export const replacedBytesMax = 128 << 20;

/** All frozen states, oldest first. */
export class FrozenStates {
  readonly #states: FrozenState[] = [];

  /** How many there are. */
  get size(): number {
    return this.#states.length;
  }

  /** The state now. Shared by all that ask before it changes. */
  take({ store, appliedIndex, appliedBytes }: StateMachine, now: number): FrozenState {
    const newest = this.#states.at(-1);
    if (newest?.index === appliedIndex) {
      newest.usedAt = now;
      return newest;
    }
    if (this.#states.length === frozenStatesMax) {
      const usedAt = Math.min(...this.#states.map((state) => state.usedAt));
      this.#drop((state) => state.usedAt === usedAt);
    }
    const state = { index: appliedIndex, keys: store.freezeKeys(), usedAt: now, appliedBytes };
    this.#states.push(state);
    return state;
  }

  /** Time passes, and entries were applied. */
  onTick(now: number, { appliedBytes }: StateMachine): void {
    if (this.#states.length === 0) return;
    this.#drop((state) =>
      now - state.usedAt >= idleMs || appliedBytes - state.appliedBytes >= replacedBytesMax
    );
  }

  /** The oldest first: what it alone shows goes with it, where the newest one's would go on to the next older. */
  #drop(isDropped: (state: FrozenState) => boolean): void {
    for (const state of this.#states.filter(isDropped)) {
      state.keys!.release();
      state.keys = null;
      this.#states.splice(this.#states.indexOf(state), 1);
    }
  }
}
