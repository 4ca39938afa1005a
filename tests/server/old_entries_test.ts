/**
 * Followers that were away for long, and leaders that have to read the log for them again.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { PutCommand } from "../../lib/kv/command.ts";
import { makeEntry } from "../../lib/raft/entry.ts";
import type { Limits } from "../../lib/server/options.ts";
import { loggedCommand } from "../sim/logged_command.ts";
import { Life } from "../sim/scheduler.ts";
import { type Node, SmallCluster } from "./cluster.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Three nodes, of which one was down while 300 keys were written; the others have but the last few lines in memory. */
function withOneBehind(
  name: string,
  limits: Partial<Limits> = { logMemoryBytes: 1000, appendBytesMax: 2000 },
): { cluster: SmallCluster; leader: Node; behind: Node } {
  const cluster = new SmallCluster(name, { limits });
  const leader = cluster.leader!, behind = cluster.follower;
  cluster.until(() => cluster.nodes.every(({ server }) => server!.appliedIndex > 1), "all follow");
  cluster.kill(behind);
  const client = cluster.client(leader);
  const count = 300;
  client.send(...Array.from({ length: count }, (_, i) => ({ op: "put", key: `k${i}`, value: `v${i}` })));
  cluster.until(() => client.replies.length === count, "all are written");
  assert(client.replies.every(({ ok }) => ok));
  return { cluster, leader, behind };
}

function catchesUp(cluster: SmallCluster, behind: Node): void {
  behind.machine.restart();
  cluster.until(() => behind.server?.store.size === 300, "it has all");
  assertEquals(behind.server!.store.get("k0")?.value, "v0");
  assertEquals(behind.server!.store.get("k299")?.value, "v299");
}

Deno.test("Raft.takeReady() sends a follower that was away entries that its leader has only on the disk", () => {
  const { cluster, leader, behind } = withOneBehind("away");
  catchesUp(cluster, behind);
  assertEquals([cluster.leader, leader.stopped], [leader, null]);
});

/** Changes the file of the log behind a node's back. */
function rot(cluster: SmallCluster, node: Node, change: (bytes: Uint8Array) => Uint8Array): string {
  const disk = node.machine.disk.of(new Life("rot"));
  const name = disk.list().find((name) => name.startsWith("log/"))!;
  let isDone = false;
  disk.replace(name, change(disk.read(name)!), () => isDone = true);
  cluster.until(() => isDone, "the rot");
  return name;
}

/** The middle of a file, with one bit turned over. */
function flip(bytes: Uint8Array): Uint8Array {
  const at = bytes.length >> 1;
  return bytes.with(at, bytes[at]! ^ 1);
}

Deno.test("Server.#takeReady() stops a leader that finds its log damaged, before anybody is sent what is wrong", () => {
  const { cluster, leader, behind } = withOneBehind("damaged");
  const name = rot(cluster, leader, flip);
  catchesUp(cluster, behind);
  assert(cluster.leader !== leader);
  assertEquals(leader.server, null);
  assertStringIncludes(leader.stopped!.message, `${name} is damaged: byte`);
});

Deno.test("Server.#takeReady() stops a leader that finds a whole entry of another history in its log", () => {
  for (let offset = 0; offset < 20; offset++) {
    const { cluster, leader, behind } = withOneBehind(`another ${offset}`);
    rot(cluster, leader, (bytes) => {
      const entry = leader.server!.raft.entryAt(100 + offset)!;
      const { value, ...rest } = loggedCommand(entry) as PutCommand;
      const command = { ...rest, value: "X".repeat(value.length) };
      const other = makeEntry({ ...entry, command });
      assertEquals(other.line.length, entry.line.length);
      const text = decoder.decode(bytes);
      return encoder.encode(text.replace(decoder.decode(entry.line), decoder.decode(other.line)));
    });
    catchesUp(cluster, behind);
    assertEquals(leader.server, null);
    assertStringIncludes(leader.stopped!.message, `entry ${100 + offset} of the log cannot be read again`);
    const values = Array.from({ length: 300 }, (_, i) => behind.server!.store.get(`k${i}`)?.value);
    assertEquals(values, Array.from({ length: 300 }, (_, i) => `v${i}`));
  }
});

Deno.test("Server.#takeReady() of what a snapshot has as well sends that in the place of a damaged log", () => {
  const limits = { logMemoryBytes: 1000, appendBytesMax: 2000, snapshotEntries: 100 };
  const { cluster, leader, behind } = withOneBehind("not needed", limits);
  cluster.until(() => leader.server!.raft.snapshot!.lastIncludedIndex > 250, "the last snapshot");
  cluster.run(1000);
  rot(cluster, leader, (bytes) => bytes.map((byte) => byte === 0x76 ? 0x77 : byte));
  catchesUp(cluster, behind);
  assertEquals([cluster.leader, leader.stopped], [leader, null]);
  assert(leader.journal.some((line) => /^warn: entry \d+ of the log cannot be read again/.test(line)));
});
