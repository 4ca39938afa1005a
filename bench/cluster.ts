/**
 * Measures real clusters and writes what came of it as tables, and as a page with plots that needs nothing else:
 * throughput, latency, memory and bytes on the disk, against clients, time, the size of the data and of the cluster.
 *
 * ```sh
 * deno task bench:cluster            # a quarter of an hour
 * deno task bench:cluster --quick    # half a minute: whether it works, not how fast it is
 * ```
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { dirname, resolve } from "node:path";
import { withFolder } from "../tests/cli/processes.ts";
import type { Plan } from "./cluster_load.ts";
import { describeMachine } from "./machine.ts";
import { measureRates } from "./measure_rates.ts";
import { measureClusterSize, measureDataSize, measureListing } from "./measure_sizes.ts";
import { measureSteady } from "./measure_steady.ts";
import { pageOf, type Report, textOf } from "./report_page.ts";

const fullPlan: Plan = {
  name: "the full run",
  seconds: 8,
  warmup: 6,
  rounds: 3,
  puts: ["1x1", "4x1", "16x1", "64x1", "256x1", "16x16", "16x64"],
  gets: ["256x1", "16x64"],
  longSeconds: 60,
  keyCounts: [1000, 100_000, 1_000_000],
  clusterSizes: [1, 3, 5],
  listedKeys: 100_000,
};

const quickPlan: Plan = {
  name: "a quick run: it shows that all of this works, and its figures are rough",
  seconds: 0.4,
  warmup: 0.2,
  rounds: 1,
  puts: ["1x1", "16x64"],
  gets: ["256x1"],
  longSeconds: 1,
  keyCounts: [1000, 10_000],
  clusterSizes: [1],
  listedKeys: 10_000,
};

/** Measures everything. */
export async function measureAll(plan: Plan): Promise<Report> {
  const startedAt = performance.now();
  let machine: Report["machine"] | undefined;
  await withFolder(async (folder) => {
    machine = await describeMachine(folder);
  });
  const { section, greatest } = await measureRates(plan);
  const sections = [
    section,
    ...await measureSteady(plan, greatest),
    ...await measureDataSize(plan),
    await measureClusterSize(plan),
    await measureListing(plan),
  ];
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  return { machine: machine!, run: `${plan.name}, ${seconds} s`, sections };
}

async function main(args: string[]): Promise<number> {
  const options = parseArgs(args, { boolean: ["quick"], string: ["out"] });
  if (options._.length > 0 || options.out === "") {
    console.error("usage: cluster.ts [--quick] [--out FILE]");
    return 2;
  }
  const path = options.out ?? "dist/bench.html";
  await Deno.mkdir(dirname(resolve(path)), { recursive: true });
  const report = await measureAll(options.quick ? quickPlan : fullPlan);
  console.log(textOf(report));
  await Deno.writeTextFile(path, pageOf(report));
  console.log(`written: ${path}`);
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
