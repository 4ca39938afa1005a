/**
 * What went wrong in the program that kvapp grew out of must not come back: one test for each of its bugs that the
 * protocol itself can show. The numbers are those of tests/seed/README.md, where the tests of the other bugs are listed.
 *
 * @module
 */

import { assert, assertEquals, assertGreaterOrEqual, assertThrows } from "@std/assert";
import { AssertionFailed } from "../../lib/assert.ts";
import { makeEntry } from "../../lib/raft/entry.ts";
import { Log } from "../../lib/raft/log.ts";
import { Random } from "../sim/random.ts";
import { Network } from "./harness.ts";
import { appendEntries, appendResponse, heartbeat, only, requestVote, voteResponse } from "./messages.ts";
import { becomeCandidate, logOf, lone, loneLeader, termsOf, timeoutMax, timeoutMin } from "./node.ts";

Deno.test("Raft.receive() gives a rival in the leader's own term no second vote (seed bug 1, S1)", () => {
  const network = new Network();
  network.hold = (message) => message.type === "requestVote"; // nodes 1 and 3 stand at the same moment
  network.raft(1).campaign();
  network.raft(3).campaign();
  network.settle();
  network.hold = (message) => message.type === "requestVote" && !message.preVote;
  network.inFlight.push(...network.held.splice(0));
  network.settle();
  assertEquals([1, 3].map((id) => [network.raft(id).role, network.raft(id).currentTerm]), [
    ["candidate", 1],
    ["candidate", 1],
  ]);
  const late = network.held.splice(0).filter(({ from, to }) => from === 3 || to === 3);
  network.deliver(requestVote({ from: 1, to: 2, term: 1 })); // node 2 votes for node 1
  network.settle();
  assertEquals(network.leaders, [1]);
  for (const message of late) network.deliver(message); // and now the request of node 3 reaches the leader
  network.settle();
  assertEquals([network.leaders, network.node(1).disk.hardState.votedFor], [[1], 1]);
});

Deno.test("Raft.tick() does not let a leader that steps down stand at once (seed bug 2)", () => {
  const network = new Network();
  network.elect(1);
  network.tick(10 * timeoutMax);
  network.deliver(appendResponse({ from: 2, to: 1, term: 2, success: false })); // a later term has begun
  assertEquals(network.raft(1).role, "follower");
  const sent = network.during(() => network.tick(timeoutMin - 1, [1]));
  assertEquals(only(sent, "requestVote"), []);
});

Deno.test("Raft.tick() elects nobody because a follower lags behind (seed bug 3)", () => {
  const network = new Network({ options: { appendBytesMax: 1 } });
  network.elect(1);
  const awake = [1, 2];
  for (let i = 0; i < 50; i++) { // node 3 is stopped, and its clock with it
    network.drop = ({ from, to }) => from === 3 || to === 3;
    network.propose(1, i);
    network.tick(1, awake);
  }
  network.drop = () => false;
  network.hold = ({ type, to }) => type === "appendEntriesResponse" && to === 1; // catching up takes long
  const sent = network.during(() => network.tick(5 * timeoutMax));
  assertEquals([network.leaders, network.raft(3).currentTerm, network.raft(3).leaderId], [[1], 1, 1]);
  assertEquals(only(sent, "requestVote"), []);
  network.release();
  network.tick(2);
  assertEquals(network.node(3).commands.length, 50);
});

Deno.test("Raft.tick() leaves no node with the leader of an earlier term (seed bug 4)", () => {
  const network = new Network();
  network.elect(1);
  network.crash(1);
  for (let i = 0; i < 3 * timeoutMax; i++) {
    network.tick();
    for (const { raft } of network.nodes.slice(1)) if (raft.currentTerm > 1) assert(raft.leaderId !== 1);
  }
  assertEquals(network.leaders.length, 1);
});

Deno.test("Raft.receive() counts no votes of nodes outside of the cluster (seed bug 5, S15)", () => {
  const node = lone({ size: 3 });
  becomeCandidate(node);
  for (const from of [4, 5, 99]) node.step(voteResponse({ from, term: 1 }));
  assertEquals(node.raft.role, "candidate");
});

Deno.test("Raft.receive() is not driven to the end of all terms by one forged message (seed bug 6)", () => {
  const network = new Network();
  network.elect(1);
  for (const term of [2 ** 53 - 1, 2 ** 53, 1e308, Infinity, 2_000_000]) {
    for (const { raft } of network.nodes) {
      const to = network.nodes.findIndex((node) => node.raft === raft) + 1;
      const from = to === 3 ? 2 : 3;
      assertEquals(typeof raft.receive(requestVote({ from, to, term, leadershipTransfer: true })), "string");
      assertEquals(typeof raft.receive(heartbeat(logOf(3, []), { from, to, term })), "string");
    }
  }
  network.settle();
  assertEquals(network.nodes.map(({ disk }) => disk.hardState.currentTerm), [1, 1, 1]);
  network.propose(1, "still here");
});

Deno.test("Raft.tick() ends the office of a leader that is cut off, and it disturbs nobody (seed bug 7)", () => {
  const network = new Network();
  network.elect(1);
  network.isolate(1);
  network.tick(3 * timeoutMax);
  assertEquals(network.raft(1).role === "leader", false);
  const [leader] = network.leaders;
  const { currentTerm } = network.raft(leader!);
  network.heal();
  network.tick(timeoutMax);
  assertEquals([network.leaders, network.raft(1).currentTerm], [[leader!], currentTerm]);
});

Deno.test("Raft.propose() keeps every command at its index, however late followers answer (seed bug 9, S4)", () => {
  const network = new Network();
  network.elect(1);
  network.hold = ({ type, from }) => type === "appendEntriesResponse" && from !== 1;
  for (const command of ["a", "b", "c"]) network.propose(1, command);
  network.release();
  network.tick();
  for (const { raft, commands } of network.nodes) {
    assertEquals(commands, ["a", "b", "c"]);
    for (let index = 1; index <= raft.lastIndex; index++) assertEquals(raft.entryAt(index)!.index, index);
  }
});

Deno.test("Raft.receive() sends a follower all that it missed, by heartbeats alone (seed bug 10, S5)", () => {
  const network = new Network();
  network.crash(3); // it has nothing but the founding entry
  network.elect(1);
  for (const command of ["a", "b", "c"]) network.propose(1, command);
  network.restart(3);
  network.tick(2);
  assertEquals(network.node(3).disk.entries, network.node(1).disk.entries);
  network.propose(1, "d");
  assertEquals(network.raft(3).entryAt(network.raft(1).lastIndex)?.command, "d");
});

Deno.test("Raft.receive() does not count a stale tail as replicated (seed bug 11, S2)", () => {
  // Node 2 has three entries of a lost leader behind the common one; node 3 is away.
  const network = new Network([{ terms: [1], term: 2 }, { terms: [1, 1, 1, 1] }, { terms: [1], term: 2 }]);
  network.isolate(2);
  network.elect(1);
  network.heal();
  network.crash(3);
  network.drop = (message) => message.type === "appendEntries" && message.entries.length > 0;
  network.raft(1).propose("a");
  network.tick(timeoutMin);
  assertEquals(network.raft(1).progress()[0]?.matchIndex ?? 0, 2);
  assertEquals(network.raft(1).commitIndex, 3, "what node 3 had acknowledged, and not a");
  network.drop = () => false;
  network.tick(2);
  assertEquals([network.raft(1).commitIndex, network.node(2).commands.at(-1)], [4, "a"]);
});

Deno.test("Raft.receive() lets late answers move nothing back, and no committed entry is replaced (seed bug 12)", () => {
  const node = loneLeader();
  for (let i = 0; i < 8; i++) {
    node.raft.propose(i);
    node.run();
  }
  node.step(appendResponse({ term: 1, matchIndex: 10 }));
  assertEquals(node.raft.commitIndex, 10);
  for (const matchIndex of [2, 9, 3]) node.step(appendResponse({ term: 1, matchIndex }));
  node.step(appendResponse({ term: 1, success: false, prevLogIndex: 4, conflictIndex: 1 }));
  const { mode, matchIndex, nextIndex } = node.raft.progress()[0]!;
  assertEquals({ mode, matchIndex, nextIndex }, { mode: "replicate", matchIndex: 10, nextIndex: 11 });
  const follower = lone({ terms: [1, 1] });
  follower.step(heartbeat(logOf(3, [1, 1]), { term: 1, leaderCommit: 3 }));
  const replacing = appendEntries(logOf(3, [1, 2]), { term: 2, prevLogIndex: 2 });
  assertEquals(follower.raft.receive(replacing), "it contradicts entry 3, which is committed");
});

Deno.test("Raft.receive() does not apply a conflicting entry because of a heartbeat (seed bug 13, S3)", () => {
  const node = lone({ terms: [1, 1] }); // index 3 is of a lost leader, the new one has another entry there
  node.step(heartbeat(logOf(3, [1, 2]), { term: 2, prevLogIndex: 2, leaderCommit: 3 }));
  assertEquals([node.raft.commitIndex, node.commands], [2, ["2/1"]]);
});

Deno.test("Raft.receive() writes no entry again that is there already (seed bug 14)", () => {
  const node = lone();
  const message = appendEntries(logOf(3, [1, 1, 1]), { term: 1, prevLogIndex: 1 });
  node.step(message);
  node.raft.receive(message);
  assertEquals(node.raft.takeReady()?.write?.entries, []);
});

Deno.test("Log.append() accepts no gaps (seed bug 15)", () => {
  const [first] = logOf(1, []);
  const far = makeEntry({ index: 3, term: 1, kind: "noop", command: null, prevCrc: first!.crc });
  assertThrows(() => new Log([first!, far]), AssertionFailed);
});

Deno.test("Raft.propose() commits in a cluster of one (seed bug 15)", () => {
  const network = new Network({ size: 1 });
  network.tick(timeoutMax);
  network.propose(1, "a");
  assertEquals(network.node(1).commands, ["a"]);
});

Deno.test("Raft.tick() commits old entries after a restart of all nodes, with no new write (seed bug 16, S14)", () => {
  const network = new Network();
  network.elect(1);
  network.propose(1, "a");
  for (const id of [1, 2, 3]) network.restart(id);
  assertEquals(network.nodes.map(({ commands }) => commands), [[], [], []]);
  network.tickUntil(() => network.nodes.every(({ commands }) => commands.length === 1), 4 * timeoutMax);
});

Deno.test("Raft.receive() is not confused by messages that overtake and repeat each other (seed bug 17)", () => {
  const random = new Random("seed bug 17");
  const network = new Network({ options: { appendBytesMax: 1 } });
  network.elect(1);
  for (let round = 0; round < 30; round++) {
    network.hold = () => true;
    for (let i = 0; i < 5; i++) network.propose(1, `${round}/${i}`);
    for (let turn = 0; turn < 4; turn++) {
      network.inFlight = random.shuffled([...network.held, ...network.held.splice(0)]);
      network.settle();
    }
    network.release();
    network.tick();
  }
  network.tick(3);
  for (const node of network.nodes) assertEquals(node.commands.length, 150);
});

Deno.test("Raft.takeReady() sends also an entry that is larger than a message should be (seed bug 18)", () => {
  const network = new Network({ options: { appendBytesMax: 1000, inflightBytesMax: 2000 } });
  network.elect(1);
  network.propose(1, "x".repeat(1 << 20));
  network.propose(1, "after");
  network.tick();
  for (const { commands } of network.nodes) assertEquals([commands.length, commands[1]], [2, "after"]);
});

Deno.test("Raft.takeReady() skips no entry that is committed before it is there (seed bug 19)", () => {
  const node = lone();
  const log = logOf(3, [1, 1, 1]);
  node.step(heartbeat(log, { term: 1, prevLogIndex: 1, leaderCommit: 4 })); // entries 2 to 4 are on their way
  assertEquals(node.applied.map(({ index }) => index), [1]);
  node.step(appendEntries(log, { term: 1, prevLogIndex: 1, count: 1, leaderCommit: 4 }));
  node.step(appendEntries(log, { term: 1, prevLogIndex: 2, leaderCommit: 4 }));
  assertEquals(node.applied.map(({ index }) => index), [1, 2, 3, 4]);
});

Deno.test("Raft.propose() bounds what waits without a majority, and members can change (seed bug 23)", () => {
  const network = new Network({ options: { uncommittedBytesMax: 10_000 } });
  network.elect(1);
  network.isolate(1);
  let taken = 0;
  while (network.raft(1).propose("x".repeat(100)) !== "busy") assert(++taken < 1000);
  network.heal();
  network.settle();
  network.tick(2);
  assertEquals(
    typeof network.raft(1).proposeConfiguration({
      members: network.raft(1).configuration.members.slice(0, 2),
    }),
    "object",
  );
});

Deno.test("Raft.read() on any node sees every acknowledged write, and a deposed leader answers none (seed bug 25, S10)", () => {
  const network = new Network();
  network.elect(1);
  const { index } = network.propose(1, "a");
  network.raft(3).read(1);
  network.settle();
  assertGreaterOrEqual(network.node(3).reads.get(1) ?? 0, index);
  assertGreaterOrEqual(network.node(3).applied.length, index);
  network.isolate(1);
  network.tick(timeoutMin, [2, 3]);
  network.elect(2);
  network.propose(2, "b");
  network.raft(1).read(2);
  network.settle();
  assertEquals([network.raft(1).role, network.node(1).reads.has(2)], ["leader", false]);
  network.tick(timeoutMax);
  assertEquals(network.node(1).reads.get(2), null);
});

Deno.test("Raft.receive() replaces a whole stale tail when its first entry conflicts (seed section 0, fact 3)", () => {
  const node = lone({ terms: [1, 2, 2, 2, 2] });
  const log = logOf(3, [1, 3]);
  node.step(appendEntries(log, { term: 3, prevLogIndex: 2 }));
  assertEquals([termsOf(node.raft), node.disk.entries], [[1, 3], log]);
});
