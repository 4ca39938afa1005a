/**
 * Members that have lost their folders get back in, whatever happens meanwhile: the cluster must neither wait for ever
 * for those who may not vote, nor need them. Each story is played with three nodes and with five.
 *
 * @module
 */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import type { Node } from "./cluster.ts";
import { ScriptedCluster } from "./scripted_cluster.ts";

/** How many of how many nodes lose their folders. */
const losses = [{ nodes: 3, lost: 1 }, { nodes: 5, lost: 1 }, { nodes: 5, lost: 2 }];

function founded(name: string, nodes: number): ScriptedCluster {
  const scene = new ScriptedCluster(`${name} ${nodes}`, { nodes });
  scene.start();
  for (let i = 1; i <= 5; i++) scene.write(`early ${i}`);
  scene.checkAgreement();
  return scene;
}

for (const { nodes, lost } of losses) {
  const who = `${lost} of ${nodes}`;

  Deno.test(`admitAbstaining() brings ${who} wiped nodes back, whatever the leader does meanwhile`, () => {
    for (const event of ["restarts", "hands over", "is alone for a while"]) {
      const scene = founded(`leader ${event} ${lost}`, nodes);
      const old = scene.leader();
      const wiped = scene.others(old).slice(-lost);
      scene.stop(...wiped);
      for (const node of wiped) scene.cluster.wipe(node);
      if (event === "hands over") {
        scene.start(wiped);
        old.server!.raft.transferLeadership();
      }
      if (event === "restarts") {
        scene.stop(old);
        scene.start([...wiped, old]);
      }
      const heal = event === "is alone for a while" ? scene.separate([old], scene.others(old)) : () => {};
      scene.start(wiped);
      if (event === "is alone for a while") scene.run(1000);
      heal();
      scene.checkAgreement();
      scene.write("afterwards");
      scene.checkAgreement();
      assertEquals(scene.cluster.invariants.seen.admissions, lost, event);
    }
  });

  Deno.test(`admitAbstaining() of ${who} wiped nodes is carried through when it is not committed and its leader goes`, () => {
    const scene = founded(`uncommitted ${lost}`, nodes);
    const old = scene.leader();
    const wiped = scene.others(old).slice(-lost);
    scene.stop(...wiped);
    for (const node of wiped) scene.cluster.wipe(node);
    // The others hear of it late, so that it stays uncommitted until the leader is gone.
    const behind = scene.others(old, ...wiped);
    const heal = scene.separate([old], behind);
    scene.start(wiped);
    scene.until("the admission is proposed", () => old.server!.raft.configurationIndex > 1);
    assert(old.server!.raft.commitIndex < old.server!.raft.configurationIndex);
    scene.run(20);
    for (const { server } of wiped) assert(!server!.isAdmitted);
    scene.stop(old);
    heal();
    // With three nodes, or two of five wiped, those that are left are no majority without it.
    if (behind.length * 2 < nodes) {
      scene.run(1000);
      assertEquals(scene.cluster.leader, null, "who abstains elects nobody");
    } else scene.write("without the old leader");
    scene.start([old]);
    scene.checkAgreement();
    scene.write("afterwards");
    scene.checkAgreement();
    assertEquals(scene.cluster.invariants.seen.admissions, lost);
  });
}

Deno.test("admitAbstaining() of 1 of 5 wiped nodes is done by the three that are left when the leader dies for good", () => {
  const scene = founded("dies for good", 5);
  const old = scene.leader();
  const [wiped, ...rest] = scene.others(old) as [Node, ...Node[]];
  scene.stop(old);
  scene.loseFolder(wiped);
  scene.until("it is admitted", () => wiped.server!.isAdmitted);
  // And it counts from now on: with it and two others there is a majority.
  scene.stop(rest[0]!);
  scene.write("with the admitted one");
  scene.start();
  scene.checkAgreement();
});

for (const nodes of [3, 5]) {
  Deno.test(`onRequestVote() of ${nodes} lets one that was admitted again lead when only it has all that is committed`, () => {
    const scene = founded("the only one", nodes);
    const old = scene.leader();
    const [back, ...rest] = scene.others(old) as [Node, ...Node[]];
    // With five nodes one is away during the admission; with three the only other one is needed for it.
    const late = nodes === 5 ? rest.slice(0, 1) : [];
    const voters = rest.slice(late.length);
    scene.stop(...late);
    scene.loseFolder(back);
    scene.until("it is admitted", () => back.server!.isAdmitted);
    const cut = nodes === 3 ? voters : voters.slice(0, 1);
    scene.stop(...cut);
    scene.write("the voters lack this");
    const last = voters.slice(cut.length);
    scene.stop(old, ...last);
    scene.start([...late, ...cut]);
    assertEquals(scene.leader().id, back.id);
    scene.write("with it in the lead");
    scene.start();
    scene.checkAgreement();
  });

  Deno.test(`nextFoundingStep() of ${nodes} goes on when one loses its folder at any moment of the founding`, () => {
    const outcomes = new Set<string>();
    for (let i = 0; i < 60; i++) {
      const scene = new ScriptedCluster(`founding ${nodes} ${i}`, { nodes });
      const { cluster } = scene;
      cluster.mayStop = true;
      scene.start();
      const victim = cluster.nodes[i % nodes]!;
      const calls = 1 + i % 4;
      scene.until("so much is done", () => scene.diskOf(victim).calls.length >= calls);
      scene.run((i % 7) * 0.1);
      scene.loseFolder(victim);
      scene.until("a leader, or a reason", () => cluster.hasConverged || scene.stopped.size > 0);
      for (const message of scene.stopped.values()) outcomes.add(message.slice(0, 60));
      if (scene.stopped.size > 0) continue;
      scene.write("first");
      scene.checkAgreement();
      outcomes.add(`${cluster.invariants.seen.admissions} admitted`);
    }
    assertEquals(outcomes, new Set(["0 admitted", "1 admitted"]));
  });

  Deno.test(`onInstallSnapshot() of one of ${nodes} that loses its folder in the middle of an install gets all of it again`, () => {
    const scene = founded("in the middle", nodes);
    const away = scene.others(scene.leader())[0]!;
    scene.stop(away);
    for (let i = 1; i <= 30; i++) scene.write(`away ${i}`);
    scene.start([away]);
    scene.until("a snapshot comes", () => away.server!.raft.receivingIndex !== null);
    scene.loseFolder(away);
    scene.until("a snapshot comes again", () => away.server!.raft.receivingIndex !== null);
    scene.loseFolder(away);
    scene.checkAgreement();
    assertEquals(scene.cluster.invariants.seen.admissions, 1);
    scene.write("afterwards");
    scene.checkAgreement();
  });

  Deno.test(`admitAbstaining() of ${nodes} brings back leaders that lost their folders, one after the other`, () => {
    const scene = founded("leader wiped", nodes);
    for (let i = 1; i <= 3; i++) {
      const old = scene.leader();
      scene.send(old, [{ op: "put", key: `under way ${i}`, value: "1" }]);
      scene.run(0.5);
      scene.loseFolder(old);
      scene.write(`without it ${i}`);
      assertNotEquals(scene.cluster.leader, old);
      scene.checkAgreement();
      assertEquals(scene.cluster.invariants.seen.admissions, i);
    }
  });
}
