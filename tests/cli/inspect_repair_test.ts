import { assert, assertEquals, assertMatch, assertNotEquals, assertStringIncludes } from "@std/assert";
import { openFolder } from "../../lib/io/deno_io.ts";
import type { Disk, Done } from "../../lib/io/io.ts";
import { clusterIdOf } from "../../lib/protocol/peer_protocol.ts";
import { makeEntry } from "../../lib/raft/entry.ts";
import type { Entry, EntryKind, Member } from "../../lib/raft/types.ts";
import { decodeState, type State } from "../../lib/storage/formats.ts";
import { encodeSnapshot } from "../../lib/storage/snapshot_format.ts";
import { Storage } from "../../lib/storage/storage.ts";
import { blocksOf } from "../storage/snapshots.ts";
import { type Ended, freePorts, kvapp, Running, withFolder } from "./processes.ts";

const firstLog = "log/00000000000000000001.log";
const incarnation = "0123456789abcdef";
const otherName = "fedcba9876543210";

/** The members of a cluster of so many nodes; this folder is that of node 1. */
function membersOf(count: number): Member[] {
  const base = freePorts(count);
  const name = (id: number) => id === 1 ? incarnation : String(id).repeat(16);
  return Array.from({ length: count }, (_, i) => i + 1)
    .map((id) => ({ id, address: `127.0.0.1:${base + id - 1}`, incarnation: name(id) }));
}

/** Entry 1 names the members, 2 opens term 1, and 3 to 6 put a, b, c and d. */
function entriesFor(members: Member[]): Entry[] {
  const entries: Entry[] = [];
  const add = (kind: EntryKind, command: unknown): void => {
    const prevCrc = entries.at(-1)?.crc ?? 0;
    entries.push(
      makeEntry({ index: entries.length + 1, term: Math.min(1, entries.length), kind, command, prevCrc }),
    );
  };
  add("configuration", { members });
  add("noop", null);
  for (const key of ["a", "b", "c", "d"]) add("command", { op: "put", key, value: `value of ${key}` });
  return entries;
}

interface Made {
  folder: string;
  members: Member[];
  entries: Entry[];
}

/** A folder as a node of a cluster of so many leaves it on a clean stop; with the name `named` it is not the members'. */
async function withMade(
  options: { nodes: number; snapshots?: number[]; named?: string },
  body: (made: Made) => Promise<void>,
): Promise<void> {
  await withFolder(async (parent) => {
    const folder = `${parent}/data`;
    const members = membersOf(options.nodes);
    const entries = entriesFor(members);
    const named = options.named ?? incarnation;
    const admittedIndex = named === incarnation ? 1 : 0;
    const identity = {
      nodeId: 1,
      incarnation: named,
      starts: 1,
      clusterId: clusterIdOf(members),
      pinned: members,
    };
    await onDisk(folder, async (disk) => {
      const storage = new Storage(disk);
      storage.recover(1);
      await finish((done) => storage.open(identity, done));
      for (const index of options.snapshots ?? []) {
        const { term, crc } = entries[index - 1]!;
        const metadata = {
          lastIncludedIndex: index,
          lastIncludedTerm: term,
          lastIncludedCrc: crc,
          configuration: { members },
          configurationIndex: 1,
        };
        const contents = { clusterId: identity.clusterId, keys: 2, sessions: 1 };
        const lines = [
          `{"key":"a","value":"value of a","version":3}`,
          `{"key":"b","value":"x\\ty","version":4}`,
          `{"session":"2","forgotten":0,"answers":[[1,{"ok":true,"index":3,"version":3}]]}`,
        ];
        let offset = 0;
        for (const bytes of encodeSnapshot(metadata, contents, blocksOf(lines))) {
          await finish((done) => storage.snapshots.write(index, offset, bytes, done));
          offset += bytes.length;
        }
      }
      const hardState = { currentTerm: 1, votedFor: 1, admittedIndex };
      const write = { hardState, chunks: [], snapshot: null, entries, messages: [] };
      await finish((done) => storage.append([write], done));
      await finish((done) => storage.close(done));
    });
    await body({ folder, members, entries });
  });
}

async function onDisk(folder: string, body: (disk: Disk) => Promise<void>): Promise<void> {
  const { disk, close } = await openFolder(folder);
  await body(disk);
  await close();
}

async function finish(start: (done: Done) => void): Promise<void> {
  assertEquals(await new Promise<Error | null>((resolve) => start(resolve)), null);
}

/** Flips a bit of the line of an entry; returns where the line begins. */
async function damageEntry({ folder, entries }: Made, index: number): Promise<number> {
  const path = `${folder}/${firstLog}`;
  const at = (await Deno.readTextFile(path)).indexOf(new TextDecoder().decode(entries[index - 1]!.line));
  await flip(path, at + 50);
  return at;
}

async function flip(path: string, offset: number): Promise<void> {
  const bytes = await Deno.readFile(path);
  bytes[offset]! ^= 1;
  await Deno.writeFile(path, bytes);
}

function stateIn(folder: string): State {
  const state = decodeState(Deno.readFileSync(`${folder}/state.json`), 1);
  assert(state !== null);
  return state;
}

/** All files and their contents, the lock and the reserve aside. */
function contentsOf(path: string): string[] {
  return Array.from(Deno.readDirSync(path)).flatMap(({ name, isDirectory }) =>
    isDirectory
      ? contentsOf(`${path}/${name}`)
      : /^(LOCK|RESERVE)$/i.test(name)
      ? []
      : [`${path}/${name}: ${Deno.readFileSync(`${path}/${name}`).join()}`]
  ).sort();
}

/** Runs `kvapp inspect` with options that must not change anything. */
async function inspect(folder: string, ...options: string[]): Promise<Ended> {
  const before = contentsOf(folder);
  const ended = await kvapp(["inspect", folder, ...options]);
  assertEquals(contentsOf(folder), before, ended.stderr);
  return ended;
}

/** Starts the only node of a cluster on its folder and reads these keys. */
async function readAlone({ folder, members }: Made, keys: string[]): Promise<string[]> {
  const bind = members[0]!.address;
  const node = new Running(["serve", "--bind", bind, "--data-dir", folder]);
  try {
    await node.until("leads term");
    const values: string[] = [];
    for (const key of keys) {
      values.push((await kvapp(["client", "--cluster", bind, "get", key])).stdout.trim());
    }
    assertEquals((await kvapp(["client", "--cluster", bind, "put", "new", "1"])).code, 0);
    return values;
  } finally {
    node.kill("SIGTERM");
    assertEquals((await node.end()).code, 0, node.stderr);
  }
}

Deno.test("inspect tells what each snapshot holds and prints the newest whole one", async () => {
  await withMade({ nodes: 1, snapshots: [4, 5] }, async ({ folder }) => {
    const older = "snapshots/00000000000000000004.ndjson";
    const newer = "snapshots/00000000000000000005.ndjson";
    const whole = await inspect(folder);
    assertEquals([whole.code, whole.stderr], [0, ""]);
    assertStringIncludes(
      whole.stdout,
      "snapshot up to entry 5, term 1: 2 keys, 1 session; the log goes on behind it with entries 6 to 6, term 1\n",
    );
    assertMatch(whole.stdout, new RegExp(`^${older} .*2 keys, 1 session; whole, kept in case`, "m"));
    assertMatch(
      whole.stdout,
      new RegExp(`^${newer} .*the state up to entry 5, term 1: .*whole, in use$`, "m"),
    );

    await flip(`${folder}/${newer}`, (await Deno.readTextFile(`${folder}/${newer}`)).indexOf("value of a"));
    const rotted = await inspect(folder);
    assertEquals(rotted.code, 0, rotted.stderr);
    assertMatch(
      rotted.stdout,
      new RegExp(`^${newer} .*not whole, not used: byte \\d+: block 1 is not as it was`, "m"),
    );
    assertStringIncludes(
      rotted.stdout,
      "snapshot up to entry 4, term 1: 2 keys, 1 session; the log goes on behind",
    );
    const report = JSON.parse((await inspect(folder, "--json")).stdout);
    const last = { index: 6, term: 1 };
    const logBehind = { first: { index: 5, term: 1 }, last };
    assertEquals(report.snapshot, { index: 4, term: 1, keys: 2, sessions: 1, logBehind });
    assertEquals(report.log.last, last);
    const files = report.files.filter(({ snapshot }: { snapshot?: unknown }) => snapshot !== undefined);
    assertEquals(
      files.map((
        { snapshot: { index, isWhole } }: Ended & { snapshot: Record<string, unknown> },
      ) => [index, isWhole]),
      [[4, true], [5, false]],
    );

    assertEquals(
      (await inspect(folder, "--snapshot")).stdout,
      "a\t3\tvalue of a\nb\t4\tx\ty\n1 session with 1 answer\n",
    );
    const { stdout, code } = await inspect(folder, "--snapshot", "--json");
    assertEquals(code, 0);
    const text = await Deno.readTextFile(`${folder}/${older}`);
    assertEquals(
      stdout,
      text.split("\n").filter((line) => line !== "" && !line.startsWith(`{"crc"`)).join("\n") + "\n",
    );
  });
});

Deno.test("inspect shows the log behind a snapshot when what is in front of it is bad, which is no damage", async () => {
  await withMade({ nodes: 1, snapshots: [4] }, async (made) => {
    const at = await damageEntry(made, 3);
    const { code, stdout, stderr } = await inspect(made.folder);
    assertEquals([code, stderr], [0, ""]);
    assertStringIncludes(stdout, "log      entries 5 to 6, term 1\n");
    const bytes = made.entries.slice(2, 4).reduce((sum, { line }) => sum + line.length, 0);
    const bad = `bad from byte ${at}, entry 3: the checksum does not match the line (${bytes} bytes)`;
    assertStringIncludes(stdout, `entries 1 to 6, terms 0 to 1; ${bad}\n`);
    const listed = await inspect(made.folder, "--log");
    assertEquals(listed.stdout.split("\n").map((line) => line.split("\t")[0]), ["1", "2", "5", "6", ""]);
    assertStringIncludes(listed.stderr, bad);
  });
});

Deno.test("inspect --snapshot says so when there is none, or none that is whole", async () => {
  await withMade({ nodes: 3, snapshots: [5] }, async ({ folder }) => {
    const name = `${folder}/snapshots/00000000000000000005.ndjson`;
    await Deno.truncate(name, 300);
    const torn = await inspect(folder, "--snapshot");
    assertEquals([torn.code, torn.stdout], [1, ""]);
    assertStringIncludes(torn.stderr, `${folder} has no whole snapshot`);
    await Deno.remove(name);
    const none = await inspect(folder, "--snapshot", "--json");
    assertEquals([none.code, none.stdout], [1, ""]);
    assertStringIncludes(none.stderr, `${folder} has no snapshot`);
  });
});

Deno.test("inspect --repair leaves a whole folder alone and cuts a torn tail off as a start does", async () => {
  await withMade({ nodes: 3 }, async ({ folder }) => {
    const nothing = await inspect(folder, "--repair");
    assertEquals([nothing.code, nothing.stdout], [0, `${folder}: there is nothing to repair\n`]);

    const size = Deno.statSync(`${folder}/${firstLog}`).size;
    await Deno.writeTextFile(`${folder}/${firstLog}`, "half a li", { append: true });
    const refused = await inspect(folder, "--repair", "--accept-loss");
    assertEquals([refused.code, refused.stdout], [1, ""]);
    assertStringIncludes(
      refused.stderr,
      "no loss to accept: nothing is damaged, and the node is a member since entry 1",
    );
    const { code, stdout } = await kvapp(["inspect", folder, "--repair"]);
    assertEquals(code, 0);
    const kept = `${folder}/torn/start-2-log-1-byte-${size}`;
    assertStringIncludes(stdout, `incarnation ${incarnation}, start 2, a member since entry 1\n`);
    assertStringIncludes(stdout, `what was cut off is kept in:\n  ${kept}\n`);
    assertEquals(await Deno.readTextFile(kept), "half a li");
    assertEquals(Deno.statSync(`${folder}/${firstLog}`).size, size);
    assertStringIncludes((await inspect(folder, "--repair")).stdout, "there is nothing to repair");
    const whole = await inspect(folder, "--repair", "--accept-loss");
    assertEquals(whole.code, 1);
  });
});

Deno.test("inspect --repair gives a damaged folder of a cluster a new name, once", async () => {
  await withMade({ nodes: 3 }, async (made) => {
    const { folder } = made;
    const at = await damageEntry(made, 4);
    const { code, stdout, stderr } = await inspect(folder);
    assertEquals(code, 0);
    assertStringIncludes(stderr, `kvapp: warning: ${firstLog} is damaged at byte ${at}, entry 4: `);
    assertStringIncludes(stdout, "admitted a member since entry 1\n");
    assertStringIncludes(
      stdout,
      "A start would repair it under a new name and wait for the others. It would say:\n",
    );
    const report = JSON.parse((await inspect(folder, "--json")).stdout);
    assertEquals([report.verdict, report.refusal, report.admitted], ["repairsItself", null, 1]);
    assertStringIncludes(report.damage, "entry 4");

    const before = await Deno.readFile(`${folder}/${firstLog}`);
    const repaired = await kvapp(["inspect", folder, "--repair", "--json"]);
    assertEquals(repaired.code, 0, repaired.stderr);
    const done = JSON.parse(repaired.stdout);
    const kept = `${folder}/damaged/start-2-log-1-byte-${at}`;
    assertEquals([done.repaired, done.starts, done.admitted, done.kept], [true, 2, 0, [kept]]);
    assertNotEquals(done.incarnation, incarnation);
    assertEquals(await Deno.readFile(kept), before.subarray(at));
    assertEquals(await Deno.readFile(`${folder}/${firstLog}`), before.subarray(0, at));
    const { identity, hardState } = stateIn(folder);
    assertEquals([identity.incarnation, identity.starts], [done.incarnation, 2]);
    assertEquals(hardState, { currentTerm: 1, votedFor: 1, admittedIndex: 0 });

    const again = await inspect(folder, "--repair");
    assertEquals(again.code, 0);
    assertMatch(again.stdout, /there is nothing to repair\nthe node abstains until the others have given it/);
    const after = await inspect(folder);
    assertEquals(after.code, 0);
    assertStringIncludes(after.stdout, "admitted no: it abstains until the cluster admits it\n");
    assertStringIncludes(after.stderr, "kvapp: warning: ");
    assertEquals(JSON.parse((await inspect(folder, "--json")).stdout).abstains, true);
  });
});

Deno.test("inspect --repair --accept-loss lets the only node of a cluster go on with what is before the damage", async () => {
  await withMade({ nodes: 1, snapshots: [4] }, async (made) => {
    const { folder } = made;
    await damageEntry(made, 5);
    for (const options of [[], ["--repair"]]) {
      const { code, stderr } = await inspect(folder, ...options);
      assertEquals(code, 4);
      assertStringIncludes(stderr, "kvapp inspect DIR --repair --accept-loss");
    }
    const { code, stdout, stderr } = await kvapp(["inspect", folder, "--repair", "--accept-loss"]);
    assertEquals([code, stderr], [0, ""]);
    assertStringIncludes(stdout, "entries from index 5 on are lost\n");
    assertStringIncludes(stdout, "writes that clients were told are done may be among them");
    assertStringIncludes(stdout, `incarnation ${incarnation}, start 2, a member since entry 1\n`);
    assertStringIncludes(stdout, `${folder}/damaged/start-2-log-1-byte-`);
    assertEquals((await inspect(folder)).code, 0);
    assertEquals((await inspect(folder, "--repair", "--accept-loss")).code, 1);
    assertEquals(await readAlone(made, ["a", "b", "c", "d"]), ["value of a", "x\ty", "", ""]);
  });
});

Deno.test("inspect --repair --accept-loss takes the name from the configuration when the state file is damaged", async () => {
  await withMade({ nodes: 1 }, async (made) => {
    const { folder } = made;
    await flip(`${folder}/state.json`, 60);
    assertEquals((await inspect(folder, "--repair")).code, 4);
    const { code, stdout } = await kvapp(["inspect", folder, "--repair", "--accept-loss"]);
    assertEquals(code, 0);
    assertStringIncludes(
      stdout,
      "entries from index 7 on are lost, if there were any: nothing tells any more\n",
    );
    assertStringIncludes(stdout, "votes are forgotten");
    const { identity, hardState, mark } = stateIn(folder);
    assertEquals([identity.incarnation, hardState.admittedIndex, mark.index], [incarnation, 1, 6]);
    assertEquals(await readAlone(made, ["a", "d"]), ["value of a", "value of d"]);
  });
});

Deno.test("inspect --repair --accept-loss founds the cluster of one again when nothing is left of its log", async () => {
  await withMade({ nodes: 1 }, async (made) => {
    await damageEntry(made, 1);
    const { code, stdout } = await kvapp(["inspect", made.folder, "--repair", "--accept-loss"]);
    assertEquals(code, 0);
    assertStringIncludes(stdout, "nothing is left: the next start founds the cluster again, without data\n");
    assertEquals(await readAlone(made, ["a"]), [""]);
  });
});

Deno.test("inspect --repair --accept-loss says what a cluster of several may lose, and admits an abstaining folder", async () => {
  await withMade({ nodes: 3, named: otherName }, async ({ folder, members }) => {
    assertEquals((await inspect(folder)).code, 0);
    assertStringIncludes((await inspect(folder, "--repair")).stdout, "there is nothing to repair");
    const { code, stdout } = await kvapp(["inspect", folder, "--repair", "--accept-loss"]);
    assertEquals(code, 0);
    assertStringIncludes(
      stdout,
      "this is a cluster of several nodes: with a member that forgot something, writes",
    );
    assertStringIncludes(
      stdout,
      `${otherName}, takes over the name ${incarnation}, which entry 1 gives the node`,
    );
    const { identity, hardState } = stateIn(folder);
    assertEquals([identity.incarnation, identity.starts, hardState.admittedIndex], [incarnation, 2, 1]);
    assertEquals(identity.clusterId, clusterIdOf(members));
    assertStringIncludes((await inspect(folder)).stdout, "admitted a member since entry 1\n");
  });
});

Deno.test("inspect exits 4 for a folder that nobody can admit, and for one of which nothing tells whose it is", async () => {
  await withMade({ nodes: 2, named: otherName }, async ({ folder }) => {
    for (const options of [[], ["--repair"]]) {
      const { code, stderr } = await inspect(folder, ...options);
      assertEquals(code, 4);
      assertStringIncludes(stderr, "beyond self-repair: the data folders of node 1 have lost something");
    }
    assertEquals((await kvapp(["inspect", folder, "--repair", "--accept-loss"])).code, 0);
    assertEquals((await inspect(folder)).code, 0);
  });
  await withMade({ nodes: 3 }, async ({ folder }) => {
    await Deno.writeTextFile(`${folder}/state.json`, "\0".repeat(300));
    await Deno.writeTextFile(`${folder}/${firstLog}`, "\0".repeat(4096));
    for (const options of [[], ["--repair"], ["--repair", "--accept-loss"]]) {
      const { code, stderr } = await inspect(folder, ...options);
      assertEquals(code, 4);
      assertStringIncludes(stderr, "tells how many nodes its cluster has");
    }
  });
});

Deno.test("inspect tells of a snapshot that is whole and yet of no use; a start takes the log instead", async () => {
  await withMade({ nodes: 1, snapshots: [3] }, async (made) => {
    const { code, stdout } = await inspect(made.folder);
    assertEquals(code, 0);
    assertMatch(stdout, /^snapshots.*not used: .*a line names index 4, above 3/m);
    assertStringIncludes((await inspect(made.folder, "--repair")).stdout, "there is nothing to repair");
    assertEquals(await readAlone(made, ["b", "d"]), ["value of b", "value of d"]);
  });
});

Deno.test("inspect --repair refuses the folder of a node that runs", async () => {
  await withMade({ nodes: 1 }, async ({ folder, members }) => {
    const node = new Running(["serve", "--bind", members[0]!.address, "--data-dir", folder]);
    await node.until("leads term");
    const { code, stdout, stderr } = await kvapp(["inspect", folder, "--repair"]);
    assertEquals([code, stdout], [4, ""]);
    assertStringIncludes(stderr, `a node runs on ${folder} and changes it`);
    node.kill("SIGTERM");
    assertEquals((await node.end()).code, 0);
  });
});

/** Three nodes on empty folders that have stored a, b and c, and a way to start and to stop each. */
async function withThree(body: (three: Three) => Promise<void>): Promise<void> {
  await withFolder(async (parent) => {
    const base = freePorts(3);
    const cluster = [0, 1, 2].map((i) => `127.0.0.1:${base + i}`).join(",");
    const nodes = new Map<number, Running>();
    const start = (id: number): Running => {
      const args = ["--node-id", `${id}`, "--cluster", cluster, "--data-dir", `${parent}/${id}`];
      const node = new Running(["serve", ...args]);
      nodes.set(id, node);
      return node;
    };
    const stop = async (id: number): Promise<void> => {
      const node = nodes.get(id)!;
      nodes.delete(id);
      node.kill("SIGTERM");
      assertEquals((await node.end()).code, 0, node.stderr);
    };
    const client = (...words: string[]) => kvapp(["client", "--cluster", cluster, ...words]);
    try {
      await Promise.any([1, 2, 3].map((id) => start(id).until("leads term")));
      for (const key of ["a", "b", "c"]) assertEquals((await client("put", key, "1")).code, 0);
      await body({ parent, start, stop, client });
    } finally {
      for (const id of [...nodes.keys()]) await stop(id);
    }
  });
}

interface Three {
  parent: string;
  start(id: number): Running;
  stop(id: number): Promise<void>;
  client(...words: string[]): Promise<Ended>;
}

Deno.test("inspect --repair leaves a folder with which the node comes back into its cluster", async () => {
  await withThree(async ({ parent, start, stop, client }) => {
    await stop(1);
    const path = `${parent}/1/${firstLog}`;
    await flip(path, (await Deno.readTextFile(path)).indexOf(`"key":"b"`));
    const { code, stdout } = await kvapp(["inspect", `${parent}/1`, "--repair"]);
    assertEquals(code, 0);
    assertStringIncludes(stdout, "not admitted\n");
    await start(1).until("takes part");
    assertEquals((await client("get", "b")).stdout, "1\n");
    await stop(1);
    const report = JSON.parse((await kvapp(["inspect", `${parent}/1`, "--json"])).stdout);
    assertEquals([report.verdict, report.abstains], ["starts", false]);
    assert(report.admitted > 1);
  });
});

Deno.test("inspect --repair --accept-loss brings back a cluster in which a majority lost its folders", async () => {
  await withThree(async ({ parent, start, stop, client }) => {
    await client("put", "last", "2");
    for (const id of [1, 2]) {
      await stop(id);
      await Deno.remove(`${parent}/${id}`, { recursive: true });
    }
    await Promise.all([1, 2].map((id) => start(id).until("takes no part")));
    assertEquals((await client("--timeout", "1000", "get", "last")).code, 3, "nobody can admit them");
    await stop(1);
    const { code, stdout, stderr } = await kvapp(["inspect", `${parent}/1`, "--repair", "--accept-loss"]);
    assertEquals([code, stderr], [0, ""]);
    assertStringIncludes(stdout, "writes that clients were told are done may vanish");
    start(1);
    assertEquals((await client("get", "last")).stdout, "2\n");
  });
});
