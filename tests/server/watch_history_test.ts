import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import fc from "fast-check";
import type { Change, Command } from "../../lib/kv/command.ts";
import { makeEntry } from "../../lib/raft/entry.ts";
import { WatchHistory } from "../../lib/server/watch_history.ts";

/** Adds the entry at `index`, which puts a key. */
function addPut(history: WatchHistory, index: number, key: string, value = ""): void {
  add(history, index, { op: "put", key, value }, [{ type: "put", key, value }]);
}

function add(history: WatchHistory, index: number, command: Command, changes: Change[]): void {
  history.add(makeEntry({ index, term: 1, kind: "command", command, prevCrc: 0 }), changes);
}

/** Indexes of all entries from a position on. */
function indexesFrom(history: WatchHistory, position: number): number[] {
  const indexes: number[] = [];
  for (let at = position; at < history.end; at++) indexes.push(history.at(at)!.index);
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

Deno.test("WatchHistory.at() says so when an entry is not kept any more, and positions stay what they were", () => {
  const history = new WatchHistory(10_000);
  addPut(history, 1, "first");
  const first = history.seek(0)!;
  assertEquals(history.at(first)!.index, 1);
  for (let index = 2; index <= 5000; index++) addPut(history, index, "k");
  assertEquals(history.at(first), null);
  assert(history.floor > 4900);
  const last = history.seek(4999)!;
  addPut(history, 5001, "k");
  assertEquals(history.at(last)!.index, 5000);
});

Deno.test("WatchHistory.restart() makes everybody begin anew who was not told what the new state holds", () => {
  const history = new WatchHistory(10_000);
  addPut(history, 1, "a");
  const told = history.end; // somebody who has been told everything
  history.restart(50);
  assertEquals([history.seek(49), history.at(told)], [null, null]);
  assertEquals(history.seek(50), history.end);
  addPut(history, 51, "b");
  assertEquals(history.at(told), null);
  assertEquals(indexesFrom(history, history.seek(50)!), [51]);
});

Deno.test("WatchHistory.at() tells what each entry changed, whether its line says so or not", () => {
  const history = new WatchHistory(1 << 20);
  const changes: Change[][] = [
    [{ type: "put", key: "a\u0000\u{1f600}", value: 'line\nbreak "and" quotes' }],
    [{ type: "delete", key: "a" }],
    [{ type: "expire", key: "b" }, { type: "expire", key: "c" }],
    [{ type: "put", key: "n", value: "3" }],
  ];
  addPut(history, 1, "a\u0000\u{1f600}", 'line\nbreak "and" quotes');
  add(history, 2, { op: "delete", key: "a" }, changes[1]!);
  add(history, 3, { op: "expire", logTime: 5 }, changes[2]!);
  add(history, 4, { op: "increment", key: "n", by: "2" }, changes[3]!);
  for (let again = 0; again < 2; again++) {
    changes.forEach((changes, i) =>
      assertEquals(history.at(history.seek(0)! + i), { index: i + 1, changes })
    );
  }
});

Deno.test("WatchHistory.restart() and a change beyond the bound leave room for all that follows", () => {
  const history = new WatchHistory(1000);
  const forget = [
    (index: number): void => history.restart(index),
    (index: number): void => {
      const changes: Change[] = Array.from({ length: 500 }, (_, i) => ({ type: "delete", key: `key${i}` }));
      add(history, index, { op: "deleteRange", prefix: "key" }, changes);
    },
  ];
  let index = 0;
  for (const f of [...forget, ...forget]) {
    for (let i = 0; i < 20; i++) addPut(history, ++index, "k", "v".repeat(50));
    const told = history.end;
    f(++index);
    assertEquals([history.floor, history.at(told), history.seek(index)], [index, null, history.end]);
    addPut(history, ++index, "k", "v".repeat(700));
    assertEquals(indexesFrom(history, history.seek(index - 1)!), [index]);
  }
});

Deno.test("WatchHistory.at() keeps what was read at hand, but not much of it, and says the same afterwards", () => {
  const history = new WatchHistory(64 << 20);
  const value = "v".repeat(10_000);
  for (let index = 1; index <= 3000; index++) addPut(history, index, `key${index}`, value);
  for (const _ of [1, 2]) {
    for (let index = 1; index <= 3000; index++) {
      assertEquals(history.at(index - 1), { index, changes: [{ type: "put", key: `key${index}`, value }] });
    }
    history.at(2999);
  }
  assertGreater(history.parsedBytes, 2 * 3000 * 10_000, "all of it is parsed again");
  assertLess(history.parsedBytes, 2.1 * 3000 * 10_000, "but not what was just read");
});
