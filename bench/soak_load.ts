/**
 * The load of a soak: every kind of operation on a bounded set of keys at a fixed rate, beside it watches and clients
 * that come and go. All that it leaves behind in a cluster is bounded, so nothing in the nodes has a reason to grow.
 *
 * @module
 */

import { Histogram } from "../lib/cli/histogram.ts";
import { sessionsMax } from "../lib/kv/sessions.ts";
import { type Client, ClientError, connect } from "../mod.ts";
import type { TestCluster } from "../tests/e2e/cluster.ts";
import { exchange, LineConnection } from "../tests/e2e/line_connection.ts";
import { Stillness } from "./yardstick.ts";

const clients = 4;
/** Of each client while the greatest rate is measured; within the window of a session, which is 128. */
const inFlight = 100;
/** A cluster that is so many operations behind is not given more: they are counted as not sent. */
const behindMax = 5000;
const tickMs = 5;
const visitMs = 200;
const watchMs = 1000;
const watches = 10;

const plainKey = (): string => `key/${String(below(10_000)).padStart(4, "0")}`;
const value = (): string => "x".repeat(50 + below(300));

/** Operations and their shares of a hundred. */
const mix: [share: number, run: (client: Client) => Promise<unknown>][] = [
  [38, (client) => client.get(plainKey())],
  [10, (client) => client.get(plainKey(), { consistency: "stale" })],
  [25, (client) => client.put(plainKey(), value())],
  [5, (client) => client.delete(plainKey())],
  [5, (client) => client.increment(`count/${below(100)}`)],
  [5, (client) => client.put(`passing/${below(1000)}`, value(), { ttlMs: 1000 + below(10_000) })],
  [5, exchangeValue],
  [
    3,
    (client) => client.txn({ then: [{ op: "put", key: plainKey(), value: "t" }, { op: "get", key: "a" }] }),
  ],
  [2, listSome],
  [2, (client) => client.deleteRange({ prefix: `passing/${below(1000)}` })],
];
const hundred = mix.flatMap(([share, run]) => Array.from({ length: share }, () => run));

/** Puts a value in the place of the one that it read. Another client may be faster: that is an answer, not an error. */
async function exchangeValue(client: Client): Promise<void> {
  const key = `exchanged/${below(100)}`;
  const found = await client.get(key);
  try {
    await client.put(key, value(), { ifVersion: found?.version ?? 0 });
  } catch (error) {
    if (!(error instanceof ClientError) || error.code !== "conditionFailed") throw error;
  }
}

async function listSome(client: Client): Promise<void> {
  for await (const _ of client.list({ start: plainKey(), limit: 20 }));
}

function below(end: number): number {
  return Math.floor(Math.random() * end);
}

/** What the load has found since it was last asked. */
export interface LoadFigures {
  operations: number;
  milliseconds: { p50: number; p99: number; max: number };
  /** The longest that this process did not come around to its timer: then it, or the machine, was slow, not the nodes. */
  stillMilliseconds: number;
}

/** Drives a cluster until it is told to stop. */
export class SoakLoad {
  readonly #cluster: TestCluster;
  readonly #clients: Client[];
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  #microseconds = new Histogram();
  #stillness = new Stillness();
  /** How often something failed, and how the first failed. */
  errors = 0;
  firstError: string | null = null;
  /** Operations that fell due while the cluster was too far behind. */
  unsent = 0;

  private constructor(cluster: TestCluster, all: Client[]) {
    this.#cluster = cluster;
    this.#clients = all;
  }

  /** Connects, and fills the table of sessions, which visitors would take an hour to do. */
  static async open(cluster: TestCluster): Promise<SoakLoad> {
    const leader = await cluster.leader();
    await fillSessions(leader.client);
    const all = await Promise.all(Array.from({ length: clients }, () => connect(cluster.addresses)));
    return new SoakLoad(cluster, all);
  }

  /** Lets watches and visitors come and go until the end. */
  startVisits(): void {
    let visits = 0;
    this.#every(visitMs, () => this.#try(() => this.#visit(visits++)));
    this.#every(watchMs, () => this.#try(() => this.#watch()));
  }

  /** The greatest rate that the cluster and this process take together: operations a second. */
  async greatestRate(seconds: number): Promise<number> {
    const until = performance.now() + seconds * 1000;
    let operations = 0;
    const one = async (client: Client): Promise<void> => {
      for (; performance.now() < until; operations++) await this.#timed(client);
    };
    await Promise.all(this.#clients.flatMap((client) => Array.from({ length: inFlight }, () => one(client))));
    return operations / seconds;
  }

  /** Begins so many operations a second, whether or not answers come. */
  startAt(rate: number): void {
    const startedAt = performance.now();
    let begun = 0, open = 0;
    this.#stillness = new Stillness();
    this.#every(tickMs, () => {
      this.#stillness.tick();
      const due = Math.floor((performance.now() - startedAt) / 1000 * rate);
      for (; begun < due; begun++) {
        if (open >= behindMax) {
          this.unsent++;
          continue;
        }
        open++;
        this.#try(() => this.#timed(this.#clients[begun % clients]!).finally(() => open--));
      }
    });
  }

  /** What was answered since the last call. */
  take(): LoadFigures {
    const taken = this.#microseconds;
    const stillMilliseconds = Math.round(this.#stillness.take());
    this.#microseconds = new Histogram();
    const [p50, p99, max] = [0.5, 0.99, 1].map((q) => Math.round(taken.quantile(q) / 100) / 10);
    return { operations: taken.count, milliseconds: { p50: p50!, p99: p99!, max: max! }, stillMilliseconds };
  }

  /** Ends everything. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  async #timed(client: Client): Promise<void> {
    const startedAt = performance.now();
    try {
      await hundred[below(hundred.length)]!(client);
      this.#microseconds.record((performance.now() - startedAt) * 1000);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** A client of its own for a moment, with a session like those that filled the table, and a word with one node. */
  async #visit(count: number): Promise<void> {
    await using client = await connect(this.#cluster.addresses);
    for (let i = 0; i < writesOfSession; i++) await client.put(plainKey(), value());
    await listSome(client);
    const node = this.#cluster.nodes[count % this.#cluster.nodes.length]!;
    const requests = [{ op: "ping" }, { op: "get", key: plainKey() }, { op: "list", limit: 10 }];
    for (const { ok, error } of await exchange(node.client, requests)) {
      if (!ok) this.#fail(new Error(error?.message));
    }
  }

  /** Watches a tenth of the plain keys for a while. */
  async #watch(): Promise<void> {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.#stop.signal]);
    const timer = setTimeout(() => stop.abort(), watches * watchMs);
    const client = this.#clients[below(clients)]!;
    try {
      for await (const _ of client.watch({ prefix: `key/${below(10)}`, signal }));
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #every(ms: number, f: () => void): void {
    const timer = setInterval(f, ms);
    this.#stop.signal.addEventListener("abort", () => clearInterval(timer));
  }

  #try(run: () => Promise<unknown>): void {
    const running = run().catch((error) => this.#fail(error)).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  #fail(error: unknown): void {
    this.errors++;
    this.firstError ??= String(error);
  }
}

const writesOfSession = 2;

/** Opens as many sessions as a cluster keeps. */
async function fillSessions(leader: string): Promise<void> {
  using connection = await LineConnection.open(leader);
  const ask = async (requests: object[]): Promise<Record<string, unknown>[]> => {
    await connection.send(requests);
    const replies: Record<string, unknown>[] = [];
    for (const _ of requests) {
      const reply = await connection.reply();
      if (!reply.ok) throw new Error(`a session could not be filled: ${reply.error?.message}`);
      replies.push(reply);
    }
    return replies;
  };
  for (let opened = 0; opened < sessionsMax; opened += 500) {
    const sessions = await ask(Array.from({ length: 500 }, () => ({ op: "session" })));
    for (let seq = 1; seq <= writesOfSession; seq++) {
      await ask(
        sessions.map(({ session }) => ({ op: "put", key: plainKey(), value: value(), session, seq })),
      );
    }
  }
}
