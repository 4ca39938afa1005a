/**
 * The lines of the raft port: each message reads back as it was written, and what is none is refused with its reason.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { PlainPut } from "../../lib/kv/plain_put.ts";
import {
  clusterIdOf,
  controlLineBytesMax,
  describeMessage,
  encodeLinkLine,
  encodeMessage,
  type Hello,
  type PeerInput,
  PeerReader,
  termMax,
} from "../../lib/protocol/peer_protocol.ts";
import { makeEntry } from "../../lib/raft/entry.ts";
import type { AppendEntries, Message } from "../../lib/raft/messages.ts";
import type { Entry } from "../../lib/raft/types.ts";
import {
  appendEntries,
  appendResponse,
  contactResponse,
  heartbeat,
  readIndexResponse,
} from "../raft/messages.ts";
import { requestVote, timeoutNow, voteResponse } from "../raft/messages.ts";
import { configurationOfSize, logOf } from "../raft/node.ts";

/** Of a member, which may say anything. */
const known = { isKnown: true, entryBytesMax: 1 << 20 };

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** What a reader makes of bytes, line by line. */
function read(bytes: Uint8Array, reader = new PeerReader()): (PeerInput | string)[] {
  const inputs: (PeerInput | string)[] = [];
  for (let at = 0, end; at < bytes.length; at = end) {
    end = bytes.indexOf(10, at) + 1;
    const input = reader.take(bytes.subarray(at, end), known);
    if (input !== null) inputs.push(input);
  }
  return inputs;
}

const log = logOf(3, [1, 1, 2]);

Deno.test("encodeMessage() writes what PeerReader.take() reads back, for every type of message", () => {
  const messages: Message[] = [
    requestVote({ term: 7, preVote: true, leadershipTransfer: true, lastLogIndex: 3, lastLogTerm: 2 }),
    voteResponse({ term: 7, voteGranted: false }),
    appendEntries(log, { term: 7, prevLogIndex: 1, count: 2, leaderCommit: 1, readRound: 5 }),
    heartbeat(log, { term: 7 }),
    appendResponse({
      term: 7,
      success: false,
      prevLogIndex: 4,
      conflictIndex: 2,
      conflictTerm: 1,
      abstains: true,
    }),
    contactResponse({ term: 7, readRound: 3, abstains: false }),
    {
      type: "installSnapshotResponse",
      from: 2,
      to: 1,
      term: 7,
      lastIncludedIndex: 5,
      offset: 100,
      isDamaged: true,
    },
    { type: "readIndexRequest", from: 2, to: 1, term: 7, id: 2 ** 48 },
    readIndexResponse({ term: 7, id: 1, readIndex: null }),
    timeoutNow({ term: termMax }),
  ];
  for (const message of messages) assertEquals(read(encodeMessage(message)), [message]);
  const all = messages.map((message) => decoder.decode(encodeMessage(message))).join("");
  assertEquals(read(encoder.encode(all)), messages, "and one behind the other");
});

Deno.test("encodeMessage() sends entries as the very lines of the log, behind one line that counts them", () => {
  const bytes = encodeMessage(appendEntries(log, { term: 7, prevLogIndex: 0 }));
  const [header, ...rest] = decoder.decode(bytes).split("\n");
  assertEquals(JSON.parse(header!).entries, 4);
  assertEquals(rest.join("\n"), log.map(({ line }) => decoder.decode(line)).join(""));
});

Deno.test("PeerReader.take() owns the bytes of the entries that it makes", () => {
  const bytes = encodeMessage(appendEntries(log, { term: 7, prevLogIndex: 0 }));
  const [message] = read(bytes);
  bytes.fill(0); // the buffer is used for something else
  assert(typeof message === "object" && message.type === "appendEntries");
  assertEquals(message.entries, log);
});

Deno.test("PeerReader.take() reads hellos and the other lines about a link", () => {
  const { members } = configurationOfSize(3);
  const hello: Hello = {
    type: "hello",
    versions: { min: 1, max: 1 },
    nodeId: 1,
    incarnation: "0".repeat(16),
    starts: 1,
    nonce: "1".repeat(16),
    clientAddress: "127.0.0.1:9081",
    cluster: members.map(({ id, address }) => ({ id, address })),
    clusterId: clusterIdOf(members),
    members,
    founded: true,
    admitted: 1,
    hasRoom: true,
  };
  const lines = [
    hello,
    { ...hello, challenge: "2".repeat(32) },
    { type: "proof", proof: "3".repeat(64) },
    { type: "refused", reason: "no" },
    { type: "ping" },
    { type: "pong" },
  ] as const;
  for (const line of lines) assertEquals(read(encodeLinkLine(line)), [line]);
  const bad = [{ ...hello, challenge: "2".repeat(31) }, { type: "proof", proof: "G".repeat(64) }] as const;
  for (const line of bad) assertMatch(String(read(encodeLinkLine(line))[0]), /(challenge|proof) is missing/);
});

Deno.test("clusterIdOf() is the same for all founders, and another one for other members", () => {
  const { members } = configurationOfSize(3);
  assertEquals(clusterIdOf(members.toReversed()), clusterIdOf(members));
  const wiped = members.map((member) =>
    member.id === 2 ? { ...member, incarnation: "f".repeat(16) } : member
  );
  assertEquals(new Set([members, wiped, members.slice(1)].map(clusterIdOf)).size, 3);
});

Deno.test("PeerReader.take() refuses what is no message, and says why", () => {
  const rows: [string, string][] = [
    ["\n", "not JSON"],
    ["garbage\n", "not JSON"],
    ["[1]\n", "type"],
    ["null\n", "not a JSON object"],
    ['{"type":99}\n', "type is missing"],
    ['{"type":"constructor"}\n', "constructor"],
    ['{"type":"termDurable","from":1,"to":1,"term":1}\n', "termDurable"],
    ['{"type":"timeoutNow","from":2,"to":1}\n', "term"],
    ['{"type":"timeoutNow","from":0,"to":1,"term":1}\n', "from"],
    ['{"type":"timeoutNow","from":2,"to":1,"term":-1}\n', "term"],
    ['{"type":"timeoutNow","from":2,"to":1,"term":1.5}\n', "term"],
    ['{"type":"timeoutNow","from":2,"to":1,"term":"1"}\n', "term"],
    [`{"type":"timeoutNow","from":2,"to":1,"term":${termMax + 1}}\n`, "term"],
    ['{"type":"timeoutNow","from":2,"to":1,"term":9007199254740991}\n', "term"],
    ['{"type":"timeoutNow","from":2,"to":1,"term":9007199254740992}\n', "term"],
    ['{"type":"timeoutNow","from":2,"to":1,"term":1e400}\n', "term"],
  ];
  for (const [line, part] of rows) {
    assertStringIncludes(String(new PeerReader().take(encoder.encode(line), known)), part);
  }
  assertEquals(typeof new PeerReader().take(new Uint8Array([0xff, 0xfe, 10]), known), "string");
});

Deno.test("PeerReader.take() refuses messages with any field missing or of another type", () => {
  const message = appendResponse({ term: 7, matchIndex: 3, abstains: false });
  for (const name of Object.keys(message)) {
    for (const value of [undefined, null, "x", -1, [], {}]) {
      const line = encoder.encode(JSON.stringify({ ...message, [name]: value }) + "\n");
      assertEquals(typeof new PeerReader().take(line, known), "string", `${name}: ${JSON.stringify(value)}`);
    }
  }
});

Deno.test("PeerReader.take() refuses entries with any changed byte", () => {
  const message = appendEntries(log, { term: 7, prevLogIndex: 2, count: 1 });
  const bytes = encodeMessage(message);
  const start = bytes.indexOf(10) + 1;
  for (let at = start; at < bytes.length - 1; at++) {
    const damaged = bytes.slice();
    damaged[at]! ^= 0x10;
    const inputs = read(damaged);
    assertEquals(inputs.every((input) => typeof input === "string"), true, `byte ${at}`);
  }
});

Deno.test("PeerReader.take() knows plain puts by their bytes, which are not those that it was given", () => {
  const put = { op: "put", key: "k", value: "v", session: "17", seq: 3 };
  const commands = [put, { ...put, value: "\u00e9" }, { ...put, ttlMs: 1 }, { op: "delete", key: "k" }];
  const entries: Entry[] = [];
  for (const command of commands) {
    const prevCrc = entries.at(-1)?.crc ?? 0;
    entries.push(makeEntry({ index: entries.length + 1, term: 1, kind: "command", command, prevCrc }));
  }
  const bytes = encodeMessage(appendEntries(entries, { term: 7, prevLogIndex: 0 }));
  const [message] = read(bytes) as [AppendEntries];
  bytes.fill(0x78);
  assertEquals(message.entries.map(({ command }) => command instanceof PlainPut), [
    true,
    false,
    false,
    false,
  ]);
  assertEquals(JSON.parse(JSON.stringify(message.entries.map(({ command }) => command))), commands);
  assertEquals(message.entries.map(({ line }) => line), entries.map(({ line }) => line));
});

Deno.test("PeerReader.take() lets a stranger say hello and nothing else", () => {
  const stranger = { isKnown: false, entryBytesMax: 1 << 20 };
  const bytes = encodeMessage(appendEntries(log, { term: 7, prevLogIndex: 0 }));
  const header = bytes.subarray(0, bytes.indexOf(10) + 1);
  const reader = new PeerReader();
  assertEquals(reader.take(header, stranger), "a hello comes first");
  assertEquals(reader.lineBytesMax(1) !== controlLineBytesMax, false, "and nothing of it is kept");
  assertEquals(reader.take(encoder.encode('{"type":"ping"}\n'), stranger), { type: "ping" });
});

Deno.test("PeerReader.take() bounds the bytes of all entries of a message", () => {
  const bytes = encodeMessage(appendEntries(log, { term: 7, prevLogIndex: 0 }));
  const reader = new PeerReader();
  const results: unknown[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf(10, at) + 1;
    results.push(reader.take(bytes.subarray(at, end), { isKnown: true, entryBytesMax: 200 }));
    at = end;
  }
  assert(results.includes("the entries of a message have more than 200 bytes"));
});

Deno.test("describeMessage() counts entries rather than shows them", () => {
  const text = describeMessage(appendEntries(log, { term: 7, prevLogIndex: 2, count: 1 }));
  assertMatch(text, /^appendEntries from 2 to 1: \{.*"entries":1[,}]/);
});

Deno.test("PeerReader.take() refuses a control line in which any bit has flipped, or takes it for the same", () => {
  const line = encodeMessage(voteResponse({ term: 7, voteGranted: false }));
  const [expected] = read(line);
  for (let bit = 0; bit < 8 * (line.length - 1); bit++) {
    const flipped = line.slice();
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    if (flipped.includes(10, 0) && flipped.indexOf(10) < line.length - 1) continue; // two lines, neither of them whole
    const input = new PeerReader().take(flipped, known);
    if (typeof input !== "string") assertEquals({ ...input, ...expected as object }, input, `bit ${bit}`);
  }
});
