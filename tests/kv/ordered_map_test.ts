import { assert, assertEquals, assertLess } from "@std/assert";
import { Random } from "../../lib/chaos/random.ts";
import { OrderedMap } from "../../lib/kv/ordered_map.ts";

/** Texts that are hard to tell apart by a few characters, and some of each kind of character. */
const alphabets: Record<string, (random: Random) => string> = {
  "numbers behind a prefix": (random) => `key${String(random.below(3000)).padStart(8, "0")}`,
  "long common parts": (random) =>
    "x".repeat(random.below(40)) + "abc"[random.below(3)]!.repeat(random.below(9)),
  "zeros and ends": (random) =>
    "\0".repeat(random.below(9)) + "a".repeat(random.below(3)) + "\0".repeat(random.below(3)),
  "around 255": (random) =>
    Array.from({ length: random.below(8) }, () => "\u00fd\u00fe\u00ff\u0100\u4e00\uffff"[random.below(6)])
      .join(""),
  "any units": (random) =>
    String.fromCharCode(...Array.from({ length: random.below(4) }, () => random.below(65536))),
};

/** The same as the map, slowly. */
class Model {
  readonly values = new Map<string, number>();

  get sorted(): [string, number][] {
    return [...this.values].sort(([a], [b]) => a < b ? -1 : 1);
  }
}

function assertSame(map: OrderedMap<number>, entries: readonly [string, number][]): void {
  assertEquals([...map.entries()], entries);
  assertEquals([...map.entriesReversed()], entries.toReversed());
  assertEquals(map.size, entries.length);
  assertEquals(map.minKey(), entries[0]?.[0]);
  assertEquals(map.maxKey(), entries.at(-1)?.[0]);
}

for (const [name, draw] of Object.entries(alphabets)) {
  Deno.test(`OrderedMap holds what a sorted list holds, and clones what it held: ${name}`, () => {
    for (const keysMax of [4, 64]) assertHolds(new OrderedMap<number>(keysMax), new Random(name), draw);
  });
}

function assertHolds(map: OrderedMap<number>, random: Random, draw: (random: Random) => string): void {
  const model = new Model();
  const clones: { map: OrderedMap<number>; entries: [string, number][] }[] = [];
  for (let i = 0; i < 12_000; i++) {
    // It grows, shrinks to nearly nothing, and grows again.
    const isShrinking = i % 6000 > 3500;
    const known = [...model.values.keys()];
    const key = isShrinking && known.length > 0 ? known[random.below(known.length)]! : draw(random);
    if (random.below(10) < (isShrinking ? 9 : 2)) {
      map.delete(key);
      model.values.delete(key);
    } else {
      map.set(key, i);
      model.values.set(key, i);
    }
    assertEquals(map.get(key), model.values.get(key));
    if (i % 500 === 0) clones.push({ map: map.clone(), entries: model.sorted });
    if (i % 100 === 0) assertRanges(map, model.sorted, [draw(random), draw(random)]);
  }
  assertSame(map, model.sorted);
  for (const clone of clones) assertSame(clone.map, clone.entries);
  clones.at(-1)!.map.set("zz", 1);
  assertSame(map, model.sorted);
}

function assertRanges(
  map: OrderedMap<number>,
  entries: [string, number][],
  [low, high]: [string, string],
): void {
  assertEquals([...map.entries(low)], entries.filter(([key]) => key >= low));
  assertEquals([...map.entriesReversed(high)], entries.filter(([key]) => key < high).toReversed());
  if (low < high) {
    assertEquals(
      map.count(low, high),
      entries.filter(([key]) => key >= low && key < high).length,
    );
  }
}

Deno.test("OrderedMap.delete() leaves nothing behind of keys that come at the end and go at the beginning", () => {
  const map = new OrderedMap<number>();
  const keyOf = (number: number): string => String(number).padStart(8, "0");
  for (let i = 0; i < 100_000; i++) {
    map.set(keyOf(i), i);
    if (i >= 100) map.delete(keyOf(i - 100));
  }
  assertEquals(map.size, 100);
  assert([...map.entries()].every(([key, value], i) => value === 99_900 + i && key === keyOf(value)));
  assertLess([...map.blocks()].length, 5);
});
