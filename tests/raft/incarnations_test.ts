/**
 * Members that lost their folder, or a part of it (DESIGN 4): what goes wrong when they vote, acknowledge or confirm as
 * if nothing had happened, and how they take part again. Random schedules of the same: property_test.ts.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { makeEntry } from "../../lib/raft/entry.ts";
import type { Configuration, Entry, NodeId } from "../../lib/raft/types.ts";
import { Network } from "./harness.ts";
import { appendEntries, only, requestVote, timeoutNow } from "./messages.ts";
import { configurationOfSize, incarnationOf, logOf, lone, timeoutMax, timeoutMin } from "./node.ts";

/** For each size: a leader, a rival, those who lose their folders, and the rest. */
const clusters = [
  { size: 3, losers: [3], rest: [] },
  { size: 5, losers: [4, 5], rest: [3] },
];

/** A cluster that node 1 leads; "x" is committed, on all nodes. */
function ledByOne(size = 3): Network {
  const network = new Network({ size });
  network.elect(1);
  network.propose(1, "x");
  network.tick();
  return network;
}

/** Node 3 of `ledByOne` has lost its folder, and node 2 cannot be reached: nobody can admit it. */
function lonelyLeader(): Network {
  const network = ledByOne();
  network.isolate(2);
  network.wipe(3);
  network.tick(3, [1, 3]);
  return network;
}

/** Everything is connected again, and all come to the same end, all of them members. */
function recovers(network: Network, size = network.nodes.length): void {
  network.heal();
  for (const { id, isUp } of network.nodes) if (!isUp) network.restart(id);
  const isWell = () =>
    network.leaders.length === 1 &&
    network.nodes.every(({ raft }) => raft.admittedIndex > 0 && raft.commitIndex === raft.lastIndex) &&
    new Set(network.nodes.map(({ raft }) => raft.lastIndex)).size === 1;
  network.tickUntil(isWell, 50 * timeoutMax);
  for (const { options, commands } of network.nodes) {
    assert(
      network.raft(1).configuration.members.some(({ incarnation }) => incarnation === options.incarnation),
    );
    assertEquals(commands, network.node(1).commands);
  }
  assertEquals(network.nodes.length, size);
}

/** The configuration of a cluster in which this member has lost so many folders. */
function configurationAfter(size: number, id: NodeId, losses: number): Configuration {
  const { members } = configurationOfSize(size);
  return {
    members: members.map((one) => one.id === id ? { ...one, incarnation: incarnationOf(id, losses) } : one),
  };
}

Deno.test("Raft.receive() of a wiped node gives no second vote in a term: there are never two leaders (paper 5.2)", () => {
  for (const { size, losers, rest } of clusters) {
    const network = new Network({ size });
    network.connectOnly([1, ...losers]);
    network.elect(1); // in term 1, by the votes of those who then forget them
    for (const id of losers) network.wipe(id);
    network.connectOnly([2, ...rest, ...losers]);
    for (const to of losers) network.deliver(requestVote({ from: 2, to, term: 1 }));
    const answers = only(network.during(() => {}), "requestVoteResponse");
    assertEquals(answers.map(({ voteGranted }) => voteGranted), losers.map(() => false));
    network.tick(10 * timeoutMax, [2, ...rest, ...losers]);
    assertEquals(network.leaders, [1], "which is alone and does not know it");
    recovers(network);
  }
});

Deno.test("Raft.read() is not confirmed, nor an entry committed, by those who forgot a later term (thesis 6.4)", () => {
  for (const { size, losers, rest } of clusters) {
    const network = ledByOne(size);
    const others = [2, ...rest, ...losers];
    network.isolate(1);
    network.tick(timeoutMin, others);
    network.elect(2);
    network.propose(2, "new");
    for (const id of losers) network.wipe(id);
    network.connectOnly([1, ...losers]);
    network.raft(1).read(1);
    network.raft(1).propose("never");
    network.settle();
    network.tick(timeoutMin);
    assertEquals(network.raft(losers[0]!).leaderId, 1, "it believes the leader of the earlier term");
    assertEquals([network.node(1).reads.get(1), network.node(1).commands], [undefined, ["x"]]);
    recovers(network);
    assertEquals(network.node(1).commands, ["x", "new"]);
  }
});

Deno.test("Raft.receive() of a wiped node elects nobody who lacks what it had acknowledged (paper 5.4.1)", () => {
  for (const { size, losers, rest } of clusters) {
    const network = ledByOne(size);
    network.connectOnly([1, ...losers]);
    network.propose(1, "acknowledged");
    assertEquals(network.node(1).commands, ["x", "acknowledged"]);
    for (const id of losers) network.wipe(id);
    network.crash(1);
    network.connectOnly([2, ...rest, ...losers]);
    network.tick(20 * timeoutMax);
    assertEquals(network.leaders, []);
    recovers(network);
    assertEquals(network.node(2).commands, ["x", "acknowledged"]);
  }
});

Deno.test("Raft.receive() counts no acknowledgement of a node that abstains (paper 5.3)", () => {
  const network = lonelyLeader();
  network.propose(1, "y");
  const { raft, disk } = network.node(3);
  assertEquals(disk.entries.at(-1)?.crc, network.raft(1).entryAt(network.raft(1).lastIndex)?.crc);
  assertEquals([raft.admittedIndex, network.raft(1).commitIndex, network.node(1).commands], [0, 3, ["x"]]);
  assertEquals(network.raft(1).progress()[1]?.abstains, true);
  recovers(network);
});

Deno.test("Raft.tick() of a leader admits a wiped node, which then counts, votes and leads", () => {
  for (const { size, losers, rest } of clusters) {
    const network = ledByOne(size);
    for (const id of losers) network.wipe(id);
    network.tick(4 * losers.length);
    for (const id of losers) {
      assertGreater(network.raft(id).admittedIndex, 1);
      assertEquals(network.node(id).disk.hardState.admittedIndex, network.raft(id).admittedIndex);
      assertEquals(network.raft(id).configuration.members[id - 1]?.incarnation, incarnationOf(id, 1));
    }
    for (const id of [2, ...rest].slice(0, losers.length)) network.crash(id);
    network.propose(1, "y");
    assertEquals(network.node(1).commands, ["x", "y"], "the new acknowledgements count");
    network.crash(1);
    for (const { id, isUp } of network.nodes) if (!isUp && id !== 1) network.restart(id);
    network.tickUntil(() => losers.some((id) => network.leaders.includes(id)) || network.leaders.length > 0);
    recovers(network);
  }
  const network = ledByOne();
  network.wipe(3);
  network.tick(4);
  network.raft(1).transferLeadership(3);
  network.settle();
  assertEquals(network.leaders, [3]);
  recovers(network);
});

Deno.test("Raft.tick() does not count a node that abstains for CheckQuorum (thesis 6.2)", () => {
  const network = lonelyLeader();
  network.tick(2 * timeoutMax, [1, 3]);
  assertEquals(network.leaders, []);
  recovers(network);
});

Deno.test("Raft.transferLeadership() finds no target in a node that abstains (thesis 3.10)", () => {
  const network = lonelyLeader();
  assertStringIncludes(network.raft(1).transferLeadership(3)!, "abstains");
  assertEquals(network.raft(1).isTransferring, false);
  assertEquals(network.raft(1).transferLeadership(), null);
  network.heal();
  network.tick();
  assertEquals(network.leaders, [2]);
  recovers(network);
  const hung = lonelyLeader();
  hung.heal();
  const sent = hung.during(() => hung.raft(1).abdicate());
  assertEquals(only(sent, "timeoutNow").map(({ to }) => to), [2]);
});

Deno.test("Raft.campaign() and timeoutNow are nothing to a node that abstains", () => {
  const network = lonelyLeader();
  const sent = network.during(() => {
    network.raft(3).receive(timeoutNow({ from: 1, to: 3, term: 1 }));
    network.raft(3).campaign();
    network.crash(1);
    network.tick(5 * timeoutMax, [3]);
  });
  assertEquals([only(sent, "requestVote"), network.raft(3).role, network.raft(3).currentTerm], [
    [],
    "follower",
    1,
  ]);
  assertEquals(network.raft(3).leaderId, null, "but it knows that its leader is silent");
  assertEquals(network.raft(3).read(1), false);
  recovers(network);
});

Deno.test("Raft.tick() admits nobody when two of three have lost their folders, and nothing is committed", () => {
  const network = ledByOne();
  network.wipe(2);
  network.wipe(3);
  network.propose(1, "y");
  network.raft(1).read(1);
  network.tick(10 * timeoutMax);
  assertEquals(network.nodes.map(({ raft }) => raft.admittedIndex), [1, 0, 0]);
  assertEquals([network.node(1).commands, network.leaders], [["x"], []]);
  assertEquals(network.node(1).reads.get(1), null);
});

Deno.test("Raft() of a damaged folder keeps term, vote and what is whole, and takes part once it is admitted", () => {
  const network = ledByOne();
  network.damage(3, 2);
  const { raft, disk } = network.node(3);
  assertEquals([raft.currentTerm, raft.votedFor, raft.admittedIndex, raft.lastIndex], [1, 1, 0, 2]);
  assertEquals(disk.entries, logOf(3, []).concat(network.node(1).disk.entries.slice(1, 2)));
  assertEquals(raft.receive(requestVote({ from: 1, to: 3, term: 1, lastLogIndex: 3, lastLogTerm: 1 })), null);
  assertEquals(only(network.node(3).run(), "requestVoteResponse")[0]?.voteGranted, false, "not even again");
  recovers(network);
  const stateless = ledByOne();
  stateless.damage(3, 1, { losesState: true });
  assertEquals([stateless.raft(3).currentTerm, stateless.raft(3).votedFor], [0, null]);
  recovers(stateless);
});

Deno.test("Raft.peerStarted() forgets what a follower had, so that what it lost is sent again", () => {
  const network = ledByOne();
  for (let i = 0; i < 5; i++) network.propose(1, i);
  assertEquals(network.raft(1).progress()[1]?.matchIndex, 8);
  network.damage(3, 4);
  assertEquals(network.raft(1).progress()[1], {
    id: 3,
    mode: "probe",
    matchIndex: 0,
    nextIndex: 9,
    abstains: false,
  });
  network.tick();
  assertEquals(network.node(3).disk.entries.slice(0, 8), network.node(1).disk.entries.slice(0, 8));
  recovers(network);
});

Deno.test("Raft.tick() admits a folder that was lost twice, also when the first was not yet admitted", () => {
  const network = ledByOne();
  for (const losses of [1, 2]) {
    network.wipe(3);
    network.tick(4);
    assertEquals(network.raft(1).configuration, configurationAfter(3, 3, losses));
  }
  const again = lonelyLeader();
  assertEquals(again.raft(1).configurationIndex, 4, "it is proposed");
  again.wipe(3);
  again.tick(2, [1, 3]);
  assertEquals(again.raft(3).admittedIndex, 0, "the entry names another folder");
  recovers(again);
  assertEquals(again.raft(2).configuration, configurationAfter(3, 3, 2));
});

Deno.test("Raft.tick() of the next leader admits a node whose admission the last one could not commit", () => {
  const network = ledByOne(5);
  network.connectOnly([1, 5]);
  network.wipe(5);
  network.tick(3, [1, 5]);
  const lost = network.raft(5).entryAt(4)!;
  assertEquals([lost.kind, network.raft(1).commitIndex], ["configuration", 3]);
  network.crash(1);
  network.connectOnly([2, 3, 4, 5]);
  network.tickUntil(() => network.raft(5).admittedIndex > 0);
  assert(network.raft(5).entryAt(4)!.crc !== lost.crc, "another entry stands there now");
  recovers(network);
  const three = lonelyLeader();
  three.crash(1);
  three.heal();
  three.tick(5 * timeoutMax);
  assertEquals(three.leaders, [], "who has the entry is away, and who is here cannot be elected");
  recovers(three);
  assertEquals(three.raft(3).admittedIndex, 4);
});

Deno.test("Raft.receive() of an admitted node refuses a candidate that lacks its admission (paper 5.4.1)", () => {
  const network = ledByOne(5);
  network.isolate(4);
  network.wipe(5);
  network.tick(4);
  assertEquals([network.raft(5).admittedIndex, network.raft(4).configuration], [4, configurationOfSize(5)]);
  for (const id of [1, 2]) network.crash(id);
  network.heal();
  network.tick(timeoutMin, [3, 5]);
  network.campaign(4);
  assertEquals(network.leaders, []);
  network.elect(3);
  network.tick(3);
  assertEquals(network.raft(4).configuration, configurationAfter(5, 5, 1));
  recovers(network);
});

Deno.test("Raft.install() of a snapshot that names the folder admits its node", () => {
  const network = ledByOne();
  network.wipe(3);
  network.tick();
  network.isolate(3);
  network.tick(2);
  assertEquals([network.raft(1).configurationIndex, network.raft(1).commitIndex], [4, 4]);
  network.node(1).takeSnapshot();
  network.heal();
  network.tick(3);
  const { raft, restoredIndex } = network.node(3);
  assertEquals([restoredIndex, raft.configurationIndex, raft.admittedIndex], [4, 4, 4]);
  recovers(network);
});

/** The log of a cluster of three, followed by configurations in term 1. */
function logWith(...configurations: Configuration[]): Entry[] {
  const log = logOf(3, []);
  for (const command of configurations) {
    const index = log.length + 1;
    log.push(makeEntry({ index, term: 1, kind: "configuration", command, prevCrc: log.at(-1)!.crc }));
  }
  return log;
}

Deno.test("Raft.receive() takes part only when the entry that admits it is committed and durable here", () => {
  const node = lone({ log: [], options: { incarnation: incarnationOf(1, 1) } });
  const log = logWith(configurationAfter(3, 1, 1));
  const answers = node.step(appendEntries(log, { term: 1, prevLogIndex: 0, leaderCommit: 1 }));
  assertEquals([only(answers, "appendEntriesResponse")[0]?.abstains, node.raft.admittedIndex], [true, 0]);
  node.step(appendEntries(log, { term: 1, prevLogIndex: 2, leaderCommit: 2 }));
  assertEquals([node.raft.admittedIndex, node.disk.hardState.admittedIndex], [2, 2]);
  node.restart();
  assertEquals(node.raft.admittedIndex, 2);
  const slow = lone({ log: [], options: { incarnation: incarnationOf(1, 1) } });
  slow.diskHeld = true;
  slow.step(appendEntries(log, { term: 1, prevLogIndex: 0, leaderCommit: 2 }));
  assertEquals([slow.raft.commitIndex, slow.raft.admittedIndex], [2, 0]);
  slow.diskHeld = false;
  slow.run();
  assertEquals(slow.raft.admittedIndex, 2);
});

Deno.test("Raft.receive() is admitted by an entry behind which another member's stands uncommitted", () => {
  const node = lone({ log: [], options: { incarnation: incarnationOf(1, 1) } });
  const first = configurationAfter(3, 1, 1);
  const members = first.members.map((one) =>
    one.id === 2 ? { ...one, incarnation: incarnationOf(2, 1) } : one
  );
  node.step(appendEntries(logWith(first, { members }), { term: 1, prevLogIndex: 0, leaderCommit: 2 }));
  assertEquals(node.raft.admittedIndex, 2, "or neither of the two could ever be committed");
});
