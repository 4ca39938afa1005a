/**
 * What a cluster does over time: how long puts take at half of what it can, with the snapshots that fall due meanwhile,
 * its rate in each second, and what a put costs in bytes on the disk.
 *
 * @module
 */

import type { Figures } from "../lib/cli/bench.ts";
import { type TestCluster, type TestNode, withCluster } from "../tests/e2e/cluster.ts";
import { loadCluster, partsOf, type Plan, say, type Shape } from "./cluster_load.ts";
import type { Offer } from "./measure_rates.ts";
import { bytesWritten } from "./process_figures.ts";
import type { Section } from "./report_page.ts";
import { formatNumber, type Plot } from "./report_plot.ts";

const closedShape: Shape = "16x64";
const pollMs = 100;
const shares = [0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999];

/** What one run did. */
interface Run {
  figures: Figures;
  /** Snapshots that were taken while it ran, by all nodes together and by the leader. */
  snapshots: number;
  leaderSnapshots: number;
  /** Bytes of the leader's log for an entry; of its newest snapshot; what its process wrote. */
  logBytesPerEntry: number;
  snapshotBytes: number;
  bytesWritten: number | null;
  /** Of the whole run, the warm-up included. */
  entries: number;
}

/** Measures first half of the greatest rate, on the same connections, then as fast as it goes. */
export async function measureSteady(plan: Plan, greatest: Offer): Promise<Section[]> {
  const { longSeconds: seconds, warmup } = plan;
  const half = { shape: greatest.shape, rate: Math.round(greatest.rate / 2) };
  const runs: Run[] = [];
  await withCluster({ nodes: 3 }, async (cluster) => {
    for (const load of [half, { shape: closedShape }]) {
      const run = () => loadCluster(cluster, { workload: "put", seconds, warmup, ...load });
      runs.push(await observe(cluster, run));
      say(`${seconds} s of puts: ${formatNumber(runs.at(-1)!.figures.operationsPerSecond)}/s`);
    }
  });
  const [open, closed] = runs as [Run, Run];
  return [latencySection(open, half), timeSection(open, closed), bytesSection(open, closed)];
}

async function observe(cluster: TestCluster, load: () => Promise<Figures>): Promise<Run> {
  const leader = await cluster.leader();
  const indexes = async (): Promise<number[]> =>
    (await Promise.all(cluster.nodes.map((node) => node.status()))).map((it) => it?.snapshotIndex ?? 0);
  const [writtenBefore, entriesBefore] = [await bytesWritten(leader), (await leader.status())!.lastLogIndex];
  let last = await indexes();
  const taken = cluster.nodes.map(() => 0);
  let isOver = false;
  const watching = (async () => {
    while (!isOver) {
      await new Promise((resolve) => setTimeout(resolve, pollMs));
      const now = await indexes();
      for (const [i, index] of now.entries()) if (index > last[i]!) taken[i]!++;
      last = now;
    }
  })();
  const figures = await load().finally(() => isOver = true);
  await watching;
  await cluster.settled();
  const written = await bytesWritten(leader);
  const { lastLogIndex } = (await leader.status())!;
  return {
    figures,
    snapshots: taken.reduce((sum, count) => sum + count, 0),
    leaderSnapshots: taken[leader.id - 1]!,
    ...bytesOf(leader, lastLogIndex),
    bytesWritten: written === null ? null : written - writtenBefore!,
    entries: lastLogIndex - entriesBefore,
  };
}

function bytesOf(node: TestNode, lastLogIndex: number): { logBytesPerEntry: number; snapshotBytes: number } {
  const segments = filesIn(`${node.folder}/log`);
  const first = Number(/(\d+)\.log$/.exec(segments[0]!)![1]);
  const bytes = segments.reduce((sum, path) => sum + Deno.statSync(path).size, 0);
  const newest = filesIn(`${node.folder}/snapshots`).at(-1);
  return {
    logBytesPerEntry: bytes / (lastLogIndex - first + 1),
    snapshotBytes: newest === undefined ? 0 : Deno.statSync(newest).size,
  };
}

/** Paths in their order; none when there is no such folder yet. */
function filesIn(folder: string): string[] {
  try {
    return Array.from(Deno.readDirSync(folder), ({ name }) => `${folder}/${name}`).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** The latency that each share of the operations did not exceed, in milliseconds. */
export function quantilesOf(histogram: Figures["histogram"]): [share: number, milliseconds: number][] {
  const count = histogram.reduce((sum, [, some]) => sum + some, 0);
  return shares.filter((share) => count * (1 - share) >= 10 || share === 0).map((share) => {
    let seen = 0;
    const [microseconds] = histogram.find(([, some]) => (seen += some) >= Math.max(1, share * count))!;
    return [share, microseconds / 1000];
  });
}

function latencySection({ figures, snapshots }: Run, { shape, rate }: Offer): Section {
  const { p50, p90, p99, p999, max } = figures.latencyMilliseconds;
  const plot: Plot = {
    kind: "lines",
    x: { label: "share of the puts that took no longer", scale: "quantile" },
    y: { label: "milliseconds", scale: "log" },
    series: [{ name: "puts at half of the greatest rate", points: quantilesOf(figures.histogram) }],
  };
  return {
    title: "Latency of puts at half of the greatest rate",
    note:
      `Three nodes, open loop: ${formatNumber(rate)} puts a second fall due on ${
        partsOf(shape)[0]
      } connections for ` +
      `${figures.seconds} s, and latency counts from then. The nodes took ${snapshots} snapshots meanwhile.`,
    plots: [plot],
    rows: [
      ["offered/s", "done/s", "not sent", "snapshots", "p50 ms", "p90", "p99", "p99.9", "max", "p99 / p50"],
      [
        ...[rate, figures.operationsPerSecond, figures.unsent, snapshots, p50, p90, p99, p999, max, p99 / p50]
          .map(formatNumber),
      ],
    ],
  };
}

function timeSection(open: Run, closed: Run): Section {
  const names = ["half of the greatest rate, open loop", `${closedShape}, closed loop`];
  const runs = [open, closed];
  const series = runs.map(({ figures }, i) => ({
    name: names[i]!,
    points: figures.perSecond.map((count, second) => [second + 1, count] as const),
  }));
  return {
    title: "Rate over time",
    note: "Puts answered in each second of both runs. Snapshots are taken during them.",
    plots: [{
      kind: "lines",
      x: { label: "seconds", scale: "linear" },
      y: { label: "puts a second", scale: "linear" },
      series,
    }],
    rows: [
      ["run", "mean", "least", "greatest", "snapshots"],
      ...runs.map(({ figures, snapshots }, i) => [
        names[i]!,
        ...[
          figures.operationsPerSecond,
          Math.min(...figures.perSecond),
          Math.max(...figures.perSecond),
          snapshots,
        ].map(formatNumber),
      ]),
    ],
  };
}

function bytesSection(open: Run, closed: Run): Section {
  const costs = [open, closed].map((run) => ({
    log: run.logBytesPerEntry,
    snapshots: run.leaderSnapshots * run.snapshotBytes / run.entries,
    written: run.bytesWritten === null ? null : run.bytesWritten / run.entries,
  }));
  const names = ["half of the greatest rate", closedShape];
  return {
    title: "Bytes on the disk for a put",
    note:
      "On the leader, for a put of a key of 11 bytes and a value of 256: its line in the log; its share of the " +
      "snapshots that were taken, of up to 100,000 keys; and what the kernel counts as written by the process, in " +
      "pages, the state file and the lines that a page is written for again included.",
    plots: [{
      kind: "bars",
      label: "bytes for a put",
      bars: costs.flatMap(({ log, snapshots, written }, i) => [
        { name: `log, ${i === 0 ? "half" : names[i]}`, value: log },
        { name: `snapshots, ${i === 0 ? "half" : names[i]}`, value: snapshots },
        ...(written === null ? [] : [{ name: `written, ${i === 0 ? "half" : names[i]}`, value: written }]),
      ]),
    }],
    rows: [
      ["run", "log", "snapshots", "written in pages"],
      ...costs.map(({ log, snapshots, written }, i) => [
        names[i]!,
        formatNumber(log),
        formatNumber(snapshots),
        written === null ? "not told" : formatNumber(written),
      ]),
    ],
  };
}
