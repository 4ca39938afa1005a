import { assert, assertEquals, assertGreater, assertRejects, assertStringIncludes } from "@std/assert";
import * as core from "../../lib/raft/raft.ts";
import type { Write } from "../../lib/raft/types.ts";
import { admitted } from "../raft/disk.ts";
import { logOf } from "../raft/node.ts";
import { type Bounds, elections } from "./bounds.ts";
import { bugs, coreWith } from "./bugs.ts";
import { afterCrash } from "./disk.ts";
import { Explorer } from "./explorer.ts";
import { KeySet, Visited } from "./visited.ts";
import { describeWay } from "./words.ts";

/** Small enough for each run of the tests; `deno task explore` goes farther. */
const samples: Record<string, Partial<Bounds>> = {
  "three elections": {},
  "two messages at a time": { terms: 2, packets: 2, timeouts: 2 },
  "all faults": { terms: 2, entries: 2, timeouts: 2, crashes: 1, losses: 1, duplicates: 1 },
};

function explorerOf(bounds: Partial<Bounds>, isReduced = true): Explorer {
  return new Explorer({ core, bounds: { ...elections, ...bounds }, isReduced });
}

for (const [name, bounds] of Object.entries(samples)) {
  Deno.test(`Explorer.run() visits all states of "${name}", and nothing is broken in any`, () => {
    const explorer = explorerOf(bounds);
    const outcome = explorer.run();
    assertEquals(outcome.violation, null);
    assert(outcome.isComplete);
    assertGreater(outcome.withCommit, 0);
    assertGreater(outcome.withTwoLeaders, 0);
    assertGreater(outcome.withCut, 0);
    assertGreater(explorer.processes.takeAgain(), 1000, "which way led to a state makes no difference");
  });
}

Deno.test("Explorer.run() leaves out nothing by what it takes for the same", () => {
  const elected = { terms: 1, timeouts: 1 };
  for (const bounds of [{ terms: 2, timeouts: 2 }, { ...elected, crashes: 1 }, { ...elected, packets: 2 }]) {
    const reduced = explorerOf(bounds), full = explorerOf(bounds, false);
    assertGreater(full.run().states, 4 * reduced.run().states);
    assertEquals(full.processes.kinds, reduced.processes.kinds);
  }
});

Deno.test("Explorer.run() stops when it has seen as many states as it may", () => {
  const { states, isComplete, depth } = explorerOf({ states: 1000 }).run();
  assert(!isComplete && states >= 1000 && states < 1100 && depth > 5, `${states} states, depth ${depth}`);
});

for (const [name, bug] of Object.entries(bugs)) {
  Deno.test(`Explorer.run() finds the planted bug ${name}, and tells a shortest way to it`, async () => {
    const { bounds, only = null } = bug;
    const explorer = new Explorer({ core: await coreWith(bug), bounds: { ...elections, ...bounds }, only });
    const outcome = explorer.run();
    assert(outcome.violation !== null, `${outcome.states} states and no violation`);
    const text = describeWay(outcome, explorer.processes.packets);
    assertStringIncludes(text, `VIOLATION after ${outcome.depth + 1} steps`);
    assertStringIncludes(
      text,
      "\n   1. node 1 waits in vain and asks for pre-votes: preCandidate in term 0\n",
    );
  });
}

Deno.test("coreWith() refuses a bug that does not fit the source exactly once", async () => {
  const changes = [{ file: "lib/raft/log.ts", from: "nothing of the kind", to: "" }];
  await assertRejects(() => coreWith({ bug: "none", changes }), Error, "0 times in lib/raft/log.ts");
});

Deno.test("afterCrash() gives all that may be left: any part of the entries, and their term before them", () => {
  const nothing: Write = { hardState: null, chunks: [], snapshot: null, entries: [], messages: [] };
  const pending = [
    { ...nothing, hardState: admitted(2, null), entries: logOf(3, [2, 2]).slice(1) },
    { ...nothing, hardState: admitted(3, 1) },
  ];
  const left = afterCrash({ hardState: admitted(1, 1), entries: logOf(3, [1, 1]) }, pending);
  const seen = left.map(({ hardState, entries }) =>
    `${hardState.currentTerm}: ${entries.slice(1).map(({ term }) => term).join(" ")}`
  );
  assertEquals(seen.sort(), [
    ...["1: 1 1"],
    ...["2: ", "2: 1 1", "2: 2", "2: 2 2"],
    ...["3: ", "3: 1 1", "3: 2", "3: 2 2"],
  ]);
});

Deno.test("KeySet knows each key again, however many there are", () => {
  const keys = new KeySet();
  const key = new Int32Array(3);
  const isNew = (number: number): boolean => {
    key.set([number & 255, number >> 8, 7]);
    return keys.isNew(key, 3);
  };
  for (let number = 0; number < 200_000; number++) assert(isNew(number));
  for (let number = 0; number < 200_000; number++) assert(!isNew(number));
  assertEquals(keys.size, 200_000);
});

Deno.test("Visited keeps the numbers of each state, and the way to it", () => {
  const visited = new Visited();
  for (let number = 0; number < 200_000; number++) {
    visited.push(Array(30).fill(number), number === 0 ? -1 : number >> 1);
  }
  for (const number of [0, 9, 139_810, 199_999]) {
    assertEquals([...visited.at(number)], Array(30).fill(number));
  }
  assertEquals(visited.wayTo(9), [0, 1, 2, 4, 9]);
});
