/**
 * ReadIndex (thesis 6.4): a read never misses a write that was acknowledged before it began, whoever is asked, however
 * slow, paused, deposed or restarted anyone is.
 *
 * @module
 */

import { assert, assertEquals, assertGreaterOrEqual } from "@std/assert";
import { Network } from "./harness.ts";
import { contactResponse, heartbeat, only, readIndexResponse } from "./messages.ts";
import { logOf, lone, loneLeader, timeoutMax, timeoutMin } from "./node.ts";

/** Starts a read and settles. The result, or undefined while it is open. */
function read(network: Network, nodeId: number, id: number): number | null | undefined {
  assert(network.raft(nodeId).read(id), "a leader is known");
  network.settle();
  return network.node(nodeId).reads.get(id);
}

Deno.test("Raft.read() gives every node an index that covers all acknowledged writes (thesis 6.4)", () => {
  const network = new Network();
  network.elect(1);
  network.tick();
  for (let i = 0; i < 10; i++) {
    const { index } = network.propose(1, i);
    for (const id of [1, 2, 3]) assertGreaterOrEqual(read(network, id, 10 * i + id) ?? 0, index);
  }
});

Deno.test("Raft.read() on a new leader waits for the first commit of its term (etcd-io/etcd #7331)", () => {
  const network = new Network([{ terms: [1] }, { terms: [1] }, { terms: [1] }]);
  network.drop = ({ type }) => type === "appendEntriesResponse"; // contact, but no acknowledgement
  network.elect(1);
  assertEquals(network.raft(1).commitIndex, 0);
  assertEquals(read(network, 1, 7), undefined);
  assertEquals(read(network, 2, 8), undefined);
  network.tick(3, [1]);
  assertEquals([network.node(1).reads.size, network.node(2).reads.size], [0, 0]);
  network.drop = () => false;
  network.tick();
  assertEquals([network.node(1).reads.get(7), network.node(2).reads.get(8)], [3, 3]);
});

Deno.test("Raft.read() needs a majority to answer after the read began (thesis 6.4)", () => {
  const node = loneLeader({ size: 5 });
  node.step(...[2, 3].map((from) => (
    {
      ...contactResponse({ from, term: 1 }),
      type: "appendEntriesResponse" as const,
      success: true,
      prevLogIndex: 1,
      matchIndex: 2,
      conflictIndex: 0,
      conflictTerm: 0,
    }
  )));
  assertEquals(node.raft.commitIndex, 2);
  assert(node.raft.read(7));
  const round = only(node.run(), "appendEntries")[0]!.readRound;
  node.step(...[2, 3, 4, 5].map((from) => contactResponse({ from, term: 1, readRound: round - 1 })));
  assertEquals(node.reads.get(7), undefined, "what was sent before the read proves nothing");
  node.step(contactResponse({ from: 2, term: 1, readRound: round }));
  node.step(contactResponse({ from: 2, term: 1, readRound: round }));
  node.step(contactResponse({ from: 9, term: 1, readRound: round }));
  assertEquals(node.reads.get(7), undefined, "one follower, twice, and a stranger are no majority");
  node.step(contactResponse({ from: 3, term: 1, readRound: round }));
  assertEquals(node.reads.get(7), 2);
});

Deno.test("Raft.read() believes nobody who confirms a round that has not begun", () => {
  const network = new Network();
  network.elect(1);
  network.cut(1, 3);
  network.deliver(contactResponse({ from: 2, to: 1, term: 1, readRound: 1_000_000 }));
  network.cut(1, 2);
  assertEquals(read(network, 1, 7), undefined);
});

Deno.test("Raft.read() shares one round among all reads since the last Ready", () => {
  const node = loneLeader({ size: 1 });
  for (let id = 0; id < 100; id++) node.raft.read(id);
  node.run();
  assertEquals(node.reads.size, 100);
  const network = new Network();
  network.elect(1);
  const sent = network.during(() => {
    for (let id = 0; id < 100; id++) for (const nodeId of [1, 2]) network.raft(nodeId).read(id);
  });
  assertEquals(only(sent, "readIndexRequest").length, 1);
  assertEquals([network.node(1).reads.size, network.node(2).reads.size], [100, 100]);
});

Deno.test("Raft.read() with the same number twice is answered twice (etcd ReadOnlyDuplicateRequest)", () => {
  const network = new Network();
  network.elect(1);
  const { index } = network.propose(1, "x");
  assertEquals([read(network, 1, 7), read(network, 1, 7)], [index, index]);
  network.hold = ({ type }) => type === "contactResponse";
  network.node(1).reads.clear();
  assertEquals([read(network, 1, 7), read(network, 1, 7)], [undefined, undefined]);
  network.propose(1, "y");
  network.release();
  assertEquals(network.node(1).reads.get(7), index);
});

Deno.test("Raft.read() on a leader that was cut off is never answered, and cancelled when it steps down", () => {
  const network = new Network();
  network.elect(1);
  network.isolate(1);
  assertEquals(read(network, 1, 7), undefined);
  network.tick(timeoutMin, [2, 3]);
  network.elect(2);
  network.propose(2, "new");
  assertEquals(read(network, 1, 8), undefined, "it still believes that it leads");
  network.tick(timeoutMax, [1]);
  assertEquals([network.node(1).reads.get(7), network.node(1).reads.get(8)], [null, null]);
});

Deno.test("Raft.read() survives a pause of the leader: old answers confirm nothing new (etcd-io/etcd #20418)", () => {
  const network = new Network();
  network.elect(1);
  network.hold = ({ type, to }) => type === "contactResponse" && to === 1;
  assertEquals(read(network, 1, 7), undefined);
  network.isolate(1); // paused, with the answers to its round still on the way
  network.tick(timeoutMin, [2, 3]);
  network.elect(3);
  const { index } = network.propose(3, "new");
  assertEquals(read(network, 1, 8), undefined);
  network.release();
  assertEquals(network.node(1).reads.get(8), undefined, "the answers belong to the round before");
  assertEquals(network.node(1).reads.get(7), 2, "which was confirmed before the new write");
  network.heal();
  network.tick(2);
  assertEquals(network.node(1).reads.get(8), null);
  assertGreaterOrEqual(read(network, 1, 9) ?? 0, index);
});

Deno.test("Raft.read() on a follower is cancelled when the leader changes, is lost or stays silent", () => {
  const endings: Record<string, (network: Network) => void> = {
    "a later term": (network) => network.deliver(heartbeat(logOf(3, []), { from: 3, to: 2, term: 9 })),
    "the connection broke": (network) => network.raft(2).peerUnreachable(1),
    "no answer": (network) => network.tick(timeoutMin + 1),
    "an election": (network) => network.raft(2).campaign(),
  };
  for (const [name, end] of Object.entries(endings)) {
    const network = new Network();
    network.elect(1);
    network.drop = ({ type }) => type === "readIndexRequest";
    assertEquals(read(network, 2, 7), undefined);
    assert(network.raft(2).read(8)); // not even asked for yet
    end(network);
    network.settle();
    assertEquals([network.node(2).reads.get(7), network.node(2).reads.get(8)], [null, null], name);
  }
});

Deno.test("Raft.read() asks under a fresh number each time: a late answer to an earlier attempt is ignored", () => {
  const network = new Network();
  network.elect(1);
  network.hold = ({ type }) => type === "readIndexResponse";
  read(network, 2, 7);
  network.tick(timeoutMin);
  assertEquals(network.node(2).reads.get(7), null, "given up");
  const { index } = network.propose(1, "x");
  network.node(2).reads.clear();
  read(network, 2, 7);
  const [late] = network.held.splice(0, 1);
  network.deliver(late!);
  network.settle();
  assertEquals(network.node(2).reads.get(7), undefined);
  network.release();
  assertEquals(network.node(2).reads.get(7), index);
});

Deno.test("Raft.read() is not answered by what a node asked before it crashed (etcd-io/etcd #20418)", () => {
  const network = new Network();
  network.elect(1);
  network.hold = ({ type }) => type === "readIndexResponse";
  read(network, 2, 7);
  const stale = network.held.splice(0);
  assertEquals(stale.length, 1);
  network.restart(2);
  network.tick();
  const { index } = network.propose(1, "x");
  read(network, 2, 1);
  for (const message of stale) network.deliver(message);
  network.settle();
  assertEquals(network.node(2).reads.get(1), undefined);
  network.release();
  assertEquals(network.node(2).reads.get(1), index);
});

Deno.test("Raft.read() is not delayed by the disks of the followers (thesis 10.2.1)", () => {
  const network = new Network();
  network.elect(1);
  network.tick();
  for (const id of [2, 3]) network.node(id).diskHeld = true;
  network.raft(1).propose("x");
  network.settle();
  assertEquals(read(network, 1, 7), 2);
  assertEquals(read(network, 3, 8), 2);
});

Deno.test("Raft.read() moves a follower's commitIndex, so that the read need not wait for a heartbeat", () => {
  const network = new Network();
  network.elect(1);
  network.propose(1, "x");
  assertEquals([network.raft(1).commitIndex, network.raft(2).commitIndex], [3, 2]);
  assertEquals(read(network, 2, 7), 3);
  assertEquals(network.node(2).commands, ["x"]);
});

Deno.test("Raft.receive() commits by a read index only what the log is known to share with the leader's", () => {
  const node = lone({ terms: [1, 1] });
  node.step(heartbeat(logOf(3, [1, 1]), { from: 3, term: 1 })); // index 3 is that leader's, not the next one's
  node.step(heartbeat(logOf(3, [1, 2]), { term: 2, prevLogIndex: 2 }));
  assert(node.raft.read(7));
  const [request] = only(node.run(), "readIndexRequest");
  node.step(readIndexResponse({ term: 2, id: request!.id, readIndex: 3 }));
  assertEquals([node.reads.get(7), node.raft.commitIndex], [3, 2]);
});

Deno.test("Raft.read() is refused where no leader is known", () => {
  const node = lone();
  assertEquals(node.raft.read(7), false);
  node.raft.campaign();
  assertEquals([node.raft.read(8), node.run().length, node.reads.size], [false, 2, 0]);
});

Deno.test("Raft.receive() tells a follower at once that this node leads no more", () => {
  const network = new Network();
  network.elect(1);
  network.hold = ({ type }) => type === "readIndexRequest";
  read(network, 2, 7);
  network.cut(1, 3);
  network.node(1).crash();
  network.node(1).start();
  network.invariants.onRestart(network.node(1));
  network.release();
  assertEquals(network.node(2).reads.get(7), null);
});
