/**
 * The paper's rules of log replication (5.3, 5.4.2): one test for each sentence that says what a server must do.
 * Index 1 is the founding configuration, so the paper's index 1 is index 2 here.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { Network } from "./harness.ts";
import { appendEntries, appendResponse, heartbeat, only } from "./messages.ts";
import { logOf, lone, loneLeader, termsOf } from "./node.ts";

Deno.test("Raft.propose() appends the command and sends it to every follower (paper 5.3)", () => {
  const node = loneLeader();
  node.step(appendResponse({ term: 1, matchIndex: 2 }), appendResponse({ from: 3, term: 1, matchIndex: 2 }));
  assertEquals(node.raft.propose("x"), { index: 3, term: 1 });
  const ready = node.raft.takeReady()!;
  const requests = only(ready.messages, "appendEntries");
  assertEquals(requests.map(({ to }) => to), [2, 3]);
  for (const { prevLogIndex, prevLogTerm, leaderCommit, entries } of requests) {
    assertEquals({ prevLogIndex, prevLogTerm, leaderCommit }, {
      prevLogIndex: 2,
      prevLogTerm: 1,
      leaderCommit: 2,
    });
    assertEquals(entries.map(({ index, term, command }) => ({ index, term, command })), [
      { index: 3, term: 1, command: "x" },
    ]);
  }
  assertEquals(ready.write?.entries.map(({ index }) => index), [3], "and to its own disk, at the same time");
});

Deno.test("Raft.receive() commits an entry that a majority has, and tells the followers (paper 5.3)", () => {
  const network = new Network();
  network.elect(1);
  const { index } = network.propose(1, "x");
  assertEquals(network.raft(1).commitIndex, index);
  assertEquals(network.node(1).commands, ["x"]);
  const beats = only(network.during(() => network.tick()), "appendEntries");
  assertEquals(beats.map(({ leaderCommit }) => leaderCommit), [index, index]);
  for (const id of [2, 3]) assertEquals(network.node(id).commands, ["x"]);
});

Deno.test("Raft.receive() commits only what a majority of all members has on disk (paper 5.3)", () => {
  const rows: { size: number; acceptors: number[]; committed: boolean }[] = [
    { size: 1, acceptors: [], committed: true },
    { size: 3, acceptors: [], committed: false },
    { size: 3, acceptors: [2], committed: true },
    { size: 3, acceptors: [2, 3], committed: true },
    { size: 5, acceptors: [], committed: false },
    { size: 5, acceptors: [2], committed: false },
    { size: 5, acceptors: [2, 3], committed: true },
    { size: 5, acceptors: [2, 3, 4], committed: true },
    { size: 5, acceptors: [2, 3, 4, 5], committed: true },
  ];
  for (const { size, acceptors, committed } of rows) {
    const node = loneLeader({ size });
    node.raft.propose("x");
    node.run();
    for (const from of acceptors) node.step(appendResponse({ from, term: 1, matchIndex: 3 }));
    assertEquals(node.raft.commitIndex === 3, committed, `${size} members, acknowledged by ${acceptors}`);
    assertEquals(node.commands, committed ? ["x"] : []);
  }
});

Deno.test("Raft.receive() commits all earlier entries with the first of its own term (paper 5.3)", () => {
  for (const terms of [[], [2], [1, 2], [1]]) {
    const node = loneLeader({ terms, term: 3 });
    node.raft.propose("x");
    node.run();
    const last = terms.length + 3; // founding entry, terms, no-op, x
    node.step(appendResponse({ term: 3, matchIndex: last }));
    assertEquals(node.applied.map(({ term }) => term), [0, ...terms, 3, 3]);
    assertEquals(node.commands.at(-1), "x");
  }
});

Deno.test("Raft.receive() applies committed entries in log order on a follower (paper 5.3)", () => {
  const rows = [
    { terms: [1], leaderCommit: 2 },
    { terms: [1, 1], leaderCommit: 3 },
    { terms: [1, 1], leaderCommit: 2 },
    { terms: [1, 1, 1], leaderCommit: 3 },
  ];
  for (const { terms, leaderCommit } of rows) {
    const node = lone();
    const log = logOf(3, terms);
    node.step(appendEntries(log, { term: 1, prevLogIndex: 1, leaderCommit }));
    assertEquals(node.raft.commitIndex, leaderCommit);
    assertEquals(node.applied, log.slice(0, leaderCommit));
  }
});

Deno.test("Raft.receive() commits on a follower no further than this message reaches (paper 5.3)", () => {
  const own = [1, 1, 1, 1, 1, 1, 1, 1, 2]; // index 10 is of term 2, which no other node has
  const leaders = logOf(3, [1, 1, 1, 1, 1, 1, 1, 1, 3, 3]);
  const node = lone({ terms: own });
  node.step(heartbeat(leaders, { term: 3, prevLogIndex: 9, leaderCommit: 11 }));
  assertEquals(node.raft.commitIndex, 9);
  assertEquals(node.applied.length, 9);
  node.step(appendEntries(leaders, { term: 3, prevLogIndex: 9, count: 1, leaderCommit: 11 }));
  assertEquals([node.raft.commitIndex, termsOf(node.raft).at(-1)], [10, 3]);
});

Deno.test("Raft.receive() accepts entries only behind one that both logs have (paper 5.3)", () => {
  const rows = [ // this node has 1, 2 behind the founding entry; the leader another log
    { name: "the founding entry", leader: [1, 2, 3], prevLogIndex: 1, success: true, hint: [0, 0] },
    { name: "a committed match", leader: [1, 2, 3], prevLogIndex: 2, success: true, hint: [0, 0] },
    { name: "a match", leader: [1, 2, 3], prevLogIndex: 3, success: true, hint: [0, 0] },
    { name: "another term", leader: [1, 1, 3], prevLogIndex: 3, success: false, hint: [2, 1] },
    { name: "beyond the end", leader: [1, 2, 3, 3], prevLogIndex: 4, success: false, hint: [3, 2] },
  ];
  for (const { name, leader, prevLogIndex, success, hint } of rows) {
    const node = lone({ terms: [1, 2] });
    node.step(heartbeat(logOf(3, [1]), { term: 2, leaderCommit: 2 }));
    const answers = node.step(appendEntries(logOf(3, leader), { term: 3, from: 3, prevLogIndex, count: 0 }));
    const [answer] = only(answers, "appendEntriesResponse");
    assertEquals(answer?.success, success, name);
    assertEquals(answer?.matchIndex, success ? prevLogIndex : 0, name);
    assertEquals([answer?.conflictIndex, answer?.conflictTerm], hint, name);
    assertEquals(termsOf(node.raft), [1, 2], "an empty message changes no log");
  }
});

Deno.test("Raft.receive() replaces what conflicts and leaves what matches alone (paper 5.3)", () => {
  const rows = [ // this node has 1, 2 at index 2, 3
    { leader: [1, 2, 3], prevLogIndex: 3, terms: [1, 2, 3], written: [4] },
    { leader: [1, 3, 4], prevLogIndex: 2, terms: [1, 3, 4], written: [3, 4] },
    { leader: [1], prevLogIndex: 1, terms: [1, 2], written: [] }, // a shorter message removes nothing
    { leader: [3], prevLogIndex: 1, terms: [3], written: [2] },
  ];
  for (const { leader, prevLogIndex, terms, written } of rows) {
    const node = lone({ terms: [1, 2] });
    node.raft.receive(appendEntries(logOf(3, leader), { term: 4, prevLogIndex }));
    const { write } = node.raft.takeReady()!;
    assertEquals(termsOf(node.raft), terms);
    assertEquals(write!.entries.map(({ index }) => index), written, "only what is new is written");
  }
});

const figure7: Record<string, number[]> = {
  a: [1, 1, 1, 4, 4, 5, 5, 6, 6],
  b: [1, 1, 1, 4],
  c: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
  d: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
  e: [1, 1, 1, 4, 4, 4, 4],
  f: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
};

for (const [name, terms] of Object.entries(figure7)) {
  Deno.test(`Raft.receive() brings log (${name}) of figure 7 in line with the leader's (paper 5.3)`, () => {
    const leader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    // Node 3 votes for the leader whatever its log; it could not win against (d) itself.
    const network = new Network([{ terms: leader, term: 7 }, { terms, term: 7 }, { term: 7 }]);
    network.elect(1);
    network.propose(1, "x");
    network.tick();
    assertEquals(termsOf(network.raft(1)), [...leader, 8, 8]);
    assertEquals(network.node(2).disk.entries, network.node(1).disk.entries);
    assertEquals(network.raft(2).commitIndex, network.raft(1).lastIndex);
  });
}

Deno.test("Raft.receive() commits by counting only entries of the leader's own term (paper 5.4.2)", () => {
  const rows = [ // the leader of term 3 has 1, 2 and its no-op at index 2, 3, 4
    { matchIndex: 2, commitIndex: 0 },
    { matchIndex: 3, commitIndex: 0 },
    { matchIndex: 4, commitIndex: 4 },
  ];
  for (const { matchIndex, commitIndex } of rows) {
    const node = loneLeader({ terms: [1, 2], term: 3 });
    node.step(appendResponse({ term: 3, matchIndex }));
    assertEquals(node.raft.commitIndex, commitIndex, `a majority has index ${matchIndex}`);
  }
});

Deno.test("Raft.receive() keeps figure 8 safe: an old entry on a majority may be replaced (paper 5.4.2)", () => {
  const oneByOne = { appendBytesMax: 1 };
  const network = new Network([
    { terms: [1, 2], options: oneByOne },
    { terms: [1, 2] },
    { terms: [1], term: 3, votedFor: 5 },
    { terms: [1], term: 3, votedFor: 5 },
    { terms: [1, 3], votedFor: 5 },
  ]);
  // (c) S1 leads again and brings the entry of term 2 to a majority, but its own no-op behind it to S2 only.
  network.connectOnly([1, 2, 3]);
  network.drop = (message) =>
    message.type === "appendEntries" && message.to === 3 && message.prevLogIndex === 3 &&
    network.raft(3).lastIndex === 3;
  network.campaign(1); // learns of term 3
  network.elect(1);
  network.tick(3);
  assertEquals([1, 2, 3].map((id) => network.node(id).disk.entries[2]?.term), [2, 2, 2]);
  assertEquals([1, 2, 3].map((id) => network.raft(id).commitIndex), [0, 0, 0]);
  // (d) S5 wins with the votes of S3 and S4, and its entry of term 3 replaces that of term 2.
  network.drop = () => false;
  network.crash(1);
  network.restart(3); // forgets that it heard S1
  network.connectOnly([3, 4, 5]);
  network.campaign(5); // learns of term 4
  network.elect(5);
  network.heal();
  network.restart(1);
  network.tickUntil(() => network.nodes.every(({ raft }) => raft.commitIndex === 4));
  for (const { raft } of network.nodes) assertEquals(termsOf(raft), [1, 3, 5]);
});
