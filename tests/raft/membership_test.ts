/**
 * The founding of a cluster, and configurations as entries of the log (paper 6, thesis 4).
 *
 * @module
 */

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { AssertionFailed } from "../../lib/assert.ts";
import { foundingEntry } from "../../lib/raft/membership.ts";
import type { Configuration } from "../../lib/raft/types.ts";
import { admitted } from "./disk.ts";
import { Network } from "./harness.ts";
import { appendEntries, appendResponse, requestVote } from "./messages.ts";
import { configurationOfSize, logOf, lone, loneLeader, type Node } from "./node.ts";

/** A node that has never heard of a cluster. */
function unfounded(): Node {
  const node = lone();
  node.disk.entries.length = 0;
  node.restart();
  return node;
}

Deno.test("Raft.found() writes the same entry, byte for byte, on every node", () => {
  const network = new Network();
  for (const node of network.nodes) {
    node.disk.entries.length = 0;
    node.restart();
    node.raft.found(configurationOfSize(3));
  }
  network.settle();
  const [first, ...others] = network.nodes.map(({ disk }) => disk.entries);
  assertEquals(first, [foundingEntry(configurationOfSize(3))]);
  for (const entries of others) assertEquals(entries, first);
  network.elect(2);
  network.tick();
  for (const { applied } of network.nodes) {
    assertEquals(applied.map(({ kind }) => kind), ["configuration", "noop"]);
  }
});

Deno.test("Raft.found() is for an empty log only", () => {
  assertThrows(() => lone().raft.found(configurationOfSize(3)), AssertionFailed, "founded once");
});

Deno.test("Raft.receive() takes the founding entry from a leader, when that is faster", () => {
  const node = unfounded();
  node.step(appendEntries(logOf(3, [1]), { term: 1, prevLogIndex: 0, leaderCommit: 1 }));
  assertEquals([node.raft.configuration, node.raft.lastIndex], [configurationOfSize(3), 2]);
  assertEquals(node.disk.entries, logOf(3, [1]));
});

Deno.test("Raft.receive() stops at the founding entry of another cluster: the logs have diverged", () => {
  const node = lone({ size: 3 });
  const foreign = appendEntries(logOf(5, [1]), { term: 1, prevLogIndex: 1 });
  assertThrows(() => node.raft.receive(foreign), AssertionFailed, "diverged");
});

Deno.test("Raft.receive() lets an unfounded node vote, so that the others can begin", () => {
  const node = unfounded();
  node.step(requestVote({ term: 1 }));
  assertEquals(node.disk.hardState, admitted(1, 2));
});

Deno.test("Raft.campaign() of a node that is no member asks nobody (paper 6)", () => {
  const node = lone({ log: [foundingEntry({ members: configurationOfSize(3).members.slice(1) })] });
  assertEquals(node.tick(100), []);
  assertEquals([node.raft.role, node.raft.currentTerm], ["follower", 0]);
});

Deno.test("Raft.proposeConfiguration() is refused until something of this term is committed (raft-dev 2015)", () => {
  const node = loneLeader();
  assertStringIncludes(
    String(node.raft.proposeConfiguration(configurationOfSize(4))),
    "nothing of this term",
  );
  node.step(appendResponse({ term: 1, matchIndex: 2 }));
  assertEquals(typeof node.raft.proposeConfiguration(configurationOfSize(4)), "object");
});

Deno.test("Raft.proposeConfiguration() allows one change of one member at a time (thesis 4.1)", () => {
  const node = loneLeader();
  node.step(appendResponse({ term: 1, matchIndex: 2 }));
  assertStringIncludes(
    String(node.raft.proposeConfiguration(configurationOfSize(5))),
    "more than one member",
  );
  assertEquals(typeof node.raft.proposeConfiguration(configurationOfSize(4)), "object");
  assertStringIncludes(String(node.raft.proposeConfiguration(configurationOfSize(3))), "not yet committed");
  node.run();
  node.step(appendResponse({ from: 2, term: 1, matchIndex: 3 }));
  assertEquals(node.raft.commitIndex, 2, "the new configuration counts at once: three of four are needed");
  node.step(appendResponse({ from: 4, term: 1, matchIndex: 3 }));
  assertEquals(node.raft.commitIndex, 3);
  assertEquals(typeof node.raft.proposeConfiguration(configurationOfSize(3)), "object");
});

Deno.test("Raft.proposeConfiguration() brings a new member in, which then counts", () => {
  const network = new Network([1, 2, 3, 4].map((id) => ({ log: id < 4 ? logOf(3, []) : [] })));
  network.elect(1);
  network.raft(1).proposeConfiguration(configurationOfSize(4));
  network.settle();
  network.tick(2);
  assertEquals(network.node(4).disk.entries, network.node(1).disk.entries);
  network.crash(2);
  network.crash(3);
  network.raft(1).propose("x");
  network.settle();
  assertEquals(network.raft(1).commitIndex, 3, "two of four are no majority");
  network.restart(3);
  network.tick(2);
  assertEquals(network.raft(1).commitIndex, 4);
});

Deno.test("Raft.proposeConfiguration() on a leader that loses its office is taken back with the log", () => {
  const network = new Network();
  network.elect(1);
  network.isolate(1);
  network.raft(1).proposeConfiguration(configurationOfSize(2));
  network.settle();
  assertEquals(network.raft(1).configuration.members.length, 2);
  network.tick(10, [2, 3]);
  network.tickUntil(() => network.leaders.length === 1 && network.leaders[0] !== 1);
  network.heal();
  network.tick(3);
  assertEquals(network.raft(1).configuration, configurationOfSize(3));
});

Deno.test("Raft.proposeConfiguration() may change addresses, and a new incarnation is a change of one member", () => {
  const { members } = configurationOfSize(3);
  const moved: Configuration = { members: members.map((member) => ({ ...member, address: "[::1]:9" })) };
  const wiped = (ids: number[]): Configuration => ({
    members: members.map((member) =>
      ids.includes(member.id) ? { ...member, incarnation: "f".repeat(16) } : member
    ),
  });
  for (
    const [configuration, allowed] of [[moved, true], [wiped([3]), true], [wiped([2, 3]), false]] as const
  ) {
    const node = loneLeader();
    node.step(appendResponse({ term: 1, matchIndex: 2 }));
    assertEquals(typeof node.raft.proposeConfiguration(configuration) === "object", allowed);
  }
});
