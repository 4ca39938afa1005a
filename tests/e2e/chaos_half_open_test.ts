/**
 * Connections between nodes that seem to stand while nothing arrives any more. `KVAPP_HALF_OPEN_SECONDS=1200` lets them
 * for 20 minutes.
 *
 * @module
 */

import { assertLessOrEqual } from "@std/assert";
import { ChaosCluster, type ChaosNode } from "../../lib/chaos/cluster.ts";
import { between } from "../../lib/chaos/peer_network.ts";
import { connect } from "../../mod.ts";
import { kvappWords, withFolder } from "../cli/processes.ts";
import { until } from "./cluster.ts";

const seconds = Number(Deno.env.get("KVAPP_HALF_OPEN_SECONDS") ?? 5);
/** Steady, but connections are still looked at once a second. */
const args = ["--election-timeout-min", "400", "--election-timeout-max", "500"];
/** Those that a dialled and an accepted connection may need while they are made anew. */
const spareDescriptors = 2;

function descriptorsOf(node: ChaosNode): number {
  return Array.from(Deno.readDirSync(`/proc/${node.pid}/fd`)).length;
}

/** Which peers the node says that it is connected to. */
async function connectionsOf(node: ChaosNode): Promise<number> {
  const status = await node.status();
  return ((status?.peers ?? []) as { connected: boolean }[]).filter((peer) => peer.connected).length;
}

Deno.test({
  name: "nodes give up connections on which nothing comes, and have no more of them afterwards than before",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    withFolder(async (folder) => {
      const cluster = await ChaosCluster.start({ nodes: 3, folder, program: kvappWords, args });
      try {
        await using client = await connect(cluster.nodes.map((node) => node.client));
        await client.put("a", "1");
        const isWhole = async (): Promise<boolean> =>
          (await Promise.all(cluster.nodes.map(connectionsOf))).every((count) => count === 2);
        await until("all nodes are connected", isWhole);
        const before = cluster.nodes.map(descriptorsOf);
        const leader = await cluster.leader();
        const follower = cluster.nodes.find((node) => node !== leader)!;
        cluster.network.set("half-open", between([leader.id], [follower.id]), { fate: "lose" });
        let most = 0;
        for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
          await client.put("a", "2"); // the other follower is enough
          most = Math.max(most, ...cluster.nodes.map((node, i) => descriptorsOf(node) - before[i]!));
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        assertLessOrEqual(await connectionsOf(leader), 1, "the silence is noticed");
        assertLessOrEqual(most, 2 * spareDescriptors, "connections do not pile up");
        cluster.network.set("half-open", [], {});
        await until("all nodes are connected again", isWhole);
        await until("descriptors are as before", () =>
          cluster.nodes.every((node, i) => descriptorsOf(node) <= before[i]! + spareDescriptors));
      } finally {
        await cluster.close();
      }
    }),
});
