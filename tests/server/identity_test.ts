/**
 * What a node says of itself, and when.
 *
 * @module
 */

import { timingModes } from "../../lib/cli/timing.ts";
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { defaultLimits, type ServerOptions } from "../../lib/server/options.ts";
import { NodeIdentity } from "../../lib/server/identity.ts";
import { Raft } from "../../lib/raft/raft.ts";
import { raftOptions } from "../../lib/server/options.ts";
import { clusterIdOf, type Hello } from "../../lib/protocol/peer_protocol.ts";
import { FolderError, type Identity } from "../../lib/storage/storage.ts";
import { calm, World } from "../sim/world.ts";
import { Random } from "../sim/random.ts";

const cluster = [1, 2, 3].map((id) => ({ id, address: `n${id}:8080` }));

function identityOf(identity: Identity | null): NodeIdentity {
  const options: ServerOptions = {
    nodeId: 1,
    bindAddress: "n1:8080",
    clientBindAddress: "n1:9080",
    clientAddress: "n1:9080",
    cluster,
    timing: timingModes.fast,
    limits: defaultLimits,
    log: () => {},
    onStop: () => {},
  };
  const raft = new Raft(raftOptions(options, () => 0), {
    hardState: { currentTerm: 0, votedFor: null },
    entries: [],
  });
  let made: NodeIdentity;
  new World(new Random("identity"), calm).machine("n1", (io) => {
    made = new NodeIdentity(options, io, { raft, identity });
  }).restart();
  return made!;
}

function hello(id: number): Hello {
  return {
    ...identityOf(null).hello(),
    nodeId: id,
    incarnation: `incarnation ${id}`,
    cluster,
  };
}

Deno.test("NodeIdentity.hello() tells of the members only once they are on the disk (ARCHITECTURE.md)", () => {
  const identity = identityOf(null);
  const hellos = new Map([2, 3].map((id) => [id, hello(id)]));
  assertEquals(identity.nextStep(hellos), { do: "save" });
  assertEquals([identity.hello().clusterId, identity.hello().members], [null, null]);
  assertEquals(identity.nextStep(hellos), null, "it is on its way to the disk");
  identity.isSaved();
  const { clusterId, members } = identity.hello();
  assertEquals(members?.map(({ id }) => id), [1, 2, 3]);
  assertEquals(clusterId, clusterIdOf(members!));
});

Deno.test("NodeIdentity.constructor() refuses a folder that was prepared for other nodes", () => {
  const pinned = [1, 2].map((id) => ({ id, address: `n${id}:8080`, incarnation: `incarnation ${id}` }));
  const identity = {
    nodeId: 1,
    incarnation: "incarnation 1",
    starts: 1,
    clusterId: clusterIdOf(pinned),
    pinned,
  };
  const error = assertThrows(() => identityOf(identity), FolderError);
  assertMatch(error.message, /a cluster of the nodes 1, 2, but --cluster names 1, 2, 3/);
});
