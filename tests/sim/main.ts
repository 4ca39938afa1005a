/**
 * `deno task sim`: runs seeds of the simulator, says what they covered, and how to see a failure again.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { addCounters, runBatch } from "./batch.ts";
import { corpus } from "./corpus.ts";
import { missingIn } from "./coverage.ts";
import { addToLedger, commitOfCheckout } from "./ledger.ts";
import { mutants, runMutant } from "./mutants.ts";
import { isFound, runMutants, tableOf } from "./mutation.ts";
import { enough } from "./scenario.ts";
import { type Outcome, simulate } from "./simulation.ts";

const usage =
  `Usage: deno task sim [--seeds N] [--seed S] [--jobs N] [--plant NAME] [--verbose] [--corpus] [--ledger]

  --seeds N      how many seeds to run (default 100, or 1 with --verbose)
  --seed S       the first of them (default 1)
  --jobs N       threads (default: as many as there are processors)
  --stop         begin no more seeds after the first failure
  --verbose      print the whole trace
  --corpus       run the seeds that failed once, and no others
  --ledger       add what comes of them to tests/sim/ledger.ndjson, a line for each 1000
  --mutants      look for every known bug, each in a copy of the source that has it: print which seed found it
  --repeat N     look for each so many times, from different first seeds (default 1)
  --plant NAME   first put a known bug into a copy of the source: it must be found
                 ${Object.keys(mutants).join(", ")}
`;

const ledgerSeeds = 1000;
/** A violation is printed with this much of what came before it. */
const tailLines = 60;

let seeAgain = "deno task sim";

async function main(args: string[]): Promise<number> {
  const options = parseArgs(args, {
    // --planted is what a copy with a bug in it is told, for the command that it prints.
    string: ["seeds", "seed", "jobs", "plant", "planted", "repeat"],
    boolean: ["verbose", "help", "stop", "corpus", "ledger", "mutants"],
    unknown: (name) => {
      console.error(`unknown option ${name}\n\n${usage}`);
      Deno.exit(2);
    },
  });
  if (options.help) {
    console.log(usage);
    return 0;
  }
  if (options.plant !== undefined) return await plantAndRun(options.plant, args);
  const first = numberOf("seed", options.seed, 1);
  const count = numberOf("seeds", options.seeds, options.verbose ? 1 : 100);
  if (options.planted !== undefined) seeAgain = `deno task sim --plant ${options.planted}`;
  if (options.verbose) return runVerbosely(first, count);
  const jobs = numberOf("jobs", options.jobs, navigator.hardwareConcurrency);
  if (options.mutants) {
    const seedsMax = numberOf("seeds", options.seeds, 1000);
    return await lookForAll({ seedsMax, repeat: numberOf("repeat", options.repeat, 1), jobs });
  }
  const seeds = options.corpus ? [...corpus.keys()] : Array.from({ length: count }, (_, i) => first + i);
  if (options.ledger && (options.corpus || count < ledgerSeeds)) {
    console.error(`--ledger is for runs of ${ledgerSeeds} seeds or more, and not for --corpus\n\n${usage}`);
    return 2;
  }
  const commit = options.ledger ? commitOfCheckout() : null;
  const all: Record<string, number> = {};
  let failed = 0;
  // What the ledger has of a long run stays, whatever becomes of the rest.
  const pieceSeeds = commit === null ? seeds.length : ledgerSeeds;
  for (let at = 0; at < seeds.length; at += pieceSeeds) {
    const piece = seeds.slice(at, at + pieceSeeds);
    const ran = await run({ seeds: piece, jobs, stopAtFailure: options.stop }, commit);
    addCounters(all, ran.counters);
    failed += ran.failed;
    if (failed > 0 && options.stop) break;
  }
  // Of the whole: what is rare enough is missing from a thousand of its seeds by chance.
  const missing = missingIn(all);
  for (const lack of missing) console.log(`this run proves nothing: ${lack}`);
  return failed === 0 && missing.length === 0 ? 0 : 1;
}

/** `commit`: the batch goes into the ledger. */
async function run(
  batch: { seeds: number[]; jobs: number; stopAtFailure: boolean },
  commit: string | null,
): Promise<{ failed: number; counters: Record<string, number> }> {
  const startedAt = performance.now();
  const total: Record<string, number> = {};
  let passed = 0;
  let failed = 0;
  const onOutcome = (outcome: Outcome): void => {
    addCounters(total, outcome.counters);
    if (outcome.failure === null) passed++;
    else {
      failed++;
      console.log(describeFailure(outcome));
    }
    if ((passed + failed) % 50 === 0) {
      console.log(`${passed + failed} of ${batch.seeds.length} seeds done, ${failed} failed`);
    }
  };
  await runBatch({ ...batch, onOutcome });
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(`\nEach seed that passed had at least ${describeCounters(enough)}. All together:\n`);
  console.log(describeTable(total));
  console.log(`\n${seconds.toFixed(1)} s, ${Math.round((total.events ?? 0) / seconds)} events per second`);
  if (commit !== null) {
    const [first] = batch.seeds;
    addToLedger({
      commit,
      first: first!,
      seeds: passed + failed,
      failed,
      seconds: Math.round(seconds),
      counters: total,
    });
  }
  console.log(`${passed} seeds passed, ${failed} failed`);
  return { failed, counters: total };
}

function runVerbosely(first: number, count: number): number {
  let code = 0;
  for (let seed = first; seed < first + count; seed++) {
    const outcome = simulate(seed, (line) => console.log(line));
    if (outcome.failure !== null) {
      code = 1;
      console.log(describeFailure({ ...outcome, failure: { ...outcome.failure, tail: [] } }));
    }
    console.log(`seed ${seed}: trace ${outcome.digest}, ${describeCounters(outcome.counters)}`);
  }
  return code;
}

function describeFailure({ seed, failure, counters }: Outcome): string {
  const { invariant, message, tail } = failure!;
  return [
    `\nSEED ${seed} FAILED after ${counters.events} events`,
    `what must hold: ${invariant}`,
    `what happened:  ${message}`,
    ...(tail.length > 0 ? ["what came before:"] : []),
    ...tail.slice(-tailLines),
    `see it again:   ${seeAgain} --seed ${seed} --seeds 1 --verbose\n`,
  ].join("\n");
}

function describeCounters(counters: Record<string, number>): string {
  return Object.entries(counters).map(([name, value]) => `${value} ${name}`).join(", ");
}

function describeTable(counters: Record<string, number>): string {
  return Object.entries(counters).map(([name, value]) => `${String(value).padStart(12)}  ${name}`).join("\n");
}

function numberOf(name: string, text: string | undefined, byDefault: number): number {
  if (text === undefined) return byDefault;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  console.error(`--${name} must be a number, not ${JSON.stringify(text)}\n\n${usage}`);
  Deno.exit(2);
}

/** All bugs must be found. */
async function lookForAll(how: { seedsMax: number; repeat: number; jobs: number }): Promise<number> {
  const verdicts = await runMutants(mutants, {
    ...how,
    onVerdict: ({ name, seeds }) =>
      console.log(`${name}: ${seeds.map((seed) => seed ?? "not found").join(", ")}`),
  });
  console.log(`\n${tableOf(verdicts)}\n`);
  const missed = verdicts.filter((verdict) => !isFound(verdict)).map(({ name }) => name);
  console.log(`${verdicts.length - missed.length} of ${verdicts.length} mutants found`);
  if (missed.length > 0) console.log(`NOT found: ${missed.join(", ")}`);
  return missed.length === 0 ? 0 : 1;
}

/** The bug must be found: exit code 0 then, as this is what was asked for. */
async function plantAndRun(name: string, args: string[]): Promise<number> {
  const mutant = mutants[name];
  if (mutant === undefined) {
    console.error(
      `there is no bug ${JSON.stringify(name)} to plant; there are ${Object.keys(mutants).join(", ")}`,
    );
    return 2;
  }
  console.log(`planted in a copy of the source: ${mutant.bug}`);
  const at = args.findIndex((arg) => arg.startsWith("--plant"));
  const { code, output } = await runMutant(name, args.toSpliced(at, args[at] === "--plant" ? 2 : 1));
  console.log(output.trimEnd());
  const isFound = code === 1 && /, [1-9]\d* failed$/m.test(output);
  console.log(isFound ? "the planted bug was found" : "the planted bug was NOT found");
  return isFound ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
