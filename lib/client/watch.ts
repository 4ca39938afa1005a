/**
 * A watch that outlives its connections: when one breaks it goes on behind the last event on another node, and leaves
 * nothing out and tells nothing twice.
 *
 * @module
 */

import { backoffMs } from "./attempts.ts";
import { sleep } from "./deadline.ts";
import { ClientError } from "./errors.ts";
import type { Nodes } from "./nodes.ts";
import type { WatchEvent, WatchOptions } from "./types.ts";
import { refusalOf, WatchConnection, type WatchLine } from "./watch_connection.ts";

/**
 * What becomes of some keys, as an endless async iterable of events. It ends with an error: ClientError `unreachable`
 * when no node of a working cluster could be reached for as long as the client's `timeoutMs`, `closed` when the client
 * was closed, or the reason of the signal. Leaving the loop ends the watch. One watch can be iterated once.
 */
export class Watch implements AsyncIterable<WatchEvent> {
  readonly #nodes: Nodes;
  readonly #options: WatchOptions;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal;
  #connection: WatchConnection | null = null;
  #lost: string | null = null;
  /** Everything up to here was told; undefined: wherever the first node is. */
  #after: number | undefined;
  /** Of the entry after that one so many events were told. */
  #toldOfEntry = 0;
  /** The connection broke while the present state was being told. */
  #isResetBroken = false;
  /** When a node first turned out to be of no use, and so did all since then; null: the latest one was of use. */
  #uselessSince: number | null = null;

  /** Made by `Client.watch`. `signal` ends it. */
  constructor(
    nodes: Nodes,
    options: WatchOptions,
    { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
  ) {
    this.#nodes = nodes;
    this.#options = options;
    this.#timeoutMs = timeoutMs;
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#connection?.close(), { once: true }); // also when nobody iterates
    this.#after = options.after;
  }

  /** Resolves once a node watches, with the index behind which every event will be told. Iterating does it too. */
  async open(): Promise<number> {
    if (this.#connection === null) await this.#connect();
    return this.#after!;
  }

  /** The events, in their order. */
  async *[Symbol.asyncIterator](): AsyncGenerator<WatchEvent, void, void> {
    try {
      for (;;) {
        await this.open();
        yield* this.#eventsOf(this.#connection!);
        this.#connection = null;
      }
    } finally {
      this.#connection?.close();
    }
  }

  /** Until the connection breaks. */
  async *#eventsOf(connection: WatchConnection): AsyncGenerator<WatchEvent, void, void> {
    let passed = 0; // of the entry after #after, on this connection
    let isReset = false;
    for (;;) {
      let line: WatchLine;
      try {
        line = await connection.nextEvent(this.#signal);
      } catch (error) {
        connection.close();
        this.#lost = connection.address;
        this.#signal.throwIfAborted();
        this.#isResetBroken ||= isReset;
        if (!(error instanceof Error)) throw error;
        return this.#onLost(connection, error);
      }
      const { watch: _, ...event } = line;
      if (event.type === "reset") isReset = true;
      else if (this.#isResetBroken) { // this node still knows everything from the beginning on
        this.#after = this.#toldOfEntry = 0;
        yield { type: "reset", index: 0, reason: "historyGone" };
      }
      this.#isResetBroken = false;
      if (event.type === "progress") isReset = false;
      if (isReset) {
        yield event as unknown as WatchEvent;
        continue;
      }
      const wasTold = event.more === true && passed < this.#toldOfEntry;
      if (event.more === true) this.#toldOfEntry = Math.max(this.#toldOfEntry, ++passed);
      else {
        this.#after = Math.max(this.#after!, event.index!);
        this.#toldOfEntry = passed = 0;
      }
      if (!wasTold) yield event as unknown as WatchEvent;
    }
  }

  /** A node that is cut off from the others opens a watch too: such nodes are not tried for ever. */
  #onLost({ isOfUse }: WatchConnection, { message }: Error): void {
    const now = performance.now();
    if (isOfUse) this.#uselessSince = null;
    else this.#uselessSince ??= now;
    if (now - (this.#uselessSince ?? now) <= this.#timeoutMs) return;
    throw new ClientError("unreachable", `the watch cannot be told anything: ${message}`, { definite: true });
  }

  /** To the first node that opens the watch and knows all that is missing; if none does, to one that begins anew. */
  async #connect(): Promise<void> {
    const startedAt = performance.now();
    const failures = new Map<string, string>();
    let takesReset = this.#after === undefined || this.#isResetBroken;
    for (let round = 0;; round++) {
      let wasReset = false;
      for (const address of this.#candidates) {
        try {
          const answer = await this.#tryNode(address, takesReset);
          if (answer === "open") return;
          wasReset ||= answer === "reset";
          failures.set(address, answer);
        } catch (error) {
          this.#signal.throwIfAborted();
          if (!(error instanceof Error) || error instanceof ClientError) throw error;
          failures.set(address, error.message);
        }
      }
      if (wasReset) { // no node knows the changes: the present state it is
        takesReset = true;
        continue;
      }
      if (performance.now() - startedAt > this.#timeoutMs) {
        const why = [...failures].map(([address, failure]) => `${address} (${failure})`).join(", ");
        throw new ClientError("unreachable", `no node of the cluster opens the watch: ${why}`, {
          definite: true,
        });
      }
      await sleep(backoffMs(round), this.#signal);
    }
  }

  /** The node that was lost last comes last. */
  get #candidates(): string[] {
    const others = this.#nodes.addresses.filter((address) => address !== this.#lost);
    return this.#lost === null ? others : [...others, this.#lost];
  }

  async #tryNode(address: string, takesReset: boolean): Promise<"open" | "busy" | "reset"> {
    const { key, prefix } = this.#options;
    const after = this.#isResetBroken ? 0 : this.#after;
    const request = { op: "watch", key, prefix, after };
    const { connection, reply } = await WatchConnection.open(address, request, this.#signal);
    if (reply.ok !== true || (reply.reset === true && !takesReset)) {
      connection.close();
      const refusal = refusalOf(reply);
      if (refusal !== null) throw refusal;
      return reply.ok ? "reset" : "busy";
    }
    this.#connection = connection;
    this.#after ??= reply.index!;
    return "open";
  }
}
