/**
 * Nodes as processes: how they are founded, how they leave and come back, what they refuse to start on, and with which
 * exit code. Single nodes and `dev` are in tests/cli.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess, assertStringIncludes } from "@std/assert";
import { ClientError, connect } from "../../mod.ts";
import { steady, type TestCluster, type TestNode, until, withCluster } from "./cluster.ts";
import { exchange } from "./line_connection.ts";

const [done, failed, folder, broken] = [0, 1, 4, 5];

async function putOn(node: TestNode, key: string): Promise<void> {
  const [reply] = await exchange(node.client, [{ op: "put", key, value: "1" }]);
  assertEquals(reply!.ok, true, JSON.stringify(reply));
}

/** Another node of the cluster than that one. */
function otherThan(node: TestNode, cluster: TestCluster): TestNode {
  return cluster.nodes.find((one) => one !== node)!;
}

Deno.test("a first start waits for every node, says for whom, and needs them all no more afterwards", async () => {
  await withCluster({ nodes: 3, start: false, args: steady }, async ({ nodes: [one, two, three] }) => {
    one!.start();
    await one!.says("waiting for node 2, 3");
    two!.start();
    await one!.says("waiting for node 3");
    await two!.says("waiting for node 3");
    assertEquals((await one!.status())!.waitingFor, [3]);
    const [refused] = await exchange(one!.client, [{ op: "put", key: "a", value: "1" }]);
    assertEquals([refused!.error?.code, refused!.error?.definite], ["noLeader", true]);
    three!.start();
    await until("a leader", async () => (await three!.status())?.leader ?? null);
    await Promise.all([one!.kill(), two!.kill(), three!.kill()]);
    two!.start();
    three!.start();
    await until("a leader without node 1", async () => (await two!.status())?.leader ?? null);
    await until("a write through either of them", () => writeThrough([two!, three!]));
  });
});

/** Null when it did not succeed, perhaps because a busy machine made the nodes slower than a client's patience. */
async function writeThrough(nodes: readonly TestNode[]): Promise<true | null> {
  try {
    await using client = await connect(nodes.map((node) => node.client));
    await client.put("a", "1");
    return true;
  } catch (error) {
    if (error instanceof ClientError) return null;
    throw error;
  }
}

Deno.test("nodes that were given different lists say so, both lists in full, and found nothing", async () => {
  await withCluster({ nodes: 3, start: false }, async ({ nodes: [one, two, three] }) => {
    one!.start();
    two!.start("--cluster", `${one!.raft},${two!.raft}`); // the last one on a command line counts
    const [all, fewer] = [`1=${one!.raft},2=${two!.raft},3=${three!.raft}`, `1=${one!.raft},2=${two!.raft}`];
    await one!.says(`the nodes were given different lists, ${fewer} and ${all}: give all the same --cluster`);
    await two!.says(`the nodes were given different lists, ${all} and ${fewer}: give all the same --cluster`);
    for (const node of [one, two]) assertEquals((await node!.status())!.lastLogIndex, 0);
    await two!.signal("SIGTERM");
    two!.start();
    three!.start();
    await until("a leader", async () => (await three!.status())?.leader ?? null);
  });
});

Deno.test("SIGTERM to the leader hands leadership over at once, and it exits 0", async () => {
  await withCluster({ nodes: 3, args: steady }, async (cluster) => {
    const first = await cluster.leader();
    const { term } = (await first.status())!;
    await putOn(first, "a");
    const others = cluster.nodes.filter((node) => node !== first);
    const firstToLead = Promise.any(others.map((node) => node.says(`leads term ${term + 1}`)));
    const startedAt = performance.now();
    const ended = first.signal("SIGTERM");
    await firstToLead;
    assertLess(
      performance.now() - startedAt,
      1000,
      "no follower may have had to wait for its election timeout",
    );
    assertEquals((await ended).code, done);
    const second = await cluster.leader();
    assertEquals((await second.status())!.term, term + 1);
    await putOn(second, "b");
    first.start();
    await cluster.settled();
    assertEquals((await first.keys()).map(({ key }) => key), ["a", "b"]);
    assertEquals((await second.status())!.term, term + 1, "a node that comes back deposes nobody");
    for (const node of cluster.nodes) assertEquals((await node.signal("SIGINT")).code, done);
  });
});

Deno.test("a node whose folder was lost is admitted again with an empty one, and refused with the one that it had", async () => {
  await withCluster({ nodes: 3, args: steady }, async (cluster) => {
    const leader = await cluster.leader();
    const lost = otherThan(leader, cluster);
    await putOn(leader, "a");
    await cluster.settled();
    await lost.kill();
    await Deno.rename(lost.folder, `${lost.folder}.away`);
    await putOn(leader, "b");
    lost.start();
    await lost.says("admitted again by entry");
    await cluster.settled();
    assertEquals((await lost.keys()).map(({ key }) => key), ["a", "b"]);
    await lost.kill();
    await Deno.remove(lost.folder, { recursive: true });
    await Deno.rename(`${lost.folder}.away`, lost.folder);
    lost.start();
    await lost.says("was replaced by another one");
    assertEquals((await lost.status())!.leader, null);
    await putOn(leader, "c");
  });
});

Deno.test("a founded folder is refused under other ids with exit code 4, and moves to other addresses", async () => {
  await withCluster({ nodes: 3, args: steady }, async (cluster) => {
    await putOn(await cluster.leader(), "a");
    await cluster.settled();
    const [one, two, three] = cluster.nodes as [TestNode, TestNode, TestNode];
    for (const node of cluster.nodes) await node.kill();
    const before = Array.from(Deno.readDirSync(one.folder), ({ name }) => name).sort();
    for (const ids of [[1, 2], [1, 2, 4], [1, 2, 3, 4]]) {
      one.start(
        "--cluster",
        ids.map((id, i) => `${id}=127.0.0.1:${i === 0 ? one.raft.split(":")[1] : i + 1}`).join(","),
      );
      const { code, stderr } = await one.end();
      assertEquals(code, folder);
      assertStringIncludes(stderr, `a cluster of the nodes 1, 2, 3, but --cluster names ${ids.join(", ")}`);
    }
    one.start("--node-id", "2");
    const foreign = await one.end();
    assertEquals(foreign.code, folder, foreign.stderr);
    assertEquals(
      Array.from(Deno.readDirSync(one.folder), ({ name }) => name).sort(),
      before,
      "files untouched",
    );
    const host = [
      "--cluster",
      [one, two, three].map(({ raft }) => raft.replace("127.0.0.1", "localhost")).join(","),
    ];
    for (const node of cluster.nodes) node.start(...host);
    await putOn(await cluster.leader(), "b");
  });
});

Deno.test("a port in use ends a node with exit code 1, a failed disk with exit code 5", async () => {
  await withCluster({ nodes: 3, args: steady }, async (cluster, temporary) => {
    const leader = await cluster.leader();
    const other = otherThan(leader, cluster);
    await other.kill();
    other.start("--bind", leader.raft, "--data-dir", `${temporary}/elsewhere`);
    const inUse = await other.end();
    assertEquals(inUse.code, failed);
    assertStringIncludes(inUse.stderr, leader.raft);
    other.start();
    await cluster.settled();
    // The state file is replaced by way of a temporary one, which now cannot be written.
    await Deno.mkdir(`${other.folder}/state.json.tmp`);
    await putOn(leader, "a");
    const { code, stderr } = await other.end();
    assertEquals(code, broken);
    assertStringIncludes(stderr, `cannot replace ${other.folder}/state.json`);
    await putOn(leader, "b");
    await Deno.remove(`${other.folder}/state.json.tmp`);
    other.start();
    await cluster.settled();
    assertEquals(
      (await other.keys()).map(({ key }) => key),
      ["a", "b"],
      "it starts again when the disk is well",
    );
  });
});

Deno.test("a follower sends writers to the leader, reads linearizably itself, and tells how old a stale answer may be", async () => {
  await withCluster({ nodes: 3, args: steady }, async (cluster) => {
    const leader = await cluster.leader();
    const follower = otherThan(leader, cluster);
    const [refused] = await exchange(follower.client, [{ op: "put", key: "a", value: "1", id: 1 }]);
    assertEquals([refused!.error?.code, refused!.error?.definite], ["notLeader", true]);
    assertEquals(refused!.error?.leader, { id: leader.id, address: leader.client });
    for (let i = 0; i < 50; i++) {
      const [written] = await exchange(leader.client, [{ op: "put", key: "a", value: `${i}` }]);
      const [read] = await exchange(follower.client, [{ op: "get", key: "a" }]);
      assertEquals([read!.value, read!.version], [`${i}`, written!.version]);
    }
    const [stale] = await exchange(follower.client, [{ op: "get", key: "a", consistency: "stale" }]);
    assert(Number.isInteger(stale!.ageMs) && Number(stale!.ageMs) >= 0, JSON.stringify(stale));
    await leader.kill();
    await otherThan(follower, { nodes: cluster.nodes.filter((node) => node !== leader) } as TestCluster)
      .kill();
    const alone = await until("the last node notices", async () => {
      const [reply] = await exchange(follower.client, [{ op: "get", key: "a", consistency: "stale" }]);
      return Number(reply!.ageMs) > 300 ? reply! : null;
    });
    assertEquals(alone.value, "49");
    assertGreater(Number(alone.ageMs), Number(stale!.ageMs));
    const [read] = await exchange(follower.client, [{ op: "get", key: "a" }]);
    assertEquals(read!.error?.code, "noLeader", "a minority answers no linearizable read");
  });
});
