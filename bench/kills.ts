/**
 * Kills real nodes with SIGKILL while clients write: one at a time, then all at once. Every node must start again each
 * time, and every write that was acknowledged must be on all of them at the end.
 *
 * ```sh
 * deno run -A bench/kills.ts --single 100 --all 20
 * ```
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { connect } from "../mod.ts";
import { type TestCluster, type TestNode, until, withCluster } from "../tests/e2e/cluster.ts";
import { findLost, Load } from "../tests/e2e/load.ts";

/** How often to kill. */
export interface Kills {
  /** Kills of one node, the leader every other time. */
  single: number;
  /** Kills of all nodes at once. */
  all: number;
}

/** What came of it. */
export interface KillReport {
  kills: number;
  starts: number;
  /** Writes that were acknowledged. */
  acknowledged: number;
  /** Writes that may or may not have happened. */
  unknown: number;
  /** Acknowledged writes that some node does not have in the end, with what it has instead. */
  lost: string[];
  /** From each kill to the end of the next write that was begun afterwards and acknowledged, in milliseconds. */
  silence: { single: number[]; all: number[] };
}

const writers = 8;

/** Kills nodes of a new cluster under load. Rejects when a node does not start or nothing can be written any more. */
export async function killUnderLoad({ single, all }: Kills): Promise<KillReport> {
  const silence = { single: [], all: [] };
  const report: KillReport = { kills: 0, starts: 3, acknowledged: 0, unknown: 0, lost: [], silence };
  await withCluster({ nodes: 3 }, async (cluster) => {
    await cluster.leader();
    const load = new Load();
    const clients = await Promise.all(Array.from({ length: writers }, () => connect(cluster.addresses)));
    try {
      load.start(clients);
      await load.next();
      for (let round = 0; round < single + all; round++) {
        const victims = round < single ? [await chooseVictim(cluster, round)] : cluster.nodes;
        await killAndStart(cluster, victims, { load, report });
        if ((round + 1) % 10 === 0) console.error(`${round + 1} of ${single + all} rounds`);
      }
      await load.stop();
    } finally {
      await Promise.all(clients.map((client) => client.close()));
    }
    await cluster.settled();
    report.acknowledged = load.acknowledged.size;
    report.unknown = load.unknown;
    report.lost = await findLost(cluster, load.acknowledged);
  });
  return report;
}

/** The leader in every other round, else each node in turn. */
async function chooseVictim(cluster: TestCluster, round: number): Promise<TestNode> {
  return round % 2 === 0 ? await cluster.leader() : cluster.nodes[(round >> 1) % 3]!;
}

async function killAndStart(
  cluster: TestCluster,
  victims: readonly TestNode[],
  { load, report }: { load: Load; report: KillReport },
): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 200));
  const killedAt = performance.now();
  await Promise.all(victims.map((node) => node.kill()));
  report.kills += victims.length;
  const goesOn = load.next();
  // While a majority is left, writes must go on before the node is back.
  if (victims.length === 1) await goesOn;
  for (const node of victims) node.start();
  report.starts += victims.length;
  await goesOn;
  report.silence[victims.length === 1 ? "single" : "all"].push(performance.now() - killedAt);
  const committed = (await (await cluster.leader()).status())!.commitIndex;
  for (const node of victims) {
    await until(`node ${node.id} has caught up`, async () => {
      const status = await node.status();
      return status !== null && status.appliedIndex >= committed ? status : null;
    });
  }
}

function summary(samples: number[]): { median: number; max: number } | null {
  const sorted = samples.map(Math.round).sort((a, b) => a - b);
  return sorted.length === 0 ? null : { median: sorted[sorted.length >> 1]!, max: sorted.at(-1)! };
}

async function main(args: string[]): Promise<number> {
  const options = parseArgs(args, { string: ["single", "all"] });
  const single = Number(options.single ?? 100);
  const all = Number(options.all ?? 20);
  if (!Number.isSafeInteger(single) || !Number.isSafeInteger(all) || single < 0 || all < 0) {
    console.error("usage: kills.ts [--single N] [--all N]");
    return 2;
  }
  const { lost, silence, ...counts } = await killUnderLoad({ single, all });
  for (const line of lost.slice(0, 20)) console.log(line);
  const silenceMs = { single: summary(silence.single), all: summary(silence.all) };
  console.log(JSON.stringify({ single, all, ...counts, lost: lost.length, silenceMs }));
  return lost.length === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
