/**
 * The paper's rules of terms and elections, section by section (5.1, 5.2, 5.4.1): one test for each sentence that
 * says what a server must do. paper_replication_test.ts has the rest.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Message } from "../../lib/raft/messages.ts";
import { admitted } from "./disk.ts";
import { Network } from "./harness.ts";
import { heartbeat, only, requestVote, voteResponse } from "./messages.ts";
import { becomeCandidate, logOf, lone, loneLeader, type Node, timeoutMax, timeoutMin } from "./node.ts";

const rolesInTermOne: Record<string, () => Node> = {
  follower: () => lone({ term: 1 }),
  candidate: () => {
    const node = lone();
    becomeCandidate(node);
    return node;
  },
  leader: () => loneLeader(),
};

for (const [role, make] of Object.entries(rolesInTermOne)) {
  Deno.test(`Raft.receive() takes a ${role} to a later term as a follower (paper 5.1)`, () => {
    const node = make();
    assertEquals([node.raft.role, node.raft.currentTerm], [role, 1]);
    node.step(heartbeat(logOf(3, []), { term: 2 }));
    assertEquals([node.raft.role, node.raft.currentTerm, node.raft.leaderId], ["follower", 2, 2]);
    assertEquals(node.disk.hardState, admitted(2, null));
  });
}

Deno.test("Raft.receive() rejects what a leader of an earlier term says (paper 5.1)", () => {
  const node = lone({ term: 2 });
  const answers = node.step(heartbeat(logOf(3, [1, 1]), { term: 1, prevLogIndex: 1, leaderCommit: 3 }));
  const [answer] = only(answers, "contactResponse");
  assertEquals(
    [answer?.to, answer?.term, answers.length],
    [2, 2, 1],
    "told of the later term, and of nothing else",
  );
  assertEquals([node.raft.leaderId, node.raft.lastIndex, node.raft.commitIndex], [null, 1, 0]);
});

Deno.test("Raft() starts as a follower (paper 5.2)", () => {
  assertEquals(lone().raft.role, "follower");
  assertEquals(lone({ term: 7, votedFor: 1, terms: [1, 7] }).raft.role, "follower", "after a crash too");
});

Deno.test("Raft.tick() makes a leader send one heartbeat to each follower (paper 5.2)", () => {
  const network = new Network();
  network.elect(1);
  for (let i = 0; i < 10; i++) network.propose(1, i);
  network.tick();
  const beats = only(network.during(() => network.raft(1).tick()), "appendEntries");
  assertEquals(beats.map(({ to, entries, prevLogIndex }) => ({ to, prevLogIndex, entries })), [
    { to: 2, prevLogIndex: 12, entries: [] },
    { to: 3, prevLogIndex: 12, entries: [] },
  ]);
});

Deno.test("Raft.tick() makes a follower that hears nobody stand for election (paper 5.2, thesis 9.6)", () => {
  const node = lone({ term: 1 });
  const asked = only(node.tick(timeoutMax - 1), "requestVote");
  assertEquals([node.raft.role, node.raft.currentTerm], ["preCandidate", 1], "first it only asks");
  assertEquals(asked.map(({ to, term, preVote }) => ({ to, term, preVote })), [
    { to: 2, term: 2, preVote: true },
    { to: 3, term: 2, preVote: true },
  ]);
  const requests = only(node.step(voteResponse({ term: 2, preVote: true })), "requestVote");
  assertEquals([node.raft.role, node.raft.currentTerm, node.raft.votedFor], ["candidate", 2, 1]);
  assertEquals(node.disk.hardState, admitted(2, 1));
  assertEquals(requests.map(({ to, term, preVote }) => ({ to, term, preVote })), [
    { to: 2, term: 2, preVote: false },
    { to: 3, term: 2, preVote: false },
  ]);
});

Deno.test("Raft.tick() makes a candidate that nobody answers start a new election (paper 5.2)", () => {
  const node = lone({ term: 1 });
  becomeCandidate(node);
  assertEquals([node.raft.role, node.raft.currentTerm], ["candidate", 2]);
  const asked = only(node.tick(timeoutMax - 1), "requestVote");
  assert(asked.length > 0 && asked.every(({ preVote, term }) => preVote && term === 3));
  const requests = only(node.step(voteResponse({ term: 3, preVote: true })), "requestVote");
  assertEquals([node.raft.role, node.raft.currentTerm, node.raft.votedFor], ["candidate", 3, 1]);
  assertEquals(requests.map(({ to, term }) => [to, term]), [[2, 3], [3, 3]]);
});

Deno.test("Raft.receive() decides an election by a majority of all members (paper 5.2)", () => {
  const rows: { size: number; votes: Record<number, boolean>; role: string }[] = [
    { size: 1, votes: {}, role: "leader" },
    { size: 3, votes: { 2: true, 3: true }, role: "leader" },
    { size: 3, votes: { 2: true }, role: "leader" },
    { size: 5, votes: { 2: true, 3: true, 4: true, 5: true }, role: "leader" },
    { size: 5, votes: { 2: true, 3: true, 4: true }, role: "leader" },
    { size: 5, votes: { 2: true, 3: true }, role: "leader" },
    { size: 3, votes: { 2: false, 3: false }, role: "follower" },
    { size: 5, votes: { 2: false, 3: false, 4: false, 5: false }, role: "follower" },
    { size: 5, votes: { 2: true, 3: false, 4: false, 5: false }, role: "follower" },
    { size: 3, votes: {}, role: "candidate" },
    { size: 5, votes: { 2: true }, role: "candidate" },
    { size: 5, votes: { 2: false, 3: false }, role: "candidate" },
    { size: 5, votes: {}, role: "candidate" },
  ];
  for (const { size, votes, role } of rows) {
    const node = lone({ size });
    becomeCandidate(node);
    for (const [from, voteGranted] of Object.entries(votes)) {
      node.step(voteResponse({ from: Number(from), term: 1, voteGranted }));
    }
    assertEquals([node.raft.role, node.raft.currentTerm], [role, 1], `${size}: ${JSON.stringify(votes)}`);
  }
});

const voteRows = [
  { votedFor: null, from: 2, granted: true },
  { votedFor: null, from: 3, granted: true },
  { votedFor: 2, from: 2, granted: true },
  { votedFor: 3, from: 3, granted: true },
  { votedFor: 2, from: 3, granted: false },
  { votedFor: 3, from: 2, granted: false },
];

function granted(answers: Message[]): boolean {
  const [answer, ...more] = only(answers, "requestVoteResponse");
  assert(answer !== undefined && more.length === 0, "a request gets one answer");
  return answer.voteGranted;
}

Deno.test("Raft.receive() gives one vote in a term, first come, first served (paper 5.2)", () => {
  for (const { votedFor, from, granted: expected } of voteRows) {
    const node = lone({ term: 1 });
    if (votedFor !== null) assert(granted(node.step(requestVote({ from: votedFor, term: 1 }))));
    assertEquals(granted(node.step(requestVote({ from, term: 1 }))), expected, `${votedFor}, then ${from}`);
    assertEquals(node.disk.hardState.votedFor, votedFor ?? from);
  }
});

Deno.test("Raft() keeps to its vote after a crash (paper 5.2)", () => {
  for (const { votedFor, from, granted: expected } of voteRows) {
    const node = lone({ term: 1 });
    if (votedFor !== null) node.step(requestVote({ from: votedFor, term: 1 }));
    node.restart();
    assertEquals(granted(node.step(requestVote({ from, term: 1 }))), expected, `${votedFor}, then ${from}`);
  }
});

Deno.test("Raft.receive() gives no vote while leading that term (paper 5.2)", () => {
  const node = loneLeader();
  for (const from of [2, 3]) {
    assert(!granted(node.step(requestVote({ from, term: 1, lastLogIndex: 9, lastLogTerm: 1 }))));
  }
  assertEquals([node.raft.role, node.disk.hardState], ["leader", admitted(1, 1)]);
});

Deno.test("Raft.receive() makes a candidate follow a leader of its own or a later term (paper 5.2)", () => {
  for (const term of [1, 2]) {
    const node = lone();
    becomeCandidate(node);
    node.step(heartbeat(logOf(3, []), { from: 3, term }));
    assertEquals([node.raft.role, node.raft.currentTerm, node.raft.leaderId], ["follower", term, 3]);
  }
});

/** The tick, from a fresh start of the timer, at which the node next asks for votes. */
function ticksUntilItAsks(node: Node): number {
  for (let ticks = 1;; ticks++) {
    assert(ticks <= timeoutMax, "the timeout is in its range");
    if (only(node.tick(), "requestVote").length > 0) return ticks;
  }
}

function assertAllTimeouts(seen: Set<number>): void {
  const all = Array.from({ length: timeoutMax - timeoutMin }, (_, i) => timeoutMin + i);
  assertEquals([...seen].sort((a, b) => a - b), all);
}

Deno.test("Raft.tick() draws a follower's election timeout from the whole range (paper 5.2)", () => {
  const node = lone({ term: 1 });
  const seen = new Set<number>();
  for (let round = 1; round <= 500; round++) {
    node.step(heartbeat(logOf(3, []), { term: 1 + round }));
    seen.add(ticksUntilItAsks(node));
  }
  assertAllTimeouts(seen);
});

Deno.test("Raft.tick() draws a candidate's election timeout from the whole range (paper 5.2)", () => {
  const node = lone();
  const seen = new Set<number>();
  for (let round = 0; round < 500; round++) {
    becomeCandidate(node);
    assertEquals(node.raft.role, "candidate");
    seen.add(ticksUntilItAsks(node));
  }
  assertAllTimeouts(seen);
});

/** In how many of 1000 rounds at least two of five nodes time out first, at the same tick. */
function conflicts(prepare: (node: Node, round: number) => void): number {
  const nodes = [1, 2, 3, 4, 5].map((seed) => {
    const node = lone({ size: 5 });
    node.tick(seed * timeoutMax); // each at another place in its random numbers
    return node;
  });
  let count = 0;
  for (let round = 1; round <= 1000; round++) {
    const timeouts = nodes.map((node) => {
      prepare(node, round);
      return ticksUntilItAsks(node);
    });
    const first = Math.min(...timeouts);
    if (timeouts.filter((ticks) => ticks === first).length > 1) count++;
  }
  return count;
}

Deno.test("Raft.tick() seldom lets followers time out together (paper 5.2)", () => {
  const count = conflicts((node, round) => node.step(heartbeat(logOf(5, []), { term: round })));
  assert(count > 0 && count <= 300, `${count} conflicts in 1000 rounds`);
});

Deno.test("Raft.tick() seldom lets candidates time out together (paper 5.2)", () => {
  const count = conflicts((node) => becomeCandidate(node));
  assert(count > 0 && count <= 300, `${count} conflicts in 1000 rounds`);
});

Deno.test("Raft.campaign() tells every peer the end of this log (paper 5.4.1)", () => {
  for (const { terms, term } of [{ terms: [1], term: 1 }, { terms: [1, 2], term: 2 }]) {
    const node = lone({ terms });
    node.raft.campaign();
    const last = { lastLogIndex: terms.length + 1, lastLogTerm: term };
    const asked = only(node.run(), "requestVote");
    const requests = only(node.step(voteResponse({ term: term + 1, preVote: true })), "requestVote");
    assertEquals([asked.length, requests.length], [2, 2]);
    for (const [i, request] of [...asked, ...requests].entries()) {
      const { lastLogIndex, lastLogTerm, to } = request;
      assertEquals({ lastLogIndex, lastLogTerm, to, term: request.term }, {
        ...last,
        to: 2 + i % 2,
        term: term + 1,
      });
    }
  }
});

Deno.test("Raft.receive() refuses its vote to a log that is less complete (paper 5.4.1)", () => {
  const rows = [ // this node's terms, the candidate's last term and index
    { terms: [1], lastLogTerm: 1, lastLogIndex: 2, expected: true },
    { terms: [1], lastLogTerm: 1, lastLogIndex: 3, expected: true },
    { terms: [1, 1], lastLogTerm: 1, lastLogIndex: 2, expected: false },
    { terms: [1], lastLogTerm: 2, lastLogIndex: 2, expected: true },
    { terms: [1], lastLogTerm: 2, lastLogIndex: 3, expected: true },
    { terms: [1, 1], lastLogTerm: 2, lastLogIndex: 2, expected: true },
    { terms: [2], lastLogTerm: 1, lastLogIndex: 2, expected: false },
    { terms: [2], lastLogTerm: 1, lastLogIndex: 3, expected: false },
    { terms: [2, 2], lastLogTerm: 1, lastLogIndex: 2, expected: false },
    { terms: [1, 1], lastLogTerm: 1, lastLogIndex: 3, expected: true },
  ];
  for (const { terms, lastLogTerm, lastLogIndex, expected } of rows) {
    for (const preVote of [false, true]) {
      const node = lone({ terms });
      const answers = node.step(requestVote({ term: 3, lastLogTerm, lastLogIndex, preVote }));
      assertEquals(
        granted(answers),
        expected,
        `${terms} asked by ${lastLogIndex}/${lastLogTerm}, ${preVote}`,
      );
    }
  }
});
