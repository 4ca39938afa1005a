import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { crcOfLine, makeEntry, sealLine } from "../../lib/raft/entry.ts";
import { encodeState } from "../../lib/storage/formats.ts";
import { type Ended, freePorts, kvapp, Running, withFolder } from "./processes.ts";

const firstLog = "log/00000000000000000001.log";
const golden = new URL("../storage/golden/format_1/", import.meta.url);

/** A folder that a node of format 1 left: five entries, and a state file that vouches for all of them. */
async function withGolden(body: (folder: string, log: string[]) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    await Deno.mkdir(`${folder}/log`);
    await Deno.copyFile(new URL("log.txt", golden), `${folder}/${firstLog}`);
    await putState(folder);
    const text = await Deno.readTextFile(`${folder}/${firstLog}`);
    await body(folder, text.split("\n").slice(0, -1).map((line) => line + "\n"));
  });
}

/** The state file of that folder. */
async function putState(folder: string): Promise<void> {
  const incarnation = "0123456789abcdef";
  const pinned = [{ id: 1, address: "127.0.0.1:8080", incarnation }];
  const state = encodeState({
    identity: { nodeId: 1, incarnation, starts: 2, clusterId: "00000000c1a55e75", pinned },
    hardState: { currentTerm: 2, votedFor: 1, admittedIndex: 1 },
    mark: { index: 5, crc: 0x8474eea8 },
  });
  await Deno.writeFile(`${folder}/state.json`, state);
}

/** Runs `kvapp inspect`, which must leave every file and folder as it was, times of change included. */
async function inspect(folder: string, ...options: string[]): Promise<Ended> {
  const before = await pictureOf(folder);
  const ended = await kvapp(["inspect", folder, ...options]);
  assertEquals(await pictureOf(folder), before);
  return ended;
}

async function pictureOf(path: string): Promise<string[]> {
  const { mtime, size, isDirectory } = await Deno.stat(path);
  const picture = [`${path} ${mtime?.getTime()} ${size}`];
  if (!isDirectory) return [...picture, (await Deno.readFile(path)).join()];
  for await (const { name } of Deno.readDir(path)) picture.push(...await pictureOf(`${path}/${name}`));
  return picture.sort();
}

/** The lines of entries, without header and marks. */
function entryLines(log: readonly string[]): string[] {
  return log.filter((line) => line.includes(`"index":`));
}

/** Flips a bit of a file. */
async function damage(path: string, offset: number): Promise<void> {
  const bytes = await Deno.readFile(path);
  bytes[offset]! ^= 1;
  await Deno.writeFile(path, bytes);
}

Deno.test("inspect refuses a folder while a node runs on it, and tells all of it afterwards", async () => {
  await withFolder(async (parent) => {
    const folder = `${parent}/data`;
    const bind = `127.0.0.1:${freePorts(1)}`;
    const node = new Running(["serve", "--bind", bind, "--data-dir", folder]);
    await node.until("leads term");
    assertEquals((await kvapp(["client", "--cluster", bind, "put", "color", "green"])).code, 0);
    const refused = await kvapp(["inspect", folder]);
    assertEquals([refused.code, refused.stdout], [4, ""]);
    assertEquals(await Deno.readTextFile(`${folder}/LOCK`), `${node.pid}\n`);
    assertStringIncludes(refused.stderr, `a node runs on ${folder} and changes it: stop the node first`);
    node.kill("SIGTERM");
    assertEquals((await node.end()).code, 0);

    const { code, stdout, stderr } = await inspect(folder);
    assertEquals([code, stderr], [0, ""], stdout);
    assertMatch(stdout, /^node {5}1, incarnation [0-9a-f]{16}\nstarts {3}1\ncluster {2}[0-9a-f]{16}$/m);
    assertStringIncludes(stdout, `members  1=${bind} (entry 1)\n`);
    assertMatch(
      stdout,
      /^admitted a member since entry 1\nterm {5}1, voted for 1\nsnapshot none\nlog {6}entries 1 to 4, terms 0 to 1$/m,
    );
    assertMatch(stdout, /^durable {2}up to entry 4, says state.json$/m);
    assertStringIncludes(stdout, `${firstLog}  ${Deno.statSync(`${folder}/${firstLog}`).size} `);
    assertMatch(stdout, /A start would say:\n {2}recovered term 1 and the log up to entry 4 of term 1\n$/);
    const entries = (await inspect(folder, "--log")).stdout.split("\n");
    assertEquals(entries[1], "2\t1\tnoop");
    assertMatch(entries.at(-2)!, /^4\t1\tcommand\t\{"op":"put","key":"color","value":"green"/);
  });
});

Deno.test("inspect --json tells the same to programs, and --log --json gives the lines themselves", async () => {
  await withGolden(async (folder, log) => {
    const { code, stdout } = await inspect(folder, "--json");
    assertEquals(code, 0);
    const member = { id: 1, address: "127.0.0.1:8080", incarnation: "0123456789abcdef" };
    const range = { first: { index: 1, term: 0 }, last: { index: 5, term: 2 } };
    const { files, ...report } = JSON.parse(stdout);
    assertEquals(report, {
      folder,
      identity: { nodeId: 1, incarnation: member.incarnation, starts: 2, clusterId: "00000000c1a55e75" },
      currentTerm: 2,
      votedFor: 1,
      members: { from: 1, list: [member] },
      admitted: 1,
      abstains: false,
      snapshot: null,
      log: range,
      vouched: { index: 5, by: "state.json" },
      verdict: "starts",
      start: ["recovered term 2 and the log up to entry 5 of term 2"],
      damage: null,
      refusal: null,
    });
    assertEquals(files[0].log, { firstIndex: 1, ...range, mark: 3, bad: null });
    assertEquals(files.map(({ name }: { name: string }) => name), [firstLog, "state.json"]);
    assertEquals(files[0].bytes, Deno.statSync(`${folder}/${firstLog}`).size);
    assertEquals((await inspect(folder, "--log", "--json")).stdout, entryLines(log).join(""));
  });
});

Deno.test("inspect tells of a torn tail what a start would cut, and that is no damage", async () => {
  await withGolden(async (folder, log) => {
    const size = Deno.statSync(`${folder}/${firstLog}`).size;
    const last = asBytes(entryLines(log).at(-1)!);
    const noop = { term: 2, kind: "noop", command: null } as const;
    const early = makeEntry({ ...noop, index: 9, prevCrc: crcOfLine(last) }).line;
    const stranger = makeEntry({ ...noop, index: 6, prevCrc: 1 }).line;
    const tails: [Uint8Array, string][] = [
      [last.slice(0, 40), "the checksum does not match the line"],
      [new Uint8Array(512), "the line is not whole"],
      [asBytes("two\nlines\n"), "the line is not whole"],
      [early, "the line is entry 9, which does not follow the line before it"],
      [stranger, "the line is entry 6, which does not follow the line before it"],
    ];
    for (const [tail, reason] of tails) {
      await Deno.truncate(`${folder}/${firstLog}`, size);
      await Deno.writeFile(`${folder}/${firstLog}`, tail, { append: true });
      const { code, stdout, stderr } = await inspect(folder);
      assertEquals([code, stderr], [0, ""]);
      const bad = `bad from byte ${size}, entry 6: ${reason} (${tail.length} bytes)`;
      assertStringIncludes(stdout, `entries 1 to 5, terms 0 to 2; durable up to entry 3; ${bad}\n`);
      assertStringIncludes(stdout, "The folder is whole. A start would say:");
      assertStringIncludes(stdout, `a write that a crash cut short: ${tail.length} bytes from byte ${size}`);
      const listed = await inspect(folder, "--log", "--json");
      assertEquals(listed, {
        code: 0,
        stdout: entryLines(log).join(""),
        stderr: `kvapp: ${firstLog} is ${bad}\n`,
      });
    }
  });
});

Deno.test("inspect names damage by file, byte and entry, shows what is readable and exits 4", async () => {
  await withGolden(async (folder, log) => {
    const at = log.join("").indexOf(entryLines(log)[2]!);
    await damage(`${folder}/${firstLog}`, at + 60);
    const { code, stdout, stderr } = await inspect(folder);
    assertEquals(code, 4);
    assertStringIncludes(
      stderr,
      `kvapp: ${firstLog} is damaged at byte ${at}, entry 3: the checksum does not match`,
    );
    assertStringIncludes(
      stdout,
      "log      entries 1 to 2, terms 0 to 1\ndurable  up to entry 5, says state.json\n",
    );
    assertStringIncludes(
      stdout,
      `entries 1 to 2, terms 0 to 1; durable up to entry 1; bad from byte ${at}, entry 3`,
    );
    assertStringIncludes(stdout, "A start would refuse this folder.");
    const listed = await inspect(folder, "--log", "--json");
    assertEquals([listed.code, listed.stdout], [4, entryLines(log).slice(0, 2).join("")]);
    const report = JSON.parse((await inspect(folder, "--json")).stdout);
    assertStringIncludes(report.damage, `byte ${at}, entry 3`);
    assertEquals([report.files[0].log.bad.offset, report.files[0].log.bad.index], [at, 3]);
  });
});

Deno.test("inspect shows the log when the state file is damaged, missing or of a newer version", async () => {
  await withGolden(async (folder) => {
    const state = await Deno.readTextFile(`${folder}/state.json`);
    const newer = state.slice(state.indexOf(",") + 1, -1).replace(`"format":1`, `"format":9`);
    const cases: [string | Uint8Array | null, string, string][] = [
      [state.replace(`"nodeId":1`, `"nodeId":2`), "cannot be read", "state.json is damaged: its checksum"],
      [sealLine(newer), "cannot be read", "state.json has format 9"],
      [null, "is missing", `state.json is missing, though there is ${firstLog}`],
    ];
    for (const [contents, said, refusal] of cases) {
      if (contents === null) await Deno.remove(`${folder}/state.json`);
      else await Deno.writeFile(`${folder}/state.json`, asBytes(contents));
      const { code, stdout, stderr } = await inspect(folder);
      assertEquals(code, 4);
      assertStringIncludes(stderr, refusal);
      assertStringIncludes(stdout, `node     state.json ${said}\n`);
      assertStringIncludes(stdout, "members  1=127.0.0.1:8080 (entry 1)\n");
      assertStringIncludes(
        stdout,
        `log      entries 1 to 5, terms 0 to 2\ndurable  up to entry 3, says a mark in ${firstLog}\n`,
      );
    }
  });
});

function asBytes(contents: string | Uint8Array): Uint8Array {
  return typeof contents === "string" ? new TextEncoder().encode(contents) : contents;
}

Deno.test("inspect tells of a cluster that is not founded yet", async () => {
  await withFolder(async (folder) => {
    const identity = { nodeId: 2, incarnation: "0123456789abcdef", starts: 1, clusterId: null };
    const hardState = { currentTerm: 0, votedFor: null, admittedIndex: 0 };
    const members = [1, 2].map((id) => ({
      id,
      address: `localhost:808${id}`,
      incarnation: "0123456789abcdef",
    }));
    for (
      const [pinned, said] of [
        [null, "none yet"],
        [members, "1=localhost:8081, 2=localhost:8082 (agreed on, not founded yet)"],
      ] as const
    ) {
      const state = encodeState({
        identity: { ...identity, pinned: pinned && [...pinned] },
        hardState,
        mark: { index: 0, crc: 0 },
      });
      await Deno.writeFile(`${folder}/state.json`, state);
      const { code, stdout } = await inspect(folder);
      assertEquals(code, 0);
      assertStringIncludes(stdout, `starts   1\ncluster  none yet\nmembers  ${said}\n`);
      assertStringIncludes(
        stdout,
        "admitted the cluster is not founded yet\nterm     0, voted for nobody\nsnapshot none\nlog      no entry\ndurable  nothing says so\n",
      );
    }
  });
});

Deno.test("inspect reads a log of several files as one, and sees a gap between them", async () => {
  await withGolden(async (folder, log) => {
    const third = entryLines(log)[2]!;
    const cut = log.indexOf(third) + 1;
    const prev = crcOfLine(asBytes(third)).toString(16).padStart(8, "0");
    const header = `"format":1,"clusterId":"00000000c1a55e75","nodeId":1,"firstIndex":4,"prev":"${prev}"}`;
    const second = "log/00000000000000000004.log";
    await Deno.writeTextFile(`${folder}/${firstLog}`, log.slice(0, cut).join(""));
    await Deno.writeFile(`${folder}/${second}`, sealLine(header));
    await Deno.writeTextFile(`${folder}/${second}`, log.slice(cut).join(""), { append: true });
    const { code, stdout } = await inspect(folder);
    assertEquals(code, 0);
    assertStringIncludes(stdout, "log      entries 1 to 5, terms 0 to 2\n");
    assertMatch(stdout, new RegExp(`^${firstLog} +\\d+ +entries 1 to 3, terms 0 to 1; durable`, "m"));
    assertMatch(stdout, new RegExp(`^${second} +\\d+ +entries 4 to 5, term 2`, "m"));
    assertEquals((await inspect(folder, "--log", "--json")).stdout, entryLines(log).join(""));

    await Deno.remove(`${folder}/state.json`);
    assertStringIncludes((await inspect(folder)).stdout, `\ndurable  up to entry 3, says ${second}\n`);
    await putState(folder);
    await Deno.writeTextFile(`${folder}/${firstLog}`, log.slice(0, cut - 1).join(""));
    const gap = await inspect(folder);
    assertEquals(gap.code, 4);
    assertStringIncludes(gap.stdout, "log      entries 1 to 2, terms 0 to 1\n");
    assertStringIncludes(gap.stderr, `${firstLog} is damaged at byte`);
  });
});

Deno.test("inspect refuses what is no data folder and options that do not go together", async () => {
  await withGolden(async (folder) => {
    const parent = folder.slice(0, folder.lastIndexOf("/"));
    await Deno.mkdir(`${folder}/outer/1`, { recursive: true });
    await Deno.copyFile(`${folder}/state.json`, `${folder}/outer/1/state.json`);
    const cases: [string[], number, string][] = [
      [[], 2, "name one data folder"],
      [[folder, parent], 2, "name one data folder"],
      [[folder, "--log", "--snapshot"], 2, "give --log or --snapshot, not both"],
      [[folder, "--accept-loss"], 2, "--accept-loss goes with --repair"],
      [[`${folder}/none`], 4, `cannot read ${folder}/none: `],
      [[`${folder}/state.json`], 4, `cannot read ${folder}/state.json: `],
      [[`${folder}/outer`], 4, `has neither state.json nor log/. There is ${folder}/outer/1`],
    ];
    for (const [args, code, message] of cases) {
      const ended = await kvapp(["inspect", ...args]);
      assertStringIncludes(ended.stderr, message, args.join(" "));
      assertEquals([ended.code, ended.stdout], [code, ""], args.join(" "));
    }
    assertStringIncludes((await kvapp(["inspect", "--help"])).stdout, "kvapp inspect DIR --log [--json]");
  });
});
