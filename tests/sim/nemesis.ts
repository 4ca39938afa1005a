/**
 * Makes things go wrong, at random moments, as the scenario says, and makes all of it end again.
 *
 * @module
 */

import type { Cluster, Node } from "./cluster.ts";
import { bothWays, drawCut, fitting } from "./cuts.ts";
import type { Random } from "./random.ts";
import { enough, type FaultKind } from "./scenario.ts";
import type { World } from "./world.ts";

/** The source of all faults of one run. */
export class Nemesis {
  readonly count: Record<FaultKind | "restart" | "killed" | "lost", number>;
  /** Leaders paused for longer than an election timeout while somebody waited; disks that were full for somebody. */
  readonly hits = { pausedLeaders: 0, fullDisks: 0 };
  readonly #world: World;
  readonly #cluster: Cluster;
  readonly #random: Random;
  readonly #clients: readonly string[];
  readonly #acknowledged: () => number;
  readonly #underWay: () => number;
  /** What takes present faults back. */
  readonly #undo = new Set<() => void>();
  #stopped = false;
  /** Who is started again when it is down. */
  #well: readonly Node[];
  readonly #armed = new Set<Node>();
  /** What will happen to the next voters. */
  #voters: ("crashVoter" | "wipeVoter")[] = [];
  /** So many installs of snapshots will be interrupted. */
  #installs = 0;

  constructor(cluster: Cluster, options: {
    random: Random;
    clients: readonly string[];
    /** Operations acknowledged so far. */
    acknowledged(): number;
    /** Operations under way. */
    underWay(): number;
  }) {
    this.#cluster = cluster;
    this.#well = cluster.nodes;
    this.#world = cluster.world;
    this.#random = options.random;
    this.#clients = options.clients;
    this.#acknowledged = options.acknowledged;
    this.#underWay = options.underWay;
    const kinds = Object.keys(cluster.scenario.faults.weights) as FaultKind[];
    this.count = Object.fromEntries(
      [...kinds, "restart", "killed", "lost"].map((kind) => [kind, 0]),
    ) as Nemesis["count"];
    cluster.onStopped = (node) => this.#restartLater(node);
    for (const node of cluster.nodes) this.#crashAtBoundaries(node);
    this.#crashVoters();
    cluster.invariants.onReceiving = (id) => this.#crashInstaller(cluster.nodes[id - 1]!);
  }

  /** Crashes so far: processes that ended without being asked to. */
  get crashes(): number {
    return this.count.killed;
  }

  /** Cuts of the network so far. */
  get partitions(): number {
    const { partition, isolate, isolateLeader, oneWay, bridge, ring, swizzle, cutClients } = this.count;
    return partition + isolate + isolateLeader + oneWay + bridge + ring + swizzle + cutClients;
  }

  /** Starts the nodes, one after another, and the faults. */
  start(): void {
    for (const node of this.#cluster.nodes) {
      this.#later(this.#random.exponential(50), `start n${node.id}`, () => this.#cluster.start(node));
    }
    this.#next();
  }

  /** Ends all faults: nodes are up, the network is whole, disks are as fast as they get. */
  stop(nodes: readonly Node[] = this.#cluster.nodes): void {
    this.#stopped = true;
    this.#well = nodes;
    this.#undoAll();
    this.#world.network.mayStall = false;
    for (const node of nodes) {
      node.machine.disk.failNext = false;
      node.machine.disk.mayStall = false;
      this.#armed.delete(node);
      this.#cluster.start(node);
    }
  }

  #next(): void {
    const { gapMsMean } = this.#cluster.scenario.faults;
    const isShort = this.#isLate && this.#acknowledged() >= enough.acknowledged;
    this.#later(this.#random.exponential(gapMsMean * (isShort ? 0.2 : 1)), "fault", () => {
      if (this.#stopped) return;
      const kind = this.#choose();
      if (kind === null) this.#undoAll();
      else this.#inflict(kind);
      this.#next();
    });
  }

  /** The run is long enough, and goes on until it has had enough of everything. */
  get #isLate(): boolean {
    return this.#world.trace.events >= enough.events;
  }

  /** Late in a run what is missing comes alone. Null: that is peace, in which clients get their answers. */
  #choose(): FaultKind | null {
    const { weights } = this.#cluster.scenario.faults;
    if (!this.#isLate) return this.#random.weighted(this.#favour(weights));
    if (this.#acknowledged() < enough.acknowledged) return null;
    return this.#random.pick<FaultKind>(
      this.crashes < enough.crashes
        ? ["crash", "crashWhileWriting"]
        : ["partition", "isolateLeader", "oneWay"],
    );
  }

  /** What there has been too little of comes first. */
  #favour(weights: Record<FaultKind, number>): Record<FaultKind, number> {
    const crashFactor = this.crashes < enough.crashes ? 3 : 1;
    const cutFactor = this.partitions < enough.partitions ? 3 : 1;
    const { crash, crashWhileWriting, partition, isolate, isolateLeader, oneWay } = weights;
    return {
      ...weights,
      crash: crash * crashFactor,
      crashWhileWriting: crashWhileWriting * crashFactor,
      partition: partition * cutFactor,
      isolate: isolate * cutFactor,
      isolateLeader: isolateLeader * cutFactor,
      oneWay: oneWay * cutFactor,
    };
  }

  #inflict(drawn: FaultKind): void {
    const kind = fitting(drawn, this.#cluster.nodes.length);
    const node = this.#random.pick(this.#cluster.nodes);
    const target = this.#random.chance(kind === "pause" ? 0.9 : 0.4) ? this.#cluster.leader ?? node : node;
    this.#world.note("", `fault: ${kind}`);
    this.count[kind]++;
    switch (kind) {
      case "crash":
        return this.#crash(target);
      case "crashWhileWriting":
        return void this.#armed.add(target);
      case "crashVoter":
      case "wipeVoter":
        this.#voters.push(kind);
        return this.#slowDisk(node); // a rival that is late asks the voter when it is back
      case "crashInstaller":
        this.#installs++;
        return;
      case "crashAll":
        for (const each of this.#cluster.nodes) this.#crash(each);
        return;
      case "stop":
        return this.#stop(target);
      case "pause":
        return this.#pause(target);
      case "slowDisk":
        return this.#slowDisk(target);
      case "diskError":
        if (target.server !== null) target.machine.disk.failNext = target.mayStop = true;
        return;
      case "diskFull":
        return this.#fillDisk(target);
      case "wipe":
        return this.#lose(target, () => this.#cluster.wipe(target));
      case "rot":
        return this.#lose(target, () => this.#cluster.rot(target, this.#random));
      case "rotSnapshot":
        return this.#cluster.rotSnapshot(target, this.#random);
      case "reset":
        return this.#reset();
      case "slowHost":
        this.#world.network.slow(target.machine.name, this.#random.between(2, 30));
        return this.#undoLater(() => this.#world.network.slow(target.machine.name, 1));
      case "swizzle":
        return this.#swizzle();
      default:
        return this.#cut(kind, target.machine.name);
    }
  }

  /** Crashes a node while an operation of its disk is under way, or right after it: where it hurts most. */
  #crashAtBoundaries(node: Node): void {
    node.machine.disk.onStart = (ms, kind) => {
      if (!this.#armed.has(node) || kind !== "append" && this.#random.chance(0.7)) return;
      this.#armed.delete(node);
      const life = node.machine.life;
      this.#later(ms * this.#random.between(0, 1.1), `crash n${node.id}`, () => {
        if (node.machine.life === life) this.#crash(node);
      });
    };
  }

  /** Crashes nodes right after they gave a vote; they are back while the election goes on, and are asked again. */
  #crashVoters(): void {
    this.#cluster.onVote = (node) => {
      const kind = this.#voters.shift();
      if (kind === undefined) return;
      const { electionTimeoutMinMs } = this.#cluster.scenario.timing;
      const life = node.machine.life;
      this.#later(this.#random.between(0, 5), `crash the voter n${node.id}`, () => {
        if (node.machine.life !== life) return;
        const downMs = this.#random.between(0, electionTimeoutMinMs / 4);
        if (kind === "crashVoter") this.#crash(node, downMs);
        else this.#lose(node, () => this.#cluster.wipe(node), downMs);
      });
    };
  }

  /** Crashes a node that has begun to receive a snapshot, or the one that sends it. */
  #crashInstaller(node: Node): void {
    if (this.#installs === 0) return;
    this.#installs--;
    const target = this.#random.chance(0.7) ? node : this.#cluster.leader ?? node;
    const { life } = target.machine;
    this.#later(this.#random.between(0, 3), `crash the installer n${target.id}`, () => {
      if (target.machine.life === life) this.#crash(target);
    });
  }

  #crash(node: Node, downMs = this.#downMs()): void {
    if (node.server === null || this.#stopped) return;
    const { powerChance } = this.#cluster.scenario.faults;
    this.count.killed++;
    this.#cluster.crash(node, this.#random.chance(powerChance) ? "power" : "kill");
    this.#restartLater(node, downMs);
  }

  /**
   * A disk loses something while its machine is down. Only a minority may lack something at any time, or nobody could
   * make up for it: whoever lost something counts until it has been admitted again.
   */
  #lose(node: Node, damage: () => void, downMs = this.#downMs()): void {
    const { nodes } = this.#cluster;
    const lost = nodes.filter((one) => one === node || one.hasLost);
    if (lost.length > (nodes.length - 1) / 2 || !this.#cluster.isFounded || this.#stopped) return;
    this.count.lost++;
    node.hasLost = true;
    if (node.server === null) return damage(); // it is started again anyway
    this.#crash(node, downMs);
    damage();
  }

  /** How long a node stays down: shorter than an election timeout as often as not. */
  #downMs(): number {
    const { faults, timing } = this.#cluster.scenario;
    return this.#random.chance(0.5)
      ? this.#random.between(0, timing.electionTimeoutMinMs)
      : this.#random.exponential(faults.durationMsMean);
  }

  #restartLater(node: Node, ms = this.#downMs()): void {
    const { faults, timing } = this.#cluster.scenario;
    this.#later(ms, `restart n${node.id}`, () => {
      if (node.server !== null || !this.#well.includes(node)) return;
      this.count.restart++;
      this.#cluster.start(node);
      const life = node.machine.life;
      if (!this.#random.chance(faults.againChance)) return;
      this.#later(this.#random.between(0, timing.electionTimeoutMaxMs), `crash n${node.id} again`, () => {
        if (node.machine.life === life) this.#crash(node);
      });
    });
  }

  /** A clean stop, as a person asks for it. */
  #stop(node: Node): void {
    const { server, machine: { life } } = node;
    if (server === null || life!.paused) return;
    const end = (): void => {
      if (node.machine.life !== life) return;
      this.#cluster.crash(node, "kill");
      this.#restartLater(node);
    };
    server.close(() => this.#later(0, `n${node.id} has stopped`, end));
    this.#later(5000, `n${node.id} is made to stop`, end);
  }

  #pause(node: Node): void {
    const { electionTimeoutMaxMs } = this.#cluster.scenario.timing;
    const { machine } = node;
    const { life } = machine;
    if (life === null || life.paused) return;
    const ms = electionTimeoutMaxMs * this.#random.pick([1, 3, 10, 20]) * this.#random.between(0.2, 1);
    const isMissed = node === this.#cluster.leader && this.#underWay() > 0;
    machine.pause();
    const resume = (): void => machine.resume();
    this.#undo.add(resume);
    this.#later(ms, "resume", () => {
      const isWhole = this.#undo.delete(resume) && machine.life === life;
      if (isWhole && isMissed && ms > electionTimeoutMaxMs) this.hits.pausedLeaders++;
      resume();
    });
  }

  #slowDisk(node: Node): void {
    const { disk } = node.machine;
    disk.slowness = this.#random.pick([5, 20, 100]);
    this.#undoLater(() => {
      disk.slowness = 1;
    });
  }

  #fillDisk({ machine: { disk } }: Node): void {
    const { refused } = disk;
    disk.full = true;
    this.#undoLater(() => {
      disk.full = false;
      if (disk.refused > refused) this.hits.fullDisks++;
    });
  }

  #reset(): void {
    const nodes = this.#cluster.nodes.map(({ machine }) => machine.name);
    const hosts = [...nodes, ...this.#clients];
    const [a, b] = this.#random.shuffled(nodes.length > 1 && this.#random.chance(0.5) ? nodes : hosts);
    if (this.#random.chance(0.3)) { for (const host of hosts) this.#world.network.reset(a!, host); }
    else this.#world.network.reset(a!, b!);
  }

  /** Some nodes are cut off one by one, and come back in another order. */
  #swizzle(): void {
    const { nodes } = this.#cluster;
    for (
      const { machine: { name } } of this.#random.shuffled(nodes).slice(
        0,
        1 + this.#random.below(nodes.length),
      )
    ) {
      const others = nodes.map(({ machine }) => machine.name).filter((other) => other !== name);
      this.#later(
        this.#random.between(0, this.#cluster.scenario.faults.durationMsMean),
        `cut off ${name}`,
        () => {
          if (!this.#stopped) this.#undoLater(this.#world.cut(bothWays([name], others)));
        },
      );
    }
  }

  #cut(kind: FaultKind, target: string): void {
    const nodes = this.#cluster.nodes.map(({ machine }) => machine.name);
    const leader = this.#cluster.leader?.machine.name ?? target;
    const place = { nodes, clients: this.#clients, target, leader, random: this.#random };
    this.#undoLater(this.#world.cut(drawCut(kind, place)));
  }

  #undoAll(): void {
    for (const undo of [...this.#undo]) undo();
  }

  #undoLater(undo: () => void): void {
    const once = (): void => {
      if (this.#undo.delete(once)) undo();
    };
    this.#undo.add(once);
    this.#later(this.#random.exponential(this.#cluster.scenario.faults.durationMsMean), "fault ends", once);
  }

  #later(ms: number, what: string, run: () => void): void {
    this.#world.scheduler.schedule(ms, null, what, run);
  }
}
