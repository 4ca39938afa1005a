/**
 * One fixed story of three nodes: they are founded, elect, write, take snapshots, lose an isolated leader's uncommitted
 * entries, rest, leave one behind so far that it needs a snapshot, lose one's folder, lose power while they write, lose
 * it all together. It is told once for every call that a node makes to its disk, and
 * each time the node dies there. Whatever way it died, nothing that was acknowledged may be missing anywhere.
 *
 * @module
 */

import { timingModes } from "../../lib/cli/timing.ts";
import type { Connection, Io } from "../../lib/io/io.ts";
import { defaultLimits } from "../../lib/server/options.ts";
import { Cluster, type Node } from "./cluster.ts";
import { type Call, CrashPointDisk, type Keeps, keeps, type Moment, type Trap } from "./crash_points_disk.ts";
import { Random } from "./random.ts";
import { drawScenario, type Scenario } from "./scenario.ts";
import { Violation } from "./violation.ts";
import { type Boot, calm, type Machine, World } from "./world.ts";

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

const patienceMs = 20_000;
/** Shorter than an election timeout, and longer than any. */
const downMs = [60, 500];
/** With this an entry is longer than a sector, so that each way to lose bytes leaves something else. */
const filler = "x".repeat(700);

/** Three nodes in fast mode on a calm network, whose logs are soon too long, and have several segments. */
export const calmScenario: Scenario = {
  ...drawScenario(new Random("nothing of it is used")),
  nodes: 3,
  timing: timingModes.fast,
  limits: Object.assign({}, defaultLimits, { segmentBytesMax: 3000, snapshotEntries: 8 }),
  world: calm,
};

/** A world whose nodes have disks with traps. */
class TrapWorld extends World {
  override machine(name: string, boot: Boot): Machine {
    const machine = super.machine(name, boot);
    machine.disk = new CrashPointDisk(this.scheduler, this.random.fork(`${name}/disk`), this.faults.disk);
    return machine;
  }
}

/** A cluster that a test drives step by step, with all invariants watching. */
export class ScriptedCluster {
  readonly world: World;
  readonly cluster: Cluster;
  /** Values of acknowledged writes, by key. */
  readonly acknowledged: Map<string, string> = new Map();
  #io: Io | null = null;

  constructor(name: string) {
    this.world = new TrapWorld(new Random(name), calm);
    this.cluster = new Cluster(this.world, calmScenario);
    this.world.machine("client", (io) => void (this.#io = io)).restart();
    for (const node of this.cluster.nodes) {
      this.diskOf(node).onTrap = (life, kind) => {
        if (node.machine.life !== life) return;
        this.cluster.crash(node, kind);
        this.#startLater(node);
      };
    }
  }

  /** Starts all nodes. */
  start(): void {
    for (const node of this.cluster.nodes) this.cluster.start(node);
  }

  diskOf(node: Node): CrashPointDisk {
    if (node.machine.disk instanceof CrashPointDisk) return node.machine.disk;
    throw new Error(`${node.machine.name} has another disk`);
  }

  /** Runs until something holds; it must, within 20 simulated seconds. */
  until(what: string, condition: () => boolean): void {
    const deadline = this.world.scheduler.now + patienceMs;
    while (!condition()) {
      if (this.world.scheduler.now > deadline) {
        throw new Violation(
          "convergence",
          `not within ${patienceMs} ms: ${what}; ${this.cluster.describe()}`,
        );
      }
      this.#step();
    }
  }

  /** Lets time pass. */
  run(ms: number): void {
    const end = this.world.scheduler.now + ms;
    while (this.world.scheduler.now < end) this.#step();
  }

  /** Writes a key, to whoever leads, until it is acknowledged. */
  write(key: string, value: string = `${key} ${filler}`): void {
    const deadline = this.world.scheduler.now + patienceMs;
    let reply: Reply = null;
    while (!reply?.ok) {
      if (this.world.scheduler.now > deadline) {
        throw new Violation("convergence", `${key} is never acknowledged; ${this.cluster.describe()}`);
      }
      const { leader } = this.cluster;
      if (leader === null) this.run(10);
      else reply = this.ask(leader, { op: "put", key, value });
      if (!reply?.ok) this.run(10);
    }
    this.acknowledged.set(key, value);
  }

  /** Sends a request and runs until its reply is there; null: the connection ended, or half a second passed. */
  ask(node: Node, request: Record<string, unknown>): Reply {
    const deadline = this.world.scheduler.now + 500;
    let text = "";
    let isClosed = false;
    const connection = this.send(node, [request]);
    connection.onData = (bytes) => text += new TextDecoder().decode(bytes);
    connection.onClose = () => isClosed = true;
    this.until(
      "an answer or none",
      () => text.endsWith("\n") || isClosed || this.world.scheduler.now > deadline,
    );
    connection.destroy();
    return text.endsWith("\n") ? JSON.parse(text) : null;
  }

  /** Sends requests on a connection of their own. */
  send(node: Node, requests: readonly Record<string, unknown>[]): Connection {
    const connection = this.#io!.network.connect(`n${node.id}:9080`);
    const lines = requests.map((request) => JSON.stringify(request) + "\n").join("");
    connection.onOpen = () => connection.send(new TextEncoder().encode(lines));
    return connection;
  }

  /** All nodes are up, agree, and have all that was acknowledged. */
  checkAgreement(): void {
    this.until("all nodes agree", () => this.cluster.hasConverged);
    for (const { id, server } of this.cluster.up) this.checkStore(id, server!.store);
  }

  /** A store that has applied everything holds what was acknowledged. */
  checkStore(id: number, store: { get(key: string): { value: string } | undefined }): void {
    for (const [key, value] of this.acknowledged) {
      if (store.get(key)?.value === value) continue;
      throw new Violation("I9", `n${id} lost ${key}: it holds ${store.get(key)?.value}`);
    }
  }

  #step(): void {
    this.world.step();
    this.cluster.invariants.check();
  }

  #startLater(node: Node): void {
    const ms = downMs[this.diskOf(node).calls.length % downMs.length]!;
    this.world.scheduler.schedule(ms, null, `${node.machine.name} is started again`, () => {
      this.cluster.start(node);
    });
  }
}

/** A reply line, or none. */
export type Reply = { ok: boolean; [field: string]: unknown } | null;

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
