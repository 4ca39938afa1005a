/**
 * Votes and the timers around them: what counts, when it counts, and what must be on the disk before it is said.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLessOrEqual } from "@std/assert";
import type { Message } from "../../lib/raft/messages.ts";
import { admitted } from "./disk.ts";
import { Network } from "./harness.ts";
import { appendEntries, appendResponse, heartbeat, only, requestVote, voteResponse } from "./messages.ts";
import { becomeCandidate, logOf, lone, loneLeader, type Node, timeoutMax, timeoutMin } from "./node.ts";

Deno.test("Raft.receive() counts its own vote only once it is durable (paper 5.2)", () => {
  const node = lone({ size: 1 });
  node.diskHeld = true;
  node.raft.campaign();
  node.run();
  assertEquals([node.raft.role, node.raft.currentTerm], ["candidate", 1]);
  assertEquals(node.disk.hardState, admitted(0, null));
  node.finishWrite();
  assertEquals([node.raft.role, node.disk.hardState], ["leader", admitted(1, 1)]);

  const hasty = lone(); // and a vote that comes before anyone was asked does not make two
  hasty.diskHeld = true;
  hasty.raft.campaign();
  hasty.run();
  hasty.step(voteResponse({ term: 1, preVote: true }), voteResponse({ term: 1 }));
  assertEquals([hasty.raft.role, hasty.raft.currentTerm], ["candidate", 1]);
});

Deno.test("Raft.campaign() asks for no vote before its own vote is durable (paper 5.2)", () => {
  const node = lone();
  node.raft.campaign();
  node.run();
  node.diskHeld = true;
  assertEquals(node.step(voteResponse({ term: 1, preVote: true })), []);
  assertEquals(node.raft.role, "candidate");
  assertEquals(node.pending[0]?.hardState, admitted(1, 1), "term and vote are one write");
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
  node.step(voteResponse({ term: 2, voteGranted: false }));
  assertEquals(node.raft.role, "follower");
  assertGreater(patience(node), timeoutMin - 1);
});

Deno.test("Raft.receive() forgets the leader when a later term begins", () => {
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

Deno.test("Raft.receive() gives up its own pre-candidacy with a vote for another one", () => {
  const node = lone({ term: 2 });
  node.raft.campaign();
  node.run();
  assertEquals(node.raft.role, "preCandidate");
  const answers = node.step(requestVote({ term: 2, lastLogIndex: 1 }));
  assertEquals(only(answers, "requestVoteResponse").at(-1)?.voteGranted, true);
  assertEquals(node.raft.role, "follower");
  node.step(voteResponse({ term: 3, preVote: true }), voteResponse({ term: 3, preVote: true, from: 3 }));
  assertEquals([node.raft.role, node.raft.currentTerm], ["follower", 2], "and runs against nobody");
});

Deno.test("Raft.receive() says that it gives a vote only once its disk has it (paper 5.2)", () => {
  const node = lone();
  node.diskHeld = true;
  assertEquals(node.step(requestVote({ term: 1, lastLogIndex: 1 })), []);
  const [answer] = only(node.finishWrite(), "requestVoteResponse");
  assertEquals([answer?.voteGranted, node.disk.hardState], [true, admitted(1, 2)]);
});
