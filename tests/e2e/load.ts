/**
 * Clients that write without a pause while nodes are ill-treated, and know afterwards what was acknowledged to them.
 *
 * @module
 */

import { type Client, ClientError } from "../../mod.ts";
import type { TestCluster } from "./cluster.ts";

/** Clients that write without a pause, each under keys of its own. */
export class Load {
  readonly acknowledged: Map<string, string> = new Map();
  unknown = 0;
  #isOver = false;
  #running: Promise<unknown> = Promise.resolve();
  #onAcknowledged: ((begunAt: number) => void)[] = [];
  readonly #valueUnits: number;

  /** Each value has about so many characters. */
  constructor({ valueUnits = 20 }: { valueUnits?: number } = {}) {
    this.#valueUnits = valueUnits;
  }

  start(clients: readonly Client[]): void {
    this.#running = Promise.all(clients.map((client, i) => this.#write(client, `w${i}`)));
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  /** Resolves when a write that begins from now on has been acknowledged. */
  next(): Promise<void> {
    const from = performance.now();
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = (begunAt: number): void => {
      if (begunAt < from) return;
      this.#onAcknowledged = this.#onAcknowledged.filter((one) => one !== look);
      resolve();
    };
    this.#onAcknowledged.push(look);
    return promise;
  }

  async #write(client: Client, name: string): Promise<void> {
    for (let i = 0; !this.#isOver; i++) {
      const [key, value] = [`${name}/${i}`, `${Math.random()}`.padEnd(this.#valueUnits, "x")];
      const begunAt = performance.now();
      try {
        await client.put(key, value);
      } catch (error) {
        if (!(error instanceof ClientError)) throw error;
        if (!error.definite) this.unknown++;
        continue;
      }
      this.acknowledged.set(key, value);
      for (const look of this.#onAcknowledged) look(begunAt);
    }
  }
}

/** Acknowledged writes that some node does not have, with what it has instead. */
export async function findLost(cluster: TestCluster, acknowledged: Map<string, string>): Promise<string[]> {
  const lost: string[] = [];
  for (const node of cluster.nodes) {
    const held = new Map((await node.keys()).map(({ key, value }) => [key, value]));
    for (const [key, value] of acknowledged) {
      if (held.get(key) !== value) lost.push(`node ${node.id}: ${key} is ${held.get(key)}, not ${value}`);
    }
  }
  return lost;
}
