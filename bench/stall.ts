/**
 * How long a node is deaf while it takes a snapshot of a large store: the longest gap between the ticks of a timer of
 * 1 ms in the node's own event loop, beside the same figure at rest. One real node in this process, on a real folder.
 *
 * ```sh
 * deno task bench:stall --keys 1000000 --rounds 5
 * ```
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { timingModes } from "../lib/cli/timing.ts";
import { denoIo, openFolder } from "../lib/io/deno_io.ts";
import { defaultLimits } from "../lib/server/options.ts";
import { Server } from "../lib/server/server.ts";
import { quantile } from "./process_figures.ts";
import { makeNodeFolder } from "./restart.ts";
import { type TestNode, until, withCluster } from "../tests/e2e/cluster.ts";
import { LineConnection } from "../tests/e2e/line_connection.ts";

const restMs = 4000;
/** Entries between two snapshots, with what the node draws on top. */
const snapshotEntries = 1000;
const entriesPerRound = 1300;

/** Watches the event loop that it runs in. */
class GapWatch {
  #longestMs = 0;
  #lastTick = performance.now();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor() {
    this.#timer = setInterval(() => {
      const now = performance.now();
      this.#longestMs = Math.max(this.#longestMs, now - this.#lastTick);
      this.#lastTick = now;
    }, 1);
  }

  /** The longest gap since the last call, in milliseconds. */
  take(): number {
    const longest = this.#longestMs;
    this.#longestMs = 0;
    return Math.round(longest * 10) / 10;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** What one snapshot cost. */
interface Round {
  restGapMs: number;
  snapshotGapMs: number;
  /** From the write that made it due to its end, the removal of old files included. */
  tookMs: number;
}

async function measure(node: TestNode, rounds: number): Promise<Round[]> {
  const folder = await openFolder(node.folder);
  let taken = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<never>();
  const server = new Server({
    nodeId: 1,
    bindAddress: node.raft,
    clientBindAddress: node.client,
    clientAddress: node.client,
    cluster: [{ id: 1, address: node.raft }],
    timing: timingModes.fast,
    limits: { ...defaultLimits, snapshotEntries },
    log: (_level, message) => message.startsWith("took a snapshot") && taken.resolve(),
    onStop: ended.reject,
  }, denoIo(folder.disk));
  await until("the node leads", () => server.appliedIndex === server.raft.lastIndex || null);
  using connection = await LineConnection.open(node.client);
  const watch = new GapWatch();
  const found: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    await put(connection, entriesPerRound - snapshotEntries);
    watch.take();
    await pause(restMs);
    const restGapMs = watch.take();
    taken = Promise.withResolvers();
    const startedAt = performance.now();
    await put(connection, snapshotEntries);
    await Promise.race([taken.promise, ended.promise]);
    const tookMs = Math.round(performance.now() - startedAt);
    await pause(1000); // what became unnecessary is removed
    found.push({ restGapMs, snapshotGapMs: watch.take(), tookMs });
    console.error(`round ${round + 1} of ${rounds}: ${JSON.stringify(found.at(-1))}`);
  }
  watch.stop();
  await new Promise<void>((resolve) => server.close(resolve));
  await folder.close();
  return found;
}

async function put(connection: LineConnection, count: number): Promise<void> {
  for (let i = 0; i < count; i += 20) {
    const requests = Array.from({ length: 20 }, (_, j) => ({ op: "put", key: `k${i + j}`, value: "1" }));
    await connection.send(requests);
    for (const _ of requests) {
      const reply = await connection.reply();
      if (!reply.ok) throw new Error(JSON.stringify(reply));
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function main(args: string[]): Promise<number> {
  const options = parseArgs(args, { string: ["keys", "rounds"] });
  const keys = Number(options.keys ?? 1_000_000);
  const rounds = Number(options.rounds ?? 5);
  if (![keys, rounds].every((one) => Number.isSafeInteger(one) && one > 0)) {
    console.error("usage: stall.ts [--keys N] [--rounds N]");
    return 2;
  }
  let found: Round[] = [];
  await withCluster({ nodes: 1, start: false }, async ({ nodes: [node] }) => {
    await makeNodeFolder(node!, { keys, entries: 1, valueBytes: 100 });
    found = await measure(node!, rounds);
  });
  const median = (name: keyof Round): number => quantile(found.map((round) => round[name]), 0.5);
  const medians = {
    restGapMs: median("restGapMs"),
    snapshotGapMs: median("snapshotGapMs"),
    tookMs: median("tookMs"),
  };
  const peakMiB = Math.round(Deno.memoryUsage().rss / 2 ** 20);
  console.log(JSON.stringify({ keys, rounds, medians, peakMiB, found }));
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
