/**
 * Replication beyond the paper's own sentences: flow control, lost and reordered messages, slow disks, and what is
 * never acknowledged, committed or cut.
 *
 * @module
 */

import { assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import { AssertionFailed } from "../../lib/assert.ts";
import { makeEntry } from "../../lib/raft/entry.ts";
import { Network } from "./harness.ts";
import { appendEntries, appendResponse, heartbeat, only } from "./messages.ts";
import { logOf, lone, loneLeader, termsOf } from "./node.ts";

Deno.test("Raft.receive() does not commit entries of earlier terms without one of its own (paper 5.4.2)", () => {
  const network = new Network({ size: 5, options: { appendBytesMax: 1 } }); // entries go one by one
  network.elect(1);
  network.connectOnly([1, 2]);
  network.propose(1, "a");
  network.propose(1, "b");
  network.tick(20); // the old leader gives up
  network.connectOnly([1, 2, 3, 4, 5]);
  network.drop = (message) =>
    // entries of the new term get lost
    message.type === "appendEntries" && message.entries.some(({ term }) => term === 2);
  network.elect(2);
  network.tick(3);
  assertEquals(network.nodes.filter(({ disk }) => disk.entries.length >= 4).length >= 3, true);
  assertEquals(network.raft(2).commitIndex, 2, "a and b are on a majority, but of term 1");
  network.drop = () => false;
  network.tick(2);
  assertEquals(network.raft(2).commitIndex, 5);
  for (const node of network.nodes) assertEquals(node.commands, ["a", "b"]);
});

Deno.test("Raft.campaign() commits what earlier terms left by its no-op, with no proposal (paper 8)", () => {
  const network = new Network([{ terms: [1, 1, 2] }, { terms: [1, 1, 2] }, { terms: [1] }]);
  network.elect(1);
  assertEquals(network.raft(1).commitIndex, 5);
  assertEquals(network.raft(1).entryAt(5)?.kind, "noop");
  assertEquals(network.node(1).commands, ["2/1", "3/1", "4/2"]);
});

Deno.test("Raft.receive() commits the greatest index of its term that a majority has (paper 5.3, 5.4.2)", () => {
  const rows: { size: number; others: number[]; commitIndex: number }[] = [
    { size: 1, others: [], commitIndex: 6 }, // the leader of term 2 has index 4, 5, 6 of its own
    { size: 2, others: [3], commitIndex: 0 },
    { size: 2, others: [4], commitIndex: 4 },
    { size: 3, others: [0, 0], commitIndex: 0 },
    { size: 3, others: [3, 3], commitIndex: 0 },
    { size: 3, others: [5, 0], commitIndex: 5 },
    { size: 3, others: [5, 4], commitIndex: 5 },
    { size: 4, others: [6, 0, 0], commitIndex: 0 },
    { size: 4, others: [6, 4, 0], commitIndex: 4 },
    { size: 4, others: [6, 5, 4], commitIndex: 5 },
    { size: 5, others: [6, 3, 3, 3], commitIndex: 0 },
    { size: 5, others: [6, 4, 4, 0], commitIndex: 4 },
    { size: 5, others: [6, 5, 5, 5], commitIndex: 5 },
  ];
  for (const { size, others, commitIndex } of rows) {
    const node = loneLeader({ size, terms: [1, 1], term: 2 });
    for (const command of ["x", "y"]) node.raft.propose(command);
    node.run();
    for (const [i, matchIndex] of others.entries()) {
      node.step(appendResponse({ from: i + 2, term: 2, matchIndex }));
    }
    assertEquals(node.raft.commitIndex, commitIndex, `${size} members: 6,${others}`);
  }
});

Deno.test("Raft.receive() acknowledges no more than this message matched (paper 5.3)", () => {
  const node = lone({ terms: [1, 1, 1, 1] }); // index 4 and 5 are of a leader that was lost
  const leaders = logOf(3, [1, 1, 2, 2]);
  const [first] = only(node.step(heartbeat(leaders, { term: 2, prevLogIndex: 3 })), "appendEntriesResponse");
  assertEquals([first?.success, first?.matchIndex], [true, 3]);
  const [second] = only(
    node.step(appendEntries(leaders, { term: 2, prevLogIndex: 1, count: 1 })),
    "appendEntriesResponse",
  );
  assertEquals([second?.success, second?.matchIndex], [true, 2]);
  assertEquals(termsOf(node.raft), [1, 1, 1, 1], "and leaves the rest alone");
});

Deno.test("Raft.receive() takes reordered and repeated messages as if they came in order (hashicorp/raft #113)", () => {
  const log = logOf(3, [1, 1, 1, 1]);
  const early = appendEntries(log, { term: 1, prevLogIndex: 1, count: 2, leaderCommit: 2 });
  const late = appendEntries(log, { term: 1, prevLogIndex: 3, count: 2, leaderCommit: 4 });
  for (const messages of [[late, early, late], [early, late, early], [early, early, late, late, early]]) {
    const node = lone();
    node.step(...messages);
    assertEquals(node.disk.entries, log);
    assertEquals(node.raft.commitIndex, 4);
  }
});

Deno.test("Raft.receive() skips a whole term of conflicts in one exchange (paper 5.3)", () => {
  const rows = [
    { name: "many terms here", leader: [...Array(50).fill(1), 9], follower: Array(50).fill(2), rounds: 2 },
    {
      name: "a stale tail",
      leader: [1, 1, ...Array(60).fill(6)],
      follower: [1, ...Array(60).fill(5)],
      rounds: 3,
    },
    { name: "an empty log", leader: Array(80).fill(3), follower: [], rounds: 2 },
    { name: "terms in turn", leader: [1, 3, 3, 3, 5, 7], follower: [1, 2, 2, 4, 4, 6, 6, 6], rounds: 5 },
  ];
  for (const { name, leader, follower, rounds } of rows) {
    const network = new Network([{ terms: leader, term: 10 }, { terms: follower, term: 10 }, { term: 10 }]);
    network.crash(2);
    network.elect(1);
    network.restart(2);
    const sent = network.during(() => network.tick());
    const refused = only(sent, "appendEntriesResponse").filter(({ from, success }) => from === 2 && !success);
    const questions = new Set(refused.map(({ prevLogIndex }) => prevLogIndex));
    assertLessOrEqual(questions.size, rounds, name);
    assertEquals(network.node(2).disk.entries, network.node(1).disk.entries, name);
  }
});

Deno.test("Raft.receive() gets over 50 lost entries of each of two rival leaders (MIT 6.5840 Backup)", () => {
  const network = new Network({ size: 5 });
  network.elect(1);
  network.connectOnly([1, 2]);
  for (let i = 0; i < 50; i++) network.propose(1, `first ${i}`);
  network.connectOnly([3, 4, 5]);
  network.tickUntil(() => network.leaders.some((id) => id > 2));
  const rival = network.leaders.find((id) => id > 2)!;
  for (let i = 0; i < 50; i++) network.propose(rival, `second ${i}`);
  const other = rival === 3 ? 4 : 3;
  network.connectOnly([rival, other]);
  for (let i = 0; i < 50; i++) network.propose(rival, `third ${i}`);
  network.heal();
  network.tickUntil(() =>
    network.nodes.every(({ raft }) => raft.commitIndex === network.raft(rival).lastIndex)
  );
  for (const node of network.nodes) {
    assertEquals(node.commands.slice(0, 50), network.node(rival).commands.slice(0, 50));
  }
  assertEquals(network.node(rival).commands[0], "second 0");
});

Deno.test("Raft.receive() recovers by the next heartbeat from any lost message", () => {
  for (const lost of ["appendEntries", "appendEntriesResponse"]) {
    const network = new Network();
    network.elect(1);
    network.drop = ({ type }) => type === lost;
    for (let i = 0; i < 5; i++) network.raft(1).propose(i);
    network.settle();
    assertEquals(network.raft(1).commitIndex, 2);
    network.drop = () => false;
    network.tick(3);
    for (const { raft } of network.nodes) assertEquals(raft.commitIndex, 7, lost);
  }
});

Deno.test("Raft.receive() brings a follower that was away up to date by heartbeats alone", () => {
  const network = new Network();
  network.elect(1);
  network.crash(3);
  for (let i = 0; i < 30; i++) network.propose(1, i);
  network.restart(3);
  network.tick(2);
  assertEquals(network.node(3).commands, network.node(1).commands);
});

Deno.test("Raft.takeReady() acknowledges entries, also the leader's own, only when they are durable", () => {
  const network = new Network({ size: 1 });
  network.elect(1);
  network.node(1).diskHeld = true;
  network.propose(1, "x");
  assertEquals([network.raft(1).lastIndex, network.raft(1).commitIndex], [3, 2]);
  network.node(1).finishWrite();
  network.settle();
  assertEquals(network.node(1).commands, ["x"]);

  const pair = new Network({ size: 2 });
  pair.elect(1);
  pair.node(1).diskHeld = true;
  pair.propose(1, "x");
  assertEquals([pair.raft(1).progress()[0]?.matchIndex, pair.raft(1).commitIndex], [3, 2]);

  const follower = lone();
  follower.diskHeld = true;
  const log = logOf(3, [1]);
  const said = follower.step(
    heartbeat(log, { term: 1, prevLogIndex: 1 }),
    appendEntries(log, { term: 1, prevLogIndex: 1 }),
  );
  assertEquals(said, [], "not even that it heard: its term is not durable either");
  const answers = [...follower.finishWrite(), ...follower.finishWrite()];
  assertEquals(only(answers, "appendEntriesResponse").map(({ matchIndex }) => matchIndex), [1, 2]);
});

Deno.test("Raft.receive() commits what the followers have while the leader's own disk hangs", () => {
  const network = new Network();
  network.elect(1);
  network.node(1).diskHeld = true;
  network.propose(1, "x");
  assertEquals(network.raft(1).commitIndex, 3);
  assertEquals(network.node(1).commands, ["x"], "applied before its own disk has it");
  network.crash(1);
  network.tickUntil(() => network.leaders.length === 1);
  network.restart(1);
  network.tick(2);
  assertEquals(network.node(1).commands, ["x"]);
});

Deno.test("Raft.takeReady() writes in the order of the steps, also when the log was cut between two writes", () => {
  const node = lone({ terms: [1] });
  node.diskHeld = true;
  const first = logOf(3, [1, 2, 2]), second = logOf(3, [1, 3]);
  node.step(appendEntries(first, { term: 2, prevLogIndex: 2 }));
  node.step(appendEntries(second, { term: 3, from: 3, prevLogIndex: 2 }));
  assertEquals(node.pending.map(({ entries }) => entries.map(({ index, term }) => `${index}/${term}`)), [
    ["3/2", "4/2"],
    ["3/3"],
  ]);
  node.diskHeld = false;
  node.run();
  assertEquals(node.disk.entries, second);
});

Deno.test("Raft.receive() counts no acknowledgement for an entry that was overwritten meanwhile (etcd append ABA)", () => {
  const network = new Network();
  network.elect(1);
  network.tick();
  network.hold = ({ type, from }) => type === "appendEntriesResponse" && from !== 1;
  network.isolate(3);
  network.propose(1, "x"); // node 2 acknowledges index 3 of term 1; the answer is slow
  network.crash(2);
  network.heal();
  network.node(2).disk.entries.length = 2; // as if its disk had lied
  const stale = network.held.splice(0);
  network.restart(2);
  network.restart(1);
  network.hold = () => false;
  network.drop = ({ type }) => type === "appendEntries";
  network.elect(1);
  assertEquals(network.raft(1).lastIndex, 4);
  for (const message of stale) network.deliver(message);
  network.settle();
  assertEquals([network.raft(1).commitIndex, network.raft(1).progress()[0]?.matchIndex], [0, 0]);
});

Deno.test("Raft.receive() refuses entries that do not continue each other, and changes nothing", () => {
  const log = logOf(3, [1, 1, 1]), other = logOf(4, [1, 1, 1]);
  const message = appendEntries(log, { term: 1, prevLogIndex: 1 });
  const falling = makeEntry({ index: 2, term: 3, kind: "noop", command: null, prevCrc: log[0]!.crc });
  const rows = {
    "a gap": [log[1]!, log[3]!],
    "a repetition": [log[1]!, log[1]!],
    "another place": [log[2]!],
    "another chain": [log[1]!, other[2]!],
    "a term above the leader's": [falling],
    "terms that fall": [falling, makeEntry({ ...log[2]!, prevCrc: falling.crc })],
  };
  for (const [name, entries] of Object.entries(rows)) {
    const node = lone();
    const term = name === "terms that fall" ? 3 : 1;
    assertEquals(typeof node.raft.receive({ ...message, term, entries }), "string", name);
    assertEquals([node.run(), node.raft.lastIndex, node.raft.currentTerm], [[], 1, 0], name);
  }
});

Deno.test("Raft.receive() refuses a second leader of one term", () => {
  const follower = lone();
  follower.step(heartbeat(logOf(3, []), { from: 2, term: 1 }));
  const rival = appendEntries(logOf(3, [1]), { from: 3, term: 1, prevLogIndex: 1 });
  assertEquals(typeof follower.raft.receive(rival), "string");
  assertEquals([follower.raft.leaderId, follower.raft.lastIndex], [2, 1]);
  const leader = loneLeader();
  assertEquals(typeof leader.raft.receive(rival), "string");
  assertEquals([leader.raft.role, leader.raft.lastIndex], ["leader", 2]);
});

Deno.test("Raft.receive() stops at the same index and term with another checksum: the logs have diverged", () => {
  const mine = logOf(3, [1, 1]);
  const theirs = [mine[0]!, makeEntry({ ...mine[1]!, command: "something else", prevCrc: mine[0]!.crc })];
  for (
    const message of [
      appendEntries(theirs, { term: 1, prevLogIndex: 1 }),
      heartbeat(theirs, { term: 1, prevLogIndex: 2 }),
    ]
  ) {
    const node = lone({ terms: [1, 1] });
    assertThrows(() => node.raft.receive(message), AssertionFailed, "diverged");
    assertEquals(node.raft.takeReady()?.write?.messages.filter(({ to }) => to !== 1) ?? [], []);
  }
});

Deno.test("Raft.receive() refuses what would replace a committed entry, and answers nothing", () => {
  const conflicting = logOf(3, [1, 2, 2]);
  for (
    const message of [
      appendEntries(conflicting, { term: 2, prevLogIndex: 2 }),
      heartbeat(conflicting, { term: 2, prevLogIndex: 3 }),
    ]
  ) {
    const node = lone({ terms: [1, 1] });
    node.step(heartbeat(logOf(3, [1, 1]), { term: 1, leaderCommit: 3 }));
    assertEquals(node.raft.receive(message), "it contradicts entry 3, which is committed");
    assertEquals([node.raft.currentTerm, node.raft.lastTerm, node.raft.takeReady()], [1, 1, null]);
  }
});
