/**
 * Hostile and wrong peers on the raft ports of real nodes (reliability.md G1 to G6), with and without a secret: whoever
 * is no member changes nothing, and a member that lies is refused. The cluster serves all the time under one leader.
 *
 * @module
 */

import { assert, assertEquals, assertLess, assertMatch, assertStringIncludes } from "@std/assert";
import { mebibytesOf } from "../../bench/process_figures.ts";
import { Random } from "../sim/random.ts";
import { steady, type TestCluster, type TestNode, until, withCluster } from "./cluster.ts";
import {
  enter,
  helloAs,
  impossibleLogs,
  type Line,
  reactionOf,
  unaskedAnswers,
  wrongEnvelopes,
} from "./hostile_peer.ts";
import { exchange, LineConnection } from "./line_connection.ts";

const secret = "a secret of sixteen bytes or more";
const mebibytesMax = 64, writesMin = 10, writeMsMax = 5000;
const random = new Random("hostile peers");

/** Runs an attack on a cluster that is written to meanwhile, and checks that nobody but the writer changed anything. */
async function withVictims(
  { secret, down = false }: { secret: string | null; down?: boolean },
  attack: (victims: TestNode[], cluster: TestCluster) => Promise<void>,
): Promise<void> {
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, `${secret}\n`);
  const args = [...steady, ...(secret === null ? [] : ["--secret-file", file])];
  try {
    await withCluster({ nodes: 3, args }, async (cluster) => {
      const leader = await cluster.leader();
      await cluster.settled();
      const absent = cluster.nodes.find((node) => node !== leader)!;
      if (down) await absent.kill();
      const victims = cluster.nodes.filter((node) => !down || node !== absent);
      const before = await Promise.all(victims.map(factsOf));
      const writer = writeTo(leader);
      await attack(victims, cluster).finally(() => writer.stop());
      const written = await writer.ended;
      for (const [i, node] of victims.entries()) await assertUnchanged(node, before[i]!, written);
    });
  } finally {
    await Deno.remove(file);
  }
}

interface Facts {
  term: unknown;
  role: unknown;
  lastLogIndex: number;
  connected: unknown[];
}

/** What a stranger must not change of a node. */
async function factsOf(node: TestNode): Promise<Facts & { mebibytes: number }> {
  const { term, role, lastLogIndex, peers } = (await node.status())!;
  const connected = (peers as { id: number; connected: boolean }[]).filter((peer) => peer.connected);
  const mebibytes = (await mebibytesOf(node))?.now ?? 0;
  return {
    term,
    role,
    lastLogIndex: lastLogIndex as number,
    connected: connected.map(({ id }) => id),
    mebibytes,
  };
}

async function assertUnchanged(
  node: TestNode,
  { mebibytes, ...before }: Facts & { mebibytes: number },
  written: number,
): Promise<void> {
  const lastLogIndex = before.lastLogIndex + written;
  await until("all is applied", async () => (await node.status())!.appliedIndex === lastLogIndex);
  const { mebibytes: _, ...now } = await factsOf(node);
  assertEquals(now, { ...before, lastLogIndex }, node.journal.slice(-3000));
  await until(
    `node ${node.id} needs ${mebibytes} MiB again`,
    async () => (await factsOf(node)).mebibytes <= mebibytes + mebibytesMax,
  );
}

/**
 * Writes one key up to twenty times a second, and a few times at least, however soon it is stopped; `ended` tells how often,
 * and fails with the first failure.
 */
function writeTo(leader: TestNode): { stop(): void; ended: Promise<number> } {
  let isOver = false;
  const ended = (async () => {
    let count = 0;
    for (; !isOver || count < writesMin; count++) {
      const before = performance.now();
      const [reply] = await exchange(leader.client, [{ op: "put", key: "canary", value: `${count}` }]);
      assertEquals(reply!.ok, true, JSON.stringify(reply));
      assertLess(performance.now() - before, writeMsMax, "the writer had to wait");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return count;
  })();
  ended.catch(() => isOver = true); // whoever waits for it is told
  return { ended, stop: () => isOver = true };
}

/** Texts and bytes that are no line of the protocol. */
function* garbage(): Generator<string | Uint8Array> {
  yield* [
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "SSH-2.0-OpenSSH_9.2\r\n",
    "\n\n\n",
    "\0\0\0\0\n",
    '{"type":"hello"}\n',
  ];
  yield* [
    '{"op":"get","key":"a"}\n',
    '{"type":"__proto__"}\n',
    "[".repeat(60_000) + "\n",
    '{"a":'.repeat(9000) + "\n",
  ];
  yield Uint8Array.of(0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x0a);
  for (let i = 0; i < 20; i++) {
    yield Uint8Array.from({ length: 1 + random.below(2000) }, () => random.below(256)).fill(10, -1);
  }
}

/** Many at once that come and go, or come and say nothing. */
async function storm(node: TestNode): Promise<void> {
  for (let round = 0; round < 8; round++) {
    const connections = await Promise.all(Array.from({ length: 50 }, () => LineConnection.open(node.raft)));
    const half = connections.map((connection, i) => i % 2 === 0 ? connection.send('{"type":"hel') : null);
    await Promise.allSettled(half); // the oldest are closed to make room for others
    for (const connection of connections) connection.close();
  }
}

async function attackAsStranger(victim: TestNode): Promise<void> {
  const dial = () => LineConnection.open(victim.raft);
  for (const bytes of garbage()) await reactionOf(await dial(), bytes);
  assertStringIncludes(await reactionOf(await dial(), "x".repeat(70_000)), "more than 65536 bytes");
  await reactionOf(await dial(), '{"type":"ping"}\n'.repeat(20_000) + "enough\n");
  await storm(victim);
}

async function refusalOf(victim: TestNode, ...lines: (Line | string)[]): Promise<string> {
  return await reactionOf(await LineConnection.open(victim.raft), textOf(lines));
}

function textOf(lines: readonly (Line | string)[]): string {
  return lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join("");
}

Deno.test("the raft port with a secret makes nothing of anybody who has none, whatever it knows otherwise (reliability.md G1, G2, G5, G6)", async () => {
  await withVictims({ secret }, async (victims, cluster) => {
    await Promise.all(victims.map(attackAsStranger));
    await reactionOf(await LineConnection.open(victims[0]!.raft), new Uint8Array(160 << 20).fill(120));
    for (const victim of victims) {
      const member = cluster.nodes.find((node) => node !== victim)!;
      const hello = await helloAs(member, cluster); // all that its folder knows of it
      assertStringIncludes(await refusalOf(victim, hello), `node ${member.id} has none`);
      await assertRejects(enter(victim, hello, `${secret}!`), "different secrets");
      const { term, lastLogIndex } = (await victim.status())!;
      const challenge = "0".repeat(32);
      for (const fields of [{}, { incarnation: "f".repeat(16), admitted: 0 }, { starts: 2 ** 53 - 1 }]) {
        const proof = { type: "proof", proof: "0".repeat(64) };
        assertStringIncludes(
          await refusalOf(victim, { ...hello, ...fields, challenge }, proof),
          "different secrets",
        );
      }
      assertStringIncludes(await refusalOf(victim, { ...hello, nodeId: 9, challenge }), "node 9 is not in");
      assertStringIncludes(
        await refusalOf(victim, { ...hello, nodeId: victim.id, challenge }),
        "it calls itself",
      );
      const place = { from: member.id, to: victim.id, term: term as number, index: lastLogIndex as number };
      for (const message of [...wrongEnvelopes(place), ...impossibleLogs(place), ...unaskedAnswers(place)]) {
        assertStringIncludes(await refusalOf(victim, { ...hello, challenge }, message), '"refused"');
      }
      const told = victim.journal.split("\n").filter((line) =>
        line.includes("WARN") && line.includes("secret")
      );
      assertEquals(told.length, new Set(told.map((line) => line.slice(13))).size, told.join("\n"));
    }
  });
});

Deno.test("the raft port without a secret refuses who cannot be a member (reliability.md G1, G5, G6)", async () => {
  await withVictims({ secret: null }, async (victims, cluster) => {
    await Promise.all(victims.map(attackAsStranger));
    await reactionOf(await LineConnection.open(victims[0]!.raft), new Uint8Array(160 << 20).fill(120));
    for (const victim of victims) {
      const member = cluster.nodes.find((node) => node !== victim)!;
      const hello = await helloAs(member, cluster);
      const { term, lastLogIndex } = (await victim.status())!;
      const forged: [Line, string][] = [
        [{ clusterId: "0000000000000000" }, "it belongs to another cluster"],
        [{ incarnation: "f".repeat(16) }, "was replaced by another one"],
        [{ nodeId: victim.id }, "it calls itself"],
        [{ nodeId: 9 }, "node 9 is not in"],
        [{ starts: 1 }, "two processes run on copies of one data folder"],
        [{ challenge: "0".repeat(32) }, `node ${victim.id} has none`],
        [{ versions: { min: 2, max: 3 } }, "protocol versions 2 to 3"],
      ];
      for (const [fields, reason] of forged) {
        const place = { from: member.id, to: victim.id, term: term as number, index: lastLogIndex as number };
        for (const message of unaskedAnswers(place)) {
          assertStringIncludes(await refusalOf(victim, { ...hello, ...fields }, message), reason);
        }
      }
    }
  });
});

for (const its of [secret, null]) {
  Deno.test(`the raft port ${its === null ? "without" : "with"} a secret survives a member that lies, and adopts no term near 2^53 (reliability.md G2 to G6)`, async () => {
    await withVictims({ secret: its, down: true }, async (victims, cluster) => {
      const liar = cluster.nodes.find((node) => !victims.includes(node))!;
      const hello = await helloAs(liar, cluster);
      for (const victim of victims) {
        const { term, lastLogIndex } = (await victim.status())!;
        const place = { from: liar.id, to: victim.id, term: term as number, index: lastLogIndex as number };
        const tell = async (...lines: (Line | string)[]) =>
          await reactionOf(await enter(victim, hello, its), textOf(lines));
        for (const message of [...wrongEnvelopes(place), ...impossibleLogs(place)]) {
          assertMatch(await tell(message), /"refused"/, textOf([message]));
        }
        assertStringIncludes(await tell(...unaskedAnswers(place), "and then"), "the line is not JSON");
        const endless = await reactionOf(await enter(victim, hello, its), "x".repeat(70_000));
        assertStringIncludes(endless, "a line has more than 65536 bytes");
        assertMatch(
          victim.journal,
          new RegExp(`WARN  a message of node ${liar.id} is refused: term \\d+ is too far`),
        );
      }
    });
  });
}

async function assertRejects(promise: Promise<unknown>, part: string): Promise<void> {
  try {
    await promise;
  } catch (error) {
    assertStringIncludes(String(error), part);
    return;
  }
  assert(false, `it must have been refused: ${part}`);
}
