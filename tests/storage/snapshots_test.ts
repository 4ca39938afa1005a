/**
 * Snapshots beside the log: which one a start takes, how far the log may be cut for them, and how one that another node
 * sent takes the log's place.
 *
 * @module
 */

import { assertEquals, assertStringIncludes } from "@std/assert";
import type { Entry } from "../../lib/raft/types.ts";
import { snapshotName } from "../../lib/storage/snapshot_files.ts";
import { Storage } from "../../lib/storage/storage.ts";
import {
  damaged,
  entriesAfter,
  Folder,
  identity,
  inTerm,
  lines,
  open,
  recover,
  refused,
  stateName,
  write,
} from "./folder.ts";
import {
  chunkWrites,
  install,
  metadataAt,
  putSnapshots,
  reworded,
  snapshotAt,
  stateLines,
} from "./snapshots.ts";

const options = { segmentBytesMax: 600 };

/** A node whose log has these batches, three entries to a segment. */
function withLog(batches: number[]): { folder: Folder; storage: Storage; log: Entry[] } {
  const folder = new Folder();
  const { storage } = open(folder, options);
  const log: Entry[] = [];
  for (const count of batches) {
    const batch = entriesAfter(log.at(-1) ?? null, { count, term: 1 });
    folder.do((done) => storage.append([write(batch, inTerm(1))], done));
    log.push(...batch);
  }
  folder.operations = [];
  return { folder, storage, log };
}

const threes = [3, 3, 3, 3];

function names(folder: Folder, prefix: string): string[] {
  return folder.disk.list().filter((name) => name.startsWith(prefix));
}

function firsts(folder: Folder): number[] {
  return names(folder, "log/").map((name) => Number(name.slice(4, 24)));
}

/** Checks what a folder holds, and that it works again: with one more entry, and with a conflict that cuts to `keep`. */
function holds(folder: Folder, log: readonly Entry[], { base, keep }: { base: number; keep: number }): void {
  const { storage, found } = open(folder, options);
  assertEquals([found.damage, found.snapshot?.lastIncludedIndex ?? 0], [null, base]);
  assertEquals(lines(found.entries), lines(log.slice(base)));
  const next = entriesAfter(log.at(-1)!, { count: 1, term: log.at(-1)!.term, size: 30 });
  folder.do((done) => storage.append([write(next)], done));
  const instead = entriesAfter(log[keep - 1]!, { count: 2, term: 9, size: 50 });
  folder.do((done) => storage.append([write(instead, inTerm(9))], done));
  const again = open(folder, options).found;
  assertEquals([again.damage, lines(again.entries)], [null, lines([...log.slice(base, keep), ...instead])]);
}

Deno.test("recover() takes the newest whole snapshot and the log behind it", () => {
  const { folder, log } = withLog(threes);
  putSnapshots(folder, log, 4, 8);
  const found = recoverAgain(folder);
  assertEquals(found.snapshot, metadataAt(log, 8));
  assertEquals(lines(found.entries), lines(log.slice(8)));
  assertStringIncludes(found.notes.join(), "the snapshot of entry 8 and the log up to entry 12");
  holds(folder, log, { base: 8, keep: 9 });
});

/** What a folder holds now that its node is gone. */
function recoverAgain(folder: Folder) {
  folder.operations = [];
  const found = recover(folder);
  if (found instanceof Error) throw found;
  return found;
}

Deno.test("recover() falls back to the older snapshot, and then to the log, when the newer one is not whole", () => {
  const { folder, log } = withLog(threes);
  const bytes = snapshotAt(log, 8);
  const empty = new Uint8Array();
  for (const bad of [empty, bytes.subarray(0, 1), bytes.subarray(0, -1), new Uint8Array([...bytes, 10])]) {
    putSnapshots(folder, log, 4);
    folder.put(snapshotName(8), bad);
    const found = recoverAgain(folder);
    assertEquals([found.damage, found.snapshot], [null, metadataAt(log, 4)]);
    assertEquals(lines(found.entries), lines(log.slice(4)));
    assertStringIncludes(found.notes.join(), `${snapshotName(8)} is not whole`);
    folder.put(snapshotName(4), empty);
    assertEquals(lines(recoverAgain(folder).entries), lines(log));
  }
  putSnapshots(folder, log, 4);
  holds(folder, log, { base: 4, keep: 5 });
});

Deno.test("recover() takes no snapshot for that of another entry, nor one of another cluster or version", () => {
  const { folder, log } = withLog(threes);
  folder.put(snapshotName(9), snapshotAt(log, 8));
  assertEquals(recoverAgain(folder).snapshot, null);
  folder.put(snapshotName(9), snapshotAt(log, 9, { clusterId: "ffffffffffffffff" }));
  folder.operations = [];
  refused(folder, `${snapshotName(9)} belongs to cluster ffffffffffffffff`, identity.clusterId!);
  folder.put(snapshotName(9), reworded(snapshotAt(log, 9), `"format":1`, `"format":2`));
  folder.operations = [];
  refused(folder, `${snapshotName(9)} has format 2`);
});

Deno.test("recover() knows the cluster from a snapshot when the state file is damaged", () => {
  const { folder, storage, log } = withLog(threes);
  putSnapshots(folder, log, 6);
  folder.do((done) => storage.compact(6, done));
  folder.put(stateName, new Uint8Array(200));
  folder.operations = [];
  const found = damaged(folder, "state.json is damaged");
  assertEquals([found.identity?.clusterId, found.snapshot?.lastIncludedIndex], [identity.clusterId, 6]);
  for (const name of names(folder, "log/")) folder.put(name, null);
  folder.operations = [];
  assertEquals(damaged(folder, "state.json is damaged").identity?.clusterId, identity.clusterId);
  open(folder, options);
  assertEquals(recoverAgain(folder).damage, null);
});

Deno.test("recover() finds damage when both snapshots are bad and the log begins behind them", () => {
  const { folder, storage, log } = withLog(threes);
  putSnapshots(folder, log, 6, 9);
  folder.do((done) => storage.compact(6, done));
  folder.put(snapshotName(9), new Uint8Array());
  assertEquals(recoverAgain(folder).snapshot, metadataAt(log, 6));
  folder.put(snapshotName(6), new Uint8Array());
  folder.operations = [];
  const found = damaged(folder, "entry 1: it is not there", "durable up to entry");
  assertEquals([found.snapshot, found.entries], [null, []]);
  open(folder, options);
  assertEquals([firsts(folder), names(folder, "damaged/").length], [[], 2], "all of it is saved aside");
});

Deno.test("compact() removes the segments that hold nothing behind an entry, oldest first, and no more", () => {
  for (let index = 0; index <= 12; index++) {
    const { folder, storage, log } = withLog(threes);
    assertEquals(firsts(folder), [1, 4, 7, 10]);
    if (index > 0) putSnapshots(folder, log, index);
    folder.operations = [];
    folder.do((done) => storage.compact(index, done));
    const gone = [1, 4, 7].slice(0, Math.floor(index / 3));
    assertEquals(firsts(folder), [1, 4, 7, 10].slice(gone.length));
    const name = (first: number) => `log/${String(first).padStart(20, "0")}.log`;
    assertEquals(
      folder.operations,
      gone.flatMap((first) => [`truncate ${name(first)}`, `remove ${name(first)}`]),
    );
    // The same process goes on, also with a conflict.
    const more = entriesAfter(log[11]!, { count: 2, term: 1 });
    folder.do((done) => storage.append([write(more)], done));
    const instead = entriesAfter(log.concat(more)[12]!, { count: 1, term: 2 });
    folder.do((done) => storage.append([write(instead, inTerm(2))], done));
    holds(folder, [...log, more[0]!, ...instead], { base: index, keep: Math.max(index, 11) });
  }
});

Deno.test("compact() may run while entries are added", () => {
  const { folder, storage, log } = withLog(threes);
  putSnapshots(folder, log, 9);
  const more = entriesAfter(log[11]!, { count: 4, term: 1 });
  let pending = 2;
  storage.append([write(more)], () => pending--);
  storage.compact(9, () => pending--);
  while (pending > 0) folder.step();
  assertEquals(firsts(folder), [10, 13]);
  holds(folder, [...log, ...more], { base: 9, keep: 14 });
});

Deno.test("SnapshotFiles.keepOnly() removes the other files, unfinished ones too", () => {
  const { folder, storage, log } = withLog(threes);
  putSnapshots(folder, log, 3, 5, 7);
  folder.put(snapshotName(8), new Uint8Array(5));
  const again = new Storage(folder.disk, options);
  again.recover(1);
  assertEquals([again.snapshots.whole, storage.snapshots.whole], [[3, 5, 7], []]);
  folder.do((done) => again.snapshots.keepOnly((index) => index === 5, done));
  assertEquals(names(folder, "snapshots/"), [snapshotName(5)]);
  assertEquals([again.snapshots.whole, again.snapshots.size(3), again.snapshots.size(7)], [[5], 0, 0]);
  assertEquals(again.snapshots.size(5), snapshotAt(log, 5).length);
});

Deno.test("SnapshotFiles.write() does one thing after another, however many are asked for at once", () => {
  const { folder, storage: { snapshots } } = withLog(threes);
  const part = new Uint8Array(600_000).fill(1);
  const events: string[] = [];
  const note = (what: string) => (error: Error | null) =>
    events.push(error === null ? what : `failed ${what}`);
  snapshots.write(5, 0, part, (error) => {
    note("first")(error);
    snapshots.write(5, part.length, part, note("second"));
  });
  snapshots.keepOnly(() => false, note("none is kept"));
  snapshots.write(6, 0, part, note("another"));
  snapshots.keepOnly((index) => index === 6, note("only 6 is kept"));
  while (folder.step());
  assertEquals(events, ["first", "none is kept", "another", "only 6 is kept", "second"]);
  assertEquals([snapshots.size(6), snapshots.read(6, 599_990, 100).length], [600_000, 10]);
});

Deno.test("append() writes the pieces of a snapshot, and takes an earlier one of that name away", () => {
  const { folder, storage, log } = withLog(threes);
  const ahead = [...log, ...entriesAfter(log[11]!, { count: 8, term: 1 })];
  folder.put(snapshotName(20), new TextEncoder().encode("left by an earlier attempt"));
  const bytes = snapshotAt(ahead, 20, { lines: stateLines(30) });
  const writes = chunkWrites(bytes, metadataAt(ahead, 20), 100);
  folder.do((done) => storage.append(writes.slice(0, 3), done));
  for (const one of writes.slice(3)) folder.do((done) => storage.append([one], done));
  assertEquals(folder.disk.read(snapshotName(20)), bytes);
  // From its start again, in other pieces, as another leader would send it.
  folder.do((done) => storage.append(chunkWrites(bytes, metadataAt(ahead, 20), 777), done));
  assertEquals(folder.disk.read(snapshotName(20)), bytes);
  assertEquals(recoverAgain(folder).snapshot, metadataAt(ahead, 20));
});

/** Another history, which has the first `keep` entries of `log` and then goes on to entry `last`. */
function otherLog(log: readonly Entry[], { keep, last }: { keep: number; last: number }): Entry[] {
  return [
    ...log.slice(0, keep),
    ...entriesAfter(log[keep - 1] ?? null, { count: last - keep, term: 3, size: 20 }),
  ];
}

Deno.test("append() puts a snapshot in the place of a log that ends below it, or that conflicts with it", () => {
  for (const [keep, index] of [[12, 20], [12, 13], [5, 9], [5, 12], [0, 7], [2, 30]] as const) {
    const { folder, storage, log } = withLog(threes);
    folder.do((done) => storage.flushMark(done));
    const theirs = otherLog(log, { keep, last: index + 3 });
    const bytes = snapshotAt(theirs, index);
    folder.do((done) => storage.append(chunkWrites(bytes, metadataAt(theirs, index), 64), done));
    const behind = theirs.slice(index, index + 2);
    folder.operations = [];
    folder.do((done) =>
      storage.append([write([], inTerm(3)), install(metadataAt(theirs, index), behind)], done)
    );
    assertEquals(folder.operations[0], `replace ${stateName}`, "nothing vouches for what goes");
    const removed = folder.operations.filter((operation) => operation.startsWith("remove"));
    assertEquals(removed.map((operation) => Number(operation.slice(11, 31))), [10, 7, 4, 1]);
    assertEquals([firsts(folder), storage.durableIndex], [[index + 1], index + 2]);
    folder.do((done) => storage.append([write(theirs.slice(index + 2, index + 3))], done));
    holds(folder, theirs.slice(0, index + 3), { base: index, keep: index + 1 });
  }
});

Deno.test("recover() finds damage when a snapshot that took the log's place is not whole any more", () => {
  for (const count of [0, 2]) {
    const { folder, storage, log } = withLog(threes);
    putSnapshots(folder, log, 6);
    const theirs = otherLog(log, { keep: 8, last: 20 + count });
    const metadata = metadataAt(theirs, 20);
    folder.do((done) => storage.append([write([], inTerm(3))], done));
    folder.do((done) => storage.append(chunkWrites(snapshotAt(theirs, 20), metadata, 4096), done));
    const all = install(metadata, theirs.slice(20));
    folder.do((done) => storage.append([all], done));
    folder.put(snapshotName(20), snapshotAt(theirs, 20).subarray(0, -1));
    folder.operations = [];
    const found = damaged(folder, "entry 7: it is not there", "durable up to entry 20");
    assertEquals([found.snapshot, found.entries], [metadataAt(log, 6), []]);
  }
});

Deno.test("recover() gives up a log that a crash left beside the snapshot that took its place", () => {
  for (const [keep, index] of [[12, 20], [12, 13], [5, 9], [5, 12], [0, 7], [11, 11]] as const) {
    for (const isMarked of [false, true]) {
      const { folder, storage, log } = withLog(threes);
      const theirs = otherLog(log, { keep, last: index + 1 });
      const metadata = metadataAt(theirs, index);
      folder.do((done) => storage.append([write([], inTerm(3))], done));
      folder.do((done) => storage.append(chunkWrites(snapshotAt(theirs, index), metadata, 4096), done));
      if (isMarked) folder.do((done) => storage.flushMark(done));
      const found = recoverAgain(folder);
      const isOwn = keep === index;
      assertEquals(lines(found.entries), isOwn ? lines(log.slice(index)) : "");
      assertEquals([found.snapshot, found.damage], [metadata, null]);
      open(folder, options);
      if (!isOwn) assertEquals(firsts(folder), []);
      holds(folder, isOwn ? log : theirs.slice(0, index), { base: index, keep: index });
    }
  }
});

Deno.test("open() saves a torn tail aside that begins right behind a snapshot, with the log before it gone", () => {
  const { folder, storage, log } = withLog(threes);
  putSnapshots(folder, log, 9);
  folder.do((done) => storage.compact(9, done));
  const [name] = names(folder, "log/");
  const bytes = folder.disk.read(name!)!;
  const header = bytes.indexOf(10) + 1;
  folder.put(name!, bytes.subarray(0, header + 30));
  open(folder, options);
  const saved = names(folder, "torn/").map((name) => folder.disk.read(name));
  assertEquals(saved, [bytes.slice(header, header + 30)]);
  holds(folder, log.slice(0, 9), { base: 9, keep: 9 });
});

Deno.test("recover() gives up a log that goes another way behind a snapshot whose own entry it cannot read", () => {
  const { folder, storage, log } = withLog([12, 1]);
  const theirs = otherLog(log, { keep: 5, last: 9 });
  folder.do((done) => storage.append([write([], inTerm(3))], done));
  folder.do((done) => storage.append(chunkWrites(snapshotAt(theirs, 9), metadataAt(theirs, 9), 4096), done));
  const [name] = names(folder, "log/");
  const bytes = folder.disk.read(name!)!;
  bytes[new TextDecoder().decode(bytes).indexOf(`"index":9,`)]! ^= 1;
  folder.put(name!, bytes);
  const found = recoverAgain(folder);
  assertEquals([found.damage, found.entries], [null, []], "what vouches for its end does not matter");
  holds(folder, theirs, { base: 9, keep: 9 });
});

Deno.test("recover() goes on behind a snapshot that is right before a segment, whatever is left of those before", () => {
  for (let gone = 0; gone <= 3; gone++) {
    const { folder, log } = withLog(threes);
    putSnapshots(folder, log, 9);
    for (const name of names(folder, "log/").slice(0, gone)) folder.put(name, null);
    holds(folder, log, { base: 9, keep: 10 });
  }
});
