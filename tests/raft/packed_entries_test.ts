/**
 * A log of which the applied part is kept as lines only answers everything as one that is kept whole.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { AssertionFailed } from "../../lib/assert.ts";
import { makeEntry } from "../../lib/raft/entry.ts";
import { baseOf, Log, OldEntryLost } from "../../lib/raft/log.ts";
import { PackedEntries } from "../../lib/raft/packed_entries.ts";
import type { Entry } from "../../lib/raft/types.ts";
import { configurationOfSize, logOf } from "./node.ts";

/** Entries of many terms, made beside others, some long, with configurations among them. */
function makeLog(): Entry[] {
  const entries = [...logOf(3, [1])];
  while (entries.length < 400) {
    const { index, crc: prevCrc } = entries.at(-1)!;
    const term = 1 + Math.floor(index / 30);
    if (index % 7 === 0) logOf(1, [1, 1]); // the lines of another log lie between
    const kind = index % 50 === 0 ? "configuration" : "command";
    const command = kind === "configuration"
      ? configurationOfSize(3)
      : "x".repeat(index % 90 === 0 ? 70_000 : index);
    entries.push(makeEntry({ index: index + 1, term, kind, command, prevCrc }));
  }
  return entries;
}

const all = makeLog();

function assertSame(log: Log, expected: Log): void {
  const { base, lastIndex } = expected;
  assertEquals([log.base, log.lastIndex, log.lastTerm], [base, lastIndex, expected.lastTerm]);
  assertEquals([log.configuration, log.configurationIndex], [
    expected.configuration,
    expected.configurationIndex,
  ]);
  for (let index = base.index; index <= lastIndex; index++) {
    assertEquals(log.termAt(index), expected.termAt(index));
    assertEquals(log.crcAt(index), expected.crcAt(index));
    assertEquals(log.snapshotAt(index), expected.snapshotAt(index));
    assertEquals(log.lastIndexWithTermAtMost(5, index), expected.lastIndexWithTermAtMost(5, index));
  }
  for (const index of [-1, 0, base.index, base.index + 0.5, base.index + 1, 150, lastIndex, lastIndex + 1]) {
    assertEquals(log.at(index), expected.at(index));
  }
  const first = base.index + 1;
  for (
    const [from, to] of [[first, lastIndex], [first, first], [140, 170], [lastIndex, lastIndex], [170, 169]]
  ) {
    if (from! > base.index) assertEquals(log.slice(from!, to!), expected.slice(from!, to!));
  }
  for (const bytes of [1, 1000, 100_000]) {
    for (const from of [first, 145, lastIndex]) {
      if (from <= base.index) continue;
      // Of what has to be read there may be less at once.
      const { entries } = log.sliceBytes(from, bytes), all = expected.sliceBytes(from, bytes).entries;
      assertEquals(entries, all.slice(0, Math.max(1, entries.length)));
      assertEquals(
        log.sliceBytes(from, bytes).bytes,
        entries.reduce((sum, { line }) => sum + line.length, 0),
      );
    }
  }
}

Deno.test("Log.pack() changes no answer of the log, however much of it is packed, cut in front and added", () => {
  const [log, whole] = [new Log(all.slice(0, 200)), new Log(all.slice(0, 200))];
  for (const packed of [0, 5, 16, 40, 41, 150, 199]) {
    log.pack(packed);
    assertSame(log, whole);
  }
  for (const entry of all.slice(200)) for (const one of [log, whole]) one.append(entry);
  assertSame(log, whole);
  for (const one of [log, whole]) one.truncateFrom(320);
  for (const cut of [1, 17, 160, 250]) {
    for (const one of [log, whole]) one.compactTo(cut);
    assertSame(log, whole);
    log.pack(cut + 40);
    assertSame(log, whole);
  }
  for (const one of [log, whole]) one.restore(whole.snapshotAt(319));
  assertSame(log, whole);
  log.append(makeEntry({ index: 320, term: 20, kind: "noop", command: null, prevCrc: log.crcAt(319) }));
  assertEquals([log.lastIndex, log.lastTerm], [320, 20]);
});

Deno.test("Log.forgetLines() changes no answer of the log, whatever stays in memory and however little is read at once", () => {
  for (const memoryBytes of [0, 100, 20_000, 1 << 20]) {
    const lines = new Map<number, Entry>();
    let reads = 0;
    const read = (first: number, last: number, bytesMax: number): Entry[] => {
      reads++;
      const entries = [lines.get(first)!];
      for (let index = first + 1, bytes = entries[0]!.line.length; index <= last && index % 10 > 0; index++) {
        bytes += lines.get(index)!.line.length;
        if (bytes > bytesMax) break;
        entries.push(lines.get(index)!);
      }
      return entries;
    };
    const log = new Log(all.slice(0, 300), undefined, { memoryBytes, read });
    const whole = new Log(all.slice(0, 300));
    for (const packed of [40, 100, 230]) {
      log.pack(packed);
      log.forgetLines(packed - 30); // those behind are not durable yet
      for (const entry of all.slice(0, packed - 30)) lines.set(entry.index, entry);
      assertSame(log, whole);
    }
    assertEquals(reads > 0, memoryBytes < 1 << 20);
    for (const cut of [17, 160]) {
      for (const one of [log, whole]) one.compactTo(cut);
      log.forgetLines(230);
      for (const entry of all.slice(0, 230)) lines.set(entry.index, entry);
      assertSame(log, whole);
    }
    for (const one of [log, whole]) one.compactTo(260);
    for (const entry of all.slice(300)) for (const one of [log, whole]) one.append(entry);
    log.pack(390);
    assertSame(log, whole);
    log.forgetLines(400);
    for (const entry of all) lines.set(entry.index, entry);
    assertSame(log, whole);
    for (const one of [log, whole]) one.restore(new Log(all).snapshotAt(390));
    for (const entry of all.slice(390)) for (const one of [log, whole]) one.append(entry);
    log.pack(400);
    assertSame(log, whole);
  }
});

Deno.test("Log.sliceBytes() gives all that is in memory, and of the rest as much as is read at once, and nothing that is wrong", () => {
  const lines = [...all];
  let reads: number[][] = [];
  const read = (first: number, last: number, bytesMax: number): Entry[] => {
    reads.push([first, last, bytesMax]);
    if (lines[first - 1] === undefined) throw new Error("no such entry");
    return lines.slice(first - 1, Math.min(last, first + 2));
  };
  const log = new Log(all.slice(0, 300), undefined, { memoryBytes: 0, read });
  log.pack(200);
  log.forgetLines(100);
  assertEquals(log.sliceBytes(50, 2000).entries, all.slice(49, 52));
  assertEquals(reads, [[50, 100, 2000]]);
  assertEquals(log.sliceBytes(100, 2000).entries, all.slice(99, 100));
  reads = [];
  assertEquals(log.sliceBytes(101, 2000).entries.length > 3, true);
  assertEquals(reads, []);
  for (const at of [50, 51, 52]) {
    lines[at - 1] = makeEntry({ ...all[at - 1]!, command: "another" });
    assertEquals(assertThrows(() => log.sliceBytes(50, 2000), OldEntryLost).index, at);
    lines[at - 1] = all[at - 1]!;
  }
  lines.length = 49;
  assertStringIncludes(
    assertThrows(() => log.at(50), OldEntryLost).message,
    "entry 50 of the log cannot be read again: no such entry",
  );
});

Deno.test("PackedEntries.forgetLines() keeps the newest lines, as many as it may and those that must stay", () => {
  const packed = new PackedEntries();
  const bytesFrom = (first: number): number =>
    all.slice(first - 1, 300).reduce((sum, { line }) => sum + line.length, 0);
  for (const entry of all.slice(0, 300)) packed.add(entry);
  packed.forgetLines(10, 0);
  assertEquals(packed.firstLine, 11);
  packed.forgetLines(290, 1e9);
  assertEquals(packed.firstLine, 11);
  for (const bytesMax of [50_000, 5000]) {
    packed.forgetLines(290, bytesMax);
    const { firstLine } = packed;
    assert(bytesFrom(firstLine) <= bytesMax && bytesFrom(firstLine - 1) > bytesMax);
  }
  packed.dropUpTo(150);
  packed.forgetLines(400, 0);
  assertEquals([packed.firstLine, packed.lastIndex, packed.crcAt(151)], [301, 300, all[150]!.crc]);
});

Deno.test("Log.truncateFrom() refuses to cut what is packed: that is committed (paper 5.3)", () => {
  const log = new Log(all.slice(0, 100));
  log.pack(60);
  assertThrows(() => log.truncateFrom(60), AssertionFailed);
  log.truncateFrom(61);
  assertEquals(log.lastIndex, 60);
});

Deno.test("Log.pack() goes on behind the base of a snapshot", () => {
  const base = baseOf(new Log(all).snapshotAt(100));
  const [log, whole] = [new Log(all.slice(100), base), new Log(all.slice(100), base)];
  log.pack(300);
  assertSame(log, whole);
});

Deno.test("PackedEntries.add() takes only the entry that follows, and gives each back from its line", () => {
  const packed = new PackedEntries();
  for (const entry of all) packed.add(entry);
  assertThrows(() => packed.add(all[5]!), AssertionFailed);
  assertEquals(all.map(({ index }) => packed.at(index)), all);
  packed.dropUpTo(200);
  assertEquals(packed.at(201), all[200]);
  for (const index of [0, 1, 401]) assertThrows(() => packed.at(index), AssertionFailed);
  packed.dropUpTo(400);
  assertEquals(packed.lastIndex, 0);
  packed.add(all[399]!);
  assert(packed.lastIndex === 400, "it begins anew anywhere");
});
