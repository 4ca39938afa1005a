/**
 * What it costs the others when a node comes back with nothing: a follower's folder is removed again and again while
 * clients write to the leader at a steady rate. How much longer do their writes take until it has everything, how long
 * does that last, and how much memory do the nodes take? Real processes on loopback, all on this machine.
 *
 * ```sh
 * deno task bench:catchup --keys 600000 --rounds 5
 * ```
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { type Client, connect } from "../mod.ts";
import { type TestCluster, type TestNode, until, withCluster } from "../tests/e2e/cluster.ts";
import { LineConnection } from "../tests/e2e/line_connection.ts";
import { mebibytesOf, quantile } from "./process_figures.ts";

interface Sizes {
  keys: number;
  /** Of each value. */
  valueBytes: number;
  rounds: number;
  /** Writes a second while it is measured. */
  rate: number;
}

/** Latencies of writes in milliseconds. */
interface Latencies {
  p50: number;
  p99: number;
  max: number;
  count: number;
}

interface Round {
  before: Latencies;
  during: Latencies;
  /** p99 during the catch-up divided by that before. */
  ratio: number;
  /** From the start of the process to the moment when it has, and counts as having, what the leader had then. */
  seconds: number;
  /** Of snapshot that it was sent, per second. */
  megabytesPerSecond: number;
  /** Memory of each node afterwards. */
  mebibytes: ({ now: number; peak: number } | null)[];
}

const loaders = 4;
const inFlight = 250;
const baselineMs = 5000;

/** Fills the cluster as fast as it takes it. */
async function fill(cluster: TestCluster, { keys, valueBytes }: Sizes): Promise<void> {
  const clients = await Promise.all(
    Array.from({ length: loaders }, () => connect(cluster.addresses, { timeoutMs: 60_000 })),
  );
  let next = 0;
  const put = async (client: Client): Promise<void> => {
    while (next < keys) {
      const i = next++;
      await client.put(keyOf(i), `${i},`.repeat(valueBytes).slice(0, valueBytes));
      if (i % 50_000 === 0) console.error(`${i} of ${keys} keys`);
    }
  };
  await Promise.all(clients.flatMap((client) => Array.from({ length: inFlight }, () => put(client))));
  await Promise.all(clients.map((client) => client.close()));
}

function keyOf(i: number): string {
  return `user/${String(i).padStart(8, "0")}`;
}

/** Writes at a steady rate, whether or not answers come. */
class SteadyLoad {
  readonly #connection: LineConnection;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #reading: Promise<void>;
  #sentAt: number[] = [];
  #latencies: number[] = [];
  #made = 0;
  #sending: Promise<void> = Promise.resolve();
  #isOver = false;

  constructor(connection: LineConnection, { rate, keys, valueBytes }: Sizes) {
    this.#connection = connection;
    const startedAt = performance.now();
    const value = "x".repeat(valueBytes);
    this.#timer = setInterval(() => {
      const now = performance.now();
      const due = Math.floor((now - startedAt) / 1000 * rate);
      const requests: object[] = [];
      for (; this.#made < due; this.#made++) {
        requests.push({ op: "put", key: keyOf(Math.floor(Math.random() * keys)), value });
        this.#sentAt.push(now);
      }
      if (requests.length > 0) this.#sending = this.#sending.then(() => connection.send(requests));
    }, 1);
    this.#reading = this.#read();
  }

  /** The latencies since the last call. */
  take(): Latencies {
    const samples = this.#latencies;
    this.#latencies = [];
    const round = (ms: number): number => Math.round(ms * 10) / 10;
    const [p50, p99, max] = [0.5, 0.99, 1].map((one) => round(quantile(samples, one)));
    return { p50: p50!, p99: p99!, max: max!, count: samples.length };
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#sending;
    this.#isOver = true;
    this.#connection.close();
    await this.#reading;
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const reply = await this.#connection.reply();
        if (!reply.ok) throw new Error(`the load failed: ${JSON.stringify(reply)}`);
        this.#latencies.push(performance.now() - this.#sentAt.shift()!);
      }
    } catch (error) {
      if (!this.#isOver) throw error;
    }
  }
}

/** One follower loses its folder and is given everything again. */
async function measureRound(cluster: TestCluster, load: SteadyLoad, leader: TestNode): Promise<Round> {
  const follower = cluster.nodes.find((node) => node !== leader)!;
  load.take();
  await new Promise((resolve) => setTimeout(resolve, baselineMs));
  const before = load.take();
  await follower.kill();
  const lost = `${follower.folder}.lost`; // removed later, which is work for the disk that all share
  await Deno.rename(follower.folder, lost);
  load.take();
  const startedAt = performance.now();
  follower.start();
  const { commitIndex } = (await leader.status())!;
  await until("the node has everything again", async () => {
    const status = await follower.status();
    return status !== null && status.appliedIndex >= commitIndex && !status.abstains ? status : null;
  });
  const seconds = (performance.now() - startedAt) / 1000;
  const during = load.take();
  const ratio = Math.round(during.p99 / before.p99 * 100) / 100;
  const megabytesPerSecond = Math.round(snapshotBytes(follower) / 1e6 / seconds * 10) / 10;
  await Deno.remove(lost, { recursive: true });
  const mebibytes = await Promise.all(cluster.nodes.map(mebibytesOf));
  return { before, during, ratio, seconds: Math.round(seconds * 10) / 10, megabytesPerSecond, mebibytes };
}

/** Size of the oldest snapshot that a node has: the one that it was sent. */
function snapshotBytes({ folder }: TestNode): number {
  const names = Array.from(Deno.readDirSync(`${folder}/snapshots`), ({ name }) => name).sort();
  return Deno.statSync(`${folder}/snapshots/${names[0]}`).size;
}

async function main(args: string[]): Promise<number> {
  const options = parseArgs(args, { string: ["keys", "value-bytes", "rounds", "rate"] });
  const sizes: Sizes = {
    keys: Number(options.keys ?? 600_000),
    valueBytes: Number(options["value-bytes"] ?? 200),
    rounds: Number(options.rounds ?? 5),
    rate: Number(options.rate ?? 500),
  };
  if (!Object.values(sizes).every((one) => Number.isSafeInteger(one) && one > 0)) {
    console.error("usage: catchup.ts [--keys N] [--value-bytes N] [--rounds N] [--rate WRITES_PER_SECOND]");
    return 2;
  }
  await withCluster({ nodes: 3 }, async (cluster) => {
    await cluster.leader();
    await fill(cluster, sizes);
    await cluster.settled();
    const leader = await cluster.leader();
    const load = new SteadyLoad(await LineConnection.open(leader.client), sizes);
    const rounds: Round[] = [];
    for (let round = 1; round <= sizes.rounds; round++) {
      rounds.push(await measureRound(cluster, load, leader));
      console.error(`round ${round} of ${sizes.rounds}: ${JSON.stringify(rounds.at(-1))}`);
    }
    await load.stop();
    const median = (of: (round: Round) => number): number => quantile(rounds.map(of), 0.5);
    const medians = {
      p99Before: median(({ before }) => before.p99),
      p99During: median(({ during }) => during.p99),
      ratio: median(({ ratio }) => ratio),
      seconds: median(({ seconds }) => seconds),
      megabytesPerSecond: median((round) => round.megabytesPerSecond),
    };
    console.log(JSON.stringify({ sizes, leader: leader.id, medians, rounds }));
  });
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
