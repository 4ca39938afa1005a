/**
 * How a leader sends: what goes out at once, what waits, how much is under way, and how much may wait for a commit.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Message } from "../../lib/raft/messages.ts";
import { Network } from "./harness.ts";
import { appendEntries, appendResponse, only } from "./messages.ts";
import { logOf, lone, loneLeader, type Node } from "./node.ts";

/** A leader of term 1 to whom node 2 has acknowledged everything so far. */
function leaderWithFollower(setup: Parameters<typeof loneLeader>[0] = {}): Node {
  const node = loneLeader(setup);
  node.step(appendResponse({ term: 1, matchIndex: 2 }));
  return node;
}

/** What goes to node 2. */
function toTwo(messages: Message[]): { prevLogIndex: number; entries: number }[] {
  return only(messages, "appendEntries").filter(({ to }) => to === 2)
    .map(({ prevLogIndex, entries }) => ({ prevLogIndex, entries: entries.length }));
}

Deno.test("Raft.takeReady() asks a follower of unknown log one question at a time", () => {
  const node = loneLeader(); // the first question, with the no-op, is under way
  for (let i = 0; i < 3; i++) {
    node.raft.propose(i);
    assertEquals(toTwo(node.run()), []);
  }
  assertEquals(
    toTwo(node.tick()),
    [{ prevLogIndex: 1, entries: 0 }],
    "a heartbeat asks again, without the entries",
  );
  node.raft.propose(3);
  assertEquals(toTwo(node.run()), []);
  const next = node.step(appendResponse({ term: 1, matchIndex: 5 }));
  assertEquals(toTwo(next), [{ prevLogIndex: 5, entries: 1 }]);
});

Deno.test("Raft.takeReady() sends ahead to a follower whose log is known, before it answers", () => {
  const node = leaderWithFollower();
  for (let i = 0; i < 3; i++) {
    node.raft.propose(i);
    assertEquals(toTwo(node.run()), [{ prevLogIndex: 2 + i, entries: 1 }]);
  }
  assertEquals(node.raft.progress()[0], {
    id: 2,
    mode: "replicate",
    matchIndex: 2,
    nextIndex: 6,
    abstains: false,
  });
});

Deno.test("Raft.takeReady() sends all proposals since the last Ready in one message", () => {
  const node = leaderWithFollower();
  for (let i = 0; i < 100; i++) node.raft.propose(i);
  assertEquals(toTwo(node.run()), [{ prevLogIndex: 2, entries: 100 }]);
});

Deno.test("Raft.takeReady() keeps no more bytes under way to a follower than its window", () => {
  const value = "x".repeat(1000);
  const node = leaderWithFollower({ options: { appendBytesMax: 1500, inflightBytesMax: 3000 } });
  for (let i = 0; i < 10; i++) node.raft.propose(value);
  const first = toTwo(node.run());
  assertEquals(first, [2, 3, 4].map((prevLogIndex) => ({ prevLogIndex, entries: 1 })));
  node.raft.propose(value);
  assertEquals(toTwo(node.run()), [], "the window is full");
  assertEquals(toTwo(node.tick()), [{ prevLogIndex: 5, entries: 0 }], "heartbeats pass");
  assertEquals(toTwo(node.step(appendResponse({ term: 1, matchIndex: 3 }))), [{
    prevLogIndex: 5,
    entries: 1,
  }]);
  assertEquals(
    toTwo(node.step(appendResponse({ term: 1, matchIndex: 3 }))),
    [],
    "an old answer opens nothing",
  );
  assertEquals(toTwo(node.step(appendResponse({ term: 1, matchIndex: 6 }))).length, 3);
});

Deno.test("Raft.takeReady() sends an entry larger than a message may be alone", () => {
  const node = leaderWithFollower({ options: { appendBytesMax: 100 } });
  node.raft.propose("small");
  node.raft.propose("x".repeat(500));
  node.raft.propose("small");
  assertEquals(toTwo(node.run()), [2, 3, 4].map((prevLogIndex) => ({ prevLogIndex, entries: 1 })));
});

Deno.test("Raft.propose() refuses when too much is not yet committed, and takes more afterwards", () => {
  const node = leaderWithFollower({ options: { uncommittedBytesMax: 1000 } });
  let taken = 0;
  while (typeof node.raft.propose("x".repeat(200)) !== "string") taken++;
  node.run();
  assertEquals([taken, node.raft.propose("x")], [4, "busy"]);
  assertEquals(node.raft.lastIndex, 6, "what was refused is nowhere");
  node.step(appendResponse({ term: 1, matchIndex: 3 }));
  assertEquals(node.raft.propose("x"), { index: 7, term: 1 });
  node.run();
  node.step(appendResponse({ term: 1, matchIndex: 7 }));
  for (let i = 0; i < 4; i++) assertEquals(typeof node.raft.propose("x".repeat(200)), "object");
});

Deno.test("Raft.propose() counts what earlier terms left uncommitted, and then no more (etcd UncommittedEntryLimit)", () => {
  const node = loneLeader({ terms: Array(10).fill(1), term: 2, options: { uncommittedBytesMax: 1000 } });
  assertEquals(node.raft.propose("x"), "busy");
  node.step(appendResponse({ term: 2, matchIndex: 12 }));
  assertEquals(typeof node.raft.propose("x"), "object");
});

Deno.test("Raft.peerUnreachable() asks anew from what is known to match", () => {
  const node = leaderWithFollower();
  node.raft.propose("x");
  node.raft.propose("y");
  node.run();
  node.raft.peerUnreachable(2);
  assertEquals(node.raft.progress()[0], {
    id: 2,
    mode: "probe",
    matchIndex: 2,
    nextIndex: 3,
    abstains: false,
  });
  assertEquals(toTwo(node.run()), [{ prevLogIndex: 2, entries: 2 }]);
  node.raft.peerUnreachable(9); // never heard of
  assertEquals(node.run(), []);
});

Deno.test("Raft.takeReady() tells a new commitIndex with the next entries or tick, not in a message of its own", () => {
  const node = leaderWithFollower();
  node.raft.propose("x");
  node.run();
  assertEquals(node.step(appendResponse({ term: 1, matchIndex: 3 })), []);
  assertEquals(node.raft.commitIndex, 3);
  node.raft.propose("y");
  const [message] = only(node.run(), "appendEntries");
  assertEquals([message?.leaderCommit, message?.entries.length], [3, 1]);
});

Deno.test("Raft.takeReady() tells a commitIndex that came late to a follower in need (etcd lagging_commit)", () => {
  const network = new Network();
  network.elect(1);
  network.hold = ({ type, from }) => type === "appendEntriesResponse" && from === 3;
  network.cut(1, 2);
  network.propose(1, "x");
  assertEquals(network.raft(1).commitIndex, 2);
  network.heal();
  network.cut(1, 3); // node 3 has x, and hears nothing more
  network.tick(2);
  assertEquals([network.raft(1).commitIndex, network.raft(3).commitIndex], [3, 2]);
  network.heal();
  network.release();
  network.tick();
  assertEquals(network.raft(3).commitIndex, 3);
});

Deno.test("Raft.receive() never takes back what a follower has acknowledged (etcd-io/raft #149)", () => {
  const node = leaderWithFollower();
  for (let i = 0; i < 5; i++) node.raft.propose(i);
  node.run();
  node.step(appendResponse({ term: 1, matchIndex: 6 }));
  node.step(appendResponse({ term: 1, matchIndex: 3 }));
  node.step(appendResponse({ term: 1, success: false, prevLogIndex: 5, conflictIndex: 2, conflictTerm: 1 }));
  assertEquals(node.raft.progress()[0], {
    id: 2,
    mode: "replicate",
    matchIndex: 6,
    nextIndex: 8,
    abstains: false,
  });
  node.step(appendResponse({ term: 1, success: false, prevLogIndex: 7, conflictIndex: 1, conflictTerm: 0 }));
  assertEquals(node.raft.progress()[0], {
    id: 2,
    mode: "probe",
    matchIndex: 6,
    nextIndex: 7,
    abstains: false,
  });
});

Deno.test("Raft.receive() ignores the refusal of a question that it no longer asks", () => {
  const node = loneLeader({ terms: [1, 1, 1], term: 2 });
  const refusal = { term: 2, success: false, prevLogIndex: 4, conflictIndex: 2, conflictTerm: 1 };
  assertEquals(toTwo(node.step(appendResponse(refusal))), [{ prevLogIndex: 2, entries: 3 }]);
  assertEquals(toTwo(node.step(appendResponse(refusal))), [], "the same refusal again");
});

Deno.test("Raft.takeReady() hands a long log out in slices, each entry once", () => {
  const node = lone({ options: { committedEntriesMax: 7 } });
  node.raft.receive(
    appendEntries(logOf(3, Array(29).fill(1)), { term: 1, prevLogIndex: 1, leaderCommit: 30 }),
  );
  const counts: number[] = [];
  for (let ready; (ready = node.raft.takeReady()) !== null;) counts.push(ready.committed.length);
  assertEquals(counts, [7, 7, 7, 7, 2]);
});

Deno.test("Raft.takeReady() returns null when there is nothing to do", () => {
  const network = new Network();
  network.elect(1);
  network.tick();
  for (const { raft } of network.nodes) assertEquals(raft.takeReady(), null);
});

Deno.test("Raft.propose() is refused by all but the leader, and leaves no trace", () => {
  const network = new Network();
  network.elect(1);
  for (const id of [2, 3]) {
    assertEquals(network.raft(id).propose("x"), "notLeader");
    assertEquals(network.raft(id).lastIndex, 2);
  }
  const candidate = lone();
  candidate.raft.campaign();
  assert(candidate.raft.propose("x") === "notLeader");
});
