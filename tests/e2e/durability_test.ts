/**
 * Acknowledged writes on real disks: through SIGKILL under load, and through disks that fail an fsync. The failures are
 * injected into the running process by strace; where that is missing, those tests are skipped and say so.
 *
 * @module
 */

import { assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { killUnderLoad } from "../../bench/kills.ts";
import { connect } from "../../mod.ts";
import { steady, type TestNode, until, withCluster } from "./cluster.ts";
import { LineConnection } from "./line_connection.ts";

const broken = 5;
const patienceMs = 10_000;

/** Why fsyncs cannot be made to fail here, or null when they can. */
const obstacle = await findObstacle();
const suffix = obstacle === null ? "" : ` (skipped: ${obstacle})`;

/** A strace at a running process, whose every fsync fails from now on; or the reason why that cannot be. */
async function failEveryFsync(pid: number): Promise<{ ended: Promise<unknown> } | string> {
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command("strace", {
      args: ["-f", "-p", `${pid}`, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "strace is missing, the package of that name has it";
    throw error;
  }
  const { promise: attached, resolve } = Promise.withResolvers<boolean>();
  let said = "";
  const read = async (): Promise<void> => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      said += text;
      if (/Process \d+ attached/.test(said)) resolve(true);
    }
    resolve(false);
  };
  const ended = Promise.all([read(), child.status]);
  if (await attached) return { ended };
  await ended;
  return `strace cannot trace a process: ${said.trim()}`;
}

async function findObstacle(): Promise<string | null> {
  if (Deno.build.os !== "linux") return "strace is a Linux program";
  const sleeper = new Deno.Command("sleep", { args: ["60"] }).spawn();
  const tracer = await failEveryFsync(sleeper.pid);
  sleeper.kill("SIGKILL");
  await sleeper.status;
  if (typeof tracer === "string") return tracer;
  await tracer.ended;
  return null;
}

/** The process that holds a node's folder. */
async function pidOf(node: TestNode): Promise<number> {
  return Number(await Deno.readTextFile(`${node.folder}/LOCK`));
}

/** From the time when it resolves, every fsync of a node fails. */
async function breakDisk(node: TestNode): Promise<{ ended: Promise<unknown> }> {
  const tracer = await failEveryFsync(await pidOf(node));
  if (typeof tracer === "string") throw new Error(tracer);
  return tracer;
}

Deno.test("nodes killed under load, one at a time and all at once, start again and have every acknowledged write", async () => {
  const { kills, starts, acknowledged, lost } = await killUnderLoad({ single: 5, all: 2 });
  assertEquals([kills, starts], [5 + 2 * 3, 3 + 5 + 2 * 3]);
  assertGreater(acknowledged, 100);
  assertEquals(lost, []);
});

Deno.test({
  name: `a node whose fsync fails acknowledges nothing afterwards and exits 5${suffix}`,
  ignore: obstacle !== null,
  async fn() {
    await withCluster({ nodes: 1, args: steady }, async (cluster) => {
      const node = await cluster.leader();
      using connection = await LineConnection.open(node.client);
      for (let i = 1; i <= 20; i++) {
        await connection.send([{ op: "put", key: `before ${i}`, value: `${i}` }]);
        assertEquals((await connection.reply()).ok, true);
      }
      const { ended: traced } = await breakDisk(node);
      await connection.send(
        Array.from({ length: 50 }, (_, i) => ({ op: "put", key: `after ${i}`, value: "1" })),
      );
      const replies = await restOf(connection);
      assertEquals(replies.includes('"ok":true'), false, replies);
      const { code, stderr } = await node.end();
      assertEquals(code, broken, stderr);
      assertStringIncludes(stderr, "/log/");
      await traced;
      node.start();
      await cluster.settled();
      const keys = (await node.keys()).map(({ key }) => key).filter((key) => key.startsWith("before"));
      assertEquals(keys.length, 20, "what was acknowledged is there again");
    });
  },
});

/** What still comes, however the connection ends. */
async function restOf(connection: LineConnection): Promise<string> {
  try {
    return await connection.rest();
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionReset) return "";
    throw error;
  }
}

for (const role of ["leader", "follower"]) {
  Deno.test({
    name: `a ${role} whose fsync fails exits 5, the others go on and nothing is lost${suffix}`,
    ignore: obstacle !== null,
    async fn() {
      await withCluster({ nodes: 3, args: steady }, async (cluster) => {
        const leader = await cluster.leader();
        const node = role === "leader" ? leader : cluster.nodes.find((one) => one !== leader)!;
        await using client = await connect(cluster.addresses, { timeoutMs: patienceMs });
        const put = async (from: number, to: number): Promise<void> => {
          for (let i = from; i < to; i++) await client.put(`k${i}`, `${i}`);
        };
        await put(0, 50);
        const { ended: traced } = await breakDisk(node);
        await put(50, 100);
        const { code, stderr } = await node.end();
        assertEquals(code, broken, stderr);
        await traced;
        node.start();
        await until("the node is back", async () => (await node.status())?.leader ?? null);
        await cluster.settled();
        const expected = Array.from({ length: 100 }, (_, i) => [`k${i}`, `${i}`]).sort();
        for (const one of cluster.nodes) {
          const held = (await one.keys()).map(({ key, value }) => [key, value]);
          assertEquals(held.sort(), expected, `node ${one.id}`);
        }
      });
    },
  });
}
