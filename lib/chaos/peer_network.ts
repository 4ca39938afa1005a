/**
 * The network between the nodes of a cluster on one machine: a proxy in front of each raft port, which learns from the
 * hello who dials. So every way between two nodes can be given conditions of its own.
 *
 * @module
 */

import { clear, type Conditions, type Direction, type Filter, type Link, TcpProxy } from "./tcp_proxy.ts";

/** All ways between the nodes 1 to n. */
export class PeerNetwork {
  readonly #proxies: TcpProxy[];
  /** By who asked for it, and by "from>to". What several have asked for adds up. */
  readonly #layers = new Map<string, Map<string, Conditions>>();

  private constructor(proxies: TcpProxy[], random: () => number) {
    this.#proxies = proxies;
    for (const [i, proxy] of proxies.entries()) {
      proxy.random = random;
      proxy.conditions = (dialler, direction) => this.#conditions(dialler, i + 1, direction);
    }
  }

  /** Starts in front of these raft ports, those of the nodes 1, 2 and so on. */
  static async open(ports: readonly number[], random: () => number): Promise<PeerNetwork> {
    const proxies: TcpProxy[] = [];
    for (const port of ports) {
      proxies.push(await TcpProxy.open(`127.0.0.1:${port}`, { identify: nodeOfHello }));
    }
    return new PeerNetwork(proxies, random);
  }

  /** Where the others reach the nodes, in order. */
  get addresses(): string[] {
    return this.#proxies.map((proxy) => proxy.address);
  }

  /** What befalls the bytes that go from one node to the other, in place of what the same `layer` had asked for. */
  set(
    layer: string,
    ways: Iterable<readonly [from: number, to: number]>,
    conditions: Partial<Conditions>,
  ): void {
    const all = [...ways].map(([from, to]) => [`${from}>${to}`, { ...clear, ...conditions }] as const);
    this.#layers.set(layer, new Map(all));
    for (const proxy of this.#proxies) proxy.changed();
  }

  /**
   * From now on what `filter` makes of a connection to the node `target` sees its bytes, in place of the other end; null:
   * nothing does. Connections that stand are reset.
   */
  setFilter(filter: ((link: Link, target: number) => Filter) | null): void {
    for (const [i, proxy] of this.#proxies.entries()) {
      proxy.filter = filter && ((link) => filter(link, i + 1));
      proxy.cutAll(true);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#proxies.map((proxy) => proxy.close()));
  }

  #conditions(dialler: number | null, target: number, direction: Direction): Conditions {
    const way = direction === "toTarget" ? `${dialler}>${target}` : `${target}>${dialler}`;
    const sum = { ...clear };
    for (const layer of this.#layers.values()) {
      const { fate, delayMs, corruption } = layer.get(way) ?? clear;
      if (fates.indexOf(fate) > fates.indexOf(sum.fate)) sum.fate = fate;
      sum.delayMs += delayMs;
      sum.corruption = Math.max(sum.corruption, corruption);
    }
    return sum;
  }
}

/** The worst last. */
const fates: readonly Conditions["fate"][] = ["pass", "hold", "lose", "reset"];

/** Both ways between each of some nodes and each of the others. */
export function between(some: readonly number[], others: readonly number[]): [number, number][] {
  return some.flatMap((one) =>
    others.flatMap((other): [number, number][] => one === other ? [] : [[one, other], [other, one]])
  );
}

function nodeOfHello(line: string): number | null {
  try {
    const { nodeId } = JSON.parse(line);
    return typeof nodeId === "number" ? nodeId : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
