/**
 * Directed stories of networks that are cut: who may go on, who must not, and how all come together again. Nothing here
 * is left to chance but the few milliseconds that packets take; every invariant is checked after every event.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import type { Node } from "./cluster.ts";
import { comeTogether, ScriptedCluster } from "./scripted_cluster.ts";

/** Longest election timeout in fast mode. */
const electionMs = 300;

/** A cluster that serves, and its leader. */
function serving(name: string, nodes = 3): { scene: ScriptedCluster; leader: Node } {
  const scene = new ScriptedCluster(name, { nodes });
  scene.start();
  scene.write("before");
  return { scene, leader: scene.leader() };
}

/** Cuts what `from` says to `to`, and nothing else. */
function silence(scene: ScriptedCluster, from: readonly Node[], to: readonly Node[]): () => void {
  const links = from.flatMap((a) => to.map((b) => [a.machine.name, b.machine.name] as const));
  return scene.world.cut(links.filter(([a, b]) => a !== b));
}

/** Runs until a majority has another leader. */
function nextLeader(scene: ScriptedCluster, old: Node): Node {
  scene.until("another leader", () => scene.cluster.leader !== null && scene.cluster.leader !== old);
  return scene.cluster.leader!;
}

/** How often leaders changed while `run` ran: how far the term went. */
function termsDuring(scene: ScriptedCluster, run: () => void): number {
  const term = (): number => Math.max(...scene.cluster.up.map(({ server }) => server!.raft.currentTerm));
  const before = term();
  run();
  return term() - before;
}

Deno.test("Raft.tick() of a follower that is cut off disturbs nobody, neither while it is alone nor when it is back (thesis 9.6)", () => {
  const { scene, leader } = serving("follower alone");
  const [follower] = scene.others(leader);
  const terms = termsDuring(scene, () => {
    const heal = scene.separate([follower!], scene.others(follower!));
    scene.run(5000);
    scene.write("meanwhile");
    heal();
    scene.run(1000);
  });
  assertEquals([terms, scene.cluster.leader], [0, leader]);
  comeTogether(scene);
});

Deno.test("Raft.tick() of a follower that hears nothing, but is heard, keeps the leader (thesis 9.6)", () => {
  const { scene, leader } = serving("deaf follower");
  const [follower] = scene.others(leader);
  const terms = termsDuring(scene, () => {
    const heal = silence(scene, scene.others(follower!), [follower!]);
    scene.run(3000);
    scene.write("meanwhile");
    heal();
    scene.run(1000);
  });
  assertEquals([terms, scene.cluster.leader], [0, leader]);
  comeTogether(scene);
});

Deno.test("Raft.tick() of a follower that hears, but is not heard, keeps the leader and catches up", () => {
  const { scene, leader } = serving("mute follower");
  const [follower] = scene.others(leader);
  const heal = silence(scene, [follower!], scene.others(follower!));
  scene.write("meanwhile");
  scene.run(3000);
  assertEquals(scene.cluster.leader, leader);
  heal();
  comeTogether(scene);
});

Deno.test("Raft.tick() of a leader that is cut off steps down, answers no read and acknowledges no write (thesis 6.2, 6.4)", () => {
  const { scene, leader } = serving("leader alone");
  const heal = scene.separate([leader], scene.others(leader));
  const read = scene.send(leader, [{ op: "get", key: "before" }]);
  let answer = "";
  read.onData = (bytes) => answer += new TextDecoder().decode(bytes);
  nextLeader(scene, leader);
  scene.write("behind its back");
  scene.until("the old leader steps down", () => leader.server!.raft.role !== "leader");
  assert(!scene.checkReads(leader, "behind its back"));
  assertEquals(scene.ask(leader, { op: "put", key: "lost", value: "1" })?.ok ?? false, false);
  assert(!answer.includes('"ok":true'), answer);
  heal();
  comeTogether(scene);
});

Deno.test("Raft.tick() of a leader that is heard, but hears nothing, steps down by CheckQuorum (thesis 6.2)", () => {
  const { scene, leader } = serving("deaf leader");
  const heal = silence(scene, scene.others(leader), [leader]);
  scene.until("it steps down", () => leader.server!.raft.role !== "leader");
  nextLeader(scene, leader);
  scene.write("meanwhile");
  heal();
  comeTogether(scene);
});

Deno.test("Raft.tick() of followers that the leader does not reach elects another one, though they reach it", () => {
  const { scene, leader } = serving("mute leader");
  const heal = silence(scene, [leader], scene.others(leader));
  const next = nextLeader(scene, leader);
  assert(next !== leader);
  scene.write("meanwhile");
  heal();
  comeTogether(scene);
});

Deno.test("Raft.tick() keeps a leader that no client reaches: clients are no reason to change", () => {
  const { scene, leader } = serving("no clients");
  const heal = scene.world.cut([["client", leader.machine.name], [leader.machine.name, "client"]]);
  const terms = termsDuring(scene, () => scene.run(3000));
  assertEquals([terms, scene.cluster.leader], [0, leader]);
  const [follower] = scene.others(leader);
  assert(scene.checkReads(follower!, "before"), "others still ask the leader for them");
  heal();
  comeTogether(scene);
});

Deno.test("Raft.propose() is answered by nobody when a leader reaches its client only one way, and stays safe to retry", () => {
  const { scene, leader } = serving("mute to clients");
  const speak = scene.connect(leader);
  const heal = scene.world.cut([[leader.machine.name, "client"]]);
  speak({ op: "put", key: "half", value: "done" });
  scene.until("it happens, and nobody is told", () => leader.server!.store.get("half") !== undefined);
  heal();
  comeTogether(scene);
});

Deno.test("Raft.tick() elects a leader over a bridge: one node between two pairs that do not see each other", () => {
  const { scene } = serving("bridge", 5);
  const [a, b, bridge, c, d] = scene.cluster.nodes as [Node, Node, Node, Node, Node];
  const heal = scene.world.cut([a, b].flatMap((left) =>
    [c, d].flatMap((right) => [
      [left.machine.name, right.machine.name] as const,
      [right.machine.name, left.machine.name] as const,
    ])
  ));
  scene.run(5 * electionMs);
  scene.write("over the bridge");
  const terms = termsDuring(scene, () => scene.run(20_000));
  assertLess(terms, 2, "and it stays");
  assert(bridge.server!.raft.commitIndex > 2);
  heal();
  comeTogether(scene);
});

Deno.test("Raft.tick() finds the one node that can lead when three see each other and two see one of them each (liveness)", () => {
  const { scene } = serving("partial graph", 5);
  const [n1, n2, n3, n4, n5] = scene.cluster.nodes as [Node, Node, Node, Node, Node];
  const seen: [Node, Node][] = [[n1, n2], [n1, n3], [n2, n3], [n2, n4], [n3, n5]];
  const isSeen = (a: Node, b: Node): boolean => seen.some((pair) => pair.includes(a) && pair.includes(b));
  const links = scene.cluster.nodes.flatMap((a) =>
    scene.cluster.nodes.filter((b) => a !== b && !isSeen(a, b))
      .map((b) => [a.machine.name, b.machine.name] as const)
  );
  const heal = scene.world.cut(links);
  scene.run(5 * electionMs);
  scene.write("by whom a majority sees");
  const terms = termsDuring(scene, () => scene.run(60_000));
  assertLess(terms, 4, "at most three changes a minute");
  heal();
  comeTogether(scene);
});

Deno.test("Raft.tick() elects in a ring, where each node sees two others", () => {
  const { scene } = serving("ring", 5);
  const { nodes } = scene.cluster;
  const links = nodes.flatMap((a, i) =>
    [2, 3].map((step) => [a.machine.name, nodes[(i + step) % 5]!.machine.name] as const)
  );
  const heal = scene.world.cut(links);
  scene.run(5 * electionMs);
  scene.write("around");
  const terms = termsDuring(scene, () => scene.run(60_000));
  assertLess(terms, 4);
  heal();
  comeTogether(scene);
});

Deno.test("Raft.tick() keeps its leader while a link flaps once a second", () => {
  const { scene, leader } = serving("flapping");
  const [follower] = scene.others(leader);
  const terms = termsDuring(scene, () => {
    for (let i = 0; i < 20; i++) {
      const heal = scene.separate([follower!], [leader]);
      scene.run(500);
      heal();
      scene.run(500);
    }
  });
  assertLess(terms, 2);
  comeTogether(scene);
});

Deno.test("Raft.tick() elects nobody in a cluster that is cut into pieces without a majority, and one when they meet", () => {
  const { scene, leader } = serving("no majority", 5);
  const [a, b, c, d] = scene.others(leader) as [Node, Node, Node, Node];
  const heal = scene.separate([leader, a], [b, c], [d]);
  scene.until("nobody leads", () => scene.cluster.up.every(({ server }) => server!.raft.role !== "leader"));
  const terms = termsDuring(scene, () => scene.run(10_000));
  assertEquals(terms, 0, "pre-votes raise no terms");
  for (const node of scene.cluster.nodes) assert(!scene.checkReads(node, "before"));
  heal();
  comeTogether(scene);
});

Deno.test("Raft.receive() brings together a longer log of an earlier term and a shorter one of a later term (paper 5.4.1)", () => {
  const { scene, leader } = serving("two logs");
  const heal = scene.separate([leader], scene.others(leader));
  for (let i = 0; i < 5; i++) scene.send(leader, [{ op: "put", key: `never ${i}`, value: "x" }]);
  scene.until("it has them in its log", () => leader.server!.raft.lastIndex > 6);
  nextLeader(scene, leader);
  scene.write("of the later term");
  heal();
  comeTogether(scene);
  for (let i = 0; i < 5; i++) assertEquals(leader.server!.store.get(`never ${i}`), undefined);
});

Deno.test("Raft.receive() lets a leader go on that was cut off for less than an election timeout", () => {
  const { scene, leader } = serving("short cut");
  const terms = termsDuring(scene, () => {
    for (let i = 0; i < 10; i++) {
      const heal = scene.separate([leader], scene.others(leader));
      scene.run(60);
      heal();
      scene.run(300);
    }
  });
  assertEquals([terms, scene.cluster.leader], [0, leader]);
  comeTogether(scene);
});

Deno.test("Raft.tick() ends a duel: two leaders of different terms, each with one follower in turn, never both commit", () => {
  const { scene, leader: first } = serving("duel", 5);
  const [a, b, c, d] = scene.others(first) as [Node, Node, Node, Node];
  const heal1 = scene.separate([first, a], [b, c, d]);
  const second = nextLeader(scene, first);
  scene.write("of the second");
  heal1();
  const heal2 = scene.separate([second], scene.others(second));
  const third = nextLeader(scene, second);
  scene.write("of the third");
  heal2();
  assertGreater(third.server!.raft.currentTerm, 2);
  comeTogether(scene);
});

Deno.test("Raft.tick() commits on the majority's side of every cut of five nodes, whoever is on which side", () => {
  for (let side = 1; side < 31; side += 3) {
    const { scene } = serving(`cut ${side}`, 5);
    const isLeft = (node: Node): boolean => (side >> (node.id - 1) & 1) === 1;
    const left = scene.cluster.nodes.filter(isLeft);
    const right = scene.cluster.nodes.filter((node) => !isLeft(node));
    const heal = scene.separate(left, right);
    const majority = left.length > right.length ? left : right;
    scene.until("the majority has a leader", () => {
      const { leader } = scene.cluster;
      return leader !== null && majority.includes(leader) &&
        majority.every(({ server }) => server!.raft.leaderId === leader.id);
    });
    scene.write(`on the side of ${majority.length}`);
    for (const node of left === majority ? right : left) assert(!scene.checkReads(node, "before"));
    heal();
    comeTogether(scene);
  }
});
