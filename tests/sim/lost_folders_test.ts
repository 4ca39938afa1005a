/**
 * What a member that has lost its folder must not bring about: the schedules that break simpler rules. Each is played
 * with three nodes and with five.
 *
 * @module
 */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import type { Node } from "./cluster.ts";
import { ScriptedCluster } from "./scripted_cluster.ts";

const sizes = [3, 5];

/** A founded cluster with a few writes, all of whose nodes agree. */
function founded(name: string, nodes: number): ScriptedCluster {
  const scene = new ScriptedCluster(`${name} ${nodes}`, { nodes });
  scene.start();
  for (let i = 1; i <= 3; i++) scene.write(`early ${i}`);
  scene.checkAgreement();
  return scene;
}

/** Collects what the nodes read from each other, as the trace tells it. */
function listen(scene: ScriptedCluster): string[] {
  const lines: string[] = [];
  scene.world.trace.onLine = (line) => lines.push(line);
  return lines;
}

/** Nodes that know that there is no way on have said so, and whose folders are lost. Others wait for them. */
function checkHalted(scene: ScriptedCluster, lost: readonly Node[]): void {
  assert(scene.stopped.size > 0, "somebody stops");
  for (const message of scene.stopped.values()) {
    const [, ids] = message.match(/^beyond self-repair: the data folders of node ([\d, ]+) have lost/) ?? [];
    assert(ids !== undefined, message);
    const named = ids.split(", ").map(Number);
    assert(new Set(named).isSubsetOf(new Set(lost.map(({ id }) => id))), message);
    assert(named.length * 2 >= scene.cluster.nodes.length, message);
  }
}

function refuses(scene: ScriptedCluster, node: Node, key: string): void {
  const reply = scene.ask(node, { op: "put", key, value: "1" });
  assert(!reply?.ok, `n${node.id} acknowledges ${key}`);
}

for (const nodes of sizes) {
  Deno.test(`onRequestVote() of one of ${nodes} that voted, lost its folder and is asked by a rival in the same term grants no second vote`, () => {
    const scene = founded("two leaders", nodes);
    const [one, rival, voter, ...rest] = scene.cluster.nodes as [Node, Node, Node, ...Node[]];
    const heard = listen(scene);
    // A fresh start of all, so that nobody follows anybody and pre-votes are given to both.
    scene.stop(...scene.cluster.nodes);
    scene.start();
    scene.run(30);
    const heal = scene.separate([one, ...rest.slice(1)], [rival, ...rest.slice(0, 1)]);
    // The rival's own vote takes its time on the disk, so it asks when the voter has forgotten its vote.
    scene.diskOf(rival).stalledUntil = scene.world.scheduler.now + 40;
    for (const { server } of [one, rival]) server!.raft.campaign();
    scene.until("a leader", () => one.server!.raft.role === "leader");
    const { currentTerm } = one.server!.raft;
    assertEquals(rival.server!.raft.currentTerm, currentTerm, "they stand in the same term");
    assertEquals(voter.durable.votedFor, one.id);
    scene.loseFolder(voter);
    const asks = new RegExp(
      `${voter.machine.name} +reads from ${rival.machine.name}:.*requestVote".*"preVote":false`,
    );
    scene.until("the rival asks", () => heard.some((line) => asks.test(line)));
    scene.run(20);
    assertNotEquals(rival.server!.raft.role, "leader");
    heal();
    scene.checkAgreement();
    scene.write("afterwards");
    scene.checkAgreement();
  });

  Deno.test(`confirmReads() of a deposed leader of ${nodes} does not count a node that lost its folder`, () => {
    const scene = founded("stale read", nodes);
    const old = scene.leader();
    const [wiped, ...rest] = scene.others(old) as [Node, ...Node[]];
    // With five nodes there is one more on the old leader's side, who has seen nothing of the election.
    const late = rest.slice(0, nodes === 5 ? 1 : 0);
    const elsewhere = rest.slice(late.length);
    scene.stop(...late);
    const join = scene.separate([old], scene.others(old));
    old.machine.pause(); // so that it does not notice that nobody answers
    scene.until("another leader", () => scene.cluster.leader !== old && scene.cluster.leader !== null);
    scene.write("news");
    scene.stop(wiped);
    scene.cluster.wipe(wiped);
    const heal = scene.separate([old, wiped, ...late], elsewhere);
    join();
    scene.start([wiped, ...late]);
    const heard = listen(scene);
    old.machine.resume();
    scene.run(30);
    assertEquals(old.server!.raft.role, "leader", "it does not know yet");
    const reply = scene.ask(old, { op: "get", key: "news" });
    assert(!reply?.ok, `it answers ${JSON.stringify(reply)}`);
    const confirms = new RegExp(`${old.machine.name} +reads from ${wiped.machine.name}:.*contactResponse`);
    assert(heard.some((line) => confirms.test(line)), "the wiped node has heard the old leader");
    refuses(scene, old, "never");
    heal();
    scene.write("afterwards");
    scene.checkAgreement();
  });

  Deno.test(`nextFoundingStep() of a majority of ${nodes} wiped nodes founds nothing without the last holder, and with it they get nowhere`, () => {
    const scene = founded("refounded", nodes);
    const [holder, ...wiped] = [...scene.cluster.nodes].reverse() as [Node, ...Node[]];
    const { committedIndex } = scene.cluster.invariants;
    scene.stop(holder);
    scene.loseFolder(...wiped);
    for (let i = 1; i <= 5; i++) {
      scene.run(1000);
      for (const node of wiped) refuses(scene, node, `never ${i}`);
    }
    for (const { server } of wiped) assertEquals(server!.raft.lastIndex, 0, "nothing is founded");
    // Members that abstain for good may stop by themselves, once they know.
    scene.cluster.mayStop = true;
    scene.start([holder]);
    scene.run(5000);
    for (const node of wiped) refuses(scene, node, "never");
    refuses(scene, holder, "never");
    assertEquals(scene.cluster.leader, null);
    scene.checkHeld(holder);
    assertEquals(scene.cluster.invariants.committedIndex, committedIndex);
    for (const { server } of wiped) assert(server!.raft.lastIndex <= committedIndex);
    scene.run(10_000);
    checkHalted(scene, wiped);
  });

  Deno.test(`nextFoundingStep() of a majority of ${nodes} wiped nodes founds nothing when the last holder cannot tell the members`, () => {
    const scene = founded("no members", nodes);
    for (let i = 1; i <= 30; i++) scene.write(`more ${i}`);
    scene.checkAgreement();
    const [holder, ...wiped] = scene.cluster.nodes as [Node, ...Node[]];
    assert(holder.server!.raft.baseIndex > 1, "the founding entry is cut off");
    scene.stop(holder);
    scene.loseFolder(...wiped);
    scene.run(500);
    scene.cluster.damage(holder, { file: "state.json", bit: 100 });
    scene.cluster.mayStop = true;
    scene.start([holder]);
    for (let i = 1; i <= 15; i++) {
      scene.run(1000);
      for (const node of scene.cluster.up) refuses(scene, node, `never ${i}`);
      assertEquals(scene.cluster.leader, null);
    }
    assertEquals(scene.stopped.size, 0, "they wait for somebody who can tell");
    for (const { server } of wiped) assertEquals(server!.raft.lastIndex, 0, "nothing is founded");
    scene.checkHeld(holder);
  });

  Deno.test(`NodeIdentity.judge() refuses an old folder of one of ${nodes} that is put back after another one was admitted`, () => {
    const scene = founded("old folder", nodes);
    const victim = scene.leader();
    scene.stop(victim);
    const copy = scene.diskOf(victim).copy();
    scene.cluster.wipe(victim);
    scene.start([victim]);
    scene.checkAgreement();
    scene.write("under the new name");
    scene.checkAgreement();
    const { committedIndex } = scene.cluster.invariants;
    const terms = (): number[] => scene.others(victim).map(({ server }) => server!.raft.currentTerm);
    scene.stop(victim);
    const newest = scene.diskOf(victim).copy();
    scene.until("a leader that the others follow", () => scene.others(victim).includes(scene.leader()));
    const before = terms();
    scene.cluster.putBack(victim, copy);
    const heard = listen(scene);
    scene.start([victim]);
    scene.run(2000);
    assertEquals(terms(), before, "it disturbs nobody");
    assert(victim.server!.raft.commitIndex <= committedIndex);
    assertEquals(victim.server!.store.get("under the new name"), undefined, "it is told nothing");
    assert(!scene.checkReads(victim, "under the new name"), "it confirms nothing");
    assert(
      heard.some((line) => line.includes("was replaced by another one, which the cluster has admitted")),
    );
    scene.write("without it");
    scene.stop(victim);
    scene.cluster.putBack(victim, newest);
    scene.start([victim]);
    scene.checkAgreement();
  });

  Deno.test(`NodeIdentity.lostMembers() halts ${nodes} nodes when the same entry is damaged on a majority, and nothing wrong is told before`, () => {
    const scene = new ScriptedCluster(`same entry ${nodes}`, { nodes, limits: { snapshotEntries: 1e9 } });
    scene.start();
    for (let i = 1; i <= 20; i++) scene.write(`k${i}`);
    scene.checkAgreement();
    scene.run(1300); // the state files vouch for all of it
    const leader = scene.leader();
    const majority = Math.floor(nodes / 2) + 1;
    const damaged = [leader, ...scene.others(leader)].slice(0, majority);
    scene.stop(...scene.cluster.nodes);
    const index = scene.writtenAt.get("k10")!;
    for (const node of damaged) {
      const line = node.durable.lines().find((one) => one.index === index && !one.isMark)!;
      scene.cluster.damage(node, { file: line.file, bit: (line.from + 60) * 8 });
    }
    scene.cluster.mayStop = true;
    scene.start();
    while (scene.stopped.size === 0) {
      for (const node of scene.cluster.up) {
        for (const key of ["k5", "k10", "k20"]) {
          assert(!scene.checkReads(node, key), "nobody confirms a read");
        }
        refuses(scene, node, "never");
      }
      assertEquals(scene.cluster.leader, null);
      scene.run(200);
      assert(scene.world.scheduler.now < 60_000, "they halt");
    }
    scene.run(1000);
    checkHalted(scene, damaged);
  });
}
