/**
 * Runs each program of examples/ as a reader would, and holds it to what it says.
 *
 * @module
 */

import { assertEquals, assertGreaterOrEqual, assertMatch, assertNotEquals } from "@std/assert";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../examples/", import.meta.url));

/** What the program prints, by lines. It must end by itself, in order, and say nothing on stderr. */
async function linesOf(name: string): Promise<string[]> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", name],
    cwd: folder,
    env: { NO_COLOR: "1" },
  }).output();
  assertEquals([code, new TextDecoder().decode(stderr)], [0, ""], name);
  return new TextDecoder().decode(stdout).trim().split("\n");
}

Deno.test("counter.ts counts on, when its leader is lost and when it comes back", async () => {
  const lines = await linesOf("counter.ts");
  const first = /^added 5 through node (\d)$/.exec(lines[0]!)![1];
  const second = /^added 30 through node (\d)$/.exec(lines[3]!)![1];
  assertNotEquals(first, second);
  const onDisk = Number(/^node \d is back, with (\d+) entries on its disk$/.exec(lines[4]!)![1]);
  assertGreaterOrEqual(onDisk, 4); // who belongs to the cluster, the leader's no-op, and two additions
  assertEquals(lines, [
    `added 5 through node ${first}`,
    `added 7 through node ${first}`,
    `node ${first}, which led, is dead`,
    `added 30 through node ${second}`,
    `node ${first} is back, with ${onDisk} entries on its disk`,
    ...lines.slice(5),
  ]);
  assertEquals(lines.slice(5).sort(), ["node 1 reads 42", "node 2 reads 42", "node 3 reads 42"]);
});

Deno.test("embed.ts keeps its data from one node to the next", async () => {
  assertEquals(await linesOf("embed.ts"), [
    "visits: 1n",
    "folderLocked",
    "closed",
    "color: blue",
    "visits: 2n",
    "closed",
  ]);
});

Deno.test("lock.ts gives each worker the lock in turn, also after one that died with it", async () => {
  const lines = await linesOf("lock.ts");
  const [dies] = lines.splice(2, 1);
  assertMatch(dies!, /^\w+ dies with it$/);
  const turns = lines.map((line) => /^(\w+) is number (\d) to have the lock, with token (\d+)$/.exec(line)!);
  assertEquals(turns.map(([, name]) => name).sort(), ["Ada", "Bob", "Cleo", "Dan"]);
  assertEquals(turns.map(([, , place]) => place), ["1", "2", "3", "4"]);
  const tokens = turns.map(([, , , token]) => Number(token));
  assertEquals(tokens, tokens.toSorted((a, b) => a - b));
});

Deno.test("README.md names every example", async () => {
  const readme = await Deno.readTextFile(new URL("../README.md", import.meta.url));
  const programs = Array.from(Deno.readDirSync(folder), ({ name }) => name).filter((it) =>
    it !== "counter_disk.ts"
  );
  assertEquals(programs.filter((name) => !readme.includes(`deno run -A examples/${name}`)), []);
});
