/**
 * Nodes whose disks are full: they lead no more than they must, vote as ever, and go on when there is room.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { type Node, SmallCluster } from "./cluster.ts";

const put = { op: "put", key: "a", value: "1" };

function setFull(nodes: readonly Node[], full: boolean): void {
  for (const { machine } of nodes) machine.disk.full = full;
}

function stateOf(cluster: SmallCluster, node: Node): unknown {
  return cluster.client(node).ask({ op: "status" }).disk;
}

Deno.test("DiskWatch.onTick() hands leadership to a node that has room when the leader's disk is full", () => {
  const cluster = new SmallCluster("full leader");
  const old = cluster.leader!;
  setFull([old], true);
  cluster.client(old).send(put);
  cluster.until(() => cluster.leader !== null && cluster.leader !== old, "another leader");
  assertEquals(cluster.client(cluster.leader!).ask(put).ok, true);
  cluster.run(2000);
  assert(cluster.leader !== old);
  setFull([old], false);
  cluster.until(
    () => old.server!.durableIndex === cluster.leader!.server!.raft.lastIndex,
    "it has caught up",
  );
});

Deno.test("Server.constructor() refuses writes and serves reads while all disks are full, and goes on by itself", () => {
  const cluster = new SmallCluster("all full");
  const client = cluster.client(cluster.leader!);
  assertEquals(client.ask(put).ok, true);
  setFull(cluster.nodes, true);
  cluster.client(cluster.leader!).send({ ...put, key: "waits" });
  cluster.run(1000);
  const leader = cluster.leader!;
  const reply = cluster.client(leader).ask(put);
  const { code, definite } = reply.error as { code: string; definite: boolean };
  assertEquals([reply.ok, code, definite], [false, "diskFull", true]);
  assertEquals(cluster.client(leader).ask({ op: "get", key: "a" }).value, "1");
  assertEquals(cluster.nodes.map(({ stopped }) => stopped), [null, null, null]);
  setFull(cluster.nodes, false);
  cluster.run(1500);
  assertEquals(cluster.client(cluster.leader!).ask(put).ok, true);
  assertEquals(cluster.client(cluster.leader!).ask({ op: "get", key: "waits" }).found, true);
});

Deno.test("Server.constructor() votes with a full disk, more than once, and remembers it", () => {
  const cluster = new SmallCluster("full voter");
  const voter = cluster.follower;
  const leader = cluster.leader!;
  setFull([voter], true);
  assertEquals(cluster.client(leader).ask(put).ok, true);
  cluster.run(500);
  const candidate = cluster.nodes.find((node) => node !== voter && node !== leader)!;
  for (const [gone, next] of [[leader, candidate], [candidate, leader]] as const) {
    cluster.kill(gone);
    cluster.until(() => cluster.leader === next, "the only one with room leads, by the full one's vote");
    const { currentTerm, votedFor } = voter.server!.raft;
    assertEquals([currentTerm, votedFor], [next.server!.raft.currentTerm, next.id]);
    gone.machine.restart();
    cluster.run(1000);
  }
  const { currentTerm, votedFor } = voter.server!.raft;
  cluster.crash(voter, "power");
  voter.machine.restart();
  assertEquals([voter.server!.raft.currentTerm, voter.server!.raft.votedFor], [currentTerm, votedFor]);
});

Deno.test("DiskWatch.onTick() tells of a disk that is full, and that it works again", () => {
  const cluster = new SmallCluster("states", { size: 1 });
  const [node] = cluster.nodes;
  const before = stateOf(cluster, node!);
  setFull([node!], true);
  cluster.client(node!).send(put);
  cluster.run(300);
  const during = stateOf(cluster, node!);
  assert(JSON.stringify(during).includes("full"), JSON.stringify(during));
  setFull([node!], false);
  cluster.run(1000);
  assertEquals(JSON.stringify(stateOf(cluster, node!)).includes("full"), false);
  assertEquals(JSON.stringify(before).includes("full"), false);
});

Deno.test("DiskWatch.onTick() lets a leader whose disk is full, and then hangs, lead no more", () => {
  const cluster = new SmallCluster("full and stuck");
  const old = cluster.leader!;
  setFull(cluster.nodes, true); // nobody to hand over to
  cluster.client(old).send(put);
  cluster.until(() => JSON.stringify(stateOf(cluster, old)).includes("full"), "it is full");
  cluster.hangDisk(old);
  cluster.until(() => old.server!.raft.role !== "leader", "the next attempt hangs");
  assert(JSON.stringify(stateOf(cluster, old)).includes("stuck"));
  setFull(cluster.nodes.filter((node) => node !== old), false);
  cluster.until(() => cluster.leader !== null && cluster.leader !== old, "another leader");
});

Deno.test("Server.close() does not wait for room that never comes, nor for a disk that hangs", () => {
  for (const trouble of ["full", "stuck"] as const) {
    const cluster = new SmallCluster(`close ${trouble}`);
    const node = cluster.follower;
    if (trouble === "full") setFull([node], true);
    else cluster.hangDisk(node);
    assertEquals(cluster.client(cluster.leader!).ask(put).ok, true);
    cluster.run(3000);
    let isClosed = false;
    node.server!.close(() => isClosed = true);
    cluster.until(() => isClosed, "it ends");
    node.server = null;
    cluster.crash(node, "kill");
    node.machine.disk.full = false;
    node.machine.disk.slowness = 1;
    node.machine.restart();
    cluster.until(() => node.server!.store.get("a")?.value === "1", "the others bring it up to date");
  }
});
