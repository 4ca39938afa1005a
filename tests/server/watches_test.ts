/**
 * Watches over the real Server: what is told, what happens when a client does not read, and when history is gone.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { makeEntry } from "../../lib/raft/entry.ts";
import type { Caller } from "../../lib/server/caller.ts";
import { FrozenStates } from "../../lib/server/frozen_states.ts";
import { StateMachine } from "../../lib/server/state_machine.ts";
import { Watches } from "../../lib/server/watches.ts";
import { type Client, SmallCluster } from "./cluster.ts";

type Json = Record<string, unknown>;

function eventsOf(client: Client, watch = 1): Json[] {
  return client.replies.filter((line) => line.watch === watch && "type" in line);
}

/** Events in a few letters: "put a=1 @3", "delete a @4". */
function inWords(events: Json[]): string[] {
  return events.map(({ type, key, value, index, more }) => {
    const what = key === undefined
      ? type
      : value === undefined
      ? `${type} ${key}`
      : `${type} ${key}=${value}`;
    return `${what} @${index}${more ? "+" : ""}`;
  });
}

function put(key: string, value: string): Json {
  return { op: "put", key, value };
}

/** Puts keys on the leader, one after the other, and returns the index of the last one. */
function fill(
  cluster: SmallCluster,
  count: number,
  { value = "v", keyOf = (i: number) => `k${i}` } = {},
): number {
  const client = cluster.client(cluster.leader!);
  client.send(...Array.from({ length: count }, (_, i) => put(keyOf(i), value)));
  cluster.until(() => client.replies.length === count, "all writes");
  return client.replies.at(-1)!.index as number;
}

/** Applies the entry at `index`. */
function apply(machine: StateMachine, index: number, command: Json): void {
  machine.apply(makeEntry({ index, term: 1, kind: "command", command, prevCrc: 0 }));
}

/** A connection that has room unless that is taken from it, and its watch. What it is sent, and how long each piece is. */
function openWatch(
  watches: Watches,
  options: { prefix?: string; after: number },
): Caller & { hasRoom: boolean; pushed: string; pieces: number[] } {
  const caller = {
    lastWriteIndex: 0,
    lastWatch: 0,
    watches: 0,
    inputEnded: false,
    hasRoom: true,
    pushed: "",
    pieces: [] as number[],
    push(lines: string): void {
      caller.pushed += lines;
      caller.pieces.push(lines.length);
    },
    mayHold: true,
    waitsForTooMuch: false,
    hold(): void {},
  };
  const opened = watches.open({ op: "watch", id: undefined, ...options }, caller, 0);
  assert("start" in opened);
  opened.start();
  return caller;
}

Deno.test("Watches.flush() tells every change of a prefix once, in order, on any node, from any index on", () => {
  const cluster = new SmallCluster("watch");
  const leader = cluster.client(cluster.leader!);
  const first = leader.ask(put("w/1", "a")).index as number;
  leader.ask(put("x", "b"));
  leader.ask({
    op: "txn",
    then: [put("w/2", "c"), put("x", "d"), { op: "delete", key: "w/1" }, { op: "increment", key: "w/n" }],
  });
  leader.ask({ op: "delete", key: "w/9" }); // was not there: nothing changed
  leader.ask({ op: "deleteRange", prefix: "w/" });
  const expected = [
    `put w/2=c @${first + 2}+`,
    `delete w/1 @${first + 2}+`,
    `put w/n=1 @${first + 2}`,
    `delete w/2 @${first + 4}+`,
    `delete w/n @${first + 4}`,
  ];
  for (const node of cluster.nodes) {
    const client = cluster.client(node);
    assertEquals(client.ask({ op: "watch", prefix: "w/", after: first }).watch, 1);
    cluster.until(() => eventsOf(client).length >= expected.length, "all events");
    cluster.run(100);
    assertEquals(inWords(eventsOf(client)), expected);
  }
});

Deno.test("Watches.open() gives each watch of a connection a number, its reply first and then its own events", () => {
  const cluster = new SmallCluster("numbers", { size: 1 });
  const client = cluster.client(cluster.leader!);
  client.send(
    { op: "watch", key: "a" },
    put("a", "1"),
    { op: "watch", prefix: "" },
    put("a", "2"),
    { op: "unwatch", watch: 1 },
    put("a", "3"),
  );
  cluster.until(() => client.replies.length >= 8, "replies and events");
  cluster.run(100);
  assertEquals(inWords(eventsOf(client, 1)), [], "it was closed before anything was applied");
  assertEquals(eventsOf(client, 2).length, 3);
  assertLess(
    client.replies.findIndex((line) => line.watch === 2 && line.ok === true),
    client.replies.findIndex((line) => line.watch === 2 && "type" in line),
  );
  const refused = client.ask({ op: "unwatch", watch: 1 });
  assertEquals((refused.error as Json).code, "badRequest");
});

Deno.test("Watches.open() with an index that this node has not reached yet tells nothing that was told elsewhere", () => {
  const cluster = new SmallCluster("ahead");
  const heal = cluster.isolate(cluster.follower);
  const behind = cluster.nodes.find((node) => node === cluster.follower)!;
  const index = fill(cluster, 5);
  const client = cluster.client(behind);
  client.ask({ op: "watch", after: index - 2 });
  heal();
  cluster.until(() => behind.server!.appliedIndex >= index, "the node catches up");
  cluster.run(100);
  assertEquals(inWords(eventsOf(client)), [`put k3=v @${index - 1}`, `put k4=v @${index}`]);
});

Deno.test("Watches.flush() begins anew with the present state of one moment when nobody knows what changed", () => {
  const cluster = new SmallCluster("history gone", { size: 1, limits: { watchHistoryBytes: 1500 } });
  const writer = cluster.client(cluster.leader!);
  const last = fill(cluster, 100);
  const client = cluster.client(cluster.leader!);
  client.ask({ op: "watch", prefix: "k9", after: 3 });
  cluster.until(() => eventsOf(client).some(({ type }) => type === "progress"), "the state");
  const later = writer.ask(put("k9", "new")).index;
  cluster.until(() => eventsOf(client).at(-1)!.index === later, "the live tail");
  const keys = ["k9", ...Array.from({ length: 10 }, (_, i) => `k9${i}`)];
  assertEquals(inWords(eventsOf(client)), [
    `reset @${last}`,
    ...keys.map((key) => `put ${key}=v @${last}+`),
    `progress @${last}`,
    `put k9=new @${later}`,
  ]);
  assertEquals(eventsOf(client)[0]!.reason, "historyGone");
  assertEquals(eventsOf(client).at(1)!.version, 12, "a key's version is that of its write");
});

Deno.test("Watches.flush() holds no more than its bound for a client that does not read, then tells the newest values", () => {
  const limits = { watchHistoryBytes: 200_000, requestsInFlightMax: 10_000 };
  const cluster = new SmallCluster("slow", { size: 1, limits });
  const client = cluster.client(cluster.leader!);
  client.ask({ op: "watch" });
  client.pause();
  for (let round = 0; round < 12; round++) fill(cluster, 400, { value: `${round}`.repeat(1000) });
  const last = cluster.nodes[0]!.server!.appliedIndex;
  assertLess(cluster.bufferedBytes(cluster.nodes[0]!), 1 << 20);
  client.resume();
  cluster.until(() => eventsOf(client).at(-1)?.index === last, "it is told everything");
  cluster.run(500);
  const events = eventsOf(client);
  const firstReset = events.findIndex(({ type }) => type === "reset");
  const before = events.slice(0, firstReset);
  assertGreater(before.length, 10);
  before.forEach(({ index }, i) =>
    assertEquals(index, (before[0]!.index as number) + i, "nothing is left out before")
  );
  const lastReset = events.findLastIndex(({ type }) => type === "reset");
  assertEquals([events[lastReset]!.reason, events[lastReset]!.index, events.at(-1)!.type], [
    "slow",
    last,
    "progress",
  ]);
  const state = events.slice(lastReset + 1, -1);
  assertEquals(state.length, 400);
  assert(state.every(({ value }) => value === "11".repeat(1000)));
});

Deno.test("Watches.flush() tells many that come back at once a bounded part a round, and all of them alike", () => {
  const machine = new StateMachine(32 << 20);
  const watches = new Watches(machine, new FrozenStates(), 100);
  for (let index = 1; index <= 3000; index++) {
    apply(machine, index, put(`k${index}`, "v".repeat(1000)));
  }
  const callers = Array.from({ length: 20 }, () => openWatch(watches, { after: 0 }));
  const length = (): number => callers.reduce((sum, { pushed }) => sum + pushed.length, 0);
  let rounds = 0;
  for (let isMore = true; isMore; rounds++) {
    const before = length();
    isMore = watches.flush(0);
    assertLess(length() - before, 1.1 * (1 << 20));
  }
  assertGreater(rounds, 50);
  assertEquals(new Set(callers.map(({ pushed }) => pushed)).size, 1);
  assertEquals(callers[0]!.pushed.split("\n").length, 3001);
});

Deno.test("Watches.flush() tells small changes many at once, large ones in pieces, and never sends nothing", () => {
  const machine = new StateMachine(32 << 20);
  const watches = new Watches(machine, new FrozenStates(), 10);
  for (let index = 1; index <= 1000; index++) apply(machine, index, put("k", "v".repeat(100)));
  for (let index = 1001; index <= 1100; index++) apply(machine, index, put("k", "v".repeat(2000)));
  const caller = openWatch(watches, { after: 0 });
  const other = openWatch(watches, { prefix: "x", after: 0 });
  while (watches.flush(0));
  assertLess(Math.max(...caller.pieces), 128_000);
  assertGreater(Math.min(...caller.pieces.slice(0, -1)), 64_000);
  assertEquals(other.pieces, [], "nothing was for it");
});

Deno.test("Watches.flush() looks at an entry with many changes a part at a time, and tells its end from its middle", () => {
  const machine = new StateMachine(32 << 20);
  const watches = new Watches(machine, new FrozenStates(), 1000);
  for (let index = 1; index <= 9000; index++) apply(machine, index, put(`k${index}`, ""));
  const callers = Array.from(
    { length: 500 },
    (_, i) => openWatch(watches, { prefix: i === 0 ? "k89" : "x", after: 9000 }),
  );
  apply(machine, 9001, { op: "deleteRange", prefix: "k" });
  let rounds = 0;
  for (let isMore = true; isMore; rounds++) isMore = watches.flush(0);
  assertGreater(rounds, 300, "half a million looks and more are no single round");
  const events = callers[0]!.pushed.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(events.length, 111); // k89, k890 to k899, k8900 to k8999
  assertEquals(events.filter(({ more }) => !more).map(({ key }) => key), [events.at(-1).key]);
  assert(callers.slice(1).every(({ pushed }) => pushed === ""));
});

Deno.test("Watches.flush() begins anew when what it waited to tell of an entry is gone, though the rest of it is not", () => {
  const machine = new StateMachine(100_000);
  const watches = new Watches(machine, new FrozenStates(), 10);
  for (const key of ["a", ...Array.from({ length: 2000 }, (_, i) => `k${i}`)]) {
    apply(machine, machine.appliedIndex + 1, put(key, ""));
  }
  const last = machine.appliedIndex;
  const caller = openWatch(watches, { prefix: "a", after: last });
  apply(machine, last + 1, { op: "deleteRange", prefix: "" });
  let looks = 0;
  Object.defineProperty(caller, "hasRoom", { get: () => ++looks === 1, configurable: true });
  watches.flush(0); // the change of "a", which comes first, waits for whether another one follows
  assertEquals(caller.pushed, "");
  const held = machine.history.seek(last)!;
  for (let i = 2; machine.history.first <= held; i++) apply(machine, last + i, put("other", "v".repeat(100)));
  assertLess(machine.history.first, held + 200, "what comes next is there");
  Object.defineProperty(caller, "hasRoom", { get: () => true });
  for (let isMore = true; isMore;) isMore = watches.flush(0);
  const now = machine.appliedIndex;
  apply(machine, now + 1, put("a", "new"));
  watches.flush(0);
  const events = caller.pushed.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(inWords(events), [`reset @${now}`, `progress @${now}`, `put a=new @${now + 1}`]);
});

Deno.test("Watches.flush() calls the client slow that falls behind once it was told something, and no other", () => {
  const machine = new StateMachine(1000);
  const states = new FrozenStates();
  const watches = new Watches(machine, states, 10);
  const outrun = (): void => { // the history keeps a few of these, the state is three pages
    for (let i = 0; i < 600; i++) apply(machine, machine.appliedIndex + 1, put(`k${i}`, ""));
  };
  outrun();
  const early = openWatch(watches, { after: machine.appliedIndex });
  apply(machine, machine.appliedIndex + 1, put("k", ""));
  watches.flush(0); // tells it a change
  outrun();
  const [whole, half] = [openWatch(watches, { after: 1 }), openWatch(watches, { after: 1 })];
  let looks = 0;
  Object.defineProperty(half, "hasRoom", { get: () => ++looks <= 2, configurable: true });
  while (watches.flush(0)); // all of the state, but only the first page to `half`
  states.onTick(60_000, machine); // that state is taken away
  outrun();
  Object.defineProperty(half, "hasRoom", { get: () => true });
  while (watches.flush(0));
  const reasons = [early, whole, half].map(({ pushed }) =>
    pushed.trimEnd().split("\n").map((line) => JSON.parse(line).reason).filter((reason) =>
      reason !== undefined
    )
  );
  assertEquals(reasons, [["slow", "slow"], ["historyGone", "slow"], ["historyGone", "slow"]]);
});

Deno.test("Watches.onTick() tells a silent watch how far it is, so that it can go on from there", () => {
  const cluster = new SmallCluster("progress");
  const client = cluster.client(cluster.follower);
  client.ask({ op: "watch", prefix: "w/" });
  const index = fill(cluster, 3);
  cluster.run(6000);
  assertEquals(inWords(eventsOf(client)), [`progress @${index}`]);
  cluster.run(20_000);
  assertEquals(eventsOf(client).length, 1, "with nothing new it may stay silent for a while");
  cluster.run(12_000);
  assertEquals(inWords(eventsOf(client)), [`progress @${index}`, `progress @${index}`]);
});

Deno.test("Watches.onTick() stays silent for longer towards one that has just been told the newest change", () => {
  for (const historyBytes of [1000, 0]) { // the change itself, or the state that it made
    const machine = new StateMachine(historyBytes);
    const watches = new Watches(machine, new FrozenStates(), 10);
    const caller = openWatch(watches, { after: 0 });
    apply(machine, 1, put("a", "v"));
    watches.flush(0);
    const told = caller.pushed;
    assert(told.includes(`"index":1`));
    watches.onTick(29_999);
    assertEquals(caller.pushed, told);
    watches.onTick(30_000);
    assertEquals(caller.pushed, `${told}{"watch":1,"type":"progress","index":1}\n`);
  }
});

Deno.test("Watches.flush() goes on over an installed snapshot: what was skipped is told as the present state", () => {
  const cluster = new SmallCluster("installed", {
    limits: { snapshotEntries: 20, trailingBytes: 100, inflightBytesMax: 200 },
  });
  const node = cluster.follower;
  const client = cluster.client(node);
  const index = fill(cluster, 3);
  client.ask({ op: "watch", after: 0 });
  cluster.until(() => eventsOf(client).length === 3, "the first events");
  const heal = cluster.isolate(node);
  let last = 0;
  for (let round = 0; round < 6; round++) { // each longer than the log that is kept
    last = fill(cluster, 40, { keyOf: (i) => `k${i % 7}`, value: "new" });
    cluster.run(200);
  }
  heal();
  cluster.until(() => eventsOf(client).some(({ type }) => type === "progress"), "the state");
  cluster.run(200);
  const events = eventsOf(client);
  const at = events.findIndex(({ type }) => type === "reset");
  assertEquals(events[at]!.reason, "historyGone");
  events.slice(0, at).forEach((event, i) =>
    assertEquals(event.index, index - 2 + i, "nothing is left out before")
  );
  assertGreater(events[at]!.index as number, index + at);
  const told = new Map(events.slice(at).map(({ key, value }) => [key, value]));
  assertEquals([...told.values()].filter((value) => value !== undefined), Array(7).fill("new"));
  assert(node.server!.appliedIndex >= last);
});

Deno.test("Watches.open() answers busy when there are as many watches as a connection or the node may have", () => {
  const cluster = new SmallCluster("many watches", { size: 1, limits: { watchesMax: 130 } });
  const client = cluster.client(cluster.leader!);
  client.send(...Array.from({ length: 129 }, () => ({ op: "watch" })));
  cluster.until(() => client.replies.length === 129, "all answers");
  assertEquals((client.replies.at(-1)!.error as Json).code, "busy");
  const other = cluster.client(cluster.leader!);
  assertEquals([1, 2, 3].map(() => other.ask({ op: "watch" }).ok), [true, true, false]);
  client.close();
  cluster.run(15_000); // only sending something shows that nobody reads it
  assertEquals(other.ask({ op: "watch" }).ok, true, "those of a connection that is gone do not count");
  assertEquals(other.ask({ op: "status" }).watches, 3);
});
