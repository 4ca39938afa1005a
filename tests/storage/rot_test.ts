/**
 * Single bits that flip anywhere in a folder, found by recovery alone. With KVAPP_BIT_FLIPS=all each bit of the log is
 * tried, which takes about a minute; otherwise one bit of every seventh byte.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Disk } from "../../lib/io/io.ts";
import type { Entry } from "../../lib/raft/types.ts";
import { snapshotName } from "../../lib/storage/snapshot_files.ts";
import { type Recovered, Storage } from "../../lib/storage/storage.ts";
import { entriesAfter, Folder, identity, inTerm, lines, logName, open, stateName, write } from "./folder.ts";
import { metadataAt, snapshotAt, stateLines } from "./snapshots.ts";

const everyBit = [0, 1, 2, 3, 4, 5, 6, 7];
const isThorough = Deno.env.get("KVAPP_BIT_FLIPS") === "all";

/** Which bits of a byte are flipped, one at a time. */
function bitsOf(byte: number): number[] {
  return isThorough ? everyBit : byte % 7 === 0 ? [byte % 8] : [];
}

/** What a node left behind. */
interface Left {
  files: Map<string, Uint8Array>;
  entries: Entry[];
}

function leave(
  { batches, segmentBytesMax, cleanStop = false }: {
    batches: number[];
    segmentBytesMax: number;
    cleanStop?: boolean;
  },
): Left {
  const folder = new Folder();
  const { storage } = open(folder, { segmentBytesMax });
  const entries: Entry[] = [];
  for (const count of batches) {
    const batch = entriesAfter(entries.at(-1) ?? null, { count, term: 1, size: 1 });
    folder.do((done) => storage.append([write(batch, { ...inTerm(1, 2), admittedIndex: 1 })], done));
    entries.push(...batch);
  }
  if (cleanStop) folder.do((done) => storage.close(done));
  return { files: new Map(folder.disk.list().map((name) => [name, folder.disk.read(name)!])), entries };
}

/** Recovers the files themselves again and again, without a copy: they may change in between. */
function recoveryOf({ files }: Left): () => Recovered {
  const changed = (): never => {
    throw new Error("recovery changes nothing");
  };
  const disk: Disk = {
    list: () => [...files.keys()].sort(),
    read: (name) => files.get(name) ?? null,
    readRange: (name, offset, length) => files.get(name)!.subarray(offset, offset + length),
    append: changed,
    replace: changed,
    truncate: changed,
    remove: changed,
  };
  return () => new Storage(disk).recover(identity.nodeId);
}

/** Flips bits of a file, one at a time. */
function* flipsIn(
  bytes: Uint8Array,
  bitsOf: (byte: number) => number[],
): Generator<{ byte: number; bit: number }> {
  for (let byte = 0; byte < bytes.length; byte++) {
    for (const bit of bitsOf(byte)) {
      bytes[byte]! ^= 1 << bit;
      yield { byte, bit };
      bytes[byte]! ^= 1 << bit;
    }
  }
}

/** A line of the log, and what hangs on it. */
interface Line {
  start: number;
  end: number;
  /** Entries before it. */
  good: number;
  /** Something behind it says that the entry after those was durable. */
  isVouched: boolean;
}

/** The lines of all segments, by name. */
function linesOf({ files }: Left): Map<string, Line[]> {
  const found = new Map<string, Line[]>();
  const vouchers: { line: Line; index: number }[] = [];
  let good = 0;
  for (const name of [...files.keys()].sort().filter((name) => name.startsWith("log/"))) {
    const all: Line[] = [];
    found.set(name, all);
    const bytes = files.get(name)!;
    for (let start = 0, end = 0; start < bytes.length; start = end) {
      end = bytes.indexOf(10, start) + 1;
      const fields = JSON.parse(new TextDecoder().decode(bytes.subarray(start, end)));
      const line: Line = { start, end, good, isVouched: false };
      all.push(line);
      if (fields.index !== undefined) good = fields.index;
      // A header that is flipped vouches still, by the name of its file.
      const index = fields.synced ?? fields.firstIndex - 1;
      if (index > 0) vouchers.push({ line, index });
    }
  }
  const every = [...found.values()].flat();
  for (const [at, line] of every.entries()) {
    line.isVouched = vouchers.some((one) => one.index > line.good && every.indexOf(one.line) > at);
  }
  return found;
}

/** Flips bits all over the log of a folder, whose newest snapshot is that of the entry `base`, and counts. */
function checkLog(
  left: Left,
  { base = 0, bits = bitsOf }: { base?: number; bits?: (byte: number) => number[] } = {},
): { flips: number; damages: number } {
  const counts = { flips: 0, damages: 0 };
  const recover = recoveryOf(left);
  for (const [name, all] of linesOf(left)) {
    const bytes = left.files.get(name)!;
    let at = 0;
    for (const { byte, bit } of flipsIn(bytes, bits)) {
      while (byte >= all[at]!.end) at++;
      const { good, isVouched } = all[at]!;
      const { entries, damage, snapshot } = recover();
      const where = `${name} byte ${byte} bit ${bit}, entry ${good + 1}: ${damage}`;
      counts.flips++;
      if (damage !== null) counts.damages++;
      // What is at or below the snapshot's entry is not needed; a bad line behind it ends the log.
      const isNeeded = good >= base;
      const last = isNeeded ? good : left.entries.length;
      assertEquals(damage !== null, isNeeded && isVouched, where);
      assertEquals([snapshot?.lastIncludedIndex ?? 0, entries.length], [base, last - base], where);
      assertEquals(entries.at(-1)?.crc, last === base ? undefined : left.entries[last - 1]?.crc, where);
    }
  }
  return counts;
}

/** 200 entries in 50 batches. */
const large = {
  batches: Array.from({ length: 50 }, (_, i) => [1, 7, 3, 5, 4][i % 5]!),
  segmentBytesMax: 4000,
};

Deno.test("recover() never serves a flipped bit of a log of 200 entries, nor forgets a vouched entry for it", () => {
  const left = leave(large);
  assertEquals([left.entries.length, linesOf(left).size > 5], [200, true]);
  const { flips, damages } = checkLog(left);
  assert(damages > flips * 0.8 && damages < flips);
});

Deno.test("recover() finds any flipped bit of a log in many small segments", () => {
  const left = leave({ batches: [2, 1, 3, 1, 2, 3, 2, 2], segmentBytesMax: 600 });
  assert(linesOf(left).size >= 4);
  const { flips, damages } = checkLog(left, { bits: () => everyBit });
  assert(damages > flips * 0.7 && damages < flips);
});

Deno.test("recover() loses nothing to a flipped bit at or below the newest snapshot, and finds those behind it", () => {
  for (const base of [1, 5, 6, 7, 8, 11, 14, 16]) {
    const left = leave({ batches: [2, 1, 3, 1, 2, 3, 2, 2], segmentBytesMax: 600 });
    left.files.set(snapshotName(base), snapshotAt(left.entries, base, { lines: [] }));
    checkLog(left, { base, bits: base === 8 ? () => everyBit : bitsOf });
  }
  const left = leave(large);
  left.files.set(snapshotName(120), snapshotAt(left.entries, 120));
  const { flips, damages } = checkLog(left, {
    base: 120,
    bits: (byte) => isThorough || byte % 3 === 0 ? bitsOf(byte) : [],
  });
  assert(damages > flips * 0.3 && damages < flips * 0.5);
});

Deno.test("recover() finds any flipped bit of the state file, and keeps the log", () => {
  const left = leave({ batches: [2], segmentBytesMax: 4000, cleanStop: true });
  const recover = recoveryOf(left);
  const state = left.files.get(stateName)!;
  for (const { byte, bit } of flipsIn(state, () => everyBit)) {
    const { damage, entries, hardState, identity: found } = recover();
    const where = `byte ${byte} bit ${bit}`;
    assert(damage !== null, where);
    assertStringIncludes(damage, "state.json is damaged", where);
    assertEquals(lines(entries), lines(left.entries), where);
    assertEquals([hardState, found?.incarnation], [inTerm(1), ""], where);
  }
  assertEquals(recover().damage, null, "each bit was put back");
});

Deno.test("recover() takes no snapshot with any flipped bit, and loses nothing when the older one has the log behind it", () => {
  const left = leave({ batches: [3, 3, 3], segmentBytesMax: 600, cleanStop: true });
  const bytes = snapshotAt(left.entries, 8, { lines: stateLines(5) });
  const older = snapshotName(4);
  left.files.set(older, snapshotAt(left.entries, 4)).set(snapshotName(8), bytes);
  left.files.delete(logName); // compacted up to the older one
  const recover = recoveryOf(left);
  assertEquals(recover().snapshot, metadataAt(left.entries, 8));
  for (const { byte, bit } of flipsIn(bytes, () => everyBit)) {
    const { damage, snapshot, entries } = recover();
    assertEquals([damage, snapshot?.lastIncludedIndex], [null, 4], `byte ${byte} bit ${bit}`);
    assertEquals(lines(entries), lines(left.entries.slice(4)));
  }
  left.files.delete(older);
  for (const { byte, bit } of flipsIn(bytes, (byte) => byte % 5 === 0 ? everyBit : [])) {
    const { damage, snapshot, entries } = recover();
    assert(damage !== null, `byte ${byte} bit ${bit}`);
    assertEquals([snapshot, entries], [null, []]);
  }
});

Deno.test("recover() cuts a torn tail behind a snapshot at every byte of the last three entries, and zeros", () => {
  for (const base of [4, 5, 6, 7]) {
    const left = leave({ batches: [4, 3], segmentBytesMax: 4000 });
    left.files.set(snapshotName(base), snapshotAt(left.entries, base));
    const recover = recoveryOf(left);
    const log = left.files.get(logName)!;
    const all = linesOf(left).get(logName)!;
    const [first] = all.slice(-3);
    for (let size = first!.start; size < log.length; size++) {
      const good = all.findLast(({ start }) => start <= size)!.good;
      for (const torn of [log.subarray(0, size), log.slice().fill(0, size)]) {
        left.files.set(logName, torn);
        const { damage, snapshot, entries } = recover();
        assertEquals([damage, snapshot?.lastIncludedIndex], [null, base]);
        assertEquals(lines(entries), lines(left.entries.slice(base, Math.max(base, good))), `byte ${size}`);
      }
    }
  }
});
