/**
 * Bugs of the program that kvapp grew out of, in what it kept on its disk. The numbers are those of README.md here.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { AssertionFailed } from "../../lib/assert.ts";
import type { Command } from "../../lib/kv/command.ts";
import { Store } from "../../lib/kv/store.ts";
import { entriesAfter, Folder, lines, logName, open, stateName, write } from "../storage/folder.ts";

Deno.test("append() leaves an old or a new state file at any moment of a crash, never an empty one (seed bug 8, S6)", () => {
  const ends = new Set<string>();
  for (let seed = 0; seed < 60; seed++) {
    const folder = new Folder(`seed bug 8, ${seed}`);
    const { storage } = open(folder);
    folder.do((done) => storage.append([write([], { currentTerm: 1, votedFor: 3, admittedIndex: 1 })], done));
    storage.append([write([], { currentTerm: 2, votedFor: 1, admittedIndex: 1 })], () => {});
    for (let steps = seed % 3; steps > 0 && folder.step(); steps--);
    folder.crash({ power: true });
    const { currentTerm, votedFor } = open(folder).found.hardState;
    ends.add(`${currentTerm}/${votedFor}`);
  }
  assertEquals([...ends].sort(), ["1/3", "2/1"], "term and vote change together, or not at all");
});

Deno.test("append() says that entries are durable only when a power cut leaves them (seed bug 1.6, S7)", () => {
  const folder = new Folder("S7");
  const { storage } = open(folder);
  const [first, second] = entriesAfter(null, { count: 2, term: 1 });
  folder.do((done) =>
    storage.append([write([first!], { currentTerm: 1, votedFor: null, admittedIndex: 1 })], done)
  );
  assert(folder.fake.durable(logName) !== null, "the file and its name");
  let isDurable = false;
  storage.append([write([second!])], () => isDurable = true);
  assertEquals(isDurable, false, "not inside the call");
  while (!isDurable) assert(folder.step());
  folder.crash({ power: true });
  assertEquals(lines(open(folder).found.entries), lines([first!, second!]));
});

Deno.test("append() accepts no gap in the log (seed bug 15)", () => {
  const folder = new Folder("seed bug 15");
  const { storage } = open(folder);
  const [first, , third] = entriesAfter(null, { count: 3, term: 1 });
  folder.do((done) =>
    storage.append([write([first!], { currentTerm: 1, votedFor: null, admittedIndex: 1 })], done)
  );
  assertThrows(() => storage.append([write([third!])], () => {}), AssertionFailed);
});

Deno.test("recover() leaves no hole in the log behind a torn line (seed bug 22, S8)", () => {
  const entries = entriesAfter(null, { count: 3, term: 1 });
  const folder = new Folder("seed bug 22");
  const { storage } = open(folder);
  folder.do((done) =>
    storage.append([write(entries.slice(0, 1), { currentTerm: 1, votedFor: null, admittedIndex: 1 })], done)
  );
  const before = folder.disk.read(logName)!;
  folder.do((done) => storage.append([write(entries.slice(1, 2))], done));
  const whole = folder.disk.read(logName)!;
  folder.crash({ power: false });
  for (let size = before.length + 1; size < whole.length; size += 7) { // every now and then a cut in entry 2
    const torn = new Folder(`seed bug 22, ${size}`);
    torn.put(stateName, folder.disk.read(stateName));
    torn.put(logName, whole.subarray(0, size));
    const again = open(torn);
    const kept = again.found.entries.length;
    const rest = entries.slice(kept);
    torn.do((done) => again.storage.append([write(rest)], done));
    torn.crash({ power: true });
    assertEquals(
      lines(open(torn).found.entries),
      lines(entries),
      "the next line is not glued to the torn one",
    );
  }
});

Deno.test("append() and everything after it is refused once the disk has failed (seed bug 24)", () => {
  const folder = new Folder("seed bug 24");
  const { storage } = open(folder);
  const [first, second] = entriesAfter(null, { count: 2, term: 1 });
  folder.fake.failNext = true;
  const error = folder.finish((done) => storage.append([write([first!])], done));
  assert(error !== null);
  assertEquals(folder.finish((done) => storage.append([write([second!])], done)), error);
  assertEquals(storage.durableIndex, 0);
});

Deno.test("Store.apply() stops at a command that it cannot carry out, rather than skip it (seed bug S11)", () => {
  const store = new Store();
  store.apply({ op: "put", key: "a", value: "1" }, 1);
  const unknown = { op: "frobnicate", key: "a" } as unknown as Command;
  const error = assertThrows(() => store.apply(unknown, 2), AssertionFailed);
  assertStringIncludes(error.message, "frobnicate");
});

Deno.test("Store.apply() keeps keys with a colon or a newline, and empty values (seed bug 21, S12)", () => {
  const store = new Store();
  const keys = ["a:b", "a\nb", ":", "1:a:1:00", "a", "\u0000"];
  for (const [i, key] of keys.entries()) store.apply({ op: "put", key, value: "" }, i + 1);
  assertEquals(keys.map((key) => store.get(key)?.value), keys.map(() => ""));
  assertEquals(store.apply({ op: "delete", key: "a:b" }, 9), { ok: true, deleted: true, index: 9 });
  assertEquals([store.get("a:b"), store.size], [undefined, keys.length - 1]);
});
