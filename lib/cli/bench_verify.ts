/**
 * `kvapp bench --verify`: whether what clients are told has an order, on a cluster that runs or, with `--chaos`, on one of
 * its own that is broken meanwhile.
 *
 * @module
 */

import { Clients } from "../chaos/clients.ts";
import { ChaosCluster } from "../chaos/cluster.ts";
import { type FaultEvent, type FaultKind, Faults } from "../chaos/faults.ts";
import { Leaders } from "../chaos/leaders.ts";
import { Random } from "../chaos/random.ts";
import { type Client, connect } from "../client/client.ts";
import type { NodeStatus } from "../client/types.ts";
import { timingModes } from "../node/timing.ts";
import { historyText, judge, type Judgement } from "./bench_verify_verdict.ts";
import { CommandError, exitCodes } from "./exit.ts";
import { note, print, reasonOf, showProgress, table } from "./output.ts";
import { programWords } from "./program.ts";
import { askAll } from "./status.ts";

/** What a verification is told. */
export interface VerifyPlan {
  /** Addresses of the cluster; null: one of its own. */
  cluster: string[] | null;
  clients: number;
  keys: number;
  seconds: number;
  /** It lasts longer until there are so many, on a slow machine. */
  operations: number;
  /** Kinds of faults for its own cluster. */
  chaos: FaultKind[];
  /** Nodes of its own cluster. */
  nodes: number;
  seed: string;
  /** Where the history goes, in any case. */
  history: string | null;
  json: boolean;
  /** The words that start the nodes of its own cluster. */
  program?: string[];
}

/** What came of it. The verdict "failed": the history is linearizable, but something else is wrong. */
export interface VerifyReport {
  system: "kvapp";
  verdict: "linearizable" | "not linearizable" | "unknown" | "failed";
  problems: string[];
  seed: string;
  clients: number;
  keys: number;
  seconds: number;
  operations: number;
  acknowledgedWrites: number;
  unknown: number;
  refused: number;
  faults: Partial<Record<FaultKind, number>>;
  leaderChanges: number;
  longestSilenceMs: number;
  /** Files that were written. */
  files: string[];
}

/** The cluster may need so long to be whole again after the last fault. */
const settleTimeoutMs = 60_000;
const pollMs = 50;

/** Verifies, prints what came of it and gives the exit code. */
export async function runVerify(plan: VerifyPlan): Promise<number> {
  const report = await verify(plan);
  print(plan.json ? JSON.stringify(report) : describe(report));
  return report.problems.length === 0 ? exitCodes.done : exitCodes.failed;
}

/** Verifies. */
export async function verify(plan: VerifyPlan): Promise<VerifyReport> {
  if (plan.history !== null) await createFile(plan.history); // before the work is done
  return plan.cluster === null ? await verifyOwn(plan) : await verifyRunning(plan, plan.cluster);
}

async function createFile(path: string): Promise<void> {
  try {
    await Deno.writeTextFile(path, "");
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new CommandError(`cannot write --history ${path}: ${reasonOf(error)}`);
  }
}

/** What a run left to be judged. */
interface Run {
  clients: Clients;
  leaders: Leaders;
  faults: Faults | null;
  problems: string[];
}

async function verifyOwn(plan: VerifyPlan): Promise<VerifyReport> {
  const { nodes, seed, chaos } = plan;
  const folder = await Deno.makeTempDir({ prefix: "kvapp-verify-" });
  const random = new Random(seed);
  const program = plan.program ?? programWords();
  const spoiling = random.fork("network");
  const cluster = await ChaosCluster.start({ nodes, folder, program, random: () => spoiling.next() }).catch(
    (error) => {
      throw error instanceof Error ? new CommandError(`the cluster did not start: ${error.message}`) : error;
    },
  );
  const release = onSignal(async () => {
    await cluster.close();
    await Deno.remove(folder, { recursive: true });
  });
  try {
    const addresses = cluster.nodes.map((node) => node.client);
    if (!plan.json) note(`${nodes} nodes under ${folder}, seed ${seed}`);
    await using client = await connect(addresses, { timeoutMs: settleTimeoutMs });
    const { electionTimeoutMaxMs } = timingModes.fast;
    const faults = new Faults(cluster, { kinds: chaos, random: random.fork("faults"), electionTimeoutMaxMs });
    const run = await load(plan, {
      client,
      addresses,
      prefix: "",
      faults,
      statuses: () => cluster.statuses(),
    });
    run.problems.push(...await differencesOf(cluster), ...cluster.ends);
    for (const [kind, count] of Object.entries(faults.counts)) {
      if (count === 0) run.problems.push(`no ${kind} happened, so the run shows nothing of it`);
    }
    await cluster.close();
    const report = await conclude(plan, run, folder);
    if (report.problems.length === 0) await Deno.remove(folder, { recursive: true });
    return report;
  } finally {
    release();
    await cluster.close();
  }
}

async function verifyRunning(plan: VerifyPlan, cluster: string[]): Promise<VerifyReport> {
  await using client = await connect(cluster, { timeoutMs: settleTimeoutMs });
  const members = await client.members();
  const addresses = members.map((member) => member.client).filter((it) => it !== null);
  const statuses = async (): Promise<NodeStatus[]> =>
    (await askAll(cluster, members)).filter(({ reply }) => reply.ok)
      .map(({ reply }) => reply as unknown as NodeStatus);
  const prefix = `bench-verify/${crypto.randomUUID()}/`;
  const run = await load(plan, { client, addresses, prefix, faults: null, statuses });
  const report = await conclude(plan, run, null);
  if (report.problems.length === 0) await client.deleteRange({ prefix });
  return report;
}

/** Puts load on a cluster, breaks it meanwhile, and reads in the end what is there. */
async function load(
  plan: VerifyPlan,
  { client, addresses, prefix, faults, statuses }: {
    client: Client;
    addresses: string[];
    prefix: string;
    faults: Faults | null;
    statuses: () => Promise<(NodeStatus | null)[]>;
  },
): Promise<Run> {
  const leaders = new Leaders();
  const random = new Random(plan.seed).fork("clients");
  const clients = new Clients({ addresses, clients: plan.clients, keys: plan.keys, prefix, random });
  const stop = new AbortController();
  const timer = setInterval(() => {
    const isEnough = clients.now >= plan.seconds * 1000 && clients.history.length >= plan.operations;
    if (isEnough) stop.abort();
  }, pollMs);
  const stopProgress = plan.json ? () => {} : showProgress(1000, () => progressOf(clients, leaders, faults));
  const problems: string[] = [];
  const work = [clients.run(stop.signal), faults?.run(stop.signal), leaders.watch(statuses, stop.signal)];
  try {
    await Promise.all(work);
    await client.put(`${prefix}end`, "all faults are over");
    await clients.readAll((key) => client.request({ op: "get", key }));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    problems.push(`the run broke off: ${error.message}`);
  } finally {
    clearInterval(timer);
    stop.abort();
    await Promise.allSettled(work);
    stopProgress();
  }
  problems.push(...leaders.contradictions);
  return { clients, leaders, faults, problems };
}

/** What differs between the nodes once they have all applied the same entries. */
export async function differencesOf(cluster: ChaosCluster): Promise<string[]> {
  for (const deadline = performance.now() + settleTimeoutMs; performance.now() < deadline;) {
    const indexes = (await cluster.statuses()).flatMap((it) =>
      it === null || it.abstains ? [-1] : [it.appliedIndex, it.lastLogIndex, it.commitIndex]
    );
    if (indexes[0] !== -1 && indexes.every((index) => index === indexes[0])) {
      const states = await Promise.all(cluster.nodes.map((node) => stateOf(node.client)));
      return states.flatMap((state, i) =>
        state === states[0] ? [] : [`nodes 1 and ${i + 1} hold different keys at index ${indexes[0]}`]
      );
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  return [`the nodes have not come to the same index within ${settleTimeoutMs / 1000} s after the faults`];
}

/** All that one node holds. */
async function stateOf(address: string): Promise<string> {
  await using client = await connect([address]);
  const entries: unknown[] = [];
  for await (const entry of client.list({ consistency: "stale" })) entries.push(entry);
  return JSON.stringify(entries);
}

/** Judges a run; what shows what is wrong goes to `folder`, or a new one. */
async function conclude(plan: VerifyPlan, run: Run, folder: string | null): Promise<VerifyReport> {
  const { clients, leaders, faults } = run;
  const judgement = judge(clients.history);
  const problems = [...judgement.problems, ...run.problems];
  const files: string[] = [];
  const write = async (path: string, text: string): Promise<void> => {
    await Deno.writeTextFile(path, text);
    files.push(path);
  };
  const history = historyText(clients.history);
  if (plan.history !== null) await write(plan.history, history);
  if (problems.length > 0) {
    const place = folder ?? await Deno.makeTempDir({ prefix: "kvapp-verify-" });
    await write(`${place}/history.ndjson`, history);
    for (const [name, text] of Object.entries(judgement.evidence)) await write(`${place}/${name}`, text);
    if (faults !== null) await write(`${place}/faults.txt`, describeFaults(faults.events, clients));
  }
  return {
    system: "kvapp",
    verdict: verdictOf(judgement, problems),
    problems,
    seed: plan.seed,
    clients: plan.clients,
    keys: plan.keys,
    seconds: plan.seconds,
    operations: clients.history.length,
    ...clients.counts,
    faults: faults?.counts ?? {},
    leaderChanges: leaders.changes,
    longestSilenceMs: Math.round(clients.longestSilenceMs),
    files,
  };
}

function verdictOf({ linearizable }: Judgement, problems: string[]): VerifyReport["verdict"] {
  if (linearizable === "unknown") return "unknown";
  if (!linearizable) return "not linearizable";
  return problems.length === 0 ? "linearizable" : "failed";
}

/** What befell the cluster, on the clock of the history. */
function describeFaults(events: readonly FaultEvent[], clients: Clients): string {
  const zero = performance.now() - clients.now;
  return events.map(({ at, text }) => `${(at - zero).toFixed(1).padStart(10)} ms  ${text}\n`).join("");
}

function progressOf({ now, history, counts }: Clients, leaders: Leaders, faults: Faults | null): string {
  const last = faults?.events.at(-1)?.text;
  return `${Math.round(now / 1000)} s  ${
    history.length.toLocaleString("en")
  } operations, ${counts.unknown} unknown, ` +
    `${leaders.changes} leader changes${last === undefined ? "" : `; ${last}`}`;
}

function describe(report: VerifyReport): string {
  const { problems, files, faults } = report;
  const number = (value: number): string => value.toLocaleString("en");
  const rows = [
    ["WHAT", "HOW MUCH"],
    ["operations", number(report.operations)],
    ["acknowledged writes", number(report.acknowledgedWrites)],
    ["outcome unknown", number(report.unknown)],
    ["refused", number(report.refused)],
    ...Object.entries(faults).map(([kind, count]) => [`fault: ${kind}`, number(count)]),
    ["leader changes", number(report.leaderChanges)],
    ["longest time without an acknowledged write", `${number(report.longestSilenceMs)} ms`],
    ["verdict", report.verdict],
  ];
  return [table(rows), ...problems, ...files.map((file) => `written: ${file}`)].join("\n");
}

/** Ends the cluster when this program is told to end; what is paused would not notice. */
function onSignal(close: () => Promise<void>): () => void {
  const signals: [Deno.Signal, number][] = Deno.build.os === "windows"
    ? [["SIGINT", 130]]
    : [["SIGINT", 130], ["SIGTERM", 143]];
  const listeners = signals.map(([name, code]) =>
    [name, () => {
      close().finally(() => Deno.exit(code));
    }] as const
  );
  for (const [name, listener] of listeners) Deno.addSignalListener(name, listener);
  return () => {
    for (const [name, listener] of listeners) Deno.removeSignalListener(name, listener);
  };
}
