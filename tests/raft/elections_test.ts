/**
 * Elections beyond the paper's own sentences: rivals, late and repeated votes, and a disk that is slow to remember.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLessOrEqual } from "@std/assert";
import type { Message } from "../../lib/raft/messages.ts";
import { Network } from "./harness.ts";
import { appendEntries, appendResponse, heartbeat, only, requestVote, voteResponse } from "./messages.ts";
import { becomeCandidate, logOf, lone, loneLeader, type Node, timeoutMax, timeoutMin } from "./node.ts";

Deno.test("Raft.campaign() wins with a majority of reachable, not more complete logs (paper 5.4.1)", () => {
  const rows = [
    { name: "all are up", size: 3, down: [], longer: [], role: "leader" },
    { name: "one of three is down", size: 3, down: [3], longer: [], role: "leader" },
    { name: "two of three are down", size: 3, down: [2, 3], longer: [], role: "preCandidate" },
    { name: "two of four are down", size: 4, down: [2, 3], longer: [], role: "preCandidate" },
    { name: "two of five are down", size: 5, down: [2, 3], longer: [], role: "leader" },
    { name: "three of five are down", size: 5, down: [2, 3, 4], longer: [], role: "preCandidate" },
    { name: "one of three has more", size: 3, down: [], longer: [3], role: "leader" },
    { name: "two of three have more", size: 3, down: [], longer: [2, 3], role: "follower" },
    { name: "two of five have more", size: 5, down: [], longer: [2, 3], role: "leader" },
  ];
  for (const { name, size, down, longer, role } of rows) {
    const ids = Array.from({ length: size }, (_, i) => i + 1);
    const network = new Network(ids.map((id) => ({ term: 1, terms: longer.includes(id) ? [1, 1] : [1] })));
    for (const id of down) network.crash(id);
    network.campaign(1);
    assertEquals(
      [network.raft(1).role, network.raft(1).currentTerm],
      [role, role === "leader" ? 2 : 1],
      name,
    );
  }
});

Deno.test("Raft.tick() finds a new leader whenever the old one crashes, each with a later term", () => {
  const network = new Network({ size: 5 });
  const led: number[] = [];
  let term = 0;
  for (let i = 0; i < 10; i++) {
    network.tickUntil(() => network.leaders.length === 1);
    const [leader] = network.leaders;
    assertGreater(network.raft(leader!).currentTerm, term);
    term = network.raft(leader!).currentTerm;
    led.push(leader!);
    network.propose(leader!, i);
    network.crash(leader!);
    if (i > 0) network.restart(led[i - 1]!);
  }
  assertGreater(new Set(led).size, 2, "the office goes round");
});

Deno.test("Raft.campaign() lets a majority replace what a minority alone has, even of a later term", () => {
  const network = new Network([
    { terms: [1] },
    { terms: [1] },
    { terms: [2] }, // led term 2 and reached nobody
    { term: 2, votedFor: 3 },
    { term: 2, votedFor: 3 },
  ]);
  network.campaign(1); // the refusals tell it of term 2
  assertEquals([network.raft(1).role, network.raft(1).currentTerm], ["follower", 2]);
  network.elect(1);
  network.tick();
  for (const { raft, disk } of network.nodes) {
    assertEquals([raft.currentTerm, disk.entries.map(({ term }) => term)], [3, [0, 1, 3]]);
  }
});

const roles: Record<string, () => Node> = {
  follower: () => lone({ term: 1 }),
  preCandidate: () => {
    const node = lone({ term: 1 });
    node.raft.campaign();
    node.run();
    return node;
  },
  candidate: () => {
    const node = lone();
    becomeCandidate(node);
    return node;
  },
  leader: () => loneLeader(),
};

for (const [role, make] of Object.entries(roles)) {
  Deno.test(`Raft.receive() lets a ${role} vote in a later term, if no leader is alive`, () => {
    const node = make();
    const request = requestVote({ term: 2, lastLogTerm: 1, lastLogIndex: 9 });
    const answers = only(node.step(request), "requestVoteResponse");
    if (role === "leader") {
      assertEquals([answers.length, node.raft.role, node.raft.currentTerm], [0, "leader", 1]);
      node.step({ ...request, leadershipTransfer: true });
    }
    assertEquals([node.raft.role, node.raft.currentTerm, node.raft.votedFor], ["follower", 2, 2]);
    assertEquals(node.disk.hardState, { currentTerm: 2, votedFor: 2 });
  });

  Deno.test(`Raft.receive() answers a pre-vote as a ${role} without changing anything (thesis 9.6)`, () => {
    const node = make();
    const before = [node.raft.role, node.raft.currentTerm, node.raft.votedFor, { ...node.disk.hardState }];
    const request = requestVote({ term: 2, preVote: true, lastLogTerm: 1, lastLogIndex: 9 });
    const [answer] = only(node.step(request), "requestVoteResponse");
    assertEquals(answer?.voteGranted, role !== "leader");
    assertEquals(answer?.term, role === "leader" ? 1 : 2);
    assertEquals([node.raft.role, node.raft.currentTerm, node.raft.votedFor, node.disk.hardState], before);
  });

  Deno.test(`Raft.receive() makes a ${role} step down for any later term (paper 5.1)`, () => {
    const messages: [Message, number | null][] = [
      [heartbeat(logOf(3, []), { term: 3 }), 2],
      [voteResponse({ term: 3, voteGranted: false }), null],
      [voteResponse({ term: 3, voteGranted: false, preVote: true }), null],
      [appendResponse({ term: 3, success: false }), null],
    ];
    for (const [message, leaderId] of messages) {
      const node = make();
      node.step(message);
      assertEquals([node.raft.role, node.raft.currentTerm, node.raft.votedFor], ["follower", 3, null]);
      assertEquals(node.raft.leaderId, leaderId, message.type);
      assertEquals(node.disk.hardState, { currentTerm: 3, votedFor: null });
    }
  });
}

Deno.test("Raft.campaign() of the loser of a duel ends when the partition heals", () => {
  const network = new Network();
  network.cut(1, 3);
  network.raft(1).campaign();
  network.raft(3).campaign();
  network.settle(); // node 2 would vote for either, but only once
  const [winner] = network.leaders;
  assertEquals(network.leaders.length, 1);
  const loser = winner === 1 ? 3 : 1;
  network.heal();
  network.tickUntil(() => network.raft(loser).leaderId !== null);
  network.tickUntil(() => new Set(network.nodes.map(({ raft }) => raft.leaderId)).size === 1);
  assertEquals(network.leaders.length, 1);
});

Deno.test("Raft.campaign() of a pre-candidate that cannot win disturbs nobody (thesis 9.6)", () => {
  const network = new Network();
  network.cut(1, 3);
  network.elect(1);
  network.propose(1, "x");
  for (let i = 0; i < 5; i++) network.campaign(3); // node 2 has a live leader and a longer log
  assertEquals([network.raft(3).role, network.raft(3).currentTerm], ["follower", 1]);
  assertEquals([network.leaders, network.raft(1).currentTerm], [[1], 1]);
  network.heal();
  network.tick();
  assertEquals([network.raft(3).role, network.raft(3).leaderId, network.raft(3).lastIndex], [
    "follower",
    1,
    3,
  ]);
});

Deno.test("Raft.receive() makes a candidate concede to the winner and take its log (paper 5.2)", () => {
  const network = new Network({ term: 1 });
  network.isolate(1);
  network.campaign(1);
  assertEquals(network.raft(1).role, "preCandidate");
  network.elect(3);
  network.propose(3, "x");
  network.heal();
  network.tick(2);
  assertEquals([network.raft(1).role, network.raft(1).leaderId], ["follower", 3]);
  assertEquals(network.node(1).commands, ["x"]);
});

Deno.test("Raft.receive() ignores entries that a leader of an earlier term sent long ago", () => {
  const network = new Network();
  network.elect(1);
  network.hold = ({ type, from }) => type === "appendEntries" && from === 1;
  network.raft(1).propose("old");
  network.settle();
  network.crash(1);
  network.tickUntil(() => network.leaders.length === 1);
  const [leader] = network.leaders;
  network.propose(leader!, "new");
  assertEquals(network.held.length, 2);
  network.release();
  network.tick();
  for (const id of [2, 3]) assertEquals(network.node(id).commands, ["new"]);
});

Deno.test("Raft.receive() counts its own vote only once it is durable (paper 5.2)", () => {
  const node = lone({ size: 1 });
  node.diskHeld = true;
  node.raft.campaign();
  node.run();
  assertEquals([node.raft.role, node.raft.currentTerm], ["candidate", 1]);
  assertEquals(node.disk.hardState, { currentTerm: 0, votedFor: null });
  node.finishWrite();
  assertEquals([node.raft.role, node.disk.hardState], ["leader", { currentTerm: 1, votedFor: 1 }]);
});

Deno.test("Raft.campaign() asks for no vote before its own vote is durable (paper 5.2)", () => {
  const node = lone();
  node.raft.campaign();
  node.run();
  node.diskHeld = true;
  assertEquals(node.step(voteResponse({ term: 1, preVote: true })), []);
  assertEquals(node.raft.role, "candidate");
  assertEquals(node.pending[0]?.hardState, { currentTerm: 1, votedFor: 1 }, "term and vote are one write");
  assertEquals(only(node.finishWrite(), "requestVote").length, 2);
});

Deno.test("Raft.receive() gives no vote before it is durable, and a crash takes both back (paper 5.2)", () => {
  const node = lone();
  node.diskHeld = true;
  assertEquals(node.step(requestVote({ from: 2, term: 1 })), []);
  node.restart();
  const [answer] = only(node.step(requestVote({ from: 3, term: 1 })), "requestVoteResponse");
  assertEquals([answer?.to, answer?.voteGranted], [3, true]);
});

Deno.test("Raft.receive() does not count its own vote when that is durable after a lost election", () => {
  const node = lone();
  node.raft.campaign();
  node.run();
  node.diskHeld = true;
  node.step(voteResponse({ term: 1, preVote: true }));
  assertEquals(node.raft.role, "candidate");
  node.step(heartbeat(logOf(3, []), { from: 3, term: 1 }));
  node.diskHeld = false;
  node.run();
  assertEquals([node.raft.role, node.raft.leaderId, node.raft.votedFor], ["follower", 3, 1]);
});

Deno.test("Raft.receive() counts neither pre-votes nor votes of another term in an election", () => {
  const node = lone();
  becomeCandidate(node);
  node.step(
    voteResponse({ from: 2, term: 1, preVote: true }),
    voteResponse({ from: 3, term: 2, preVote: true }),
    voteResponse({ from: 3, term: 0 }),
  );
  assertEquals([node.raft.role, node.raft.currentTerm], ["candidate", 1]);
  node.tick(timeoutMax); // asks again
  node.step(voteResponse({ from: 2, term: 1 }), voteResponse({ from: 2, term: 1, preVote: true }));
  assertEquals([node.raft.role, node.raft.currentTerm], ["preCandidate", 1]);
});

Deno.test("Raft.receive() counts each member once, and nobody else (paper 5.2)", () => {
  const node = lone({ size: 5 });
  becomeCandidate(node);
  for (let i = 0; i < 3; i++) node.step(voteResponse({ from: 2, term: 1 }));
  for (const from of [6, 7, 8]) node.step(voteResponse({ from, term: 1 }));
  assertEquals(node.raft.role, "candidate");
  node.step(voteResponse({ from: 3, term: 1 }));
  assertEquals(node.raft.role, "leader");
});

Deno.test("Raft.receive() does not acknowledge what a former leader wrote in another term (etcd-io/etcd #14370)", () => {
  const network = new Network();
  network.elect(1);
  network.isolate(1);
  network.node(1).diskHeld = true;
  network.raft(1).propose("lost");
  network.settle();
  const own = network.node(1).pending[0]!.messages;
  assertEquals(own.map(({ type, to, term }) => ({ type, to, term })), [
    { type: "appendEntriesResponse", to: 1, term: 1 },
  ]);
  network.heal();
  network.node(1).step(heartbeat(network.node(2).disk.entries, { term: 2 }));
  network.node(1).diskHeld = false;
  network.settle();
  assertEquals([network.raft(1).role, network.raft(1).commitIndex], ["follower", 2]);
});

Deno.test("Raft.campaign() does nothing on a leader and on a node that is no member", () => {
  const leader = loneLeader();
  leader.raft.campaign();
  assertEquals([leader.run(), leader.raft.role, leader.raft.currentTerm], [[], "leader", 1]);
  const outsider = lone({ size: 3 });
  outsider.disk.entries.length = 0;
  outsider.restart();
  assertEquals([outsider.tick(10 * timeoutMax), outsider.raft.role], [[], "follower"]);
});

Deno.test("Raft.campaign() of a cluster of one wins at once and commits (paper 5.2)", () => {
  const network = new Network({ size: 1 });
  network.elect(1);
  network.propose(1, "x");
  assertEquals(network.node(1).commands, ["x"]);
  assertEquals(network.sent, []);
});

Deno.test("Raft.tick() resolves a split vote with new random timeouts (paper 5.2)", () => {
  const network = new Network({ size: 4 });
  network.hold = ({ type }) => type === "requestVote";
  network.raft(1).campaign();
  network.raft(2).campaign();
  network.settle();
  network.release(); // both win the pre-vote
  const votes = network.nodes.map(({ raft }) => raft.votedFor);
  assertEquals([network.leaders, votes.filter((id) => id === 1).length], [[], 2]);
  network.tickUntil(() => network.leaders.length === 1, 4 * timeoutMax);
  assertGreater(network.raft(network.leaders[0]!).currentTerm, 1);
});

Deno.test("Raft.found() starts a fresh wait, so that the founders do not all stand at once", () => {
  const network = new Network();
  const { configuration } = network.raft(1);
  for (const node of network.nodes) {
    node.disk.entries.length = 0;
    node.restart();
  }
  network.tick(5 * timeoutMax);
  for (const { raft } of network.nodes) raft.found(configuration);
  network.settle();
  network.tick(timeoutMin - 1);
  assertEquals(network.sent, []);
  network.tickUntil(() => network.leaders.length === 1, 2 * timeoutMax);
});

/** How many more ticks of silence the node bears. */
function patience(node: Node): number {
  for (let ticks = 1;; ticks++) {
    node.raft.tick();
    node.run();
    if (node.raft.role !== "follower") return ticks;
  }
}

Deno.test("Raft.receive() resets the election timer for a granted vote and a leader's word only (paper 5.2)", () => {
  const log = logOf(3, [1, 1]);
  const rows: [string, Message, boolean][] = [
    ["a heartbeat", heartbeat(log, { term: 1 }), true],
    ["entries that do not fit", heartbeat(logOf(3, [1, 1, 1]), { term: 1 }), true],
    ["a granted vote", requestVote({ term: 2, lastLogIndex: 3, lastLogTerm: 1 }), true],
    ["a refused vote", requestVote({ term: 2, lastLogIndex: 1, lastLogTerm: 0 }), false],
    ["a pre-vote", requestVote({ term: 2, lastLogIndex: 3, lastLogTerm: 1, preVote: true }), false],
    ["an old leader", heartbeat(log, { term: 0 }), false],
  ];
  for (const [name, message, resets] of rows) {
    const node = lone({ terms: [1, 1] });
    node.tick(timeoutMin - 1);
    node.step(message);
    const ticks = patience(node);
    if (resets) assertGreater(ticks, timeoutMin - 1, name);
    else assertLessOrEqual(ticks, timeoutMax - timeoutMin, name);
  }
});

Deno.test("Raft.receive() gives a leader that steps down a whole new wait", () => {
  const node = loneLeader();
  for (let i = 0; i < 5 * timeoutMax; i++) {
    node.tick();
    node.step(appendResponse({ term: 1, matchIndex: 2 }));
  }
  node.step(heartbeat(logOf(3, []), { from: 3, term: 2 }));
  assertGreater(patience(node), timeoutMin - 1);
});

Deno.test("Raft.leaderId forgets the leader when a later term begins", () => {
  const node = lone({ term: 1 });
  node.step(heartbeat(logOf(3, []), { term: 1 }));
  assertEquals(node.raft.leaderId, 2);
  node.tick(timeoutMin);
  node.step(requestVote({ from: 3, term: 2 }));
  assertEquals([node.raft.currentTerm, node.raft.leaderId], [2, null]);
});

Deno.test("Raft.receive() refuses messages that no honest peer sends, and changes nothing", () => {
  const node = lone({ term: 5 });
  const refused: Message[] = [
    requestVote({ to: 2, term: 6 }),
    requestVote({ term: 2_000_000 }),
    requestVote({ term: 2_000_000, preVote: true }),
    requestVote({ term: Number.MAX_SAFE_INTEGER }),
    heartbeat(logOf(3, []), { term: Infinity }),
    { type: "termDurable", from: 2, to: 1, term: 9 },
  ];
  for (const message of refused) {
    assertEquals(typeof node.raft.receive(message), "string", JSON.stringify(message));
    assertEquals([node.run(), node.raft.currentTerm, node.pending], [[], 5, []]);
  }
});

Deno.test("Raft.receive() votes for nobody in a term whose leader it knows (paper 5.2)", () => {
  const node = lone({ term: 1 });
  node.step(appendEntries(logOf(3, []), { term: 1, prevLogIndex: 1 }));
  const [answer] = only(node.step(requestVote({ from: 3, term: 1 })), "requestVoteResponse");
  assertEquals([answer?.voteGranted, node.raft.votedFor], [false, null]);
  assert(node.raft.leaderId === 2);
});
