/**
 * Bits that flip in the files of a stopped node: with the others it becomes whole again by itself, and nothing is lost.
 * `KVAPP_FLIPS=40` tries more of them, `KVAPP_SEED` other ones.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { type Client, connect } from "../../mod.ts";
import { Random } from "../sim/random.ts";
import { steady, type TestCluster, type TestNode, withCluster } from "./cluster.ts";
import { smallSnapshots, snapshotEntries } from "./small_snapshots.ts";

const flips = Number(Deno.env.get("KVAPP_FLIPS") ?? 6);
const seed = Deno.env.get("KVAPP_SEED") ?? "flips";
const folderCode = 4;
const writesPerFlip = 60;

/** Turns one bit of a file of a node that does not run; says which. */
async function flip(
  node: TestNode,
  kind: "log" | "snapshots" | "state.json",
  random: Random,
): Promise<string> {
  const names = kind === "state.json"
    ? [kind]
    : Array.from(Deno.readDirSync(`${node.folder}/${kind}`), ({ name }) => `${kind}/${name}`).sort();
  const name = random.pick(names);
  const path = `${node.folder}/${name}`;
  const bytes = await Deno.readFile(path);
  const [at, bit] = [random.below(bytes.length), random.below(8)];
  bytes[at]! ^= 1 << bit;
  await Deno.writeFile(path, bytes);
  return `node ${node.id}, ${name}, byte ${at}, bit ${bit}`;
}

/** Numbered keys, all of which were acknowledged. */
class Writes {
  readonly #client: Client;
  #count = 0;

  constructor(client: Client) {
    this.#client = client;
  }

  async put(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => {
      const i = this.#count++;
      return this.#client.put(`k${i}`, `${i}`.padEnd(300));
    }));
  }

  async check(node: TestNode, where: string): Promise<void> {
    const held = (await node.keys()).map(({ key, value }) => `${key}=${value.trimEnd()}`);
    const expected = Array.from({ length: this.#count }, (_, i) => `k${i}=${i}`).sort();
    assertEquals(held.sort(), expected, where);
  }
}

async function checkAll(cluster: TestCluster, writes: Writes, where: string): Promise<void> {
  await cluster.settled();
  for (const node of cluster.nodes) await writes.check(node, where);
}

Deno.test(`a node in whose files a bit has flipped becomes whole again, ${flips} times, and nothing is lost`, async () => {
  const random = new Random(seed);
  await withCluster({ nodes: 3, args: steady, wrapper: smallSnapshots }, async (cluster) => {
    await cluster.leader();
    await using client = await connect(cluster.addresses, { timeoutMs: 30_000 });
    const writes = new Writes(client);
    for (let i = 0; i < 3; i++) await writes.put(snapshotEntries);
    await cluster.settled();
    for (let i = 0; i < flips; i++) {
      const kinds = ["log", "state.json", "snapshots"] as const;
      const node = random.pick(cluster.nodes);
      await node.kill();
      const where = await flip(node, kinds[i % kinds.length]!, random);
      await writes.put(writesPerFlip);
      node.start();
      try {
        await checkAll(cluster, writes, where);
      } catch (error) {
        throw new Error(`after a flip at ${where}`, { cause: error });
      }
      if (flips > 6) console.error(`${i + 1} of ${flips}: ${where}`);
    }
  });
});

Deno.test("nodes of whom a majority has damaged files stop with exit code 4, and the third one stays with all that it has", async () => {
  const random = new Random(seed);
  await withCluster({ nodes: 3 }, async (cluster) => {
    await cluster.leader();
    await using client = await connect(cluster.addresses);
    const writes = new Writes(client);
    await writes.put(20);
    const lastLogIndex = await cluster.settled();
    for (const node of cluster.nodes) await node.kill();
    const [one, two, three] = cluster.nodes as [TestNode, TestNode, TestNode];
    await flip(one, "state.json", random);
    await flip(two, "state.json", random);
    cluster.start();
    for (const node of [one, two]) {
      const { code, stderr } = await node.end();
      assertEquals(code, folderCode, stderr);
      assert(stderr.includes("beyond self-repair"), stderr);
    }
    await three.says("beyond self-repair");
    assertEquals((await three.status())!.lastLogIndex, lastLogIndex);
  });
});
