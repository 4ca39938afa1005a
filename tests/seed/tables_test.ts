/**
 * Holds the tables of README.md and ../ORIGINAL_TESTS.md to the tests that they name, so that none is lost unnoticed.
 *
 * @module
 */

import { assert, assertEquals, assertLessOrEqual } from "@std/assert";

const tests = new URL("../", import.meta.url);

/** The rows of a table below its head, as cells. */
async function rowsOf(path: string): Promise<string[][]> {
  const lines = (await Deno.readTextFile(new URL(path, tests))).split("\n").filter((line) =>
    line.startsWith("|")
  );
  return lines.slice(2).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
}

/** Checks the tests that a cell names, such as "`raft/log_test.ts` Log() is empty<br>...". Returns how many there are. */
async function checkTests(cell: string): Promise<number> {
  const named = cell.split("<br>");
  for (const one of named) {
    const match = /^`([\w/.]+\.ts)` (.+)$/.exec(one);
    assert(match !== null, `a file and a test: ${one}`);
    const source = await Deno.readTextFile(new URL(match[1]!, tests));
    assert(source.includes(`"${match[2]}"`), `${match[1]} has no test "${match[2]}"`);
  }
  return named.length;
}

Deno.test("README.md names a test that exists for each of the 34 bugs and S1 to S16", async () => {
  const rows = await rowsOf("seed/README.md");
  for (const cells of rows) assert(await checkTests(cells[3]!) > 0);
  const named = (column: number) => new Set(rows.map((cells) => cells[column]!));
  for (let bug = 1; bug <= 34; bug++) assert(named(0).has(String(bug)), `bug ${bug} is in the table`);
  for (let bug = 1; bug <= 16; bug++) assert(named(1).has(`S${bug}`), `S${bug} is in the table`);
});

Deno.test("ORIGINAL_TESTS.md has all 145 tests: each is covered by one that exists, or senseless for a reason", async () => {
  const rows = await rowsOf("ORIGINAL_TESTS.md");
  assertEquals(rows.map(([number]) => Number(number)), Array.from({ length: 145 }, (_, i) => i + 1));
  const senseless = rows.filter((cells) => cells[3]!.startsWith("senseless: "));
  assertLessOrEqual(senseless.length, 25);
  for (const cells of rows) if (!senseless.includes(cells)) assert(await checkTests(cells[3]!) > 0);
});
