/**
 * Keys out of a cluster and into one: what `export` writes, `import` reads, to the last character.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { type Ended, kvapp, Running, withFolder, withNode } from "./processes.ts";

/** Texts that break what is careless with lines, quotes, lengths or characters, in the order of their bytes. */
const nasty = [
  "\0",
  "\n",
  "\r\n",
  " ",
  '"',
  "'",
  "--force",
  "\\",
  "\\n",
  "a\tb",
  '{"key":"x"}',
  "\u007f\u009b2J",
  "\u2028\u2029",
  "\uFEFF",
  "\uFFFD",
  "e\u0301 字 👩‍👩‍👧",
  "\u{10FFFF}",
];

/** A command line for the cluster at hand. */
type Client = (words: readonly string[], stdin?: string) => Promise<Ended>;

function withClient(body: (client: Client, cluster: readonly string[]) => Promise<void>): Promise<void> {
  return withNode((cluster) =>
    body(
      (words, stdin) => kvapp(["client", ...cluster, ...words], stdin === undefined ? {} : { stdin }),
      cluster,
    )
  );
}

function line(key: string, value: string, more: object = {}): string {
  return JSON.stringify({ key, value, ...more }) + "\n";
}

function withoutVersions(lines: string): string {
  return lines.replace(/,"version":\d+\}$/gm, "}");
}

Deno.test("export, import into another cluster and export again give the same bytes but for the versions; list tells of them in pages", async () => {
  const long = "\u0001".repeat(1 << 20); // a line of six MiB
  const pages = Array.from({ length: 2500 }, (_, i) => line(`page/${String(i).padStart(5, "0")}`, `${i}`));
  const odd = [...nasty, "x".repeat(4096)].map((text) => line(text, text));
  const input = [...odd, line("empty", ""), line("long", long), ...pages].join("");
  await withFolder(async (folder) => {
    await withClient(async (client) => {
      assertEquals((await client(["import", "-"], input)).stdout, "2,520 keys written\n");
      const exported = await client(["export", `${folder}/first`]);
      assertMatch(exported.stdout, /^2,520 keys as of index \d+ in .*first\n$/);
    });
    const first = await Deno.readTextFile(`${folder}/first`);
    assertEquals(withoutVersions(first).split("\n").sort(), input.split("\n").sort());
    await withClient(async (client) => {
      assertEquals((await client(["import", `${folder}/first`])).stdout, "2,520 keys written\n");
      const { code, stdout, stderr } = await client(["export"]);
      assertEquals([code, stderr], [0, ""]);
      assert(withoutVersions(stdout) === withoutVersions(first), "another text came back");
      assert(stdout !== first, "the versions are of this cluster");
      const some = ["list", "page/", "--limit", "1500"];
      assertEquals(
        (await client(some)).stdout,
        pages.slice(0, 1500).map((it) => JSON.parse(it).key + "\n").join(""),
      );
      const replies = (await client([...some, "--reverse", "--json"])).stdout.trim().split("\n");
      const [page, last] = replies.map((it) => JSON.parse(it));
      assertEquals([replies.length, page.entries.length, last.entries.length, last.next], [
        2,
        1000,
        500,
        null,
      ]);
      assertEquals([page.entries[0].key, last.entries[499].key], ["page/02499", "page/01000"]);
    });
    assertEquals((await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name), ["first"]);
  });
});

Deno.test("import stops at the first bad line, with its number and how many keys are written", async () => {
  await withClient(async (client) => {
    const bad = await client(["import", "-"], line("a", "1") + "\n" + '{"key":"b"}\n' + line("c", "1"));
    assertEquals([bad.code, bad.stdout], [1, ""]);
    assertStringIncludes(
      bad.stderr,
      "kvapp: line 3: value is missing; expected an object as export writes it",
    );
    assertStringIncludes(bad.stderr, "; 1 key written, then stopped\n");
    assertEquals((await client(["list"])).stdout, "a\n");
    const behind = Array.from({ length: 3000 }, (_, i) => line(`n${i}`, "1")).join("");
    const refused = await client(["import", "-"], line("d", "1") + line("k".repeat(5000), "1") + behind);
    assertEquals(refused.code, 1);
    const told = /^kvapp: line 2: .*4096.*; ([\d,]+) keys? written, then stopped\n$/.exec(refused.stderr);
    const written = Number(told![1]!.replace(",", ""));
    assert(written < 1000, "only what was under way with it");
    assertEquals((await client(["list", "--count"])).stdout, `${1 + written}\n`);
    const missing = await client(["import", "/nowhere/keys"]);
    assertEquals([missing.code, missing.stderr.split(";")[0]], [
      1,
      "kvapp: cannot read /nowhere/keys: No such file or directory\n",
    ]);
  });
});

Deno.test("import keeps the order of a key's lines, and --prefix, --if-new and ttlMs mean what they say", async () => {
  await withClient(async (client) => {
    const twice = Array.from({ length: 1000 }, (_, i) => line(`n${i % 3}`, `${i}`)).join("");
    assertEquals((await client(["import", "-"], twice)).stdout, "1,000 keys written\n");
    assertEquals((await client(["list", "--values"])).stdout, "n0\t999\nn1\t997\nn2\t998\n");
    const more = line("n0", "no") + line("m", "no") + line("new", "1", { version: 3, ttlMs: 600_000 });
    assertEquals(
      (await client(["import", "-", "--prefix", "n", "--if-new"], more)).stdout,
      "1 key written, 2 left alone\n",
    );
    assertEquals((await client(["list", "n", "--values"])).stdout, "n0\t999\nn1\t997\nn2\t998\nnew\t1\n");
    const { ttlMs } = JSON.parse((await client(["--json", "get", "new"])).stdout);
    assert(ttlMs > 500_000 && ttlMs <= 600_000, `${ttlMs}`);
    const exported = (await client(["export", "--prefix", "ne"])).stdout;
    assertMatch(exported, /^\{"key":"new","value":"1","version":\d+,"ttlMs":5\d{5}\}\n$/);
    assertEquals(
      (await client(["--json", "import", "-"], "\n")).stdout,
      '{"ok":true,"written":0,"skipped":0}\n',
    );
    assertStringIncludes((await client([], "import -\n")).stderr, "the shell reads stdin itself");
  });
});

Deno.test("import that is interrupted says how far it came, and that is true", async () => {
  await withNode(async (cluster) => {
    const lines = Array.from({ length: 200_000 }, (_, i) => line(`k${String(i).padStart(6, "0")}`, "v")).join(
      "",
    );
    await withFolder(async (folder) => {
      await Deno.writeTextFile(`${folder}/keys`, lines);
      const importing = new Running(["client", ...cluster, "import", `${folder}/keys`]);
      const watching = new Running(["client", ...cluster, "watch", "--after", "0", "--key", "k000500"]);
      await watching.until("put k000500\tv\n");
      importing.kill("SIGTERM");
      watching.kill("SIGINT");
      const { code, stdout, stderr } = await importing.end();
      assertEquals([code, stdout], [143, ""]);
      const [, written, more, line] =
        /^kvapp: interrupted: ([\d,]+) keys written, up to (\d+) more may be; every line up to ([\d,]+) is done\n$/
          .exec(stderr)!.map((it) => Number(it.replaceAll(",", "")));
      const { stdout: keys } = await kvapp(["client", ...cluster, "list"]);
      const there = keys.trim().split("\n");
      assert(written! > 500 && there.length >= written! && there.length <= written! + more!, stderr);
      assertEquals(there[line! - 1], `k${String(line! - 1).padStart(6, "0")}`);
      assertEquals(await watching.end(), { code: 130, stdout: "put k000500\tv\n", stderr: "" });
    });
  });
});

Deno.test("export shows one file or none: it refuses to replace one, and leaves nothing when it fails", async () => {
  await withFolder(async (folder) => {
    await withClient(async (client) => {
      await client(["import", "-"], ["a", "user/1", "user/2", "z"].map((key) => line(key, "1")).join(""));
      const file = `${folder}/keys`;
      assertEquals((await client(["export", file, "--prefix", "user/", "--start", "user/2"])).code, 0);
      const before = await Deno.readTextFile(file);
      assertEquals(withoutVersions(before), line("user/2", "1"));
      const refused = await client(["export", file]);
      assertEquals([refused.code, refused.stdout, refused.stderr], [
        1,
        "",
        `kvapp: ${file} exists: --force replaces it\n`,
      ]);
      assertEquals(await Deno.readTextFile(file), before);
      const expired = await client(["export", "--force", file, "--start", "x".repeat(5000)]);
      assertEquals(expired.code, 1);
      assertEquals(await Deno.readTextFile(file), before, "the request was refused: the old file stays");
      assertEquals((await Array.fromAsync(Deno.readDir(folder))).length, 1);
      assertMatch(
        (await client(["--json", "export", "--force", file])).stdout,
        /^\{"ok":true,"keys":4,"index":\d+\}\n$/,
      );
      assertEquals((await Deno.readTextFile(file)).split("\n").length, 5);
      await Deno.writeTextFile(`${file}2.tmp`, "");
      assertStringIncludes((await client(["export", `${file}2`])).stderr, "keys2.tmp exists: another export");
      assertStringIncludes((await client(["export", "--force", folder])).stderr, "is no file");
      const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
      assertEquals(names.sort(), ["keys", "keys2.tmp"]);
    });
  });
});
