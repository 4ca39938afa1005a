/**
 * How a cluster comes to be, step by step and with nodes that die at any moment of it.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Hello } from "../../lib/protocol/peer_protocol.ts";
import { clusterIdOf } from "../../lib/protocol/peer_protocol.ts";
import type { Member } from "../../lib/raft/types.ts";
import { type FoundingView, nextFoundingStep } from "../../lib/server/founding.ts";
import { type Node, SmallCluster } from "./cluster.ts";

const cluster = [1, 2, 3].map((id) => ({ id, address: `n${id}:8080` }));
const members: Member[] = cluster.map((node) => ({ ...node, incarnation: `incarnation ${node.id}` }));

function hello(id: number, fields: Partial<Hello> = {}): Hello {
  return {
    type: "hello",
    versions: { min: 1, max: 1 },
    nodeId: id,
    incarnation: `incarnation ${id}`,
    starts: 1,
    nonce: `nonce ${id}`,
    clientAddress: `n${id}:9080`,
    cluster,
    clusterId: null,
    members: null,
    founded: false,
    admitted: 0,
    hasRoom: true,
    ...fields,
  };
}

/** Node 1's view of the given hellos. */
function view(hellos: Hello[], pinned: Member[] | null = null): FoundingView {
  const self = { nodeId: 1, incarnation: "incarnation 1" };
  return { self, cluster, pinned, hellos: new Map(hellos.map((one) => [one.nodeId, one])) };
}

const isPinned = { clusterId: clusterIdOf(members), members };

Deno.test("nextFoundingStep() waits until every node has been seen (ARCHITECTURE.md)", () => {
  assertEquals(nextFoundingStep(view([hello(2)])), { do: "wait", for: [3], because: "unseen" });
  assertEquals(nextFoundingStep(view([])), { do: "wait", for: [2, 3], because: "unseen" });
});

Deno.test("nextFoundingStep() pins the members once all were seen, and what another node has pinned at once", () => {
  assertEquals(nextFoundingStep(view([hello(2), hello(3)])), { do: "pin", members });
  assertEquals(nextFoundingStep(view([hello(3, isPinned)])), { do: "pin", members });
});

Deno.test("nextFoundingStep() founds once all are pinned to the same members, or one is founded", () => {
  const waiting = nextFoundingStep(view([hello(2, isPinned), hello(3)], members));
  assertEquals(waiting, { do: "wait", for: [3], because: "unpinned" });
  assertEquals(nextFoundingStep(view([hello(2, isPinned), hello(3, isPinned)], members)), { do: "found" });
  assertEquals(nextFoundingStep(view([hello(3, { ...isPinned, founded: true })], members)), { do: "found" });
});

/** The members with another folder of node 1: the one that was lost. */
const before = members.map((member) => member.id === 1 ? { ...member, incarnation: "lost" } : member);
const isBound = { clusterId: clusterIdOf(before), members: before };

Deno.test("nextFoundingStep() pins a list that names a lost folder of this node, and founds that cluster", () => {
  for (const founded of [false, true]) {
    const hellos = [hello(2, { ...isBound, founded }), hello(3)];
    assertEquals(nextFoundingStep(view(hellos)), { do: "pin", members: before });
  }
  assertEquals(nextFoundingStep(view([hello(2, { ...isBound, founded: true })], before)), { do: "found" });
});

Deno.test("nextFoundingStep() founds nothing of its own while somebody is bound whose list it cannot take", () => {
  // Node 2 is founded and cannot tell the list: its state file was lost. Node 3 is as new as this node.
  const bound = [{ clusterId: isBound.clusterId }, { founded: true }, { clusterId: "0", members: before }];
  for (const fields of bound) {
    const step = nextFoundingStep(view([hello(2, fields), hello(3)]));
    assertEquals(step, { do: "wait", for: [3], because: "unpinned" });
  }
  const known = nextFoundingStep(view([hello(2, { clusterId: isBound.clusterId }), hello(3, isBound)]));
  assertEquals(known, { do: "pin", members: before }, "the third node knows the list");
});

Deno.test("nextFoundingStep() stops where a cluster without this node answers, or another one than it prepared for", () => {
  const others = members.filter(({ id }) => id !== 1);
  const strange = nextFoundingStep(view([hello(2, { clusterId: clusterIdOf(others), members: others })]));
  assert(strange.do === "stop");
  assertMatch(strange.message, /node 2 belongs to a cluster that has no node 1/);
  const pins = nextFoundingStep(view([hello(2, isBound)], members));
  assert(pins.do === "stop");
  assertMatch(pins.message, /different clusters while founding/);
  const foreign = nextFoundingStep(view([hello(2, { ...isBound, founded: true })], members));
  assert(foreign.do === "stop");
  assertMatch(foreign.message, /prepared for another one that was never founded/);
});

Deno.test("Server.constructor() leads to one cluster though nodes die at every moment of the founding", () => {
  for (let run = 0; run < 60; run++) {
    const nodes = new SmallCluster(`founding ${run}`, { size: run % 2 === 0 ? 3 : 5, wait: false });
    const { random } = nodes.world;
    // Founding takes about 30 simulated ms from the first hello on; crashes come at all its steps.
    for (let crash = 0; crash < 4; crash++) {
      nodes.run(random.between(1, 15));
      const victim = random.pick(nodes.nodes);
      nodes.crash(victim, random.chance(0.5) ? "power" : "kill");
      nodes.run(random.between(1, 15));
      victim.machine.restart();
    }
    nodes.until(() => nodes.leader !== null, "a leader");
    nodes.until(() => nodes.nodes.every(({ server }) => server!.raft.lastIndex >= 2), "all have the log");
    const founding = nodes.nodes.map(({ server }) => server!.raft.entryAt(1)!.crc);
    assertEquals(new Set(founding).size, 1, "the first entry is the same on all nodes");
    assertEquals(nodes.nodes.map(({ stopped }) => stopped), nodes.nodes.map(() => null));
  }
});

Deno.test("Server.constructor() with a wiped folder abstains until the others have admitted it (ARCHITECTURE.md)", () => {
  const nodes = new SmallCluster("wiped");
  const victim = nodes.follower;
  const client = nodes.client(nodes.leader!);
  assertEquals(client.ask({ op: "put", key: "a", value: "1" }).ok, true);
  const incarnationOf = (node: Node) =>
    node.server!.raft.configuration.members.find(({ id }) => id === victim.id)?.incarnation;
  const lost = incarnationOf(victim);
  nodes.wipe(victim);
  let hasAbstained = false;
  nodes.until(() => {
    const { admittedIndex, lastIndex } = victim.server!.raft;
    hasAbstained ||= admittedIndex === 0 && lastIndex > 0;
    return admittedIndex > 0;
  }, "the wiped node is admitted");
  assert(hasAbstained, "it had entries before it took part");
  assert(incarnationOf(victim) !== lost);
  assertEquals(client.ask({ op: "put", key: "a", value: "2" }).ok, true);
  // Now it counts: with one of the others gone, the two make a majority.
  nodes.kill(nodes.nodes.find((node) => node !== victim && node !== nodes.leader)!);
  assertEquals(client.ask({ op: "put", key: "a", value: "3" }).ok, true);
});

Deno.test("Server.constructor() founds nothing with wiped folders while one node knows the cluster", () => {
  const nodes = new SmallCluster("two wiped");
  const [first, second, third] = nodes.nodes;
  assertEquals(nodes.client(nodes.leader!).ask({ op: "put", key: "a", value: "1" }).ok, true);
  const founding = third!.server!.raft.entryAt(1)!.crc;
  nodes.kill(third!);
  nodes.wipe(first!);
  nodes.wipe(second!);
  nodes.run(300); // the two have seen each other, and miss the third one
  third!.machine.restart();
  nodes.run(2000);
  for (const { server } of [first!, second!]) {
    assertEquals([server!.raft.entryAt(1)?.crc, server!.raft.admittedIndex], [founding, 0]);
  }
  assertEquals(nodes.leader, null, "nobody can decide anything any more");
  nodes.until(() => first!.stopped !== null && second!.stopped !== null, "the two give up");
  assertMatch(
    first!.stopped!.message,
    /beyond self-repair: the data folders of node 1, 2 have lost something/,
  );
  assertEquals(third!.stopped, null, "the one that has all of it stays");
});

Deno.test("Server.constructor() refuses a folder that belongs to a cluster of other nodes", () => {
  const nodes = new SmallCluster("other ids");
  nodes.kill(nodes.nodes[2]!);
  nodes.listed = [1, 2, 3, 4];
  assertEquals(nodes.nodes[2]!.server, null);
  nodes.nodes[2]!.machine.restart();
  assertMatch(
    nodes.nodes[2]!.stopped!.message,
    /a cluster of the nodes 1, 2, 3, but --cluster names 1, 2, 3, 4/,
  );
});
