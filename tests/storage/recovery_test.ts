import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { makeEntry, sealLine } from "../../lib/raft/entry.ts";
import type { Entry } from "../../lib/raft/types.ts";
import { FolderError, type Recovered, Storage } from "../../lib/storage/storage.ts";
import {
  concat,
  damaged as damagedFolder,
  entriesAfter,
  Folder,
  identity,
  inTerm,
  lines,
  logName,
  open,
  recover,
  refused as refusedFolder,
  stateName,
  write,
} from "./folder.ts";

const term1 = inTerm(1);

/** What a node left behind: each batch of these sizes is one fsync. */
interface Left {
  entries: Entry[];
  state: Uint8Array;
  log: Uint8Array;
}

function leave(batches: number[], options: { cleanStop?: boolean; size?: number } = {}): Left {
  const folder = new Folder();
  const { storage } = open(folder);
  folder.do((done) => storage.append([write([], term1)], done));
  const entries: Entry[] = [];
  for (const count of batches) {
    const batch = entriesAfter(entries.at(-1) ?? null, { count, term: 1, size: options.size ?? 10 });
    folder.do((done) => storage.append([write(batch)], done));
    entries.push(...batch);
  }
  if (options.cleanStop) folder.do((done) => storage.close(done));
  return { entries, state: folder.disk.read(stateName)!, log: folder.disk.read(logName)! };
}

/** The files of a folder; null: without that file. */
interface Files {
  state: Uint8Array | null;
  log: Uint8Array | null;
}

function folderWith(files: Files): Folder {
  const folder = new Folder();
  folder.put(stateName, files.state);
  folder.put(logName, files.log);
  folder.operations = [];
  return folder;
}

function refused(files: Files, ...said: string[]): void {
  refusedFolder(folderWith(files), ...said);
}

function damaged(files: Files, ...said: string[]): Recovered {
  return damagedFolder(folderWith(files), ...said);
}

/** Checks that a damaged log is cut to its first `count` entries, the rest saved aside, and that it works again. */
function recoversTo(count: number, { entries, state }: Left, log: Uint8Array): void {
  const folder = folderWith({ state, log });
  const { storage, found } = open(folder);
  assertEquals(lines(found.entries), lines(entries.slice(0, count)));
  const kept = folder.disk.read(logName) ?? new Uint8Array(); // a log without a whole header is removed
  assertEquals(kept, log.subarray(0, kept.length));
  const saved = folder.disk.list().filter((name) => name.startsWith("torn/"));
  const cut = log.subarray(kept.length);
  assertEquals(saved.map((name) => folder.disk.read(name)), cut.length === 0 ? [] : [cut]);
  const note = cut.length === 0 ? "recovered term 1" : `${cut.length} bytes from byte ${kept.length} (`;
  assertStringIncludes(found.notes.join("\n"), note);
  const next = entriesAfter(entries[count - 1] ?? null, { count: 1, term: 1, size: 77 });
  folder.do((done) => storage.append([write(next)], done));
  assertEquals(lines(open(folder).found.entries), lines([...entries.slice(0, count), ...next]));
}

/** How many entries end at or before a byte. */
function entriesBefore(offset: number, left: Left): number {
  return left.entries.filter((entry) => startOf(entry, left) + entry.line.length <= offset).length;
}

function startOf({ line }: Entry, { log }: Left): number {
  for (let at = 0;; at++) if (line.every((byte, i) => log[at + i] === byte)) return at;
}

Deno.test("recover() cuts a torn tail at every byte of the last three entries", () => {
  const left = leave([4, 3]);
  const from = startOf(left.entries[4]!, left);
  for (let size = from; size <= left.log.length; size++) {
    recoversTo(entriesBefore(size, left), left, left.log.subarray(0, size));
  }
});

Deno.test("recover() cuts a tail of zeros from every byte of the last three entries", () => {
  const left = leave([4, 3]);
  const from = startOf(left.entries[4]!, left);
  for (let size = from; size < left.log.length; size++) {
    recoversTo(entriesBefore(size, left), left, left.log.slice().fill(0, size));
  }
});

Deno.test("recover() cuts what follows the last entry: zeros, noise, half a line", () => {
  const left = leave([4, 3]);
  const noise = new Uint8Array(4096);
  for (let i = 0, x = 1; i < noise.length; i++) noise[i] = x = (x * 75 + 74) % 65537;
  for (const bytes of [1, 20, 512, 4096]) {
    recoversTo(7, left, concat(left.log, new Uint8Array(bytes)));
    recoversTo(7, left, concat(left.log, noise.subarray(0, bytes)));
    recoversTo(7, left, concat(left.log, new Uint8Array(bytes).fill(10)));
  }
});

Deno.test("recover() takes a whole line behind a bad one for nothing: pages reach the disk in any order", () => {
  const left = leave([2, 40]);
  const first = startOf(left.entries[2]!, left);
  for (let page = 0; page * 512 < left.log.length; page++) {
    const from = Math.max(page * 512, first);
    const log = left.log.slice().fill(0, from, (page + 1) * 512);
    if ((page + 1) * 512 > first) recoversTo(entriesBefore(from, left), left, log);
  }
});

Deno.test("recover() finds the same damage in what the state file vouches for, and keeps what is before it", () => {
  const left = leave([4, 3], { cleanStop: true });
  const from = startOf(left.entries[4]!, left);
  for (let size = from; size < left.log.length; size++) {
    const count = entriesBefore(size, left);
    const said = [logName, "damaged at byte", `entry ${count + 1}:`, "durable up to entry 7"];
    for (const log of [left.log.subarray(0, size), left.log.slice().fill(0, size)]) {
      assertEquals(lines(damaged({ ...left, log }, ...said).entries), lines(left.entries.slice(0, count)));
    }
  }
});

Deno.test("recover() finds a mark behind a line whose newline is gone", () => {
  const left = leave([3, 1]);
  const end = startOf(left.entries[2]!, left) + left.entries[2]!.line.length;
  const log = left.log.slice();
  log[end - 1] = 0x20;
  damaged({ ...left, log }, "entry 3:", "a mark behind it", "durable up to entry 3");
});

Deno.test("recover() refuses a folder without its state file: no crash leaves that", () => {
  const { log } = leave([3], { cleanStop: true });
  refused({ state: null, log }, "state.json is missing", logName, "Nothing in the folder was changed");
  refused({ state: null, log: new Uint8Array() }, "state.json is missing");
});

Deno.test("recover() finds damage where the log is gone, or the state file cannot be read", () => {
  const { state, log, entries } = leave([3], { cleanStop: true });
  for (const gone of [null, new Uint8Array()]) {
    damaged({ state, log: gone }, "entry 1: it is not there", "durable up to entry 3");
  }
  for (const bad of [new Uint8Array(), state.subarray(0, -1)]) {
    const found = damaged({ state: bad, log }, "state.json is damaged");
    assertEquals(lines(found.entries), lines(entries));
    assertEquals(found.hardState, inTerm(1), "term and vote are lost, but for what the log tells");
    assertEquals(found.identity, { ...identity, incarnation: "", starts: 0 });
    assertEquals(damaged({ state: bad, log: null }, "state.json is damaged").identity, null);
  }
});

Deno.test("recover() finds an empty log where nothing vouches for entries: a crash came before the first one", () => {
  const { state } = leave([]);
  const { log } = leave([1]);
  const header = log.indexOf(10) + 1;
  for (let size = 0; size <= header; size++) {
    recoversTo(0, { entries: [], state, log }, log.subarray(0, size));
  }
  const outcome = recover(folderWith({ state, log: null }));
  assert(!(outcome instanceof FolderError));
  assertEquals(outcome.entries, []);
});

Deno.test("recover() refuses the folder of another node", () => {
  const { state, log } = leave([3]);
  const folder = folderWith({ state, log });
  const error = assertThrows(() => new Storage(folder.disk).recover(2), FolderError);
  assertStringIncludes(error.message, "belongs to node 1, not to node 2");
  assertEquals(folder.operations, []);
});

/** A log or state file with other words in its first line, sealed as they should be. */
function reworded(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const end = bytes.indexOf(10);
  const text = new TextDecoder().decode(bytes.subarray(17 + 1, end));
  assert(text.includes(from));
  return concat(sealLine(text.replace(from, to)), bytes.subarray(end + 1));
}

Deno.test("recover() refuses a log of another node or another cluster", () => {
  const { state, log } = leave([3]);
  refused(
    { state, log: reworded(log, `"nodeId":1`, `"nodeId":2`) },
    logName,
    "belongs to node 2, not to node 1",
  );
  const other = reworded(log, identity.clusterId!, "ffffffffffffffff");
  refused({ state, log: other }, "belongs to cluster ffffffffffffffff", identity.clusterId!);
});

Deno.test("recover() takes a log that was begun before the cluster had a name", () => {
  const left = leave([3]);
  recoversTo(3, left, reworded(left.log, `"${identity.clusterId}"`, "null"));
});

Deno.test("recover() refuses files of a newer version, whatever else is in them", () => {
  const { state, log } = leave([3]);
  const said = ["has format 2", "reads format 1", "Nothing in the folder was changed"];
  refused({ state: reworded(state, `"format":1`, `"format":2`), log }, stateName, ...said);
  refused({ state: reworded(state, `"format":1,`, `"format":2,"new":[],`), log }, stateName, ...said);
  refused({ state, log: reworded(log, `"format":1`, `"format":2`) }, logName, ...said);
});

Deno.test("recover() refuses a file of the log that it does not know", () => {
  const folder = folderWith(leave([3]));
  folder.put("log/4.log", new Uint8Array());
  folder.operations = [];
  const outcome = recover(folder);
  assert(outcome instanceof FolderError);
  assertStringIncludes(outcome.message, "log/4.log is a part of the log that this version");
});

Deno.test("recover() refuses a state file that is sealed and makes no sense", () => {
  const { state, log } = leave([3]);
  for (
    const [from, to] of [
      [`"currentTerm":1`, `"currentTerm":-1`],
      [`"votedFor":null`, `"votedFor":"2"`],
      [`"starts":1`, `"starts":1.5`],
      [`"pinned":null`, `"pinned":[{"id":1}]`],
      [`"clusterId":"`, `"clusterId":1,"was":"`],
      [`"incarnation":"`, `"was":"`],
      [`"at":"`, `"at":"x`],
      [`"synced":0`, `"synced":null`],
      [`"admitted":0`, `"admitted":-1`],
    ] as const
  ) refused({ state: reworded(state, from, to), log }, "its fields are not those of format 1");
});

Deno.test("recover() finds damage in a state file that is older than the log: a vote may be forgotten (paper 5.2)", () => {
  const { state, log } = leave([3]);
  const older = reworded(state, `"currentTerm":1`, `"currentTerm":0`);
  const found = damaged(
    { state: older, log },
    "state.json is older than the log",
    "term 0",
    "entry 3",
    "term 1",
  );
  assertEquals(found.hardState, inTerm(1));
});

Deno.test("recover() finds damage in a whole log that is not the one that the marks vouch for", () => {
  const left = leave([3], { cleanStop: true });
  const other = leave([3], { cleanStop: true, size: 11 });
  const found = damaged({ state: left.state, log: other.log }, "entry 3: state.json names another entry");
  assertEquals(lines(found.entries), lines(other.entries.slice(0, 2)));
});

Deno.test("recover() finds damage in a log with a mark that names another entry than the one before it", () => {
  const left = leave([3]);
  const mark = sealLine(`"synced":2,"at":"01234567"}`);
  const next = entriesAfter(left.entries[2]!, { count: 1, term: 1 });
  const log = concat(left.log, mark, next[0]!.line);
  const found = damaged({ ...left, log }, "entry 2: a mark names another entry");
  assertEquals(lines(found.entries), lines(left.entries.slice(0, 1)));
});

Deno.test("recover() cuts lines that are sealed and do not continue the log", () => {
  const left = leave([3]);
  const next = entriesAfter(left.entries[2]!, { count: 3, term: 1 });
  const stale = entriesAfter(entriesAfter(left.entries[1]!, { count: 1, term: 1, size: 3 })[0]!, {
    count: 1,
    term: 1,
  });
  for (const line of [next[1]!.line, left.entries[2]!.line, stale[0]!.line, sealLine(`"hello":1}`)]) {
    recoversTo(3, left, concat(left.log, line));
  }
  const skipped = makeEntry({
    index: 5,
    term: 1,
    kind: "noop",
    command: null,
    prevCrc: left.entries[2]!.crc,
  });
  recoversTo(3, left, concat(left.log, skipped.line));
  const fallen = entriesAfter(left.entries[2]!, { count: 1, term: 0 });
  recoversTo(3, left, concat(left.log, fallen[0]!.line));
});

Deno.test("recover() reads lines of any length and logs larger than a chunk", () => {
  const folder = new Folder();
  const { storage } = open(folder);
  const sizes = [10, 3_500_000, 1, 1 << 20, (1 << 20) - 200, 400_000, 400_000, 400_000, 5];
  const entries: Entry[] = [];
  for (const size of sizes) {
    entries.push(...entriesAfter(entries.at(-1) ?? null, { count: 1, term: 1, size }));
  }
  folder.do((done) => storage.append([write(entries, term1)], done));
  assertEquals(lines(open(folder).found.entries) === lines(entries), true);
});
