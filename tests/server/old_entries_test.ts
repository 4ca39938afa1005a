/**
 * Followers that were away for long, and leaders that have to read the log for them again.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Life } from "../sim/scheduler.ts";
import { type Node, SmallCluster } from "./cluster.ts";

/** Three nodes, of which one was down while 300 keys were written; the others have but the last few lines in memory. */
function withOneBehind(name: string): { cluster: SmallCluster; leader: Node; behind: Node } {
  const cluster = new SmallCluster(name, { limits: { logMemoryBytes: 1000, appendBytesMax: 2000 } });
  const leader = cluster.leader!, behind = cluster.follower;
  cluster.until(() => cluster.nodes.every(({ server }) => server!.appliedIndex > 1), "all follow");
  cluster.kill(behind);
  const client = cluster.client(leader);
  const count = 300;
  client.send(...Array.from({ length: count }, (_, i) => ({ op: "put", key: `k${i}`, value: `v${i}` })));
  cluster.until(() => client.replies.length === count, "all are written");
  assert(client.replies.every(({ ok }) => ok));
  return { cluster, leader, behind };
}

function catchesUp(cluster: SmallCluster, behind: Node): void {
  behind.machine.restart();
  cluster.until(() => behind.server?.store.size === 300, "it has all");
  assertEquals(behind.server!.store.get("k0")?.value, "v0");
  assertEquals(behind.server!.store.get("k299")?.value, "v299");
}

Deno.test("Raft.takeReady() sends a follower that was away entries that its leader has only on the disk", () => {
  const { cluster, leader, behind } = withOneBehind("away");
  catchesUp(cluster, behind);
  assertEquals([cluster.leader, leader.stopped], [leader, null]);
});

Deno.test("Server.#takeReady() stops a leader that finds its log damaged, before anybody is sent what is wrong", () => {
  const { cluster, leader, behind } = withOneBehind("damaged");
  const disk = leader.machine.disk.of(new Life("rot"));
  const name = disk.list().find((name) => name.startsWith("log/"))!;
  const bytes = disk.read(name)!;
  const at = bytes.length >> 1;
  let isDone = false;
  disk.replace(name, bytes.with(at, bytes[at]! ^ 1), () => isDone = true);
  cluster.until(() => isDone, "the rot");
  catchesUp(cluster, behind);
  assert(cluster.leader !== leader);
  assertEquals(leader.server, null);
  assertStringIncludes(leader.stopped!.message, `${name} is damaged: byte`);
});
