/**
 * Nodes that are told to end while clients of the library work: a leader hands over, and nobody is refused anything.
 * `KVAPP_RESTARTS=50` restarts each node so often.
 *
 * @module
 */

import { assertEquals, assertGreater, assertLess, assertLessOrEqual } from "@std/assert";
import { ChaosCluster } from "../../lib/chaos/cluster.ts";
import { Leaders } from "../../lib/chaos/leaders.ts";
import { type Client, connect } from "../../mod.ts";
import { kvappWords, withFolder } from "../cli/processes.ts";
import { steady, until } from "./cluster.ts";

const rounds = Number(Deno.env.get("KVAPP_RESTARTS") ?? 2);
const clients = 4;
/** A leader that hands over is followed at once; one that just goes, after an election timeout. */
const electionTimeoutMinMs = Number(steady[1]);

/** What clients were told. */
interface Told {
  operations: number;
  errors: string[];
  /** When the latest write was acknowledged, and the longest time without. */
  acknowledgedAt: number;
  silenceMs: number;
}

/** Writes and reads its own key without a pause: each read shows the write before it. */
async function work(client: Client, key: string, told: Told, signal: AbortSignal): Promise<void> {
  for (let i = 1; !signal.aborted; i++) {
    try {
      await client.put(key, `${i}`);
      const now = performance.now();
      told.silenceMs = Math.max(told.silenceMs, now - told.acknowledgedAt);
      told.acknowledgedAt = now;
      const found = await client.get(key);
      if (found?.value !== `${i}`) told.errors.push(`${key} is ${found?.value}, not ${i}`);
      told.operations += 2;
    } catch (error) {
      told.errors.push(`${error}`);
    }
  }
}

/** Restarts every node, the leader last, each once the one before it has caught up. */
async function restartAll(cluster: ChaosCluster): Promise<void> {
  const leader = await cluster.leader();
  for (const node of [...cluster.nodes.filter((one) => one !== leader), leader]) {
    await node.stop();
    node.start();
    const committed = (await (await cluster.leader()).status())!.commitIndex;
    await until(
      `node ${node.id} has caught up`,
      async () => ((await node.status())?.appliedIndex ?? -1) >= committed || null,
    );
  }
}

Deno.test("nodes that are restarted in turn hand over: no request fails, and each round has one new leader", async () => {
  await withFolder(async (folder) => {
    const cluster = await ChaosCluster.start({ nodes: 3, folder, program: kvappWords, args: steady });
    const told: Told = { operations: 0, errors: [], acknowledgedAt: performance.now(), silenceMs: 0 };
    const [stop, leaders] = [new AbortController(), new Leaders()];
    const addresses = cluster.nodes.map((node) => node.client);
    const all = await Promise.all(Array.from({ length: clients }, () => connect(addresses)));
    const working = Promise.all([
      ...all.map((client, i) => work(client, `own/${i}`, told, stop.signal)),
      leaders.watch(() => cluster.statuses(), stop.signal),
    ]);
    try {
      for (let round = 0; round < rounds; round++) await restartAll(cluster);
    } finally {
      stop.abort();
      await working;
      await Promise.all(all.map((client) => client.close()));
      await cluster.close();
    }
    const { operations, silenceMs } = told;
    console.error(
      `${3 * rounds} restarts, ${operations} operations, ${leaders.changes} leader changes, ` +
        `longest time without an acknowledged write ${Math.round(silenceMs)} ms`,
    );
    assertEquals([told.errors, cluster.ends], [[], []]);
    assertGreater(operations, 100);
    assertLessOrEqual(leaders.changes, rounds);
    assertLess(silenceMs, electionTimeoutMinMs);
  });
});
