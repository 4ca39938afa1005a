/**
 * A real cluster that a test breaks in its own way while clients read and write. In the end what they were told must be
 * linearizable, all of it still there, the nodes must hold the same, and no term may have had two leaders.
 *
 * @module
 */

import { assertEquals, assertGreater } from "@std/assert";
import { ChaosCluster, type ChaosNode, type ClusterOptions } from "../../lib/chaos/cluster.ts";
import { Clients } from "../../lib/chaos/clients.ts";
import { Leaders } from "../../lib/chaos/leaders.ts";
import { Random } from "../../lib/chaos/random.ts";
import { differencesOf } from "../../lib/cli/bench_verify.ts";
import { historyText, judge } from "../../lib/cli/bench_verify_verdict.ts";
import { Connection } from "../../lib/client/connection.ts";
import { connect } from "../../mod.ts";
import { kvappWords, withFolder } from "../cli/processes.ts";
import { until } from "./cluster.ts";

/** What a test has in its hands. */
export interface Trial {
  cluster: ChaosCluster;
  clients: Clients;
  random: Random;
}

/** How it is to be. */
export interface TrialOptions extends Partial<Omit<ClusterOptions, "folder" | "random">> {
  /** Clients that read and write; 4 unless told otherwise. */
  clients?: number;
}

const settleTimeoutMs = 60_000;

/** Runs a test. `breakIt` leaves nodes dead as it likes, but mends the network. */
export async function withTrial(
  options: TrialOptions,
  breakIt: (trial: Trial) => Promise<void>,
): Promise<void> {
  const random = new Random(Deno.env.get("KVAPP_SEED") ?? crypto.randomUUID().slice(0, 8));
  await withFolder(async (folder) => {
    const cluster = await ChaosCluster.start({
      nodes: 3,
      program: kvappWords,
      random: () => random.next(),
      ...options,
      folder,
    });
    const addresses = cluster.nodes.map((node) => node.client);
    const load = { clients: options.clients ?? 4, keys: 10, prefix: "" };
    const clients = new Clients({ addresses, ...load, random: random.fork("clients") });
    let problems: string[] = [];
    try {
      await breakUnderLoad({ cluster, clients, random }, breakIt);
      problems = [...cluster.ends, ...await differencesOf(cluster), ...judge(clients.history).problems];
      assertGreater(clients.counts.acknowledgedWrites, 20);
    } catch (error) {
      problems.push(`${error instanceof Error ? error.stack : error}`);
    } finally {
      await cluster.close(); // and the journals are complete
    }
    const journals = cluster.nodes.map(({ id }) => Deno.readTextFileSync(`${folder}/${id}.log`));
    problems.push(...contradictionsIn(journals));
    if (problems.length > 0) await showEvidence(random.name, { journals, clients });
    assertEquals(problems, []);
  });
}

async function breakUnderLoad(trial: Trial, breakIt: (trial: Trial) => Promise<void>): Promise<void> {
  const { cluster, clients } = trial;
  const stop = new AbortController();
  const working = clients.run(stop.signal);
  try {
    await breakIt(trial);
  } finally {
    stop.abort();
    await working;
  }
  for (const node of cluster.nodes) node.start();
  await untilAgreed(trial);
  await using client = await connect(cluster.nodes.map((node) => node.client), {
    timeoutMs: settleTimeoutMs,
  });
  await client.put("end", "all is over");
  // Twice: what nobody was told of may have happened or not, but not now one and then the other.
  for (let i = 0; i < 2; i++) await clients.readAll((key) => client.request({ op: "get", key }));
}

/** Nodes that led in the same term, by their own journals: not even a leader of a moment is missing there. */
function contradictionsIn(journals: readonly string[]): string[] {
  const leaders = new Leaders();
  for (const [i, journal] of journals.entries()) {
    for (const [, term] of journal.matchAll(/leads term (\d+)/g)) {
      leaders.note({ node: i + 1, term: Number(term) });
    }
  }
  return leaders.contradictions;
}

async function showEvidence(
  seed: string,
  { journals, clients }: { journals: readonly string[]; clients: Clients },
): Promise<void> {
  const path = await Deno.makeTempFile({ prefix: "kvapp-history-", suffix: ".ndjson" });
  await Deno.writeTextFile(path, historyText(clients.history));
  console.error(`KVAPP_SEED=${seed}, history in ${path}`);
  for (const [i, journal] of journals.entries()) {
    console.error(`--- node ${i + 1}\n${journal.split("\n").slice(-60).join("\n")}`);
  }
}

/** Resolves when all nodes that are well follow one leader; the time it took. */
export async function untilAgreed({ cluster }: Trial): Promise<number> {
  const from = performance.now();
  await until("all nodes follow one leader", async () => {
    const all = (await cluster.statuses()).filter((_, i) => cluster.nodes[i]!.isWell);
    const leader = all.find((it) => it?.role === "leader");
    return leader != null && all.every((it) => it?.leader === leader.node && it.term === leader.term);
  });
  return performance.now() - from;
}

/** Resolves when all nodes follow one leader, and its clients have found it: so many more writes are acknowledged. */
export async function untilWrites(trial: Trial, count: number): Promise<void> {
  await untilAgreed(trial);
  const { counts } = trial.clients;
  const enough = counts.acknowledgedWrites + count;
  await until("writes are acknowledged", () => counts.acknowledgedWrites >= enough);
}

/** Milliseconds until some of these nodes has acknowledged a write that was sent from now on. */
export async function firstWrite(nodes: readonly ChaosNode[], patienceMs: number): Promise<number> {
  const from = performance.now();
  const stop = new AbortController();
  const writers = nodes.map(async ({ client }) => {
    while (!stop.signal.aborted) {
      const connection = await Connection.open(client, stop.signal);
      const close = (): void => void connection.close();
      stop.signal.addEventListener("abort", close);
      try {
        if ((await connection.request({ op: "put", key: "first", value: "1" })).ok) return;
      } finally {
        stop.signal.removeEventListener("abort", close);
        await connection.close();
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw stop.signal.reason;
  });
  const patience = setTimeout(() => stop.abort(), patienceMs);
  try {
    await Promise.any(writers);
    return performance.now() - from;
  } finally {
    clearTimeout(patience);
    stop.abort();
    await Promise.allSettled(writers);
  }
}

/** Waits. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
