/**
 * Histories of real processes that are broken: `kvapp bench --verify --chaos` again and again, every other time with so
 * small snapshots that nodes are always taking or installing one. A JSON line for each run, and a sum.
 *
 * ```sh
 * deno task chaos --runs 30 --seconds 60 --operations 20000 [--chaos kill,pause,partition] [--seed a]
 * ```
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { type FaultKind, faultKinds } from "../lib/chaos/faults.ts";
import { verify, type VerifyReport } from "../lib/cli/bench_verify.ts";
import { kvappWords } from "../tests/cli/processes.ts";
import { smallSnapshots } from "../tests/e2e/small_snapshots.ts";

/** What to run. */
export interface ChaosPlan {
  runs: number;
  seconds: number;
  /** A run lasts longer until there are so many. */
  operations?: number;
  chaos: FaultKind[];
  seed: string;
}

/** Runs it; tells each report as it comes. */
export async function runChaos(
  { runs, seconds, operations = 0, chaos, seed }: ChaosPlan,
  tell: (report: VerifyReport) => void,
): Promise<VerifyReport[]> {
  const reports: VerifyReport[] = [];
  for (let run = 0; run < runs; run++) {
    const report = await verify({
      cluster: null,
      clients: 8,
      keys: 20,
      seconds,
      operations,
      chaos,
      nodes: 3,
      seed: `${seed}/${run}`,
      history: null,
      json: true,
      program: run % 2 === 0 ? [...kvappWords] : [...smallSnapshots, ...kvappWords],
    });
    tell(report);
    reports.push(report);
  }
  return reports;
}

async function main(args: readonly string[]): Promise<number> {
  const options = parseArgs([...args], { string: ["runs", "seconds", "operations", "chaos", "seed"] });
  const [runs, seconds] = [Number(options.runs ?? 30), Number(options.seconds ?? 60)];
  const operations = Number(options.operations ?? 0);
  const chaos = (options.chaos ?? "kill,pause,partition").split(",") as FaultKind[];
  const isKnown = chaos.every((kind) => Object.hasOwn(faultKinds, kind));
  if (!Number.isSafeInteger(runs) || runs < 1 || !(seconds > 0) || !(operations >= 0) || !isKnown) {
    console.error(
      `usage: chaos.ts [--runs N] [--seconds S] [--operations N] [--chaos ${
        Object.keys(faultKinds).join(",")
      }]`,
    );
    return 2;
  }
  const seed = options.seed ?? crypto.randomUUID().slice(0, 8);
  const reports = await runChaos(
    { runs, seconds, operations, chaos, seed },
    (report) => console.log(JSON.stringify(report)),
  );
  const sum = (count: (report: VerifyReport) => number): number =>
    reports.reduce((all, one) => all + count(one), 0);
  console.log(JSON.stringify({
    seed,
    runs,
    linearizable: sum(({ verdict }) => verdict === "linearizable" ? 1 : 0),
    leastOperations: Math.min(...reports.map(({ operations }) => operations)),
    operations: sum(({ operations }) => operations),
    unknown: sum(({ unknown }) => unknown),
    faults: sum(({ faults }) => Object.values(faults).reduce((all, count) => all + count, 0)),
    leaderChanges: sum(({ leaderChanges }) => leaderChanges),
  }));
  return reports.every(({ problems }) => problems.length === 0) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
