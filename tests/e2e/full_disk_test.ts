/**
 * Nodes whose disk is really full: file systems of a few MiB in memory, for which Linux wants the rights of root, are
 * filled with a file and freed again under writes.
 *
 * @module
 */

import { assertEquals, assertNotEquals } from "@std/assert";
import { type Client, connect } from "../../mod.ts";
import { steady, type TestCluster, type TestNode, until, withCluster } from "./cluster.ts";
import { cannotMount, mount, unmount } from "../io/small_disk.ts";
import { exchange } from "./line_connection.ts";

const valueUnits = 2000;
const smallKibibytes = 8 << 10;

/** Registers a test of three nodes that run on a small disk each, at `folder`. */
function testOnSmallDisks(name: string, body: (cluster: TestCluster) => Promise<void>): void {
  const suffix = cannotMount === null ? "" : ` (skipped: ${cannotMount})`;
  const fn = async (): Promise<void> => {
    await withCluster({ nodes: 3, start: false, args: steady }, async (cluster) => {
      const mounted: string[] = [];
      try {
        for (const { folder } of cluster.nodes) {
          await Deno.mkdir(folder);
          if (!mount(folder, smallKibibytes)) throw new Error(`cannot mount ${folder}`);
          mounted.push(folder);
        }
        cluster.start();
        await body(cluster);
      } finally {
        await Promise.all(cluster.nodes.map((node) => node.destroy()));
        for (const folder of mounted) unmount(folder);
      }
    });
  };
  Deno.test({ name: name + suffix, ignore: cannotMount !== null, fn });
}

const fillerOf = ({ folder }: TestNode): string => `${folder}/filler`;

function fill(node: TestNode): void {
  using file = Deno.openSync(fillerOf(node), { append: true, create: true });
  const page = new Uint8Array(4096).fill(1);
  try {
    while (file.writeSync(page) > 0);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
  }
}

function free(node: TestNode): void {
  Deno.removeSync(fillerOf(node));
}

/** Numbered keys, and which of them were acknowledged: all, because a failed one fails the test. */
class Writes {
  readonly #client: Client;
  #count = 0;

  constructor(client: Client) {
    this.#client = client;
  }

  async put(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      await this.#client.put(`k${this.#count}`, `${this.#count}`.padEnd(valueUnits));
      this.#count++;
    }
  }

  /** All nodes have room again and hold all that was acknowledged. */
  async check(cluster: TestCluster): Promise<void> {
    await cluster.settled();
    const expected = Array.from({ length: this.#count }, (_, i) => `k${i}=${`${i}`.padEnd(valueUnits)}`)
      .sort();
    for (const node of cluster.nodes) {
      assertEquals(await node.diskState(), "ok", `node ${node.id}`);
      const held = (await node.keys()).map(({ key, value }) => `${key}=${value}`).filter((it) =>
        it !== "extra=1"
      );
      assertEquals(held.sort(), expected, `node ${node.id}`);
    }
  }
}

async function untilDisk(node: TestNode, state: string): Promise<void> {
  await until(`node ${node.id} has disk ${state}`, async () => await node.diskState() === state || null);
}

testOnSmallDisks(
  "a follower with a full disk says so, serves reads, and catches up by itself when there is room",
  async (cluster) => {
    const leader = await cluster.leader();
    const full = cluster.nodes.find((node) => node !== leader)!;
    await using client = await connect(cluster.addresses);
    const writes = new Writes(client);
    await writes.put(20);
    fill(full);
    await writes.put(100);
    await untilDisk(full, "full");
    await writes.put(20);
    const [read] = await exchange(full.client, [{ op: "get", key: "k119" }]);
    assertEquals([read!.ok, read!.found], [true, true], "it knows what the others have committed");
    assertEquals((await leader.status())!.role, "leader");
    free(full);
    await untilDisk(full, "ok");
    await writes.check(cluster);
  },
);

testOnSmallDisks(
  "a leader with a full disk hands over to a node that has room, and nothing is lost",
  async (cluster) => {
    const full = await cluster.leader();
    await using client = await connect(cluster.addresses);
    const writes = new Writes(client);
    await writes.put(20);
    fill(full);
    await writes.put(100);
    await untilDisk(full, "full");
    const leader = await until("another node leads", async () => {
      const one = await cluster.leader();
      return one === full ? null : one;
    });
    assertNotEquals(leader.id, full.id);
    await writes.put(20);
    free(full);
    await untilDisk(full, "ok");
    await writes.check(cluster);
  },
);

testOnSmallDisks(
  "nodes that are all full answer diskFull, serve reads, and write again by themselves when there is room",
  async (cluster) => {
    await cluster.leader();
    await using client = await connect(cluster.addresses);
    const writes = new Writes(client);
    await writes.put(20);
    for (const node of cluster.nodes) fill(node);
    // What fits into pages that are begun may be taken; what was not acknowledged may come to pass later.
    const refusal = await until("a write is refused", async () => {
      const leader = await cluster.leader();
      const value = "1".padEnd(valueUnits);
      const [reply] = await exchange(leader.client, [{ op: "put", key: "extra", value, id: 1 }]);
      return reply!.ok || reply!.error!.code === "outcomeUnknown" ? null : reply!;
    });
    assertEquals([refusal.error!.code, refusal.error!.definite], ["diskFull", true]);
    const leader = await cluster.leader();
    const [read] = await exchange(leader.client, [{ op: "get", key: "k19" }]);
    assertEquals([read!.ok, read!.found], [true, true]);
    for (const node of cluster.nodes) free(node);
    await client.put("extra", "1");
    await writes.put(20);
    for (const node of cluster.nodes) await untilDisk(node, "ok");
    await writes.check(cluster);
  },
);
