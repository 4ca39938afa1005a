/**
 * Disks without room, in a cluster: who leads, what is still served, and that all goes on when there is room.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess, assertNotEquals } from "@std/assert";
import type { Node } from "./cluster.ts";
import { calmScenario, ScriptedCluster } from "./scripted_cluster.ts";

const { electionTimeoutMaxMs } = calmScenario.timing;

function founded(name: string, nodes = 3): ScriptedCluster {
  const scene = new ScriptedCluster(`full ${name} ${nodes}`, { nodes });
  scene.start();
  for (let i = 1; i <= 5; i++) scene.write(`early ${i}`);
  scene.checkAgreement();
  return scene;
}

/** Notes the lines of the journals that say this. */
function listenFor(scene: ScriptedCluster, text: string): string[] {
  const lines: string[] = [];
  scene.world.trace.onLine = (line) => void (line.includes(text) && lines.push(line));
  return lines;
}

function fill(scene: ScriptedCluster, nodes: readonly Node[], full = true): void {
  for (const node of nodes) scene.diskOf(node).full = full;
}

/** The code of the error that a write gets, "ok", or "nothing" for no answer. */
function outcomeOfWrite(scene: ScriptedCluster, node: Node, key: string): string {
  const reply = scene.ask(node, { op: "put", key, value: "1" });
  if (reply?.ok) return "ok";
  return reply === null ? "nothing" : (reply.error as { code: string }).code;
}

for (const nodes of [3, 5]) {
  Deno.test(`DiskWatch: a leader of ${nodes} whose disk is full hands over to a node with room, and nothing is lost`, () => {
    const scene = founded("leader", nodes);
    for (let i = 1; i <= 5; i++) {
      const old = scene.leader();
      // A follower without room is not chosen.
      const crowded = scene.others(old).slice(0, 1);
      fill(scene, [old, ...(nodes === 5 ? crowded : [])]);
      const since = scene.world.scheduler.now;
      scene.send(old, [{ op: "put", key: `asked ${i}`, value: "1" }]);
      scene.until("another leader", () => scene.cluster.leader !== null && scene.cluster.leader !== old);
      assertLess(scene.world.scheduler.now - since, electionTimeoutMaxMs);
      assert(!scene.diskOf(scene.cluster.leader!).full, "it has room");
      scene.write(`meanwhile ${i}`);
      fill(scene, scene.cluster.nodes, false);
      scene.checkAgreement();
      assertEquals(scene.cluster.leader!.server!.store.get(`asked ${i}`)?.value, "1", "the others had it");
    }
  });

  Deno.test(`DiskWatch: with all ${nodes} disks full the leader stays, reads are served, writes are refused until there is room`, () => {
    const scene = founded("all", nodes);
    const leader = scene.leader();
    const { currentTerm } = leader.server!.raft;
    fill(scene, scene.cluster.nodes);
    const under = scene.send(leader, [{ op: "put", key: "under way", value: "1" }]);
    scene.run(100);
    for (let i = 1; i <= 10; i++) {
      assertEquals(outcomeOfWrite(scene, leader, `refused ${i}`), "diskFull");
      for (const node of scene.cluster.nodes) assert(scene.checkReads(node, "early 1"), "reads are served");
      scene.run(500);
    }
    assertEquals([scene.leader().id, leader.server!.raft.currentTerm], [leader.id, currentTerm]);
    fill(scene, scene.cluster.nodes, false);
    scene.run(500);
    assertEquals(outcomeOfWrite(scene, leader, "by itself"), "ok");
    under.destroy();
    scene.checkAgreement();
    const { store } = leader.server!;
    assertEquals(store.get("under way")?.value, "1", "what was taken before is carried out");
    assertEquals(store.get("refused 1"), undefined);
  });

  Deno.test(`LogWriter: one of ${nodes} with a full disk votes for others in one term after the other, while its log waits`, () => {
    const scene = founded("votes", nodes);
    const crowded = scene.others(scene.leader())[0]!;
    fill(scene, [crowded]);
    scene.write("it cannot keep this");
    const { durableIndex } = crowded.server!;
    // As many are away as may be, so that its vote is needed each time.
    const away = scene.others(crowded, scene.leader()).slice(0, (nodes - 3) / 2);
    scene.stop(...away);
    const voted = new Set<number>();
    for (let i = 1; i <= 6; i++) {
      const old = scene.leader();
      scene.stop(old);
      scene.until("another leader", () => scene.cluster.leader !== null);
      const { currentTerm } = crowded.server!.raft;
      assertEquals(crowded.durable.currentTerm, currentTerm);
      if (crowded.durable.votedFor === scene.cluster.leader!.id) voted.add(currentTerm);
      scene.start([old]);
      scene.write(`term ${currentTerm}`);
      scene.until(
        "the old leader has it",
        () => old.server!.raft.commitIndex >= scene.writtenAt.get(`term ${currentTerm}`)!,
      );
    }
    assertEquals(voted.size, 6, "each leader had its vote");
    assertEquals(crowded.server!.durableIndex, durableIndex);
    fill(scene, [crowded], false);
    scene.start();
    scene.checkAgreement();
  });

  Deno.test(`Snapshotter: one of ${nodes} whose disk is full when a snapshot is due takes it later`, () => {
    const scene = founded("snapshot", nodes);
    const crowded = scene.others(scene.leader())[0]!;
    const failed = listenFor(scene, "no room for a snapshot");
    for (let i = 1; failed.length === 0; i++) {
      scene.write(`more ${i}`);
      fill(scene, [crowded]);
      scene.run(60); // it hears now that this is committed
      fill(scene, [crowded], false);
      scene.until(
        "its log goes on",
        () => crowded.server!.raft.commitIndex === scene.cluster.leader!.server!.raft.commitIndex,
      );
      assertLess(i, 40, "there was a snapshot to take");
    }
    const index = (): number => crowded.server!.raft.snapshot?.lastIncludedIndex ?? 0;
    const before = index();
    scene.run(9000);
    scene.checkAgreement();
    scene.run(2000);
    scene.write("wakes it");
    scene.until("the snapshot is taken", () => index() > before);
    scene.stop(crowded);
    scene.start();
    scene.checkAgreement();
  });

  Deno.test(`onInstallSnapshot() of one of ${nodes} whose disk is full when a snapshot comes, or in the middle, waits for room`, () => {
    for (const isBegun of [false, true]) {
      const scene = founded(`install ${isBegun}`, nodes);
      const away = scene.others(scene.leader())[0]!;
      scene.stop(away);
      for (let i = 1; i <= 30; i++) scene.write(`away ${i}`, `${i}`.repeat(20_000)); // several pieces
      const pieces = (): number =>
        Math.max(
          ...away.machine.disk.durableNames().filter((name) => name.startsWith("snapshots/"))
            .map((name) => away.machine.disk.durable(name)!.length),
        );
      if (!isBegun) fill(scene, [away]);
      scene.start([away]);
      if (isBegun) scene.until("the first piece", () => pieces() > 100_000);
      fill(scene, [away]);
      assert(scene.cluster.invariants.seen.installs === 0);
      scene.run(3000);
      assertEquals(scene.cluster.invariants.seen.installs, 0);
      scene.write("meanwhile");
      fill(scene, [away], false);
      scene.checkAgreement();
      assertEquals(scene.cluster.invariants.seen.installs, 1);
    }
  });

  Deno.test(`Server.constructor() of one of ${nodes} starts again on a disk that is still full`, () => {
    for (const kind of ["power", "kill"] as const) {
      const scene = founded(`crash ${kind}`, nodes);
      for (const isLeader of [true, false]) {
        const leader = scene.leader();
        const crowded = isLeader ? leader : scene.others(leader)[0]!;
        fill(scene, [crowded]);
        scene.send(leader, [{ op: "put", key: `under way ${isLeader}`, value: "1" }]);
        scene.run(30);
        scene.cluster.crash(crowded, kind);
        scene.write(`without it ${isLeader}`);
        scene.start();
        scene.write(`with it ${isLeader}`);
        assertNotEquals(scene.cluster.leader, crowded);
        scene.run(1000);
        assertGreater(crowded.server!.raft.lastIndex, crowded.server!.durableIndex, "its log waits");
        scene.cluster.crash(crowded, kind);
        scene.start();
        fill(scene, [crowded], false);
        scene.checkAgreement();
      }
    }
  });

  Deno.test(`Storage.append() of one of ${nodes} gives up entries that waited for room, and those before them, for another leader's`, () => {
    const scene = founded("conflict", nodes);
    const old = scene.leader();
    const heal = scene.separate([old], scene.others(old));
    scene.send(old, [{ op: "put", key: "durable", value: "1" }]);
    scene.run(20);
    fill(scene, [old]);
    scene.send(old, [{ op: "put", key: "waits", value: "1" }]);
    scene.run(20);
    for (let i = 1; i <= 3; i++) scene.write(`meanwhile ${i}`);
    heal();
    scene.until("it has cut its log", () => scene.cluster.invariants.seen.truncations > 0);
    scene.run(1000); // the disk is tried again several times
    fill(scene, [old], false);
    scene.checkAgreement();
    assertEquals(old.server!.store.get("durable"), undefined);
  });

  Deno.test(`Snapshotter: one of ${nodes} is sent a snapshot by two leaders before there is room for either`, () => {
    // Of one piece, which then waits for room whatever else is offered; or of several, of which the newest counts.
    for (const size of [0, 20_000]) {
      const scene = founded(`two installs ${size}`, nodes);
      const away = scene.others(scene.leader())[0]!;
      const write = (key: string): void => scene.write(key, size > 0 ? key.padEnd(size) : undefined);
      const sent = (): number => Math.max(0, ...scene.cluster.leader?.server?.raft.transfers ?? []);
      scene.stop(away);
      for (let i = 1; i <= 30; i++) write(`away ${i}`);
      fill(scene, [away]);
      scene.start([away]);
      for (let i = 1; i <= 2; i++) {
        scene.until("a snapshot comes", () => sent() > 0 && away.server!.raft.receivingIndex !== null);
        const [index, received] = [sent(), away.server!.raft.receivingIndex!];
        const old = scene.cluster.leader!;
        old.server!.raft.transferLeadership();
        scene.until("another leader", () => scene.cluster.leader !== null && scene.cluster.leader !== old);
        for (let j = 1; j <= 30; j++) write(`later ${i} ${j}`);
        scene.until("a newer one is sent", () => sent() > index);
        if (size > 0) scene.until("it comes", () => away.server!.raft.receivingIndex! > received);
        else assertEquals(away.server!.raft.receivingIndex, received);
      }
      fill(scene, [away], false);
      scene.checkAgreement();
      scene.stop(away);
      scene.start([away]);
      scene.checkAgreement();
    }
  });
}

Deno.test("sendSnapshot() to a follower whose disk stays full does not keep the leader's log from being cut", () => {
  const scene = founded("pinned");
  const away = scene.others(scene.leader())[0]!;
  scene.stop(away);
  for (let i = 1; i <= 30; i++) scene.write(`away ${i}`);
  fill(scene, [away]);
  scene.start([away]);
  scene.until("a snapshot is sent", () => scene.leader().server!.raft.transfers.length > 0);
  const [first] = scene.leader().server!.raft.transfers;
  for (let round = 1; round <= 2; round++) {
    for (let i = 1; i <= 30; i++) scene.write(`round ${round} ${i}`);
    scene.run(12 * electionTimeoutMaxMs);
  }
  for (let i = 1; i <= 30; i++) scene.write(`later ${i}`);
  const { raft } = scene.leader().server!;
  assert(!raft.transfers.includes(first!), "it is sent a newer one");
  assertGreater(raft.baseIndex, first!);
  fill(scene, [away], false);
  scene.checkAgreement();
});
