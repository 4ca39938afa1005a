import { assert, assertEquals, assertNotEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { addCounters, runBatch } from "./batch.ts";
import { mutants, plant, runMutant } from "./mutants.ts";
import { enough } from "./scenario.ts";
import { type Outcome, simulate } from "./simulation.ts";

/** Enough for every kind of fault to occur; `deno task sim` runs hundreds. */
const sample = { seeds: Array.from({ length: 40 }, (_, i) => i + 1), jobs: 2, stopAtFailure: false };

/** Counters that must not only be above 0, but be there. */
const mustOccur = [
  "snapshots",
  "installs",
  "interruptedInstalls",
  "rottenSnapshots",
  "admissions",
  "tornFiles",
]
  .concat(["lost", "diskFull", "wipe", "wipeVoter", "rot", "rotSnapshot"].map((kind) => `fault ${kind}`));

/** More seeds find these: `deno task sim --plant NAME --seeds 200 --stop`. */
const foundLate = ["snapshot-unverified"];

Deno.test("simulate() finds nothing wrong in a sample of seeds, and every kind of fault occurs in it", async () => {
  const total: Record<string, number> = {};
  const failures: string[] = [];
  const onOutcome = ({ seed, failure, counters }: Outcome): void => {
    if (failure !== null) failures.push(`seed ${seed}: ${failure.invariant}: ${failure.message}`);
    else {for (const [name, least] of Object.entries(enough)) {
        assert(counters[name]! >= least, `seed ${seed}: ${name}`);
      }}
    addCounters(total, counters);
  };
  await runBatch({ ...sample, onOutcome });
  assertEquals(failures, []);
  const missing = [...Object.keys(total), ...mustOccur].filter((name) => !total[name]);
  assertEquals(missing, [], "nothing of what can happen was left out");
});

Deno.test("simulate() gives the same trace for the same seed, and another one for another", () => {
  const { digest } = simulate(7);
  assertEquals(simulate(7).digest, digest);
  assertNotEquals(simulate(8).digest, digest);
});

for (const name of Object.keys(mutants).filter((name) => !foundLate.includes(name))) {
  Deno.test(`runMutant() finds the planted bug ${name} within a few seeds`, async () => {
    const { code, output } = await runMutant(name, ["--seeds", "80", "--stop"]);
    assertEquals(code, 1, output);
    const [, seed] = output.match(/SEED (\d+) FAILED/) ?? [];
    assertStringIncludes(output, "what must hold: ");
    assertStringIncludes(output, `deno task sim --plant ${name} --seed ${seed} --seeds 1 --verbose`);
  });
}

Deno.test("plant() fits each bug into the source", async () => {
  for (const [name, { changes }] of Object.entries(mutants)) {
    for (const { file } of changes) {
      const text = await Deno.readTextFile(new URL(`../../${file}`, import.meta.url));
      assertNotEquals(plant(name, file, text), text);
    }
  }
});

Deno.test("plant() refuses a bug that does not fit the source exactly once", () => {
  const [name] = Object.keys(mutants);
  const { file, from } = mutants[name!]!.changes[0]!;
  assertThrows(() => plant(name!, file, "nothing of the kind"), Error, "fits 0 times");
  assertThrows(() => plant(name!, file, from + from), Error, "fits 2 times");
});
