/**
 * What the size of the data and of the cluster does to the rates, what the leader needs in memory, and what puts notice
 * of somebody who reads a long list.
 *
 * @module
 */

import type { Figures } from "../lib/cli/bench.ts";
import { connect } from "../mod.ts";
import { type TestCluster, withCluster } from "../tests/e2e/cluster.ts";
import { fill, type Load, loadCluster, type Plan, say, valueBytes } from "./cluster_load.ts";
import { mebibytesOf } from "./process_figures.ts";
import type { Section } from "./report_page.ts";
import { formatNumber, type LinePlot } from "./report_plot.ts";

const keyBytes = 11;
const pageEntries = 1000;
/** Puts a second while a list is read: few enough for any machine to leave time for both. */
const listedPutRate = 1000;

/** Rates and the leader's memory with more and more keys in one cluster. */
export async function measureDataSize({ keyCounts, seconds, warmup }: Plan): Promise<Section[]> {
  const found: { keys: number; rate: number; p99: number; mebibytes: number | null }[] = [];
  await withCluster({ nodes: 3 }, async (cluster) => {
    const leader = await cluster.leader();
    for (const [i, keys] of keyCounts.entries()) {
      await fill(cluster, keyCounts[i - 1] ?? 0, keys);
      await cluster.settled();
      const load: Load = { workload: "put", shape: "16x64", seconds, warmup, keys };
      const { operationsPerSecond: rate, latencyMilliseconds } = await loadCluster(cluster, load);
      const mebibytes = (await mebibytesOf(leader))?.now ?? null;
      found.push({ keys, rate, p99: latencyMilliseconds.p99, mebibytes });
      say(`${formatNumber(keys)} keys: ${formatNumber(rate)} puts/s, leader ${mebibytes} MiB`);
    }
  });
  const rows = found.map(({ keys, rate, p99 }) => [keys, rate, p99].map(formatNumber));
  const throughput: Section = {
    title: "Throughput against the size of the data",
    note:
      `Three nodes, puts 16x64 over all keys, closed loop, ${seconds} s each. p99 is that of a closed loop.`,
    plots: [lines("keys", "puts a second", found.map(({ keys, rate }) => [keys, rate] as const))],
    rows: [["keys", "puts/s", "p99 ms"], ...rows],
  };
  return [throughput, ...memorySections(found)];
}

function memorySections(found: { keys: number; mebibytes: number | null }[]): Section[] {
  const known = found.flatMap(({ keys, mebibytes }) => {
    const live = keys * (keyBytes + valueBytes) / 2 ** 20;
    return mebibytes === null ? [] : [{ keys, live, mebibytes }];
  });
  if (known.length === 0) return []; // only Linux tells
  return [{
    title: "Memory of the leader against live data",
    note:
      "Resident memory of the leader's process after the puts of the section before. Live data is keys and " +
      "values. A node also holds the log since its last snapshot, and a program its own size.",
    plots: [
      lines("MiB of live data", "MiB resident", known.map((one) => [one.live, one.mebibytes] as const)),
    ],
    rows: [
      ["keys", "live MiB", "resident MiB", "bytes for a key"],
      ...known.map(({ keys, live, mebibytes }) =>
        [keys, live, mebibytes, mebibytes * 2 ** 20 / keys].map(formatNumber)
      ),
    ],
  }];
}

/** Rates of clusters of several sizes. */
export async function measureClusterSize({ clusterSizes, seconds, warmup }: Plan): Promise<Section> {
  const loads = [
    { workload: "put", shape: "1x1" },
    { workload: "put", shape: "16x64" },
    { workload: "get", shape: "256x1" },
  ] as const;
  const rates: number[][] = [];
  for (const nodes of clusterSizes) {
    await withCluster({ nodes }, async (cluster) => {
      await cluster.leader();
      const ofThis: number[] = [];
      for (const load of loads) {
        ofThis.push((await loadCluster(cluster, { ...load, seconds, warmup })).operationsPerSecond);
      }
      rates.push(ofThis);
      say(`${nodes} nodes: ${ofThis.map(formatNumber).join(", ")}`);
    });
  }
  const names = loads.map(({ workload, shape }) => `${workload} ${shape}`);
  return {
    title: "Throughput against the size of the cluster",
    note:
      `Closed loop, ${seconds} s each. All nodes share this machine, so more of them means less for each.`,
    plots: [{
      kind: "lines",
      x: { label: "nodes", scale: "linear" },
      y: { label: "operations a second", scale: "linear" },
      series: names.map((name, i) => ({
        name,
        points: clusterSizes.map((nodes, size) => [nodes, rates[size]![i]!] as const),
      })),
    }],
    rows: [
      ["nodes", ...names.map((name) => `${name}/s`)],
      ...clusterSizes.map((nodes, size) => [`${nodes}`, ...rates[size]!.map(formatNumber)]),
    ],
  };
}

/** How long puts take while somebody reads all keys, page by page, again and again. */
export async function measureListing({ listedKeys, seconds, warmup }: Plan): Promise<Section> {
  const found: { name: string; figures: Figures; keysPerSecond: number }[] = [];
  await withCluster({ nodes: 3 }, async (cluster) => {
    await cluster.leader();
    await fill(cluster, 0, listedKeys);
    await cluster.settled();
    const puts = () =>
      loadCluster(cluster, {
        workload: "put",
        shape: "16x64",
        rate: listedPutRate,
        keys: listedKeys,
        seconds,
        warmup,
      });
    found.push({ name: "nobody lists", figures: await puts(), keysPerSecond: 0 });
    const stop = new AbortController();
    const startedAt = performance.now();
    const reading = readLists(cluster, stop.signal);
    const figures = await puts().finally(() => stop.abort());
    const keysPerSecond = await reading / (performance.now() - startedAt) * 1000;
    found.push({ name: "lists are read", figures, keysPerSecond });
    say(`p99 of puts, without and with lists: ${found.map((one) => one.figures.latencyMilliseconds.p99)} ms`);
  });
  return {
    title: "Puts while long lists are read",
    note:
      `Three nodes, open loop: ${
        formatNumber(listedPutRate)
      } puts a second for ${seconds} s, while one client ` +
      `reads all ${formatNumber(listedKeys)} keys of the leader in pages of ${pageEntries}, again and again.`,
    plots: [{
      kind: "bars",
      label: "p99 of the puts in milliseconds",
      bars: found.map(({ name, figures }) => ({ name, value: figures.latencyMilliseconds.p99 })),
    }],
    rows: [
      ["meanwhile", "puts/s", "p50 ms", "p99 ms", "max ms", "keys listed/s"],
      ...found.map(({ name, figures: { operationsPerSecond, latencyMilliseconds }, keysPerSecond }) => [
        name,
        ...[
          operationsPerSecond,
          latencyMilliseconds.p50,
          latencyMilliseconds.p99,
          latencyMilliseconds.max,
          keysPerSecond,
        ].map(formatNumber),
      ]),
    ],
  };
}

/** Reads lists until told to stop; gives how many keys there were. */
async function readLists(cluster: TestCluster, signal: AbortSignal): Promise<number> {
  const leader = await cluster.leader();
  await using client = await connect([leader.client]);
  let keys = 0;
  while (!signal.aborted) {
    for await (const { entries } of client.listPages({ op: "list", limit: pageEntries })) {
      keys += (entries as unknown[]).length;
      if (signal.aborted) break;
    }
  }
  return keys;
}

function lines(x: string, y: string, points: (readonly [number, number])[]): LinePlot {
  return {
    kind: "lines",
    x: { label: x, scale: "log" },
    y: { label: y, scale: "linear" },
    series: [{ name: y, points }],
  };
}
