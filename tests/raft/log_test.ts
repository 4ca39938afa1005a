/**
 * The data structures under the protocol: the log in memory, the entries and their chain, what a leader knows of a
 * follower, and majorities.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { AssertionFailed } from "../../lib/assert.ts";
import { configurationOf, decodeEntry, isSealed, makeEntry } from "../../lib/raft/entry.ts";
import { baseOf, Log } from "../../lib/raft/log.ts";
import {
  acknowledge,
  becomeProbe,
  becomeSnapshot,
  newProgress,
  recordSent,
} from "../../lib/raft/progress.ts";
import { quorumSize, reachedByQuorum, tally } from "../../lib/raft/quorum.ts";
import type { Configuration, Entry } from "../../lib/raft/types.ts";
import { configurationOfSize, logOf } from "./node.ts";

const entries = logOf(3, [1, 1, 3, 3, 5]); // index 2 to 6

Deno.test("Log() is empty at first: index 0, term 0, no members", () => {
  const log = new Log();
  assertEquals([log.lastIndex, log.lastTerm, log.termAt(0), log.crcAt(0)], [0, 0, 0, 0]);
  assertEquals([log.at(0), log.at(1), log.configurationIndex], [undefined, undefined, 0]);
  assertEquals(log.configuration, { members: [] });
});

Deno.test("Log.at() finds each entry by its index, and nothing outside of the log", () => {
  const log = new Log(entries);
  for (const entry of entries) assertEquals(log.at(entry.index), entry);
  for (const index of [-1, 0, 7, 1.5]) assertEquals(log.at(index), undefined);
});

Deno.test("Log.termAt() knows the terms of the log and stops outside of it", () => {
  const log = new Log(entries);
  assertEquals([0, 1, 2, 3, 4, 5, 6].map((index) => log.termAt(index)), [0, 0, 1, 1, 3, 3, 5]);
  assertEquals([log.lastIndex, log.lastTerm], [6, 5]);
  for (const index of [-1, 7]) {
    assertThrows(() => log.termAt(index), AssertionFailed);
    assertThrows(() => log.crcAt(index), AssertionFailed);
  }
});

Deno.test("Log.append() takes only the entry that comes next in index, term and chain", () => {
  const next = { index: 7, term: 5, kind: "noop", command: null, prevCrc: entries[5]!.crc } as const;
  const wrong: Entry[] = [
    makeEntry({ ...next, index: 6 }),
    makeEntry({ ...next, index: 8 }),
    makeEntry({ ...next, term: 4 }),
    makeEntry({ ...next, prevCrc: entries[4]!.crc }),
  ];
  for (const entry of wrong) assertThrows(() => new Log(entries).append(entry), AssertionFailed);
  for (const term of [5, 6]) {
    const log = new Log(entries);
    log.append(makeEntry({ ...next, term }));
    assertEquals([log.lastIndex, log.lastTerm], [7, term]);
  }
});

Deno.test("Log.truncateFrom() removes an entry and all behind it", () => {
  for (const [index, left] of [[7, 6], [6, 5], [3, 2], [1, 0], [9, 6]] as const) {
    const log = new Log(entries);
    log.truncateFrom(index);
    assertEquals(log.lastIndex, left);
    assertEquals(log.slice(1, 9), entries.slice(0, left));
  }
  assertThrows(() => new Log(entries).truncateFrom(0), AssertionFailed);
});

Deno.test("Log.append() continues behind a cut with other entries", () => {
  const log = new Log(entries);
  log.truncateFrom(4);
  for (const entry of logOf(3, [1, 1, 6, 6]).slice(3)) log.append(entry);
  assertEquals([2, 3, 4, 5].map((index) => log.termAt(index)), [1, 1, 6, 6]);
});

Deno.test("Log.slice() includes both ends", () => {
  const log = new Log(entries);
  assertEquals(log.slice(2, 4), entries.slice(1, 4));
  assertEquals(log.slice(6, 6), [entries[5]!]);
  assertEquals([log.slice(4, 3), log.slice(7, 9)], [[], []]);
});

Deno.test("Log.sliceBytes() stays below a number of bytes, but gives at least one entry", () => {
  const log = new Log(entries);
  const sizes = entries.map(({ line }) => line.length);
  const sum = (first: number, last: number) => sizes.slice(first - 1, last).reduce((a, b) => a + b, 0);
  for (const bytesMax of [0, 1, sizes[1]!]) {
    assertEquals(log.sliceBytes(2, bytesMax), { entries: [entries[1]!], bytes: sizes[1]! });
  }
  assertEquals(log.sliceBytes(2, sum(2, 3)).entries.length, 2);
  assertEquals(log.sliceBytes(2, sum(2, 3) - 1).entries.length, 1);
  assertEquals(log.sliceBytes(2, Infinity), { entries: entries.slice(1), bytes: sum(2, 6) });
  assertEquals(log.sliceBytes(7, 100), { entries: [], bytes: 0 });
});

Deno.test("Log.isUpToDate() compares the last terms, then the last indexes (paper 5.4.1)", () => {
  const log = new Log(entries); // ends with index 6, term 5
  const rows: [number, number, boolean][] = [ // index, term
    [5, 6, true],
    [6, 6, true],
    [7, 6, true],
    [5, 4, false],
    [6, 4, false],
    [7, 4, false],
    [5, 5, false],
    [6, 5, true],
    [7, 5, true],
  ];
  for (const [index, term, expected] of rows) {
    assertEquals(log.isUpToDate({ index, term }), expected, `${index}/${term}`);
  }
  assert(new Log().isUpToDate({ index: 0, term: 0 }));
});

Deno.test("Log.lastIndexWithTermAtMost() agrees with a plain search, for every log, term and index", () => {
  for (const terms of [[], [1], [1, 1, 3, 3, 5], [2, 2, 2, 2], [1, 2, 3, 4, 5, 6, 7], [3, 3, 9]]) {
    const log = new Log(logOf(3, terms));
    for (let term = 0; term <= 10; term++) {
      for (let index = 0; index <= terms.length + 4; index++) {
        let expected = Math.min(index, log.lastIndex);
        while (log.termAt(expected) > term) expected--;
        assertEquals(log.lastIndexWithTermAtMost(term, index), expected, `${terms}: ${term}, ${index}`);
      }
    }
  }
});

Deno.test("Log.truncateFrom() falls back to the configuration before, the newest is in force (thesis 4.1)", () => {
  const log = new Log(entries);
  const command = configurationOfSize(4);
  log.append(makeEntry({ index: 7, term: 5, kind: "configuration", command, prevCrc: entries[5]!.crc }));
  assertEquals([log.configurationIndex, log.configuration.members.length], [7, 4]);
  log.truncateFrom(7);
  assertEquals([log.configurationIndex, log.configuration.members.length], [1, 3]);
  log.truncateFrom(1);
  assertEquals([log.configurationIndex, log.configuration.members.length], [0, 0]);
});

Deno.test("makeEntry() writes one line that decodeEntry() reads back whole", () => {
  const commands: unknown[] = [
    null,
    0,
    "",
    'ä€\u2028😀\n"\\',
    { op: "put", key: "k", value: "" },
    [1, [2]],
    true,
  ];
  let prevCrc = 0;
  for (const [i, command] of commands.entries()) {
    const entry = makeEntry({ index: i + 1, term: i, kind: "command", command, prevCrc });
    assertEquals(entry.line.filter((byte) => byte === 10).length, 1);
    assertEquals(entry.line.at(-1), 10);
    assertEquals(decodeEntry(entry.line), entry);
    prevCrc = entry.crc;
  }
});

Deno.test("decodeEntry() finds every changed bit of a line", () => {
  const { line } = entries[3]!;
  for (let at = 0; at < line.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const damaged = line.slice();
      damaged[at]! ^= 1 << bit;
      // The first bytes are the frame around the checksum: JSON finds what the checksum does not cover.
      assertEquals(typeof decodeEntry(damaged), "string", `byte ${at}, bit ${bit}`);
    }
  }
});

Deno.test("decodeEntry() finds every line that was cut short or has more behind it", () => {
  const { line } = entries[3]!;
  for (let length = 0; length < line.length; length++) {
    assertEquals(isSealed(line.subarray(0, length)), false, `${length} bytes`);
  }
  assertEquals(typeof decodeEntry(new Uint8Array([...line, 10])), "string");
});

Deno.test("configurationOf() reads a configuration entry, and nothing else", () => {
  assertEquals(configurationOf(entries[0]!), configurationOfSize(3));
  assertThrows(() => configurationOf(entries[1]!), AssertionFailed);
});

Deno.test("newProgress() assumes that the follower has everything, and asks", () => {
  const progress = newProgress(7, 3);
  assertEquals([progress.mode, progress.matchIndex, progress.nextIndex, progress.probeSent], [
    "probe",
    0,
    8,
    false,
  ]);
  assertEquals(progress.lastContactTick, 3);
});

Deno.test("acknowledge() moves matchIndex and nextIndex forward only", () => {
  const progress = newProgress(5, 0);
  acknowledge(progress, 5);
  assertEquals([progress.mode, progress.matchIndex, progress.nextIndex], ["replicate", 5, 6]);
  acknowledge(progress, 3);
  assertEquals([progress.mode, progress.matchIndex, progress.nextIndex], ["replicate", 5, 6]);
  acknowledge(progress, 9);
  assertEquals([progress.matchIndex, progress.nextIndex], [9, 10]);
});

Deno.test("acknowledge() ends a probe only with the answer to its question", () => {
  const progress = newProgress(9, 0);
  progress.probeSent = true;
  acknowledge(progress, 4); // an answer from before the question
  assertEquals([progress.mode, progress.matchIndex, progress.nextIndex, progress.probeSent], [
    "probe",
    4,
    10,
    true,
  ]);
  acknowledge(progress, 9);
  assertEquals([progress.mode, progress.matchIndex, progress.probeSent], ["replicate", 9, false]);
});

Deno.test("recordSent() counts what is under way until acknowledge() or becomeProbe() takes it back", () => {
  const progress = newProgress(0, 0);
  acknowledge(progress, 0);
  for (const [lastIndex, bytes] of [[2, 100], [5, 300], [6, 50]] as const) {
    recordSent(progress, lastIndex, bytes);
  }
  assertEquals([progress.inflightBytes, progress.nextIndex], [450, 7]);
  acknowledge(progress, 1);
  assertEquals(progress.inflightBytes, 450, "a part of the first message");
  acknowledge(progress, 5);
  assertEquals([progress.inflightBytes, progress.inflight.length], [50, 1]);
  assertThrows(() => recordSent(progress, 6, 50), AssertionFailed);
  becomeProbe(progress, 1);
  assertEquals([progress.mode, progress.nextIndex, progress.inflightBytes], ["probe", 6, 0]);
  assertEquals(progress.inflight, []);
});

Deno.test("recordSent() does not move nextIndex while the logs' common end is unknown", () => {
  const progress = newProgress(4, 0);
  recordSent(progress, 8, 100);
  const { mode, nextIndex, probeSent, inflightBytes } = progress;
  assertEquals([mode, nextIndex, probeSent, inflightBytes], ["probe", 5, true, 0]);
});

Deno.test("Log.compactTo() cuts in front; term and checksum of the last entry cut off stay known (paper 7)", () => {
  const log = new Log(entries);
  log.compactTo(4);
  log.compactTo(2); // which is gone already
  const { index, term, crc } = log.base;
  assertEquals({ index, term, crc }, { index: 4, term: 3, crc: entries[3]!.crc });
  assertEquals([log.at(4), log.at(5), log.lastIndex, log.termAt(4)], [undefined, entries[4], 6, 3]);
  assertEquals(log.slice(5, 9), entries.slice(4));
  assertEquals([1, 2, 3, 5].map((term) => log.lastIndexWithTermAtMost(term, 6)), [3, 3, 5, 6]);
  assertEquals(log.lastIndexWithTermAtMost(5, 2), 2, "below the base: somewhere in the snapshot");
  for (const wrong of [() => log.termAt(3), () => log.slice(4, 5), () => log.truncateFrom(4)]) {
    assertThrows(wrong, AssertionFailed);
  }
  assertThrows(() => log.compactTo(7), AssertionFailed);
  log.compactTo(6);
  assertEquals([log.lastIndex, log.lastTerm, log.crcAt(6)], [6, 5, entries[5]!.crc]);
  log.append(makeEntry({ index: 7, term: 5, kind: "noop", command: null, prevCrc: entries[5]!.crc }));
});

Deno.test("Log.snapshotAt() finds the configuration across the base, also when the log is cut behind it (thesis 4.1)", () => {
  const log = new Log();
  for (let index = 1, prevCrc = 0; index <= 6; index++) { // configurations of 3, 4 and 5 members at 1, 3 and 6
    const size = { 1: 3, 3: 4, 6: 5 }[index];
    const kind = size === undefined ? "command" : "configuration";
    const entry = makeEntry({
      index,
      term: 0,
      kind,
      command: size ? configurationOfSize(size) : "x",
      prevCrc,
    });
    log.append(entry);
    prevCrc = entry.crc;
  }
  const sizeAt = (index: number) => log.snapshotAt(index).configuration.members.length;
  assertEquals([1, 2, 3, 5, 6].map(sizeAt), [3, 3, 4, 4, 5]);
  log.compactTo(4);
  assertEquals([log.configurationIndex, log.base.configurationIndex], [6, 3]);
  assertEquals([4, 5, 6].map(sizeAt), [4, 4, 5]);
  log.truncateFrom(6);
  assertEquals([log.configurationIndex, log.configuration], [3, configurationOfSize(4)]);
  const again = new Log(log.slice(5, 5), baseOf(log.snapshotAt(4)));
  assertEquals([again.base, again.lastIndex, again.configurationIndex], [log.base, 5, 3]);
  log.restore(new Log(entries).snapshotAt(2));
  assertEquals([log.lastIndex, log.configurationIndex, log.at(5)], [2, 1, undefined]);
  log.append(entries[2]!);
});

Deno.test("becomeSnapshot() ends with an acknowledgement of all that it holds (paper 7)", () => {
  const progress = newProgress(9, 0);
  becomeSnapshot(progress, new Log(entries).snapshotAt(5), 0);
  acknowledge(progress, 4);
  assertEquals([progress.mode, progress.nextIndex, progress.matchIndex], ["snapshot", 6, 4]);
  acknowledge(progress, 5);
  assertEquals([progress.mode, progress.nextIndex, progress.transfer], ["replicate", 6, null]);
});

Deno.test("quorumSize() is more than half", () => {
  const sizes = [1, 2, 3, 4, 5, 6, 7].map((size) => quorumSize(configurationOfSize(size)));
  assertEquals(sizes, [1, 2, 2, 3, 3, 4, 4]);
});

Deno.test("reachedByQuorum() is the value that a majority has reached", () => {
  const rows: [number[], number][] = [
    [[4], 4],
    [[4, 2], 2],
    [[2, 10, 9], 9], // as numbers, not as texts
    [[5, 5, 0], 5],
    [[1, 2, 3, 4], 2],
    [[9, 0, 7, 0, 8], 7],
    [[0, 0, 0, 9, 9], 0],
  ];
  for (const [values, expected] of rows) {
    const configuration = configurationOfSize(values.length);
    assertEquals(reachedByQuorum(configuration, (id) => values[id - 1]!), expected, `${values}`);
  }
});

Deno.test("tally() is decided when the rest can change nothing", () => {
  const vote = (size: number, text: string): string => {
    const configuration: Configuration = configurationOfSize(size);
    return tally(configuration, new Map([...text].map((c, i) => [i + 1, c === "y"] as const)));
  };
  const rows: [number, string, string][] = [
    [1, "", "open"],
    [1, "y", "won"],
    [2, "y", "open"],
    [2, "yn", "lost"],
    [3, "yy", "won"],
    [3, "yn", "open"],
    [3, "ynn", "lost"],
    [4, "yy", "open"],
    [4, "yynn", "lost"],
    [5, "yynn", "open"],
    [5, "yynny", "won"],
    [3, "ynyyyy", "won"],
    [3, "ynnyyy", "lost"], // who is no member does not count
  ];
  for (const [size, votes, expected] of rows) assertEquals(vote(size, votes), expected, `${size}: ${votes}`);
});
