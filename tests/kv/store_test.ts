import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { AssertionFailed } from "../../lib/assert.ts";
import type {
  ClientCommand,
  Command,
  Result,
  TxnCommand,
  TxnOperation,
  WriteCommand,
} from "../../lib/kv/command.ts";
import type { Range } from "../../lib/kv/key_order.ts";
import { Store } from "../../lib/kv/store.ts";
import { command, put, remove } from "./commands.ts";

/** A store after some commands, and what they answered. Indexes count from 1. */
function applied(...commands: Command[]): { store: Store; results: Result[] } {
  const store = new Store();
  return { store, results: commands.map((command, i) => store.apply(command, i + 1)) };
}

function lastResult(...commands: Command[]): Result {
  return applied(...commands).results.at(-1)!;
}

Deno.test("Store.apply() puts a key: its version is the index of the write", () => {
  const { store, results } = applied(put("a", "1"), put("b", "2"), put("a", "3"));
  assertEquals(results[2], { ok: true, index: 3, version: 3 });
  assertEquals(store.get("a"), { value: "3", version: 3 });
  assertEquals(store.get("b"), { value: "2", version: 2 });
  assertEquals(store.get("c"), undefined);
  assertEquals(store.size, 2);
});

Deno.test("Store.apply() deletes a key and says whether there was one", () => {
  assertEquals(lastResult(put("a", "1"), remove("a")), { ok: true, deleted: true, index: 2 });
  assertEquals(lastResult(put("a", "1"), remove("b")), { ok: true, deleted: false, index: 2 });
  assertEquals(applied(put("a", "1"), remove("a")).store.get("a"), undefined);
});

Deno.test("Store.apply() keeps the empty value apart from no value", () => {
  const { store } = applied(put("a", ""));
  assertEquals(store.get("a"), { value: "", version: 1 });
  assertEquals(lastResult(put("a", ""), put("a", "x", { ifValue: "" })), { ok: true, index: 2, version: 2 });
  assertEquals(lastResult(put("a", "x", { ifValue: "" })), {
    ok: false,
    code: "conditionFailed",
    version: 0,
  });
});

Deno.test("Store.apply() answers what was there before when asked", () => {
  const previous = true;
  assertEquals(lastResult(put("a", "1", { previous })), { ok: true, index: 1, version: 1, previous: null });
  assertEquals(lastResult(put("a", "1"), put("a", "2", { previous })), {
    ok: true,
    index: 2,
    version: 2,
    previous: { value: "1", version: 1 },
  });
  assertEquals(lastResult(put("a", "1"), remove("a", { previous })), {
    ok: true,
    deleted: true,
    index: 2,
    previous: { value: "1", version: 1 },
  });
  assertEquals(lastResult(remove("a", { previous })), { ok: true, deleted: false, index: 1, previous: null });
});

for (
  const write of [(options: object) => put("a", "new", options), (options: object) => remove("a", options)]
) {
  const { op } = write({});
  Deno.test(`Store.apply() ${op}s only when ifVersion and ifValue hold, else changes nothing`, () => {
    const cases: { options: object; whenThere: boolean; whenNot: boolean }[] = [
      { options: {}, whenThere: true, whenNot: true },
      { options: { ifVersion: 0 }, whenThere: false, whenNot: true },
      { options: { ifVersion: 1 }, whenThere: true, whenNot: false },
      { options: { ifVersion: 2 }, whenThere: false, whenNot: false },
      { options: { ifValue: "old" }, whenThere: true, whenNot: false },
      { options: { ifValue: "other" }, whenThere: false, whenNot: false },
      { options: { ifVersion: 1, ifValue: "old" }, whenThere: true, whenNot: false },
      { options: { ifVersion: 1, ifValue: "other" }, whenThere: false, whenNot: false },
      { options: { ifVersion: 2, ifValue: "old" }, whenThere: false, whenNot: false },
    ];
    for (const { options, whenThere, whenNot } of cases) {
      const there = applied(put("a", "old"), write(options));
      assertEquals(there.results[1]!.ok, whenThere, JSON.stringify(options));
      if (!whenThere) {
        assertEquals(there.results[1], { ok: false, code: "conditionFailed", version: 1 });
        assertEquals(there.store.get("a"), { value: "old", version: 1 });
      }
      const not = applied(write(options));
      assertEquals(not.results[0]!.ok, whenNot, JSON.stringify(options));
      if (!whenNot) assertEquals(not.results[0], { ok: false, code: "conditionFailed", version: 0 });
      if (!whenNot) assertEquals(not.store.size, 0);
    }
  });
}

Deno.test("Store.apply() writes once however often a write of a session is sent (thesis 6.3)", () => {
  const first = put("a", "1", { session: "1", seq: 1 });
  const { store, results } = applied({ op: "session" }, first, put("a", "2"), first);
  assertEquals(results[0], { ok: true, session: "1" });
  assertEquals(results[3], results[1]);
  assertEquals(store.get("a"), { value: "2", version: 3 });
});

Deno.test("Store.apply() gives the first answer of a number even when another write comes under it", () => {
  const numbered = { session: "1", seq: 1 };
  const { store, results } = applied({ op: "session" }, put("a", "1", numbered), remove("a", numbered));
  assertEquals(results[2], { ok: true, index: 2, version: 2 });
  assertEquals(store.get("a"), { value: "1", version: 2 });
});

Deno.test("Store.apply() remembers a failed condition too: a resend does not succeed later", () => {
  const write = put("a", "1", { session: "1", seq: 1, ifVersion: 2 });
  const { store, results } = applied({ op: "session" }, write, put("a", "0"), write);
  assertEquals(results[3], { ok: false, code: "conditionFailed", version: 0 });
  assertEquals(store.get("a"), { value: "0", version: 3 });
});

Deno.test("Store.apply() changes nothing for a session that is not there", () => {
  const { store, results } = applied(put("a", "1", { session: "9", seq: 1 }));
  assertEquals(results[0], { ok: false, code: "sessionExpired", session: "9" });
  assertEquals(store.size, 0);
});

Deno.test("Store.apply() takes gaps between indexes, where entries have no command, but no way back", () => {
  const store = new Store();
  store.apply(put("a", "1"), 2);
  store.apply(put("a", "2"), 7);
  assertThrows(() => store.apply(put("a", "3"), 7), AssertionFailed, "each once");
  assertEquals(store.get("a"), { value: "2", version: 7 });
});

Deno.test("Store.apply() stops at a command of a newer version and says what to do", () => {
  for (const command of [{ op: "frobnicate" }, { op: "constructor" }, {}]) {
    const apply = () => new Store().apply(command as unknown as Command, 12);
    assertThrows(apply, AssertionFailed, "index 12; a newer version wrote it");
  }
});

Deno.test("Store.digest() differs when a key, value, version, session or answer does", () => {
  const open: Command = { op: "session" };
  const states = [
    [],
    [put("a", "1")],
    [put("b", "1")],
    [put("a", "2")],
    [put("a", "1"), put("a", "1")],
    [put("a", "1"), put("b", "1")],
    [put("b", "1"), put("a", "1")],
    [open],
    [open, open],
    [open, open, put("a", "1", { session: "1", seq: 1 })],
    [open, open, put("a", "1", { session: "2", seq: 1 })],
    [open, open, put("a", "1", { session: "1", seq: 2 })],
    [open, open, put("a", "1")],
    [put("a", "1"), open, remove("b", { session: "2", seq: 1 })],
    [put("a", "1"), open, remove("b", { session: "2", seq: 1, previous: true })],
  ];
  const digests = states.map((commands) => applied(...commands).store.digest());
  for (const digest of digests) assert(/^[0-9a-f]{8}$/.test(digest));
  assertEquals(new Set(digests).size, states.length);
});

/** The store in a few lines, without order, bounds or speed. */
class Model {
  values = new Map<string, { value: string; version: number }>();
  readonly answers = new Map<string, Map<number, unknown>>();

  apply(command: ClientCommand, index: number): unknown {
    if (command.op === "session") {
      this.answers.set(String(index), new Map());
      return { ok: true, session: String(index) };
    }
    const { session, seq } = command;
    if (session === undefined || seq === undefined) return this.#write(command, index);
    const answers = this.answers.get(session);
    if (answers === undefined) return { ok: false, code: "sessionExpired", session };
    if (!answers.has(seq)) answers.set(seq, this.#write(command, index));
    return answers.get(seq);
  }

  #write(command: WriteCommand, index: number): unknown {
    switch (command.op) {
      case "txn":
        return this.#transact(command, index);
      case "increment": {
        const result = this.#increment(command, index);
        return result.ok ? { ...result, index } : result;
      }
      case "deleteRange":
        return { ok: true, deleted: this.#deleteRange(command), index };
    }
    const old = this.values.get(command.key);
    const { ifVersion = old?.version ?? 0, ifValue = old?.value } = command;
    const version = old?.version ?? 0;
    if (ifVersion !== version || ifValue !== old?.value) {
      return { ok: false, code: "conditionFailed", version };
    }
    const previous = command.previous ? { previous: old ?? null } : {};
    if (command.op === "put") {
      this.values.set(command.key, { value: command.value, version: index });
      return { ok: true, index, version: index, ...previous };
    }
    return { ok: true, deleted: this.values.delete(command.key), index, ...previous };
  }

  #increment({ key, by }: { key: string; by: string }, index: number): { ok: boolean } {
    const old = this.values.get(key);
    if (old !== undefined && Number.isNaN(parseInt(old.value))) {
      return { ok: false, code: "notInteger" } as { ok: boolean };
    }
    const value = (BigInt(old?.value ?? 0) + BigInt(by)).toString();
    this.values.set(key, { value, version: index });
    return { ok: true, value, version: index } as { ok: boolean };
  }

  #deleteRange({ prefix = "", start = "", end = "\u{10ffff}".repeat(9) }: Range): number {
    const keys = [...this.values.keys()].filter((key) => {
      return key.startsWith(prefix) && !isBefore(key, start) && isBefore(key, end);
    });
    for (const key of keys) this.values.delete(key);
    return keys.length;
  }

  #transact(command: TxnCommand, index: number): unknown {
    const succeeded = command.if.every(({ key, ...wanted }) => {
      const { value, version } = this.values.get(key) ?? { value: undefined, version: 0 };
      const present = { value, version, exists: version > 0 };
      return Object.entries(wanted).every(([name, it]) => present[name as "value"] === it);
    });
    const before = new Map(this.values);
    const results: unknown[] = [];
    for (const operation of succeeded ? command.then : command.else) {
      const result = this.#part(operation, index);
      if (!result.ok) {
        this.values = before;
        return { ...result, operation: results.length };
      }
      results.push(result);
    }
    return { ok: true, succeeded, results, index };
  }

  #part(operation: TxnOperation, index: number): { ok: boolean } {
    const ok = (rest: object): { ok: boolean } => ({ ok: true, ...rest });
    switch (operation.op) {
      case "put":
        this.values.set(operation.key, { value: operation.value, version: index });
        return ok({ version: index });
      case "get":
        return ok({ found: this.values.has(operation.key), ...this.values.get(operation.key) });
      case "delete":
        return ok({ deleted: this.values.delete(operation.key) });
      case "increment":
        return this.#increment(operation, index);
      case "deleteRange":
        return ok({ deleted: this.#deleteRange(operation) });
    }
  }
}

/** In the order of UTF-8 bytes. */
function isBefore(a: string, b: string): boolean {
  const left = new TextEncoder().encode(a), right = new TextEncoder().encode(b);
  const at = left.findIndex((byte, i) => byte !== right[i]);
  return at === -1 ? left.length < right.length : at >= right.length ? false : left[at]! < right[at]!;
}

Deno.test("Store.apply() answers as a plain map with conditions and sessions does, whatever the commands", () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60, size: "max" }), (commands) => {
      const store = new Store();
      const model = new Model();
      commands.forEach((command, i) =>
        assertEquals(store.apply(command, i + 1), model.apply(command, i + 1))
      );
      assertEquals(store.size, model.values.size);
      for (const [key, versioned] of model.values) assertEquals(store.get(key), versioned);
    }),
    { numRuns: 500 },
  );
});

Deno.test("Store.digest() is equal on nodes that applied the same commands, read back from their log or not", () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 40, size: "max" }), (commands) => {
      const fromLog = JSON.parse(JSON.stringify(commands)) as Command[];
      const here = applied(...commands), there = applied(...fromLog);
      assertEquals(here.store.digest(), there.store.digest());
      assertEquals(here.results, there.results);
      const before = here.store.digest();
      here.store.apply(put("one more", "x"), commands.length + 1);
      assertNotEquals(here.store.digest(), before);
    }),
  );
});
