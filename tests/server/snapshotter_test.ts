/**
 * Snapshots of nodes that work: taken while requests are served, given up when there is no room, kept as long as a
 * follower needs them, and read again at the start.
 *
 * @module
 */

import { logBytesBetween } from "../../lib/server/snapshotter.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { SnapshotMetadata } from "../../lib/raft/types.ts";
import { encodeSnapshot } from "../../lib/storage/snapshot_format.ts";
import { snapshotName } from "../../lib/storage/snapshot_files.ts";
import { Life } from "../sim/scheduler.ts";
import { concat } from "../storage/folder.ts";
import { blocksOf } from "../storage/snapshots.ts";
import { type Client, type Node, SmallCluster } from "./cluster.ts";

/** Writes `count` keys, all of them answered. */
function put(client: Client, count: number, { from = 0, bytes = 10 } = {}): void {
  const value = "v".repeat(bytes);
  for (let i = from; i < from + count; i++) {
    assertEquals(client.ask({ op: "put", key: `key ${String(i).padStart(4, "0")}`, value }).ok, true);
  }
}

/** The indexes of the files in `snapshots/`, as a power cut would leave them. */
function files(node: Node): number[] {
  return node.machine.disk.durableNames().filter((name) => name.startsWith("snapshots/"))
    .map((name) => Number(name.slice(10, 30)));
}

function newest(node: Node): number {
  return node.server!.raft.snapshot?.lastIncludedIndex ?? 0;
}

/** Lines that no store takes, under sums that are right, and what is said of them. */
const uselessLines: readonly [string, RegExp][] = [
  [`{"nokey":1}`, /key is missing/],
  [`{"key":"a","value":"1","version":99}`, /a line names index 99/],
  [`{"key":"a","value":"1","version":3,"ttl":5}`, /ttl/],
  [`{"key":"a`, /a line is not JSON/],
];

/** Notes the lines of the journals that say this. */
function listenFor(cluster: SmallCluster, text: string): string[] {
  const lines: string[] = [];
  cluster.world.trace.onLine = (line) => void (line.includes(text) && lines.push(line));
  return lines;
}

/** Puts other bytes into a file of a node, behind its back. */
function rot(
  cluster: SmallCluster,
  node: Node,
  name: string,
  change: (bytes: Uint8Array) => Uint8Array,
): void {
  const disk = node.machine.disk.of(new Life("rot"));
  let isDone = false;
  disk.replace(name, change(disk.read(name) ?? new Uint8Array()), () => isDone = true);
  cluster.until(() => isDone, "the rot");
}

Deno.test("Snapshotter.takeWhenDue() takes a snapshot in slices: requests are served in between", () => {
  const cluster = new SmallCluster("slices", { size: 1, limits: { snapshotEntries: 60 } });
  const [node] = cluster.nodes;
  const client = cluster.client(node!);
  put(client, 55, { bytes: 60_000 });
  node!.machine.disk.slowness = 100;
  client.send(...Array.from({ length: 20 }, (_, i) => ({ op: "put", key: `key ${i}`, value: "1" })));
  cluster.until(() => client.replies.length === 55 + 20 && files(node!).length > 0, "a part of it");
  let served = 0;
  while (newest(node!) === 0) {
    assertEquals(client.ask({ op: "get", key: "key 0001" }).found, true);
    served++;
  }
  assert(served >= 10, `${served} requests`);
  assertEquals(files(node!), [newest(node!)]);
});

Deno.test("logBytesBetween() is four times a small snapshot and as much as a large one, within bounds", () => {
  const [least, of] = [100, (size: number): number => logBytesBetween(size, 100)];
  assertEquals([0, 25, 50, 100, 399].map(of), [least, 100, 200, 400, 400]);
  assertEquals([401, 1600, 1601, 1e9].map(of), [401, 1600, 1600, 1600]);
});

Deno.test("Snapshotter.takeWhenDue() waits for more log when the snapshot is larger", () => {
  const limits = { snapshotLogBytes: 10_000 };
  const cluster = new SmallCluster("distance", { size: 1, limits });
  const [node] = cluster.nodes;
  const client = cluster.client(node!);
  const distances: number[] = [];
  let bytes = 0;
  for (let i = 0; distances.length < 3; i++) {
    const before = newest(node!);
    put(client, 1, { from: i, bytes: 1000 });
    cluster.run(50);
    bytes += 1150;
    if (newest(node!) === before) continue;
    distances.push(bytes / 10_000);
    bytes = 0;
  }
  const least = [1, 3.5, 4];
  for (const [i, distance] of distances.entries()) {
    assert(distance > least[i]! && distance < 1.7 * least[i]!, `${distances}`);
  }
});

Deno.test("Snapshotter.takeWhenDue() keeps two snapshots and the log back to the older one", () => {
  const cluster = new SmallCluster("two", { limits: { snapshotEntries: 20, segmentBytesMax: 1000 } });
  const node = cluster.leader!;
  const client = cluster.client(node);
  const logFiles = () =>
    node.machine.disk.durableNames().filter((name) => name.startsWith("log/")).map((name) =>
      Number(name.slice(4, 24))
    );
  put(client, 30);
  cluster.run(100);
  assertEquals([files(node), node.server!.raft.baseIndex, logFiles()[0]], [[newest(node)], 0, 1]);
  const first = newest(node);
  put(client, 30);
  cluster.run(100);
  assertEquals([files(node), node.server!.raft.baseIndex], [[first, newest(node)], first]);
  put(client, 100);
  cluster.run(100);
  const [older, newer] = files(node);
  assertEquals([files(node).length, newer, node.server!.raft.baseIndex], [2, newest(node), older]);
  const [segment, next] = logFiles();
  assert(segment! <= older! + 1 && next! > older! + 1, "no segment is there that is not needed");
});

/** A node whose disk gets full when a part of its first snapshot is written. */
function withoutRoom(name: string): { cluster: SmallCluster; node: Node; unfinished: number } {
  const cluster = new SmallCluster(name, { size: 1, limits: { snapshotEntries: 50 } });
  const node = cluster.nodes[0]!;
  const client = cluster.client(node);
  node.machine.disk.slowness = 30;
  put(client, 45, { bytes: 60_000 });
  client.send(...Array.from({ length: 20 }, (_, i) => ({ op: "put", key: `key ${i}`, value: "1" })));
  cluster.until(() => files(node).length > 0, "a part of a snapshot");
  assertEquals(newest(node), 0);
  node.machine.disk.full = true;
  return { cluster, node, unfinished: files(node)[0]! };
}

Deno.test("Snapshotter.takeWhenDue() gives a snapshot up when there is no room, and takes one when there is", () => {
  const { cluster, node, unfinished } = withoutRoom("no room");
  const client = cluster.client(node);
  cluster.run(3000);
  assertEquals([newest(node), node.stopped], [0, null]);
  assertEquals(client.ask({ op: "get", key: "key 0001" }).found, true);
  node.machine.disk.full = false;
  cluster.run(3000);
  put(client, 3, { from: 100 });
  assertEquals(newest(node), 0, "not at once again");
  cluster.run(8000);
  put(client, 1, { from: 200 });
  cluster.until(() => newest(node) > unfinished, "a snapshot");
  cluster.run(100);
  assertEquals(files(node), [newest(node)]);
});

Deno.test(
  "Snapshotter.takeWhenDue() gives back the room of what it wrote when there is no more",
  () => {
    const { cluster, node } = withoutRoom("room back");
    cluster.run(3000);
    assertEquals(files(node), []);
  },
);

Deno.test("Snapshotter.tidy() leaves the snapshot that a follower is being sent, and the log behind it, until it has it", () => {
  const limits = { snapshotEntries: 12, snapshotLogBytes: 1 << 30, segmentBytesMax: 100_000 };
  const cluster = new SmallCluster("transfer", { limits });
  const leader = cluster.leader!;
  const late = cluster.follower;
  const client = cluster.client(leader);
  cluster.kill(late);
  put(client, 45, { bytes: 60_000 });
  cluster.run(200);
  assert(leader.server!.raft.baseIndex > 3);
  late.machine.disk.slowness = 100; // a piece takes some 30 ms
  late.machine.restart();
  let taken = 0;
  let before = newest(leader);
  cluster.until(() => leader.server!.raft.transfers.length > 0, "a transfer");
  const [sent] = leader.server!.raft.transfers;
  for (let i = 0; leader.server!.raft.transfers.length > 0; i++) {
    put(client, 1, { from: i % 45, bytes: 100 });
    if (newest(leader) !== before) taken++;
    before = newest(leader);
    const { transfers, baseIndex } = leader.server!.raft;
    for (const index of transfers) {
      assert(files(leader).includes(index), `the snapshot ${index} is still there`);
      assert(baseIndex <= index, "and so is the log behind it");
    }
  }
  assert(taken >= 2, `${taken} snapshots were taken meanwhile`);
  cluster.until(() => late.server!.appliedIndex === leader.server!.appliedIndex, "it has caught up");
  assertEquals(late.server!.store.digest(), leader.server!.store.digest());
  assert(newest(late) >= sent!);
  for (let i = 0; i < 2; i++) {
    put(client, 30);
    cluster.run(500);
  }
  assertEquals(files(leader).length, 2, "then it goes, with the next snapshot");
});

Deno.test("Server.constructor() gives a node that starts the state of its newest snapshot", () => {
  const cluster = new SmallCluster("load", { size: 1, limits: { snapshotEntries: 20 } });
  const [node] = cluster.nodes;
  put(cluster.client(node!), 70);
  const digest = node!.server!.store.digest();
  const index = newest(node!);
  assert(index > 40);
  cluster.powerCut();
  assertEquals(newest(node!), index);
  assert(node!.server!.raft.baseIndex > 0, "what is before it is not in memory");
  cluster.until(() => node!.server!.store.digest() === digest, "the state is there again");
});

Deno.test("SnapshotFiles.recover() skips a snapshot that is whole and holds no state: the older one and the log serve", () => {
  for (const isOlderThere of [false, true]) {
    const cluster = new SmallCluster(`no state ${isOlderThere}`, {
      size: 1,
      limits: { snapshotEntries: 20 },
    });
    const [node] = cluster.nodes;
    put(cluster.client(node!), isOlderThere ? 70 : 24);
    cluster.run(200);
    assertEquals(files(node!).length, isOlderThere ? 2 : 1);
    const older = isOlderThere ? files(node!)[0] : 0;
    const digest = node!.server!.store.digest();
    const snapshot = node!.server!.raft.snapshot!;
    const name = snapshotName(snapshot.lastIncludedIndex);
    for (const [line, said] of uselessLines) {
      cluster.kill(node!);
      const notes = listenFor(cluster, `${name} is not whole`);
      const contents = { clusterId: null, keys: 1, sessions: 0 };
      rot(cluster, node!, name, () => concat(...encodeSnapshot(snapshot, contents, blocksOf([line]))));
      node!.machine.restart();
      assertEquals([node!.stopped, newest(node!)], [null, older]);
      assertMatch(notes.join(), said);
      cluster.until(() => node!.server!.store.digest() === digest, "nothing is lost");
    }
  }
});

Deno.test("Snapshotter.onReceived() refuses a snapshot that rotted on the leader's disk, which then sends another one", () => {
  const cluster = new SmallCluster("rotten", { limits: { snapshotEntries: 20 } });
  const leader = cluster.leader!;
  const late = cluster.follower;
  const client = cluster.client(leader);
  cluster.kill(late);
  put(client, 70);
  cluster.run(200);
  assert(leader.server!.raft.baseIndex > 3);
  const rotten = newest(leader);
  rot(cluster, leader, snapshotName(rotten), (bytes) => {
    bytes[bytes.length >> 1]! ^= 1;
    return bytes;
  });
  late.machine.restart();
  cluster.until(() => late.server!.appliedIndex === leader.server!.appliedIndex, "it has caught up");
  assert(newest(leader) > rotten);
  assertEquals(late.server!.store.digest(), leader.server!.store.digest());
});

/** Node `late` has a snapshot and a log behind it, and `leader` has only a newer snapshot of what it has missed. */
function withLate(name: string): { cluster: SmallCluster; leader: Node; late: Node; client: Client } {
  const cluster = new SmallCluster(name, { limits: { snapshotEntries: 20 } });
  const leader = cluster.leader!;
  const late = cluster.follower;
  const client = cluster.client(leader);
  put(client, 27);
  cluster.until(() => files(late).length === 1, "a snapshot");
  put(client, 2);
  cluster.run(100);
  cluster.kill(late);
  put(client, 70);
  cluster.run(200);
  assert(leader.server!.raft.baseIndex > 40);
  return { cluster, leader, late, client };
}

/** A snapshot of so many bytes with this line in it and all sums right, of the cluster of `node`. */
function ofSize(bytes: number, metadata: SnapshotMetadata, line: string, { machine }: Node): Uint8Array {
  const { clusterId } = JSON.parse(new TextDecoder().decode(machine.disk.durable("state.json")!));
  const padded = (length: number): Uint8Array => {
    const lines = [`{"key":"0","value":"${"p".repeat(length)}","version":3}`, line];
    return concat(...encodeSnapshot(metadata, { clusterId, keys: 2, sessions: 0 }, blocksOf(lines)));
  };
  return padded(bytes - padded(0).length);
}

Deno.test("Snapshotter.onReceived() removes what it refuses: the next start uses the older snapshot and the log", () => {
  const [noConfiguration, otherSum] = [{ configuration: { members: [] } }, { lastIncludedCrc: 1 }];
  const cases = [
    ...uselessLines.slice(2).map(([line, said]) => ({ line, said, fields: {} })),
    { line: `{"key":"a","value":"1","version":3}`, said: /not whole: byte/, fields: noConfiguration },
    { line: `{"key":"a","value":"1","version":3}`, said: /not what its sender announced/, fields: otherSum },
  ];
  for (const [i, { line, said, fields }] of cases.entries()) {
    const { cluster, leader, late, client } = withLate(`refused ${i}`);
    const before = late.machine.disk.durableNames();
    const sent = leader.server!.raft.snapshot!;
    const name = snapshotName(sent.lastIncludedIndex);
    rot(cluster, leader, name, ({ length }) => ofSize(length, { ...sent, ...fields }, line, leader));
    const notes = listenFor(cluster, "from another node is not whole");
    late.machine.restart();
    cluster.until(() => notes.length > 0, "it is refused");
    assertMatch(notes[0]!, said);
    cluster.until(() => !late.machine.disk.durableNames().includes(name), "it is gone");
    assertEquals(late.stopped, null);
    cluster.kill(late);
    const after = late.machine.disk.durableNames().filter((one) => !one.includes(name));
    assertEquals(after, before);
    late.machine.restart();
    assertEquals([late.stopped, newest(late)], [null, files(late)[0]]);
    put(client, 30);
    cluster.until(() => late.server!.appliedIndex === leader.server!.appliedIndex, "a newer one will do");
    assertEquals(late.server!.store.digest(), leader.server!.store.digest());
  }
});

Deno.test("Snapshotter.fill() has a snapshot made again whose file was cut short behind the node's back", () => {
  const { cluster, leader, late } = withLate("cut short");
  const index = newest(leader);
  rot(cluster, leader, snapshotName(index), (bytes) => bytes.subarray(0, bytes.length >> 1));
  late.machine.restart();
  cluster.until(() => late.server!.appliedIndex === leader.server!.appliedIndex, "it has caught up");
  assert(newest(leader) > index);
  assertEquals(late.server!.store.digest(), leader.server!.store.digest());
});
