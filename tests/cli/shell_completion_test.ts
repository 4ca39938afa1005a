import { assertEquals } from "@std/assert";
import { complete } from "../../lib/cli/shell_completion.ts";
import { connect } from "../../mod.ts";
import { FaultyCluster } from "../client/nodes_with_faults.ts";
import { withFolder } from "./processes.ts";

async function withKeys(
  keys: readonly string[],
  body: (complete: (line: string) => Promise<[string[], string]>, cluster: FaultyCluster) => Promise<void>,
): Promise<void> {
  const cluster = new FaultyCluster(1);
  try {
    await using client = await connect(cluster.cluster);
    for (const key of keys) await client.put(key, "");
    await body((line) => complete(client, line), cluster);
  } finally {
    await cluster.close();
  }
}

Deno.test("complete() knows commands and the options of each", async () => {
  await withKeys(["--a"], async (complete) => {
    assertEquals(await complete("de"), [["delete ", "deleteRange "], "de"]);
    assertEquals(await complete("\\"), [["\\json "], "\\"]);
    assertEquals(await complete("watch --"), [["--key ", "--after "], "--"]);
    assertEquals(await complete("export --f"), [["--force "], "--f"]);
    assertEquals(await complete("status "), [[], ""]);
    assertEquals(await complete("toString x"), [[], "x"]);
  });
});

Deno.test("complete() gives keys where a key stands, behind options too, and nothing where a value does", async () => {
  await withKeys(["user/1", "user/2", "z\u001b[2J"], async (complete) => {
    assertEquals(await complete("get us"), [["user/1", "user/2"], "us"]);
    assertEquals(await complete("put --if-version 7 user/2"), [["user/2"], "user/2"]);
    assertEquals(await complete("watch --key user/1"), [["user/1"], "user/1"]);
    assertEquals(await complete("put user/1 us"), [[], "us"]);
    assertEquals(await complete("get z"), [[], "z"], "it would write control characters to the terminal");
  });
});

Deno.test("complete() quotes keys with blanks, and all when they go on alike, for readline inserts what they share", async () => {
  await withKeys(["user/1", "user/two words", "zoo"], async (complete) => {
    assertEquals(await complete("get user/t"), [['"user/two words"'], "user/t"]);
    assertEquals(await complete("get us"), [['"user/1"', '"user/two words"'], "us"]);
    assertEquals(await complete("get "), [["user/1", '"user/two words"', "zoo"], ""]);
    assertEquals(await complete("get 'user/two w"), [["'user/two words'"], "'user/two w"]);
    assertEquals(await complete('get "zo'), [['"zoo"'], '"zo']);
  });
});

Deno.test("complete() gives the last key beside the first ones, so that what they share is shared by all", async () => {
  const keys = Array.from({ length: 60 }, (_, i) => `a0${String(i).padStart(2, "0")}`);
  await withKeys([...keys, "a9"], async (complete) => {
    const [candidates] = await complete("get a");
    assertEquals([candidates.length, candidates[0], candidates.at(-1)], [51, "a000", "a9"]);
  });
});

Deno.test("complete() is silent when the cluster does not answer", async () => {
  await withKeys(["a"], async (complete, cluster) => {
    cluster.spoil((_, { op }) => op === "list" ? "silence" : null);
    assertEquals(await complete("get a"), [[], "a"]);
  });
});

Deno.test("complete() gives files to import and export", async () => {
  await withFolder(async (folder) => {
    await Deno.mkdir(`${folder}/backups`);
    await Deno.writeTextFile(`${folder}/b one.ndjson`, "");
    await withKeys([], async (complete) => {
      const typed = `${folder}/b`;
      assertEquals(await complete(`import ${typed}`), [
        [`"${folder}/b one.ndjson"`, `${folder}/backups/`],
        typed,
      ]);
      assertEquals(await complete(`export --force ${folder}/ba`), [[`${folder}/backups/`], `${folder}/ba`]);
      assertEquals(await complete(`import ${folder}/nowhere/x`), [[], `${folder}/nowhere/x`]);
    });
  });
});
