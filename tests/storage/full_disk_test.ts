/**
 * A disk without room at any step of a batch: when the same writes are given again, what is left is what would be there
 * had there been room all the time, byte for byte.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { DiskFull } from "../../lib/io/io.ts";
import type { Entry, Write } from "../../lib/raft/types.ts";
import { Storage } from "../../lib/storage/storage.ts";
import {
  entriesAfter,
  Folder,
  identity,
  inTerm as unadmitted,
  lines,
  logName,
  open,
  stateName,
  write,
} from "./folder.ts";
import { type Files, needsRoom, RecordingDisk } from "./recording_disk.ts";
import { chunkWrites, install, metadataAt, snapshotAt, stateLines } from "./snapshots.ts";
import { options } from "./story.ts";

const inTerm = (currentTerm: number) => ({ currentTerm, votedFor: 2, admittedIndex: 1 });

/** Batches of every kind: what a node gave to its storage, each with one fsync for all. */
function batches(): Write[][] {
  const first = entriesAfter(null, { count: 3, term: 1, size: 200 });
  const second = entriesAfter(first[2]!, { count: 4, term: 1, size: 200 }); // in a new segment
  const instead = entriesAfter(first[1]!, { count: 2, term: 2, size: 200 }); // cuts over a boundary
  const more = entriesAfter(instead[1]!, { count: 1, term: 2, size: 200 });
  // Waits behind the others when a conflict comes that cuts below all of it.
  const waiting = entriesAfter(more[0]!, { count: 2, term: 2, size: 200 });
  const again = entriesAfter(instead[0]!, { count: 3, term: 3, size: 200 });
  const theirs = [
    ...first.slice(0, 2),
    instead[0]!,
    ...again,
    ...entriesAfter(again[2]!, { count: 13, term: 3, size: 200 }),
  ];
  const metadata = metadataAt(theirs, 15);
  const chunks = chunkWrites(snapshotAt(theirs, 15, { lines: stateLines(20) }), metadata, 300);
  return [
    [write(first, inTerm(1))],
    [write(second)],
    [write(instead, inTerm(2))],
    [write(more), write([], { ...inTerm(2), votedFor: 2 })],
    [write(waiting), write(again, inTerm(3))],
    chunks.slice(0, 2),
    [...chunks.slice(2), write([], inTerm(4))],
    [install(metadata, theirs.slice(15, 18))],
    [write(theirs.slice(18)), write(entriesAfter(theirs[18]!, { count: 1, term: 5 }), inTerm(5))],
  ];
}

/** A node that has written the first batches. */
function after(done: Write[][]): { recording: RecordingDisk; storage: Storage } {
  const recording = new RecordingDisk(new Map());
  const storage = new Storage(recording.disk, options);
  storage.recover(identity.nodeId);
  recording.do((done) => storage.open(identity, done));
  for (const writes of done) recording.do((done) => storage.append(writes, done));
  return { recording, storage };
}

function filesAfter(done: Write[][]): [string, Uint8Array][] {
  return sorted(after(done).recording.files);
}

function sorted(files: Files): [string, Uint8Array][] {
  return [...files].sort(([a], [b]) => a < b ? -1 : 1);
}

Deno.test("append() leaves what an undisturbed run leaves, when there was no room at any step and it is called again", () => {
  const all = batches();
  let interruptions = 0;
  for (let at = 0; at < all.length; at++) {
    const [before, writes] = [all.slice(0, at), all[at]!];
    const undisturbed = filesAfter([...before, writes]);
    for (const leavesEmptyFile of [false, true]) {
      for (let call = 0;; call++) {
        const { recording, storage } = after(before);
        const from = recording.calls.length;
        recording.fullAt = { call: from + call, leavesEmptyFile };
        const outcome = recording.finish((done) => storage.append(writes, done));
        const last = recording.calls[from + call];
        if (last === undefined) break; // that many calls there are not
        assertEquals(outcome instanceof DiskFull, needsRoom(last));
        const isSaved = recording.calls.slice(from, from + call).some(({ name }) => name === stateName);
        if (isSaved) {
          assertEquals(storage.hardState.currentTerm, termOf(writes) ?? storage.hardState.currentTerm);
        }
        if (outcome !== null) {
          interruptions++;
          recording.do((done) => storage.append(writes, done));
        }
        const where = `batch ${at}, ${last.kind} ${last.name}`;
        assertEquals(sorted(recording.files), undisturbed, where);
        for (const next of all.slice(at + 1)) recording.do((done) => storage.append(next, done));
        assertEquals(sorted(recording.files), filesAfter(all), where);
      }
    }
  }
  assert(interruptions > 25, `${interruptions} interruptions`);
});

function termOf(writes: Write[]): number | null {
  return writes.findLast(({ hardState }) => hardState !== null)?.hardState?.currentTerm ?? null;
}

Deno.test("append() takes more writes behind those that found no room, conflicts with them included", () => {
  const log = entriesAfter(null, { count: 3, term: 1 });
  const waiting = write(entriesAfter(log[2]!, { count: 2, term: 1 }), inTerm(1));
  const instead = write(entriesAfter(log[1]!, { count: 2, term: 2 }), inTerm(2));
  const { recording, storage } = after([[write(log, inTerm(1))]]);
  for (let i = 0; i < 3; i++) {
    recording.fullAt = { call: recording.calls.length, leavesEmptyFile: false };
    assert(recording.finish((done) => storage.append([waiting], done)) instanceof DiskFull);
    assertEquals(storage.durableIndex, 3);
  }
  recording.do((done) => storage.append([waiting, instead], done));
  const found = new Storage(recording.disk).recover(identity.nodeId);
  assertEquals([found.damage, lines(found.entries)], [null, lines([...log.slice(0, 2), ...instead.entries])]);
});

Deno.test("append() without room leaves a folder that starts, with the term that was saved, at every step", () => {
  const all = batches();
  for (let at = 0; at < all.length; at++) {
    for (let call = 0;; call++) {
      const { recording, storage } = after(all.slice(0, at));
      const from = recording.calls.length;
      recording.fullAt = { call: from + call, leavesEmptyFile: true };
      const outcome = recording.finish((done) => storage.append(all[at]!, done));
      if (recording.calls[from + call] === undefined) break;
      if (outcome === null) continue;
      const found = new Storage(recording.disk, options).recover(identity.nodeId);
      assertEquals([found.damage, found.hardState], [null, storage.hardState], `batch ${at}, call ${call}`);
      const again = new Storage(recording.disk, options);
      again.recover(identity.nodeId);
      recording.do((done) => again.open({ ...identity, starts: 2 }, done));
      const last = found.entries.at(-1) ?? found.snapshot;
      if (last === null || !("line" in last)) continue;
      const next = entriesAfter(last as Entry, { count: 1, term: 9 });
      recording.do((done) => again.append([write(next, inTerm(9))], done));
    }
  }
});

Deno.test("flushMark() and other small operations may be tried again when there was no room", () => {
  const log = entriesAfter(null, { count: 3, term: 1 });
  const { recording, storage } = after([[write(log, inTerm(1))]]);
  const fill = () => recording.fullAt = { call: recording.calls.length, leavesEmptyFile: true };
  const moved = { ...identity, starts: 7 };
  fill();
  assert(recording.finish((done) => storage.flushMark(done)) instanceof DiskFull);
  fill();
  assert(recording.finish((done) => storage.saveIdentity(moved, done)) instanceof DiskFull);
  const bytes = snapshotAt(log, 2);
  fill();
  assert(recording.finish((done) => storage.snapshots.write(2, 0, bytes, done)) instanceof DiskFull);
  assertEquals(storage.snapshots.size(2), 0);
  const before = recording.files.get(logName);
  recording.do((done) => storage.saveIdentity(moved, done));
  recording.do((done) => storage.snapshots.write(2, 0, bytes, done));
  recording.do((done) => storage.flushMark(done));
  assertEquals(recording.files.get(logName), before);
  const found = new Storage(recording.disk).recover(identity.nodeId);
  assertEquals([found.identity, found.snapshot], [moved, metadataAt(log, 2)]);
});

/** A folder with a log of three entries and these bytes behind it, of which `vouched` entries may not be lost. */
function withTail(tail: Uint8Array, { vouched = 0 } = {}): { folder: Folder; kept: string } {
  const folder = new Folder();
  const { storage } = open(folder);
  const log = entriesAfter(null, { count: 3, term: 1 });
  folder.do((done) => storage.append([write(log, unadmitted(1))], done));
  if (vouched > 0) folder.do((done) => storage.flushMark(done));
  const bytes = folder.disk.read(logName)!;
  if (vouched > 0) bytes[bytes.length - 20]! ^= 1;
  folder.put(logName, bytes);
  folder.do((done) => folder.disk.append(logName, tail, done));
  folder.operations = [];
  return { folder, kept: lines(vouched > 0 ? log.slice(0, 2) : log) };
}

Deno.test("open() needs no room for a torn tail, of any size: on a full disk it is not saved aside", () => {
  for (const size of [30, 40_000]) {
    const { folder, kept } = withTail(new Uint8Array(size).fill(120));
    folder.fake.full = true;
    const { found } = open(folder);
    assertEquals([found.damage, lines(found.entries)], [null, kept]);
    const torn = folder.disk.list().filter((name) => name.startsWith("torn/"));
    assertEquals(torn, [], "the reserve is the state file's");
    folder.fake.full = false;
    assertEquals(lines(open(folder).found.entries), kept, "the tail is cut");
  }
});

Deno.test("open() does not cut what was damaged before it is saved aside, and takes nothing of the reserve for it", () => {
  const { folder, kept } = withTail(new Uint8Array(), { vouched: 3 });
  folder.fake.full = true;
  const storage = new Storage(folder.disk);
  const { damage } = storage.recover(identity.nodeId);
  assert(damage !== null);
  const before = folder.disk.read(logName);
  const outcome = folder.finish((done) => storage.open({ ...identity, incarnation: "1".repeat(16) }, done));
  assert(outcome instanceof DiskFull);
  assertEquals(folder.disk.read(logName), before);
  assertEquals(folder.operations.filter((operation) => /^replace (torn|damaged)/.test(operation)), []);
  folder.fake.full = false;
  assertEquals(lines(open(folder).found.entries), kept);
});

Deno.test("open() keeps the newest files in torn/ and damaged/ when another one comes, and leaves them else", () => {
  for (const [aside, vouched] of [["torn", 0], ["damaged", 3]] as const) {
    const { folder } = withTail(new Uint8Array(30).fill(120), { vouched });
    for (let start = 10; start < 40; start++) {
      folder.put(`${aside}/start-${start}-log-1-byte-0`, new Uint8Array(start));
    }
    const state = new TextDecoder().decode(folder.disk.read(stateName)!);
    const starts = Number(/"starts":(\d+)/.exec(state)![1]) + 1;
    const saved = () => folder.disk.list().filter((name) => name.startsWith(`${aside}/`));
    open(folder);
    const kept = Array.from({ length: 15 }, (_, i) => `${aside}/start-${25 + i}-log-1-byte-0`);
    const [own, ...others] = saved().sort((a, b) => Number(a.split("-")[1]) - Number(b.split("-")[1]));
    assert(own!.startsWith(`${aside}/start-${starts}-log-1-byte-`), own);
    assertEquals(others, kept);
    open(folder);
    assertEquals(saved().length, 16, "nothing came");
  }
});
