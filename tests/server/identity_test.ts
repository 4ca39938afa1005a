/**
 * What a node says of itself, and when; whom it takes for a member; and when there is no use in going on.
 *
 * @module
 */

import { assertEquals, assertMatch, assertNotEquals, assertThrows } from "@std/assert";
import { timingModes } from "../../lib/cli/timing.ts";
import type { Io } from "../../lib/io/io.ts";
import { clusterIdOf, type Hello } from "../../lib/protocol/peer_protocol.ts";
import { makeEntry } from "../../lib/raft/entry.ts";
import { Raft } from "../../lib/raft/raft.ts";
import type { Entry, Member } from "../../lib/raft/types.ts";
import { nextIdentity, NodeIdentity } from "../../lib/server/identity.ts";
import { defaultLimits, raftOptions, type ServerOptions } from "../../lib/server/options.ts";
import { FolderError, type Identity, type Recovered } from "../../lib/storage/storage.ts";
import { Random } from "../sim/random.ts";
import { calm, World } from "../sim/world.ts";

const members: Member[] = [1, 2, 3].map((id) => ({
  id,
  address: `n${id}:8080`,
  incarnation: `incarnation ${id}`,
}));

function optionsOf(nodes: readonly Member[] = members): ServerOptions {
  return {
    nodeId: 1,
    bindAddress: "n1:8080",
    clientBindAddress: "n1:9080",
    clientAddress: "n1:9080",
    cluster: nodes.map(({ id, address }) => ({ id, address })),
    timing: timingModes.fast,
    limits: defaultLimits,
    log: () => {},
    onStop: () => {},
  };
}

function io(): Io {
  let made: Io;
  new World(new Random("identity"), calm).machine("n1", (io) => made = io).restart();
  return made!;
}

function record(fields: Partial<Identity> = {}): Identity {
  return { nodeId: 1, incarnation: "incarnation 1", starts: 1, clusterId: null, pinned: null, ...fields };
}

/** A node with this record, which is admitted by the entry `admitted` or abstains, and whose log is that. */
function identityOf(
  identity: Identity,
  { admitted = 0, entries = [] as Entry[] } = {},
): NodeIdentity {
  const options = optionsOf();
  const hardState = { currentTerm: 1, votedFor: null, admittedIndex: admitted };
  const raft = new Raft(raftOptions(options, { incarnation: identity.incarnation, random: () => 0 }), {
    hardState,
    snapshot: null,
    entries,
  });
  return new NodeIdentity(options, io(), { raft, identity, storage: { hardState } });
}

/** A log of configurations, the first one founds the cluster. */
function logOf(...configurations: Member[][]): Entry[] {
  const entries: Entry[] = [];
  for (const [i, configuration] of configurations.entries()) {
    entries.push(makeEntry({
      index: i + 1,
      term: i === 0 ? 0 : 1,
      kind: "configuration",
      command: { members: configuration },
      prevCrc: entries.at(-1)?.crc ?? 0,
    }));
  }
  return entries;
}

const clusterId = clusterIdOf(members);
/** An admitted member of the founded cluster. */
const founded = () =>
  identityOf(record({ clusterId, pinned: members }), { admitted: 1, entries: logOf(members) });

function hello(id: number, fields: Partial<Hello> = {}): Hello {
  const { incarnation } = members.find((member) => member.id === id) ?? { incarnation: "stranger" };
  return { ...identityOf(record()).hello(true), nodeId: id, incarnation, ...fields };
}

/** The same, of a node of the founded cluster. */
function helloOf(id: number, fields: Partial<Hello> = {}): Hello {
  return hello(id, { clusterId, members, founded: true, admitted: 1, ...fields });
}

Deno.test("NodeIdentity.hello() tells of the members only once they are on the disk (ARCHITECTURE.md)", () => {
  const identity = identityOf(record());
  const hellos = new Map([2, 3].map((id) => [id, hello(id)]));
  assertEquals(identity.nextStep(hellos), { do: "save" });
  assertEquals([identity.hello(true).clusterId, identity.hello(true).members], [null, null]);
  assertEquals(identity.nextStep(hellos), null, "it is on its way to the disk");
  identity.isSaved();
  assertEquals([identity.hello(true).clusterId, identity.hello(true).members], [clusterId, members]);
});

Deno.test("NodeIdentity.hello() tells whether the folder is admitted and has room", () => {
  const { admitted, hasRoom, founded: isFounded } = founded().hello(false);
  assertEquals([admitted, hasRoom, isFounded], [1, false, true]);
  assertEquals(identityOf(record()).hello(true).admitted, 0);
});

Deno.test("NodeIdentity.constructor() refuses a folder that was prepared for other nodes", () => {
  const pinned = members.slice(0, 2);
  const identity = record({ clusterId: clusterIdOf(pinned), pinned });
  const error = assertThrows(() => identityOf(identity), FolderError);
  assertMatch(error.message, /a cluster of the nodes 1, 2, but --cluster names 1, 2, 3/);
});

Deno.test("NodeIdentity.constructor() takes another incarnation than the log's only from a folder that abstains", () => {
  const other = record({ clusterId, pinned: members, incarnation: "another" });
  identityOf(other, { admitted: 0, entries: logOf(members) });
  const mixed = () => identityOf(other, { admitted: 1, entries: logOf(members) });
  assertMatch(assertThrows(mixed, FolderError).message, /the files of two folders are mixed/);
});

Deno.test("NodeIdentity.judge() takes members, wants the same list before the founding, and refuses strangers", () => {
  assertEquals(founded().judge(helloOf(2)), null);
  assertMatch(founded().judge(helloOf(2, { clusterId: "0" }))!, /another cluster \(0, this one is/);
  assertMatch(founded().judge(helloOf(4))!, /node 4 is not a member/);
  const fresh = identityOf(record());
  assertEquals(fresh.judge(hello(2)), null);
  const shorter = optionsOf(members.slice(0, 2)).cluster;
  assertMatch(fresh.judge(hello(2, { cluster: shorter }))!, /different lists/);
  // Addresses may have changed since the founding, the nodes not.
  const moved = members.map(({ id }) => ({ id, address: `moved${id}:8080` }));
  assertEquals(fresh.judge(helloOf(2, { cluster: moved })), null);
  assertMatch(fresh.judge(hello(2, { cluster: moved }))!, /different lists/);
});

Deno.test("NodeIdentity.judge() lets another folder of a member in while it abstains or is ahead, not once it was replaced", () => {
  assertEquals(founded().judge(helloOf(2, { incarnation: "new", admitted: 0 })), null);
  assertEquals(founded().judge(helloOf(2, { incarnation: "new", admitted: 9 })), null, "not in this log yet");
  const replaced = members.map((member) => member.id === 2 ? { ...member, incarnation: "new" } : member);
  const later = identityOf(record({ clusterId, pinned: members }), {
    admitted: 1,
    entries: logOf(members, replaced),
  });
  assertEquals(later.judge(helloOf(2, { incarnation: "new", admitted: 2 })), null);
  for (const admitted of [1, 2]) {
    assertMatch(
      later.judge(helloOf(2, { admitted }))!,
      /replaced by another one, which the cluster has admitted/,
    );
  }
});

/** One of the founded cluster whose folder is new to it. */
const abstaining = (id: number) => helloOf(id, { incarnation: `folder ${id}`, admitted: 0 });

const lost = (identity: NodeIdentity, ...hellos: Hello[]) =>
  identity.lostMembers(new Map(hellos.map((one) => [one.nodeId, one])));

Deno.test("NodeIdentity.lostMembers() names those that abstain once no majority is left to admit them", () => {
  assertEquals(lost(founded(), helloOf(2), helloOf(3)), []);
  assertEquals(lost(founded(), abstaining(2), helloOf(3)), [], "two can admit the third one");
  assertEquals(lost(founded(), abstaining(2)), [], "one that is only silent may come back");
  assertEquals(lost(founded(), abstaining(2), abstaining(3)), [2, 3]);
  assertEquals(lost(founded(), hello(2), hello(3)), [], "they may be about to found it with this node");
  const wiped = identityOf(record({ clusterId, pinned: members, incarnation: "new" }), {
    entries: logOf(members),
  });
  assertEquals(lost(wiped, helloOf(2), helloOf(3)), []);
  assertEquals(lost(wiped, abstaining(2), helloOf(3)), [1, 2]);
});

Deno.test("NodeIdentity.lostMembers() does not count a folder that the log names, whatever its last hello said", () => {
  const named = members.map((member) => member.id === 2 ? { ...member, incarnation: "folder 2" } : member);
  const later = identityOf(record({ clusterId, pinned: members }), {
    admitted: 1,
    entries: logOf(members, named),
  });
  assertEquals(lost(later, abstaining(2), abstaining(3)), [], "2 is a member again, and 3 can be admitted");
  const another = helloOf(2, { incarnation: "yet another", admitted: 0 });
  assertEquals(lost(later, another, abstaining(3)), [2, 3]);
});

Deno.test("nextIdentity() counts the start, and names a folder anew that is empty or has lost something", () => {
  const nothing = { currentTerm: 0, votedFor: null, admittedIndex: 0 };
  const found = (identity: Identity | null, damage: string | null): Recovered => ({
    identity,
    hardState: nothing,
    snapshot: null,
    entries: [],
    damage,
    notes: [],
  });
  const before = record({ starts: 4, clusterId, pinned: members });
  assertEquals(nextIdentity(optionsOf(), io(), found(before, null)), { ...before, starts: 5 });
  const damaged = nextIdentity(optionsOf(), io(), found(before, "rot"));
  assertMatch(damaged.incarnation, /^[0-9a-f]{16}$/);
  assertEquals(damaged, { ...before, starts: 5, incarnation: damaged.incarnation });
  const fresh = nextIdentity(optionsOf(), io(), found(null, null));
  assertEquals(fresh, record({ incarnation: fresh.incarnation }));
  assertNotEquals(fresh.incarnation, before.incarnation);
  const alone = () => nextIdentity(optionsOf(members.slice(0, 1)), io(), found(before, "rot"));
  assertMatch(assertThrows(alone, FolderError).message, /^rot\. .* No other node has the data/);
});
