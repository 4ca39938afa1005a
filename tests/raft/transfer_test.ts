/**
 * Leadership transfer (thesis 3.10): quick, never with two leaders, and never the end of the cluster when it fails.
 *
 * @module
 */

import { assertEquals, assertLessOrEqual, assertStringIncludes } from "@std/assert";
import { Network } from "./harness.ts";
import { appendResponse, heartbeat, only, requestVote, timeoutNow } from "./messages.ts";
import { configurationOfSize, logOf, lone, loneLeader, timeoutMax } from "./node.ts";

/** A cluster that node 1 leads, at rest. */
function ledByOne(size = 3): Network {
  const network = new Network({ size });
  network.elect(1);
  network.propose(1, "x");
  network.tick();
  return network;
}

function transfer(network: Network, target: number | null): string | null {
  const [leader] = network.leaders;
  const refusal = network.raft(leader!).transferLeadership(target);
  network.settle();
  return refusal;
}

Deno.test("Raft.transferLeadership() hands over to a node that has the whole log, without waiting", () => {
  const network = ledByOne();
  assertEquals(transfer(network, 2), null);
  assertEquals([network.leaders, network.raft(2).currentTerm], [[2], 2]);
  assertEquals([network.raft(1).role, network.raft(1).leaderId], ["follower", 2]);
});

Deno.test("Raft.transferLeadership() works although the others hear a live leader (thesis 3.10)", () => {
  const network = ledByOne(5);
  network.tick(3);
  transfer(network, 4);
  assertEquals(network.leaders, [4]);
  assertEquals(network.propose(4, "y").term, 2);
});

Deno.test("Raft.transferLeadership() brings a slow follower up to date first", () => {
  const network = ledByOne();
  network.cut(1, 3);
  for (let i = 0; i < 5; i++) network.propose(1, i);
  transfer(network, 3);
  assertEquals([network.leaders, network.raft(1).isTransferring], [[1], true]);
  network.heal();
  network.tick();
  assertEquals(network.leaders, [3]);
  assertEquals(network.raft(3).lastIndex, 9, "five proposals and its no-op");
});

Deno.test("Raft.transferLeadership() sends no timeoutNow before the target has everything", () => {
  const node = loneLeader();
  node.raft.propose("x");
  node.run();
  assertEquals(node.raft.transferLeadership(2), null);
  assertEquals(only(node.run(), "timeoutNow"), []);
  assertEquals(only(node.step(appendResponse({ term: 1, matchIndex: 2 })), "timeoutNow"), []);
  const sent = node.step(appendResponse({ term: 1, matchIndex: 3 }));
  assertEquals(only(sent, "timeoutNow").map(({ to, term }) => ({ to, term })), [{ to: 2, term: 1 }]);
  assertEquals(only(node.tick(3), "timeoutNow"), [], "once is enough");
});

Deno.test("Raft.transferLeadership() refuses what makes no sense, and goes on leading", () => {
  const network = ledByOne();
  assertStringIncludes(transfer(network, 1)!, "leads already");
  assertStringIncludes(transfer(network, 9)!, "not a member");
  assertStringIncludes(network.raft(2).transferLeadership(3)!, "does not lead");
  const single = new Network({ size: 1 });
  single.elect(1);
  assertStringIncludes(transfer(single, null)!, "no other member");
  for (const { raft } of [network.node(1), single.node(1)]) {
    assertEquals([raft.isTransferring, typeof raft.propose("y")], [false, "object"]);
  }
});

Deno.test("Raft.transferLeadership() is given up after the longest election timeout", () => {
  const network = ledByOne();
  network.crash(3);
  transfer(network, 3);
  network.tick(timeoutMax - 1);
  assertEquals([network.raft(1).isTransferring, network.raft(1).propose("y")], [true, "transferring"]);
  network.tick();
  assertEquals([network.leaders, network.raft(1).isTransferring], [[1], false]);
  assertEquals(network.propose(1, "y").term, 1);
});

Deno.test("Raft.propose() takes nothing while leadership is handed over (thesis 3.10)", () => {
  const network = ledByOne();
  network.cut(1, 3);
  network.propose(1, "y");
  transfer(network, 3);
  const before = network.raft(1).lastIndex;
  assertEquals(network.raft(1).propose("z"), "transferring");
  const { members } = configurationOfSize(4);
  assertEquals(typeof network.raft(1).proposeConfiguration({ members }), "string");
  assertEquals(network.raft(1).lastIndex, before);
});

Deno.test("Raft.transferLeadership() is forgotten by a leader that loses its office (hashicorp/raft #696)", () => {
  const network = ledByOne();
  network.crash(3);
  transfer(network, 3);
  network.node(1).step(heartbeat(logOf(3, []), { from: 2, term: 2, prevLogIndex: 1 }));
  assertEquals([network.raft(1).role, network.raft(1).isTransferring], ["follower", false]);
  network.restart(3);
  network.isolate(2); // which never led; only its message did
  network.tickUntil(() => network.raft(1).role === "leader" || network.raft(3).role === "leader");
  const [leader] = network.leaders;
  assertEquals(network.raft(leader!).isTransferring, false);
  assertEquals(typeof network.raft(leader!).propose("y"), "object");
});

Deno.test("Raft.receive() lets a leader that hands over vote in a later term", () => {
  const network = ledByOne();
  network.crash(3);
  transfer(network, 3);
  const request = requestVote({ from: 2, to: 1, term: 2, lastLogIndex: 3, lastLogTerm: 1 });
  network.deliver({ ...request, leadershipTransfer: true });
  network.settle();
  assertEquals([network.raft(1).role, network.raft(1).votedFor], ["follower", 2]);
});

Deno.test("Raft.transferLeadership() to the same node again changes nothing, also not its deadline", () => {
  const network = ledByOne();
  network.crash(3);
  transfer(network, 3);
  network.tick(5);
  assertEquals(transfer(network, 3), null);
  network.tick(timeoutMax - 5);
  assertEquals(network.raft(1).isTransferring, false);
});

Deno.test("Raft.transferLeadership() to another node takes the place of one under way", () => {
  const network = ledByOne();
  network.crash(3);
  transfer(network, 3);
  assertEquals(network.leaders, [1]);
  assertEquals(transfer(network, 2), null);
  assertEquals(network.leaders, [2]);
});

Deno.test("Raft.transferLeadership() there and back again", () => {
  const network = ledByOne();
  for (const target of [2, 1, 3, 1]) {
    assertEquals(transfer(network, target), null);
    assertEquals(network.leaders, [target]);
    network.tick();
  }
  assertEquals(network.raft(1).currentTerm, 5);
});

Deno.test("Raft.transferLeadership() without a target finds a node that is alive and has the log", () => {
  const network = ledByOne(5);
  network.crash(2); // has as much as the others, but is gone
  network.tick(3);
  assertEquals(transfer(network, null), null);
  assertEquals(network.leaders.length, 1);
  assertLessOrEqual(3, network.leaders[0]!);
  const behind = ledByOne();
  behind.cut(1, 2);
  behind.propose(1, "y");
  transfer(behind, null);
  assertEquals(behind.leaders, [3]);
});

Deno.test("Raft.receive() obeys timeoutNow only as a member that follows in the same term", () => {
  const follower = () => {
    const node = lone();
    node.step(heartbeat(logOf(3, []), { term: 2 }));
    return node;
  };
  for (const term of [1, 0]) {
    const node = follower();
    assertEquals([node.step(timeoutNow({ term })), node.raft.role, node.raft.currentTerm], [
      [],
      "follower",
      2,
    ]);
  }
  const asked = follower();
  const requests = only(asked.step(timeoutNow({ term: 2 })), "requestVote");
  assertEquals(
    requests.map(({ term, preVote, leadershipTransfer }) => ({ term, preVote, leadershipTransfer })),
    [
      { term: 3, preVote: false, leadershipTransfer: true },
      { term: 3, preVote: false, leadershipTransfer: true },
    ],
  );
  assertEquals(asked.step(timeoutNow({ term: 2 })), [], "a late copy");
  const outsider = lone();
  outsider.disk.entries.length = 0;
  outsider.restart();
  outsider.step(timeoutNow({ term: 2 }));
  assertEquals([outsider.raft.role, outsider.raft.currentTerm], ["follower", 2]);
});

Deno.test("Raft.transferLeadership() to a node that then cannot win leaves a cluster that goes on", () => {
  const network = ledByOne();
  network.drop = ({ type, from }) => type === "requestVote" && from === 3;
  transfer(network, 3);
  assertEquals([network.raft(3).role, network.raft(3).currentTerm], ["candidate", 2]);
  network.drop = () => false;
  network.tickUntil(() => network.leaders.length === 1 && network.raft(network.leaders[0]!).currentTerm > 1);
  network.propose(network.leaders[0]!, "y");
  network.tick(2);
  for (const node of network.nodes) assertEquals(node.commands, ["x", "y"]);
});

Deno.test("Raft.transferLeadership() loses no command that was taken before it", () => {
  const network = ledByOne();
  for (let i = 0; i < 10; i++) network.raft(1).propose(i);
  network.raft(1).transferLeadership(2);
  network.settle();
  network.tick();
  assertEquals(network.leaders, [2]);
  assertEquals(network.node(2).commands, ["x", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});
