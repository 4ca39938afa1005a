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
const starveSeconds = Number(Deno.env.get("KVAPP_STARVE_SECONDS") ?? 2);
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
        const [leader, ...followers] = await leaderFirst(trial);
        const victims = [leader!, ...followers].slice(0, count);
        const from = performance.now();
        {
          using frozen = await freeze(victims.map((node) => node.pid!));
          await pause(freezeSeconds * 1000);
          if (count === 1) await until("one of the others leads", () => leads(followers));
          console.error(`${count} frozen by ${frozen.by} for ${Math.round(performance.now() - from)} ms`);
        }
        const ms = await untilAgreed(trial);
        console.error(`one leader ${(ms / electionTimeoutMaxMs).toFixed(1)} election timeouts later`);
        assertLessOrEqual(ms, 20 * electionTimeoutMaxMs); // a few on a machine that does nothing else
      }
    }),
});

/** Whether one of these leads. */
async function leads(nodes: readonly ChaosNode[]): Promise<boolean> {
  const statuses = await Promise.all(nodes.map((node) => node.status()));
  return statuses.some((it) => it?.role === "leader");
}

/** Runs a command that must succeed. */
async function run(command: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args, stdout: "null" }).output();
  if (!success) throw new Error(`${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

/** Leaves a node the crumbs of one core, with all its threads, until it is started anew. */
async function starve(node: ChaosNode): Promise<AsyncDisposable> {
  const [, core] = /^Cpus_allowed_list:\s*(\d+)/m.exec(Deno.readTextFileSync("/proc/self/status"))!;
  await run("taskset", "-a", "-c", "-p", core!, `${node.pid}`);
  const threads = Array.from(Deno.readDirSync(`/proc/${node.pid}/task`), ({ name }) => name);
  await run("renice", "-n", "19", "-p", `${node.pid}`);
  // Some of the pool may have ended since.
  await Promise.all(
    threads.map((id) =>
      new Deno.Command("renice", { args: ["-n", "19", "-p", id], stderr: "null" }).output()
    ),
  );
  const untilOrphaned = `while kill -0 ${Deno.pid}; do :; done`; // whoever is killed leaves no load behind
  const busy = new Deno.Command("taskset", { args: ["-c", core!, "sh", "-c", untilOrphaned], stderr: "null" })
    .spawn();
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

/** Takes so many connections to an address. */
function crowd(address: string, size: number): Promise<LineConnection[]> {
  return Promise.all(Array.from({ length: size }, () => LineConnection.open(address)));
}

/** How a node answers a request on each of the connections: "ok", an error's code or "closed". */
function answersOn(connections: readonly LineConnection[], request: object): Promise<string[]> {
  return Promise.all(connections.map(async (connection) => {
    try {
      await connection.send([request]);
      const reply = await connection.reply();
      return reply.error?.code ?? "ok";
    } catch {
      return "closed";
    }
  }));
}

Deno.test({
  name:
    "a node with 64 descriptors serves a few of 500 clients beside 500 strangers, keeps its place and opens its files",
  ignore,
  fn: () =>
    withTrial({
      args: steady,
      clients: 1,
      program: ["sh", "-c", `ulimit -n 64 && exec "$0" "$@"`, ...kvappWords],
    }, async (trial) => {
      const { cluster } = trial;
      await untilWrites(trial, 10);
      const [leader, follower] = await leaderFirst(trial) as [ChaosNode, ChaosNode];
      const { term } = (await leader.status())!;
      for (const node of [leader, follower]) {
        const [host, port] = node.client.split(":");
        const all = await crowd(`${host}:${Number(port) - 1000}`, 500);
        const clients = await crowd(node.client, 500);
        all.push(...clients);
        const answers = await answersOn(clients, { op: "get", key: "k", consistency: "stale" });
        const count = (answer: string): number => answers.filter((it) => it === answer).length;
        assertGreater(count("ok"), 0);
        assertLessOrEqual(count("ok"), 4);
        assertGreater(count("closed") + count("busy"), 490);
        assertEquals((await cluster.statuses()).map((it) => it?.term), [term, term, term], "no election");
        if (node === follower) { // which must write the new term to a file while the crowd stands
          await leader.kill();
          await until("the others have a leader", async () => {
            const status = await node.status();
            return status !== null && status.term > term && status.leader !== null;
          });
          leader.start();
        }
        for (const connection of all) connection.close();
        await until("others are served again", async () => {
          using late = await LineConnection.open(node.client);
          return (await answersOn([late], { op: "ping" }))[0] === "ok";
        });
      }
      assertEquals(cluster.ends, []);
    }),
});
