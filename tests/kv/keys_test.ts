import { assert, assertEquals, assertLess } from "@std/assert";
import fc from "fast-check";
import type { Stored } from "../../lib/kv/command.ts";
import type { Range } from "../../lib/kv/key_order.ts";
import { type FrozenKeys, Keys } from "../../lib/kv/keys.ts";
import { pageUnitsMax } from "../../lib/kv/list.ts";
import { type Block, LineBuffer } from "../../lib/kv/line_buffer.ts";
import { ValueHeap } from "../../lib/kv/value_heap.ts";
import { linesOf } from "./commands.ts";

const encoder = new TextEncoder();

/** The order that is promised, computed the slow way. */
function compareBytes(a: string, b: string): number {
  const x = encoder.encode(a), y = encoder.encode(b);
  for (let i = 0; i < Math.min(x.length, y.length); i++) if (x[i] !== y[i]) return x[i]! - y[i]!;
  return x.length - y.length;
}

// Few and awkward characters, so that keys meet, are prefixes of each other and straddle every border of UTF-16.
const character = fc.constantFrom(
  "a",
  "b",
  "\u0000",
  "\u007f",
  "\u00e9",
  "\u07ff",
  "\ud7ff",
  "\ue000",
  "\uffff",
  "\u{10000}",
  "\u{1f600}",
  "\u{10ffff}",
);
const key = fc.string({ unit: character, minLength: 1, maxLength: 4 });
const text = fc.string({ unit: character, maxLength: 3 });
const range = fc.record({ prefix: text, start: text, end: text }, { requiredKeys: [] });

function modelOf(keys: string[], range: Range): string[] {
  return [...new Set(keys)].sort(compareBytes).filter((key) =>
    key.startsWith(range.prefix ?? "") && compareBytes(key, range.start ?? "") >= 0 &&
    (range.end === undefined || compareBytes(key, range.end) < 0)
  );
}

function filled(keys: Iterable<string>): Keys {
  const filled = new Keys();
  let version = 0;
  for (const key of keys) filled.set(key, { value: `value of ${key}`, version: ++version });
  return filled;
}

Deno.test("Keys.list() gives the keys of any range in the order of their UTF-8 bytes, and count() their number", () => {
  fc.assert(
    fc.property(
      fc.array(key, { maxLength: 60, size: "max" }),
      range,
      fc.boolean(),
      (keys, range, reverse) => {
        const expected = modelOf(keys, range);
        const subject = filled(keys);
        assertEquals(subject.count(range), expected.length);
        if (reverse) expected.reverse();
        const page = subject.list({ ...range, limit: 1000, reverse });
        assertEquals(page.entries.map(({ key }) => key), expected);
        assertEquals(page.next, null);
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("Keys.list() pages: next given as start, or as end in reverse, leads through all keys once", () => {
  fc.assert(
    fc.property(
      fc.array(key, { maxLength: 60, size: "max" }),
      range,
      fc.boolean(),
      fc.integer({ min: 1, max: 5 }),
      (keys, range, reverse, limit) => {
        const subject = filled(keys);
        const seen: string[] = [];
        let rest: Range = range;
        for (;;) {
          const { entries, next } = subject.list({ ...rest, limit, reverse });
          seen.push(...entries.map(({ key }) => key));
          if (next === null) break;
          assertEquals(entries.length, limit);
          rest = reverse ? { ...rest, end: next } : { ...rest, start: next };
        }
        const expected = modelOf(keys, range);
        assertEquals(seen, reverse ? expected.reverse() : expected);
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("Keys.freeze() shows what was there until it is released, whatever is written, deleted and taken back", () => {
  // Some are large, and of the others a slab has room for few.
  const value = fc.tuple(character, fc.constantFrom(0, 1, 700, 1400, 5000)).map(([unit, count]) =>
    unit.repeat(count)
  );
  const change = fc.record({ do: fc.constantFrom("set", "delete"), key: fc.nat(300).map(String), value });
  const step = fc.oneof(
    { weight: 20, arbitrary: fc.array(change, { minLength: 1, maxLength: 1 }) },
    { weight: 2, arbitrary: fc.record({ all: fc.array(change, { maxLength: 8 }), stays: fc.boolean() }) },
    { weight: 2, arbitrary: fc.constant("freeze" as const) },
    { weight: 2, arbitrary: fc.nat() },
  );
  type Model = Map<string, { value: string; version: number }>;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 600, size: "max" }), (steps) => {
      const keys = new Keys(new ValueHeap(0));
      let model: Model = new Map();
      const frozen: { keys: FrozenKeys; model: Model }[] = [];
      const carryOut = (changes: { do: string; key: string; value: string }[], version: number): void => {
        for (const { do: verb, key, value } of changes) {
          if (verb === "set") {
            keys.set(key, { value, version });
            model.set(key, { value, version });
          } else {
            keys.delete(key);
            model.delete(key);
          }
        }
      };
      steps.forEach((step, i) => {
        if (step === "freeze") frozen.push({ keys: keys.freeze(), model: new Map(model) });
        else if (typeof step === "number") {
          const [released] = frozen.splice(step % Math.max(1, frozen.length), 1);
          if (released === undefined) return;
          assertSame(released.keys, released.model);
          released.keys.release();
        } else if (Array.isArray(step)) carryOut(step, i);
        else {
          const before = new Map(model);
          keys.begin();
          carryOut(step.all, i);
          if (step.stays) keys.commit();
          else {
            keys.rollBack();
            model = before;
          }
        }
      });
      assertSame(keys, model);
      assertEquals(keys.frozen, frozen.length);
      for (const { keys, model } of frozen) {
        assertSame(keys, model);
        keys.release();
      }
      assertEquals(keys.slots, [...model.values()].filter(({ value }) => value.length <= 4096).length);
    }),
    { numRuns: 100 },
  );

  function assertSame(keys: Keys | FrozenKeys, model: Model): void {
    assertEquals(keys.size, model.size);
    const expected = [...model].sort(([a], [b]) => compareBytes(a, b)).map(([key, stored]) => ({
      key,
      ...stored,
    }));
    assertEquals(allOf(keys), expected);
  }
});

Deno.test("Keys.set() brings values together that many others have left alone, and each stays with its key", () => {
  const heap = new ValueHeap(0);
  const keys = new Keys(heap);
  const valueOf = (i: number): string => String(i).padEnd(4000);
  for (let i = 0; i < 3000; i++) keys.set(`key${i}`, { value: valueOf(i), version: i });
  const frozen = keys.freeze();
  for (let i = 0; i < 3000; i++) if (i % 20 > 0) keys.delete(`key${i}`);
  const isRight = (): boolean =>
    allOf(keys).every(({ key, value, version }) => key === `key${version}` && value === valueOf(version));
  assert(heap.bytes > 3000 * 4000 && keys.size === 150 && isRight());
  assertEquals(allOf(frozen).length, 3000);
  frozen.release();
  for (let i = 0; i < 20; i++) keys.set("key0", { value: valueOf(0), version: 0 });
  assert(isRight());
  assertEquals(keys.slots, 150);
  assertLess(heap.bytes, 2 * 150 * 4000);
});

Deno.test("Keys.rollBack() brings back when keys go", () => {
  const keys = new Keys();
  keys.set("a", { value: "1", version: 1, expiresAt: 100 });
  keys.set("b", { value: "1", version: 2 });
  keys.takeChanges();
  keys.begin();
  keys.set("a", { value: "2", version: 3 });
  keys.delete("b");
  keys.set("c", { value: "2", version: 3, expiresAt: 50 });
  keys.set("a", { value: "3", version: 3, expiresAt: 60 });
  keys.rollBack();
  assertEquals([keys.nextExpiry, keys.expiring, keys.takeChanges()], [100, 1, []]);
  assertEquals(keys.get("a"), { value: "1", version: 1, expiresAt: 100 });
  assertEquals(keys.get("b"), { value: "1", version: 2 });
  assertEquals([keys.expire(100, 10), keys.size], [1, 1]);
});

Deno.test("Keys.list() gives values, or leaves them out when only keys are wanted", () => {
  const subject = filled(["b", "a"]);
  assertEquals(subject.list({ limit: 1 }), {
    entries: [{ key: "a", value: "value of a", version: 2 }],
    next: "b",
  });
  assertEquals(subject.list({ limit: 2, keysOnly: true }), {
    entries: [{ key: "a", version: 2 }, { key: "b", version: 1 }],
    next: null,
  });
});

Deno.test("Keys.list() ends a page before its values grow too large, but always gives one", () => {
  const subject = new Keys();
  for (const key of ["a", "b", "c", "d"]) {
    subject.set(key, {
      value: "x".repeat(key === "d" ? 2 * pageUnitsMax : pageUnitsMax / 2 - 1),
      version: 1,
    });
  }
  const keysOf = (start: string, keysOnly = false) => {
    const { entries, next } = subject.list({ start, limit: 10, keysOnly });
    return [entries.map(({ key }) => key).join(""), next];
  };
  assertEquals(keysOf("a"), ["ab", "c"]);
  assertEquals(keysOf("c"), ["c", "d"]);
  assertEquals(keysOf("d"), ["d", null]);
  assertEquals(keysOf("a", true), ["abcd", null]);
});

Deno.test("Keys takes names that mean something elsewhere: __proto__, constructor, toString (seed bug class F7)", () => {
  const names = ["__proto__", "constructor", "hasOwnProperty", "prototype", "then", "toString", "valueOf"];
  const subject = new Keys();
  for (const name of names) assertEquals(subject.get(name), undefined);
  for (const name of names) subject.set(name, { value: name, version: 1 });
  assertEquals(subject.list({ limit: 100 }).entries.map(({ value }) => value), names);
});

/** All keys in order, as their lines have them. */
function allOf(keys: Keys | FrozenKeys): ({ key: string } & Stored)[] {
  function* blocks(): Generator<Block> {
    const lines = new LineBuffer();
    yield* keys.blocks(lines);
    yield lines.take();
  }
  return [...linesOf({ blocks })].map((line) => JSON.parse(line));
}
