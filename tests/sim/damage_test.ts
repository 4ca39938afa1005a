import { assertEquals, assertGreater, assertLess, assertStringIncludes } from "@std/assert";
import { FolderError } from "../../lib/storage/storage.ts";
import type { Node } from "./cluster.ts";
import { calmScenario, ScriptedCluster } from "./crash_points.ts";
import type { CrashPointDisk } from "./crash_points_disk.ts";
import { Random } from "./random.ts";

const stateFile = "state.json";
const newline = 10;

/** Where each line of a file begins, and where the last one ends. */
function linesOf(bytes: Uint8Array): { start: number; end: number }[] {
  const lines: { start: number; end: number }[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(newline, start) + 1;
    lines.push({ start, end });
    start = end;
  }
  return lines;
}

/** The files of the log on a disk, oldest first. */
function logFilesOf(disk: CrashPointDisk): string[] {
  return disk.durableNames().filter((name) => name.startsWith("log/"));
}

/** Flips one bit somewhere in a line of a file, newline included. */
function flip(bytes: Uint8Array, line: { start: number; end: number }, random: Random): Uint8Array {
  const damaged = bytes.slice();
  const at = line.start + random.below(line.end - line.start);
  damaged[at]! ^= 1 << random.below(8);
  return damaged;
}

/** Starts a node on a damaged file; null: it runs. */
function startDamaged(scene: ScriptedCluster, node: Node): FolderError | null {
  try {
    node.machine.restart();
    return null;
  } catch (error) {
    if (!(error instanceof FolderError)) throw error;
    node.machine.crash("kill");
    return error;
  } finally {
    scene.run(1);
  }
}

/** Every node that runs answers, and rightly; only one that has just started may have to say that it cannot yet. */
function checkAnswers(scene: ScriptedCluster, key: string, justStarted: Node | null = null): void {
  for (const node of scene.cluster.up) {
    const reply = scene.ask(node, { op: "get", key });
    if (node === justStarted && !reply?.ok) continue;
    assertEquals([reply?.ok, reply?.value], [true, scene.acknowledged.get(key)], `n${node.id} about ${key}`);
  }
}

/**
 * Another node leads, or the same one in another term. A leader never asks a follower again for what it has once
 * acknowledged, so one that lost such an entry to rot gets it back from the next leader.
 */
function changeLeader(scene: ScriptedCluster): void {
  const { cluster } = scene;
  const old = cluster.leader!;
  cluster.crash(old, "kill");
  cluster.start(old);
}

Deno.test("recoverLog() refuses or repairs a log with one flipped bit, record by record, while the others serve", () => {
  const random = new Random("flips");
  const scene = new ScriptedCluster("damage");
  const { cluster } = scene;
  scene.start();
  for (let i = 1; i <= 200; i++) scene.write(`k${i}`, `${i}`);
  const victim = cluster.nodes.find((node) => node !== cluster.leader)!;
  // Where nothing vouches for a rotten entry yet, the two others must have it.
  scene.checkAgreement();
  const disk = scene.diskOf(victim);
  let refused = 0;
  let repaired = 0;
  const tryFlip = (name: string, line: number): void => {
    cluster.crash(victim, "power");
    const whole = disk.durable(name)!;
    const damaged = flip(whole, linesOf(whole).at(line)!, random);
    disk.rot(name, damaged);
    const calls = disk.calls.length;
    const error = startDamaged(scene, victim);
    scene.write(`during ${refused}`, `${refused}`);
    checkAnswers(scene, `k${1 + random.below(200)}`, victim);
    if (error === null) {
      repaired++;
      changeLeader(scene);
      scene.checkAgreement();
      checkAnswers(scene, `during ${refused}`);
      return;
    }
    refused++;
    assertStringIncludes(error.message, name);
    assertEquals([disk.calls.length, disk.durable(name)], [calls, damaged], "files untouched");
    disk.rot(name, whole);
  };
  // Nothing vouches yet for the last entry of a node that dies while it writes: its rot looks like a torn write.
  for (let i = 1; i <= 20; i++) {
    tryFlip(logFilesOf(disk).at(-1)!, -1);
    if (victim.server === null) cluster.start(victim);
    scene.checkAgreement();
    scene.write(`after ${i}`, `${i}`);
    scene.checkAgreement();
  }
  assertGreater(repaired, 0);
  const repairedLast = repaired;
  scene.run(1300); // the state file vouches for the whole log now
  let lines = 0;
  for (const name of logFilesOf(disk)) {
    const count = linesOf(disk.durable(name)!).length;
    for (let line = 0; line < count; line++) tryFlip(name, line);
    lines += count;
  }
  assertGreater(lines, 200);
  for (let i = 0; i < 20; i++) tryFlip(stateFile, 0);
  assertGreater(refused, 200);
  assertEquals(repaired, repairedLast, "what is vouched for is never cut");
  cluster.start(victim);
  scene.checkAgreement();
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
