/**
 * What hostile clients do to a node, one function for each way. Each says by itself whether the node answered as it must;
 * what others notice of it is looked at outside.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { concat } from "../../lib/bytes.ts";
import { parseRequest } from "../../lib/protocol/client_protocol.ts";
import { errorMeanings } from "../../lib/protocol/errors.ts";
import { defaultLimits } from "../../lib/server/options.ts";
import { exchange, LineConnection, type ReplyLine } from "../e2e/line_connection.ts";
import { Random } from "../sim/random.ts";
import { fieldCases } from "./field_cases.ts";
import { hostileLine } from "./generator.ts";
import { accepted, decided, invalidUtf8, refused } from "./grammar.ts";

/** The node, and how much is done to it. */
export interface Target {
  /** Its client port. */
  readonly client: string;
  readonly raft: string;
  readonly seed: string;
  /** All that there is, which takes minutes; otherwise a part. */
  readonly isAll: boolean;
}

const encoder = new TextEncoder();

/** Lines of every kind, without their newlines. */
function hostileLines({ seed, isAll }: Target): Uint8Array[] {
  const texts = [...accepted, ...refused, ...decided.map(([line]) => line)];
  const lines = texts.flatMap((
    text,
  ) => [text, `${text}\r`, `${text} \t `, `${text} ${text}`, `{"op":"ping","id":${text}}`]);
  lines.push(...["[", '{"a":', '[{"a":'].map((open) => open.repeat(1_000_000)));
  const random = new Random(seed);
  for (const { line } of fieldCases()) if (isAll || random.chance(0.2)) lines.push(line);
  const generated = Array.from({ length: isAll ? 20_000 : 3000 }, (_, i) => hostileLine(random.fork(`${i}`)));
  const invalid = Object.values(invalidUtf8).flat().map((hex) =>
    Uint8Array.of(
      ...encoder.encode('{"op":"ping","id":"'),
      ...Uint8Array.fromHex(hex),
      ...encoder.encode('"}'),
    )
  );
  return [...lines.map((line) => encoder.encode(line)), ...generated, ...invalid];
}

/** Sends lines without waiting, behind a ping so that none of them is the first; returns the replies in order. */
async function sendAll(address: string, lines: readonly Uint8Array[]): Promise<ReplyLine[]> {
  using connection = await LineConnection.open(address);
  const newline = Uint8Array.of(10);
  const sending = (async () => {
    await connection.send([{ op: "ping", id: "first" }]);
    for (let at = 0; at < lines.length; at += 100) {
      await connection.send(concat(lines.slice(at, at + 100).flatMap((line) => [line, newline])));
    }
  })();
  assertEquals(await connection.reply(), { ok: true, id: "first" });
  const replies: ReplyLine[] = [];
  while (replies.length < lines.length) {
    const line = await connection.reply();
    if ("ok" in line) replies.push(line);
    else assert("watch" in line, "only the lines of a watch come unasked");
  }
  await sending;
  return replies;
}

/** Lines that are no request are answered with what is wrong, in their order. */
export async function refusedLines(target: Target): Promise<void> {
  const lines = hostileLines(target).filter((line) => parseRequest(line, defaultLimits).op === "refused");
  const replies = await sendAll(target.client, lines);
  for (const [i, line] of lines.entries()) {
    const request = parseRequest(line, defaultLimits);
    assert(request.op === "refused");
    const shown = new TextDecoder().decode(line.subarray(0, 100));
    const { ok, id, error } = replies[i]!;
    assertEquals(
      [ok, id, error?.code, error?.definite],
      [false, request.id, request.error.code, true],
      shown,
    );
  }
}

/** Lines that are requests, though strange ones, are carried out or refused with a code. */
export async function takenLines(target: Target): Promise<void> {
  const lines = hostileLines(target).filter((line) => parseRequest(line, defaultLimits).op !== "refused");
  assert(lines.length > 500);
  for (const [i, reply] of (await sendAll(target.client, lines)).entries()) {
    const shown = new TextDecoder().decode(lines[i]!.subarray(0, 100));
    assertEquals(typeof reply.ok, "boolean", shown);
    if (!reply.ok) assert(Object.hasOwn(errorMeanings, reply.error!.code), `${reply.error!.code}: ${shown}`);
  }
}

/** Sends bytes until the other end has had enough; returns what it said. */
async function flood(address: string, bytes: Uint8Array): Promise<string> {
  using connection = await LineConnection.open(address);
  const reading = connection.rest();
  try {
    await connection.send(bytes);
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe)) {
      throw error;
    }
  }
  return await reading;
}

/** 64 MiB without a newline are answered and cut off. */
export async function lineWithoutEnd({ client }: Target): Promise<void> {
  for (const byte of [0x78, 0x00, 0x5b]) {
    const answer = JSON.parse(await flood(client, new Uint8Array(64 << 20).fill(byte)));
    assertEquals([answer.error.code, answer.error.limit], ["tooLarge", defaultLimits.requestLineBytesMax]);
  }
}

/**
 * Many clients that each leave a long line unfinished are told `busy` when together they hold too much. They come a few
 * at a time: a gigabyte at once would fill the memory that the system has for all connections, whoever's they are, and
 * on a machine that is the attacker's too, the attack itself would keep the canary waiting.
 */
export async function unfinishedLines({ client, isAll }: Target): Promise<void> {
  const bytes = new Uint8Array(1 << 20).fill(0x78);
  const connections: LineConnection[] = [];
  const answers: Promise<string | null>[] = [];
  for (let wave = 0; wave < (isAll ? 200 : 40); wave++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const opened = await Promise.all(Array.from({ length: 5 }, () => LineConnection.open(client)));
    connections.push(...opened);
    answers.push(...opened.map((connection) => connection.line().catch(() => null)));
    await Promise.allSettled(opened.map((connection) => connection.send(bytes)));
  }
  const first = await Promise.any(answers.map(async (answer) => await answer ?? await Promise.reject()));
  assertEquals(JSON.parse(first).error.code, "busy");
  for (const connection of connections) connection.close();
  await Promise.all(answers);
}

/** A thousand clients that send a byte now and then are served when their line is whole. */
export async function slowClients({ client, isAll }: Target): Promise<void> {
  const request = encoder.encode(`{"op":"ping","id":"slow"}\n`);
  const head = isAll ? 10 : 3;
  const connections = await Promise.all(Array.from({ length: 1000 }, () => LineConnection.open(client)));
  for (let at = 0; at < head; at++) {
    for (const connection of connections) await connection.send(request.subarray(at, at + 1));
    await new Promise((resolve) => setTimeout(resolve, isAll ? 1000 : 300));
  }
  for (const connection of connections) await connection.send(request.subarray(head));
  for (const connection of connections) {
    assertEquals(await connection.reply(), { ok: true, id: "slow" });
    connection.close();
  }
}

/** A key that holds a mebibyte; written before, because it is state. */
export const largeKey = "large";

/** A client that asks for 100 MiB and reads nothing, then is gone with the replies unread. */
export async function unreadReplies({ client }: Target): Promise<void> {
  for (let i = 0; i < 8; i++) {
    using connection = await LineConnection.open(client);
    await connection.send(Array.from({ length: 100 }, (_, id) => ({ op: "get", key: largeKey, id })));
    const { id, value } = await connection.reply();
    assertEquals([id, (value as string).length], [0, 1 << 20]);
    await exchange(client, [{ op: "ping" }]);
  }
}

/** Clients that come and go, some thousands a second, in the middle of a line, of a request and of a reply. */
export async function comingsAndGoings({ client, isAll }: Target): Promise<void> {
  const lines = ["", "{", '{"op":"ping"}\n', '{"op":"get","key":"canary"}\n'.repeat(3)];
  for (let i = 0; i < (isAll ? 20_000 : 2000); i += 50) {
    await new Promise((resolve) => setTimeout(resolve, 15));
    await Promise.all(Array.from({ length: 50 }, async (_, k) => {
      using connection = await LineConnection.open(client);
      const text = k === 0 ? '{"op":"get","key":"large"}\n' : lines[k % lines.length]!;
      if (text !== "") await connection.send(text);
    }));
  }
}

/** A hundred thousand requests in one piece, with nothing read before they are sent, are answered in their order. */
export async function longPipeline({ client }: Target): Promise<void> {
  const ops = [{ op: "ping" }, { op: "get", key: "none", consistency: "stale" }, { op: "gte" }, {
    op: "get",
    key: "none",
  }];
  const requests = Array.from({ length: 100_000 }, (_, id) => ({ ...ops[id % ops.length], id }));
  using connection = await LineConnection.open(client);
  const sending = connection.send(requests);
  for (const { id } of requests) {
    const reply = await connection.reply();
    if (reply.id !== id) assertEquals(reply.id, id);
  }
  await sending;
}

/** Programs that take the ports for another one's are told, or closed. */
export async function wrongProtocols({ client, raft }: Target): Promise<void> {
  const tls = new Uint8Array(517).fill(7);
  tls.set([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]);
  const openings: (string | Uint8Array)[] = [
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "SSH-2.0-OpenSSH_9.2\r\n",
    "*1\r\n$4\r\nPING\r\n",
    tls,
    crypto.getRandomValues(new Uint8Array(4096)),
    `{"type":"hello","versions":{"min":1,"max":1},"nodeId":2}\n`,
    `{"type":"requestVote","from":2,"to":1,"term":9007199254740991}\n`,
    `{"op":"put","key":"k","value":"v"`,
  ];
  for (const address of [client, raft]) {
    for (const opening of openings) {
      using connection = await LineConnection.open(address);
      await connection.send(opening);
      await connection.closeWrite();
      const answer = await connection.rest();
      if (address === raft) assert(answer === "" || answer.startsWith(`{"type":"refused"`), answer);
      else if (!answer.startsWith("HTTP/1.1 400")) {
        for (const line of answer.trimEnd().split("\n")) assertEquals(JSON.parse(line).ok, false, line);
      }
    }
  }
}

/** Sessions that others use too, ids that are used again, and more sessions than are kept. */
export async function strangeSessions({ client, isAll }: Target): Promise<void> {
  const [opened] = await exchange(client, [{ op: "session" }]);
  const { session } = opened!;
  const write = (value: string, seq: number): object => ({
    op: "put",
    key: "s",
    value,
    session,
    seq,
    id: "same",
  });
  const [first] = await exchange(client, [write("mine", 1)]);
  const [again, skipped, back] = await exchange(client, [
    write("theirs", 1),
    write("later", 9),
    write("between", 5),
  ]);
  assertEquals(again, first, "the number is used");
  assertEquals([skipped!.ok, back!.ok, back!.id], [true, true, "same"]);
  const count = isAll ? 10_001 : 1000;
  const replies = await exchange(client, Array.from({ length: count }, () => ({ op: "session" })));
  assertEquals(new Set(replies.map((reply) => reply.session)).size, count);
  const [late] = await exchange(client, [write("late", 10)]);
  assertEquals(late!.error?.code, isAll ? "sessionExpired" : undefined);
}
