/**
 * Somebody on the raft port of a real node who says whatever a test wants, up to a true member's hello and, with the
 * secret, its proof. Written from PROTOCOL.md, not with the program's own code.
 *
 * @module
 */

import { createHmac } from "node:crypto";
import { makeEntry } from "../../lib/raft/entry.ts";
import type { Entry } from "../../lib/raft/types.ts";
import type { TestCluster, TestNode } from "./cluster.ts";
import { LineConnection } from "./line_connection.ts";

/** Fields of a line. */
export type Line = Record<string, unknown>;

/** What a node says of itself, made from what its folder tells of it. `fields` change that. */
export async function helloAs(node: TestNode, cluster: TestCluster, fields: Line = {}): Promise<Line> {
  const state = JSON.parse(await Deno.readTextFile(`${node.folder}/state.json`));
  return {
    type: "hello",
    versions: { min: 1, max: 1 },
    nodeId: node.id,
    incarnation: state.incarnation,
    starts: state.starts + 1,
    nonce: "fedcba9876543210",
    clientAddress: node.client,
    cluster: cluster.nodes.map(({ id, raft }) => ({ id, address: raft })),
    clusterId: state.clusterId,
    members: state.pinned,
    founded: true,
    admitted: 1,
    hasRoom: true,
    ...fields,
  };
}

/** Dials a node and goes through the handshake, with the secret if there is one. */
export async function enter(node: TestNode, hello: Line, secret: string | null): Promise<LineConnection> {
  const connection = await LineConnection.open(node.raft);
  try {
    return await shakeHands(connection, node, { hello, secret });
  } catch (error) {
    connection.close();
    throw error;
  }
}

async function shakeHands(
  connection: LineConnection,
  node: TestNode,
  { hello, secret }: { hello: Line; secret: string | null },
): Promise<LineConnection> {
  const own = JSON.stringify(secret === null ? hello : { ...hello, challenge: "0123456789abcdef".repeat(2) });
  await connection.send(`${own}\n`);
  const their = await connection.line();
  if (!their?.startsWith('{"type":"hello"')) throw new Error(`node ${node.id} does not say hello: ${their}`);
  if (secret === null) return connection;
  const proofOf = (end: string): string =>
    createHmac("sha256", secret).update(`kvapp raft port, ${end}\n${own}\n${their}\n`).digest("hex");
  await connection.send([{ type: "proof", proof: proofOf("dialler") }]);
  const answer = await connection.line();
  if (JSON.parse(answer ?? "{}").proof !== proofOf("acceptor")) {
    throw new Error(`node ${node.id} does not prove that it has the secret: ${answer}`);
  }
  return connection;
}

/** Sends lines to a node and returns what it says until it closes; what it does not take any more is not sent. */
export async function reactionOf(
  connection: LineConnection,
  what: string | Uint8Array | readonly object[],
): Promise<string> {
  using _ = connection;
  try {
    await connection.send(what);
    return await connection.rest();
  } catch (error) {
    if (isCut(error)) return "";
    throw error;
  }
}

function isCut(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.ConnectionAborted;
}

/** The cluster as a message finds it: the term that all are in and the last entry. */
export interface Place {
  from: number;
  to: number;
  term: number;
  index: number;
}

/** Messages as they should be, but that node `from` has no office in which to send them. */
function messagesOf({ from, to, term, index }: Place) {
  const envelope = { from, to, term };
  const before = { prevLogIndex: index, prevLogTerm: term, prevLogCrc: "00000000" };
  const last = { lastIncludedIndex: index + 100, lastIncludedTerm: term, lastIncludedCrc: "00000000" };
  const log = { lastLogIndex: index + 100, lastLogTerm: term };
  return {
    append: {
      ...envelope,
      type: "appendEntries",
      ...before,
      leaderCommit: 2 ** 53 - 1,
      readRound: 0,
      entries: 0,
    },
    install: { ...envelope, type: "installSnapshot", ...last, offset: 0, data: 0, done: false },
    vote: { ...envelope, type: "requestVote", ...log, preVote: false, leadershipTransfer: false },
    granted: { ...envelope, type: "requestVoteResponse", voteGranted: true, preVote: false },
    answer: {
      ...envelope,
      type: "appendEntriesResponse",
      success: false,
      prevLogIndex: 2 ** 53 - 1,
      matchIndex: 0,
      conflictIndex: 2 ** 53 - 1,
      conflictTerm: 0,
      abstains: false,
    },
    contact: { ...envelope, type: "contactResponse", readRound: 2 ** 53 - 1, abstains: false },
    read: { ...envelope, type: "readIndexResponse", id: 1, readIndex: 2 ** 53 - 1 },
    installed: {
      ...envelope,
      type: "installSnapshotResponse",
      lastIncludedIndex: index,
      offset: 2 ** 53 - 1,
      isDamaged: true,
    },
    order: { ...envelope, type: "timeoutNow" },
  };
}

/** Answers to questions that nobody has asked, which are let pass and change nothing. */
export function unaskedAnswers(place: Place): Line[] {
  const { granted, answer, contact, read, installed } = messagesOf(place);
  return [granted, granted, { ...granted, preVote: true }, answer, contact, read, installed];
}

/** Terms that nobody can be in, and messages of others: any of them ends the connection. */
export function wrongEnvelopes(place: Place): (Line | string)[] {
  const { append, install, vote, granted, answer, contact, order } = messagesOf(place);
  const terms = [2 ** 53 - 1, 2 ** 53, 2 ** 48, 1e308, -1, "5", 1.5, null, place.term + 1_000_001];
  const transfer = { ...vote, leadershipTransfer: true }; // which not even a live leader stands against
  return [append, install, vote, transfer, granted, answer, contact, order].flatMap((message) => [
    ...terms.map((term) => ({ ...message, term })),
    JSON.stringify({ ...message, term: 0 }).replace('"term":0', '"term":1e400'),
    ...[{ from: 9 }, { from: place.to }, { to: 9 }].map((fields) => ({ ...message, ...fields })),
  ]);
}

/** Entries and snapshots that cannot be, and lengths without measure: any of them ends the connection. */
export function impossibleLogs(place: Place): (Line | string)[] {
  const { append, install } = messagesOf(place);
  const { term, index } = place;
  const noop = (fields: { index: number; term?: number; prevCrc?: number }): Entry =>
    makeEntry({ term, prevCrc: 0, kind: "noop", command: null, ...fields });
  const withEntries = (fields: Line, ...entries: Entry[]): string =>
    [
      JSON.stringify({ ...append, ...fields, entries: entries.length }),
      ...entries.map(({ line }) => textOf(line)),
    ]
      .join("\n");
  const next = noop({ index: index + 1 });
  const first = { prevLogIndex: 0, prevLogTerm: 0 };
  return [
    append, // another one leads this term
    withEntries({}, next),
    withEntries({}, next, noop({ index: index + 3, prevCrc: next.crc })), // one is left out
    withEntries({}, next, noop({ index: index + 2 })), // not chained
    withEntries({}, noop({ index: index + 1, term: term + 1 })), // of a later term than its leader
    withEntries({ prevLogTerm: term + 1, term: term + 2 }, noop({ index: index + 1, term })), // terms go back
    withEntries(first, noop({ index: 1, term })), // in place of the founding entry
    `${JSON.stringify({ ...append, ...first, entries: 1 })}\n${textOf(next.line).replace("noop", "poon")}`,
    `${JSON.stringify({ ...append, ...first, entries: 1 })}\n{"index":0}`,
    { ...append, prevLogIndex: 1, prevLogTerm: term + 7 }, // contradicts what is committed
    ...[2 ** 30, -1, "1", 1.5].map((entries) => ({ ...append, entries })),
    ...[2 ** 30, -1].map((data) => ({ ...install, data })),
    ...[2 ** 53, -1].map((offset) => ({ ...install, offset })),
    { ...install, lastIncludedIndex: 0 },
    { ...install, lastIncludedTerm: term + 1 },
    { ...install, offset: 5, done: true },
    { ...install, done: true },
  ];
}

function textOf(line: Uint8Array): string {
  return new TextDecoder().decode(line).trimEnd();
}
