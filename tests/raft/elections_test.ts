/**
 * Elections beyond the paper's own sentences: rivals, late and repeated votes, and a disk that is slow to remember.
 *
 * @module
 */

import { assertEquals, assertGreater } from "@std/assert";
import type { Message } from "../../lib/raft/messages.ts";
import { admitted } from "./disk.ts";
import { Network } from "./harness.ts";
import { appendResponse, heartbeat, only, requestVote, voteResponse } from "./messages.ts";
import { becomeCandidate, logOf, lone, loneLeader, type Node, timeoutMax, timeoutMin } from "./node.ts";

Deno.test("Raft.campaign() wins with a majority of reachable, not more complete logs (paper 5.4.1)", () => {
  const rows: { name: string; size: number; down: number[]; longer: number[]; role: string }[] = [
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
    assertEquals(node.disk.hardState, admitted(2, 2));
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
      assertEquals(node.disk.hardState, admitted(3, null));
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
  assertEquals([network.raft(3).role, network.raft(3).currentTerm], ["preCandidate", 1]);
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
  for (const preVote of [true, false]) { // both win the pre-vote, then both ask for votes
    if (preVote) { for (const id of [1, 2]) network.raft(id).campaign(); }
    network.settle();
    network.inFlight.push(...network.held.splice(0).sort((a) => a.from === 2 && a.to === 4 ? -1 : 0));
    network.hold = (message) => preVote && message.type === "requestVote" && !message.preVote;
    network.settle();
  }
  assertEquals(network.nodes.map(({ raft }) => raft.votedFor), [1, 2, 1, 2]);
  assertEquals(network.leaders, []);
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
