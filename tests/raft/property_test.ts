/**
 * Random schedules: nodes crash in the middle of writes, links break one way or both, messages are lost, repeated and
 * overtake each other, disks hang, time passes unevenly; snapshots are taken and sent, and a minority loses its folders
 * or a part of them. Whatever happens, the invariants hold after every step (invariants.ts), reads are linearizable,
 * and once the trouble is over all agree again.
 *
 * @module
 */

import { assert, assertEquals, assertGreater } from "@std/assert";
import { Random } from "../sim/random.ts";
import { Network } from "./harness.ts";
import { type Node, timeoutMax } from "./node.ts";

/** How likely each kind of trouble is in one schedule; drawn anew for each, so that some are extreme. */
interface Weather {
  loss: number;
  repeat: number;
  reorder: number;
  crash: number;
  cut: number;
  hang: number;
  snapshot: number;
  folderLoss: number;
}

/** What happened in all schedules together: a run without trouble would prove nothing. */
const counters = {
  steps: 0,
  crashes: 0,
  tornWrites: 0,
  elections: 0,
  commits: 0,
  reads: 0,
  cancelledReads: 0,
  snapshots: 0,
  installs: 0,
  wipes: 0,
  damages: 0,
  admissions: 0,
};

class Schedule {
  readonly network: Network;
  readonly #random: Random;
  readonly #weather: Weather;
  /** For each open read: the highest index that was committed when it began. */
  readonly #reads = new Map<number, { node: Node; floor: number }>();
  #lastRead = 0;
  #proposals = 0;

  constructor(name: string, { folderLoss }: { folderLoss: number }) {
    this.#random = new Random(name);
    const size = this.#random.pick([3, 3, 4, 5]);
    const options = {
      appendBytesMax: this.#random.pick([1, 300, 1 << 20]),
      inflightBytesMax: this.#random.pick([300, 2000, 1 << 22]),
      committedEntriesMax: this.#random.pick([1, 3, 1000]),
    };
    this.network = new Network({ size, options });
    const pieceBytes = this.#random.pick([50, 500, 1 << 20]);
    for (const node of this.network.nodes) node.pieceBytes = pieceBytes;
    const often = (p: number) => this.#random.chance(0.5) ? this.#random.between(0, p) : 0;
    this.#weather = {
      loss: often(0.3),
      repeat: often(0.3),
      reorder: often(0.5),
      crash: often(0.01),
      cut: often(0.03),
      hang: often(0.03),
      snapshot: often(0.1),
      folderLoss,
    };
  }

  step(): void {
    counters.steps++;
    const { network } = this;
    const random = this.#random;
    const node = random.pick(network.nodes);
    this.#trouble(node);
    switch (random.weighted({ deliver: 60, tick: 20, propose: 10, read: 5, transfer: 0.2 })) {
      case "deliver":
        return this.#deliver();
      case "tick":
        if (node.isUp) node.raft.tick();
        break;
      case "propose":
        if (node.isUp) node.raft.propose(`${++this.#proposals} ${"x".repeat(random.below(200))}`);
        break;
      case "read":
        if (node.isUp && node.raft.read(++this.#lastRead)) {
          this.#reads.set(this.#lastRead, { node, floor: network.invariants.committed.length });
        }
        break;
      case "transfer":
        if (node.isUp) node.raft.transferLeadership();
    }
    this.#run(node);
  }

  /** One node does what it can; now and then its disk hangs, so that its writes pile up. */
  #run(node: Node): void {
    if (!node.isUp) return;
    const { restored } = node;
    this.network.send(node.run());
    if (node.restored !== restored) counters.installs++;
    this.network.invariants.check(node);
    for (const [id, readIndex] of node.reads) {
      const read = this.#reads.get(id);
      assert(read !== undefined, "a read is answered once");
      this.#reads.delete(id);
      if (readIndex === null) counters.cancelledReads++;
      else {
        counters.reads++;
        assert(
          readIndex >= read.floor,
          `read ${id} at ${readIndex} misses what was committed at ${read.floor}`,
        );
      }
    }
    node.reads.clear();
  }

  #deliver(): void {
    const { network } = this;
    const { inFlight } = network;
    if (inFlight.length === 0) return;
    const at = this.#random.chance(this.#weather.reorder) ? this.#random.below(inFlight.length) : 0;
    const message = inFlight[at]!;
    if (!this.#random.chance(this.#weather.repeat)) inFlight.splice(at, 1);
    if (network.isCut(message) || this.#random.chance(this.#weather.loss)) return;
    const { role } = network.raft(message.to);
    network.deliver(message);
    this.#run(network.node(message.to));
    if (role !== "leader" && network.raft(message.to).role === "leader") counters.elections++;
  }

  #trouble(node: Node): void {
    const { network } = this;
    const random = this.#random;
    const other = random.pick(network.nodes);
    if (random.chance(this.#weather.crash)) this.#crash(node);
    if (random.chance(0.02) && !node.isUp) network.restart(node.id);
    if (random.chance(this.#weather.cut)) network.cutOneWay(node.id, other.id);
    if (random.chance(this.#weather.cut / 4)) network.isolate(node.id);
    if (random.chance(0.01)) network.heal();
    if (random.chance(this.#weather.hang)) node.diskHeld = true;
    if (random.chance(0.02)) node.diskHeld = false;
    if (random.chance(this.#weather.hang)) node.checkHeld = true;
    if (random.chance(0.05)) node.checkHeld = false;
    if (random.chance(this.#weather.snapshot)) this.#snapshot(node);
    if (random.chance(this.#weather.folderLoss)) this.#loseFolder(node);
    if (random.chance(0.01) && node.isUp) node.raft.peerUnreachable(other.id);
  }

  #snapshot(node: Node): void {
    if (!node.isUp || node.lastApplied <= (node.raft.snapshot?.lastIncludedIndex ?? 0)) return;
    counters.snapshots++;
    node.takeSnapshot(this.#random.pick([0, 0, 1, 5]));
  }

  /** Never more than a minority at a time: who is not admitted again still counts as lost. */
  #loseFolder(node: Node): void {
    const { network } = this;
    const others = network.nodes.filter((other) => other !== node);
    const lost = others.filter(({ disk }) => disk.hardState.admittedIndex === 0).length;
    if (2 * (lost + 1) >= network.nodes.length) return;
    this.#crash(node);
    if (this.#random.chance(0.5)) {
      counters.wipes++;
      network.wipe(node.id);
    } else {
      counters.damages++;
      const { entries } = node.disk;
      const lastKept = (entries[0]?.index ?? 0) + this.#random.below(entries.length + 1);
      network.damage(node.id, lastKept, { losesState: this.#random.chance(0.3) });
    }
  }

  /** A part of what was under way may have reached the disk, in order, and nobody was told. */
  #crash(node: Node): void {
    if (!node.isUp) return;
    counters.crashes++;
    const whole = this.#random.below(node.pending.length + 1);
    for (const write of node.pending.slice(0, whole)) node.disk.save(write);
    const torn = node.pending[whole];
    if (torn !== undefined && this.#random.chance(0.5)) {
      counters.tornWrites++;
      node.disk.save(torn, this.#random.below(torn.entries.length + 1));
    }
    for (const [id, read] of this.#reads) if (read.node === node) this.#reads.delete(id);
    this.network.crash(node.id); // messages on the way die with their connections
  }

  /** The trouble is over: a leader is found, and all nodes agree. */
  recover(): void {
    const { network } = this;
    network.heal();
    for (const node of network.nodes) {
      if (!node.isUp) network.restart(node.id);
      node.diskHeld = node.checkHeld = false;
    }
    network.settle();
    network.tick(5 * timeoutMax); // some elections are still under way
    network.tickUntil(() => network.leaders.length === 1);
    network.tickUntil(() => typeof network.raft(network.leaders[0]!).propose("the end") !== "string");
    const agree = () =>
      network.nodes.every(({ raft }) => raft.commitIndex === raft.lastIndex) &&
      new Set(network.nodes.map(({ raft }) => raft.lastIndex)).size === 1;
    network.tickUntil(agree, 10 * timeoutMax);
    for (const { id, raft } of network.nodes) assert(raft.admittedIndex > 0, `node ${id} takes part again`);
    counters.admissions += network.nodes.filter(({ raft }) => raft.admittedIndex > 1).length;
    const [first, ...others] = network.nodes.map(({ commands }) => commands);
    for (const commands of others) assertEquals(commands, first);
    assertEquals(first!.at(-1), "the end");
    counters.commits += first!.length;
  }
}

/** Runs schedules, and makes sure that enough happened in them. */
function run(name: string, options: { folderLoss: number; least: Partial<typeof counters> }): void {
  for (const counter of Object.keys(counters)) counters[counter as keyof typeof counters] = 0;
  for (let seed = 1; seed <= 400; seed++) {
    const schedule = new Schedule(`${name} ${seed}`, options);
    try {
      for (let i = 0; i < 2500; i++) schedule.step();
      schedule.recover();
    } catch (error) {
      throw new Error(`${name} ${seed}: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
  }
  for (const [counter, least] of Object.entries(options.least)) {
    assertGreater(
      counters[counter as keyof typeof counters],
      least,
      `${counter}: ${JSON.stringify(counters)}`,
    );
  }
}

Deno.test("Raft() keeps every invariant of the paper in any schedule, and recovers (paper figure 3)", () => {
  const least = { crashes: 300, tornWrites: 20, elections: 500, commits: 5000, reads: 2000 };
  run("schedule", { folderLoss: 0, least: { ...least, snapshots: 1000, installs: 50 } });
});

Deno.test("Raft() keeps every invariant while a minority loses its folders, again and again (DESIGN 4)", () => {
  const least = { crashes: 300, elections: 500, commits: 5000, reads: 2000 };
  run("losses", { folderLoss: 0.003, least: { ...least, wipes: 300, damages: 300, admissions: 200 } });
});

Deno.test("Raft() agrees after long trouble with leaders that vanish (MIT 6.5840 Figure8Unreliable)", () => {
  for (let seed = 1; seed <= 8; seed++) {
    const random = new Random(`figure 8, ${seed}`);
    const network = new Network({ size: 5 });
    let proposals = 0;
    for (let i = 0; i < 500; i++) {
      if (i === 100) { // from now on messages get lost, and answers come late or never
        network.drop = () => random.chance(0.1);
        network.hold = ({ type }) => type.endsWith("Response") && random.chance(0.3);
      }
      for (const id of network.leaders) network.raft(id).propose(++proposals);
      network.tick(random.chance(0.1) ? random.below(timeoutMax) : 1);
      if (random.chance(0.3)) network.inFlight.push(...random.shuffled(network.held.splice(0)));
      const up = network.nodes.filter(({ isUp }) => isUp);
      const [leader] = network.leaders;
      if (leader !== undefined && up.length > 3 && random.chance(0.5)) network.crash(leader);
      const down = network.nodes.filter(({ isUp }) => !isUp);
      if (down.length > 0 && random.chance(0.3)) network.restart(random.pick(down).id);
    }
    network.drop = network.hold = () => false;
    for (const { id, isUp } of network.nodes) if (!isUp) network.restart(id);
    network.release();
    network.tickUntil(() => network.leaders.length === 1);
    const { index } = network.propose(network.leaders[0]!, "the end");
    network.tickUntil(() => network.nodes.every(({ raft }) => raft.commitIndex === index));
    for (const node of network.nodes) assertEquals(node.commands, network.node(1).commands, `seed ${seed}`);
    assertGreater(network.node(1).commands.length, 20);
  }
});
