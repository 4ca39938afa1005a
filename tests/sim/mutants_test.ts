import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { mutants, plant, runMutant } from "./mutants.ts";
import { classes } from "./mutants/mutant.ts";
import { isFound, runMutants, tableOf } from "./mutation.ts";

const canary = { canary: mutants.canary! };
/** Nothing is wrong with it: it must never be found. */
const control = { control: { bug: "none", classes: [], changes: [] } };
const how = { repeat: 1, jobs: 1, onVerdict: () => {} };

Deno.test("runMutants() finds the canary with the first seed of each time", async () => {
  const [verdict] = await runMutants(canary, { ...how, seedsMax: 1, repeat: 2 });
  assertEquals(verdict!.seeds, [1, 1]);
  assert(isFound(verdict!));
  assertMatch(tableOf([verdict!]), /\| canary \|.*\| [I0-9 ]+\| 2 +\| 1 +\| 1 +\|/);
});

Deno.test("runMutants() does not find what is not there, and says so", async () => {
  const [verdict] = await runMutants(control, { ...how, seedsMax: 2 });
  assertEquals(verdict!.seeds, [null]);
  assert(!isFound(verdict!));
  assertMatch(tableOf([verdict!]), /\| control \|.*\| 1 +\| not found +\| not found +\|/);
});

Deno.test("runMutant() tells how to see the planted bug again", async () => {
  const { code, output } = await runMutant("canary", ["--seeds", "1"]);
  assertEquals(code, 1, output);
  assertStringIncludes(output, "what must hold: ");
  assertStringIncludes(output, "deno task sim --plant canary --seed 1 --seeds 1 --verbose");
});

Deno.test("plant() fits each bug into the source", async () => {
  for (const mutant of Object.values(mutants)) {
    for (const { file } of mutant.changes) {
      const text = await Deno.readTextFile(new URL(`../../${file}`, import.meta.url));
      assertNotEquals(plant(mutant, file, text), text);
    }
  }
});

Deno.test("plant() refuses a bug that does not fit the source exactly once", () => {
  const { file, from } = mutants.canary!.changes[0]!;
  assertThrows(() => plant(mutants.canary!, file, "nothing of the kind"), Error, "fits 0 times");
  assertThrows(() => plant(mutants.canary!, file, from + from), Error, "fits 2 times");
});

Deno.test("mutants has one of each class of bugs that must be covered", () => {
  const covered = new Set(Object.values(mutants).flatMap((mutant) => mutant.classes));
  const idsOf = (letters: string): string[] =>
    Array.from({ length: classes[letters]!.count }, (_, i) => `${letters}${i + 1}`);
  const known = Object.keys(classes).flatMap(idsOf);
  assertEquals([...covered].filter((id) => !known.includes(id)), [], "classes that do not exist");
  const must = Object.keys(classes).filter((letters) => classes[letters]!.mustCover).flatMap(idsOf);
  assertEquals(must.filter((id) => !covered.has(id)), [], "classes without a mutant");
});

Deno.test("MUTANTS.md has each mutant, with its classes and what is wrong with it", async () => {
  const text = await Deno.readTextFile(new URL("MUTANTS.md", import.meta.url));
  const rows = text.split("\n").filter((line) => line.startsWith("| ")).slice(2)
    .map((line) => line.split(" | ").slice(0, 3).map((cell) => cell.replace(/^\| /, "").trim()));
  assertEquals(
    rows,
    Object.entries(mutants).map(([name, { classes, bug }]) => [name, classes.join(" "), bug]),
  );
  assert(!text.includes("not found"), "each was found each time");
});
