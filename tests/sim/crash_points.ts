/**
 * One fixed story of three nodes: they are founded, elect, write, take snapshots, lose an isolated leader's uncommitted
 * entries, rest, leave one behind so far that it needs a snapshot, lose one's folder, lose power while they write, lose
 * it all together. It is told once for every call that a node makes to its disk, and
 * each time the node dies there. Whatever way it died, nothing that was acknowledged may be missing anywhere.
 *
 * @module
 */

import { type Call, type Keeps, keeps, type Moment, type Trap } from "./crash_points_disk.ts";
import { filler, ScriptedCluster } from "./scripted_cluster.ts";

/** Where, when and how one node dies. */
export interface CrashPoint {
  victim: number;
  /** Number of the call to its disk. */
  call: number;
  moment: Moment;
  keeps: Keeps;
}

/** What came of a story. */
export interface Story {
  /** The calls that each node made to its disk. */
  calls: Call[][];
  acknowledged: number;
  truncations: number;
  /** Snapshots taken, and taken over from another node. */
  snapshots: number;
  installs: number;
  /** Whether the node died where it was to. */
  hasDied: boolean;
}

/** Tells the story; at `point`, where there is one, its victim dies. */
export function tell(name: string, point: CrashPoint | null): Story {
  const scene = new ScriptedCluster(name);
  const { cluster } = scene;
  const { nodes } = cluster;
  const hasDied = point === null ? () => false : setTrap(scene, point);
  scene.start();
  for (let i = 1; i <= 8; i++) scene.write(`first ${i}`);
  isolateLeader(scene);
  for (let i = 1; i <= 6; i++) scene.write(`third ${i}`);
  leaveBehind(scene);
  loseFolder(scene);
  scene.run(1300); // long enough for the state files to vouch for all that is durable
  for (const node of nodes) {
    scene.diskOf(node).traps.push({ matches: isAppend, moment: "late", keeps: "half" });
    scene.write(`torn ${node.id}`);
    scene.until(`${node.machine.name} runs`, () => node.server !== null);
  }
  for (const node of nodes) cluster.crash(node, "power");
  scene.start();
  scene.write("last");
  scene.checkAgreement();
  return {
    calls: nodes.map((node) => scene.diskOf(node).calls),
    acknowledged: scene.acknowledged.size,
    truncations: cluster.invariants.seen.truncations,
    snapshots: cluster.invariants.seen.snapshots,
    installs: cluster.invariants.seen.installs,
    hasDied: hasDied(),
  };
}

/** Sets the trap of a point; returns whether it has gone off. */
function setTrap(scene: ScriptedCluster, { victim, call, moment, keeps }: CrashPoint): () => boolean {
  const disk = scene.diskOf(scene.cluster.nodes[victim - 1]!);
  const trap: Trap = { matches: ({ number }) => number === call, moment, keeps };
  disk.traps.push(trap);
  return () => !disk.traps.includes(trap);
}

/** The leader, alone, takes entries that nobody else gets; the others write on without it; then it must give them up. */
function isolateLeader(scene: ScriptedCluster): void {
  const { cluster, world } = scene;
  scene.until("a leader", () => cluster.leader !== null);
  const old = cluster.leader!;
  const others = cluster.nodes.filter((node) => node !== old).map(({ machine }) => machine.name);
  const heal = world.partition([[old.machine.name], others]);
  // One by one, so that they are more than one write and end in more than one segment.
  for (let i = 1; i <= 5 && old.server !== null; i++) {
    scene.send(old, [{ op: "put", key: `lost ${i}`, value: filler }]);
    scene.run(5);
  }
  for (let i = 1; i <= 3; i++) scene.write(`second ${i}`);
  heal();
  scene.run(100);
}

/** A follower is away until its next entry is in no log any more. */
function leaveBehind(scene: ScriptedCluster): void {
  const { cluster } = scene;
  scene.until("all nodes agree", () => cluster.hasConverged);
  const away = cluster.nodes.find((node) => node !== cluster.leader)!;
  cluster.crash(away, "power");
  for (let i = 1; i <= 26; i++) scene.write(`away ${i}`, `${i}`);
  cluster.start(away);
  scene.until("all nodes agree", () => cluster.hasConverged);
}

/** A follower's disk is empty, and it is admitted again. */
function loseFolder(scene: ScriptedCluster): void {
  const { cluster } = scene;
  const lost = cluster.nodes.findLast((node) => node !== cluster.leader)!;
  cluster.crash(lost, "power");
  cluster.wipe(lost);
  cluster.start(lost);
  scene.write("lost");
  scene.until("all nodes agree", () => cluster.hasConverged);
}

function isAppend({ kind }: Call): boolean {
  return kind === "append";
}

/** All points of a story at which a node can die and what can be left then, no two alike. */
export function crashPoints({ calls }: Story): CrashPoint[] {
  return calls.flatMap((ofNode, i) =>
    ofNode.flatMap(({ number: call, kind }) => {
      const victim = i + 1;
      const kept = kind === "append" ? keeps : (["nothing", "everything", "cached"] as const);
      const unfinished = (["asked", "late"] as const).flatMap((moment) =>
        kept.map((keeps) => ({ victim, call, moment, keeps }))
      );
      return [...unfinished, { victim, call, moment: "done" as const, keeps: "nothing" as const }];
    })
  );
}
