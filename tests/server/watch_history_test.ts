import { assert, assertEquals, assertGreaterOrEqual } from "@std/assert";
import fc from "fast-check";
import type { Change } from "../../lib/kv/command.ts";
import { findPlainPut } from "../../lib/kv/plain_put.ts";
import { WatchHistory } from "../../lib/server/watch_history.ts";

/** Adds the entry at `index`, which puts a key. */
function addPut(history: WatchHistory, index: number, key: string, value = ""): void {
  history.add(index, [{ type: "put", key, value }]);
}

/** A change as a store tells it that was given the put by its text, if it would be. */
function asTold(change: Change): Change {
  if (change.type !== "put") return change;
  const { key, value } = change;
  const text = new TextEncoder().encode(
    JSON.stringify({ op: "put", key, value, session: "12", seq: 3 }) + "}\n",
  );
  return findPlainPut(text, 0) ?? change;
}

/** Indexes of all changes from a position on. */
function indexesFrom(history: WatchHistory, position: number): number[] {
  const indexes: number[] = [];
  for (let at = position; at < history.end; at++) indexes.push(history.indexAt(at));
  return indexes;
}

Deno.test("WatchHistory.seek() finds what comes after any index, also one at which nothing changed", () => {
  const history = new WatchHistory(1 << 20);
  for (const index of [3, 4, 9]) addPut(history, index, "a");
  for (const [after, expected] of [[0, [3, 4, 9]], [3, [4, 9]], [5, [9]], [9, []], [99, []]] as const) {
    assertEquals(indexesFrom(history, history.seek(after)!), [...expected]);
  }
});

Deno.test("WatchHistory.add() keeps to its bound, whatever the sizes, and never loses what it says that it has", () => {
  const sizes = fc.array(fc.nat(4000), { maxLength: 400, size: "max" });
  fc.assert(
    fc.property(sizes, fc.integer({ min: 0, max: 20_000 }), (sizes, bytesMax) => {
      const history = new WatchHistory(bytesMax);
      let index = 0;
      for (const size of sizes) {
        addPut(history, ++index, "k", "v".repeat(size));
        const held = indexesFrom(history, history.seek(history.floor)!);
        assertEquals(held, Array.from({ length: index - history.floor }, (_, i) => history.floor + 1 + i));
        assertEquals(history.seek(history.floor - 1), null);
        const bytes = held.reduce((sum, at) => sum + sizes[at - 1]!, 0);
        assert(bytes <= bytesMax, `${bytes} bytes of values are within ${bytesMax}`);
      }
    }),
    { numRuns: 60 },
  );
});

Deno.test("WatchHistory.add() moves `first` beyond what is not kept any more, and positions stay what they were", () => {
  const history = new WatchHistory(10_000);
  addPut(history, 1, "first");
  const first = history.seek(0)!;
  assertEquals([history.first, history.indexAt(first)], [first, 1]);
  for (let index = 2; index <= 5000; index++) addPut(history, index, `${index}`);
  assert(history.first > first && history.floor > 4000);
  for (let index = history.floor + 1; index <= 5000; index++) {
    const position = history.seek(index - 1)!;
    assertEquals([history.indexAt(position), history.changeAt(position).key], [index, `${index}`]);
  }
  const last = history.seek(4999)!;
  addPut(history, 5001, "k");
  assertEquals(history.indexAt(last), 5000);
});

Deno.test("WatchHistory.restart() makes everybody begin anew who was not told what the new state holds", () => {
  const history = new WatchHistory(10_000);
  addPut(history, 1, "a");
  const told = history.end; // somebody who has been told everything
  history.restart(50);
  assertEquals(history.seek(49), null);
  assertEquals(history.seek(50), history.end);
  addPut(history, 51, "b");
  assert(told < history.first, "his next change is not here");
  assertEquals(indexesFrom(history, history.seek(50)!), [51]);
});

Deno.test("WatchHistory.changeAt() tells what was added, whatever is in keys and values and however long they are", () => {
  const text = (maxLength: number) => fc.string({ unit: "binary", maxLength });
  const long = fc.constantFrom("v".repeat(70_000), "\u{1f600}".repeat(20_000), "\u00e4".repeat(33_000));
  const plain = fc.constantFrom("k", ",", ",value:", "v".repeat(4096));
  // Lengths on both sides of what one byte can tell, and the greatest ones that there are.
  const longKeys = [255, 256, 257, 1023, 4096].map((bytes) => "k".repeat(bytes));
  const key = fc.oneof(text(50), plain, fc.constantFrom(...longKeys, "\u{1f600}".repeat(1024)));
  const change: fc.Arbitrary<Change> = fc.oneof(
    fc.record({ type: fc.constant("put" as const), key, value: fc.oneof(text(50), plain, long) }),
    fc.record({ type: fc.constantFrom("delete" as const, "expire" as const), key }),
  );
  fc.assert(
    fc.property(fc.array(fc.array(change, { minLength: 1, maxLength: 5 })), (entries) => {
      const history = new WatchHistory(64 << 20);
      entries.forEach((changes, i) => history.add(i + 1, changes.map(asTold)));
      let position = history.seek(0)!;
      for (const [i, changes] of entries.entries()) {
        for (const change of changes) {
          assertEquals(history.indexAt(position), i + 1);
          assertEquals(history.changeAt(position), change);
          assertEquals(history.keyAt(position), new TextEncoder().encode(change.key));
          position++;
        }
      }
      assertEquals(position, history.end);
    }),
    { numRuns: 50 },
  );
});

Deno.test("WatchHistory.add() of more than fits keeps the end of it, from which nobody can begin", () => {
  const history = new WatchHistory(1000);
  addPut(history, 1, "k");
  const told = history.end;
  history.add(2, Array.from({ length: 500 }, (_, i) => ({ type: "delete", key: `key${i}` })));
  assertEquals([history.floor, history.seek(1), history.seek(2)], [2, null, history.end]);
  assert(told < history.first, "who was told all before is not told half of it");
  assertGreaterOrEqual(indexesFrom(history, history.first).length, 30);
  addPut(history, 3, "k", "v".repeat(2000));
  assertEquals([history.floor, history.first], [3, history.end]);
  addPut(history, 4, "k", "v".repeat(700));
  assertEquals(indexesFrom(history, history.seek(3)!), [4]);
});

Deno.test("WatchHistory.restart() leaves room for all that follows", () => {
  const history = new WatchHistory(1000);
  for (let index = 1; index < 100; index += 25) {
    for (let i = 0; i < 20; i++) addPut(history, index + i, "k", "v".repeat(50));
    const told = history.end;
    history.restart(index + 21);
    assertEquals([history.floor, history.seek(index + 21)], [index + 21, history.end]);
    assert(told < history.first);
    addPut(history, index + 22, "k", "v".repeat(700));
    assertEquals(indexesFrom(history, history.seek(index + 21)!), [index + 22]);
  }
});
