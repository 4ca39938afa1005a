/**
 * Machines that run the real thing: each has a disk that outlives its processes, a place on the network and a
 * clock. The world starts, crashes, pauses and separates them, one event at a time.
 *
 * @module
 */

import type { Io } from "../../lib/io/io.ts";
import { type ClockFaults, fakeClock } from "./fake_clock.ts";
import { type DiskFaults, FakeDisk } from "./fake_disk.ts";
import { FakeNetwork, type NetworkFaults } from "./fake_network.ts";
import type { Random } from "./random.ts";
import { type Event, Life, Scheduler } from "./scheduler.ts";
import { Trace } from "./trace.ts";

/** Events that nobody wants to read about. */
const routine = new Set([
  "tick",
  "timer",
  "soon",
  "flush",
  "retransmit",
  "give up closing",
  "connect timeout",
]);

/** How the outside of every machine behaves. */
export interface WorldFaults {
  /** Delays are multiples of this, so that several events happen at one moment. */
  grainMicroseconds: number;
  clock: ClockFaults;
  disk: DiskFaults;
  network: NetworkFaults;
}

/** A world without faults, for tests of what is built on it. */
export const calm: WorldFaults = {
  grainMicroseconds: 100,
  clock: { driftMax: 0, lateMsMax: 0 },
  disk: { latencyMsMin: 0.1, latencyMsMean: 0.2, stallChance: 0, stallMsMax: 0, pageBytes: 4096 },
  network: {
    latencyMsMin: 0.1,
    latencyMsMean: 0.2,
    tailChance: 0,
    tailMsMax: 0,
    splitChance: 0,
    windowBytes: 256 << 10,
  },
};

/** What a machine runs when it starts. It throws when the program refuses to start. */
export type Boot = (io: Io) => void;

/** One host with one process. */
export class Machine {
  disk: FakeDisk;
  /** The present run of its process; null: it is down. */
  life: Life | null = null;
  /** When it was last started, in milliseconds. */
  startedAt = 0;
  #boot: Boot;

  constructor(readonly world: World, readonly name: string, boot: Boot) {
    this.#boot = boot;
    this.disk = this.#emptyDisk();
  }

  /** Puts an empty disk into a machine that is down. */
  replaceDisk(): void {
    if (this.life !== null) throw new Error(`${this.name} is still running`);
    this.world.note(this.name, "gets an empty disk");
    this.disk = this.#emptyDisk();
  }

  #emptyDisk(): FakeDisk {
    const { scheduler, random, faults } = this.world;
    return new FakeDisk(scheduler, random.fork(`${this.name}/disk`), faults.disk);
  }

  /** Starts the process on what is left on the disk. */
  restart(): void {
    const { world, name } = this;
    const life = new Life(name);
    this.life = life;
    this.startedAt = world.scheduler.now;
    world.note(name, "starts");
    world.network.onBoot(name);
    const random = world.random.fork(`${name}/${++world.starts}`);
    this.#boot({
      disk: this.disk.of(life),
      network: world.network.of(name, life),
      clock: fakeClock(world.scheduler, life, { random: random.fork("clock"), faults: world.faults.clock }),
      random: () => random.next(),
    });
  }

  /** Ends the process now: `power` takes the machine with it, otherwise the operating system lives on. */
  crash(kind: "power" | "kill"): void {
    const life = this.life;
    if (life === null) return;
    this.world.note(this.name, kind === "power" ? "loses power" : "is killed");
    life.alive = false;
    this.life = null;
    this.world.network.onCrash(this.name, life, { power: kind === "power" });
    this.disk.onCrash({ power: kind === "power" });
  }

  /** Stops handling events; they wait. */
  pause(): void {
    if (this.life === null) return;
    this.world.note(this.name, "is paused");
    this.life.paused = true;
  }

  /** Goes on; all that waited happens at once. */
  resume(): void {
    if (!this.life?.paused) return;
    this.world.note(this.name, "goes on");
    this.world.scheduler.resume(this.life);
  }
}

/** Everything that exists. */
export class World {
  readonly trace: Trace = new Trace();
  readonly scheduler: Scheduler;
  readonly network: FakeNetwork;
  readonly machines: Machine[] = [];
  /** Processes started so far. */
  starts = 0;

  constructor(readonly random: Random, readonly faults: WorldFaults) {
    this.scheduler = new Scheduler(random.fork("scheduler"), faults);
    this.network = new FakeNetwork(this.scheduler, random.fork("network"), faults.network);
    this.network.onReceive = (end, bytes) => this.note(end.host, `reads from ${end.remote}:`, bytes);
  }

  /** Adds a machine, which is down. */
  machine(name: string, boot: Boot): Machine {
    const machine = new Machine(this, name, boot);
    this.machines.push(machine);
    return machine;
  }

  /** Lets one event happen; null: there is none. What its handler throws comes out here. */
  step(): Event | null {
    const event = this.scheduler.next();
    if (event === null) return null;
    this.trace.events++;
    const isRoutine = routine.has(event.what) || event.owner === null && event.what.includes(">");
    this.trace[isRoutine ? "count" : "note"](this.scheduler.now, event.owner?.name ?? "", event.what);
    event.run!();
    return event;
  }

  /** Cuts the network between the groups, both ways. Returns what takes the cut back. */
  partition(groups: readonly (readonly string[])[]): () => void {
    const links: [string, string][] = [];
    for (const from of groups) {
      for (const to of groups) {
        if (from !== to) { for (const a of from) for (const b of to) links.push([a, b]); }
      }
    }
    return this.cut(links);
  }

  /** Cuts single directions. Returns what takes the cut back. */
  cut(links: readonly (readonly [string, string])[]): () => void {
    this.note("", `cut ${links.map(([from, to]) => `${from}>${to}`).join(" ")}`);
    for (const [from, to] of links) this.network.cut(from, to);
    let isCut = true;
    return () => {
      if (!isCut) return;
      isCut = false;
      this.note("", `healed ${links.map(([from, to]) => `${from}>${to}`).join(" ")}`);
      for (const [from, to] of links) this.network.heal(from, to);
    };
  }

  /** Writes a line into the trace. */
  note(who: string, what: string, bytes: Uint8Array | null = null): void {
    this.trace.note(this.scheduler.now, who, what, bytes);
  }
}
