/**
 * Retry safety on real processes: clients write through proxies that cut their connections at every moment of a
 * request's life while leaders are killed. In the end each write must have happened as often as its outcome says. One
 * hexadecimal digit of a counter belongs to each write: it tells how often the write happened.
 * `KVAPP_RETRIES=10000` does so many writes.
 *
 * @module
 */

import { assertEquals, assertGreater } from "@std/assert";
import { type Client, ClientError, connect } from "../../mod.ts";
import { Random } from "../sim/random.ts";
import { type TestCluster, until, withCluster } from "./cluster.ts";
import { smallSnapshots } from "./small_snapshots.ts";
import { moments, RequestCutter } from "./tcp_proxy.ts";

const writes = Number(Deno.env.get("KVAPP_RETRIES") ?? 1200);
/** A leader is killed in the middle of so many writes ... */
const writesPerKill = 125;
/** ... and every so many times, the last one too, it loses its folder, so that another node must send it a snapshot. */
const killsPerWipe = 8;
const writersPerClient = 3;
/** One client gives up before a new leader can be there. */
const timeoutsMs = [60_000, 60_000, 60_000, 200];
const cutChance = 0.2;
/** A counter's value has at most 1,000 decimal digits. */
const digitsPerCounter = 500;

/** A write, and what its client was told. */
interface Write {
  readonly number: number;
  readonly kind: "increment" | "txn" | "create" | "put" | "refusedTxn" | "refusedPut";
  /** Key of its writer's puts. */
  readonly place: string;
  readonly isPatient: boolean;
  outcome: "ok" | "definite" | "unknown";
  code: string;
  /** Of a put: the value before. Of an increment: how often it had happened by then. */
  answer: string | null;
}

const kinds: readonly Write["kind"][] = ["increment", "txn", "create", "put", "put", "increment", "txn"];

/** Which kind a write is; one in 20 is refused. */
function kindOf(number: number): Write["kind"] {
  if (number % 20 === 19) return number % 40 === 19 ? "refusedTxn" : "refusedPut";
  return kinds[number % kinds.length]!;
}

function counterOf(number: number): string {
  return `counter/${Math.floor(number / digitsPerCounter)}`;
}

function unitOf(number: number): bigint {
  return 16n ** BigInt(number % digitsPerCounter);
}

/** Sends a write and returns what is to be noted of the answer. */
async function send(client: Client, { number, kind, place }: Write): Promise<string | null> {
  const [counter, unit] = [counterOf(number), unitOf(number)];
  const add = { op: "increment", key: counter, by: `${unit}` } as const;
  switch (kind) {
    case "increment":
      return `${(await client.increment(counter, unit)).value / unit % 16n}`;
    case "txn":
      await client.txn({ then: [add, { op: "increment", key: `own/${number}`, by: "1" }] });
      return null;
    case "create":
      await client.put(`new/${number}`, "1", { ifVersion: 0 });
      return null;
    case "put":
      return (await client.put(place, `${number}`, { previous: true })).previous?.value ?? null;
    case "refusedTxn":
      await client.txn({ then: [add, { op: "increment", key: "text", by: "1" }] });
      return null;
    case "refusedPut":
      await client.put(`new/${number}`, "1", { ifVersion: 1 });
      return null;
  }
}

/** What became of a run. */
interface Run {
  written: Write[];
  /** The keys in the end, the same on all nodes. */
  state: Map<string, string>;
  /** Lines with a write that clients sent, the first time or again. */
  sent: number;
  /** Entries in the log. */
  entries: number;
  cuts: Record<string, number>;
  kills: number;
  /** Snapshots that nodes took over from others. */
  installs: number;
}

/** Gives numbers out as far as it is allowed; a writer that wants more waits. */
class Numbers {
  begun = 0;
  allowed = 0;

  constructor(readonly end: number) {}

  async next(): Promise<number | null> {
    await until("a number is free", () => this.begun < this.allowed || this.begun === this.end);
    return this.begun < this.end ? this.begun++ : null;
  }
}

/** Writes through proxies, `count` times, while leaders are killed `kills` times. */
async function run(
  { count, kills, naive = false }: { count: number; kills: number; naive?: boolean },
): Promise<Run> {
  const result: Run = { written: [], state: new Map(), sent: 0, entries: 0, cuts: {}, kills: 0, installs: 0 };
  await withCluster({ nodes: 3, start: false, wrapper: smallSnapshots }, async (cluster) => {
    const random = new Random(Deno.env.get("KVAPP_SEED") ?? "retries");
    const proxies = await Promise.all(cluster.nodes.map((node) => RequestCutter.open(node.client)));
    const addresses = proxies.map((proxy) => proxy.address);
    const start = (id: number) => cluster.nodes[id - 1]!.start("--advertise-client", addresses[id - 1]!);
    for (const { id } of cluster.nodes) start(id);
    await cluster.leader();
    const options = timeoutsMs.map((timeoutMs) => ({ timeoutMs, sessions: !naive }));
    const clients = await Promise.all(options.map((one) => connect(addresses, one)));
    try {
      await clients[0]!.put("text", "no number");
      assertEquals(
        (await clients[0]!.members()).map(({ client }) => client),
        addresses,
        "there is no way past",
      );
      for (const proxy of proxies) {
        proxy.onRequest = (line) => {
          if (!/"op":"(members|session|ping)"/.test(line)) result.sent++;
          return random.chance(cutChance)
            ? { moment: random.pick(moments), reset: random.chance(0.5) }
            : null;
        };
      }
      const numbers = new Numbers(count);
      const writing = Promise.allSettled(
        clients.flatMap((client, i) =>
          Array.from({ length: writersPerClient }, (_, j) =>
            write(client, numbers, {
              place: `place/${i}/${j}`,
              isPatient: i < clients.length - 1,
              naive,
              result,
            }))
        ),
      );
      for (; result.kills < kills; result.kills++) {
        await killInTheMiddle(cluster, numbers, {
          part: count / kills,
          isWiped: (kills - result.kills) % killsPerWipe === 1,
          start,
        });
      }
      numbers.allowed = count;
      for (const ended of await writing) if (ended.status === "rejected") throw ended.reason;
    } finally {
      await Promise.all([...clients, ...proxies].map((one) => one.close()));
    }
    for (const moment of moments) {
      result.cuts[moment] = proxies.reduce((sum, { cuts }) => sum + cuts[moment], 0);
    }
    result.installs = cluster.nodes.reduce(
      (sum, { journal }) => sum + journal.split("took over the snapshot").length - 1,
      0,
    );
    result.entries = await cluster.settled();
    const [keys, ...others] = await Promise.all(cluster.nodes.map((node) => node.keys()));
    for (const other of others) assertEquals(other, keys, "all nodes have the same");
    for (const { key, value } of keys!) result.state.set(key, value);
  });
  return result;
}

/** Allows a part of the writes, and kills the leader when half of them have begun. */
async function killInTheMiddle(
  cluster: TestCluster,
  numbers: Numbers,
  { part, isWiped, start }: { part: number; isWiped: boolean; start(id: number): void },
): Promise<void> {
  const leader = await cluster.leader();
  numbers.allowed = Math.min(numbers.end, Math.ceil(numbers.allowed + part));
  await until("half of them have begun", () => numbers.begun > numbers.allowed - part / 2);
  await leader.kill();
  if (isWiped) await Deno.remove(leader.folder, { recursive: true });
  start(leader.id);
  await cluster.settled();
}

/** Writes until there are no more numbers. */
async function write(
  client: Client,
  numbers: Numbers,
  { place, isPatient, naive, result }: { place: string; isPatient: boolean; naive: boolean; result: Run },
): Promise<void> {
  for (let number = await numbers.next(); number !== null; number = await numbers.next()) {
    const write: Write = {
      number,
      kind: naive ? "increment" : kindOf(number),
      place,
      isPatient,
      outcome: "ok",
      code: "ok",
      answer: null,
    };
    do {
      try {
        write.answer = await send(client, write);
        write.outcome = write.code = "ok";
      } catch (error) {
        if (!(error instanceof ClientError)) throw error;
        write.outcome = error.definite ? "definite" : "unknown";
        write.code = error.code;
      }
    } while (naive && write.outcome === "unknown");
    result.written.push(write);
  }
}

/** How often a write happened, by what is there in the end. */
function timesOf(
  { number, kind, place }: Write,
  { state, seen }: { state: Map<string, string>; seen: string[] },
): number {
  switch (kind) {
    case "increment":
    case "txn":
    case "refusedTxn":
      return Number(BigInt(state.get(counterOf(number)) ?? 0) / unitOf(number) % 16n);
    case "create":
    case "refusedPut":
      return state.has(`new/${number}`) ? 1 : 0;
    case "put": // another put saw it, or it is still there; one that happened twice saw itself
      return seen.filter((value) => value === `${number}`).length +
        (state.get(place) === `${number}` ? 1 : 0);
  }
}

/** Every write that did not happen as often as its outcome says. */
function violationsOf({ written, state }: Run): string[] {
  const violations: string[] = [];
  const seen = written.flatMap(({ kind, answer }) => kind === "put" && answer !== null ? [answer] : []);
  /** By place: puts that nobody saw, less those that an unknown one may have seen. */
  const unseen = new Map<string, number>();
  for (const one of written) {
    const { number, kind, place, outcome, code, answer } = one;
    const times = timesOf(one, { state, seen });
    const isUnseen = kind === "put" && outcome === "ok" && times === 0;
    if (kind === "put" && outcome === "unknown") unseen.set(place, (unseen.get(place) ?? 0) - 1);
    if (isUnseen) unseen.set(place, (unseen.get(place) ?? 0) + 1);
    const least = outcome === "ok" && !isUnseen ? 1 : 0;
    const most = outcome === "definite" ? 0 : 1;
    if (times < least || times > most) violations.push(`${kind} ${number}, ${code}, happened ${times} times`);
    if (kind === "increment" && outcome === "ok" && answer !== "1") {
      violations.push(`${kind} ${number} was answered after it had happened ${answer} times`);
    }
    if (kind === "txn" && `${times}` !== (state.get(`own/${number}`) ?? "0")) {
      violations.push(`txn ${number} happened in part`);
    }
    const isRefused = kind === "refusedTxn" ? code === "notInteger" : code === "conditionFailed";
    if (one.isPatient && (kind.startsWith("refused") ? !isRefused : outcome !== "ok")) {
      violations.push(`${kind} ${number} of a patient client ended with ${code}`);
    }
  }
  for (const [place, count] of unseen) if (count > 0) violations.push(`${count} puts on ${place} are lost`);
  return violations;
}

/** The numbers of a run in one line. */
function summaryOf({ written, sent, entries, cuts, kills, installs }: Run): string {
  const outcomes: Record<string, number> = {};
  for (const { code } of written) outcomes[code] = (outcomes[code] ?? 0) + 1;
  return JSON.stringify({
    writes: written.length,
    sent,
    again: sent - written.length,
    entries,
    cuts,
    kills,
    installs,
    outcomes,
  });
}

Deno.test("writes through connections that are cut at every moment while leaders are killed happen once, or not at all when the error is definite", async () => {
  const result = await run({ count: writes, kills: Math.max(1, Math.floor(writes / writesPerKill)) });
  console.log(summaryOf(result));
  assertEquals(violationsOf(result), []);
  assertEquals(
    result.written.map(({ number }) => number).sort((a, b) => a - b),
    Array.from({ length: writes }, (_, i) => i),
  );
  assertGreater(result.sent - writes, writes / 10, "writes that were sent again");
  for (const moment of moments) assertGreater(result.cuts[moment]!, 0, moment);
  if (writes >= 1200) {
    assertGreater(result.installs, 0, "snapshots, with their sessions, that were taken over");
  }
});

Deno.test("writes that are sent again without a session happen twice, and the test of retries finds that", async () => {
  const result = await run({ count: 200, kills: 1, naive: true });
  const doubled = violationsOf(result).filter((text) => /happened [2-9] times$/.test(text));
  console.log(`${summaryOf(result)}, ${doubled.length} of them too often`);
  assertGreater(doubled.length, 5);
});
