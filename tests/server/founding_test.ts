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
import { SmallCluster } from "./cluster.ts";

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

Deno.test("nextFoundingStep() stops a node whose folder is not the one that the others know", () => {
  const others = members.map((member) => member.id === 1 ? { ...member, incarnation: "lost" } : member);
  const step = nextFoundingStep(view([hello(2, { clusterId: clusterIdOf(others), members: others })]));
  assert(step.do === "stop");
  assertMatch(step.message, /the cluster of node 2 knows node 1 with another data folder/);
  const pins = nextFoundingStep(
    view([hello(2, { clusterId: clusterIdOf(others), members: others })], members),
  );
  assert(pins.do === "stop");
  assertMatch(pins.message, /different clusters while founding/);
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

Deno.test("Server.constructor() with a wiped folder stops, says why, and changes nothing for the others (ARCHITECTURE.md)", () => {
  const nodes = new SmallCluster("wiped");
  const victim = nodes.follower;
  const client = nodes.client(nodes.leader!);
  assertEquals(client.ask({ op: "put", key: "a", value: "1" }).ok, true);
  nodes.wipe(victim);
  nodes.until(() => victim.stopped !== null, "the wiped node finds out");
  assertMatch(
    victim.stopped!.message,
    /knows node \d with another data folder .* the folder was lost or replaced/,
  );
  assertEquals(client.ask({ op: "put", key: "a", value: "2" }).ok, true);
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
