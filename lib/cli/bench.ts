/**
 * `kvapp bench`: load on a cluster, in a closed loop or at a given rate, and how long each operation took.
 *
 * @module
 */

import { type FaultKind, faultKinds } from "../chaos/faults.ts";
import { type Client, connect } from "../client/client.ts";
import { parseClientCluster } from "./addresses.ts";
import { type Load, LoadConnection, newTally, openLoadConnection, type Tally } from "./bench_load.ts";
import { runVerify, type VerifyPlan } from "./bench_verify.ts";
import { CommandError, exitCodes, UsageError } from "./exit.ts";
import type { Subcommand } from "./help.ts";
import { didYouMean, type Parsed } from "./options.ts";
import { print, printError, showProgress } from "./output.ts";

/** What a bench is told. */
interface Plan {
  cluster: string[];
  clients: number;
  pipeline: number;
  /** Requests a second on all connections together; null: as fast as answers come. */
  rate: number | null;
  workload: Load["workload"];
  valueBytes: number;
  keys: number;
  seconds: number;
  warmup: number;
  json: boolean;
}

const workloads = ["put", "get", "mixed"] as const;
/** Reads are spread over so many keys, which are written first. */
const readKeysMax = 1000;
/** A node answers every request within 5 seconds, so what is still owed later is lost. */
const answerTimeoutMs = 6000;
const retryMs = 50;

/** `kvapp bench`. */
export const benchCommand: Subcommand = {
  name: "bench",
  summary: "puts load on a cluster and measures it",
  usage: [
    "bench [--cluster HOST:PORT,...] [--workload put|get|mixed] [--clients N] [--pipeline N] [--rate N]",
    "bench --verify [--cluster HOST:PORT,...] [--history FILE]",
    "bench --verify --chaos kill,pause,partition [--nodes N] [--seconds S] [--seed TEXT]",
  ],
  options: [
    { name: "cluster", value: "LIST", text: "raft or client addresses of some nodes (127.0.0.1:8080)" },
    { name: "clients", value: "N", text: "connections (1; to verify 8)" },
    { name: "pipeline", value: "N", text: "requests in flight on each connection (1)" },
    {
      name: "rate",
      value: "N",
      text: "operations due a second, on all connections (as fast as answers come)",
    },
    { name: "workload", value: "NAME", text: "put, get (linearizable) or mixed, half and half (put)" },
    { name: "value-bytes", value: "N", text: "size of a value (256)" },
    {
      name: "keys",
      value: "N",
      text: "number of keys; get and mixed read at most 1000 (100000; to verify 20)",
    },
    { name: "seconds", value: "S", text: "measured time (5; with --chaos 60)" },
    { name: "warmup", value: "S", text: "load before measuring starts (1)" },
    { name: "json", text: "print the figures as one JSON line" },
    { name: "verify", text: "check whether what clients are told is linearizable" },
    {
      name: "chaos",
      value: "LIST",
      text: `break a cluster meanwhile: ${Object.keys(faultKinds).join(", ")}`,
    },
    { name: "nodes", value: "N", text: "with --chaos: nodes of the cluster that is broken (3)" },
    { name: "seed", value: "TEXT", text: "to verify: what chance depends on (another one each time)" },
    { name: "history", value: "FILE", text: "to verify: write what was done and told there, in any case" },
  ],
  details:
    `Puts go to the leader, gets to all nodes in turn. The keys are key00000000 and so on: existing values of
these keys are overwritten.

With --rate, operations fall due at fixed times, whether or not answers come, and their latency counts from
then. Without, an operation follows each answer, so a node that stalls is asked less meanwhile: such a run tells
how much a cluster does, but makes its latencies look better than those that other clients would see.
--json also has "perSecond", how many were answered in each second, "histogram", pairs of a latency in
microseconds and how many took about as long, and "unsent", how many fell due and were not sent in time.

--verify uses other keys and removes them.

--chaos starts a cluster of its own and every 3 seconds does one of these to it, as --seed decides:
${Object.entries(faultKinds).map(([kind, text]) => `  ${kind.padEnd(10)} ${text}`).join("\n")}
What shows a failure is written to files. Exit code 1: not linearizable, not known, or nodes that did not recover.`,
  async run(parsed) {
    if (parsed.flag("verify")) return await runVerify(verifyPlanOf(parsed));
    const plan = planOf(parsed);
    await using client = await connect(plan.cluster, { sessions: false });
    const figures = await runBench(plan, client);
    print(plan.json ? JSON.stringify(figures) : describe(figures));
    if (figures.operations > 0) return exitCodes.done;
    throw new CommandError("no operation succeeded");
  },
};

/** What `--json` prints. */
export interface Figures {
  system: "kvapp";
  workload: string;
  clients: number;
  pipeline: number;
  rate: number | null;
  valueBytes: number;
  seconds: number;
  operations: number;
  operationsPerSecond: number;
  errors: number;
  unsent: number;
  latencyMilliseconds: { p50: number; p90: number; p99: number; p999: number; max: number };
  perSecond: number[];
  histogram: [microseconds: number, count: number][];
}

const nodesMax = 9;

function verifyPlanOf(parsed: Parsed): VerifyPlan {
  refuseWords(parsed);
  for (const name of ["pipeline", "rate", "workload", "value-bytes", "warmup"]) {
    if (parsed.text(name) !== undefined) throw new UsageError(`--${name} has no meaning with --verify`);
  }
  const chaos = [...new Set((parsed.text("chaos") ?? "").split(",").filter((kind) => kind !== ""))];
  const isOwn = chaos.length > 0;
  if (isOwn && parsed.text("cluster") !== undefined) {
    throw new UsageError("--chaos breaks a cluster of its own: leave --cluster out");
  }
  if (!isOwn && parsed.text("nodes") !== undefined) {
    throw new UsageError("--nodes has a meaning only with --chaos");
  }
  return {
    cluster: isOwn ? null : parseClientCluster(parsed.text("cluster")),
    clients: parsed.integer("clients", { min: 1, max: 1000 }) ?? 8,
    keys: parsed.integer("keys", { min: 1, max: 10_000 }) ?? 20,
    seconds: secondsOf(parsed, "seconds") ?? (isOwn ? 60 : 5),
    operations: 0,
    chaos: chaos.map(faultKindOf),
    nodes: parsed.integer("nodes", { min: 1, max: nodesMax }) ?? 3,
    seed: parsed.text("seed") ?? crypto.randomUUID().slice(0, 8),
    history: parsed.text("history") ?? null,
    json: parsed.flag("json"),
  };
}

function faultKindOf(name: string): FaultKind {
  if (Object.hasOwn(faultKinds, name)) return name as FaultKind;
  const names = Object.keys(faultKinds);
  throw new UsageError(`--chaos is a list of ${names.join(", ")}, not "${name}".${didYouMean(name, names)}`);
}

function refuseWords(parsed: Parsed): void {
  if (parsed.rest.length > 0) throw new UsageError(`bench takes no word, and "${parsed.rest[0]}" is one`);
}

function planOf(parsed: Parsed): Plan {
  refuseWords(parsed);
  for (const name of ["chaos", "nodes", "seed", "history"]) {
    if (parsed.text(name) !== undefined) throw new UsageError(`--${name} has a meaning only with --verify`);
  }
  const workload = parsed.text("workload") ?? "put";
  const known = workloads.find((name) => name === workload);
  if (known === undefined) {
    throw new UsageError(
      `--workload is ${workloads.join(", ")}, not "${workload}".${didYouMean(workload, workloads)}`,
    );
  }
  const keys = parsed.integer("keys", { min: 1, max: 100_000_000 }) ?? 100_000;
  return {
    cluster: parseClientCluster(parsed.text("cluster")),
    clients: parsed.integer("clients", { min: 1, max: 10_000 }) ?? 1,
    pipeline: parsed.integer("pipeline", { min: 1, max: 10_000 }) ?? 1,
    rate: parsed.integer("rate", { min: 1, max: 10_000_000 }) ?? null,
    workload: known,
    valueBytes: parsed.integer("value-bytes", { min: 0, max: 1 << 20 }) ?? 256,
    keys: known === "put" ? keys : Math.min(keys, readKeysMax),
    seconds: secondsOf(parsed, "seconds") ?? 5,
    warmup: secondsOf(parsed, "warmup") ?? 1,
    json: parsed.flag("json"),
  };
}

function secondsOf(parsed: Parsed, name: string): number | undefined {
  const text = parsed.text(name);
  if (text === undefined) return undefined;
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (value <= 86_400 && (value > 0 || name === "warmup")) return value;
  throw new UsageError(`--${name} is a number of seconds up to 86400, not "${text}"`);
}

async function runBench(plan: Plan, client: Client): Promise<Figures> {
  const { clients, pipeline, rate, workload, valueBytes, seconds } = plan;
  const value = "x".repeat(valueBytes);
  await client.put(keyName(0), value);
  if (workload !== "put") {
    const others = Array.from({ length: plan.keys - 1 }, (_, i) => client.put(keyName(i + 1), value));
    await Promise.all(others);
  }
  const members = await client.members();
  const addresses = members.map((member) => member.client).filter((it) => it !== null);
  const measureFrom = performance.now() + plan.warmup * 1000;
  const intervalMs = plan.rate === null ? null : 1000 * clients / plan.rate;
  const load: Load = { ...plan, intervalMs, measureFrom, until: measureFrom + seconds * 1000 };
  const tally = newTally(seconds);
  /** Where connection `i` belongs at its `attempt`th start. */
  const place = async (i: number, attempt: number): Promise<string> => {
    if (workload === "get") return addresses[(i + attempt) % addresses.length]!;
    if (attempt > 0) await client.put(keyName(0), value); // a write ends at the leader
    return client.address ?? addresses[0]!;
  };
  const stopProgress = plan.json ? () => {} : showRate(tally);
  await Promise.all(
    Array.from({ length: clients }, (_, i) => drive(load, tally, (attempt) => place(i, attempt))),
  );
  stopProgress();
  if (tally.firstError !== null) printError(`${tally.errors} errors, the first: ${tally.firstError}`);
  const { latencies } = tally;
  const ms = (q: number): number => latencies.quantile(q) / 1000;
  return {
    system: "kvapp",
    workload,
    clients,
    pipeline,
    rate,
    valueBytes,
    seconds,
    operations: latencies.count,
    operationsPerSecond: tally.perSecond.reduce((sum, count) => sum + count, 0) / seconds,
    errors: tally.errors,
    unsent: tally.unsent,
    latencyMilliseconds: { p50: ms(0.5), p90: ms(0.9), p99: ms(0.99), p999: ms(0.999), max: ms(1) },
    perSecond: tally.perSecond,
    histogram: latencies.buckets,
  };
}

/** Keeps one connection under load until the time is up, at another node or the new leader after an error. */
async function drive(load: Load, tally: Tally, place: (attempt: number) => Promise<string>): Promise<void> {
  const connection = new LoadConnection(load, tally);
  for (let attempt = 0; performance.now() < load.until; attempt++) {
    if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, retryMs));
    try {
      await driveOnce(connection, load, await place(attempt));
    } catch (error) { // no leader yet, or the node is down
      tally.errors++;
      tally.firstError ??= error instanceof Error ? error.message : String(error);
    }
  }
  tally.unsent += connection.unsent;
}

async function driveOnce(connection: LoadConnection, load: Load, address: string): Promise<void> {
  const conn = await openLoadConnection(address);
  let open = true;
  const close = (): void => {
    if (open) conn.close();
    open = false;
  };
  const timer = setTimeout(close, load.until + answerTimeoutMs - performance.now());
  await connection.run(conn);
  clearTimeout(timer);
  close();
}

function keyName(number: number): string {
  return `key${String(number).padStart(8, "0")}`;
}

/** The rate of the last second, each second. */
function showRate(tally: Tally): () => void {
  let before = 0;
  let seconds = 0;
  return showProgress(1000, () => {
    const { count } = tally.latencies;
    const rate = count === 0 ? "warming up" : `${(count - before).toLocaleString("en")} operations/s`;
    before = count;
    return `${++seconds} s  ${rate}, ${tally.errors} errors`;
  });
}

function describe(figures: Figures): string {
  const { workload, clients, pipeline, rate, valueBytes, seconds, operations, errors, latencyMilliseconds } =
    figures;
  const latency = Object.entries(latencyMilliseconds).map(([name, ms]) => `${name} ${ms.toFixed(2)}`);
  return [
    `${workload}: ${clients} connections, ${pipeline} in flight on each, values of ${valueBytes} bytes, ${seconds} s${
      rate === null ? "" : `, ${rate} a second fall due`
    }`,
    `operations  ${operations.toLocaleString("en")}`,
    `per second  ${Math.round(figures.operationsPerSecond).toLocaleString("en")}`,
    `errors      ${errors}`,
    ...(figures.unsent === 0 ? [] : [`not sent    ${figures.unsent}, which had fallen due`]),
    `latency ms  ${latency.join("  ")}`,
  ].join("\n");
}
