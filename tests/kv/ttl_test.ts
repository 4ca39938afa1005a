import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Command } from "../../lib/kv/command.ts";
import { Store } from "../../lib/kv/store.ts";
import { expiredKeysMax } from "../../lib/kv/writes.ts";
import { command, linesOf, put, remove } from "./commands.ts";

/** A store after some commands, with indexes from 1. */
function applied(...commands: Command[]): Store {
  const store = new Store();
  for (const [i, command] of commands.entries()) store.apply(command, i + 1);
  return store;
}

function lasting(key: string, ttlMs: number, logTime: number): Command {
  return put(key, "v", { ttlMs, logTime });
}

function expire(logTime: number): Command {
  return { op: "expire", logTime };
}

function keysOf(store: Store): string[] {
  return store.list({ limit: 10_000 }).entries.map(({ key }) => key);
}

Deno.test("Store.apply() takes a key away when log time has reached its end, and not a millisecond before", () => {
  const store = applied(lasting("a", 100, 1000), lasting("b", 101, 1000), put("c", "v"));
  assertEquals([store.expiring, store.nextExpiry], [2, 1100]);
  assertEquals(store.apply(expire(1099), 4), { ok: true, expired: 0, index: 4 });
  assertEquals(store.apply(expire(1100), 5), { ok: true, expired: 1, index: 5 });
  assertEquals(keysOf(store), ["b", "c"]);
  assertEquals(store.nextExpiry, 1101);
});

Deno.test("Store.apply() never lets log time go back, whatever a leader with an older clock says", () => {
  const store = applied(lasting("a", 100, 5000), lasting("b", 100, 10), expire(20));
  assertEquals(store.logTime, 5000);
  assertEquals(store.nextExpiry, 5100);
  store.apply(expire(5099), 4);
  assertEquals(keysOf(store), ["a", "b"]);
});

Deno.test("Store.apply() forgets when a key goes with the put, the delete or the transaction that replaces it", () => {
  const endings: Command[] = [
    put("a", "stays"),
    remove("a"),
    { op: "deleteRange", prefix: "" },
    { op: "txn", if: [], then: [{ op: "put", key: "a", value: "stays" }], else: [] },
  ];
  for (const ending of endings) {
    const store = applied(lasting("a", 100, 1000), ending);
    assertEquals([store.expiring, store.nextExpiry], [0, Infinity], ending.op);
    const before = keysOf(store);
    store.apply(expire(9999), 3);
    assertEquals(keysOf(store), before);
  }
  const longer = applied(lasting("a", 100, 1000), lasting("a", 500, 1050), expire(1400));
  assertEquals([keysOf(longer), longer.nextExpiry], [["a"], 1550]);
});

Deno.test("Store.apply() keeps the end of a counter that is added to, and all ends when a transaction fails", () => {
  const counter = applied(put("n", "1", { ttlMs: 100, logTime: 1000 }), {
    op: "increment",
    key: "n",
    by: "1",
  });
  assertEquals(counter.get("n"), { value: "2", version: 2, expiresAt: 1100 });
  const then = [
    { op: "put", key: "a", value: "x", ttlMs: 5 },
    { op: "delete", key: "b" },
    { op: "increment", key: "a", by: "1" }, // not an integer
  ] as const;
  const store = applied(lasting("a", 100, 1000), lasting("b", 200, 1000));
  assert(!store.apply({ op: "txn", if: [], then: [...then], else: [], logTime: 1001 }, 3).ok);
  store.takeChanges();
  store.apply(expire(1150), 4);
  assertEquals([keysOf(store), store.nextExpiry], [["b"], 1200]);
  assertEquals(store.takeChanges(), [{ type: "expire", key: "a" }]);
});

Deno.test("Store.apply() takes keys away in the order of their ends, a bounded number in one entry", () => {
  const many = Array.from({ length: expiredKeysMax + 5 }, (_, i) => lasting(`k${i}`, 10, 1000 - i % 3));
  const store = applied(...many);
  const index = many.length + 1;
  assertEquals(store.apply(expire(1010), index), { ok: true, expired: expiredKeysMax, index });
  assertEquals(store.size, 5);
  assertEquals(store.apply(expire(1010), index + 1), { ok: true, expired: 5, index: index + 1 });
});

Deno.test("Store.apply() answers what was there before without the time at which it would have gone", () => {
  const store = applied(lasting("a", 100, 1000));
  assertEquals(store.apply(put("a", "w", { previous: true }), 2), {
    ok: true,
    index: 2,
    version: 2,
    previous: { value: "v", version: 1 },
  });
});

/** Any command, some of them with time in it. */
const timed: fc.Arbitrary<Command> = fc.oneof(
  { weight: 6, arbitrary: command },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant("put" as const),
      key: fc.constantFrom("a", "b", "c", "\u{1f600}", "\ue000"),
      value: fc.constantFrom("1", "x"),
      ttlMs: fc.integer({ min: 1, max: 50 }),
      logTime: fc.nat(200),
    }),
  },
  { weight: 2, arbitrary: fc.nat(250).map((logTime) => expire(logTime)) },
);

Deno.test("Store.takeChanges() tells all that becomes of the keys: told to somebody else, they make the same keys", () => {
  fc.assert(
    fc.property(fc.array(timed, { maxLength: 60, size: "max" }), (commands) => {
      const store = new Store();
      const told = new Map<string, string>();
      for (const [i, command] of commands.entries()) {
        const before = new Map(told);
        const result = store.apply(command, i + 1);
        const changes = store.takeChanges();
        for (const change of changes) {
          if (change.type === "put") told.set(change.key, change.value);
          else assert(told.delete(change.key), `${change.key} was there`);
        }
        if (!result.ok) assertEquals(changes, []);
        if (command.op === "expire") assert(changes.every(({ type }) => type === "expire"));
        else assert(changes.every(({ type }) => type !== "expire"));
        if (changes.length === 0) assertEquals(told, before);
        const held = store.list({ limit: 1000 }).entries.map((
          { key, value },
        ): [string, string] => [key, value!]);
        assertEquals(new Map(held), told);
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("Store.snapshot() brings ends of keys and log time back, so that all goes on as it would have", () => {
  const both = fc.tuple(fc.array(timed, { maxLength: 40 }), fc.array(timed, { maxLength: 40 }));
  fc.assert(
    fc.property(both, ([before, after]) => {
      const store = applied(...before);
      store.takeChanges();
      const copy = new Store();
      const snapshot = store.snapshot();
      const { index } = snapshot;
      for (const line of linesOf(snapshot)) assertEquals(copy.restoreLine(JSON.parse(line)), null);
      if (index > 0) assertEquals(copy.finishRestore(index), null);
      for (const [i, command] of after.entries()) {
        const at = before.length + i + 1;
        assertEquals(copy.apply(command, at), store.apply(command, at));
        assertEquals(copy.takeChanges(), store.takeChanges());
      }
      assertEquals([copy.digest(), copy.logTime, copy.nextExpiry], [
        store.digest(),
        store.logTime,
        store.nextExpiry,
      ]);
    }),
    { numRuns: 300 },
  );
});

Deno.test("Store.restoreLine() takes the log time first and once", () => {
  const key = { key: "a", value: "1", version: 1, expiresAt: 5 };
  const late = new Store();
  assertEquals(late.restoreLine(key), null);
  assertEquals(late.restoreLine({ logTime: 4 }), "logTime must come first");
  const twice = new Store();
  assertEquals(twice.restoreLine({ logTime: 4 }), null);
  assertEquals(twice.restoreLine({ logTime: 5 }), "logTime must come first");
  assertEquals(new Store().restoreLine({ logTime: 0 }), "logTime must be an integer from 1");
  assertEquals(new Store().restoreLine({ ...key, expiresAt: "5" }), "expiresAt must be an integer from 0");
});
