import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { AssertionFailed } from "../../lib/assert.ts";
import { PlainPut } from "../../lib/kv/plain_put.ts";
import type { Entry } from "../../lib/raft/types.ts";
import { Storage } from "../../lib/storage/storage.ts";
import { entriesAfter, Folder, identity, inTerm, lines, logName, open, stateName, write } from "./folder.ts";

const term1 = inTerm(1);

/** An opened folder whose log has `count` entries of term 1, one batch. */
function withEntries(count: number): { folder: Folder; storage: Storage; entries: Entry[] } {
  const folder = new Folder();
  const { storage } = open(folder);
  const entries = entriesAfter(null, { count, term: 1 });
  folder.do((done) => storage.append([write(entries, term1)], done));
  folder.operations = [];
  return { folder, storage, entries };
}

function textOf(folder: Folder, name: string): string {
  return new TextDecoder().decode(folder.disk.read(name)!);
}

Deno.test("recover() finds nothing in an empty folder and changes nothing", () => {
  const folder = new Folder();
  const found = new Storage(folder.disk).recover(1);
  assertEquals(found.identity, null);
  assertEquals(found.hardState, inTerm(0));
  assertEquals(found.entries, []);
  assertEquals(folder.operations, []);
});

Deno.test("recover() gives back identity, term, vote and every byte of the log", () => {
  const folder = new Folder();
  const { storage } = open(folder);
  const pinned = [{ id: 1, address: "127.0.0.1:8080", incarnation: "0123456789abcdef" }];
  folder.do((done) => storage.saveIdentity({ ...identity, starts: 7, pinned }, done));
  const entries = entriesAfter(null, { count: 20, term: 3 });
  for (const entry of entries) {
    folder.do((done) => storage.append([write([entry], inTerm(3, 2))], done));
  }
  assertEquals(storage.durableIndex, 20);
  folder.do((done) => storage.close(done));
  folder.crash({ power: true });

  const found = new Storage(folder.disk).recover(1);
  assertEquals(found.identity, { ...identity, starts: 7, pinned });
  assertEquals(found.hardState, inTerm(3, 2));
  assertEquals(lines(found.entries), lines(entries));
  const last = found.entries.at(-1)!;
  assert(last.command instanceof PlainPut, "it is not parsed");
  assertEquals({ ...last, command: last.command.toJSON() }, entries.at(-1));
});

Deno.test("append() takes one fsync for all entries of all writes, marks included", () => {
  const { folder, storage, entries } = withEntries(1);
  const more = entriesAfter(entries.at(-1)!, { count: 100, term: 1 });
  folder.do((done) => storage.append(more.map((entry) => write([entry])), done));
  assertEquals(folder.operations, [`append ${logName}`]);
  assertEquals(storage.durableIndex, 101);
});

Deno.test("append() makes the term and vote durable before the entries of the same batch (paper 5.1)", () => {
  const { folder, storage, entries } = withEntries(1);
  const more = entriesAfter(entries.at(-1)!, { count: 2, term: 3 });
  const writes = [
    write([], inTerm(2, 2)),
    write([more[0]!], inTerm(3)),
    write([more[1]!], inTerm(3, 1)),
  ];
  folder.do((done) => storage.append(writes, done));
  assertEquals(folder.operations, [`replace ${stateName}`, `append ${logName}`]);
  assertEquals(new Storage(folder.disk).recover(1).hardState, inTerm(3, 1));
});

Deno.test("append() does not touch the disk when a batch brings nothing new", () => {
  const { folder, storage } = withEntries(1);
  let outcome: unknown = "not called";
  storage.append([write([], { ...term1 }), write([])], (error) => outcome = error);
  assertEquals(outcome, null);
  assertEquals(folder.operations, []);
});

Deno.test("append() refuses a term that falls and a second vote in one term", () => {
  const { folder, storage } = withEntries(1);
  folder.do((done) => storage.append([write([], inTerm(5, 2))], done));
  assertThrows(
    () => storage.append([write([], inTerm(4))], () => {}),
    AssertionFailed,
  );
  const { folder: other, storage: again } = withEntries(1);
  other.do((done) => again.append([write([], inTerm(5, 2))], done));
  assertThrows(() => again.append([write([], inTerm(5, 3))], () => {}), AssertionFailed);
});

Deno.test("append() writes the mark of one batch with the next one", () => {
  const { folder, storage, entries } = withEntries(2);
  assert(!textOf(folder, logName).includes("synced"));
  const more = entriesAfter(entries.at(-1)!, { count: 1, term: 1 });
  folder.do((done) => storage.append([write(more)], done));
  const [header, first, second, mark, third] = textOf(folder, logName).split("\n");
  assertEquals([first, second, third].map((line) => line + "\n").join(""), lines([...entries, ...more]));
  assert(
    header!.endsWith(
      `"format":1,"clusterId":"00000000c1a55e75","nodeId":1,"firstIndex":1,"prev":"00000000"}`,
    ),
  );
  const crc = entries[1]!.crc.toString(16).padStart(8, "0");
  assert(mark!.endsWith(`,"synced":2,"at":"${crc}"}`), mark);
});

Deno.test("append() writes marks again after a conflict has cut some", () => {
  const { folder, storage, entries } = withEntries(5);
  const sixth = entriesAfter(entries[4]!, { count: 1, term: 1 }); // with the mark 5
  const fourth = entriesAfter(entries[2]!, { count: 1, term: 2 }); // cuts it, with the mark 3
  const fifth = entriesAfter(fourth[0]!, { count: 1, term: 2 }); // with the mark 4
  for (const batch of [sixth, fourth, fifth]) {
    folder.do((done) => storage.append([write(batch, inTerm(batch[0]!.term))], done));
  }
  const marks = textOf(folder, logName).matchAll(/"synced":(\d+)/g);
  assertEquals([...marks].map((mark) => mark[1]), ["3", "4"]);
});

Deno.test("append() cuts a conflict: mark below it, cut, then the new entries (paper 5.3)", () => {
  const { folder, storage, entries } = withEntries(5);
  folder.do((done) => storage.flushMark(done));
  folder.operations = [];
  const instead = entriesAfter(entries[2]!, { count: 3, term: 2 });
  folder.do((done) => storage.append([write(instead, inTerm(2))], done));
  assertEquals(folder.operations, [`replace ${stateName}`, `truncate ${logName}`, `append ${logName}`]);
  assertEquals(storage.durableIndex, 6);
  const { entries: found } = new Storage(folder.disk).recover(1);
  assertEquals(lines(found), lines([...entries.slice(0, 3), ...instead]));
});

Deno.test("append() leaves the state file alone when it does not vouch for what a conflict cuts", () => {
  const { folder, storage, entries } = withEntries(5);
  const instead = entriesAfter(entries[2]!, { count: 1, term: 1, size: 11 });
  folder.do((done) => storage.append([write(instead)], done));
  assertEquals(folder.operations, [`truncate ${logName}`, `append ${logName}`]);
  assertEquals(
    lines(new Storage(folder.disk).recover(1).entries),
    lines([...entries.slice(0, 3), ...instead]),
  );
});

Deno.test("append() can cut the whole log", () => {
  const { folder, storage } = withEntries(3);
  const instead = entriesAfter(null, { count: 2, term: 1, size: 30 });
  folder.do((done) => storage.append([write(instead)], done));
  const more = entriesAfter(instead.at(-1)!, { count: 1, term: 1 });
  folder.do((done) => storage.append([write(more)], done));
  assertEquals(lines(new Storage(folder.disk).recover(1).entries), lines([...instead, ...more]));
});

Deno.test("append() never writes what a later write of the same batch cuts again", () => {
  const { folder, storage, entries } = withEntries(3);
  const a = entriesAfter(entries[2]!, { count: 3, term: 1 }); // 4 5 6
  const b = entriesAfter(a[0]!, { count: 2, term: 2 }); // 5 6
  const c = entriesAfter(entries[1]!, { count: 1, term: 3 }); // 3
  const d = entriesAfter(c[0]!, { count: 2, term: 3 }); // 4 5
  folder.do((done) => storage.append([write(a), write(b, inTerm(3))], done));
  assertEquals(folder.operations, [`replace ${stateName}`, `append ${logName}`]);
  assertEquals(lines(new Storage(folder.disk).recover(1).entries), lines([...entries, a[0]!, ...b]));
  folder.operations = [];
  folder.do((done) => storage.append([write(a.slice(0, 0)), write(c), write(d)], done));
  assertEquals(folder.operations, [`replace ${stateName}`, `truncate ${logName}`, `append ${logName}`]);
  assertEquals(
    lines(new Storage(folder.disk).recover(1).entries),
    lines([...entries.slice(0, 2), ...c, ...d]),
  );
});

Deno.test("append() refuses entries that do not continue the log", () => {
  const { storage, entries } = withEntries(3);
  const next = entriesAfter(entries[2]!, { count: 2, term: 1 });
  const foreign = entriesAfter(entriesAfter(null, { count: 3, term: 1, size: 9 }).at(-1)!, {
    count: 1,
    term: 1,
  });
  assertThrows(
    () => storage.append([write([next[1]!])], () => {}),
    AssertionFailed,
    "follows the one before it",
  );
  assertThrows(() => storage.append([write(foreign)], () => {}), AssertionFailed, "hash chain");
  assertThrows(() => storage.append([write([next[0]!, foreign[0]!])], () => {}), AssertionFailed);
});

Deno.test("flushMark() lets the state file vouch for the log, once", () => {
  const { folder, storage } = withEntries(3);
  folder.do((done) => storage.flushMark(done));
  assertEquals(folder.operations, [`replace ${stateName}`]);
  assert(textOf(folder, stateName).includes(`"synced":3,`));
  folder.do((done) => storage.flushMark(done));
  assertEquals(folder.operations.length, 1);
});

Deno.test("close() leaves a mark, and nothing can be done afterwards", () => {
  const { folder, storage } = withEntries(3);
  folder.do((done) => storage.close(done));
  assert(textOf(folder, stateName).includes(`"synced":3,`));
  assertThrows(() => storage.flushMark(() => {}), AssertionFailed);
});

Deno.test("Storage does one operation at a time, and none before the folder is open", () => {
  const { storage } = withEntries(3);
  storage.flushMark(() => {});
  assertThrows(() => storage.flushMark(() => {}), AssertionFailed, "one operation at a time");
  const early = new Storage(new Folder().disk);
  assertThrows(() => early.append([], () => {}), AssertionFailed);
  early.recover(1);
  assertThrows(() => early.append([], () => {}), AssertionFailed);
});

Deno.test("append() and all else are refused after the first error of the disk, with that error", () => {
  for (const failing of ["append", "saveIdentity", "flushMark"]) {
    const { folder, storage, entries } = withEntries(3);
    const next = entriesAfter(entries[2]!, { count: 1, term: 1 });
    const operations: Record<string, (done: (error: Error | null) => void) => void> = {
      append: (done) => storage.append([write(next)], done),
      saveIdentity: (done) => storage.saveIdentity(identity, done),
      flushMark: (done) => storage.flushMark(done),
      close: (done) => storage.close(done),
    };
    folder.fake.failNext = true;
    const error = folder.finish(operations[failing]!);
    assert(error !== null);
    assertEquals(storage.durableIndex, 3);
    folder.operations = [];
    for (const start of Object.values(operations)) assertStrictEquals(folder.finish(start), error);
    assertEquals(folder.operations, []);
  }
});

Deno.test("append() does not go on to the log when the state file failed", () => {
  const { folder, storage, entries } = withEntries(3);
  const instead = entriesAfter(entries[1]!, { count: 1, term: 2 });
  folder.fake.failNext = true;
  const error = folder.finish((done) => storage.append([write(instead, inTerm(2))], done));
  assert(error !== null);
  assertEquals(folder.operations, [`replace ${stateName}`]);
});

Deno.test("open() makes durable what a killed process left in the system's cache", () => {
  const { folder, storage, entries } = withEntries(1);
  const more = entriesAfter(entries[0]!, { count: 50, term: 1 });
  storage.append([write(more)], () => {});
  folder.crash({ power: false });
  const { found } = open(folder);
  assertEquals(lines(found.entries), lines([...entries, ...more]));
  folder.crash({ power: true });
  assertEquals(lines(new Storage(folder.disk).recover(1).entries), lines([...entries, ...more]));
});

Deno.test("recover() starts after a crash at any moment and finds all that was acknowledged", () => {
  let torn = 0;
  let cuts = 0;
  let segments = 0;
  for (let seed = 0; seed < 400; seed++) {
    const folder = new Folder(`crash ${seed}`);
    const { random } = folder;
    const options = { segmentBytesMax: random.pick([300, 1500, 5000, 64 << 20]) };
    let acknowledged: Entry[] = [];
    let term = 1;
    for (let life = 0; life < 6; life++) {
      const { storage, found } = open(folder, options);
      segments += folder.disk.list().filter((name) => name.startsWith("log/")).length - 1;
      if (folder.operations.some((operation) => operation.startsWith("append torn/"))) torn++;
      folder.operations = [];
      assert(
        lines(found.entries).startsWith(lines(acknowledged)),
        `seed ${seed}: an acknowledged entry is gone`,
      );
      let log = found.entries;
      const batches = random.below(6);
      for (let batch = 0; batch <= batches; batch++) {
        if (random.chance(0.3)) term++;
        const keep = random.chance(0.3) ? random.below(log.length + 1) : log.length;
        if (keep < log.length) cuts++;
        const sizes = { count: 1 + random.below(8), term, size: random.below(400) };
        const added = entriesAfter(log[keep - 1] ?? null, sizes);
        const next = [...log.slice(0, keep), ...added];
        let isDone = false;
        storage.append([write(added, inTerm(term))], () => isDone = true);
        if (batch === batches) {
          // What the crash interrupts may be there or not; what both logs have in common must be.
          for (let steps = random.below(4); steps > 0 && !isDone; steps--) folder.step();
          acknowledged = isDone ? next : log.slice(0, keep);
          break;
        }
        while (!isDone) folder.step();
        log = next;
        if (random.chance(0.2)) folder.do((done) => storage.flushMark(done));
      }
      folder.crash({ power: random.chance(0.7) });
    }
  }
  assert(torn > 100, `${torn} torn tails`);
  assert(cuts > 500, `${cuts} conflicts`);
  assert(segments > 1000, `${segments} later segments`);
});
