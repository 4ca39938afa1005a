import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { WatchHistory } from "../../lib/kv/watch_history.ts";

function put(key: string, value = ""): { type: "put"; key: string; value: string } {
  return { type: "put", key, value };
}

/** Indexes of all entries from a position on. */
function indexesFrom(history: WatchHistory, position: number): number[] {
  const indexes: number[] = [];
  for (let at = position; at < history.end; at++) indexes.push(history.at(at)!.index);
  return indexes;
}

Deno.test("WatchHistory.seek() finds what comes after any index, also one at which nothing changed", () => {
  const history = new WatchHistory(1 << 20);
  for (const index of [3, 4, 9]) history.add(index, [put("a")]);
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
        history.add(++index, [put("k", "v".repeat(size))]);
        const held = indexesFrom(history, history.seek(history.floor)!);
        assertEquals(held, Array.from({ length: index - history.floor }, (_, i) => history.floor + 1 + i));
        assertEquals(history.seek(history.floor - 1), null);
        const bytes = held.reduce((sum, at) => sum + 2 * sizes[at - 1]!, 0);
        assert(bytes <= bytesMax, `${bytes} bytes of values are within ${bytesMax}`);
      }
    }),
    { numRuns: 60 },
  );
});

Deno.test("WatchHistory.at() says so when an entry is not kept any more, and positions stay what they were", () => {
  const history = new WatchHistory(10_000);
  history.add(1, [put("first")]);
  const first = history.seek(0)!;
  assertEquals(history.at(first)!.index, 1);
  for (let index = 2; index <= 5000; index++) history.add(index, [put("k")]);
  assertEquals(history.at(first), null);
  assert(history.floor > 4900);
  const last = history.seek(4999)!;
  history.add(5001, [put("k")]);
  assertEquals(history.at(last)!.index, 5000);
});

Deno.test("WatchHistory.restart() makes everybody begin anew who was not told what the new state holds", () => {
  const history = new WatchHistory(10_000);
  history.add(1, [put("a")]);
  const told = history.end; // somebody who has been told everything
  history.restart(50);
  assertEquals([history.seek(49), history.at(told)], [null, null]);
  assertEquals(history.seek(50), history.end);
  history.add(51, [put("b")]);
  assertEquals(history.at(told), null);
  assertEquals(indexesFrom(history, history.seek(50)!), [51]);
});
