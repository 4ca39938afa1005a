/**
 * Snapshots in a cluster (paper 7): the log is compacted, whoever is behind it is sent a snapshot, whatever happens to
 * the pieces. The two halves of InstallSnapshot by themselves: install_snapshot_test.ts.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess, assertLessOrEqual } from "@std/assert";
import type { Message } from "../../lib/raft/messages.ts";
import { Network } from "./harness.ts";
import { only } from "./messages.ts";
import { timeoutMax, timeoutMin } from "./node.ts";

/** Node 1 leads, node 3 has missed five commands, and all that is left of them is a snapshot of index 7. */
function behind({ size = 3, pieceBytes = 10, keep = 0 } = {}): Network {
  const network = new Network({ size });
  for (const node of network.nodes) node.pieceBytes = pieceBytes;
  network.elect(1);
  network.isolate(3);
  for (let i = 1; i <= 5; i++) network.propose(1, `command ${i}`);
  network.node(1).takeSnapshot(keep);
  return network;
}

/** As `behind`, and some pieces of the snapshot have arrived at node 3. */
function inTheMiddle(options: { size?: number } = {}): Network {
  const network = behind(options);
  network.heal();
  network.hold = ({ type }) => type === "installSnapshot" && network.node(3).disk.incoming.length >= 50;
  network.tick(3);
  assertEquals([network.node(3).disk.incoming.length, network.held.length], [50, 1]);
  return network;
}

/** Node 3 has everything that node 1 has. */
function isComplete(network: Network, id = 3): boolean {
  return network.node(id).lastApplied === network.node(1).lastApplied &&
    network.raft(id).lastIndex === network.raft(1).lastIndex;
}

const pieces = (messages: Message[]) => only(messages, "installSnapshot");

Deno.test("Raft.takeReady() sends a snapshot to a follower behind compaction, and then entries (paper 7)", () => {
  const network = behind();
  network.heal();
  network.tick(3);
  const node = network.node(3);
  assertEquals([node.restoredIndex, node.raft.baseIndex, node.raft.commitIndex], [7, 7, 7]);
  assertEquals(node.commands, network.node(1).commands);
  assertEquals(node.disk.snapshot, network.raft(1).snapshot);
  const sent = network.during(() => network.propose(1, "next"));
  assertEquals(pieces(sent), []);
  network.tick();
  assertEquals([node.applied.map(({ index }) => index), isComplete(network)], [[8], true]);
});

Deno.test("Raft.takeReady() sends no snapshot to a slow follower whose entries are still there (etcd slow_follower)", () => {
  const network = behind({ keep: 5 });
  assertEquals(network.raft(1).baseIndex, 2);
  network.heal();
  const sent = network.during(() => network.tick(3));
  assertEquals([pieces(sent), isComplete(network), network.node(3).restoredIndex], [[], true, 0]);
});

Deno.test("Raft() starts from its snapshot and the log behind it (paper 7)", () => {
  const network = behind();
  network.propose(1, "behind the snapshot");
  const { commands } = network.node(1);
  network.restart(1);
  const { raft, restoredIndex, restored } = network.node(1);
  assertEquals([raft.baseIndex, raft.commitIndex, raft.lastIndex, restoredIndex], [7, 7, 8, 7]);
  assertEquals([raft.configuration, raft.configurationIndex], [network.raft(2).configuration, 1]);
  assertEquals(restored, commands.slice(0, 5));
  network.heal();
  network.tickUntil(() => network.nodes.every(({ commands: { length } }) => length === 6));
  assertEquals(network.node(1).commands, commands);
});

Deno.test("Raft.takeReady() brings a snapshot over although pieces and answers get lost", () => {
  const network = behind();
  let count = 0;
  network.drop = ({ type }) => /installSnapshot/.test(type) && ++count % 7 === 0;
  network.heal();
  network.tickUntil(() => isComplete(network), 50 * timeoutMax);
  assertGreater(count, 50);
});

Deno.test("Raft.receive() is not confused when each piece comes twice, also later (camunda #14367)", () => {
  const network = behind();
  network.heal();
  network.tick(3);
  const node = network.node(3);
  const late = network.sent.filter(({ type }) => /installSnapshot|appendEntriesResponse/.test(type));
  network.propose(1, "next");
  network.tick();
  const { restored, applied } = node;
  const answers = network.during(() => network.inFlight.push(...late, ...late));
  assert(node.restored === restored && node.applied === applied, "nothing is taken over again");
  assertEquals(answers.filter(({ type }) => type === "installSnapshotResponse"), []);
  const again = behind();
  again.drop = (message) => {
    if (message.type.startsWith("installSnapshot")) again.inFlight.push(message);
    return false;
  };
  again.heal();
  again.tick(3);
  assertEquals(isComplete(again), true);
});

Deno.test("Raft.peerUnreachable() sends the piece that was under way again, at once", () => {
  const network = inTheMiddle();
  const [lost] = pieces(network.held.splice(0));
  network.hold = () => false;
  const sent = network.during(() => network.raft(1).peerUnreachable(3));
  assertEquals(pieces(sent)[0]?.offset, lost!.offset);
  assertEquals(isComplete(network), true);
});

Deno.test("Raft.receive() begins again when the follower is another process", () => {
  const network = inTheMiddle();
  network.held = [];
  network.hold = () => false;
  network.restart(3);
  const sent = network.during(() => network.tick(3));
  assertEquals([pieces(sent)[0]?.offset, isComplete(network)], [0, true]);
});

Deno.test("Raft.receive() begins again when another node leads and sends its own snapshot", () => {
  const network = inTheMiddle();
  network.node(2).takeSnapshot();
  network.crash(1);
  network.held = [];
  network.hold = () => false;
  network.tickUntil(() => network.leaders[0] === 2);
  network.tickUntil(() => network.node(3).lastApplied === network.raft(2).lastIndex);
  const { restoredIndex, commands } = network.node(3);
  assertEquals([restoredIndex, commands], [7, network.node(2).commands]);
});

Deno.test("Raft.receive() takes entries in the middle of a transfer from a leader that still has them", () => {
  const network = inTheMiddle();
  network.crash(1);
  network.held = [];
  network.hold = () => false;
  network.tickUntil(() => network.leaders[0] === 2);
  network.tickUntil(() => network.node(3).lastApplied === network.raft(2).lastIndex);
  network.tick();
  assertEquals([network.node(3).restoredIndex, network.raft(3).receivingIndex], [0, null], "it is needless");
  network.restart(1);
  network.tickUntil(() => isComplete(network));
});

Deno.test("Raft.discard() gets another snapshot for one that was damaged on the leader", () => {
  const network = behind();
  const file = network.node(1).disk.files.get(7)!;
  file[40]! ^= 1;
  network.heal();
  const sent = network.during(() => network.tick(2 * timeoutMax));
  assertEquals([network.raft(1).suspectIndex, network.node(3).lastApplied], [7, 0]);
  const attempts = pieces(sent).filter(({ offset }) => offset === 0).length;
  assertLessOrEqual(attempts, 3, "the same again is tried now and then only");
  network.propose(1, "next");
  network.node(1).takeSnapshot();
  network.tick();
  assertEquals(isComplete(network), true, "a newer one at once");
  assertEquals([network.node(3).restoredIndex, network.node(3).commands.length], [8, 6]);
});

Deno.test("Raft.transfers() tells what may not be compacted while a snapshot is under way (BN6, cockroach #8639)", () => {
  const network = inTheMiddle();
  assertEquals(network.raft(1).transfers, [7]);
  network.propose(1, "next");
  network.node(1).takeSnapshot();
  assertEquals([...network.node(1).disk.files.keys()], [7, 8], "both are still needed");
  assertEquals([network.raft(1).baseIndex, network.raft(1).snapshot?.lastIncludedIndex], [7, 8]);
  const sent = network.during(() => network.release());
  network.tick();
  assertEquals(new Set(pieces(sent).map(({ lastIncludedIndex }) => lastIncludedIndex)), new Set([7]));
  assertEquals([isComplete(network), network.node(3).applied.map(({ index }) => index)], [true, [8]]);
  network.node(1).compact();
  assertEquals([network.raft(1).transfers, network.raft(1).baseIndex], [[], 8]);
  assertEquals([...network.node(1).disk.files.keys()], [8]);
});

Deno.test("Raft.compact() below what a transfer needs costs a second snapshot, and nothing else", () => {
  const network = inTheMiddle();
  network.propose(1, "next");
  network.node(1).takeSnapshot();
  network.raft(1).compact(8);
  const sent = network.during(() => network.release());
  assertEquals(new Set(pieces(sent).map(({ lastIncludedIndex }) => lastIncludedIndex)), new Set([7, 8]));
  assertEquals([isComplete(network), network.node(3).restoredIndex], [true, 8]);
});

Deno.test("Raft.tick() sends heartbeats during a transfer, so that nobody stands for election", () => {
  const network = inTheMiddle();
  const sent = network.during(() => network.tick(5 * timeoutMax));
  assertEquals([network.leaders, network.raft(1).currentTerm], [[1], 1]);
  const heartbeats = only(sent, "appendEntries").filter(({ to }) => to === 3);
  assertEquals(heartbeats.length, 5 * timeoutMax);
  assert(heartbeats.every(({ prevLogIndex, entries }) => prevLogIndex === 0 && entries.length === 0));
  const again = pieces(sent);
  assertLessOrEqual(again.length, 5, "one piece is under way, sent again after an election timeout");
  assertEquals(new Set(again.map(({ offset }) => offset)), new Set([50]));
});

Deno.test("Raft.propose() goes on while a follower is sent a snapshot, and sends it no entries meanwhile", () => {
  const network = inTheMiddle();
  const sent = network.during(() => {
    for (let i = 0; i < 20; i++) network.propose(1, i);
    network.tick(2);
  });
  assertEquals(network.raft(1).commitIndex, 27);
  assertEquals(only(sent, "appendEntries").filter(({ to, entries }) => to === 3 && entries.length > 0), []);
  network.release();
  network.tick();
  assertEquals([isComplete(network), network.node(3).commands.length], [true, 25]);
});

Deno.test("Raft.takeReady() does not wait for a follower that is gone with an old snapshot, which could never go", () => {
  const network = inTheMiddle();
  network.crash(3);
  network.held = [];
  network.hold = () => false;
  network.propose(1, "next");
  network.node(1).takeSnapshot();
  network.tick(9 * timeoutMax);
  assertEquals(network.raft(1).transfers, [7]);
  network.tick(2 * timeoutMax);
  assertEquals(network.raft(1).transfers, [8]);
  network.restart(3);
  network.tickUntil(() => isComplete(network));
  assertEquals(network.node(3).restoredIndex, 8);
});

Deno.test("Raft.takeReady() does not wait with an old snapshot for a follower that answers and whose disk takes nothing", () => {
  const network = inTheMiddle(); // each piece is lost on the way, and every heartbeat is answered
  network.propose(1, "next");
  network.node(1).takeSnapshot();
  network.tick(9 * timeoutMax);
  assertEquals([network.raft(1).transfers, network.raft(1).baseIndex], [[7], 7]);
  network.tick(2 * timeoutMax);
  network.node(1).compact();
  assertEquals([network.raft(1).transfers, network.raft(1).baseIndex], [[8], 8], "the log may be cut again");
  network.hold = () => false;
  network.tickUntil(() => isComplete(network));
  assertEquals(network.node(3).restoredIndex, 8);
});

Deno.test("Raft.takeReady() stays with an old snapshot that a slow follower takes piece by piece", () => {
  const network = inTheMiddle();
  network.propose(1, "next");
  network.node(1).takeSnapshot();
  for (let count = 0; count < 5; count++) {
    network.tick(5 * timeoutMax);
    assertEquals(network.raft(1).transfers, [7], `after ${count} pieces`);
    network.deliver(network.held[0]!); // the others are the same piece, sent again
    network.held = [];
    network.settle();
  }
  network.release();
  network.tickUntil(() => isComplete(network));
  assertEquals(network.node(3).restoredIndex, 7);
});

Deno.test("Raft.campaign() compares logs that are compacted to the end (paper 5.4.1, 7)", () => {
  const network = behind();
  network.tick();
  network.node(2).takeSnapshot();
  network.crash(1);
  network.heal();
  network.campaign(3);
  assertEquals([network.leaders, network.raft(3).currentTerm], [[], 1], "its log is shorter");
  network.tick(timeoutMin, [2, 3]);
  network.elect(2);
  assertEquals(network.raft(2).entryAt(8)?.prevCrc, network.raft(2).snapshotAt(7).lastIncludedCrc);
  network.tick(3);
  assertEquals([network.raft(2).commitIndex, network.node(3).restoredIndex], [8, 7]);
  network.restart(1);
  network.tickUntil(() => network.node(1).lastApplied === 8);
  assertEquals(network.node(1).commands, network.node(3).commands);
});

Deno.test("Raft.read() of a follower that was sent a snapshot sees what it holds", () => {
  const network = behind();
  network.heal();
  network.tick(3);
  network.raft(3).read(1);
  network.settle();
  assertEquals(network.node(3).reads.get(1), 7);
});

Deno.test("Raft.takeReady() serves two followers with snapshots at once, each at its own pace", () => {
  const network = new Network({ size: 5 });
  for (const node of network.nodes) node.pieceBytes = 10;
  network.elect(1);
  for (const id of [3, 4]) network.isolate(id);
  for (let i = 0; i < 5; i++) network.propose(1, i);
  network.node(1).takeSnapshot();
  network.heal();
  network.drop = ({ type, to }) =>
    type === "installSnapshot" && to === 4 && network.node(4).disk.incoming.length > 90;
  network.tick(3);
  assertEquals([isComplete(network, 3), network.raft(1).transfers], [true, [7]]);
  network.drop = () => false;
  network.tickUntil(() => isComplete(network, 4));
  assertLess(network.sent.length, 2000);
});

Deno.test("Raft.onSnapshotTaken() on every node, again and again, loses nothing (paper 7)", () => {
  const network = new Network({ size: 3 });
  network.elect(1);
  for (let i = 0; i < 60; i++) {
    const away = 1 + (i >> 2) % 3;
    if (i % 4 === 0) network.isolate(away);
    if (i % 4 === 3) network.heal();
    network.tickUntil(() => network.leaders.some((id) => typeof network.raft(id).propose(i) !== "string"));
    network.tick(timeoutMax);
    for (const node of network.nodes) {
      if (node.lastApplied > (node.raft.snapshot?.lastIncludedIndex ?? 0)) node.takeSnapshot(i % 3);
    }
  }
  network.heal();
  network.tickUntil(() => network.leaders.length === 1 && isComplete(network, 2) && isComplete(network, 3));
  assertGreater(Math.min(...network.nodes.map(({ raft }) => raft.baseIndex)), 50);
});
