/**
 * Nodes that are denied what they run on. Time: one, two or all of them are frozen, by the cgroup freezer where there is
 * one (else by SIGSTOP), or one shares a core with a busy process that has some 60 times its weight. Descriptors: a
 * crowd takes all that there are. `KVAPP_FREEZE_SECONDS=10 KVAPP_STARVE_SECONDS=60` lets each last so long.
 *
 * @module
 */

import { assertEquals, assertGreater, assertLessOrEqual } from "@std/assert";
import type { ChaosNode } from "../../lib/chaos/cluster.ts";
import { Leaders } from "../../lib/chaos/leaders.ts";
import { kvappWords } from "../cli/processes.ts";
import { pause, type Trial, untilAgreed, untilWrites, withTrial } from "./chaos_trial.ts";
import { steady, until } from "./cluster.ts";
import { freeze } from "./freezer.ts";
import { LineConnection } from "./line_connection.ts";

const freezeSeconds = Number(Deno.env.get("KVAPP_FREEZE_SECONDS") ?? 1);
const starveSeconds = Number(Deno.env.get("KVAPP_STARVE_SECONDS") ?? 3);
const electionTimeoutMaxMs = 600;
const args = ["--election-timeout-min", "300", "--election-timeout-max", `${electionTimeoutMaxMs}`];
const ignore = Deno.build.os !== "linux";

/** The leader, then the others. */
async function leaderFirst({ cluster }: Trial): Promise<ChaosNode[]> {
  const leader = await cluster.leader();
  return [leader, ...cluster.nodes.filter((node) => node !== leader)];
}

Deno.test({
  name: "nodes that are frozen, one, two or all, answer nothing stale afterwards and follow one leader soon",
  ignore,
  fn: () =>
    withTrial({ args }, async (trial) => {
      for (const count of [1, 2, 3]) {
        await untilWrites(trial, 10);
        const victims = (await leaderFirst(trial)).slice(0, count);
        const before = (await victims[0]!.status())!.term;
        const from = performance.now();
        {
          using frozen = await freeze(victims.map((node) => node.pid!));
          await pause(freezeSeconds * 1000);
          console.error(`${count} frozen by ${frozen.by} for ${Math.round(performance.now() - from)} ms`);
        }
        const ms = await untilAgreed(trial);
        console.error(`one leader ${(ms / electionTimeoutMaxMs).toFixed(1)} election timeouts later`);
        const { term } = (await victims[0]!.status())!;
        if (count === 1) assertGreater(term, before, "the others have elected another leader meanwhile");
        assertLessOrEqual(ms, 20 * electionTimeoutMaxMs); // a few on a machine that does nothing else
      }
    }),
});

/** Runs a command that must succeed. */
async function run(command: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args, stdout: "null" }).output();
  if (!success) throw new Error(`${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

/** Leaves a node the crumbs of one core, with all its threads, until it is started anew. */
async function starve(node: ChaosNode): Promise<AsyncDisposable> {
  await run("taskset", "-a", "-c", "-p", "0", `${node.pid}`);
  const threads = Array.from(Deno.readDirSync(`/proc/${node.pid}/task`), ({ name }) => name);
  await run("renice", "-n", "19", "-p", ...threads);
  const busy = new Deno.Command("taskset", { args: ["-c", "0", "sh", "-c", "while :; do :; done"] }).spawn();
  return {
    async [Symbol.asyncDispose]() {
      busy.kill("SIGKILL");
      await busy.status;
      await node.kill();
      node.start();
    },
  };
}

Deno.test({
  name:
    "a cluster with a starved node, and clients that never pause, changes its leader at most once a minute",
  ignore,
  fn: () =>
    withTrial({ args: steady, clients: 16 }, async (trial) => {
      for (const which of [1, 0]) { // a follower, the leader
        await untilWrites(trial, 10);
        const victim = (await leaderFirst(trial))[which]!;
        await using _ = await starve(victim);
        if (which === 0) await pause(2 * Number(steady[3])); // it may lose its office, once
        const leaders = new Leaders();
        const stop = new AbortController();
        const watching = leaders.watch(() => trial.cluster.statuses(), stop.signal);
        const before = trial.clients.counts.acknowledgedWrites;
        await pause(starveSeconds * 1000);
        stop.abort();
        await watching;
        const writes = trial.clients.counts.acknowledgedWrites - before;
        console.error(
          `${which === 0 ? "leader" : "follower"} starved: ${leaders.changes} changes, ${writes} writes`,
        );
        assertLessOrEqual(leaders.changes, Math.max(1, Math.ceil(starveSeconds / 60)));
        if (which === 1) assertGreater(writes, 0); // a leader that gets nothing done may keep its office
      }
    }),
});

/** Takes so many connections to an address and keeps them; those that answer a request, and how. */
async function crowd(
  address: string,
  size: number,
  request: object,
): Promise<{ open: LineConnection[]; answers: string[] }> {
  const open = await Promise.all(Array.from({ length: size }, () => LineConnection.open(address)));
  const answers = await Promise.all(open.map(async (connection) => {
    try {
      await connection.send([request]);
      const reply = await connection.reply();
      return reply.ok ? "ok" : reply.error?.code ?? "refused";
    } catch {
      return "closed";
    }
  }));
  return { open, answers };
}

Deno.test({
  name:
    "a node with 64 descriptors that 500 clients and 500 strangers connect to serves a few and keeps its place",
  ignore,
  fn: () =>
    withTrial({
      args: steady,
      clients: 1,
      program: ["sh", "-c", `ulimit -n 64 && exec "$0" "$@"`, ...kvappWords],
    }, async (trial) => {
      const { cluster } = trial;
      await untilWrites(trial, 10);
      const [leader, follower] = await leaderFirst(trial);
      const { term } = (await leader!.status())!;
      for (const node of [leader!, follower!]) {
        const [host, port] = node.client.split(":");
        const strangers = await crowd(`${host}:${Number(port) - 1000}`, 500, { type: "timeoutNow" });
        const clients = await crowd(node.client, 500, { op: "get", key: "k", consistency: "stale" });
        const count = (answer: string): number => clients.answers.filter((it) => it === answer).length;
        assertLessOrEqual(count("ok"), 4);
        assertGreater(count("closed") + count("busy"), 490);
        for (const connection of [...clients.open, ...strangers.open]) connection.close();
        await until("others are served again", async () => (await node.status()) !== null);
      }
      const statuses = await cluster.statuses();
      assertEquals(statuses.map((it) => it?.term), [term, term, term], "no election");
      assertEquals(cluster.ends, []);
    }),
});
