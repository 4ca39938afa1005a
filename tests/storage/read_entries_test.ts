/**
 * Entries that are read from the disk again while the node works are those that were written, or none.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { AssertionFailed } from "../../lib/assert.ts";
import type { Entry } from "../../lib/raft/types.ts";
import { FolderError, type Storage } from "../../lib/storage/storage.ts";
import { Random } from "../sim/random.ts";
import { entriesAfter, Folder, inTerm, lines, logName, open, write } from "./folder.ts";

/** Adds batches of a few entries, now and then in the place of some, as a node does it. */
function addBatches(folder: Folder, storage: Storage, { log, random, count }: {
  log: Entry[];
  random: Random;
  count: number;
}): void {
  for (let i = 0; i < count; i++) {
    const isCut = log.length > 3 && random.chance(0.1);
    if (isCut) log.length -= 1 + random.below(3);
    const term = (log.at(-1)?.term ?? 1) + (isCut ? 1 : 0);
    const batch = entriesAfter(log.at(-1) ?? null, {
      count: 1 + random.below(5),
      term,
      size: random.below(80),
    });
    folder.do((done) => storage.append([write(batch, inTerm(term))], done));
    log.push(...batch);
    if (random.chance(0.1)) folder.do((done) => storage.flushMark(done));
  }
}

/** Whatever is asked for comes: in its order, not too much, and more until all is there. */
function assertReads(storage: Storage, log: readonly Entry[], from: number, random: Random): void {
  for (let i = 0; i < 50; i++) {
    const first = from + random.below(log.length - from + 1);
    const last = first + random.below(log.length - first + 1);
    const bytesMax = random.pick([-1, 0, 1, 200, 1000, 1e9]);
    const entries = storage.readEntries(first, last, bytesMax);
    assertEquals(lines(entries), lines(log.slice(first - 1, first - 1 + entries.length)));
    assert(entries.length >= 1 && first + entries.length - 1 <= last);
    const bytes = entries.reduce((sum, { line }) => sum + line.length, 0);
    assert(entries.length === 1 || bytes <= bytesMax);
  }
  const all: Entry[] = [];
  while (from + all.length <= log.length) {
    all.push(...storage.readEntries(from + all.length, log.length, 1e9));
  }
  assertEquals(lines(all), lines(log.slice(from - 1)));
}

Deno.test("Storage.readEntries() gives what was written, through segments, marks, cuts, starts and what went in front", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Random(`read entries ${seed}`);
    const folder = new Folder(`read entries ${seed}`);
    const options = { segmentBytesMax: random.pick([600, 3000, 1e9]) };
    const log: Entry[] = [];
    let { storage } = open(folder, options);
    for (let life = 0; life < 3; life++) {
      addBatches(folder, storage, { log, random, count: 30 });
      assertReads(storage, log, 1, random);
      folder.crash({ power: random.chance(0.5) });
      storage = open(folder, options).storage;
      assertReads(storage, log, 1, random);
    }
    const from = Math.floor(log.length / 2);
    folder.do((done) => storage.compact(from - 1, done));
    assertReads(storage, log, from, random);
    const sizes = log.slice(from - 1).map(({ index }) => storage.logBytesOf(index));
    assert(sizes.every((size, i) => size >= log[from - 1 + i]!.line.length));
    assertEquals([storage.logBytesOf(0), storage.logBytesOf(log.length + 1)], [0, 0]);
  }
});

Deno.test("Storage.readEntries() of what is not durable yet is a mistake", () => {
  const folder = new Folder();
  const { storage } = open(folder);
  const log = entriesAfter(null, { count: 3, term: 1 });
  folder.do((done) => storage.append([write(log.slice(0, 2), inTerm(1))], done));
  storage.append([write(log.slice(2))], () => {});
  assertThrows(() => storage.readEntries(1, 3, 1e9), AssertionFailed);
  assertEquals(lines(storage.readEntries(1, 2, 1e9)), lines(log.slice(0, 2)));
});

Deno.test("Storage.readEntries() of a damaged file gives nothing of what is wrong, and says what and where it is", () => {
  const folder = new Folder();
  const { storage } = open(folder);
  const log = entriesAfter(null, { count: 9, term: 1, size: 20 });
  folder.do((done) => storage.append([write(log, inTerm(1))], done));
  const whole = folder.disk.read(logName)!;
  const start = whole.length - log.slice(4).reduce((sum, { line }) => sum + line.length, 0);
  const other = [...log.slice(0, 4), log[5]!, log[4]!, ...log.slice(6)].map(({ line }) => line);
  const inOtherOrder = [whole.slice(0, start - 4 * log[0]!.line.length), ...other];
  for (
    const bytes of [
      whole.with(start + 40, whole[start + 40]! ^ 1),
      whole.slice(0, start + 30),
      whole.slice(0, start),
      new Uint8Array(inOtherOrder.flatMap((part) => [...part])),
    ]
  ) {
    folder.put(logName, bytes);
    assertEquals(lines(storage.readEntries(1, 4, 1e9)), lines(log.slice(0, 4)));
    const error = assertThrows(() => storage.readEntries(2, 9, 1e9), FolderError);
    assertStringIncludes(error.message, `${logName} is damaged: byte ${start} is not where entry 5 begins`);
  }
  folder.put(logName, null);
  assertThrows(() => storage.readEntries(1, 1, 1), FolderError);
});
