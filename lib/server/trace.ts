/**
 * Where the time of a request went, for clients that ask: `trace` in a request. Each step notes when it came; a request
 * that does not ask costs nothing.
 *
 * @module
 */

import type { NodeId } from "../raft/types.ts";

/** The steps of a request, in the order in which they come. */
export type Step = "received" | "handed" | "written" | "durable" | "asked" | "confirmed" | "committed";

/** What one request went through. */
export class Trace {
  readonly #now: () => number;
  readonly #at = new Map<Step, number>();
  readonly #peers = new Map<NodeId, number>();

  constructor(now: () => number) {
    this.#now = now;
    this.mark("received");
  }

  /** A step has come; its first time counts. */
  mark(step: Step): void {
    if (!this.#at.has(step)) this.#at.set(step, this.#now());
  }

  /** Another node has acknowledged the entry. */
  markPeer(id: NodeId): void {
    if (!this.#peers.has(id)) this.#peers.set(id, this.#now());
  }

  /** Milliseconds of each step that came, from the one before it, and of all. */
  report(): Record<string, unknown> {
    const now = this.#now();
    const times: Record<string, unknown> = {};
    const add = (name: string, from: Step, to: Step | "now"): void => {
      const start = this.#at.get(from);
      const end = to === "now" ? now : this.#at.get(to);
      if (start !== undefined && end !== undefined) times[name] = rounded(end - start);
    };
    add("queueMs", "received", this.#at.has("asked") ? "asked" : "handed");
    add("appendMs", "handed", "written");
    add("fsyncMs", "written", "durable");
    const handed = this.#at.get("handed");
    if (handed !== undefined) {
      times.peers = Object.fromEntries([...this.#peers].map(([id, at]) => [id, rounded(at - handed)]));
    }
    add("confirmMs", "asked", "confirmed");
    add("applyMs", this.#at.has("confirmed") ? "confirmed" : "committed", "now");
    add("totalMs", "received", "now");
    return times;
  }
}

/** To the microsecond. */
function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** So many writes are traced at once; more get a trace without the steps of the disk and the others. */
const tracedMax = 1024;

/** The traces of writes that are under way, by the index of their entry. */
export class WriteTraces {
  readonly #traces = new Map<number, Trace>();

  /** A write got its place. */
  add(index: number, trace: Trace): void {
    if (this.#traces.size < tracedMax) this.#traces.set(index, trace);
  }

  /** The write at that index was answered. Another one may have taken its place in the log, and here. */
  delete(index: number, trace: Trace): void {
    if (this.#traces.get(index) === trace) this.#traces.delete(index);
  }

  /** These entries came to that step. */
  mark(entries: readonly { index: number }[], step: Step): void {
    if (this.#traces.size === 0) return;
    for (const { index } of entries) this.#traces.get(index)?.mark(step);
  }

  /** A node, this one when null, has everything up to there on its disk. */
  acknowledged(id: NodeId | null, matchIndex: number): void {
    for (const [index, trace] of this.#traces) {
      if (index > matchIndex) continue;
      if (id === null) trace.mark("durable");
      else trace.markPeer(id);
    }
  }
}
