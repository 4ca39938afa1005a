/**
 * Acknowledged writes on real disks: through SIGKILL under load, and through disks that fail an fsync or hang in one.
 * The failures are injected into the running process by strace.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess, assertStringIncludes } from "@std/assert";
import { killUnderLoad } from "../../bench/kills.ts";
import { connect } from "../../mod.ts";
import { steady, type TestNode, until, withCluster } from "./cluster.ts";
import { exchange, LineConnection } from "./line_connection.ts";
import { smallSnapshots, snapshotEntries } from "./small_snapshots.ts";
import { failedFsyncs, injectInto, testWithStrace } from "./strace.ts";

const broken = 5;
const patienceMs = 10_000;

Deno.test("nodes killed under load, one at a time and all at once, start again and have every acknowledged write", async () => {
  const { kills, starts, acknowledged, lost } = await killUnderLoad({ single: 5, all: 2 });
  assertEquals([kills, starts], [5 + 2 * 3, 3 + 5 + 2 * 3]);
  assertGreater(acknowledged, 100);
  assertEquals(lost, []);
});

/** Puts `count` keys, one after another. */
async function putAll(connection: LineConnection, count: number): Promise<void> {
  for (let i = 1; i <= count; i++) {
    await connection.send([{ op: "put", key: `before ${i}`, value: `${i}` }]);
    assertEquals((await connection.reply()).ok, true);
  }
}

/** Puts one key after another until the node ends; how many it acknowledged. */
async function putUntilRefused(connection: LineConnection): Promise<number> {
  for (let i = 0;; i++) {
    try {
      await connection.send([{ op: "put", key: `after ${i}`, value: `${i}` }]);
      if (await connection.line() === null) return i;
    } catch (error) {
      if (error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe) return i;
      throw error;
    }
  }
}

async function assertKeysBefore(node: TestNode, count: number): Promise<void> {
  const keys = (await node.keys()).map(({ key }) => key).filter((key) => key.startsWith("before"));
  assertEquals(keys.length, count, "what was acknowledged is there again");
}

/** What still comes, however the connection ends. */
async function restOf(connection: LineConnection): Promise<string> {
  try {
    return await connection.rest();
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionReset) return "";
    throw error;
  }
}

testWithStrace("a node whose fsync fails acknowledges nothing afterwards and exits 5", async () => {
  await withCluster({ nodes: 1, args: steady }, async (cluster) => {
    const node = await cluster.leader();
    using connection = await LineConnection.open(node.client);
    await putAll(connection, 20);
    const tracer = await injectInto(node.pid, failedFsyncs);
    await connection.send(
      Array.from({ length: 50 }, (_, i) => ({ op: "put", key: `after ${i}`, value: "1" })),
    );
    const replies = await restOf(connection);
    assertEquals(replies.includes('"ok":true'), false, replies);
    const { code, stderr } = await node.end();
    assertEquals(code, broken, stderr);
    assertStringIncludes(stderr, "/log/");
    await tracer.ended;
    node.start();
    await cluster.settled();
    await assertKeysBefore(node, 20);
  });
});

testWithStrace(
  "a node whose fsync of a snapshot fails exits 5, and starts again with all that it acknowledged",
  async () => {
    await withCluster({ nodes: 1, args: steady, wrapper: smallSnapshots }, async (cluster) => {
      const node = await cluster.leader();
      // Wherever the first snapshot may be taken; a few entries are not the client's.
      const indexes = Array.from({ length: snapshotEntries / 4 + 20 }, (_, i) => snapshotEntries - 5 + i);
      const paths = indexes.map((index) => `${node.folder}/snapshots/${`${index}`.padStart(20, "0")}.ndjson`);
      using connection = await LineConnection.open(node.client);
      await putAll(connection, snapshotEntries - 50);
      const tracer = await injectInto(node.pid, { ...failedFsyncs, paths });
      const acknowledged = await putUntilRefused(connection);
      const { code, stderr } = await node.end();
      assertEquals(code, broken, stderr);
      assertStringIncludes(stderr, "/snapshots/");
      await tracer.ended;
      node.start();
      await cluster.settled();
      await assertKeysBefore(node, snapshotEntries - 50);
      const keys = new Set((await node.keys()).map(({ key }) => key));
      for (let i = 0; i < acknowledged; i++) assert(keys.has(`after ${i}`), `after ${i} was acknowledged`);
    });
  },
);

for (const role of ["leader", "follower"]) {
  testWithStrace(`a ${role} whose fsync fails exits 5, the others go on and nothing is lost`, async () => {
    await withCluster({ nodes: 3, args: steady }, async (cluster) => {
      const leader = await cluster.leader();
      const node = role === "leader" ? leader : cluster.nodes.find((one) => one !== leader)!;
      await using client = await connect(cluster.addresses, { timeoutMs: patienceMs });
      const put = async (from: number, to: number): Promise<void> => {
        for (let i = from; i < to; i++) await client.put(`k${i}`, `${i}`);
      };
      await put(0, 50);
      const tracer = await injectInto(node.pid, failedFsyncs);
      await put(50, 100);
      const { code, stderr } = await node.end();
      assertEquals(code, broken, stderr);
      await tracer.ended;
      node.start();
      await until("the node is back", async () => (await node.status())?.leader ?? null);
      await cluster.settled();
      const expected = Array.from({ length: 100 }, (_, i) => [`k${i}`, `${i}`]).sort();
      for (const one of cluster.nodes) {
        const held = (await one.keys()).map(({ key, value }) => [key, value]);
        assertEquals(held.sort(), expected, `node ${one.id}`);
      }
    });
  });
}

testWithStrace(
  "a leader whose disk hangs in an fsync is followed by another one in time, and serves on as a follower",
  async () => {
    const timeoutMaxMs = 600;
    const args = ["--election-timeout-min", "300", "--election-timeout-max", `${timeoutMaxMs}`];
    await withCluster({ nodes: 3, args }, async (cluster) => {
      const stuck = await cluster.leader();
      const others = cluster.nodes.filter((node) => node !== stuck);
      const { term } = (await stuck.status())!;
      const tracer = await injectInto(stuck.pid, {
        trace: "fsync,fdatasync",
        inject: "delay_enter=60000000",
      });
      const hangsFrom = performance.now();
      const [written] = await exchange(stuck.client, [{ op: "put", key: "a", value: "1" }]);
      assertEquals(written!.ok, true, "the others are a majority");
      await Promise.any(others.map((node) => node.says("leads term")));
      assertLess(performance.now() - hangsFrom, (2 + 3) * timeoutMaxMs);
      const status = await until("the node says so", async () => {
        const now = await stuck.status();
        return now?.role === "follower" ? now : null;
      });
      assertEquals(await stuck.diskState(), "stuck");
      assertGreater(status.term, term);
      await using client = await connect(others.map((node) => node.client));
      await client.put("b", "2");
      const ended = stuck.kill();
      tracer.stop(); // a process that it holds cannot end
      await Promise.all([ended, tracer.ended]);
      stuck.start();
      await cluster.settled();
      for (const node of cluster.nodes) assertEquals((await node.keys()).map(({ key }) => key), ["a", "b"]);
    });
  },
);
