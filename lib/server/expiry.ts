/**
 * Log time and what it ends. The leader's stamps in the log are the cluster's only clock: they go on under each leader
 * where they stood, by its own monotonic clock, so neither an election nor a clock that is set makes them jump. Keys
 * whose time is over go by an entry, which all nodes apply alike.
 *
 * @module
 */

import type { Clock } from "../io/io.ts";
import type { ExpireCommand } from "../kv/command.ts";
import type { Raft } from "../raft/raft.ts";
import type { StateMachine } from "./state_machine.ts";

/** While keys wait for their time, the log is told it at least so often: a new leader goes on from there. */
const stampMs = 1000;

/** Gives log time, and proposes what it ends. */
export class Expiry {
  readonly #raft: Raft;
  readonly #machine: StateMachine;
  readonly #clock: Clock;
  /** Log time was `logTime` when this node's clock showed `at`; it counts for the term in which it was noted. */
  #noted = { term: 0, logTime: 0, at: 0 };
  /** The latest proposal of this node. */
  #proposed = { index: 0, term: 0 };

  constructor(raft: Raft, machine: StateMachine, clock: Clock) {
    this.#raft = raft;
    this.#machine = machine;
    this.#clock = clock;
  }

  /** Log time now, in milliseconds, as far as this node knows: between the leader's stamps it stands still elsewhere. */
  logTime(): number {
    const { logTime } = this.#machine.store;
    if (this.#raft.role !== "leader") return logTime;
    const now = this.#clock.now();
    const term = this.#raft.currentTerm;
    const passed = Math.floor(this.#noted.logTime + now - this.#noted.at);
    if (this.#noted.term === term && passed >= logTime) return passed;
    this.#noted = { term, logTime, at: now }; // the first time in its term, or an earlier leader's stamp was applied since
    return logTime;
  }

  /** Time passes. A leader that may write proposes that keys go, when their time is over. */
  onTick(mayWrite: boolean): void {
    const { store, appliedIndex } = this.#machine;
    if (!mayWrite || store.expiring === 0 || this.#raft.role !== "leader") return;
    const { index, term } = this.#proposed;
    if (term === this.#raft.currentTerm && index > appliedIndex) return;
    const logTime = this.logTime();
    if (store.nextExpiry > logTime && logTime - store.logTime < stampMs) return;
    const command: ExpireCommand = { op: "expire", logTime };
    const place = this.#raft.propose(command);
    if (typeof place !== "string") this.#proposed = place;
  }
}
