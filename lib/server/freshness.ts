/**
 * How old a stale read may be: when this node last had, for certain, all that was committed. A follower learns it from
 * its leader's messages; a leader must ask its followers, because it may have been deposed without noticing.
 *
 * @module
 */

import type { AppendEntries } from "../raft/messages.ts";
import type { Raft } from "../raft/raft.ts";
import type { PendingRequests } from "./pending_requests.ts";

/** Keeps the moment at which this node was last up to date. */
export class Freshness {
  readonly #raft: Raft;
  readonly #pending: PendingRequests;
  readonly #intervalMs: number;
  #upToDateAt: number | null = null;
  /** A leader's word: this node is as new as that was once it has applied `commitIndex`. */
  #heard: { at: number; commitIndex: number } | null = null;
  #isAsking = false;

  /** A leader asks every `intervalMs`, which is its heartbeat, so that the question travels with it. */
  constructor(raft: Raft, pending: PendingRequests, intervalMs: number) {
    this.#raft = raft;
    this.#pending = pending;
    this.#intervalMs = intervalMs;
  }

  /** Milliseconds since this node was up to date; null: it has not been since its start. */
  ageMs(now: number): number | null {
    return this.#upToDateAt === null ? null : Math.round(now - this.#upToDateAt);
  }

  /** A leader spoke. One that has committed nothing of its own term does not know yet what is committed. */
  onAppendEntries({ term, leaderCommit }: AppendEntries, now: number): void {
    if (this.#raft.termAt(leaderCommit) === term) this.#heard = { at: now, commitIndex: leaderCommit };
  }

  /** The store reflects the log up to here. */
  onApplied(appliedIndex: number): void {
    if (this.#heard === null || appliedIndex < this.#heard.commitIndex) return;
    this.#upToDateAt = this.#heard.at;
    this.#heard = null;
  }

  /** Time passes: a leader makes sure that it still is one. */
  onTick(now: number): void {
    const isRecent = this.#upToDateAt !== null && now - this.#upToDateAt < this.#intervalMs;
    if (this.#isAsking || isRecent || this.#raft.role !== "leader") return;
    this.#isAsking = true;
    this.#pending.addRead(now, { afterIndex: 0 }, (error) => {
      this.#isAsking = false;
      if (error === null) this.#upToDateAt = now;
    });
  }
}
