/**
 * Five nodes, of which one or two are cut off: both ways or one, in silence, for a while or by reset, with clients that
 * still reach all of them. `KVAPP_PARTITIONS=5` tries every shape so often, instead of some of them once.
 *
 * @module
 */

import { assertEquals, assertLessOrEqual } from "@std/assert";
import type { ChaosNode } from "../../lib/chaos/cluster.ts";
import { between } from "../../lib/chaos/peer_network.ts";
import type { Conditions } from "../../lib/chaos/tcp_proxy.ts";
import { Connection, ConnectionLost, type ReplyLine } from "../../lib/client/connection.ts";
import { firstWrite, pause, type Trial, untilAgreed, untilWrites, withTrial } from "./chaos_trial.ts";
import { until } from "./cluster.ts";

const rounds = Number(Deno.env.get("KVAPP_PARTITIONS") ?? 0);
const electionTimeoutMaxMs = 600;
const args = ["--election-timeout-min", "300", "--election-timeout-max", `${electionTimeoutMaxMs}`];
const pollMs = 20;
/** In units of the longest election timeout: what a quiet machine keeps within 5, and a busy one within this. */
const ratioMax = 20;

/** Who is cut off; which bytes; and what befalls them. */
interface Shape {
  leader: boolean;
  followers: number;
  way: "both ways" | "what comes in" | "what goes out";
  fate: Exclude<Conditions["fate"], "pass">;
}

const shapes: Shape[] = [[true, 0], [false, 1], [true, 1], [false, 2]].flatMap(([leader, followers]) => {
  const who = { leader: leader as boolean, followers: followers as number };
  return (["both ways", "what comes in", "what goes out"] as const).flatMap((way) => [
    { ...who, way, fate: "lose" as const },
    { ...who, way, fate: "hold" as const },
    ...way === "both ways" ? [{ ...who, way, fate: "reset" as const }] : [],
  ]);
});
/** One for each place, way and fate at least. */
const sample = [0, 3, 5, 9, 16, 20, 22].map((i) => shapes[i]!);

/** Asks a node again and again; what it answered that was asked and answered while the signal stood. */
async function answersOf(node: ChaosNode, request: object, signal: AbortSignal): Promise<ReplyLine[]> {
  const replies: ReplyLine[] = [];
  const connection = await Connection.open(node.client, signal);
  const close = (): void => void connection.close();
  signal.addEventListener("abort", close);
  try {
    while (!signal.aborted) {
      const reply = await connection.request({ ...request });
      if (!signal.aborted) replies.push(reply);
      await pause(pollMs);
    }
  } catch (error) {
    if (!(error instanceof ConnectionLost) || !signal.aborted) throw error;
  } finally {
    signal.removeEventListener("abort", close);
    await connection.close();
  }
  return replies;
}

const write = { op: "put", key: "partition", value: "1" };
const read = { op: "get", key: "partition" };

/** Cuts the cluster in the shape, and mends it; how long both took to be noticed, in election timeouts. */
async function cutAndMend(trial: Trial, shape: Shape): Promise<{ available: number; agreed: number }> {
  const { cluster, random } = trial;
  await untilWrites(trial, 5);
  const leader = await cluster.leader();
  const followers = random.shuffled(cluster.nodes.filter((node) => node !== leader));
  const minority = followers.slice(0, shape.followers);
  if (shape.leader) minority.push(leader);
  const majority = cluster.nodes.filter((node) => !minority.includes(node));
  const ids = minority.map(({ id }) => id);
  const ways = between(ids, majority.map(({ id }) => id)).filter(([from]) =>
    shape.way === "both ways" || ids.includes(from) === (shape.way === "what goes out")
  );
  const stop = new AbortController();
  cluster.network.set("cut", ways, { fate: shape.fate });
  const asking = Promise.all(
    minority.flatMap((node) => [write, read].map((what) => answersOf(node, what, stop.signal))),
  );
  asking.catch(() => null); // it is awaited below, when the rest is over
  let available = 0;
  let roles: string[] = [];
  try {
    available = await firstWrite(majority, ratioMax * electionTimeoutMaxMs);
    await pause(electionTimeoutMaxMs); // long enough for a leader without followers to step down
    roles = await Promise.all(
      minority.map((node) =>
        until(`node ${node.id} says what it is`, async () => (await node.status())?.role ?? null)
      ),
    );
  } finally {
    stop.abort();
    await asking;
  }
  cluster.network.set("cut", [], {});
  const answers = (await asking).flat();
  assertEquals(answers.filter(({ ok }) => ok), [], "the few answer nothing that needs the many");
  assertEquals(roles.filter((role) => role === "leader"), [], "and none of them leads any more");
  const agreed = await untilAgreed(trial);
  return { available: available / electionTimeoutMaxMs, agreed: agreed / electionTimeoutMaxMs };
}

Deno.test("a few nodes that are cut off answer no read and no write, the many go on, and all agree once it is mended", async () => {
  await withTrial({ nodes: 5, args, clients: 2 }, async (trial) => {
    const plan = rounds === 0 ? sample : Array.from({ length: rounds }, () => shapes).flat();
    const worst = { available: 0, agreed: 0 };
    for (const shape of plan) {
      const { available, agreed } = await cutAndMend(trial, shape);
      const who = [...shape.leader ? ["leader"] : [], ...Array(shape.followers).fill("follower")].join(
        " and ",
      );
      console.error(
        `${who}, ${shape.way}, ${shape.fate}: a write after ${available.toFixed(2)} election timeouts, ` +
          `one leader ${agreed.toFixed(2)} after the end`,
      );
      worst.available = Math.max(worst.available, available);
      worst.agreed = Math.max(worst.agreed, agreed);
      assertLessOrEqual(Math.max(available, agreed), ratioMax);
    }
    console.error(`${plan.length} partitions, at worst ${JSON.stringify(worst)}`);
  });
});
