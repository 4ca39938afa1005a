/**
 * Both ports of real nodes, and what people and programs send to them that is wrong. The node answers or closes, and
 * goes on serving everybody else.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { defaultLimits } from "../../lib/server/options.ts";
import { steady, type TestNode, withCluster } from "./cluster.ts";
import { exchange, LineConnection, type ReplyLine } from "./line_connection.ts";

/** A test with one node that leads itself. */
async function withNode(body: (node: TestNode) => Promise<void>): Promise<void> {
  await withCluster({ nodes: 1 }, async (cluster) => await body(await cluster.leader()));
}

/** The answers to everything that was sent, in order; then the connection is used once more. */
async function answers(node: TestNode, lines: readonly (string | Uint8Array)[]): Promise<ReplyLine[]> {
  using connection = await LineConnection.open(node.client);
  const replies: ReplyLine[] = [];
  for (const line of lines) await connection.send(line);
  for (const _ of lines) replies.push(await connection.reply());
  await connection.send([{ op: "ping", id: "still here" }]);
  assertEquals(await connection.reply(), { ok: true, id: "still here" });
  return replies;
}

const put = `{"op":"put","key":"k","value":"v"`;

/** Lines that are no request, and the code of the answer. */
const badLines: readonly (readonly [line: string | Uint8Array, code: string])[] = [
  ["get color\n", "badRequest"],
  ["\n", "badRequest"],
  ["\r\n", "badRequest"],
  ["   \n", "badRequest"],
  ["\0\0\0\0\n", "badRequest"],
  ["{\n", "badRequest"],
  [`${put},}\n`, "badRequest"],
  [`${put}} ${put}}\n`, "badRequest"],
  [`{'op':'ping'}\n`, "badRequest"],
  ['\u{FEFF}{"op":"ping"}\n', "badRequest"],
  ["[]\n", "badRequest"],
  [`[{"op":"ping"}]\n`, "badRequest"],
  ["null\n", "badRequest"],
  ["42\n", "badRequest"],
  ['"ping"\n', "badRequest"],
  ["{}\n", "badRequest"],
  [`{"op":7}\n`, "badRequest"],
  [`{"op":"gte","key":"k"}\n`, "unknownOperation"],
  [`{"op":"__proto__"}\n`, "unknownOperation"],
  [`{"op":"constructor"}\n`, "unknownOperation"],
  [`{"op":"put","key":"k"}\n`, "badRequest"],
  [`{"op":"put","key":7,"value":"v"}\n`, "badRequest"],
  [`{"op":"put","key":"","value":"v"}\n`, "badRequest"],
  [`{"op":"put","key":"k","value":null}\n`, "badRequest"],
  [`{"op":"put","key":"k","value":["v"]}\n`, "badRequest"],
  [`{"op":"put","key":"k","value":"\\ud800"}\n`, "badRequest"],
  [`${put},"ifVresion":0}\n`, "badRequest"],
  [`${put},"ifVersion":-1}\n`, "badRequest"],
  [`${put},"ifVersion":0.5}\n`, "badRequest"],
  [`${put},"ifVersion":1e300}\n`, "badRequest"],
  [`${put},"session":"1"}\n`, "badRequest"],
  [`${put},"__proto__":{"x":1}}\n`, "badRequest"],
  [`${put},"id":{}}\n`, "badRequest"],
  [`${put},"id":1.5}\n`, "badRequest"],
  [`${put},"id":"${"x".repeat(257)}"}\n`, "tooLarge"],
  [`{"op":"put","key":"${"k".repeat(4097)}","value":"v"}\n`, "tooLarge"],
  [`{"op":"put","key":"k","value":"${"v".repeat((1 << 20) + 1)}"}\n`, "tooLarge"],
  [`{"op":"list","limit":0}\n`, "badRequest"],
  [`{"op":"get","key":"k","consistency":"strong"}\n`, "badRequest"],
  ["[".repeat(1000) + "\n", "badRequest"],
  ["[".repeat(1_000_000) + "\n", "tooLarge"],
  [`{"a":`.repeat(100_000) + "\n", "tooLarge"],
  [Uint8Array.of(0xff, 0xfe, 0x00, 0x0a), "badRequest"],
  [Uint8Array.of(...new TextEncoder().encode(`${put.slice(0, -1)}`), 0xc3, 0x22, 0x7d, 0x0a), "badRequest"],
  [Uint8Array.of(0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x0a), "badRequest"],
];

Deno.test("the client port answers every malformed line in its place, and the connection stays open", async () => {
  await withNode(async (node) => {
    const replies = await answers(node, badLines.map(([line]) => line));
    for (const [i, [line, code]] of badLines.entries()) {
      const { ok, error } = replies[i]!;
      const shown = typeof line === "string" ? JSON.stringify(line.slice(0, 60)) : String(line);
      assertEquals([ok, error?.code, error?.definite], [false, code, true], `${shown}: ${error?.message}`);
      assert(error!.message.length < 1000, `the answer to ${shown} must be readable`);
      if (code === "badRequest") assertStringIncludes(error!.message, `this works: {"op":"`, shown);
    }
    const [{ found }] = await exchange(node.client, [{ op: "get", key: "k" }]) as [ReplyLine];
    assertEquals(found, false, "none of them may have had an effect");
  });
});

Deno.test("the client port answers in the order of the requests, with the id of each", async () => {
  await withNode(async (node) => {
    const requests: object[] = [];
    for (let i = 0; i < 300; i++) {
      // writes and reads wait for the disk and the leader's confirmation; the others could be answered at once
      requests.push({ op: "put", key: "n", value: `${i}`, id: i });
      requests.push({ op: "get", key: "n", id: `get ${i}` }, { op: "ping", id: -i - 1 }, {
        op: "nonsense",
        id: i,
      });
    }
    const replies = await exchange(node.client, requests);
    assertEquals(replies.map(({ id }) => id), requests.map((request) => (request as ReplyLine).id));
    const values = replies.filter(({ found }) => found).map(({ value }) => Number(value));
    assertEquals(values, Array.from({ length: 300 }, (_, i) => i), "a read sees the writes before it");
  });
});

Deno.test("the client port takes lines in any pieces, with either line end, and a last one without any", async () => {
  await withNode(async (node) => {
    using connection = await LineConnection.open(node.client);
    const text = `${put},"id":"caf\u{e9} \u{1F642}"}\r\n{"op":"get","key":"k"}\r\n`;
    for (const byte of new TextEncoder().encode(text)) await connection.send(Uint8Array.of(byte));
    assertEquals((await connection.reply()).id, "caf\u{e9} \u{1F642}");
    assertEquals((await connection.reply()).value, "v");
    await connection.send(`{"op":"get","key":"k","id":"last"}`);
    await connection.closeWrite();
    const { id, value } = await connection.reply();
    assertEquals([id, value], ["last", "v"]);
    assertEquals(await connection.line(), null, "then the node closes too");
  });
});

Deno.test("the client port answers a line over its limit and closes, and speaks HTTP only to say that it does not", async () => {
  await withNode(async (node) => {
    using long = await LineConnection.open(node.client);
    const half = new Uint8Array(defaultLimits.requestLineBytesMax / 2 + 1).fill(0x78);
    await long.send(`{"op":"ping","id":1}\n`);
    await long.send(half);
    await long.send(half);
    assertEquals((await long.reply()).ok, true);
    const { error } = await long.reply();
    assertEquals([error?.code, error?.limit], ["tooLarge", defaultLimits.requestLineBytesMax]);
    assertEquals(await long.line(), null);
    for (const first of ["GET / HTTP/1.1", "POST /kv HTTP/1.0", "PRI * HTTP/2.0"]) {
      using browser = await LineConnection.open(node.client);
      await browser.send(`${first}\r\nHost: ${node.client}\r\n\r\n`);
      assertMatch(await browser.rest(), /^HTTP\/1\.1 400 Bad Request\r\n[^]*\r\n\r\n[^]*\{"op":"put",/);
    }
    const response = await fetch(`http://${node.client}/`);
    assertEquals(response.status, 400);
    assertStringIncludes(await response.text(), "It does not speak HTTP");
  });
});

Deno.test("the client port outlives clients that come and go in every way", async () => {
  await withNode(async (node) => {
    for (let i = 0; i < 100; i++) {
      using connection = await LineConnection.open(node.client);
      if (i % 4 === 1) await connection.send(`${put}}`);
      if (i % 4 === 2) await connection.send(`${put}}\n`.repeat(100)); // gone before the answers come
      if (i % 4 === 3) await connection.closeWrite();
    }
    using reader = await LineConnection.open(node.client);
    await reader.send([{ op: "ping" }]);
    assertEquals(await reader.reply(), { ok: true });
  });
});

/** Lines that no node sends, and what the refusal says of them. */
const badPeerLines: readonly (readonly [line: string, reason: string])[] = [
  ["hello\n", "the line is not JSON"],
  ["\n", "the line is not JSON"],
  ["[]\n", "the type is missing and must be one of hello, "],
  ["null\n", "the line is not a JSON object"],
  [`{"type":"hello"}\n`, "hello: the field versions is missing"],
  [`{"type":"__proto__"}\n`, `the type is "__proto__" and must be one of hello, `],
  [`{"op":"get","key":"k"}\n`, "this is the raft port, where the nodes meet: clients connect to 127.0.0.1:"],
  [`{"type":"timeoutNow","from":2,"to":1,"term":99}\n`, "a hello comes first"],
  [`{"type":"requestVote","from":2,"to":1,"term":-1}\n`, "the field term is missing"],
  ["[".repeat(50_000) + "\n", "the line is not JSON"],
  ["[".repeat(100_000) + "\n", "a line has more than 65536 bytes"],
  ["\xff\xfe\n", "the line is not JSON"],
];

Deno.test("the raft port says what is malformed and closes, and the cluster goes on under the same leader", async () => {
  await withCluster({ nodes: 3, args: steady }, async (cluster) => {
    const leader = await cluster.leader();
    const { term } = (await leader.status())!;
    for (const node of cluster.nodes) {
      for (const [line, reason] of badPeerLines) {
        using connection = await LineConnection.open(node.raft);
        await connection.send(line);
        const refused = JSON.parse((await connection.line())!);
        assertEquals(refused.type, "refused");
        assertStringIncludes(refused.reason, reason, line.slice(0, 60));
        assertEquals(await connection.rest(), "", "then it closes");
      }
      using silent = await LineConnection.open(node.raft);
      await silent.send(`{"type":"hel`);
      await silent.closeWrite();
      assertEquals(await silent.line(), null);
    }
    const [written] = await exchange(leader.client, [{ op: "put", key: "a", value: "1" }]);
    assertEquals(written!.ok, true);
    assertEquals((await leader.status())!.term, term, "nobody may have been deposed");
    await cluster.settled();
  });
});

Deno.test("the raft port refuses a stranger who says hello as a node that it is not", async () => {
  await withCluster({ nodes: 3, args: steady }, async (cluster) => {
    const leader = await cluster.leader();
    const victim = cluster.nodes.find((node) => node !== leader)!;
    const hello = {
      type: "hello",
      versions: { min: 1, max: 1 },
      nodeId: victim.id,
      incarnation: "0123456789abcdef",
      starts: 99,
      nonce: "fedcba9876543210",
      clientAddress: victim.client,
      cluster: cluster.nodes.map(({ id, raft }) => ({ id, address: raft })),
      clusterId: null,
      members: null,
      founded: false,
      admitted: 1,
      hasRoom: true,
    };
    const cases = [
      [hello, `the data folder of node ${victim.id} was replaced by another one`],
      [{ ...hello, nodeId: 9 }, "node 9 is not in this node's --cluster"],
      [{ ...hello, nodeId: leader.id }, `it calls itself node ${leader.id}, as this node does`],
      [{ ...hello, versions: { min: 7, max: 8 } }, "it speaks the protocol versions 7 to 8"],
      [{ ...hello, clusterId: "0000000000000000" }, "it belongs to another cluster"],
    ] as const;
    for (const [line, reason] of cases) {
      using stranger = await LineConnection.open(leader.raft);
      await stranger.send([line]);
      assertStringIncludes(await stranger.rest(), reason);
    }
    const [written] = await exchange(leader.client, [{ op: "put", key: "a", value: "1" }]);
    assertEquals(written!.ok, true);
    await cluster.settled();
    assertEquals((await victim.keys()).map(({ key }) => key), ["a"], "the true node is still heard");
  });
});
