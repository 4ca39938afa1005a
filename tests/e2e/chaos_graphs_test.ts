/**
 * Five nodes of which each reaches only some: the networks on which a plain Raft finds no leader, or a new one again and
 * again. `KVAPP_GRAPHS=10 KVAPP_GRAPH_SECONDS=60` tries each with ten leaders and watches each for a minute.
 *
 * @module
 */

import { assert, assertLessOrEqual } from "@std/assert";
import { ChaosCluster } from "../../lib/chaos/cluster.ts";
import { Leaders } from "../../lib/chaos/leaders.ts";
import { between } from "../../lib/chaos/peer_network.ts";
import { connect } from "../../mod.ts";
import { kvappWords, withFolder } from "../cli/processes.ts";
import { firstWrite } from "./chaos_trial.ts";
import { until } from "./cluster.ts";

const rounds = Number(Deno.env.get("KVAPP_GRAPHS") ?? 1);
const seconds = Number(Deno.env.get("KVAPP_GRAPH_SECONDS") ?? 1);
const electionTimeoutMaxMs = 600;
const args = ["--election-timeout-min", "300", "--election-timeout-max", `${electionTimeoutMaxMs}`];
/** So many changes a minute are bearable; a shorter time may have one. */
const changesMax = Math.max(1, Math.floor(3 * seconds / 60));

/** Who reaches whom. The node that leads before is put in the place of node 5. */
const graphs: Record<string, readonly (readonly [number, number])[]> = {
  "a triangle with two tails": [[1, 2], [2, 3], [1, 3], [4, 2], [5, 3]],
  "a bridge between two pairs": [[5, 1], [5, 2], [1, 2], [2, 3], [2, 4], [3, 4]],
  "a ring": [[1, 2], [2, 3], [3, 4], [4, 5], [5, 1]],
  "a hub that did not lead": [[1, 2], [1, 3], [1, 4], [1, 5]],
};

/** All ways that the graph does not have, when `leader` takes the place of node 5. */
function missing(edges: readonly (readonly [number, number])[], leader: number): [number, number][] {
  const placed = (id: number): number => id === 5 ? leader : id === leader ? 5 : id;
  const there = new Set(
    edges.flatMap(([a, b]) => [`${placed(a)}>${placed(b)}`, `${placed(b)}>${placed(a)}`]),
  );
  const all = [1, 2, 3, 4, 5];
  return between(all, all).filter((way) => !there.has(way.join(">")));
}

async function withFive(body: (cluster: ChaosCluster) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    const cluster = await ChaosCluster.start({ nodes: 5, folder, program: kvappWords, args });
    try {
      await body(cluster);
    } finally {
      await cluster.close();
    }
  });
}

/** Watches who leads while a client writes now and then; the number of changes. */
async function changesWhile(cluster: ChaosCluster, ms: number, everyMs: number): Promise<number> {
  const leaders = new Leaders();
  const stop = new AbortController();
  await using client = await connect(cluster.nodes.map((node) => node.client), { timeoutMs: 60_000 });
  const watching = leaders.watch(() => cluster.statuses(), stop.signal);
  for (const end = performance.now() + ms; performance.now() < end;) {
    await client.put("graph", "2");
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  stop.abort();
  await watching;
  assert(leaders.contradictions.length === 0, leaders.contradictions.join());
  return leaders.changes;
}

Deno.test("a cluster of five finds a leader on each graph that has a majority somewhere, and keeps it", async () => {
  await withFive(async (cluster) => {
    for (const [name, edges] of Object.entries(graphs)) {
      for (let round = 0; round < rounds; round++) {
        const leader = (await cluster.leader()).id;
        cluster.network.set("graph", missing(edges, leader), { fate: "lose" });
        const found = await firstWrite(cluster.nodes, 20 * electionTimeoutMaxMs);
        const changes = await changesWhile(cluster, seconds * 1000, 10);
        console.error(`${name}: a write after ${Math.round(found)} ms, then ${changes} changes`);
        assertLessOrEqual(found, 5 * electionTimeoutMaxMs, name);
        assertLessOrEqual(changes, changesMax, name);
        cluster.network.set("graph", [], {});
        await until("all nodes follow one leader", async () => {
          const all = await cluster.statuses();
          return all.every((it) => it !== null && it.leader === all[0]?.leader && it.leader !== null);
        });
      }
    }
  });
});

Deno.test("a cluster of five keeps a leader while one of its links comes and goes each second", async () => {
  await withFive(async (cluster) => {
    const leader = (await cluster.leader()).id;
    const link = between([leader], [leader % 5 + 1]);
    let tenths = 0;
    const timer = setInterval(() => {
      const isCut = tenths++ % 10 < 7; // longer than the longest election timeout
      cluster.network.set("graph", isCut ? link : [], { fate: "lose" });
    }, 100);
    try {
      // So few writes that a node which hears nothing for a while has a log that is good enough to be voted for.
      const changes = await changesWhile(cluster, Math.max(8, seconds) * 1000, 2000);
      console.error(`a link that comes and goes: ${changes} changes`);
      assertLessOrEqual(changes, changesMax);
    } finally {
      clearInterval(timer);
    }
  });
});
