/**
 * A cluster on a calm network that a test drives step by step, with all invariants watching: it writes, crashes,
 * separates and wipes in the order in which it is told.
 *
 * @module
 */

import { timingModes } from "../../lib/cli/timing.ts";
import type { Connection, Io } from "../../lib/io/io.ts";
import { defaultLimits, type Limits } from "../../lib/server/options.ts";
import { Cluster, type Node } from "./cluster.ts";
import { CrashPointDisk } from "./crash_points_disk.ts";
import { loggedCommand } from "./logged_command.ts";
import { Random } from "./random.ts";
import { drawScenario, type Scenario } from "./scenario.ts";
import { Violation } from "./violation.ts";
import { type Boot, calm, type Machine, World } from "./world.ts";

const patienceMs = 20_000;
/** Shorter than an election timeout, and longer than any. */
const downMs = [60, 500];
/** With this an entry is longer than a sector, so that each way to lose bytes leaves something else. */
export const filler: string = "x".repeat(700);

/** Three nodes in fast mode on a calm network, whose logs are soon too long, and have several segments. */
export const calmScenario: Scenario = {
  ...drawScenario(new Random("nothing of it is used")),
  nodes: 3,
  timing: timingModes.fast,
  limits: Object.assign({}, defaultLimits, { segmentBytesMax: 3000, snapshotEntries: 8 }),
  world: calm,
};

/** A reply line, or none. */
export type Reply = { ok: boolean; [field: string]: unknown } | null;

/** A world whose nodes have disks with traps. */
class TrapWorld extends World {
  override machine(name: string, boot: Boot): Machine {
    const machine = super.machine(name, boot);
    machine.disk = new CrashPointDisk(this.scheduler, this.random.fork(`${name}/disk`), this.faults.disk);
    return machine;
  }
}

/** The cluster. */
export class ScriptedCluster {
  readonly world: World;
  readonly cluster: Cluster;
  /** Values of acknowledged writes, by key. Each key is written once. */
  readonly acknowledged: Map<string, string> = new Map();
  /** Indexes of these writes. */
  readonly writtenAt: Map<string, number> = new Map();
  /** Why nodes stopped by themselves, by id. */
  readonly stopped: Map<number, string> = new Map();
  #io: Io | null = null;

  constructor(name: string, options: { nodes?: number; limits?: Partial<Limits> } = {}) {
    this.world = new TrapWorld(new Random(name), calm);
    this.cluster = new Cluster(this.world, {
      ...calmScenario,
      nodes: options.nodes ?? calmScenario.nodes,
      limits: { ...calmScenario.limits, ...options.limits },
    });
    this.cluster.onStopped = ({ id }, error) => this.stopped.set(id, error.message);
    this.world.machine("client", (io) => void (this.#io = io)).restart();
    for (const node of this.cluster.nodes) {
      this.diskOf(node).onTrap = (life, kind) => {
        if (node.machine.life !== life) return;
        this.cluster.crash(node, kind);
        this.#startLater(node);
      };
    }
  }

  /** Starts all nodes, or these. */
  start(nodes: readonly Node[] = this.cluster.nodes): void {
    for (const node of nodes) this.cluster.start(node);
  }

  /** Takes the power of nodes. */
  stop(...nodes: Node[]): void {
    for (const node of nodes) this.cluster.crash(node, "power");
  }

  /** Nodes come back without their folders. */
  loseFolder(...nodes: Node[]): void {
    this.stop(...nodes);
    for (const node of nodes) this.cluster.wipe(node);
    this.start(nodes);
  }

  /** Cuts all that nodes of different groups say to each other, until the returned function is called. */
  separate(...groups: Node[][]): () => void {
    return this.world.partition(groups.map((group) => group.map(({ machine }) => machine.name)));
  }

  /** Who leads, once somebody does that all who run follow. */
  leader(): Node {
    const { cluster } = this;
    this.until("a leader that all follow", () => {
      const id = cluster.leader?.id;
      return cluster.leader?.server?.raft.commitIndex !== 0 && id !== undefined &&
        cluster.up.every(({ server }) => server!.raft.leaderId === id);
    });
    return cluster.leader!;
  }

  /** The nodes but these. */
  others(...nodes: Node[]): Node[] {
    return this.cluster.nodes.filter((node) => !nodes.includes(node));
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
    this.writtenAt.set(key, Number(reply.index));
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

  /** An open connection to a node, on which more can be said when answers do not get through any more. */
  connect(node: Node): (request: Record<string, unknown>) => void {
    let isOpen = false;
    const connection = this.send(node, [{ op: "ping" }]);
    connection.onData = () => isOpen = true;
    this.until("a connection", () => isOpen);
    return (request) => connection.send(new TextEncoder().encode(JSON.stringify(request) + "\n"));
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

  /** A node has all that was acknowledged, though it may not know that it is committed. */
  checkHeld({ id, server }: Node): void {
    for (const [key, value] of this.acknowledged) {
      if (server!.store.get(key)?.value === value) continue;
      const entry = server!.raft.entryAt(this.writtenAt.get(key)!);
      const command = entry?.kind === "command" ? loggedCommand(entry) : null;
      const isHeld = command?.op === "put" && command.value === value;
      if (!isHeld) throw new Violation("I9", `n${id} lost ${key}`);
    }
  }

  /**
   * Asks a node for a key both ways. What it answers must be true: the value, or of a stale read nothing as of a moment
   * before it was written. Returns whether the linearizable read was answered.
   */
  checkReads(node: Node, key: string): boolean {
    const newest = this.ask(node, { op: "get", key });
    const stale = this.ask(node, { op: "get", key, consistency: "stale" });
    for (const reply of [newest, stale]) {
      if (!reply?.ok || reply.value === this.acknowledged.get(key)) continue;
      const isFromBefore = reply === stale && !reply.found && Number(reply.index) < this.writtenAt.get(key)!;
      if (!isFromBefore) {
        throw new Violation("I11", `n${node.id} answers ${JSON.stringify(reply)} about ${key}`);
      }
    }
    return newest?.ok === true;
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

/** Everything is whole again, and everybody has all that was acknowledged. */
export function comeTogether(scene: ScriptedCluster): void {
  scene.write("after");
  scene.checkAgreement();
}
