/**
 * What one seed is about: how many nodes, how fast everything is, what clients do and which faults there are. Each
 * seed leaves some kinds of faults out and has more of others, because faults hide each other's consequences.
 *
 * @module
 */

import { defaultLimits, type Limits, type Timing } from "../../lib/server/options.ts";
import type { Random } from "./random.ts";
import type { Workload } from "./workload.ts";
import type { WorldFaults } from "./world.ts";

/** What a seed must have seen before it counts. */
export const enough = { events: 20_000, acknowledged: 200, crashes: 5, partitions: 3 };

/** The kinds of things that go wrong. */
export type FaultKind =
  | "crash"
  | "crashWhileWriting"
  | "crashVoter"
  | "wipeVoter"
  | "crashInstaller"
  | "crashAll"
  | "stop"
  | "partition"
  | "isolate"
  | "isolateLeader"
  | "oneWay"
  | "bridge"
  | "ring"
  | "swizzle"
  | "cutClients"
  | "reset"
  | "slowHost"
  | "pause"
  | "slowDisk"
  | "diskError"
  | "diskFull"
  | "wipe"
  | "rot"
  | "rotSnapshot";

/** Everything that a seed decides once. */
export interface Scenario {
  nodes: number;
  timing: Timing;
  limits: Limits;
  world: WorldFaults;
  workload: Workload;
  faults: {
    /** Average time between two faults. */
    gapMsMean: number;
    /** How often each kind is chosen; 0: never in this seed. */
    weights: Record<FaultKind, number>;
    /** Average time that a fault lasts. */
    durationMsMean: number;
    /** The part of crashes that take the machine's power. */
    powerChance: number;
    /** The part of restarts after which another crash follows within an election timeout. */
    againChance: number;
  };
}

/** Draws the scenario of a seed. */
export function drawScenario(random: Random): Scenario {
  const timing = drawTiming(random.fork("timing"));
  const world = random.fork("world");
  const limits = drawLimits(random.fork("limits"));
  const latencyMsMean = random.pick([0.1, 1, 10]);
  // Who takes over a snapshot removes its log file by file: a hundred of them take seconds on a slow disk.
  if (latencyMsMean === 10) limits.segmentBytesMax = Math.max(30_000, limits.segmentBytesMax);
  const scenario: Scenario = {
    nodes: Number(random.weighted({ "1": 5, "2": 3, "3": 50, "4": 4, "5": 34, "7": 4 })),
    timing,
    limits,
    world: {
      grainMicroseconds: random.pick([1, 100, 500, 2000]),
      clock: { driftMax: random.pick([0, 0.01, 0.1]), lateMsMax: random.pick([0, 1, 10]) },
      disk: {
        latencyMsMin: random.pick([0.05, 0.2, 1]),
        latencyMsMean,
        stallChance: random.chance(0.15) ? 0.005 : 0,
        stallMsMax: random.between(500, 4000),
        pageBytes: random.pick([512, 512, 4096]),
      },
      network: drawNetwork(world, timing),
    },
    workload: drawWorkload(random.fork("workload")),
    faults: drawFaults(random.fork("faults"), timing),
  };
  // A loop that is slow, or goes on late, with tiny slices applies less than clients that try again and again bring: it
  // never comes to rest.
  const isLate = timing.eventLoopDelayMs > 0 || scenario.world.clock.lateMsMax > 1;
  if (isLate) limits.committedEntriesMax = Math.max(20, limits.committedEntriesMax);
  return scenario;
}

function drawTiming(random: Random): Timing {
  const heartbeatIntervalMs = random.pick([20, 50, 50, 100]);
  const electionTimeoutMinMs = heartbeatIntervalMs * random.pick([3, 3, 5]);
  return {
    eventLoopDelayMs: random.chance(0.1) ? random.between(1, 10) : 0,
    heartbeatIntervalMs,
    electionTimeoutMinMs,
    electionTimeoutMaxMs: electionTimeoutMinMs * random.pick([1.3, 2, 2, 3]),
    networkDelayMs: random.chance(0.1) ? random.between(1, 5) : 0,
    clientDelayMs: random.chance(0.1) ? random.between(1, 5) : 0,
  };
}

/** Bounds so small that they are met; in production only a heavy load meets them. */
function drawLimits(random: Random): Limits {
  const limits = { ...defaultLimits, requestTimeoutMs: random.pick([300, 1000, 5000]) };
  limits.snapshotEntries = random.pick([5, 20, 100, defaultLimits.snapshotEntries]);
  limits.trailingBytes = random.pick([500, 5000, defaultLimits.trailingBytes]);
  limits.snapshotLogBytes = random.pick([3000, 20_000, defaultLimits.snapshotLogBytes]);
  limits.segmentBytesMax = random.pick([1000, 5000, 30_000, defaultLimits.segmentBytesMax]);
  limits.watchHistoryBytes = random.pick([2000, 20_000, defaultLimits.watchHistoryBytes]);
  limits.logMemoryBytes = random.pick([0, 500, 5000, defaultLimits.logMemoryBytes]);
  if (random.chance(0.3)) limits.requestsInFlightMax = 1 + random.below(3);
  if (random.chance(0.3)) limits.replyBytesMax = 1000;
  if (random.chance(0.3)) limits.appendBytesMax = 1 + random.below(5000);
  if (random.chance(0.3)) limits.inflightBytesMax = 1 + random.below(20_000);
  if (random.chance(0.3)) limits.uncommittedBytesMax = 2000 + random.below(20_000);
  if (random.chance(0.3)) limits.committedEntriesMax = 1 + random.below(5);
  return limits;
}

function drawNetwork(random: Random, timing: Timing): WorldFaults["network"] {
  // A round trip must fit into an election timeout several times, or nobody can ever lead.
  const roundTripMs = timing.electionTimeoutMinMs * random.pick([0.005, 0.03, 0.15]);
  const [latencyMsMin, latencyMsMean] = [random.between(0, 0.3), random.between(0.1, 0.3)];
  const tailChance = random.chance(0.3) ? random.between(0, 0.05) : 0;
  const tailMsMax = timing.electionTimeoutMaxMs * random.between(0.2, 2);
  const isDeadly = tailMsMax > timing.electionTimeoutMinMs; // and must be rare, for the same reason
  return {
    latencyMsMin: roundTripMs * latencyMsMin,
    latencyMsMean: roundTripMs * latencyMsMean,
    tailChance: isDeadly ? tailChance / 10 : tailChance,
    tailMsMax,
    splitChance: random.pick([0, 0.02, 0.3]),
    windowBytes: random.pick([2 << 10, 16 << 10, 64 << 10, 256 << 10]),
  };
}

function drawWorkload(random: Random): Workload {
  const clients = 1 + random.below(random.chance(0.1) ? 16 : 5);
  const inFlight = random.pick([1, 2, 4, 8]);
  return {
    clients,
    inFlight,
    // Few must be quick, or most of a run is heartbeats.
    thinkMsMean: random.pick([50, 150, 300]) * Math.min(1, clients * inFlight / 8),
    timeoutMs: random.pick([300, 1000, 3000]),
    keys: random.pick([2, 5, 15, 40]),
    weights: {
      put: random.between(2, 8),
      delete: random.between(0, 1),
      increment: random.between(0, 3),
      deleteRange: random.between(0, 0.3),
      txn: random.between(0, 2),
      get: random.between(1, 6),
      staleGet: random.between(0, 1),
      list: random.between(0, 0.4),
    },
    sessionChance: random.pick([0, 0.4, 1]),
    conditionChance: random.pick([0, 0.1, 0.5]),
    ttlChance: random.pick([0, 0.1, 0.5]),
    watchers: random.below(4),
    valueCharsMax: random.pick([1, 100, 600, 1500]),
  };
}

function drawFaults(random: Random, timing: Timing): Scenario["faults"] {
  const weights: Record<FaultKind, number> = {
    crash: 2,
    crashWhileWriting: 5.5,
    crashVoter: 2,
    wipeVoter: 0.5,
    crashInstaller: 1.5,
    crashAll: 0.5,
    stop: 0.5,
    partition: 2,
    isolate: 1,
    isolateLeader: 2,
    oneWay: 2,
    bridge: 1,
    ring: 0.5,
    swizzle: 0.5,
    cutClients: 0.5,
    reset: 2,
    slowHost: 1,
    pause: 4,
    slowDisk: 1,
    diskError: 0.3,
    diskFull: 0.5,
    wipe: 0.5,
    rot: 4,
    rotSnapshot: 1,
  };
  for (const kind of Object.keys(weights) as FaultKind[]) {
    weights[kind] *= random.chance(0.35) ? 0 : random.between(0.3, 2);
  }
  // Every seed has crashes and partitions; the rest is as it comes.
  if (weights.crash + weights.crashWhileWriting === 0) weights.crashWhileWriting = 2;
  if (weights.partition + weights.isolate + weights.isolateLeader + weights.oneWay === 0) {
    weights.partition = 2;
  }
  return {
    gapMsMean: timing.electionTimeoutMaxMs * random.between(1, 5),
    weights,
    durationMsMean: timing.electionTimeoutMaxMs * random.between(1, 6),
    powerChance: random.pick([0.6, 0.9, 1]),
    againChance: random.pick([0, 0.1, 0.4]),
  };
}
