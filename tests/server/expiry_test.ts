/**
 * Keys that go by themselves: not too early and not much too late, whatever becomes of leaders and clocks.
 *
 * @module
 */

import { assert, assertEquals, assertGreaterOrEqual, assertLess } from "@std/assert";
import { type Node, SmallCluster } from "./cluster.ts";

/** Simulated milliseconds until a key is gone on a node. */
function lifetime(cluster: SmallCluster, node: Node, key: string): number {
  const from = cluster.world.scheduler.now;
  cluster.until(() => node.server?.store.get(key) === undefined, `${key} goes`);
  return cluster.world.scheduler.now - from;
}

function putFor(cluster: SmallCluster, key: string, ttlMs: number): void {
  assertEquals(cluster.client(cluster.leader!).ask({ op: "put", key, value: "1", ttlMs }).ok, true);
}

Deno.test("Expiry.onTick() ends a key on all nodes at one index, when its time is over and little later", () => {
  const cluster = new SmallCluster("ttl");
  const watchers = cluster.nodes.map((node) => cluster.client(node));
  for (const watcher of watchers) watcher.ask({ op: "watch" });
  putFor(cluster, "a", 700);
  const from = cluster.world.scheduler.now;
  cluster.until(() => watchers.every(({ replies }) => replies.at(-1)!.type === "expire"), "all are told");
  const passed = cluster.world.scheduler.now - from;
  assertGreaterOrEqual(passed, 690); // the answer to the put was under way for a while
  assertLess(passed, 760);
  assertEquals(new Set(watchers.map(({ replies }) => replies.at(-1)!.index)).size, 1);
});

Deno.test("Expiry.logTime() goes on under the next leader where it stood: an election takes no time away and resets none", () => {
  const cluster = new SmallCluster("election");
  putFor(cluster, "a", 5000);
  cluster.run(3000);
  const old = cluster.leader!;
  cluster.kill(old);
  cluster.until(() => cluster.leader !== null, "the next leader");
  const left = lifetime(cluster, cluster.leader!, "a");
  // Of the 3 seconds at most the last second was not in the log; an election takes less than another one.
  assertGreaterOrEqual(left, 1500);
  assertLess(left, 3100);
});

Deno.test("Expiry.logTime() does not jump when all nodes were down, however long: time is that of leaders", () => {
  const cluster = new SmallCluster("all down");
  putFor(cluster, "a", 5000);
  cluster.run(1000);
  for (const node of cluster.nodes) cluster.kill(node);
  cluster.world.machine("somebody who waits", ({ clock }) => void clock.every(60_000, () => {})).restart();
  cluster.run(3_600_000);
  for (const { machine } of cluster.nodes) machine.restart();
  cluster.until(() => cluster.leader !== null, "a leader");
  cluster.run(200);
  assertEquals(cluster.leader!.server!.store.size, 1);
  const left = lifetime(cluster, cluster.leader!, "a");
  assertGreaterOrEqual(left, 3500);
  assertLess(left, 5100);
});

Deno.test("Expiry.onTick() of a leader without a majority ends nothing", () => {
  const cluster = new SmallCluster("cut off");
  putFor(cluster, "a", 300);
  const old = cluster.leader!;
  const heal = cluster.isolate(old);
  cluster.run(100);
  assertEquals(old.server!.store.size, 1);
  cluster.until(() => cluster.leader !== null && cluster.leader !== old, "the others elect");
  lifetime(cluster, cluster.leader!, "a");
  assertEquals(old.server!.store.size, 1, "whoever is cut off does not know");
  heal();
  lifetime(cluster, old, "a");
});

Deno.test("Expiry.onTick() writes nothing while no key is to go, and one entry a second while one is", () => {
  const cluster = new SmallCluster("idle");
  const { raft } = cluster.leader!.server!;
  const before = raft.lastIndex;
  cluster.run(10_000);
  assertEquals(raft.lastIndex, before);
  putFor(cluster, "a", 3_600_000);
  const put = raft.lastIndex;
  cluster.run(10_000);
  assert(raft.lastIndex - put >= 9 && raft.lastIndex - put <= 11, `${raft.lastIndex - put} entries in 10 s`);
});

Deno.test("getReply() and listReply() tell how long a key has left", () => {
  const cluster = new SmallCluster("time left");
  putFor(cluster, "a", 10_000);
  cluster.run(2500);
  const atLeader = cluster.client(cluster.leader!).ask({ op: "get", key: "a" });
  assert(Math.abs(atLeader.ttlMs as number - 7500) < 100, `${atLeader.ttlMs}`);
  const atFollower = cluster.client(cluster.follower).ask({ op: "get", key: "a" });
  assert(Math.abs(atFollower.ttlMs as number - 8000) < 700, `${atFollower.ttlMs}`);
  const list = cluster.client(cluster.leader!).ask({ op: "list" });
  const [entry] = list.entries as { ttlMs: number }[];
  assert(Math.abs(entry!.ttlMs - 7500) < 100, `${entry!.ttlMs}`);
  cluster.client(cluster.leader!).ask({ op: "put", key: "a", value: "stays" });
  assertEquals("ttlMs" in cluster.client(cluster.leader!).ask({ op: "get", key: "a" }), false);
});
