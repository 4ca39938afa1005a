/**
 * Three real nodes under a mixed load for a long time, with no fault: does anything grow, does anybody stand for
 * election? A line for each sample goes to stderr, a table and a JSON line to stdout; exit code 1 when a bar is broken.
 *
 * ```sh
 * deno task soak --minutes 40 [--load half] [--rate OPERATIONS_PER_SECOND] [--samples FILE]
 * ```
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { sleep } from "../lib/client/deadline.ts";
import { type TestCluster, type TestNode, until, withCluster } from "../tests/e2e/cluster.ts";
import { processFigures } from "./process_figures.ts";
import { type LoadFigures, SoakLoad } from "./soak_load.ts";
import { isFigures, latestFigures, soakNode } from "./soak_node.ts";
import { judge, type NodeSample, type NodeVerdict } from "./soak_verdict.ts";
import { describeSlowest, Machine, type Yardstick } from "./yardstick.ts";

interface Plan {
  minutes: number;
  /** Operations a second; null: half of what is measured first. */
  rate: number | null;
  /** Gets every sample, a JSON line each; null: nobody needs them. */
  samples: string | null;
  /** Ends it early, and its nodes with it. */
  stop: AbortSignal;
}

interface Report {
  minutes: number;
  greatestRate: number | null;
  rate: number;
  warmUpSeconds: number;
  operations: number;
  slowestMilliseconds: number;
  errors: number;
  firstError: string | null;
  /** Operations that were not sent because the cluster was seconds behind. */
  unsent: number;
  nodes: NodeVerdict[];
  /** How fast the machine was up to each sample. */
  machine: Yardstick[];
  /** The last that each node said of who leads and of its disk. */
  journals: string[][];
}

const sampleMs = 10_000;
const measureSeconds = 10;
const warmUpSecondsMax = 600;
/** A load of which more was not sent is not the load that was to be shown. */
const unsentShareMax = 0.01;
/** Of a node's journal, in the report. */
const journalLinesMax = 40;

async function soak(plan: Plan): Promise<Report> {
  let report: Report | null = null;
  await withCluster({ nodes: 3, wrapper: soakNode }, async (cluster, folder) => {
    const load = await SoakLoad.open(cluster);
    const machine = new Machine(`${folder}/yardstick`);
    try {
      load.startVisits();
      await load.greatestRate(measureSeconds / 2); // code that runs for the first time is slow
      const greatestRate = plan.rate === null ? Math.round(await load.greatestRate(measureSeconds)) : null;
      const rate = plan.rate ?? Math.round(greatestRate! / 2);
      console.error(`greatest rate ${greatestRate ?? "not measured"}, offered ${rate} operations a second`);
      await until("each node tells of its inside", () => cluster.nodes.every(isHeard) || null);
      load.take();
      machine.take();
      load.startAt(rate);
      const { nodes, figures, yardsticks } = await watchNodes(cluster, { load, machine }, plan);
      const { errors, firstError, unsent } = load;
      const warmUpSeconds = Math.min(warmUpSecondsMax, plan.minutes * 60 / 4);
      report = {
        minutes: plan.minutes,
        greatestRate,
        rate,
        warmUpSeconds,
        operations: figures.reduce((sum, { operations }) => sum + operations, 0),
        slowestMilliseconds: Math.max(...figures.map(({ milliseconds }) => milliseconds.max)),
        errors,
        firstError,
        unsent,
        nodes: nodes.map((samples) => judge(samples, warmUpSeconds)),
        machine: yardsticks,
        journals: cluster.nodes.map(({ journal }) => linesOf(journal)),
      };
    } finally {
      await load.close();
      await machine.close();
    }
  });
  return report!;
}

/** The last lines of a journal, but for what comes all the time: the figures, and snapshots that went well. */
function linesOf(journal: string): string[] {
  const isUsual = (line: string): boolean => isFigures(line) || line.includes("took a snapshot");
  return journal.split("\n").filter((line) => line !== "" && !isUsual(line)).slice(-journalLinesMax);
}

function isHeard({ journal }: TestNode): boolean {
  return latestFigures(journal) !== null;
}

/** Samples of each node and of the load, until the time is up. */
async function watchNodes(
  cluster: TestCluster,
  { load, machine }: { load: SoakLoad; machine: Machine },
  { minutes, samples: file, stop }: Plan,
): Promise<{ nodes: NodeSample[][]; figures: LoadFigures[]; yardsticks: Yardstick[] }> {
  const nodes: NodeSample[][] = cluster.nodes.map(() => []);
  const figures: LoadFigures[] = [];
  const yardsticks: Yardstick[] = [];
  const startedAt = performance.now();
  for (let due = 0; due <= minutes * 60_000; due += sampleMs) {
    await sleep(Math.max(0, startedAt + due - performance.now()), stop);
    const seconds = Math.round((performance.now() - startedAt) / 1000);
    const seen = await Promise.all(cluster.nodes.map((node) => sampleOf(node, seconds)));
    seen.forEach((sample, i) => nodes[i]!.push(sample));
    const taken = load.take();
    figures.push(taken);
    const yardstick = machine.take();
    yardsticks.push(yardstick);
    console.error(describeMoment(seconds, seen, taken, load) + describeYardstick(yardstick));
    if (file !== null) {
      const line = JSON.stringify({
        seconds,
        nodes: seen,
        load: taken,
        errors: load.errors,
        unsent: load.unsent,
        machine: yardstick,
      });
      await Deno.writeTextFile(file, line + "\n", { append: true });
    }
  }
  return { nodes, figures, yardsticks };
}

function describeYardstick(
  { computeMilliseconds, fsyncMilliseconds, longestFsyncMilliseconds }: Yardstick,
): string {
  return `, machine ${computeMilliseconds.toFixed(2)} ms, fsync ${fsyncMilliseconds.toFixed(2)} ms, ` +
    `at most ${longestFsyncMilliseconds.toFixed(0)} ms`;
}

async function sampleOf(node: TestNode, seconds: number): Promise<NodeSample> {
  const status = await until(`node ${node.id} answers`, () => node.status());
  const { timers, heapBytes, externalBytes, ownBytes, stillMilliseconds } = latestFigures(node.journal)!;
  const sizes = sizesIn(node.folder);
  return {
    seconds,
    ...await processFigures(node),
    restMebibytes: ownBytes / 2 ** 20,
    heapMebibytes: heapBytes / 2 ** 20,
    externalMebibytes: externalBytes / 2 ** 20,
    timers,
    stillMilliseconds,
    term: status.term,
    role: status.role,
    snapshotIndex: status.snapshotIndex,
    diskMebibytes: sizes.reduce((sum, size) => sum + size, 0) / 2 ** 20,
    files: sizes.length,
  };
}

/** Sizes of all files in a folder of a node that runs: some go while one looks. */
function sizesIn(folder: string): number[] {
  return Array.from(Deno.readDirSync(folder)).flatMap(({ name, isDirectory }) => {
    const path = `${folder}/${name}`;
    if (isDirectory) return sizesIn(path);
    try {
      return [Deno.statSync(path).size];
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  });
}

function describeMoment(
  seconds: number,
  nodes: readonly NodeSample[],
  { operations, milliseconds, stillMilliseconds }: LoadFigures,
  { errors, unsent }: SoakLoad,
): string {
  const each = (of: (sample: NodeSample) => number): string =>
    nodes.map((one) => of(one).toFixed(0)).join(" ");
  return `${seconds} s: ${operations} operations, p99 ${milliseconds.p99} ms, max ${milliseconds.max} ms, ` +
    `still for ms: load ${stillMilliseconds}, nodes ${
      each((one) => one.stillMilliseconds)
    }; ${errors} errors, ${unsent} not sent; term ${each(({ term }) => term)}, MiB ${
      each(({ rssMebibytes }) => rssMebibytes)
    }, ` +
    `at rest ${each(({ restMebibytes }) => restMebibytes)}, heap ${
      each(({ heapMebibytes }) => heapMebibytes)
    }, descriptors ${each((one) => one.descriptors)}, ` +
    `timers ${each(({ timers }) => timers)}, disk ${each(({ diskMebibytes }) => diskMebibytes)}`;
}

/** For people: one row a figure, one column a node. */
function tableOf({ nodes }: Report): string {
  const courses = [
    "rssMebibytes",
    "restMebibytes",
    "heapMebibytes",
    "externalMebibytes",
    "descriptors",
    "timers",
    "threads",
    "diskMebibytes",
    "files",
  ] as const;
  const rows: [string, (node: NodeVerdict) => string][] = [
    ["MiB/h, behind a collection", ({ slope }) => slope.theilSen.toFixed(1)],
    ["  from, to", ({ slope: { least, most } }) => `${least.toFixed(1)} ${most.toFixed(1)}`],
    ["MiB/h, least squares", ({ slope }) => slope.leastSquares.toFixed(1)],
    ["MiB/h, resident, least squares", ({ slope }) => slope.resident.toFixed(1)],
    ["MiB/h, heap", ({ slope }) => slope.heap.toFixed(1)],
    ...courses.map((name): [string, (node: NodeVerdict) => string] => [
      `${name}: first last max`,
      ({ [name]: { first, last, max } }) => [first, last, max].map((one) => one.toFixed(0)).join(" "),
    ]),
    ["snapshots", ({ snapshots }) => `${snapshots}`],
    ["elections", ({ elections }) => `${elections}`],
    ["verdict", ({ problems }) => problems.length === 0 ? "flat" : "BROKEN"],
  ];
  const title = ["", ...nodes.map((_, i) => `node ${i + 1}`)];
  return [title, ...rows.map(([name, of]) => [name, ...nodes.map(of)])]
    .map(([name, ...cells]) => name!.padEnd(32) + cells.map((cell) => cell.padStart(14)).join(""))
    .join("\n");
}

/** What is said of each node, with its name. */
function named(lines: readonly (readonly string[])[]): string[] {
  return lines.flatMap((ofNode, i) => ofNode.map((line) => `node ${i + 1}: ${line}`));
}

async function main(args: readonly string[]): Promise<number> {
  const options = parseArgs([...args], { string: ["minutes", "load", "rate", "samples"] });
  const minutes = Number(options.minutes ?? 40);
  const rate = options.rate === undefined ? null : Number(options.rate);
  const isHalf = (options.load ?? "half") === "half";
  if (!(minutes >= 1) || (rate !== null && !(rate >= 1)) || !isHalf || Deno.build.os !== "linux") {
    console.error(
      "usage, on Linux: soak.ts [--minutes M] [--load half | --rate OPERATIONS_PER_SECOND] [--samples FILE]",
    );
    return 2;
  }
  const stop = new AbortController();
  Deno.addSignalListener("SIGTERM", () => stop.abort());
  const report = await soak({ minutes, rate, samples: options.samples ?? null, stop: stop.signal });
  console.log(tableOf(report));
  const problems = named(report.nodes.map((node) => node.problems));
  if (report.errors > 0) problems.push(`${report.errors} operations failed, the first: ${report.firstError}`);
  const { operations, unsent } = report;
  if (unsent > unsentShareMax * operations) problems.push(`${unsent} operations were not sent`);
  console.log(`${operations} operations, ${unsent} more not sent while the cluster was behind`);
  console.log(problems.length === 0 ? "Every bar holds." : problems.join("\n"));
  if (report.nodes.some(({ elections }) => elections > 0)) console.log(named(report.journals).join("\n"));
  console.log(describeSlowest(report.machine));
  console.log(JSON.stringify(report));
  return problems.length === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
