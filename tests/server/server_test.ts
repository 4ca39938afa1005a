/**
 * What a node promises beyond what Raft does: order on a connection, honest ages, who may join, and how it stops.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { type Client, type Node, SmallCluster } from "./cluster.ts";

Deno.test("Server.constructor() lets a read see the writes before it on its connection, and not those behind it", () => {
  const cluster = new SmallCluster("order on a connection");
  const client = cluster.client(cluster.leader!);
  const requests = Array.from({ length: 50 }, (_, i) => [
    { op: "put", key: "a", value: `${i}` },
    { op: "get", key: "a" },
  ]).flat();
  client.send(...requests);
  cluster.until(() => client.replies.length === requests.length, "all replies");
  const values = client.replies.filter((reply) => reply.found).map((reply) => reply.value);
  assertEquals(values, Array.from({ length: 50 }, (_, i) => `${i}`));
});

Deno.test("Server.constructor() tells no age of a stale read until it has caught up with a leader", () => {
  const cluster = new SmallCluster("age");
  const node = cluster.follower;
  const stale = { op: "get", key: "a", consistency: "stale" };
  assertEquals(cluster.client(cluster.leader!).ask({ op: "put", key: "a", value: "1" }).ok, true);
  cluster.kill(node);
  const heal = cluster.isolate(node);
  node.machine.restart();
  assertEquals(cluster.client(node).ask(stale), { ok: true, found: false, index: 0, ageMs: null });
  heal();
  cluster.until(() => node.server!.appliedIndex >= 3, "the node catches up");
  cluster.isolate(node);
  cluster.run(500);
  const reply = cluster.client(node).ask(stale);
  assertEquals(reply.value, "1");
  assertGreater(reply.ageMs as number, 400);
});

Deno.test("Server.close() hands leadership over, and answers what is under way", () => {
  const cluster = new SmallCluster("hand-over");
  const old = cluster.leader!;
  const client = cluster.client(old);
  client.send(...Array.from({ length: 20 }, (_, i) => ({ op: "put", key: `k${i}`, value: "1" })));
  cluster.until(() => old.server!.raft.lastIndex > 2, "the writes are under way");
  let isClosed = false;
  const before = cluster.world.scheduler.now;
  old.server!.close(() => isClosed = true);
  cluster.until(() => client.replies.length === 20, "all replies");
  assert(client.replies.every((reply) => reply.ok === true || "error" in reply));
  cluster.until(() => isClosed, "the node has stopped");
  old.server = null;
  cluster.until(() => cluster.leader !== null, "a new leader");
  assert(cluster.world.scheduler.now - before < 100, "nobody waited for an election timeout");
});

Deno.test("Server.close() of a node whose peers are gone stops in time, with what it cannot finish left open", () => {
  const cluster = new SmallCluster("stop alone");
  const leader = cluster.leader!;
  for (const node of cluster.nodes) if (node !== leader) cluster.kill(node);
  const client = cluster.client(leader);
  client.send({ op: "put", key: "a", value: "1" });
  cluster.until(() => leader.server!.raft.lastIndex > 2, "the write is under way");
  let isClosed = false;
  leader.server!.close(() => isClosed = true);
  const before = cluster.world.scheduler.now;
  cluster.until(() => isClosed, "the node has stopped");
  assert(cluster.world.scheduler.now - before < 1000);
});

/** A line to the raft port of `node`, opened by what a process on a copy of the folder of `twin` would say. */
function lineAs(cluster: SmallCluster, node: Node, twin: Node, fields: Record<string, unknown>): Client {
  const { members } = node.server!.raft.configuration;
  const line = cluster.client(node, 8080);
  line.send({
    type: "hello",
    versions: { min: 1, max: 1 },
    nodeId: twin.id,
    incarnation: members.find((member) => member.id === twin.id)!.incarnation,
    starts: 1,
    nonce: "another process",
    clientAddress: "elsewhere:9080",
    cluster: members.map(({ id, address }) => ({ id, address })),
    clusterId: null,
    members: null,
    founded: false,
    admitted: 1,
    hasRoom: true,
    ...fields,
  });
  return line;
}

/** Why such a hello is refused. */
function speakAs(cluster: SmallCluster, node: Node, twin: Node, fields: Record<string, unknown>): string {
  const line = lineAs(cluster, node, twin, fields);
  cluster.until(() => line.isClosed, "the line is closed");
  return line.replies.find((reply) => reply.type === "refused")!.reason as string;
}

Deno.test("PeerLinks.onHello() refuses a copied and a restored folder, another cluster and another version (ARCHITECTURE.md)", () => {
  const cluster = new SmallCluster("hello");
  const node = cluster.leader!;
  const twin = cluster.follower;
  cluster.kill(twin);
  twin.machine.restart();
  cluster.run(500);
  assertMatch(speakAs(cluster, node, twin, { starts: 2 }), /two processes run on copies of one data folder/);
  assertMatch(
    speakAs(cluster, node, twin, { starts: 1 }),
    /an older copy: it was started 1 times, and 2 times before/,
  );
  assertMatch(
    speakAs(cluster, node, twin, { incarnation: "0" }),
    /was replaced by another one, which the cluster has admitted/,
  );
  assertMatch(
    speakAs(cluster, node, twin, { starts: 3, clusterId: "0" }),
    /belongs to another cluster \(0, this one is /,
  );
  assertMatch(
    speakAs(cluster, node, twin, { versions: { min: 2, max: 3 } }),
    /speaks the protocol versions 2 to 3/,
  );
  assertMatch(speakAs(cluster, node, twin, { nodeId: node.id }), /calls itself node \d, as this node does/);
  assertMatch(speakAs(cluster, node, twin, { nodeId: 9 }), /node 9 is not in this node's --cluster/);
  cluster.run(500);
  assertEquals(twin.server!.raft.leaderId, node.id, "none of it harmed the true node");
});

Deno.test("Server.constructor() waits for nodes that were given another list, and the cluster is not founded", () => {
  const cluster = new SmallCluster("lists", { wait: false });
  const [first] = cluster.nodes;
  cluster.kill(first!);
  cluster.listed = [1, 2, 3, 4];
  first!.machine.restart();
  cluster.run(3000);
  assertEquals(cluster.nodes.map(({ server }) => server!.raft.lastIndex), [0, 0, 0]);
  const reply = cluster.client(cluster.nodes[1]!).ask({ op: "status" });
  assertEquals(reply.waitingFor, [1]);
});

Deno.test("Server.constructor() lets a connection read on after its writes were cut from the log", () => {
  const cluster = new SmallCluster("cut writes", { limits: { requestTimeoutMs: 2000 } });
  const old = cluster.leader!;
  const client = cluster.client(old);
  assertEquals(client.ask({ op: "put", key: "a", value: "1" }).ok, true);
  const heal = cluster.isolate(old);
  client.send(...Array.from({ length: 20 }, (_, i) => ({ op: "put", key: `lost ${i}`, value: "1" })));
  cluster.until(() => cluster.leader !== null && cluster.leader !== old, "another leader");
  heal();
  cluster.until(() => client.replies.length === 21, "the writes are given up");
  assertEquals(client.ask({ op: "get", key: "a" }).value, "1");
});

Deno.test("Server.close() takes no write of a client that pipelines while it ends, and may be called twice", () => {
  const cluster = new SmallCluster("pipelining", { size: 1, limits: { requestsInFlightMax: 2 } });
  const server = cluster.leader!.server!;
  const client = cluster.client(cluster.leader!);
  client.send(...Array.from({ length: 400 }, (_, i) => ({ op: "put", key: `k${i}`, value: "1" })));
  cluster.until(() => client.replies.length > 5, "some replies");
  const done: number[] = [];
  server.close(() => done.push(1));
  server.close(() => done.push(2));
  cluster.until(() => done.length === 2, "the node has stopped");
  cluster.run(100);
  assert(client.replies.length < 400);
});

Deno.test("Server.constructor() applies a long log in slices, so that others get their turn", () => {
  const cluster = new SmallCluster("slices", { size: 1, limits: { committedEntriesMax: 10 } });
  const client = cluster.client(cluster.leader!);
  client.send(...Array.from({ length: 200 }, (_, i) => ({ op: "put", key: `k${i}`, value: "1" })));
  cluster.until(() => client.replies.length === 200, "all replies");
  const [node] = cluster.nodes;
  cluster.kill(node!);
  node!.machine.restart();
  let most = 0;
  while ((node!.server?.appliedIndex ?? 0) < 202) {
    const before = node!.server!.appliedIndex;
    cluster.world.step();
    most = Math.max(most, node!.server!.appliedIndex - before);
  }
  assertEquals(most, 10);
});

Deno.test("Server.constructor() hands leadership over when its disk hangs", () => {
  const cluster = new SmallCluster("hanging disk");
  const old = cluster.leader!;
  const client = cluster.client(old);
  cluster.hangDisk(old);
  client.send({ op: "put", key: "a", value: "1" });
  cluster.until(() => client.replies.length === 1, "the others commit without this disk");
  const before = cluster.world.scheduler.now;
  cluster.until(() => cluster.leader !== null && cluster.leader !== old, "another leader");
  assert(cluster.world.scheduler.now - before < 1200);
});

Deno.test("PeerLinks.onHello() drops what an earlier process of the same node still has open", () => {
  const cluster = new SmallCluster("two processes");
  const node = cluster.leader!;
  const twin = cluster.follower;
  const line = lineAs(cluster, node, twin, { starts: 2, nonce: "a later process" });
  cluster.until(() => line.replies.length > 0, "an answer");
  const match = () => node.server!.raft.progress().find(({ id }) => id === twin.id)!.matchIndex;
  const before = match();
  assertEquals(cluster.client(node).ask({ op: "put", key: "a", value: "1" }).ok, true, "by the third node");
  cluster.run(1000);
  assertEquals(match(), before, "the earlier process acknowledges nothing any more");
});

Deno.test("Server.constructor() keeps its leader when a slow write follows a long silence", () => {
  const cluster = new SmallCluster("slow disk after silence");
  const leader = cluster.leader!;
  cluster.run(3000);
  leader.machine.disk.slowness = 200;
  assertEquals(cluster.client(leader).ask({ op: "put", key: "a", value: "1" }).ok, true);
  cluster.run(1000);
  assertEquals([cluster.leader, leader.server!.raft.currentTerm], [leader, 1]);
});
