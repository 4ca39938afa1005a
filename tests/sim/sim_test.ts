import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { addCounters, runBatch } from "./batch.ts";
import { enough } from "./scenario.ts";
import { type Outcome, simulate } from "./simulation.ts";

/** Enough for every kind of fault to occur; `deno task sim` runs hundreds. */
const sample = { seeds: Array.from({ length: 30 }, (_, i) => i + 131), jobs: 2, stopAtFailure: false };

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
