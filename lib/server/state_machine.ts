/**
 * The state machine's place in a node: which store holds the applied state, and up to which entry. A snapshot puts
 * another store into its place.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { Command, Result } from "../kv/command.ts";
import { Store } from "../kv/store.ts";
import type { Entry } from "../raft/types.ts";

/** The applied state. */
export class StateMachine {
  /** What the entries up to `appliedIndex` made. */
  store: Store = new Store();
  /** Index of the last entry that the store reflects. */
  appliedIndex = 0;

  /** Applies the next committed entry. Its result, or null when it is not for the store. */
  apply(entry: Entry): Result | null {
    assert(entry.index === this.appliedIndex + 1, "entries are applied in order, each once");
    this.appliedIndex = entry.index;
    return entry.kind === "command" ? this.store.apply(entry.command as Command, entry.index) : null;
  }

  /** Takes over the state after the entry `index`, which a snapshot had. */
  takeOver(store: Store, index: number): void {
    assert(index > this.appliedIndex, "a snapshot is taken over when it is newer");
    this.store = store;
    this.appliedIndex = index;
  }
}
