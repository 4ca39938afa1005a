/**
 * PreVote (thesis 9.6), leader stickiness (thesis 4.2.3) and CheckQuorum (thesis 6.2): nobody disturbs a leader that
 * a majority hears, nobody keeps an office without a majority, and the two never block each other for ever. The six
 * cases BE5 are deadlocks that other projects have met.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLessOrEqual } from "@std/assert";
import { admitted } from "./disk.ts";
import { Network } from "./harness.ts";
import { appendResponse, contactResponse, heartbeat, only, requestVote, voteResponse } from "./messages.ts";
import { logOf, lone, loneLeader, timeoutMax, timeoutMin } from "./node.ts";

Deno.test("Raft.tick() keeps a leader that a majority answers (thesis 6.2)", () => {
  const node = loneLeader({ size: 5 });
  for (let i = 0; i < 5 * timeoutMax; i++) {
    node.tick();
    node.step(contactResponse({ from: 2, term: 1 }), appendResponse({ from: 3, term: 1, matchIndex: 2 }));
  }
  assertEquals(node.raft.role, "leader");
});

Deno.test("Raft.tick() ends the office of a leader that no majority answers (thesis 6.2)", () => {
  for (const answering of [[], [2]]) {
    const node = loneLeader({ size: 5 });
    for (let i = 0; i < timeoutMax - 1; i++) {
      node.tick();
      node.step(...answering.map((from) => contactResponse({ from, term: 1 })));
    }
    assertEquals(node.raft.role, "leader", "not before the longest election timeout");
    node.tick();
    assertEquals([node.raft.role, node.raft.currentTerm, node.raft.leaderId], ["follower", 1, null]);
  }
});

Deno.test("Raft.tick() does not count answers to another term as contact (thesis 6.2)", () => {
  const node = loneLeader({ term: 3 });
  for (let i = 0; i < timeoutMax; i++) {
    node.tick();
    node.step(contactResponse({ term: 2 }), appendResponse({ term: 2 }), voteResponse({ term: 2 }));
  }
  assertEquals(node.raft.role, "follower");
});

Deno.test("Raft.receive() leaves a request for votes alone while it hears a leader (thesis 4.2.3)", () => {
  const log = logOf(3, []);
  for (const elapsed of [0, 1, timeoutMin - 1]) {
    const node = lone({ term: 1 });
    node.step(heartbeat(log, { term: 1 }));
    node.tick(elapsed);
    assertEquals(node.step(requestVote({ from: 3, term: 9 })), []);
    const [answer] = only(
      node.step(requestVote({ from: 3, term: 9, preVote: true })),
      "requestVoteResponse",
    );
    assertEquals([answer?.voteGranted, answer?.term, node.raft.currentTerm], [false, 1, 1]);
  }
  const node = lone({ term: 1 });
  node.step(heartbeat(log, { term: 1 }));
  node.tick(timeoutMin);
  assertEquals(only(node.step(requestVote({ from: 3, term: 9 })), "requestVoteResponse").length, 1);
  assertEquals([node.raft.currentTerm, node.raft.votedFor], [9, 3]);
});

Deno.test("Raft.tick() replaces a crashed leader within two election timeouts, whoever it was", () => {
  for (const first of [1, 2, 3]) {
    const network = new Network();
    network.elect(first);
    network.tick(5);
    network.crash(first);
    const ticks = network.tickUntil(() => network.leaders.length === 1);
    assertLessOrEqual(ticks, 2 * timeoutMax);
    network.restart(first);
    network.tick(3);
    assertEquals(network.leaders.length, 1);
    assertEquals(network.raft(first).leaderId, network.leaders[0]);
  }
});

Deno.test("Raft.receive() frees a candidate that is stuck in a later term (etcd FreeStuckCandidate)", () => {
  const network = new Network();
  network.elect(1);
  network.isolate(3);
  network.node(3).disk.hardState = admitted(4, 3);
  network.restart(3);
  network.heal();
  network.tick(); // the leader hears of term 4 in the answer to its heartbeat
  assertEquals(network.raft(1).role, "follower");
  network.tickUntil(() => network.leaders.length === 1);
  assertGreater(network.raft(network.leaders[0]!).currentTerm, 4);
  network.tick(3);
  assertEquals(new Set(network.nodes.map(({ raft }) => raft.currentTerm)).size, 1);
});

Deno.test("Raft.tick() of a node outside of the configuration votes, but never stands", () => {
  const network = new Network();
  network.node(3).disk.entries.length = 0; // knows of no configuration yet
  network.restart(3);
  network.cut(1, 2);
  network.tick(3 * timeoutMax, [3]);
  assertEquals([network.raft(3).role, network.raft(3).currentTerm], ["follower", 0]);
  network.elect(1);
  assertEquals([network.raft(3).votedFor, network.raft(3).leaderId], [1, 1]);
});

Deno.test("Raft.tick() of a follower that was cut off changes no term (etcd DisruptiveFollower)", () => {
  const network = new Network();
  network.elect(1);
  network.isolate(3);
  network.tick(10 * timeoutMax);
  assertEquals([network.raft(3).role, network.raft(3).currentTerm], ["preCandidate", 1]);
  network.heal();
  const sent = network.during(() => network.tick(timeoutMax));
  assertEquals([network.leaders, network.raft(1).currentTerm, network.raft(3).leaderId], [[1], 1, 1]);
  assertEquals(only(sent, "requestVote").filter(({ preVote }) => !preVote), []);
});

Deno.test("Raft.campaign() of a node in an earlier term ends in a leader (etcd NodeWithSmallerTerm)", () => {
  const network = new Network();
  network.isolate(3);
  network.elect(1);
  network.raft(1).transferLeadership(2);
  network.settle();
  assertEquals([network.leaders, network.raft(2).currentTerm, network.raft(3).currentTerm], [[2], 2, 0]);
  network.propose(2, "x");
  network.crash(2);
  network.heal();
  network.campaign(3); // its log is too short; the refusal tells it of term 2
  assertEquals([network.raft(3).role, network.raft(3).currentTerm], ["follower", 2]);
  network.tickUntil(() => network.leaders.length === 1);
  assertEquals(network.leaders, [1]);
});

Deno.test("Raft.tick() gets out of a split vote between pre-candidates (etcd PreVoteWithSplitVote)", () => {
  const network = new Network();
  network.crash(1);
  network.hold = (message) => message.type === "requestVote" && message.preVote;
  network.raft(2).campaign();
  network.raft(3).campaign();
  network.settle();
  network.hold = (message) => message.type === "requestVote" && !message.preVote;
  network.inFlight.push(...network.held.splice(0));
  network.settle();
  assertEquals([2, 3].map((id) => network.raft(id).votedFor), [2, 3]);
  network.release();
  assertEquals(network.leaders, []);
  network.tickUntil(() => network.leaders.length === 1);
  assertGreater(network.raft(network.leaders[0]!).currentTerm, 1);
});

Deno.test("Raft.receive() grants pre-votes once the leader is silent (etcd PreVoteWithCheckQuorum)", () => {
  const network = new Network();
  network.elect(1);
  network.isolate(1);
  network.tick(timeoutMin - 1, [2, 3]);
  network.campaign(2);
  assertEquals([network.raft(2).role, network.raft(2).currentTerm], ["preCandidate", 1]);
  network.tick(1, [3]);
  network.elect(2);
  assertEquals(network.leaders, [1, 2], "the old one does not know yet");
  network.tick(timeoutMax);
  assertEquals(network.leaders, [2], "and steps down by itself");
});

Deno.test("Raft.tick() lets a slow disk of the followers depose nobody (thesis 10.2.1)", () => {
  for (const isBusy of [false, true]) {
    const network = new Network();
    network.elect(1);
    for (const id of [2, 3]) network.node(id).diskHeld = true;
    for (let i = 0; i < 5 * timeoutMax; i++) {
      if (isBusy) network.raft(1).propose(i); // every message to the followers carries an entry
      network.tick();
    }
    assertEquals([network.leaders, network.raft(1).currentTerm], [[1], 1], isBusy ? "under load" : "idle");
    for (const id of [2, 3]) network.node(id).diskHeld = false;
    network.settle();
    assertEquals(network.raft(1).commitIndex, network.raft(1).lastIndex);
  }
});

Deno.test("Raft.tick() ends an office that only sends: others lead once it is silent", () => {
  const network = new Network();
  network.elect(1);
  network.cutOneWay(2, 1);
  network.cutOneWay(3, 1);
  network.tick(timeoutMax);
  assertEquals(network.raft(1).role, "follower");
  network.tickUntil(() => network.leaders.length === 1 && network.leaders[0] !== 1);
  assertEquals(network.propose(network.leaders[0]!, "x").term, 2);
});

Deno.test("Raft.tick() ends an office that only hears: others lead, and it learns of them", () => {
  const network = new Network();
  network.elect(1);
  network.cutOneWay(1, 2);
  network.cutOneWay(1, 3);
  network.tickUntil(() => network.leaders.length === 1 && network.leaders[0] !== 1);
  network.tick();
  assertEquals([network.raft(1).role, network.raft(1).leaderId], ["follower", network.leaders[0]]);
});

/** Leader changes, from now on, in `ticks`; the network must commit at the end. */
function restless(network: Network, ticks: number): number {
  let changes = 0, before = "";
  for (let i = 0; i < ticks; i++) {
    network.tick();
    const now = network.leaders.join();
    if (now !== before && now !== "") changes++;
    if (now !== "") before = now;
  }
  assertEquals(network.leaders.length, 1);
  const { index } = network.propose(network.leaders[0]!, "still alive");
  assertEquals(network.raft(network.leaders[0]!).commitIndex, index);
  return changes;
}

Deno.test("Raft.tick() settles on a leader where links are missing but a majority is connected (BE4)", () => {
  for (const first of [1, 2, 3, 4, 5]) { // 1, 2 and 3 hear each other, 4 only 2, and 5 only 3
    const network = new Network({ size: 5 });
    network.elect(first);
    network.connectOnly([1, 2, 3], [2, 4], [3, 5]);
    network.tick(5 * timeoutMax);
    assertLessOrEqual(restless(network, 20 * timeoutMax), 1);
  }
});

Deno.test("Raft.campaign() BE5a: a longer log in an earlier term and a later term find together", () => {
  // A minority holds the longer log but is in term 1; the others were in term 5. The fifth node is down.
  const network = new Network([
    { terms: [1, 1] },
    { terms: [1, 1] },
    { terms: [1], term: 5 },
    { terms: [1], term: 5 },
    { terms: [1], term: 5 },
  ]);
  network.crash(5);
  const ticks = network.tickUntil(() => network.leaders.length === 1);
  assertLessOrEqual(ticks, 5 * timeoutMax);
  assertGreater(network.raft(network.leaders[0]!).currentTerm, 5);
  assert(network.leaders[0]! <= 2, "only they can get three votes");
});

Deno.test("Raft.receive() BE5b: nodes that send no pre-votes are served in a rolling upgrade", () => {
  const network = new Network();
  network.elect(1);
  network.crash(3);
  // Node 3 is of an older version: it goes to term 2 and asks for votes without asking first.
  const request = { from: 3, term: 2, lastLogIndex: 2, lastLogTerm: 1 };
  network.deliver(requestVote({ ...request, to: 1 }));
  network.deliver(requestVote({ ...request, to: 2 }));
  network.settle();
  assertEquals([network.leaders, network.raft(1).currentTerm], [[1], 1], "a live leader is not disturbed");
  network.deliver(appendResponse({ from: 3, to: 1, term: 2, success: false })); // it refuses the leader's word
  network.deliver(requestVote({ ...request, to: 1 }));
  network.settle();
  assertEquals(
    [network.raft(1).role, network.raft(1).votedFor],
    ["follower", 3],
    "and yet it gets its election",
  );
});

Deno.test("Raft.receive() BE5c: a follower in a later term is heard by a leader in an earlier one", () => {
  const network = new Network();
  network.elect(1);
  network.node(2).disk.hardState = admitted(7, null);
  network.restart(2);
  const answers = only(network.during(() => network.tick()), "contactResponse");
  assertEquals(answers.filter(({ from }) => from === 2).map(({ term }) => term), [7]);
  assertEquals([network.raft(1).role, network.raft(1).currentTerm], ["follower", 7]);
  network.tickUntil(() => network.leaders.length === 1);
  network.tickUntil(() => network.nodes.every(({ raft }) => raft.leaderId === network.leaders[0]));
});

Deno.test("Raft.campaign() BE5d: a leader that lost its office is not refused because of itself", () => {
  const network = new Network();
  network.elect(1);
  network.tick(3);
  network.restart(1); // the others heard it a moment ago and still follow it
  assertEquals([2, 3].map((id) => network.raft(id).leaderId), [1, 1]);
  network.elect(1);
  assertEquals(network.raft(1).currentTerm, 2);
  assertEquals(network.node(2).raft.leaderId, 1);
});

Deno.test("Raft.receive() BE5e: a granted pre-vote does not put off the voter's own election", () => {
  const node = lone({ terms: [1] });
  for (let ticks = 0; node.raft.role === "follower"; ticks++) {
    assert(ticks < timeoutMax, "it stands although others keep asking");
    node.tick();
    if (node.raft.role !== "follower") break;
    const ask = requestVote({ term: 2, preVote: true, lastLogIndex: 2, lastLogTerm: 1 });
    assertEquals(only(node.step(ask), "requestVoteResponse")[0]?.voteGranted, true);
  }
});

Deno.test("Raft.tick() BE5f: an old leader that reaches one voter of a connected majority blocks nothing", () => {
  const network = new Network({ size: 4 });
  network.elect(1);
  network.propose(1, "x");
  network.connectOnly([1, 2], [2, 3, 4]); // 2 is the bridge, and all of 2, 3, 4 are needed
  const ticks = network.tickUntil(() => network.leaders.length === 1 && network.leaders[0] !== 1);
  assertLessOrEqual(ticks, 4 * timeoutMax);
  network.propose(network.leaders[0]!, "y");
  assertLessOrEqual(restless(network, 10 * timeoutMax), 1);
});
