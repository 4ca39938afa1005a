/**
 * Directed stories of nodes that die, stand still, come back and are replaced, in the order that hurts. Every invariant
 * is checked after every event.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import type { Node } from "./cluster.ts";
import { comeTogether, ScriptedCluster } from "./scripted_cluster.ts";

function serving(name: string, options: { nodes?: number; snapshotEntries?: number } = {}): {
  scene: ScriptedCluster;
  leader: Node;
} {
  const { nodes = 3, snapshotEntries = 1000 } = options;
  const scene = new ScriptedCluster(name, { nodes, limits: { snapshotEntries } });
  scene.start();
  scene.write("before");
  return { scene, leader: scene.leader() };
}

function fill(scene: ScriptedCluster, name: string, count: number): void {
  for (let i = 0; i < count; i++) scene.write(`${name} ${i}`);
}

Deno.test("Server.constructor() brings back everything after all nodes lost power at once, with writes under way", () => {
  const { scene, leader } = serving("power cut");
  fill(scene, "kept", 10);
  for (let i = 0; i < 5; i++) scene.send(leader, [{ op: "put", key: `under way ${i}`, value: "x" }]);
  scene.run(2);
  scene.stop(...scene.cluster.nodes);
  scene.start();
  comeTogether(scene);
});

Deno.test("Server.constructor() serves while all nodes are restarted one after the other, again and again", () => {
  const { scene } = serving("rolling");
  for (let round = 0; round < 5; round++) {
    for (const node of scene.cluster.nodes) {
      scene.stop(node);
      scene.write(`round ${round} without ${node.id}`);
      scene.start([node]);
      scene.write(`round ${round} with ${node.id}`);
    }
  }
  comeTogether(scene);
});

Deno.test("Raft.propose() of a leader that dies with an uncommitted tail: it comes back and gives the tail up (paper figure 7)", () => {
  const { scene, leader } = serving("tail");
  const heal = scene.separate([leader], scene.others(leader));
  for (let i = 0; i < 3; i++) scene.send(leader, [{ op: "put", key: `tail ${i}`, value: "x" }]);
  scene.until("it is on its disk", () => leader.server!.durableIndex > 4);
  scene.stop(leader);
  heal();
  scene.write("of the next leader");
  scene.start([leader]);
  comeTogether(scene);
  assertEquals(leader.server!.store.get("tail 0"), undefined);
});

Deno.test("Raft.takeReady() commits what a dead leader had on a majority of disks, though it acknowledged nothing (paper 5.4.2)", () => {
  const { scene, leader } = serving("on a majority");
  const [a, b] = scene.others(leader) as [Node, Node];
  const speak = scene.connect(leader);
  const heal = scene.world.cut([[leader.machine.name, b.machine.name], [leader.machine.name, "client"]]);
  speak({ op: "put", key: "half", value: "known" });
  scene.until("one follower has it", () => a.durable.lastIndex > 3);
  scene.stop(leader);
  heal();
  scene.write("next");
  assertEquals(scene.cluster.leader, a, "only it can be elected");
  assertEquals(a.server!.store.get("half")?.value, "known");
  scene.start([leader]);
  comeTogether(scene);
});

Deno.test("Raft.receive() lets a follower that was away catch up from the log", () => {
  const { scene, leader } = serving("by the log");
  const [follower] = scene.others(leader);
  scene.stop(follower!);
  fill(scene, "missed", 100);
  scene.start([follower!]);
  comeTogether(scene);
  assertEquals(follower!.server!.raft.baseIndex, 0, "no snapshot was needed");
});

Deno.test("Raft.receive() lets a follower that was away for longer than the log catch up by a snapshot (paper 7)", () => {
  const { scene, leader } = serving("by a snapshot", { snapshotEntries: 8 });
  const [follower] = scene.others(leader);
  scene.stop(follower!);
  fill(scene, "missed", 60);
  scene.start([follower!]);
  comeTogether(scene);
  assertGreater(scene.cluster.invariants.seen.installs ?? 1, 0);
});

Deno.test("Snapshotter.fill() starts a transfer anew when its receiver, its sender or both die in the middle", () => {
  for (const who of ["receiver", "sender", "both"]) {
    const { scene, leader } = serving(`transfer, ${who}`, { snapshotEntries: 8 });
    const [follower] = scene.others(leader);
    scene.stop(follower!);
    fill(scene, "missed", 60);
    scene.start([follower!]);
    scene.until("a transfer is under way", () => {
      const { server } = follower!;
      return server !== null && (server.raft.receivingIndex !== null || server.appliedIndex > 50);
    });
    if (who !== "sender") scene.stop(follower!);
    if (who !== "receiver") scene.stop(scene.cluster.leader!);
    scene.start();
    comeTogether(scene);
  }
});

Deno.test("Server.constructor() survives five crashes of the same node while it catches up", () => {
  const { scene, leader } = serving("again and again", { snapshotEntries: 8 });
  const [follower] = scene.others(leader);
  scene.stop(follower!);
  fill(scene, "missed", 40);
  for (let i = 0; i < 5; i++) {
    scene.start([follower!]);
    scene.run(5 + 7 * i);
    scene.stop(follower!);
  }
  scene.start([follower!]);
  comeTogether(scene);
});

Deno.test("Raft.tick() of a leader that stood still for ten election timeouts makes it step down before it answers a read", () => {
  const { scene, leader } = serving("paused");
  leader.machine.pause();
  const read = scene.send(leader, [{ op: "get", key: "meanwhile" }]);
  let answer = "";
  read.onData = (bytes) => answer += new TextDecoder().decode(bytes);
  scene.until("the others elect", () => scene.cluster.leader !== leader);
  scene.write("meanwhile");
  scene.run(3000);
  leader.machine.resume();
  scene.until("it answers", () => answer.endsWith("\n"));
  const reply = JSON.parse(answer);
  assert(!reply.ok || reply.value === scene.acknowledged.get("meanwhile"), answer);
  comeTogether(scene);
});

Deno.test("Raft.tick() of a leader that stands still for less than an election timeout keeps it", () => {
  const { scene, leader } = serving("short pause");
  const { currentTerm } = leader.server!.raft;
  for (let i = 0; i < 10; i++) {
    leader.machine.pause();
    scene.run(60);
    leader.machine.resume();
    scene.run(200);
  }
  assertEquals(leader.server!.raft.currentTerm, currentTerm);
  comeTogether(scene);
});

Deno.test("Server.constructor() takes no part of a majority that stood still as a reason to lose anything", () => {
  const { scene, leader } = serving("majority paused");
  const others = scene.others(leader);
  for (const { machine } of others) machine.pause();
  assertEquals(scene.ask(leader, { op: "put", key: "alone", value: "x" })?.ok ?? false, false);
  scene.run(2000);
  for (const { machine } of others) machine.resume();
  comeTogether(scene);
});

Deno.test("Server.close() of each leader in turn hands over within two heartbeats, and nothing is lost (thesis 3.10)", () => {
  const { scene } = serving("hand over");
  for (let round = 0; round < 6; round++) {
    const leader = scene.leader();
    let isClosed = false;
    leader.server!.close(() => isClosed = true);
    const from = scene.world.scheduler.now;
    scene.until("another one leads", () => scene.cluster.leader !== null && scene.cluster.leader !== leader);
    assertLess(scene.world.scheduler.now - from, 100);
    scene.until("it has stopped", () => isClosed);
    scene.cluster.crash(leader, "kill");
    scene.write(`round ${round}`);
    scene.start([leader]);
  }
  comeTogether(scene);
});

Deno.test("Raft.tick() of two nodes of three that die in turn: whoever is left never serves alone", () => {
  const { scene, leader } = serving("one left");
  const [a, b] = scene.others(leader) as [Node, Node];
  scene.stop(a, leader);
  assert(!scene.checkReads(b, "before"));
  assertEquals(scene.ask(b, { op: "put", key: "alone", value: "x" })?.ok ?? false, false);
  scene.start([a]);
  scene.write("two of three");
  scene.start([leader]);
  comeTogether(scene);
});

Deno.test("Raft.tick() elects the node with the complete log, however the others are started (paper 5.4.1)", () => {
  const { scene, leader } = serving("complete log", { nodes: 5 });
  const [a, b, c, d] = scene.others(leader) as [Node, Node, Node, Node];
  scene.stop(c, d);
  fill(scene, "on three", 5);
  scene.stop(leader, a, b);
  scene.start([c, d]);
  scene.run(2000);
  assertEquals(scene.cluster.leader, null, "two of five are no majority");
  scene.start([b]);
  scene.until("a leader", () => scene.cluster.leader !== null);
  assertEquals(scene.cluster.leader, b, "only it has everything");
  scene.start([leader, a]);
  comeTogether(scene);
});

Deno.test("Sessions.once() answers a write that is sent again to the next leader as the first time (thesis 6.3)", () => {
  const { scene, leader } = serving("sent again");
  const session = scene.ask(leader, { op: "session" })?.session;
  const write = { op: "increment", key: "n", by: "5", session, seq: 1 };
  const first = scene.ask(leader, write);
  scene.stop(leader);
  const next = scene.leader();
  assertEquals(scene.ask(next, write), first);
  scene.start([leader]);
  scene.until("it is whole", () => leader.server!.store.get("n") !== undefined);
  const again = scene.leader();
  assertEquals(scene.ask(again, { ...write, seq: 2 })?.value, "10");
  comeTogether(scene);
});

Deno.test("Sessions.once() knows its answers after a power cut of all nodes, and in a node that was sent a snapshot", () => {
  const { scene, leader } = serving("sessions kept", { snapshotEntries: 8 });
  const session = scene.ask(leader, { op: "session" })?.session;
  const write = { op: "increment", key: "n", by: "5", session, seq: 1 };
  const first = scene.ask(leader, write);
  const [follower] = scene.others(leader);
  scene.stop(follower!);
  fill(scene, "more", 40);
  scene.start([follower!]);
  scene.until("it is whole", () => (follower!.server?.appliedIndex ?? 0) > 40);
  scene.stop(...scene.cluster.nodes);
  scene.start();
  scene.write("up again");
  for (const node of scene.cluster.nodes) {
    scene.stop(...scene.others(node).slice(1));
    scene.start();
    assertEquals(scene.ask(scene.leader(), write), first);
  }
  comeTogether(scene);
});

Deno.test("Expiry.onTick() ends keys on all nodes alike over crashes, and never early", () => {
  const { scene, leader } = serving("keys that go");
  const from = scene.world.scheduler.now;
  assert(scene.ask(leader, { op: "put", key: "short", value: "x", ttlMs: 800 })?.ok);
  scene.stop(leader);
  const next = scene.leader();
  scene.until("it is there", () => next.server!.store.get("short") !== undefined);
  scene.until("it goes", () => next.server!.store.get("short") === undefined);
  assertGreater(scene.world.scheduler.now - from, 790);
  scene.start([leader]);
  comeTogether(scene);
});

Deno.test("DiskWatch.onTick() makes a leader whose disk hangs give up the lead, and all is well when it moves again", () => {
  const { scene, leader } = serving("hung disk");
  leader.machine.disk.slowness = 1e5;
  scene.send(leader, [{ op: "put", key: "stuck", value: "x" }]);
  scene.until("another one leads", () => scene.cluster.leader !== null && scene.cluster.leader !== leader);
  scene.write("meanwhile");
  leader.machine.disk.slowness = 1;
  scene.stop(leader);
  scene.start([leader]);
  comeTogether(scene);
});

Deno.test("Raft.receive() counts no acknowledgement of a process that died and came back with less (power cut of a follower)", () => {
  const { scene, leader } = serving("came back with less");
  const [a, b] = scene.others(leader) as [Node, Node];
  scene.stop(b);
  for (let i = 0; i < 20; i++) {
    scene.send(leader, [{ op: "put", key: `quick ${i}`, value: "x" }]);
    scene.run(1);
    scene.stop(a);
    scene.start([a]);
  }
  scene.start([b]);
  comeTogether(scene);
});

Deno.test("Server.constructor() works as a cluster of one: acknowledged is on disk, whatever ends it", () => {
  const { scene } = serving("alone", { nodes: 1, snapshotEntries: 8 });
  const [node] = scene.cluster.nodes;
  for (let round = 0; round < 10; round++) {
    scene.write(`round ${round}`);
    scene.stop(node!);
    scene.start();
  }
  comeTogether(scene);
});
