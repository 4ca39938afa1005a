/**
 * The state machine's place in a node: which store holds the applied state, up to which entry, and what changed
 * lately. A snapshot puts another store into its place.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { Command, Result } from "../kv/command.ts";
import { Store } from "../kv/store.ts";
import type { Entry } from "../raft/types.ts";
import { WatchHistory } from "./watch_history.ts";

/** The applied state. */
export class StateMachine {
  /** What the entries up to `appliedIndex` made. */
  store: Store = new Store();
  /** Index of the last entry that the store reflects. */
  appliedIndex = 0;
  /** Bytes of all entries that were applied in this process. */
  appliedBytes = 0;
  /** What the latest entries changed. */
  readonly history: WatchHistory;

  /** `historyBytes` bounds the history. */
  constructor(historyBytes: number) {
    this.history = new WatchHistory(historyBytes);
  }

  /** Applies the next committed entry. Its result, or null when it is not for the store. */
  apply(entry: Entry): Result | null {
    assert(entry.index === this.appliedIndex + 1, "entries are applied in order, each once");
    this.appliedIndex = entry.index;
    this.appliedBytes += entry.line.length;
    if (entry.kind !== "command") return null;
    const result = this.store.apply(entry.command as Command, entry.index);
    const changes = this.store.takeChanges();
    this.history.add(entry.index, changes);
    return result;
  }

  /** Takes over the state after the entry `index`, which a snapshot had. */
  takeOver(store: Store, index: number): void {
    assert(index > this.appliedIndex, "a snapshot is taken over when it is newer");
    this.store = store;
    this.history.restart(index);
    this.appliedIndex = index;
  }
}
