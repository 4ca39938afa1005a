import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Keys, pageUnitsMax, type Range } from "../../lib/kv/keys.ts";

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

Deno.test("Keys.clone() is not changed by what happens to the original, nor the other way round", () => {
  type Step = { do: "set" | "delete"; key: string } | { do: "clone" };
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 20,
      arbitrary: fc.record({ do: fc.constantFrom("set", "delete"), key: fc.nat(300).map(String) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("clone" as const) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 1500, size: "max" }), (steps) => {
      // Every pair is a map and what it must hold; each step changes one of them, chosen in turn.
      const pairs = [{ keys: new Keys(), model: new Map<string, number>() }];
      steps.forEach((step, i) => {
        const { keys, model } = pairs[i % pairs.length]!;
        if (step.do === "set") {
          keys.set(step.key, { value: "", version: i });
          model.set(step.key, i);
        } else if (step.do === "delete") {
          keys.delete(step.key);
          model.delete(step.key);
        } else pairs.push({ keys: keys.clone(), model: new Map(model) });
      });
      for (const { keys, model } of pairs) {
        assertEquals(keys.size, model.size);
        const expected = [...model].sort(([a], [b]) => compareBytes(a, b));
        assertEquals([...keys.all()].map(({ key, version }) => [key, version]), expected);
      }
    }),
    { numRuns: 30 },
  );
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
