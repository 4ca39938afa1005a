/**
 * SIGKILL while snapshots are taken, sent and installed, under load and with bounds so small that one of these is
 * nearly always under way. `KVAPP_KILLS=30` does it so often in each of the ways.
 *
 * @module
 */

import { assertEquals, assertGreater } from "@std/assert";
import { connect } from "../../mod.ts";
import { Random } from "../sim/random.ts";
import { steady, type TestCluster, type TestNode, until, withCluster } from "./cluster.ts";
import { findLost, Load } from "./load.ts";
import { smallSnapshots } from "./small_snapshots.ts";

const kills = Number(Deno.env.get("KVAPP_KILLS") ?? 2);
/** The more data, the longer everything takes. */
const roundsPerCluster = 5;
const writers = 8;

/** Snapshots of a node in its folder, oldest first. */
function snapshotsOf({ folder }: TestNode): string[] {
  try {
    return Array.from(Deno.readDirSync(`${folder}/snapshots`), ({ name }) => `${folder}/snapshots/${name}`)
      .sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** A snapshot of a node that does not run has no last line. */
function isCutShort(node: TestNode): boolean {
  return snapshotsOf(node).some((path) =>
    !/"blocks":\d+,.*\}\n$/.test(Deno.readTextFileSync(path).slice(-200))
  );
}

/** All nodes take part and nobody lacks anything that was committed before. */
async function untilWhole(cluster: TestCluster): Promise<void> {
  const { commitIndex } = (await (await cluster.leader()).status())!;
  for (const node of cluster.nodes) {
    await until(`node ${node.id} is whole`, async () => {
      const status = await node.status();
      return status !== null && !status.abstains && status.appliedIndex >= commitIndex ? status : null;
    });
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Ways to kill; each returns whether it cut a snapshot short. */
const ways: Record<string, (cluster: TestCluster, random: Random) => Promise<boolean>> = {
  async taking(cluster, random) {
    const node = random.pick(cluster.nodes);
    const before = snapshotsOf(node).at(-1);
    await until("it takes one", () => snapshotsOf(node).at(-1) !== before || null);
    await pause(random.below(20));
    return await killAndStart(node);
  },
  async installing(cluster, random) {
    const [, receiver] = await beginTransfer(cluster, random);
    return await killAndStart(receiver);
  },
  async sending(cluster, random) {
    const [leader, receiver] = await beginTransfer(cluster, random);
    await killAndStart(leader);
    return isCutShort(receiver);
  },
};

async function killAndStart(node: TestNode): Promise<boolean> {
  await node.kill();
  const cutShort = isCutShort(node);
  node.start();
  return cutShort;
}

/** A follower loses its folder and has got a part of a snapshot from the leader. */
async function beginTransfer(cluster: TestCluster, random: Random): Promise<[TestNode, TestNode]> {
  const leader = await cluster.leader();
  const receiver = random.pick(cluster.nodes.filter((node) => node !== leader));
  await until("the leader's log is cut", () => snapshotsOf(leader).length >= 2 || null);
  await receiver.kill();
  await Deno.remove(receiver.folder, { recursive: true });
  receiver.start();
  await until("a part of a snapshot came", () => snapshotsOf(receiver).length > 0 || null);
  await pause(random.below(40));
  return [leader, receiver];
}

/** Kills the nodes of a new cluster `rounds` times in each way; counts the snapshots that it cut short. */
async function killInAllWays(
  rounds: number,
  { random, cutShort }: { random: Random; cutShort: Map<string, number> },
): Promise<void> {
  await withCluster({ nodes: 3, args: steady, wrapper: smallSnapshots }, async (cluster) => {
    await cluster.leader();
    const clients = await Promise.all(
      Array.from({ length: writers }, () => connect(cluster.addresses, { timeoutMs: 30_000 })),
    );
    const load = new Load({ valueUnits: 2000 });
    try {
      load.start(clients);
      for (let round = 0; round < rounds; round++) {
        for (const [name, way] of Object.entries(ways)) {
          if (await way(cluster, random)) cutShort.set(name, (cutShort.get(name) ?? 0) + 1);
          await load.next();
          await untilWhole(cluster);
        }
      }
      await load.stop();
    } finally {
      await Promise.all(clients.map((client) => client.close()));
    }
    await cluster.settled();
    assertEquals(load.unknown, 0, "every write was retried until its outcome was known");
    assertGreater(load.acknowledged.size, 100);
    assertEquals(await findLost(cluster, load.acknowledged), []);
  });
}

Deno.test("nodes killed while snapshots are taken, sent and installed start again and have every acknowledged write", async () => {
  const random = new Random(Deno.env.get("KVAPP_SEED") ?? "snapshots");
  const cutShort = new Map<string, number>();
  for (let done = 0; done < kills; done += roundsPerCluster) {
    await killInAllWays(Math.min(roundsPerCluster, kills - done), { random, cutShort });
    if (kills > roundsPerCluster) {
      console.error(`up to ${done + roundsPerCluster}:`, Object.fromEntries(cutShort));
    }
  }
  if (kills >= 20) { for (const name of Object.keys(ways)) assertGreater(cutShort.get(name) ?? 0, 0, name); }
});
