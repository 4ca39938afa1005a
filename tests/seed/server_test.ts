/**
 * Bugs of the program that kvapp grew out of, as its clients and its operators met them. The numbers are those of
 * README.md here.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { SmallCluster } from "../server/cluster.ts";

Deno.test("Server answers ok only for a write that is stored, and a power cut of all nodes keeps it (seed fact 1, S9)", () => {
  const cluster = new SmallCluster("seed fact 1");
  const client = cluster.client(cluster.leader!);
  for (let i = 0; i < 20; i++) assertEquals(client.ask({ op: "put", key: `k${i}`, value: `${i}` }).ok, true);
  cluster.powerCut();
  const reader = cluster.client(cluster.follower);
  for (let i = 0; i < 20; i++) assertEquals(reader.ask({ op: "get", key: `k${i}` }).value, `${i}`);
});

Deno.test("Server answers ok only when a majority of disks has the write (seed bug 1.6, S7)", () => {
  const cluster = new SmallCluster("S7");
  const client = cluster.client(cluster.leader!);
  assertEquals(client.ask({ op: "put", key: "a", value: "1" }).ok, true);
  for (const { machine } of cluster.nodes) machine.disk.slowness = 1000;
  client.send({ op: "put", key: "a", value: "2" });
  cluster.run(50);
  assertEquals(client.replies.length, 1);
  for (const { machine } of cluster.nodes) machine.disk.slowness = 1;
  cluster.until(() => client.replies.length === 2, "the disks are done");
  assertEquals(client.replies[1]!.ok, true);
});

Deno.test("Server answers no write without a majority (seed fact 1)", () => {
  const cluster = new SmallCluster("no majority", { limits: { requestTimeoutMs: 1000 } });
  const leader = cluster.leader!;
  const client = cluster.client(leader);
  assertEquals(client.ask({ op: "ping" }).ok, true);
  for (const node of cluster.nodes) if (node !== leader) cluster.kill(node);
  const reply = client.ask({ op: "put", key: "a", value: "1" });
  assertEquals(reply.ok, false);
  const { code, definite } = reply.error as { code: string; definite: boolean };
  assertEquals([code, definite], ["outcomeUnknown", false]);
  cluster.run(1000);
  assertEquals(client.ask({ op: "put", key: "b", value: "1" }).ok, false, "and is no leader any more");
});

Deno.test("Server answers every client of a committed write on its connection (seed fact 2, bug 26)", () => {
  const cluster = new SmallCluster("seed bug 26");
  const leader = cluster.leader!;
  const clients = [1, 2, 3, 4, 5].map(() => cluster.client(leader));
  for (const [i, client] of clients.entries()) client.send({ op: "put", key: `k${i}`, value: "v", id: i });
  cluster.until(() => clients.every(({ replies }) => replies.length === 1), "five replies");
  assertEquals(
    clients.map(({ replies }) => [replies[0]!.ok, replies[0]!.id]),
    [0, 1, 2, 3, 4].map((id) => [true, id]),
  );
});

Deno.test("Server tells the clients that wait when it leads no more (seed bug 26)", () => {
  const cluster = new SmallCluster("seed bug 26, deposed");
  const old = cluster.leader!;
  const client = cluster.client(old);
  assertEquals(client.ask({ op: "ping" }).ok, true);
  const heal = cluster.isolate(old);
  client.send({ op: "put", key: "a", value: "lost" });
  cluster.until(() => cluster.leader !== null && cluster.leader !== old, "another leader");
  assertEquals(cluster.client(cluster.leader!).ask({ op: "put", key: "a", value: "new" }).ok, true);
  heal();
  cluster.until(() => client.replies.length === 2, "an answer to the write that was replaced");
  const { code, definite } = client.replies[1]!.error as { code: string; definite: boolean };
  assertEquals([code, definite], ["noLeader", true]);
  assertEquals(client.ask({ op: "get", key: "a" }).value, "new");
  assertEquals(client.isClosed, false);
});

Deno.test("Server stores the same on all nodes under parallel writers (seed fact 3)", () => {
  const cluster = new SmallCluster("seed fact 3");
  const clients = Array.from({ length: 8 }, () => cluster.client(cluster.leader!));
  for (const [c, client] of clients.entries()) {
    for (let i = 0; i < 50; i++) client.send({ op: "put", key: `k${i % 7}`, value: `${c}/${i}` });
  }
  cluster.until(() => clients.every(({ replies }) => replies.length === 50), "400 replies");
  assert(clients.every(({ replies }) => replies.every(({ ok }) => ok === true)));
  cluster.run(200);
  const digests = new Set(
    cluster.nodes.map(({ server }) => `${server!.appliedIndex} ${server!.store.digest()}`),
  );
  assertEquals(digests.size, 1);
});

Deno.test("Server brings a restarted node up to date without a new write (seed fact 4)", () => {
  const cluster = new SmallCluster("seed fact 4");
  const node = cluster.follower;
  cluster.run(100);
  cluster.kill(node);
  const client = cluster.client(cluster.leader!);
  for (let i = 0; i < 10; i++) client.ask({ op: "put", key: `k${i}`, value: "v" });
  node.machine.restart();
  cluster.until(() => node.server!.store.size === 10, "the node has what it missed");
});

Deno.test("Server refuses a stranger on the raft port before it touches anything (seed bug 5, S15)", () => {
  const cluster = new SmallCluster("seed bug 5");
  const leader = cluster.leader!;
  const { currentTerm } = leader.server!.raft;
  const vote = {
    type: "requestVote",
    from: 2,
    to: 1,
    term: 99,
    lastLogIndex: 99,
    lastLogTerm: 98,
    preVote: false,
  };
  const stranger = cluster.client(cluster.nodes[0]!, 8080);
  stranger.send({ ...vote, leadershipTransfer: true });
  cluster.until(() => stranger.isClosed, "the connection is closed");
  assertEquals(stranger.replies[0]?.type, "refused");
  const pretender = cluster.client(cluster.nodes[0]!, 8080); // says who it is, but is not in this cluster
  pretender.send({
    type: "hello",
    versions: { min: 1, max: 1 },
    nodeId: 2,
    incarnation: "f".repeat(16),
    starts: 1,
    nonce: "f".repeat(16),
    clientAddress: "n2:9080",
    cluster: [],
    clusterId: "0123456789abcdef",
    members: null,
    founded: false,
  }, { ...vote, leadershipTransfer: true });
  cluster.until(() => pretender.isClosed, "the connection is closed");
  assertEquals(cluster.nodes.map(({ server }) => server!.raft.currentTerm), [
    currentTerm,
    currentTerm,
    currentTerm,
  ]);
});

Deno.test("Server carries a value of the greatest size that it accepts to all nodes (seed bug 18)", () => {
  const cluster = new SmallCluster("seed bug 18");
  const client = cluster.client(cluster.leader!);
  const value = "\u0001".repeat(cluster.limits.valueBytesMax); // six bytes each where it is written as JSON
  assertEquals(client.ask({ op: "put", key: "large", value }).ok, true);
  assertEquals(client.ask({ op: "put", key: "after", value: "1" }).ok, true);
  cluster.run(500);
  for (const { server } of cluster.nodes) assertEquals(server!.store.get("large")?.value, value);
  const tooLarge = client.ask({ op: "put", key: "larger", value: value + "x" });
  assertEquals((tooLarge.error as { code: string }).code, "tooLarge", "said to the client, at once");
});

Deno.test("Server shows no old value while it replays its log after a restart (seed bug 20)", () => {
  const cluster = new SmallCluster("seed bug 20", { limits: { committedEntriesMax: 1 } });
  const client = cluster.client(cluster.leader!);
  for (let i = 1; i <= 30; i++) client.ask({ op: "put", key: "a", value: `${i}` });
  const node = cluster.follower;
  cluster.kill(node);
  node.machine.restart();
  const reader = cluster.client(node);
  for (let i = 0; i < 50; i++) reader.send({ op: "get", key: "a" });
  cluster.until(() => reader.replies.length === 50, "50 answers");
  const values = reader.replies.filter(({ ok }) => ok).map(({ value }) => value);
  assertEquals(new Set(values), new Set(["30"]));
});

Deno.test("Server keeps odd keys and empty values over a restart of all nodes (seed bug 21, S12)", () => {
  const cluster = new SmallCluster("seed bug 21");
  const client = cluster.client(cluster.leader!);
  const keys = ["a:b", "a\nb", ":", "\r\n", "__proto__", "ключ", "🙂"];
  for (const key of keys) client.ask({ op: "put", key, value: "" });
  client.ask({ op: "put", key: "gone", value: "x" });
  assertEquals(client.ask({ op: "delete", key: "gone" }).deleted, true);
  cluster.powerCut();
  const reader = cluster.client(cluster.leader!);
  for (const key of keys) assertEquals([reader.ask({ op: "get", key }).value, key], ["", key]);
  assertEquals(reader.ask({ op: "get", key: "gone" }).found, false);
  assertEquals(reader.ask({ op: "list", count: true }).count, keys.length);
});

Deno.test("Server acknowledges nothing after its disk has failed: it stops, and the others go on (seed bugs 24, 34)", () => {
  const cluster = new SmallCluster("seed bug 34");
  const leader = cluster.leader!;
  const client = cluster.client(leader);
  assertEquals(client.ask({ op: "put", key: "a", value: "1" }).ok, true);
  leader.machine.disk.failNext = true;
  client.send({ op: "put", key: "b", value: "2" });
  cluster.until(() => leader.stopped !== null, "the node stops");
  assertEquals(client.replies.slice(1).filter(({ ok }) => ok === true), []);
  cluster.until(() => cluster.leader !== null && cluster.leader !== leader, "another leader");
  assertEquals(cluster.client(cluster.leader!).ask({ op: "get", key: "a" }).value, "1");
});

Deno.test("Server lets a client read on any node what was acknowledged on another one (seed bug 25, S10)", () => {
  const cluster = new SmallCluster("seed bug 25");
  const writer = cluster.client(cluster.leader!);
  const readers = cluster.nodes.map((node) => cluster.client(node));
  for (let i = 0; i < 20; i++) {
    writer.ask({ op: "put", key: "a", value: `${i}` });
    for (const reader of readers) assertEquals(reader.ask({ op: "get", key: "a" }).value, `${i}`);
  }
  writer.ask({ op: "delete", key: "a" });
  for (const reader of readers) assertEquals(reader.ask({ op: "get", key: "a" }).found, false);
});

Deno.test("Server carries a write that is sent again out once (seed bug 27, S16)", () => {
  const cluster = new SmallCluster("seed bug 27");
  const client = cluster.client(cluster.leader!);
  const { session } = client.ask({ op: "session" });
  const write = { op: "put", key: "a", value: "1", session, seq: 1 };
  const first = client.ask(write);
  client.ask({ op: "put", key: "a", value: "2" });
  const second = cluster.client(cluster.leader!).ask(write); // on another connection, as after a lost reply
  assertEquals([second.ok, second.version], [true, first.version]);
  assertEquals(client.ask({ op: "get", key: "a" }).value, "2", "the late copy overwrites nothing");
});

Deno.test("Server carries requests out in the order in which they came (seed bug 28, S13)", () => {
  const cluster = new SmallCluster("seed bug 28");
  const client = cluster.client(cluster.leader!);
  const requests = Array.from({ length: 99 }, (_, id) => {
    if (id % 3 === 0) return { op: "put", key: "a", value: `${id}`, id };
    return id % 3 === 1 ? { op: "get", key: "a", id } : { op: "ping", id }; // which could be answered at once
  });
  client.send(...requests); // in one piece
  cluster.until(() => client.replies.length === 99, "99 replies");
  assertEquals(client.replies.map(({ id }) => id), requests.map(({ id }) => id));
  const indexes = client.replies.filter((_, i) => i % 3 === 0).map(({ index }) => index as number);
  assertEquals(indexes, indexes.toSorted((a, b) => a - b));
  assertEquals(client.ask({ op: "get", key: "a" }).value, "96");
});

Deno.test("Server names the leader with an address that a client can use (seed bug 29)", () => {
  const cluster = new SmallCluster("seed bug 29");
  const leader = cluster.leader!;
  const reply = cluster.client(cluster.follower).ask({ op: "put", key: "a", value: "1" });
  const error = reply.error as { code: string; definite: boolean; leader: { id: number; address: string } };
  assertEquals([error.code, error.definite], ["notLeader", true]);
  assertEquals(error.leader, { id: leader.id, address: `n${leader.id}:9080` });
});

Deno.test("Server is not held up by a peer that accepts connections and says nothing (seed bug 30)", () => {
  const cluster = new SmallCluster("seed bug 30");
  const frozen = cluster.follower;
  frozen.machine.pause();
  const client = cluster.client(cluster.leader!);
  const { scheduler } = cluster.world;
  for (let i = 0; i < 100; i++) {
    const start = scheduler.now;
    assertEquals(client.ask({ op: "put", key: `${i}`, value: "v" }).ok, true);
    assertLess(scheduler.now - start, 50, "milliseconds for a write");
    cluster.run(250); // 25 seconds in all
  }
  const { currentTerm } = cluster.leader!.server!.raft;
  frozen.machine.resume();
  cluster.until(() => frozen.server!.store.size === 100, "the node catches up");
  cluster.run(4000);
  assertEquals(cluster.leader!.server!.raft.currentTerm, currentTerm, "and disturbs nobody");
});

Deno.test("Server keeps its connections to the other nodes (seed bug 31)", () => {
  const cluster = new SmallCluster("seed bug 31");
  cluster.run(1000);
  const { endpoints } = cluster.world.network;
  const before = new Set(endpoints);
  const client = cluster.client(cluster.leader!);
  for (let i = 0; i < 100; i++) client.ask({ op: "put", key: `${i}`, value: "v" });
  cluster.run(5000);
  const added = [...endpoints].filter((end) => !before.has(end) && !end.host.startsWith("client"));
  assertEquals(added.filter((end) => !end.remoteHost.startsWith("client")), []);
  assertEquals([...before].filter((end) => !end.isOpen), []);
});

Deno.test("Server takes a bounded number of client connections, and tells the others why not (seed bug 32)", () => {
  const cluster = new SmallCluster("seed bug 32", { limits: { clientConnectionsMax: 20 } });
  const node = cluster.leader!;
  const idle = Array.from({ length: 20 }, () => cluster.client(node));
  cluster.run(100);
  const late = cluster.client(node);
  cluster.until(() => late.isClosed, "the connection is closed");
  assertEquals((late.replies[0]!.error as { code: string }).code, "busy");
  assertEquals(idle[0]!.ask({ op: "put", key: "a", value: "1" }).ok, true, "the others are served");
  idle[1]!.close();
  cluster.run(100);
  assertEquals(cluster.client(node).ask({ op: "ping" }).ok, true, "and there is room again");
});

Deno.test("Server commits a write without waiting for any timer (seed bug 33)", () => {
  const cluster = new SmallCluster("seed bug 33");
  const client = cluster.client(cluster.leader!);
  client.ask({ op: "ping" });
  const { scheduler } = cluster.world;
  const times = Array.from({ length: 50 }, (_, i) => {
    const start = scheduler.now;
    client.ask({ op: "put", key: `${i}`, value: "v" });
    return scheduler.now - start;
  }).sort((a, b) => a - b);
  // Two disks and four ways over the wire, of a few tenths of a millisecond each; a tick is 10 ms.
  assertLess(times[25]!, 5);
  assertGreater(times[0]!, 0);
});
