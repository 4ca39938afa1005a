import { assert, assertEquals } from "@std/assert";
import type { Command, Result, TxnOperation } from "../../lib/kv/command.ts";
import { Store } from "../../lib/kv/store.ts";
import { answeredUnitsMax, deletedKeysMax, integerDigitsMax, isInteger } from "../../lib/kv/writes.ts";

/** A store after some commands, and what they answered. Indexes count from 1. */
function applied(...commands: Command[]): { store: Store; results: Result[] } {
  const store = new Store();
  return { store, results: commands.map((command, i) => store.apply(command, i + 1)) };
}

function put(key: string, value: string): Command {
  return { op: "put", key, value };
}

function increment(key: string, by: string): Command {
  return { op: "increment", key, by };
}

function txn(then: TxnOperation[], otherwise: TxnOperation[] = []): Command {
  return { op: "txn", if: [], then, else: otherwise };
}

/** A store with that many keys, and its last index. */
function filled(count: number, keyOf = (i: number): string => `k${i}`): { store: Store; index: number } {
  const store = new Store();
  for (let i = 0; i < count; i++) store.apply(put(keyOf(i), "v"), i + 1);
  return { store, index: count };
}

Deno.test("Store.apply() increments without losing a digit, and counts no key as 0", () => {
  const { store, results } = applied(
    increment("n", "5"),
    increment("n", "-7"),
    increment("n", "9007199254740993"),
    increment("n", "123456789012345678901234567890"),
  );
  assertEquals(results.map((result) => "value" in result ? result.value : result), [
    "5",
    "-2",
    "9007199254740991",
    "123456789012354686100489308881",
  ]);
  assertEquals(results[0], { ok: true, value: "5", version: 1, index: 1 });
  assertEquals(store.get("n"), { value: "123456789012354686100489308881", version: 4 });
});

Deno.test("Store.apply() increments what put has written, leading zeros and all, but nothing else than integers", () => {
  const sums = { "7": "8", "-0": "1", "007": "8", "-08": "-7" };
  for (const [value, sum] of Object.entries(sums)) {
    assertEquals(applied(put("n", value), increment("n", "1")).store.get("n")?.value, sum);
  }
  for (const value of ["", " 7", "7 ", "+7", "1.0", "1e3", "0x10", "-", "--1", "seven", "٧", "1\n"]) {
    const { store, results } = applied(put("n", value), increment("n", "1"));
    assertEquals(results[1], { ok: false, code: "notInteger" }, JSON.stringify(value));
    assertEquals(store.get("n"), { value, version: 1 });
  }
});

Deno.test("Store.apply() keeps integers within their digits", () => {
  const most = "9".repeat(integerDigitsMax);
  assert(isInteger(most) && isInteger(`-${most}`) && !isInteger(`1${most}`));
  for (const [value, by] of [[most, "1"], [`-${most}`, "-1"]] as const) {
    const { store, results } = applied(put("n", value), increment("n", by), increment("n", "0"));
    assertEquals(results[1], { ok: false, code: "tooLarge", what: "digits", limit: integerDigitsMax });
    assertEquals(store.get("n"), { value, version: 3 });
  }
});

Deno.test("Store.apply() increments once however often an increment of a session is sent (thesis 6.3)", () => {
  const once: Command = { op: "increment", key: "n", by: "1", session: "1", seq: 1 };
  const { store, results } = applied({ op: "session" }, once, once, once);
  assertEquals(store.get("n"), { value: "1", version: 2 });
  assertEquals(results[3], { ok: true, value: "1", version: 2, index: 2 });
});

Deno.test("Store.apply() deletes a range by prefix, by start and end, and by all of them", () => {
  const keys = ["a", "user/1", "user/2", "user/3", "z"];
  const cases: [object, string[]][] = [
    [{ prefix: "user/" }, ["a", "z"]],
    [{ prefix: "" }, []],
    [{ start: "user/2" }, ["a", "user/1"]],
    [{ end: "user/2" }, ["user/2", "user/3", "z"]],
    [{ start: "user/2", end: "user/3" }, ["a", "user/1", "user/3", "z"]],
    [{ prefix: "user/", start: "user/2", end: "zzz" }, ["a", "user/1", "z"]],
    [{ start: "z", end: "a" }, keys],
    [{ prefix: "nothing" }, keys],
  ];
  for (const [range, left] of cases) {
    const { store, results } = applied(
      ...keys.map((key) => put(key, "v")),
      { op: "deleteRange", ...range },
    );
    assertEquals(results.at(-1), { ok: true, deleted: keys.length - left.length, index: 6 });
    assertEquals(store.list({ limit: 10 }).entries.map(({ key }) => key), left);
    assertEquals(store.size, left.length);
  }
});

Deno.test("Store.apply() deletes a long range in parts: an entry takes a bounded number of keys away", () => {
  const { store, index } = filled(deletedKeysMax + 5);
  const range: Command = { op: "deleteRange", prefix: "k" };
  assertEquals(store.apply(range, index + 1), {
    ok: true,
    deleted: deletedKeysMax,
    more: true,
    index: index + 1,
  });
  assertEquals(store.size, 5);
  assertEquals(store.apply(range, index + 2), { ok: true, deleted: 5, index: index + 2 });
  const exact = filled(deletedKeysMax);
  assertEquals("more" in exact.store.apply(range, exact.index + 1), false);
});

Deno.test("Store.apply() carries out then or else of a transaction, by what all its conditions say", () => {
  const then: TxnOperation[] = [{ op: "put", key: "b", value: "then" }];
  const otherwise: TxnOperation[] = [{ op: "put", key: "b", value: "else" }];
  const there = { key: "a", version: 1, value: "1", exists: true };
  const cases: [object[], string][] = [
    [[], "then"],
    [[there], "then"],
    [[{ key: "a", version: 2 }], "else"],
    [[{ key: "a", value: "2" }], "else"],
    [[{ key: "a", exists: false }], "else"],
    [[there, { key: "b", version: 0 }, { key: "b", exists: false }], "then"],
    [[there, { key: "b", exists: true }], "else"],
    [[{ key: "b", value: "" }], "else"],
  ];
  for (const [conditions, expected] of cases) {
    const command = { op: "txn", if: conditions, then, else: otherwise } as Command;
    const { store, results } = applied(put("a", "1"), command);
    assertEquals(store.get("b"), { value: expected, version: 2 }, JSON.stringify(conditions));
    const succeeded = expected === "then";
    assertEquals(results[1], { ok: true, succeeded, results: [{ ok: true, version: 2 }], index: 2 });
  }
});

Deno.test("Store.apply() lets each operation of a transaction see those before it, all at one index", () => {
  const { store, results } = applied(
    put("n", "1"),
    txn([
      { op: "increment", key: "n", by: "1" },
      { op: "increment", key: "n", by: "1" },
      { op: "get", key: "n" },
      { op: "put", key: "x", value: "y" },
      { op: "delete", key: "x" },
      { op: "get", key: "x" },
      { op: "delete", key: "x" },
      { op: "deleteRange", prefix: "" },
    ]),
  );
  assertEquals(results[1], {
    ok: true,
    succeeded: true,
    results: [
      { ok: true, value: "2", version: 2 },
      { ok: true, value: "3", version: 2 },
      { ok: true, found: true, value: "3", version: 2 },
      { ok: true, version: 2 },
      { ok: true, deleted: true },
      { ok: true, found: false },
      { ok: true, deleted: false },
      { ok: true, deleted: 1 },
    ],
    index: 2,
  });
  assertEquals(store.size, 0);
});

Deno.test("Store.apply() undoes all of a transaction when one of its operations cannot be carried out", () => {
  const before = [put("a", "1"), put("b", "text"), put("c", "2")];
  const { store, results } = applied(
    ...before,
    txn([
      { op: "put", key: "a", value: "new" },
      { op: "put", key: "d", value: "new" },
      { op: "deleteRange", prefix: "c" },
      { op: "increment", key: "b", by: "1" },
    ]),
  );
  assertEquals(results[3], { ok: false, code: "notInteger", operation: 3 });
  assertEquals(store.digest(), applied(...before).store.digest());
  store.apply(put("a", "later"), 5);
  assertEquals(store.get("a"), { value: "later", version: 5 });
  assertEquals(store.get("c"), { value: "2", version: 3 });
});

Deno.test("Store.apply() bounds the keys that a transaction deletes and the values that it answers", () => {
  const many = filled(deletedKeysMax + 1);
  const ranges = (...prefixes: string[]): Command =>
    txn(prefixes.map((prefix) => ({ op: "deleteRange", prefix })));
  assertEquals(many.store.apply(ranges("k1", "k"), many.index + 1), {
    ok: false,
    code: "tooLarge",
    what: "deletedKeys",
    limit: deletedKeysMax,
    operation: 1,
  });
  assertEquals(many.store.size, deletedKeysMax + 1);

  const half = "v".repeat(answeredUnitsMax / 2);
  const get = (count: number): Command => txn(Array(count).fill({ op: "get", key: "a" }));
  const fits = applied(put("a", half), get(2)).results[1]!;
  assert("results" in fits && fits.results.length === 2);
  assertEquals(applied(put("a", half), get(3)).results[1], {
    ok: false,
    code: "tooLarge",
    what: "answeredValues",
    limit: answeredUnitsMax,
    operation: 2,
  });
  assert(applied(put("a", half + half + "v"), get(1)).results[1]!.ok, "one value is always answered");
});

Deno.test("Sessions.once() forgets early what long transactions and integers answered", () => {
  const store = new Store();
  store.apply({ op: "session" }, 1);
  store.apply(put("a", "v".repeat(answeredUnitsMax / 2)), 2);
  const get = (seq: number): Command => ({
    ...txn([{ op: "get", key: "a" }]) as Command & { op: "txn" },
    session: "1",
    seq,
  });
  const answers = [1, 2, 3].map((seq) => store.apply(get(seq), 2 + seq));
  assert(answers.every(({ ok }) => ok));
  assertEquals(store.apply(get(1), 6), { ok: false, code: "seqTooOld", session: "1", seq: 1, oldest: 3 });
  assertEquals(store.apply(get(3), 7), answers[2]);
});
