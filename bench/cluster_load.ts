/**
 * Load on real clusters, and on the yardstick: `kvapp bench` in a process of its own, as users have it.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import type { Figures } from "../lib/cli/bench.ts";
import { LoadConnection, newTally, openLoadConnection } from "../lib/cli/bench_load.ts";
import { connect } from "../mod.ts";
import { kvapp } from "../tests/cli/processes.ts";
import type { TestCluster } from "../tests/e2e/cluster.ts";

/** How long to measure, and what. */
export interface Plan {
  name: string;
  /** Of each measurement of a rate, and of the load before it. */
  seconds: number;
  warmup: number;
  /** Medians of so many. */
  rounds: number;
  puts: Shape[];
  gets: Shape[];
  /** Of the runs that are looked at over time. */
  longSeconds: number;
  keyCounts: number[];
  clusterSizes: number[];
  /** How many keys are listed while puts go on. */
  listedKeys: number;
}

/** Connections, and requests in flight on each: "16x64". */
export type Shape = `${number}x${number}`;

/** What to put on a cluster. */
export interface Load {
  workload: "put" | "get";
  shape: Shape;
  seconds: number;
  warmup: number;
  keys?: number;
  /** Open loop: operations a second. */
  rate?: number;
}

/** Values have so many bytes. */
export const valueBytes = 256;
const keysOfTxn = 100;
const txnsInFlight = 16;

/** The two numbers of a shape. */
export function partsOf(shape: Shape): [clients: number, pipeline: number] {
  return shape.split("x").map(Number) as [number, number];
}

/** Puts load on a cluster. */
export async function loadCluster(cluster: TestCluster, load: Load): Promise<Figures> {
  const [clients, pipeline] = partsOf(load.shape);
  const options = {
    cluster: cluster.addresses,
    workload: load.workload,
    clients,
    pipeline,
    "value-bytes": valueBytes,
    keys: load.keys ?? 100_000,
    seconds: load.seconds,
    warmup: load.warmup,
    ...(load.rate === undefined ? {} : { rate: Math.max(1, Math.round(load.rate)) }),
  };
  const words = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const { code, stdout, stderr } = await kvapp(["bench", ...words, "--json"]);
  if (code !== 0) throw new Error(`kvapp bench ${words.join(" ")} failed: ${stderr}`);
  const figures: Figures = JSON.parse(stdout);
  if (figures.errors > 0) console.error(`${figures.errors} errors: ${stderr.trim()}`);
  return figures;
}

/** Operations a second of the yardstick under the same load. */
export async function loadEcho({ workload, shape, seconds, warmup }: Load): Promise<number> {
  const [clients, pipeline] = partsOf(shape);
  const server = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-net", fileURLToPath(new URL("echo_server.ts", import.meta.url))],
    stdout: "piped",
  }).spawn();
  try {
    const reader = server.stdout.getReader();
    const address = new TextDecoder().decode((await reader.read()).value).trim();
    const measureFrom = performance.now() + warmup * 1000;
    const until = measureFrom + seconds * 1000;
    const load = { workload, valueBytes, keys: 100_000, pipeline, intervalMs: null, measureFrom, until };
    const tally = newTally(seconds);
    await Promise.all(Array.from({ length: clients }, async () => {
      using conn = await openLoadConnection(address);
      await new LoadConnection(load, tally).run(conn);
    }));
    await reader.cancel();
    if (tally.firstError !== null) throw new Error(`the yardstick failed: ${tally.firstError}`);
    return tally.latencies.count / seconds;
  } finally {
    server.kill("SIGKILL");
    await server.status;
  }
}

/** Gives the cluster the keys from `from` to below `to`, those that `kvapp bench` writes, as fast as it takes them. */
export async function fill(cluster: TestCluster, from: number, to: number): Promise<void> {
  await using client = await connect(cluster.addresses, { timeoutMs: 60_000 });
  const value = "x".repeat(valueBytes);
  let next = from;
  const write = async (): Promise<void> => {
    while (next < to) {
      const first = next;
      next = Math.min(to, next + keysOfTxn);
      const then = Array.from({ length: next - first }, (_, i) => {
        const key = `key${String(first + i).padStart(8, "0")}`;
        return { op: "put", key, value } as const;
      });
      await client.txn({ then });
    }
  };
  await Promise.all(Array.from({ length: txnsInFlight }, write));
}

/** Tells people what is going on. */
export function say(text: string): void {
  console.error(text);
}
