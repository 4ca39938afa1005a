/**
 * How long people wait: from the start of three processes to their first leader, and from the death of a leader to the
 * first write that is acknowledged again. Real processes on loopback in fast mode; nothing is asserted.
 *
 * ```sh
 * deno task bench:timings first-leader --runs 20
 * deno task bench:timings failover --runs 30
 * ```
 *
 * @module
 */

import { connect } from "../mod.ts";
import { type TestCluster, type TestNode, withCluster } from "../tests/e2e/cluster.ts";
import { LineConnection } from "../tests/e2e/line_connection.ts";

const pollMs = 3;

/** Milliseconds, one for each run. */
type Samples = Record<string, number[]>;

const measurements: Record<string, (runs: number) => Promise<Samples>> = {
  "first-leader": measureFirstLeader,
  failover: measureFailover,
};

/** Starts three processes on empty folders, again and again. */
async function measureFirstLeader(runs: number): Promise<Samples> {
  const samples: Samples = { firstLeader: [], firstRead: [] };
  for (let run = 0; run < runs; run++) {
    await withCluster({ nodes: 3, start: false }, async (cluster) => {
      const startedAt = performance.now();
      cluster.start();
      const stop = new AbortController();
      const leads = cluster.nodes.map((node) =>
        repeat(node, stop.signal, { op: "status" }, (reply) => reply.role === "leader")
      );
      await Promise.any(leads);
      samples.firstLeader!.push(performance.now() - startedAt);
      stop.abort();
      await Promise.allSettled(leads);
      await using client = await connect(cluster.addresses);
      await client.get("a");
      samples.firstRead!.push(performance.now() - startedAt);
    });
    showProgress(run + 1, runs, samples.firstLeader!);
  }
  return samples;
}

/** Kills the leader of one cluster again and again, while writers try the two nodes that are left. */
async function measureFailover(runs: number): Promise<Samples> {
  const samples: Samples = { firstWrite: [], firstWriteOfClientLibrary: [] };
  await withCluster({ nodes: 3 }, async (cluster) => {
    await cluster.leader();
    await using client = await connect(cluster.addresses);
    for (let run = 0; run < runs; run++) {
      const { raw, library } = await measureOneKill(cluster, () => client.put("library", `${run}`));
      samples.firstWrite!.push(raw);
      samples.firstWriteOfClientLibrary!.push(library);
      showProgress(run + 1, runs, samples.firstWrite!);
    }
  });
  return samples;
}

async function measureOneKill(
  cluster: TestCluster,
  write: () => Promise<unknown>,
): Promise<{ raw: number; library: number }> {
  const leader = await cluster.leader();
  await cluster.settled();
  await write(); // the client talks to the leader from here on
  // Leaders die at any moment between two heartbeats.
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 100));
  const killedAt = performance.now();
  const killed = leader.kill();
  const stop = new AbortController();
  const left = cluster.nodes.filter((node) => node !== leader);
  const writers = left.map((node) =>
    repeat(node, stop.signal, { op: "put", key: "raw", value: "1" }, (reply) => reply.ok)
  );
  const since = async (event: Promise<unknown>): Promise<number> => {
    await event;
    return performance.now() - killedAt;
  };
  const [raw, library] = await Promise.all([since(Promise.any(writers)), since(write())]);
  stop.abort();
  await Promise.allSettled(writers);
  await killed;
  leader.start();
  return { raw, library };
}

/** Sends a request every few milliseconds, each after the answer to the one before, until an answer will do. */
async function repeat(
  node: TestNode,
  stop: AbortSignal,
  request: object,
  isEnough: (reply: { ok: boolean; role?: unknown }) => boolean,
): Promise<void> {
  while (!stop.aborted) {
    try {
      using connection = await LineConnection.open(node.client);
      while (!stop.aborted) {
        await connection.send([request]);
        if (isEnough(await connection.reply())) return;
        await new Promise((resolve) => setTimeout(resolve, pollMs));
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused)) throw error; // it is not up yet
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  }
  throw stop.reason;
}

function showProgress(run: number, runs: number, samples: number[]): void {
  console.error(`run ${run} of ${runs}: ${samples.at(-1)!.toFixed(0)} ms`);
}

/** The sample that so many of them do not exceed. */
function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
}

async function main(args: readonly string[]): Promise<void> {
  const [name, flag, count] = args;
  const measure = Object.hasOwn(measurements, name ?? "") ? measurements[name!] : undefined;
  const runs = flag === undefined ? 20 : Number(count);
  const isUsage = measure === undefined || (flag !== undefined && flag !== "--runs") || !(runs >= 1);
  if (isUsage) {
    console.error(`usage: timings.ts ${Object.keys(measurements).join("|")} [--runs N]`);
    Deno.exit(2);
  }
  for (const [event, samples] of Object.entries(await measure(runs))) {
    const ms = { median: quantile(samples, 0.5), p90: quantile(samples, 0.9), max: Math.max(...samples) };
    const text = Object.entries(ms).map(([name, value]) => `${name} ${value.toFixed(0)} ms`).join(", ");
    console.log(`${event}: ${text} of ${runs} runs`);
    console.log(
      JSON.stringify({ event, runs, milliseconds: ms, samples: samples.map((it) => Math.round(it)) }),
    );
  }
}

if (import.meta.main) await main(Deno.args);
