import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { sealLine } from "../../lib/raft/entry.ts";
import type { Entry } from "../../lib/raft/types.ts";
import {
  damaged,
  entriesAfter,
  Folder,
  identity,
  inTerm,
  lines,
  open,
  refused,
  stateName,
  write,
} from "./folder.ts";

const term1 = inTerm(1);
const term2 = inTerm(2);

/** The name of the segment that begins with this entry. */
function segment(first: number): string {
  return `log/${String(first).padStart(20, "0")}.log`;
}

/** What a node left behind: each batch of these sizes is one fsync. */
interface Left {
  files: Map<string, Uint8Array>;
  entries: Entry[];
  /** Its segments by their first entries. */
  firsts: number[];
}

interface Shape {
  batches: number[];
  segmentBytesMax: number;
  size?: number;
  cleanStop?: boolean;
}

function leave({ batches, segmentBytesMax, size = 10, cleanStop = false }: Shape): Left {
  const folder = new Folder();
  const { storage } = open(folder, { segmentBytesMax });
  const entries: Entry[] = [];
  for (const count of batches) {
    const batch = entriesAfter(entries.at(-1) ?? null, { count, term: 1, size });
    folder.do((done) => storage.append([write(batch, term1)], done));
    entries.push(...batch);
  }
  if (cleanStop) folder.do((done) => storage.close(done));
  const files = new Map(folder.disk.list().map((name) => [name, folder.disk.read(name)!]));
  const firsts = logNames(folder).map((name) => Number(name.slice(4, 24)));
  return { files, entries, firsts };
}

function logNames(folder: Folder): string[] {
  return folder.disk.list().filter((name) => name.startsWith("log/"));
}

/** A folder with what was left, other than it was: null is without that file. */
function folderWith({ files }: Left, changes: Record<string, Uint8Array | null> = {}): Folder {
  const folder = new Folder();
  for (const [name, bytes] of files) folder.put(name, bytes);
  for (const [name, bytes] of Object.entries(changes)) folder.put(name, bytes);
  folder.operations = [];
  return folder;
}

/** Checks that a folder keeps the first `count` entries and works again. */
function recoversTo(count: number, left: Left, folder: Folder): void {
  const { storage, found } = open(folder);
  assertEquals(lines(found.entries), lines(left.entries.slice(0, count)));
  const next = entriesAfter(found.entries.at(-1) ?? null, { count: 1, term: 1, size: 77 });
  folder.do((done) => storage.append([write(next)], done));
  assertEquals(lines(open(folder).found.entries), lines([...found.entries, ...next]));
}

/** Where each line of a segment starts and ends, and the index of the entry or the mark that it is. */
function linesOf(bytes: Uint8Array): { start: number; end: number; entry?: number; mark?: number }[] {
  const found: ReturnType<typeof linesOf> = [];
  for (let start = 0, end = 0; start < bytes.length; start = end) {
    end = bytes.indexOf(10, start) + 1;
    const { index, synced } = JSON.parse(new TextDecoder().decode(bytes.subarray(start, end)));
    found.push({ start, end, entry: index, mark: synced });
  }
  return found;
}

Deno.test("append() begins a segment where a batch finds no room, and never within a batch", () => {
  const { files, entries, firsts } = leave({ batches: [3, 2, 2, 1, 20, 1], segmentBytesMax: 1000 });
  assertEquals(firsts, [1, 6, 9, 29]);
  for (const [i, first] of firsts.entries()) {
    const bytes = files.get(segment(first))!;
    assert(bytes.length <= 1000 || first === 9, "only a batch that has more makes a segment larger");
    const header = new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(10)));
    const prev = (entries[first - 2]?.crc ?? 0).toString(16).padStart(8, "0");
    assert(header.endsWith(`"nodeId":1,"firstIndex":${first},"prev":"${prev}"}`), header);
    const indexes = linesOf(bytes).map(({ entry }) => entry).filter((index) => index !== undefined);
    const last = (firsts[i + 1] ?? entries.length + 1) - 1;
    assertEquals([indexes[0], indexes.at(-1)], [first, last]);
  }
});

Deno.test("append() takes one fsync for a batch, also in a new segment", () => {
  const folder = new Folder();
  const { storage } = open(folder, { segmentBytesMax: 300 });
  const entries = entriesAfter(null, { count: 8, term: 1 });
  folder.do((done) => storage.append([write([], term1)], done));
  folder.operations = [];
  for (let i = 0; i < 8; i += 2) {
    folder.do((done) => storage.append([write(entries.slice(i, i + 2))], done));
  }
  assertEquals(folder.operations, [1, 3, 5, 7].map((first) => `append ${segment(first)}`));
});

Deno.test("append() goes on in the last segment after a start, and in the next one when that is full", () => {
  const left = leave({ batches: [3, 3, 1], segmentBytesMax: 600 });
  assertEquals(left.firsts, [1, 4, 7]);
  const folder = folderWith(left);
  const { storage } = open(folder, { segmentBytesMax: 600 });
  folder.operations = [];
  let last = left.entries.at(-1)!;
  for (let i = 0; i < 4; i++) {
    const batch = entriesAfter(last, { count: 1, term: 1 });
    folder.do((done) => storage.append([write(batch)], done));
    last = batch[0]!;
  }
  assertEquals(folder.operations, [7, 7, 10, 10].map((first) => `append ${segment(first)}`));
  assertEquals(open(folder).found.entries.length, 11);
});

Deno.test("append() cuts a conflict over two boundaries: state file, later segments newest first, cut (paper 5.3)", () => {
  const left = leave({ batches: [3, 3, 3], segmentBytesMax: 600, cleanStop: true });
  assertEquals(left.firsts, [1, 4, 7]);
  const folder = folderWith(left);
  const { storage } = open(folder, { segmentBytesMax: 600 });
  folder.operations = [];
  const instead = entriesAfter(left.entries[1]!, { count: 1, term: 2 });
  folder.do((done) => storage.append([write(instead, term2)], done));
  assertEquals(folder.operations, [
    `replace ${stateName}`,
    `truncate ${segment(7)}`,
    `remove ${segment(7)}`,
    `truncate ${segment(4)}`,
    `remove ${segment(4)}`,
    `truncate ${segment(1)}`,
    `append ${segment(1)}`,
  ]);
  assertStringIncludes(new TextDecoder().decode(folder.disk.read(stateName)!), `"synced":2,`);
  assertEquals(lines(open(folder).found.entries), lines([...left.entries.slice(0, 2), ...instead]));
});

Deno.test("append() keeps the header of a segment whose first entry is cut: it vouches for the one before", () => {
  const left = leave({ batches: [3, 3, 3], segmentBytesMax: 600 });
  const folder = folderWith(left);
  const { storage } = open(folder, { segmentBytesMax: 600 });
  folder.operations = [];
  const instead = entriesAfter(left.entries[2]!, { count: 9, term: 2 });
  folder.do((done) => storage.append([write(instead, term2)], done));
  assertEquals(folder.operations.slice(-2), [`truncate ${segment(4)}`, `append ${segment(4)}`]);
  assertEquals(logNames(folder), [segment(1), segment(4)]);
  assertEquals(lines(open(folder).found.entries), lines([...left.entries.slice(0, 3), ...instead]));
});

Deno.test("recover() cuts a torn tail at every byte of the last segment, header included", () => {
  const left = leave({ batches: [2, 2, 2], segmentBytesMax: 500 });
  assertEquals(left.firsts, [1, 3, 5]);
  const bytes = left.files.get(segment(5))!;
  const all = linesOf(bytes);
  for (let size = 0; size < bytes.length; size++) {
    const count = 4 + all.filter(({ entry, end }) => entry !== undefined && end <= size).length;
    for (const torn of [bytes.slice(0, size), bytes.slice().fill(0, size)]) {
      const folder = folderWith(left, { [segment(5)]: torn });
      recoversTo(count, left, folder);
      const saved = folder.disk.list().filter((name) => name.startsWith("torn/"));
      const good = all.findLast(({ end }) => end <= size)?.end ?? 0;
      const cut = torn.subarray(good);
      assertEquals(saved.map((name) => folder.disk.read(name)), cut.length === 0 ? [] : [cut]);
    }
  }
});

Deno.test("recover() finds damage in any cut of an earlier segment: the later one vouches for it", () => {
  const left = leave({ batches: [2, 2, 2], segmentBytesMax: 500 });
  const bytes = left.files.get(segment(3))!;
  const all = linesOf(bytes);
  // Whatever a crash left of the last segment, its first byte was written when all before it was durable.
  const last = left.files.get(segment(5))!;
  for (let size = 0; size < bytes.length; size++) {
    const index = 3 + all.filter(({ entry, end }) => entry !== undefined && end <= size).length;
    for (const later of [last, last.slice(0, 20), new Uint8Array(200)]) {
      const cut = folderWith(left, { [segment(3)]: bytes.slice(0, size), [segment(5)]: later });
      const file = size === 0 ? segment(1) : segment(3); // the log ends with the segment before an empty one
      damaged(cut, `${file} is damaged`, `entry ${index}:`, `${segment(5)} says`, "durable up to entry 4");
      const zeroed = folderWith(left, { [segment(3)]: bytes.slice().fill(0, size), [segment(5)]: later });
      damaged(zeroed, segment(3), `entry ${index}:`, `${segment(5)} says`, "durable up to entry 4");
    }
  }
  const longer = new Uint8Array([...bytes, 0]);
  damaged(
    folderWith(left, { [segment(3)]: longer }),
    segment(3),
    `damaged at byte ${bytes.length}, entry 5`,
    `${segment(5)} was begun`,
  );
});

Deno.test("recover() takes an empty last segment for nothing: the tail before it may be torn", () => {
  const left = leave({ batches: [2, 2, 2], segmentBytesMax: 500 });
  const bytes = left.files.get(segment(3))!;
  const { start } = linesOf(bytes).at(-1)!;
  for (let size = start; size <= bytes.length; size++) {
    const folder = folderWith(left, {
      [segment(3)]: bytes.slice(0, size),
      [segment(5)]: new Uint8Array(),
      [segment(9)]: new Uint8Array(),
    });
    recoversTo(size === bytes.length ? 4 : 3, left, folder);
    assertEquals(logNames(folder), [segment(1), segment(3)]);
  }
});

Deno.test("recover() finds damage in a log without one of its segments", () => {
  const left = leave({ batches: [2, 2, 2], segmentBytesMax: 500, cleanStop: true });
  damaged(
    folderWith(left, { [segment(1)]: null }),
    segment(3),
    "entry 1: it is not there",
    "state.json says",
  );
  damaged(folderWith(left, { [segment(3)]: null }), "entry 3: it is not there", "state.json says");
  damaged(folderWith(left, { [segment(5)]: null }), "entry 5: it is not there", "state.json says");
});

/** A segment with other words in its header, sealed as they should be. */
function reworded(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const end = bytes.indexOf(10);
  const text = new TextDecoder().decode(bytes.subarray(18, end));
  assert(text.includes(from));
  return new Uint8Array([...sealLine(text.replace(from, to)), ...bytes.subarray(end + 1)]);
}

Deno.test("recover() refuses a segment of another node, cluster or version", () => {
  const left = leave({ batches: [2, 2, 2], segmentBytesMax: 500 });
  const bytes = left.files.get(segment(3))!;
  const changes: [string, string, string][] = [
    [`"nodeId":1`, `"nodeId":2`, `${segment(3)} belongs to node 2`],
    [identity.clusterId!, "ffffffffffffffff", `${segment(3)} belongs to cluster ffffffffffffffff`],
    [`"format":1`, `"format":2`, `${segment(3)} has format 2`],
  ];
  for (const [from, to, said] of changes) {
    refused(folderWith(left, { [segment(3)]: reworded(bytes, from, to) }), said);
  }
});

Deno.test("recover() finds damage where a segment is not the next one of this log", () => {
  const left = leave({ batches: [2, 2, 2], segmentBytesMax: 500 });
  const bytes = left.files.get(segment(3))!;
  const crc = left.entries[1]!.crc.toString(16).padStart(8, "0");
  const other = folderWith(left, { [segment(3)]: reworded(bytes, `"firstIndex":3`, `"firstIndex":4`) });
  damaged(
    other,
    `${segment(3)} is damaged at byte 0, entry 3: it holds the part of the log that begins with entry 4`,
  );
  const foreign = folderWith(left, { [segment(3)]: reworded(bytes, crc, "01234567") });
  damaged(foreign, `entry 2: the header of ${segment(3)} names another entry`);
  const double = folderWith(left, { [segment(2)]: bytes });
  damaged(
    double,
    `${segment(2)} is damaged at byte 0, entry 2: it holds the part of the log that begins with entry 3`,
  );
});

Deno.test("recover() opens a folder of one large file, and append() goes on in a second one", () => {
  const left = leave({ batches: [4, 4], segmentBytesMax: 64 << 20 });
  assertEquals(left.firsts, [1]);
  const folder = folderWith(left);
  const { storage, found } = open(folder, { segmentBytesMax: 500 });
  assertEquals(lines(found.entries), lines(left.entries));
  const more = entriesAfter(left.entries.at(-1)!, { count: 2, term: 1 });
  folder.do((done) => storage.append([write(more)], done));
  assertEquals(folder.disk.read(segment(1)), left.files.get(segment(1)));
  assertEquals(logNames(folder), [segment(1), segment(9)]);
  assertEquals(lines(open(folder).found.entries), lines([...left.entries, ...more]));
});
