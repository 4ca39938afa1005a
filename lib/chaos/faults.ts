/**
 * What befalls a cluster, by a seeded choice: every few seconds a fault of one of the kinds that were asked for. Faults
 * of different kinds overlap. Each ends by itself and undoes what it did, and nothing else.
 *
 * @module
 */

import type { ChaosCluster, ChaosNode } from "./cluster.ts";
import { between } from "./peer_network.ts";
import type { Random } from "./random.ts";
import type { Conditions } from "./tcp_proxy.ts";

/** The kinds of faults, with what they are. */
export const faultKinds = {
  kill: "SIGKILL to one node, some or all; they start again",
  pause: "SIGSTOP to one node or a majority for 1 to 20 election timeouts",
  partition: "nodes that do not reach each other, both ways or one way",
  delay: "slow ways between nodes, and connections that are reset",
  corrupt: "bits that flip between nodes",
  restart: "SIGTERM to each node in turn",
} as const;

/** A kind of fault. */
export type FaultKind = keyof typeof faultKinds;

/** When what happened, on the clock of performance.now(). */
export interface FaultEvent {
  at: number;
  text: string;
}

/** How to break a cluster. */
export interface FaultOptions {
  kinds: readonly FaultKind[];
  random: Random;
  electionTimeoutMaxMs: number;
  /** From the beginning of a fault to that of the next one. */
  everyMs?: number;
}

/** What breaks it. */
export class Faults {
  /** How many there were of each kind that was asked for. */
  readonly counts: Partial<Record<FaultKind, number>>;
  readonly events: FaultEvent[] = [];
  readonly #cluster: ChaosCluster;
  readonly #options: FaultOptions;
  readonly #active = new Map<FaultKind, Promise<void>>();
  /** A fault that was not yet chosen since all were last: each kind has its turn. */
  #turn: FaultKind[] = [];

  constructor(cluster: ChaosCluster, options: FaultOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.counts = Object.fromEntries(options.kinds.map((kind) => [kind, 0]));
  }

  /** Breaks the cluster until the signal aborts, and mends it then. */
  async run(signal: AbortSignal): Promise<void> {
    const { everyMs = 3000 } = this.#options;
    await sleep(Math.min(everyMs, 500), signal);
    while (!signal.aborted) {
      const from = performance.now();
      const kind = this.#next();
      if (kind !== null) {
        const fault = this.#begin(kind, signal).finally(() => this.#active.delete(kind));
        this.#active.set(kind, fault);
        fault.catch(() => null); // whoever waits for all at the end is told
      }
      await sleep(from + everyMs - performance.now(), signal);
    }
    await Promise.all(this.#active.values());
  }

  #next(): FaultKind | null {
    const { kinds, random } = this.#options;
    if (this.#turn.length === 0) this.#turn = random.shuffled(kinds);
    const at = this.#turn.findIndex((kind) => !this.#active.has(kind));
    return at < 0 ? null : this.#turn.splice(at, 1)[0]!;
  }

  async #begin(kind: FaultKind, signal: AbortSignal): Promise<void> {
    this.counts[kind]!++;
    switch (kind) {
      case "kill":
        return await this.#kill(signal);
      case "pause":
        return await this.#pause(signal);
      case "partition":
        return await this.#partition(signal);
      case "delay":
        return await this.#delay(signal);
      case "corrupt":
        return await this.#corrupt(signal);
      case "restart":
        return await this.#restart(signal);
    }
  }

  async #kill(signal: AbortSignal): Promise<void> {
    const { random } = this.#options;
    const victims = random.chance(0.2) ? this.#cluster.nodes : await this.#victims(0.3);
    this.#note(`kill ${names(victims)}`);
    await Promise.all(victims.map((node) => node.kill()));
    await sleep(random.between(0, 2000), signal);
    this.#note(`start ${names(victims)}`);
    for (const node of victims) node.start();
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const { random, electionTimeoutMaxMs } = this.#options;
    const victims = await this.#victims(0.2);
    this.#note(`pause ${names(victims)}`);
    for (const node of victims) node.pause();
    await sleep(random.between(1, 20) * electionTimeoutMaxMs, signal);
    this.#note(`resume ${names(victims)}`);
    for (const node of victims) node.resume();
  }

  async #partition(signal: AbortSignal): Promise<void> {
    const { random } = this.#options;
    const { nodes } = this.#cluster;
    const some = await this.#victims(0.3);
    const others = nodes.filter((node) => !some.includes(node));
    const all = between(ids(some), ids(others));
    const shape = random.pick(["both ways", "both ways", "to them", "from them"]);
    const ways = all.filter(([from]) =>
      shape === "both ways" || some.some(({ id }) => id === from) === (shape === "from them")
    );
    const fate = random.pick<Conditions["fate"]>(["lose", "hold", "reset"]);
    await this.#spoil("partition", ways, { fate }, {
      text: `cut ${names(some)} from ${names(others)}, ${shape} (${fate})`,
      ms: random.between(500, 5000),
      signal,
    });
  }

  async #delay(signal: AbortSignal): Promise<void> {
    const { random } = this.#options;
    const all = this.#cluster.nodes;
    const ways = between(ids(all), ids(all)).filter(() => random.chance(0.5));
    const delayMs = Math.round(random.between(10, 500));
    await this.#spoil("delay", ways, { delayMs }, {
      text: `delay by ${delayMs} ms: ${ways.map((way) => way.join(">")).join(" ")}`,
      ms: random.between(500, 3000),
      signal,
    });
    // Connections break, in the middle of what is on its way.
    await this.#spoil("delay", ways, { fate: "reset" }, { text: "reset these", ms: 0, signal });
  }

  async #corrupt(signal: AbortSignal): Promise<void> {
    const { random } = this.#options;
    const all = ids(this.#cluster.nodes);
    const corruption = random.between(0.01, 0.1);
    await this.#spoil("corrupt", between(all, all), { corruption }, {
      text: `flip a bit in ${(100 * corruption).toFixed(1)} % of what the nodes send`,
      ms: random.between(500, 5000),
      signal,
    });
  }

  async #restart(signal: AbortSignal): Promise<void> {
    for (const node of this.#options.random.shuffled(this.#cluster.nodes)) {
      if (signal.aborted || !node.isWell) continue;
      this.#note(`restart ${node.id}`);
      await node.stop();
      node.start();
      while (!signal.aborted && node.isWell && await node.status() === null) await sleep(20, signal);
    }
  }

  async #spoil(
    layer: FaultKind,
    ways: [number, number][],
    conditions: Partial<Conditions>,
    { text, ms, signal }: { text: string; ms: number; signal: AbortSignal },
  ): Promise<void> {
    const { network } = this.#cluster;
    this.#note(text);
    network.set(layer, ways, conditions);
    await sleep(ms, signal);
    this.#note(`end of: ${text}`);
    network.set(layer, [], {});
  }

  /** One node, the leader every other time, or several, up to all but one; only such that are well. */
  async #victims(severalChance: number): Promise<ChaosNode[]> {
    const { random } = this.#options;
    const { nodes } = this.#cluster;
    const well = nodes.filter((node) => node.isWell);
    if (random.chance(severalChance)) {
      return random.shuffled(well).slice(0, Math.max(1, random.below(nodes.length)));
    }
    const wantsLeader = random.chance(0.5);
    const statuses = wantsLeader ? await this.#cluster.statuses() : [];
    const leader = well.find((node) => statuses[node.id - 1]?.role === "leader");
    return [leader ?? random.pick(nodes)];
  }

  #note(text: string): void {
    this.events.push({ at: performance.now(), text });
  }
}

function ids(nodes: readonly ChaosNode[]): number[] {
  return nodes.map((node) => node.id);
}

function names(nodes: readonly ChaosNode[]): string {
  return `node ${ids(nodes).join(", ")}`;
}

/** Waits, or until the signal aborts. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, Math.max(0, ms));
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
}
