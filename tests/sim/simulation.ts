/**
 * One seed from beginning to end: a cluster, clients and faults until enough has happened. Then a majority must go on
 * although all others stay broken for good; then no more faults, and everything must come to rest in one agreed state.
 *
 * @module
 */

import { AssertionFailed } from "../../lib/assert.ts";
import { addCounters } from "./batch.ts";
import { Cluster, type Node } from "./cluster.ts";
import { History } from "./history.ts";
import { breakForGood, drawCore, isSettled, noFates } from "./liveness.ts";
import { Nemesis } from "./nemesis.ts";
import { Random } from "./random.ts";
import { drawScenario, enough, type Scenario } from "./scenario.ts";
import { invariants, Violation } from "./violation.ts";
import { Watcher } from "./watcher.ts";
import { Client, keyPrefixes } from "./workload.ts";
import { World } from "./world.ts";

/** A run that needs more events than this has stopped making progress. Most need 30,000; many clients and rare faults, 800,000. */
const eventsMax = 2_000_000;
/** Simulated time within which a cluster without faults agrees and all clients have their answers. */
const convergenceMsMax = 30_000;
/** Longest election timeouts within which a core of the cluster agrees: elections, and what it has to catch up with. */
const coreTimeoutsMax = 20;

/** What came of a seed. */
export interface Outcome {
  seed: number;
  /** Equal for equal runs. */
  digest: string;
  counters: Record<string, number>;
  failure: Failure | null;
}

/** What went wrong. */
export interface Failure {
  /** The invariant in words. */
  invariant: string;
  message: string;
  /** What happened last. */
  tail: string[];
}

/** Runs a seed. `onLine` is given the whole trace. */
export function simulate(seed: number, onLine: ((line: string) => void) | null = null): Outcome {
  const random = new Random(`kvapp ${seed}`);
  const scenario = drawScenario(random.fork("scenario"));
  const run = new Run(random, scenario);
  run.world.trace.onLine = onLine;
  let failure: Failure | null = null;
  try {
    run.play();
  } catch (error) {
    failure = explain(error, run);
  }
  return { seed, digest: run.world.trace.digest, counters: run.counters(), failure };
}

function explain(error: unknown, run: Run): Failure {
  const tail = run.world.trace.tail();
  if (error instanceof Violation) {
    return { invariant: `${error.invariant}: ${invariants[error.invariant]}`, message: error.message, tail };
  }
  const message = error instanceof Error ? error.stack ?? error.message : String(error);
  const invariant = error instanceof AssertionFailed
    ? "an assertion of the program failed"
    : "nothing is thrown inside of a node's handlers";
  return { invariant, message, tail };
}

class Run {
  readonly world: World;
  readonly cluster: Cluster;
  readonly history: History;
  readonly clients: Client[] = [];
  readonly watchers: Watcher[] = [];
  readonly nemesis: Nemesis;
  readonly #random: Random;
  readonly #fates = noFates();
  #cores = 0;
  #coreTimeouts = 0;
  #convergenceMs = 0;

  constructor(random: Random, readonly scenario: Scenario) {
    this.#random = random.fork("liveness");
    this.world = new World(random.fork("world"), scenario.world);
    this.cluster = new Cluster(this.world, scenario);
    this.history = new History((index) => this.cluster.invariants.isOnMajority(index));
    this.cluster.invariants.onCommitted = (entry) => this.history.onCommitted(entry);
    const { workload, nodes } = scenario;
    for (let i = 1; i <= workload.clients; i++) {
      const name = `c${i}`;
      this.world.machine(name, (io) => {
        const options = { workload, nodes, history: this.history, random: random.fork(name) };
        this.clients.push(new Client(name, io, options));
      }).restart();
    }
    for (let i = 1; i <= workload.watchers; i++) {
      const name = `w${i}`;
      this.world.machine(name, (io) => {
        const options = {
          model: this.history.model,
          nodes,
          prefixes: keyPrefixes,
          random: random.fork(name),
        };
        this.watchers.push(new Watcher(name, io, options));
      }).restart();
    }
    this.nemesis = new Nemesis(this.cluster, {
      random: random.fork("nemesis"),
      clients: [...this.clients, ...this.watchers].map(({ name }) => name),
      acknowledged: () => this.history.acknowledged,
      underWay: () => this.clients.filter((client) => !client.isIdle).length,
    });
  }

  play(): void {
    this.nemesis.start();
    for (const client of [...this.clients, ...this.watchers]) client.start();
    const { trace } = this.world;
    while (!this.#isEnough()) {
      if (trace.events > eventsMax) {
        this.#fail(`after ${eventsMax} events only ${JSON.stringify(this.counters())}`);
      }
      this.#step();
    }
    for (const client of this.clients) client.stop();
    this.#goOnWithout();
    this.#calmDown();
    this.#checkStores();
  }

  counters(): Record<string, number> {
    const { nemesis, history, world } = this;
    const { answered, model } = history;
    const { seen } = this.cluster.invariants;
    return {
      events: world.trace.events,
      acknowledged: history.acknowledged,
      crashes: nemesis.crashes,
      partitions: nemesis.partitions,
      asymmetricPartitions: nemesis.count.oneWay,
      partialPartitions: nemesis.count.bridge + nemesis.count.ring,
      ...seen,
      rottenSnapshots: this.cluster.rottenSnapshots,
      ...this.#ofDisks(),
      ...this.nemesis.hits,
      ...this.cluster.losses,
      cancelledRounds: this.cluster.leadership.cancelledRounds,
      entries: model.index,
      repeatedSessionWrites: model.repeated,
      repeatedAnswers: history.repeatedAnswers,
      expiredKeys: model.expired,
      ...this.#watched(),
      ...answered,
      unknownOutcomes: history.attempts.filter(({ outcome }) => outcome === "unknown").length,
      simulatedSeconds: Math.round(world.scheduler.now / 1000),
      slowestConvergenceMs: Math.round(this.#convergenceMs),
      cores: this.#cores,
      slowestCoreTimeouts: Math.round(this.#coreTimeouts * 10) / 10,
      ...Object.fromEntries(Object.entries(this.#fates).map(([fate, count]) => [`outside ${fate}`, count])),
      ...Object.fromEntries(Object.entries(nemesis.count).map(([kind, count]) => [`fault ${kind}`, count])),
    };
  }

  #ofDisks(): Record<string, number> {
    const total: Record<string, number> = {};
    for (const { machine: { disk } } of this.cluster.nodes) {
      const { tornFiles, lossyCrashes, failed, refused } = disk;
      addCounters(total, { tornFiles, lossyCrashes, failedOperations: failed, refusedOperations: refused });
    }
    return total;
  }

  #watched(): Record<string, number> {
    const total: Record<string, number> = {};
    for (const { counters } of this.watchers) addCounters(total, counters);
    return total;
  }

  #isEnough(): boolean {
    return this.world.trace.events >= enough.events && this.history.acknowledged >= enough.acknowledged &&
      this.nemesis.crashes >= enough.crashes && this.nemesis.partitions >= enough.partitions;
  }

  #step(): void {
    if (this.world.step() === null) this.#fail("nothing will ever happen again");
    this.cluster.invariants.check();
    this.cluster.leadership.check(this.world.scheduler.now);
    this.cluster.noteAdmissions();
    const { trace } = this.world;
    for (const { server } of this.cluster.nodes) {
      if (server !== null) {
        trace.add(server.raft.currentTerm ^ server.raft.lastIndex << 8 ^ server.appliedIndex << 16);
      }
    }
  }

  /** A majority goes on without the others, which stay broken for good. */
  #goOnWithout(): void {
    const core = drawCore(this.cluster, this.#random);
    if (core === null) return;
    this.world.note(
      "",
      `no more faults within the core ${core.map(({ machine }) => machine.name).join(" ")}`,
    );
    this.#cores++;
    this.nemesis.stop(core);
    const mend = breakForGood(this.cluster, { core, random: this.#random, fates: this.#fates });
    this.#comeToRest(core);
    mend();
  }

  /** The faults end; all nodes agree. */
  #calmDown(): void {
    this.world.note("", "no more faults");
    this.nemesis.stop();
    this.#comeToRest(this.cluster.nodes);
  }

  /** What is under way ends, a last write succeeds, these nodes agree. */
  #comeToRest(nodes: readonly Node[]): void {
    // What a slow disk had begun goes on being slow.
    let healedAt = Math.max(
      this.world.scheduler.now,
      ...nodes.map(({ machine: { life, disk } }) => life === null ? 0 : disk.busyUntil),
    );
    const { electionTimeoutMaxMs } = this.scenario.timing;
    let isWritten = false, hasSettled = false;
    this.clients[0]!.probe(() => isWritten = true);
    for (;;) {
      // Nor is a start that has much to repair on such a disk held against the protocol.
      const { now } = this.world.scheduler;
      if (nodes.some(({ server }) => server?.isReady === false)) healedAt = Math.max(healedAt, now);
      const ms = now - healedAt;
      // By then nobody follows a leader that was there before and is not heard any more.
      const isSettledNow = isSettled(this.cluster, nodes, ms > 2 * electionTimeoutMaxMs);
      if (isSettledNow && !hasSettled) {
        hasSettled = true;
        this.#coreTimeouts = Math.max(this.#coreTimeouts, ms / electionTimeoutMaxMs);
      }
      this.#convergenceMs = Math.max(this.#convergenceMs, ms);
      if (isWritten && isSettledNow && this.clients.every((client) => client.isIdle)) return;
      if (ms > convergenceMsMax || !hasSettled && ms > coreTimeoutsMax * electionTimeoutMaxMs) {
        this.#failToRest(ms, isWritten);
      }
      this.#step();
    }
  }

  #failToRest(ms: number, isWritten: boolean): never {
    const busy = this.clients.filter((client) => !client.isIdle).map(({ name }) => name);
    this.#fail(
      `${Math.round(ms)} ms after the last fault: ${this.cluster.describe()}; ` +
        `the last write was ${isWritten ? "" : "not "}acknowledged; clients still at it: ${
          busy.join(" ") || "none"
        }`,
    );
  }

  /** Every node holds exactly what the committed entries come to. */
  #checkStores(): void {
    const { model } = this.history;
    const keys = model.keysAt(model.index);
    const digests = new Set(this.cluster.up.map(({ server }) => server!.store.digest()));
    if (digests.size !== 1) {
      throw new Violation("I6", `the nodes ended with different states: ${[...digests]}`);
    }
    for (const { id, server } of this.cluster.up) {
      for (const key of keys) {
        const { index, value } = model.at(key, model.index);
        const held = server!.store.get(key);
        if (held?.value === value && held.version === index) continue;
        throw new Violation(
          "I9",
          `n${id} ended with ${JSON.stringify(held)} at ${key}, not ${value} of ${index}`,
        );
      }
      if (server!.store.size === keys.length) continue;
      throw new Violation("I9", `n${id} ended with ${server!.store.size} keys, not ${keys.length}`);
    }
  }

  #fail(message: string): never {
    throw new Violation("convergence", message);
  }
}
