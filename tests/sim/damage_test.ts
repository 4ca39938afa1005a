import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import type { Node } from "./cluster.ts";
import { Random } from "./random.ts";
import { calmScenario, ScriptedCluster } from "./scripted_cluster.ts";

/** What a start makes of a flipped bit. */
type Finding = "torn" | "abstained" | "harmless";

/** One node of a cluster, whose disk rots again and again. */
class Victim {
  readonly found: Record<Finding, number> = { torn: 0, abstained: 0, harmless: 0 };
  readonly node: Node;
  readonly #scene: ScriptedCluster;
  readonly #random = new Random("flips");
  #flips = 0;

  constructor(scene: ScriptedCluster) {
    this.#scene = scene;
    this.node = scene.others(scene.leader())[0]!;
  }

  /** The files of its disk whose names begin so, oldest first. */
  files(folder: string): string[] {
    return this.node.machine.disk.durableNames().filter((name) => name.startsWith(folder));
  }

  /** Where each line of these files is. */
  lines(folder: string): { file: string; from: number; end: number }[] {
    return this.files(folder).flatMap((file) => {
      const bytes = this.node.machine.disk.durable(file)!;
      const lines = [];
      for (let from = 0, end = 0; from < bytes.length; from = end) {
        end = bytes.indexOf(10, from) + 1;
        lines.push({ file, from, end });
      }
      return lines;
    });
  }

  /**
   * Flips one bit somewhere in a line, its newline included, while the node is down. The others serve meanwhile, nobody
   * tells anything wrong, and in the end the node is whole again, in its memory and on its disk.
   */
  flip(line: { file: string; from: number; end: number }): Finding {
    const { cluster } = this.#scene;
    const { node } = this;
    this.#scene.stop(node);
    const bit = line.from * 8 + this.#random.below((line.end - line.from) * 8);
    cluster.damage(node, { file: line.file, bit });
    const finding = this.#start();
    this.found[finding]++;
    const key = `during ${++this.#flips}`;
    this.#scene.write(key, "1");
    for (const one of cluster.nodes) {
      for (const asked of [key, `k${1 + this.#random.below(30)}`]) {
        const isAnswered = this.#scene.checkReads(one, asked);
        assert(isAnswered || one === node, `n${one.id} answers`);
      }
    }
    this.#scene.checkAgreement();
    this.#scene.stop(node);
    cluster.start(node);
    assertEquals(node.server!.raft.lastIndex, cluster.invariants.committedIndex, "its disk has everything");
    this.#scene.checkHeld(node);
    this.#scene.checkAgreement();
    return finding;
  }

  /** Starts it, and reads in its journal what it found. */
  #start(): Finding {
    const { trace } = this.#scene.world;
    let finding: Finding = "harmless";
    trace.onLine = (line) => {
      if (line.includes("it takes no part in decisions")) finding = "abstained";
      if (line.includes("ends in a write that a crash cut short")) finding = "torn";
    };
    this.#scene.cluster.start(this.node);
    trace.onLine = null;
    return finding;
  }
}

function founded(name: string, snapshotEntries: number): { scene: ScriptedCluster; victim: Victim } {
  const scene = new ScriptedCluster(name, { limits: { snapshotEntries } });
  scene.start();
  for (let i = 1; i <= 100; i++) scene.write(`k${i}`, `${i}`);
  scene.checkAgreement();
  return { scene, victim: new Victim(scene) };
}

Deno.test("recoverLog() repairs or abstains with a flipped bit in any line of the log, while the others serve", () => {
  const { scene, victim } = founded("log", 1e9);
  // Nothing vouches yet for the last entry of a node that dies right behind its write: its rot looks like a torn write.
  for (let i = 1; i <= 10; i++) {
    scene.write(`after ${i}`, "1");
    scene.checkAgreement();
    victim.flip(victim.lines("log/").at(-1)!);
  }
  assertGreater(victim.found.torn, 5);
  const { torn } = victim.found;
  const count = victim.lines("log/").length;
  for (let i = 0; i < count; i++) {
    scene.run(1300); // the state file vouches for the whole log now
    victim.flip(victim.lines("log/")[i]!);
  }
  assertGreater(count, 100);
  const { found } = victim;
  console.log(`${count} lines of the log: ${JSON.stringify(found)}`);
  assertEquals(found.torn, torn, "what is vouched for is never cut as torn");
  assertGreater(found.abstained, 0.9 * count);
  assertEquals(scene.cluster.invariants.seen.admissions, found.abstained);
});

Deno.test("recoverFolder() abstains with a flipped bit anywhere in the state file, while the others serve", () => {
  const { scene, victim } = founded("state", 1e9);
  for (let i = 0; i < 40; i++) {
    const [line] = victim.lines("state.json");
    assertEquals(victim.flip(line!), "abstained");
  }
  assertEquals(scene.cluster.invariants.seen.admissions, 40);
});

Deno.test("SnapshotFiles.recover() does without a snapshot with a flipped bit in any line, while the others serve", () => {
  const { victim } = founded("snapshots", 20);
  const count = victim.lines("snapshots/").length;
  assertGreater(count, 150);
  assertEquals(victim.files("snapshots/").length, 2);
  for (let i = 0; i < count; i++) victim.flip(victim.lines("snapshots/")[i]!);
  console.log(`${count} lines of snapshots: ${JSON.stringify(victim.found)}`);
  assertGreater(victim.found.harmless, count / 2, "the other snapshot serves");
});

Deno.test("Server.constructor() gives up the lead within three election timeouts when an fsync takes a minute", () => {
  const scene = new ScriptedCluster("stall");
  const { cluster, world } = scene;
  scene.start();
  const { electionTimeoutMaxMs } = calmScenario.timing;
  const waits: number[] = [];
  for (let i = 1; i <= 6; i++) {
    scene.write(`before ${i}`);
    scene.until("all nodes agree", () => cluster.hasConverged);
    const old = cluster.leader!;
    const stalledAt = world.scheduler.now;
    scene.diskOf(old).stalledUntil = stalledAt + 60_000;
    scene.send(old, [{ op: "put", key: `stuck ${i}`, value: "1" }]);
    scene.until("another leader", () => cluster.leader !== null && cluster.leader !== old);
    waits.push(world.scheduler.now - stalledAt - 2 * electionTimeoutMaxMs);
    scene.write(`during ${i}`);
    assertLess(world.scheduler.now, stalledAt + 10_000, "writes go on long before the disk does");
    scene.run(stalledAt + 60_000 - world.scheduler.now);
    scene.checkAgreement();
  }
  for (const ms of waits) assertLess(ms, 3 * electionTimeoutMaxMs);
});
