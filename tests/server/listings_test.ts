import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Command } from "../../lib/kv/command.ts";
import { FrozenStates, frozenStatesMax, replacedBytesMax } from "../../lib/server/frozen_states.ts";
import { Listings } from "../../lib/server/listings.ts";
import { StateMachine } from "../../lib/server/state_machine.ts";
import { type Client, SmallCluster } from "./cluster.ts";

type Json = Record<string, unknown>;

function filled(name: string, count: number): { cluster: SmallCluster; client: Client } {
  const cluster = new SmallCluster(name);
  const client = cluster.client(cluster.leader!);
  client.send(...Array.from({ length: count }, (_, i) => ({
    op: "put",
    key: `k${String(i).padStart(3, "0")}`,
    value: "old",
  })));
  cluster.until(() => client.replies.length === count, "all writes");
  return { cluster, client };
}

function keysOf(page: Json): string[] {
  return (page.entries as { key: string }[]).map(({ key }) => key);
}

function codeOf(reply: Json): unknown {
  return (reply.error as Json | undefined)?.code;
}

Deno.test("Listings.next() shows all pages as of one moment, whatever is written meanwhile, in both directions", () => {
  for (const reverse of [false, true]) {
    const { cluster, client } = filled(`pages ${reverse}`, 25);
    const writer = cluster.client(cluster.leader!);
    const first = client.ask({ op: "list", prefix: "k", limit: 10, reverse });
    writer.ask({ op: "deleteRange", prefix: "k01" });
    writer.ask({ op: "put", key: "k0055", value: "new" });
    const second = client.ask({ op: "list", cursor: first.next });
    writer.ask({ op: "put", key: "k024", value: "new" });
    const third = client.ask({ op: "list", prefix: "k", reverse, limit: 3, cursor: second.next });
    const fourth = client.ask({ op: "list", cursor: third.next });
    const pages = [first, second, third, fourth];
    assertEquals(pages.map((page) => keysOf(page).length), [10, 10, 3, 2]);
    const keys = Array.from({ length: 25 }, (_, i) => `k${String(i).padStart(3, "0")}`);
    assertEquals(pages.flatMap(keysOf), reverse ? keys.reverse() : keys);
    assertEquals(new Set(pages.map(({ index }) => index)).size, 1);
    assert(
      pages.flatMap((page) => page.entries as { value: string }[]).every(({ value }) => value === "old"),
    );
    assertEquals(fourth.next, null);
  }
});

Deno.test("Listings.next() answers the same cursor with the same page again: the answer may have been lost", () => {
  const { client } = filled("again", 9);
  const { next } = client.ask({ op: "list", limit: 3 });
  const pages = [1, 2].map(() => client.ask({ op: "list", cursor: next }));
  assertEquals(pages[0], pages[1]);
  assertEquals(keysOf(pages[0]!), ["k003", "k004", "k005"]);
});

Deno.test("Listings.next() says cursorExpired on another node, after a restart, and after a while", () => {
  const { cluster, client } = filled("expired", 9);
  const node = cluster.leader!;
  const { next } = client.ask({ op: "list", limit: 3 });
  const elsewhere = cluster.client(cluster.follower).ask({ op: "list", cursor: next });
  assertEquals(codeOf(elsewhere), "cursorExpired");
  assertMatch(String((elsewhere.error as Json).message), /another node/);
  cluster.run(50_000);
  assertEquals(client.ask({ op: "list", cursor: next }).ok, true, "it was used within a minute");
  cluster.run(50_000);
  assertEquals(client.ask({ op: "list", cursor: next }).ok, true);
  for (let i = 0; i < 5; i++) {
    cluster.run(50_000);
    assertEquals(client.ask({ op: "list", cursor: next }).ok, true, "for as long as it is used");
  }
  cluster.run(61_000);
  assertEquals(codeOf(client.ask({ op: "list", cursor: next })), "cursorExpired");
  const again = client.ask({ op: "list", limit: 3 });
  cluster.kill(node);
  node.machine.restart();
  cluster.until(() => cluster.leader !== null, "a leader");
  const answer = cluster.client(node).ask({ op: "list", cursor: again.next });
  assertEquals(codeOf(answer), "cursorExpired");
});

Deno.test("FrozenStates.take() keeps a bounded number of moments, the oldest goes first", () => {
  const { cluster, client } = filled("many moments", 9);
  const writer = cluster.client(cluster.leader!);
  const cursors: unknown[] = [];
  for (let i = 0; i <= frozenStatesMax; i++) {
    cursors.push(client.ask({ op: "list", limit: 2 }).next);
    writer.ask({ op: "put", key: "other", value: `${i}` });
  }
  assertEquals(codeOf(client.ask({ op: "list", cursor: cursors[0] })), "cursorExpired");
  assertEquals(client.ask({ op: "list", cursor: cursors[1] }).ok, true);
  const shared = Array.from({ length: 200 }, () => client.ask({ op: "list", limit: 2 }).next);
  assert(shared.every((cursor) => client.ask({ op: "list", cursor }).ok), "lists of one moment share it");
});

Deno.test("Listings.begin() forgets lists that cannot go on, because their moment is not kept any more", () => {
  const machine = new StateMachine(0);
  const line = new Uint8Array();
  const apply = (command: Command): void => {
    const index = machine.appliedIndex + 1;
    machine.apply({ index, term: 1, kind: "command", command, prevCrc: 0, crc: 0, line });
  };
  for (const key of ["a", "b"]) apply({ op: "put", key, value: "" });
  const listings = new Listings(new FrozenStates(), () => 0);
  for (let i = 0; i < 10 * frozenStatesMax; i++) {
    const { next } = listings.begin(machine, { limit: 1 }, i);
    assert(next !== null);
    apply({ op: "put", key: "a", value: `${i}` });
  }
  assertEquals(listings.size, frozenStatesMax);
});

Deno.test("FrozenStates.onTick() lets go of moments since which much was replaced: that much is held for them", () => {
  const machine = new StateMachine(0);
  const states = new FrozenStates();
  const line = new Uint8Array(replacedBytesMax / 4);
  const apply = (): void => {
    const index = machine.appliedIndex + 1;
    machine.apply({ index, term: 1, kind: "noop", command: null, prevCrc: 0, crc: 0, line });
  };
  const first = states.take(machine, 0);
  for (let i = 0; i < 3; i++) apply();
  const second = states.take(machine, 0);
  states.onTick(1, machine);
  assert(first.keys !== null && second.keys !== null);
  apply();
  states.onTick(2, machine);
  assertEquals([first.keys === null, second.keys === null], [true, false]);
  assertEquals([states.size, machine.store.frozen], [1, 1]);
});

Deno.test("Listings.next() refuses what is no cursor, and another list beside a cursor", () => {
  const { client } = filled("no cursor", 9);
  const { next } = client.ask({ op: "list", prefix: "k", limit: 3 });
  for (const cursor of ["", "x", "k003", `${next}`.slice(1), "00000000:1:", "0:0:0", 5, null]) {
    assertEquals(codeOf(client.ask({ op: "list", cursor })), "badRequest", JSON.stringify(cursor));
  }
  const [process] = String(next).split(":");
  assertEquals(codeOf(client.ask({ op: "list", cursor: `${process}:999:a` })), "cursorExpired");
  for (
    const other of [{ prefix: "l" }, { start: "k" }, { reverse: true }, { keysOnly: true }, { count: true }]
  ) {
    assertEquals(
      codeOf(client.ask({ op: "list", cursor: next, ...other })),
      "badRequest",
      JSON.stringify(other),
    );
  }
  assertEquals(client.ask({ op: "list", cursor: next, prefix: "k", reverse: false }).ok, true);
  // A cursor that somebody made up shows nothing beyond the list that it names.
  const made = client.ask({ op: "list", cursor: `${process}:1:a` });
  assertEquals(keysOf(made), ["k000", "k001", "k002"]);
});
