/**
 * The unchanged Server on simulated machines, with the invariants watching.
 *
 * @module
 */

import { DiskFull } from "../../lib/io/io.ts";
import type { ServerOptions } from "../../lib/server/options.ts";
import { Server } from "../../lib/server/server.ts";
import { DurableState, isNamedFor } from "./durable_state.ts";
import type { DiskCopy, FakeDisk } from "./fake_disk.ts";
import { Invariants } from "./invariants.ts";
import { Leadership } from "./leadership.ts";
import type { Random } from "./random.ts";
import type { Scenario } from "./scenario.ts";
import { Violation } from "./violation.ts";
import { watchWire } from "./wire.ts";
import type { Machine, World } from "./world.ts";

/** One node of the cluster. */
export interface Node {
  readonly id: number;
  readonly machine: Machine;
  readonly durable: DurableState;
  /** null: it is down. */
  server: Server | null;
  /** An operation of its disk was made to fail in this life, so it may stop by itself. */
  mayStop: boolean;
  /** Its disk lost something, and it has not been admitted again. */
  hasLost: boolean;
  /** Its log ended here, with something to vouch for it, before it rotted while the node was down; 0: it did not. */
  rottenIndex: number;
}

/** The nodes. */
export class Cluster {
  readonly nodes: Node[] = [];
  readonly invariants: Invariants;
  readonly leadership: Leadership;
  /** Called after a node has stopped by itself, with its reason. */
  onStopped: (node: Node, error: Error) => void = () => {};
  /** Called when a node is about to say for whom it votes, itself included. */
  onVote: (node: Node) => void = () => {};

  /** Any node may stop by itself: a test brings about what nobody can go on from. */
  mayStop = false;
  /** Snapshots that rotted while others made up for them. */
  rottenSnapshots = 0;
  /** Folders that were lost whole, files that changed places, and rot that a node found by itself. */
  readonly losses = { wiped: 0, swapped: 0, foundDamage: 0 };
  /** In half of the seeds the nodes prove to each other who they are. */
  readonly #secret: Uint8Array | null;
  /** Nodes that took part, until their disk rotted while they were down. */
  readonly #rotten = new Set<Node>();
  /** Disks that lost something, and whether a snapshot rotted: nothing else may be found damaged. */
  readonly #damaged = new Set<Node>();
  #hasRotted = false;

  constructor(readonly world: World, readonly scenario: Scenario) {
    const hasSecret = world.random.fork("secret").chance(0.5);
    this.#secret = hasSecret ? new TextEncoder().encode("a secret of sixteen bytes or more") : null;
    for (let id = 1; id <= scenario.nodes; id++) {
      const machine = world.machine(`n${id}`, (io) => {
        const server = new Server(this.#optionsOf(node), io);
        node.server = server;
        node.mayStop = false;
        this.invariants.onStart(id, server);
        this.#checkRotten(node, server);
      });
      const durable = new DurableState(machine.name, machine.disk);
      const node: Node = {
        id,
        machine,
        durable,
        server: null,
        mayStop: false,
        hasLost: false,
        rottenIndex: 0,
      };
      this.nodes.push(node);
    }
    const durables = this.nodes.map((node) => node.durable);
    this.invariants = new Invariants(durables);
    this.leadership = new Leadership(this.nodes, {
      network: world.network,
      timing: scenario.timing,
      isDamaged: (node) => this.#damaged.has(node as Node),
    });
    watchWire(world.network, durables, {
      onVote: (id) => this.onVote(this.nodes[id - 1]!),
      onReadRound: (from, to, round) => this.leadership.onReadRound(from, to, round),
    });
  }

  /** The nodes that run. */
  get up(): Node[] {
    return this.nodes.filter((node) => node.server !== null);
  }

  /** The node that leads the latest term, or null. */
  get leader(): Node | null {
    let leader: Node | null = null;
    for (const node of this.up) {
      if (node.server!.raft.role !== "leader") continue;
      if (leader === null || node.server!.raft.currentTerm > leader.server!.raft.currentTerm) leader = node;
    }
    return leader;
  }

  /** Starts a node on what its disk holds. */
  start(node: Node): void {
    if (node.server !== null) return;
    try {
      node.machine.restart();
    } catch (error) {
      if (error instanceof Violation) throw error;
      throw new Violation(
        "running",
        `${node.machine.name} does not start: ${error instanceof Error ? error.stack : error}`,
      );
    }
  }

  /** All nodes are members of one cluster. */
  get isFounded(): boolean {
    return this.invariants.committedIndex > this.nodes.length;
  }

  /** After an event: whoever has been admitted again lacks nothing any more. */
  noteAdmissions(): void {
    for (const node of this.nodes) {
      if (!node.hasLost || node.server?.isAdmitted !== true || !node.server.isReady) continue;
      node.hasLost = false;
      this.#damaged.delete(node);
    }
  }

  /** The disk of a node that is down is empty from now on. */
  wipe(node: Node): void {
    this.world.note(node.machine.name, "gets an empty disk");
    this.losses.wiped++;
    this.#rotten.delete(node);
    node.rottenIndex = 0;
    this.#damage(node, (disk) => disk.wipe(), true);
  }

  /** The disk of a node that is down becomes a copy that was made of it earlier. */
  putBack(node: Node, copy: DiskCopy): void {
    this.world.note(node.machine.name, "gets an old copy of its disk");
    this.#damage(node, (disk) => disk.putBack(copy), true);
  }

  /**
   * One bit of what the disk of a node that is down has for certain is another one from now on: of the state file, of a
   * snapshot, or of an entry for which something else vouches. (Of others nobody can tell rot from a torn write.)
   */
  rot(node: Node, random: Random): void {
    const { durable, machine: { disk } } = node;
    const vouched = durable.vouchedIndex();
    if (durable.isAdmitted) this.#rotten.add(node);
    const names = random.pick(["log/", "snapshots/"]);
    const [one, other] = random.shuffled(disk.durableNames().filter((name) => name.startsWith(names)));
    if (random.chance(0.4) && one !== undefined && other !== undefined) {
      node.rottenIndex = Math.max(node.rottenIndex, vouched);
      return this.swap(node, one, other);
    }
    const lines = durable.lines().filter(({ index, isMark }) =>
      index !== null && !isMark && index <= vouched
    );
    const snapshots = disk.durableNames().filter((name) => name.startsWith("snapshots/"));
    const files = [...snapshots, ...(random.chance(0.3) ? ["state.json"] : [])]
      .map((file) => ({ file, from: 0, end: disk.durable(file)?.length ?? 0 })).filter(({ end }) => end > 0);
    const places: { file: string; from: number; end: number }[] = random.chance(0.5) ? files : lines;
    if (places.length === 0) return;
    const { file, from, end } = random.pick(places);
    node.rottenIndex = Math.max(node.rottenIndex, vouched);
    this.damage(node, { file, bit: from * 8 + random.below((end - from) * 8) });
  }

  /**
   * One bit of the newest snapshot of a node, which may be at work, is another one from now on, when the older one and
   * the log behind it can make up for that: nothing is lost then, but what is sent of it is bad.
   */
  rotSnapshot({ server, durable, hasLost, machine: { disk, name } }: Node, random: Random): void {
    if (hasLost) return; // what could make up for it may be what it has lost
    const { snapshot, lastIndex } = durable;
    const [older, newest] = disk.durableNames().filter((file) => file.startsWith("snapshots/")).slice(-2);
    const isInUse = server === null || server.raft.snapshot?.lastIncludedIndex === snapshot.index;
    if (older === undefined || newest === undefined || !isInUse || !isNamedFor(newest, snapshot)) return;
    const bit = random.below(disk.durable(newest)!.length * 8);
    disk.rot(newest, bit);
    durable.afterLoss(false);
    if (isNamedFor(older, durable.snapshot) && durable.lastIndex === lastIndex) {
      this.rottenSnapshots++;
      this.#hasRotted = true;
      this.world.note(name, `bit ${bit} of ${newest} rots`);
      return;
    }
    disk.rot(newest, bit);
    durable.afterLoss(false);
  }

  /** One bit of a file of a node that is down is another one from now on. */
  damage(node: Node, { file, bit }: { file: string; bit: number }): void {
    this.#hasRotted = true;
    this.world.note(node.machine.name, `bit ${bit} of ${file} rots`);
    this.#damage(node, (disk) => disk.rot(file, bit), file === "state.json");
  }

  /** Two files of a node that is down have each other's contents from now on. */
  swap(node: Node, one: string, other: string): void {
    this.world.note(node.machine.name, `${one} and ${other} are swapped`);
    this.#damage(node, (disk) => disk.swap(one, other), false);
    this.losses.swapped++;
  }

  /** Changes the disk of a node behind its back. `withState`: its term and vote are gone. */
  #damage(node: Node, change: (disk: FakeDisk) => void, withState: boolean): void {
    this.#damaged.add(node);
    node.durable.beforeLoss();
    change(node.machine.disk);
    node.durable.afterLoss(withState);
  }

  /** Ends a node without warning. */
  crash(node: Node, kind: "power" | "kill"): void {
    if (node.server === null) return;
    node.server = null;
    this.invariants.onStop(node.id);
    node.machine.crash(kind);
  }

  /** Whether all nodes are up and hold the same, all of it committed and applied, under one leader. */
  get hasConverged(): boolean {
    return this.agree(this.nodes);
  }

  /** Whether these nodes do, and one of them leads. */
  agree(nodes: readonly Node[]): boolean {
    const { leader } = this;
    if (leader === null || !nodes.includes(leader) || nodes.some(({ server }) => server === null)) {
      return false;
    }
    const { commitIndex } = leader.server!.raft;
    return nodes.every(({ server }) =>
      server!.raft.commitIndex === commitIndex && server!.raft.lastIndex === commitIndex &&
      server!.appliedIndex === commitIndex && server!.raft.leaderId === leader.id && server!.isAdmitted
    );
  }

  /** In words, for the person who reads why a cluster did not converge. */
  describe(): string {
    return this.nodes.map(({ id, server, machine }) => {
      if (server === null) return `n${id} is down`;
      const { role, currentTerm, commitIndex, lastIndex, leaderId } = server.raft;
      if (!server.isAdmitted) {
        return `n${id} abstains in term ${currentTerm}, committed ${commitIndex} of ${lastIndex}`;
      }
      const paused = machine.life?.paused ? " paused" : "";
      return `n${id}${paused} ${role} in term ${currentTerm} of leader ${leaderId}, ` +
        `committed ${commitIndex} of ${lastIndex}, applied ${server.appliedIndex}`;
    }).join("; ");
  }

  #checkRotten(node: Node, { raft }: Server): void {
    const { rottenIndex } = node;
    node.rottenIndex = 0;
    if (this.#rotten.delete(node) && raft.admittedIndex === 0) this.losses.foundDamage++;
    if (raft.lastIndex >= rottenIndex || raft.admittedIndex === 0) return;
    throw new Violation(
      "I15",
      `n${node.id} had ${rottenIndex} entries for certain, has ${raft.lastIndex} and votes`,
    );
  }

  /** A node finds damage only where there is some. */
  #checkError(node: Node, message: string): void {
    if (message.startsWith("the disk ")) return; // full, or stuck
    const isOwn = message.includes("What this node may have promised is lost");
    if (isOwn ? this.#damaged.has(node) : this.#hasRotted || this.#damaged.size > 0) return;
    throw new Violation("running", `n${node.id} finds what nobody has damaged: ${message}`);
  }

  #optionsOf(node: Node): ServerOptions {
    const { id, machine } = node;
    const life = machine.life;
    return {
      nodeId: id,
      bindAddress: `n${id}:8080`,
      clientBindAddress: `n${id}:9080`,
      clientAddress: `n${id}:9080`,
      cluster: this.nodes.map((other) => ({ id: other.id, address: `n${other.id}:8080` })),
      timing: this.scenario.timing,
      limits: this.scenario.limits,
      secret: this.#secret,
      log: (level, message) => {
        this.world.note(machine.name, `${level}: ${message}`);
        if (level === "error") this.#checkError(node, message);
      },
      onStop: (error) => {
        if (!node.mayStop && !this.mayStop && !isStartWithoutRoom(error)) {
          throw new Violation("running", `${machine.name} stopped by itself: ${error.stack}`);
        }
        this.world.scheduler.schedule(0, null, `${machine.name} stops`, () => {
          if (machine.life !== life) return;
          this.crash(node, "power");
          this.onStopped(node, error);
        });
      },
    };
  }
}

/** A start that finds no room to put aside what it has to cut from the log ends; it is started again until there is. */
function isStartWithoutRoom(error: Error): boolean {
  return error instanceof DiskFull && /(torn|damaged)\//.test(error.message);
}
