/**
 * The keys as they were at some moments, for those who read them in parts: the pages of a list, and watches that begin
 * anew. A frozen state costs nothing when it is made, but keeps what is replaced later in memory; so they are few,
 * and go after a while whether somebody needs them or not.
 *
 * @module
 */

import type { FrozenKeys } from "../kv/store.ts";
import type { StateMachine } from "./state_machine.ts";

/** A state that may be taken away. */
export interface FrozenState {
  /** Of the last entry that it reflects. */
  readonly index: number;
  /** null: it was taken away. */
  keys: FrozenKeys | null;
  usedAt: number;
  readonly madeAt: number;
}

/** So many are kept. */
export const frozenStatesMax = 64;
/** One that nobody used for so long goes ... */
const idleMs = 60_000;
/** ... and so does one of this age: meanwhile all of the data may have been replaced. */
const ageMs = 300_000;

/** All frozen states, oldest first. */
export class FrozenStates {
  readonly #states: FrozenState[] = [];

  /** The state now. Shared by all that ask before it changes. */
  take({ store, appliedIndex }: StateMachine, now: number): FrozenState {
    const newest = this.#states.at(-1);
    if (newest?.index === appliedIndex) {
      newest.usedAt = now;
      return newest;
    }
    if (this.#states.length === frozenStatesMax) this.#states.shift()!.keys = null;
    const state = { index: appliedIndex, keys: store.freezeKeys(), usedAt: now, madeAt: now };
    this.#states.push(state);
    return state;
  }

  /** Time passes. */
  onTick(now: number): void {
    for (let i = this.#states.length - 1; i >= 0; i--) {
      const state = this.#states[i]!;
      if (now - state.usedAt < idleMs && now - state.madeAt < ageMs) continue;
      state.keys = null;
      this.#states.splice(i, 1);
    }
  }
}
