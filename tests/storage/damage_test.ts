/**
 * What a start does with a folder that has lost something: the new identity is durable first, then what is not part of
 * the log any more is saved aside and cut.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { sealLine } from "../../lib/raft/entry.ts";
import type { Entry } from "../../lib/raft/types.ts";
import { segmentName } from "../../lib/storage/formats.ts";
import {
  entriesAfter,
  Folder,
  identity,
  inTerm,
  lines,
  logName,
  newIncarnation,
  open,
  recover,
  stateName,
  write,
} from "./folder.ts";
import { putSnapshots } from "./snapshots.ts";

const admitted = { currentTerm: 1, votedFor: 2, admittedIndex: 1 };

/** An admitted node that stopped cleanly with these batches in its log. */
function stopped(batches: number[], segmentBytesMax = 1 << 20): { folder: Folder; entries: Entry[] } {
  const folder = new Folder();
  const { storage } = open(folder, { segmentBytesMax });
  const entries: Entry[] = [];
  for (const count of batches) {
    const batch = entriesAfter(entries.at(-1) ?? null, { count, term: 1 });
    folder.do((done) => storage.append([write(batch, admitted)], done));
    entries.push(...batch);
  }
  folder.do((done) => storage.close(done));
  return { folder, entries };
}

function logNames(folder: Folder): string[] {
  return folder.disk.list().filter((name) => name.startsWith("log/"));
}

/** As after a crash: the state file vouches for nothing of the log. */
function forgetMark(folder: Folder): void {
  const fields = new TextDecoder().decode(folder.disk.read(stateName)!.subarray(17));
  const forgotten = fields.replace(/"synced":\d+,"at":"\w+"/, `"synced":0,"at":"00000000"`);
  folder.put(stateName, sealLine(forgotten.trimEnd().slice(1)));
}

/** Where an entry stands in a file. */
function startOf(bytes: Uint8Array, { line }: Entry): number {
  for (let at = 0;; at++) if (line.every((byte, i) => bytes[at + i] === byte)) return at;
}

/** Flips a bit in the middle of an entry. */
function rot(folder: Folder, name: string, entry: Entry): { bytes: Uint8Array; start: number } {
  const bytes = folder.disk.read(name)!;
  const start = startOf(bytes, entry);
  bytes[start + 40]! ^= 4;
  folder.put(name, bytes);
  return { bytes, start };
}

/** Checks that a damaged folder was opened in the right order, and that it works again. */
function opensTo(
  folder: Folder,
  kept: Entry[],
  options: { segmentBytesMax?: number; before?: Entry | null } = {},
): void {
  folder.operations = [];
  const { storage, found } = open(folder, options);
  assert(found.damage !== null);
  assertEquals(lines(found.entries), lines(kept));
  assertEquals(
    folder.operations.find((operation) => !operation.includes(" snapshots/")),
    `replace ${stateName}`,
    "nothing is touched before the new identity is there",
  );
  const firstCut = folder.operations.findIndex((operation) => /^(truncate|remove) log/.test(operation));
  const lastSaved = folder.operations.findLastIndex((operation) => operation.startsWith("append damaged/"));
  assert(lastSaved > 0 && lastSaved < firstCut, folder.operations.join(", "));
  const next = entriesAfter(kept.at(-1) ?? options.before ?? null, { count: 2, term: 1, size: 77 });
  folder.do((done) => storage.append([write(next)], done));
  folder.do((done) => storage.close(done));
  const again = open(folder, options);
  assertEquals([again.found.damage, lines(again.found.entries)], [null, lines([...kept, ...next])]);
  const { incarnation } = again.found.identity!;
  assertEquals([incarnation, again.found.hardState], [newIncarnation, { ...admitted, admittedIndex: 0 }]);
}

function savedAside(folder: Folder): Map<string, Uint8Array> {
  const names = folder.disk.list().filter((name) => /^(torn|damaged)\//.test(name));
  return new Map(names.map((name) => [name, folder.disk.read(name)!]));
}

Deno.test("open() of a damaged folder keeps term, vote and the good part, and saves the rest aside", () => {
  const { folder, entries } = stopped([2, 2, 2]);
  const { bytes, start } = rot(folder, logName, entries[2]!);
  opensTo(folder, entries.slice(0, 2));
  assertEquals([...savedAside(folder)], [[`damaged/start-2-log-1-byte-${start}`, bytes.subarray(start)]]);
});

Deno.test("open() saves and removes the segments behind the damage", () => {
  const options = { segmentBytesMax: 400 };
  const { folder, entries } = stopped([2, 2, 2, 2], options.segmentBytesMax);
  const names = logNames(folder);
  assertEquals(names.length, 4);
  const { bytes, start } = rot(folder, names[1]!, entries[3]!);
  const later = names.slice(2).map((name) => folder.disk.read(name)!);
  opensTo(folder, entries.slice(0, 3), options);
  assertEquals([...savedAside(folder)], [
    [`damaged/start-2-log-3-byte-${start}`, bytes.subarray(start)],
    ["damaged/start-2-log-5-byte-0", later[0]!],
    ["damaged/start-2-log-7-byte-0", later[1]!],
  ]);
});

Deno.test("open() cuts where a mark names another entry, not where that mark stands", () => {
  const { folder, entries } = stopped([3]);
  const bytes = folder.disk.read(logName)!;
  const mark = sealLine(`"synced":2,"at":"01234567"}`);
  const next = entriesAfter(entries[2]!, { count: 1, term: 1 })[0]!;
  folder.put(logName, new Uint8Array([...bytes, ...mark, ...next.line]));
  opensTo(folder, entries.slice(0, 1));
  const start = startOf(bytes, entries[1]!);
  const cut = new Uint8Array([...bytes.subarray(start), ...mark, ...next.line]);
  assertEquals([...savedAside(folder)], [[`damaged/start-2-log-1-byte-${start}`, cut]]);
});

Deno.test("open() cuts where the header of a later segment names another entry", () => {
  const options = { segmentBytesMax: 400 };
  const { folder, entries } = stopped([2, 2, 2], options.segmentBytesMax);
  const names = logNames(folder);
  const [, second, third] = names.map((name) => folder.disk.read(name)!);
  const text = new TextDecoder().decode(third!.subarray(18, third!.indexOf(10)));
  const crc = entries[3]!.crc.toString(16).padStart(8, "0");
  const other = [...sealLine(text.replace(crc, "01234567")), ...third!.subarray(third!.indexOf(10) + 1)];
  folder.put(names[2]!, new Uint8Array(other));
  opensTo(folder, entries.slice(0, 3), options);
  const start = startOf(second!, entries[3]!);
  assertEquals([...savedAside(folder)], [
    [`damaged/start-2-log-3-byte-${start}`, second!.subarray(start)],
    ["damaged/start-2-log-5-byte-0", new Uint8Array(other)],
  ]);
});

Deno.test("open() with an unreadable state file keeps the log and nothing else", () => {
  const { folder, entries } = stopped([2, 2]);
  const state = folder.disk.read(stateName)!;
  state[50]! ^= 1;
  folder.put(stateName, state);
  folder.operations = [];
  const found = recover(folder);
  assert(!(found instanceof Error) && found.damage !== null);
  assertEquals(found.hardState, inTerm(1), "the vote is lost, the term only what the log tells");
  open(folder);
  const again = open(folder);
  assertEquals([again.found.damage, lines(again.found.entries)], [null, lines(entries)]);
  assertEquals(again.found.identity, { ...identity, incarnation: newIncarnation, starts: 2 - 1 });
  assertEquals(savedAside(folder).size, 0, "there is nothing to save");
});

Deno.test("open() finds segments that stand in each other's place, with and without a snapshot, also right after a crash", () => {
  const options = { segmentBytesMax: 400 };
  for (const snapshot of [0, 3]) {
    for (const [one, other] of [[0, 2], [0, 1], [1, 2]]) {
      for (const isClean of [true, false]) {
        const { folder, entries } = stopped([2, 2, 1], options.segmentBytesMax);
        if (snapshot > 0) putSnapshots(folder, entries, snapshot);
        const names = logNames(folder);
        const [a, b] = [folder.disk.read(names[one!]!)!, folder.disk.read(names[other!]!)!];
        folder.put(names[one!]!, b);
        folder.put(names[other!]!, a);
        if (!isClean) forgetMark(folder);
        // With a snapshot of entry 3 the first segment is needless, whatever stands in its place.
        const isNeedless = snapshot === 3 && one === 0 && other === 2;
        const kept = isNeedless ? 4 : Math.max(snapshot, one === 0 ? 0 : 2);
        opensTo(folder, entries.slice(snapshot, kept), { ...options, before: entries[kept - 1] ?? null });
      }
    }
  }
});

Deno.test("open() loses nothing to segments in each other's place that the snapshot has, and says that they are", () => {
  for (const snapshot of [4, 5]) {
    const { folder, entries } = stopped([2, 2, 2, 1], 400);
    putSnapshots(folder, entries, snapshot);
    const [one, other] = logNames(folder);
    const [a, b] = [folder.disk.read(one!)!, folder.disk.read(other!)!];
    folder.put(one!, b);
    folder.put(other!, a);
    opensTo(folder, entries.slice(snapshot), { segmentBytesMax: 400, before: entries.at(-1)! });
  }
});

Deno.test("open() finds the last segment in the place of a needless one, in whose stead it has nothing", () => {
  const { folder, entries } = stopped([2, 2, 1], 400);
  putSnapshots(folder, entries, 4);
  forgetMark(folder);
  const [, one, other] = logNames(folder);
  const last = folder.disk.read(other!)!;
  folder.put(one!, last);
  folder.put(other!, new Uint8Array());
  const { found } = open(folder);
  assert(found.damage !== null);
  assertEquals(found.entries, []);
  assert(
    [...savedAside(folder).values()].some((bytes) => `${bytes}` === `${last}`),
    "it is kept for a person to look at",
  );
});

Deno.test("open() finds a needless segment in the place of one that is needed, beside an empty one that a cut left", () => {
  const { folder, entries } = stopped([2, 3], 400);
  putSnapshots(folder, entries, 3);
  forgetMark(folder);
  const [one, other] = logNames(folder);
  folder.put(other!, folder.disk.read(one!)!);
  folder.put(segmentName(4), new Uint8Array());
  opensTo(folder, [], { segmentBytesMax: 400, before: entries[2]! });
});

Deno.test("open() finds another file's whole line where the log's last segment should begin", () => {
  const { folder, entries } = stopped([2, 2, 1], 400);
  forgetMark(folder);
  folder.put(logNames(folder)[2]!, folder.disk.read(stateName)!);
  opensTo(folder, entries.slice(0, 4), { segmentBytesMax: 400, before: entries[3]! });
});

Deno.test("open() of segments in each other's place gives up a log that goes another way than the snapshot", () => {
  const common = entriesAfter(null, { count: 2, term: 1 });
  const stale = entriesAfter(common[1]!, { count: 1, term: 1, size: 50 });
  const second = entriesAfter(stale[0]!, { count: 2, term: 1, size: 400 });
  const third = entriesAfter(second[1]!, { count: 2, term: 1, size: 400 });
  const own = entriesAfter(common[1]!, { count: 1, term: 2 });
  const folder = new Folder();
  const options = { segmentBytesMax: 1000 };
  const before = open(folder, options).storage;
  for (const batch of [[...common, ...stale], second, third]) {
    folder.do((done) => before.append([write(batch, { ...admitted, currentTerm: 2 })], done));
  }
  folder.do((done) => before.close(done));
  putSnapshots(folder, [...common, ...own], 3); // it came, and the process was killed before it gave the log up
  const [, one, other] = logNames(folder);
  const [a, b] = [folder.disk.read(one!)!, folder.disk.read(other!)!];
  folder.put(one!, b);
  folder.put(other!, a);
  const { storage, found } = open(folder, options);
  assert(found.damage !== null);
  assertEquals(found.entries, []);
  const next = entriesAfter(own[0]!, { count: 3, term: 2 });
  folder.do((done) => storage.append([write(next)], done));
  folder.do((done) => storage.close(done));
  const again = open(folder, options);
  assertEquals([again.found.damage, lines(again.found.entries)], [null, lines(next)]);
});
