import { assert, assertEquals } from "@std/assert";
import type { Disk, Done } from "../../lib/io/io.ts";
import type { Entry, HardState } from "../../lib/raft/types.ts";
import { type Recovered, Storage } from "../../lib/storage/storage.ts";
import { entriesAfter, identity, lines, write } from "./folder.ts";

type Files = ReadonlyMap<string, Uint8Array>;

/** A call to the disk: what was durable before, and what it was to do. */
interface Call {
  before: Files;
  name: string;
  /** Contents of the file afterwards; null: it is gone. */
  after: Uint8Array | null;
  isAppend: boolean;
}

/** A disk that writes down every call, so that the power can be cut in each of them afterwards. */
class RecordingDisk {
  readonly calls: Call[] = [];
  #waiting: Done[] = [];

  constructor(public files: Files) {}

  get disk(): Disk {
    const file = (name: string) => this.files.get(name) ?? new Uint8Array();
    return {
      list: () => [...this.files.keys()].sort(),
      read: (name) => this.files.get(name) ?? null,
      readRange: (name, offset, length) => file(name).slice(offset, offset + length),
      append: (name, bytes, done) => this.#call(name, joined(file(name), bytes), done, true),
      replace: (name, bytes, done) => this.#call(name, bytes, done),
      truncate: (name, size, done) => this.#call(name, file(name).slice(0, size), done),
      remove: (name, done) => this.#call(name, null, done),
    };
  }

  /** Runs an operation to its end; it must succeed. */
  do(start: (done: Done) => void): void {
    let isDone = false;
    start((error) => isDone = error === null);
    while (this.#waiting.length > 0) this.#waiting.shift()!(null);
    assert(isDone);
  }

  #call(name: string, after: Uint8Array | null, done: Done, isAppend = false): void {
    this.calls.push({ before: this.files, name, after, isAppend });
    this.files = withFile(this.files, name, after);
    this.#waiting.push(done);
  }
}

/** What a power cut within a call may leave. */
function* leftBy({ before, name, after, isAppend }: Call): Generator<Files> {
  yield before;
  yield withFile(before, name, after);
  if (!isAppend || after === null) return;
  const old = before.get(name)?.length ?? 0;
  const half = old + ((after.length - old) >> 1);
  yield withFile(before, name, after.slice(0, old)); // a new file has its name then, and no bytes
  yield withFile(before, name, after.slice(0, half));
  yield withFile(before, name, after.slice().fill(0, half));
  yield withFile(before, name, after.slice().fill(0, old));
  yield withFile(before, name, after.slice().fill(0, old, half));
  yield withFile(before, name, after.slice(0, Math.max(old, after.length - 512)));
}

function withFile(files: Files, name: string, bytes: Uint8Array | null): Files {
  const next = new Map(files);
  if (bytes === null) next.delete(name);
  else next.set(name, bytes);
  return next;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}

const options = { segmentBytesMax: 1500 };

/** Starts a node on these files: what it finds, and the storage ready for use. */
function start(files: Files): { found: Recovered; storage: Storage; recording: RecordingDisk } {
  const recording = new RecordingDisk(files);
  const storage = new Storage(recording.disk, options);
  const found = storage.recover(identity.nodeId);
  recording.do((done) => storage.repair(done));
  recording.do((done) => storage.saveIdentity({ ...identity, starts: found.identity!.starts + 1 }, done));
  return { found, storage, recording };
}

/** One batch of the story: the log keeps `keep` entries, `count` follow. */
interface Batch {
  keep?: number;
  count: number;
  flush?: boolean;
}

/** Entries have some 300 bytes: a segment takes four. */
const story: Batch[] = [
  ...[3, 1, 2, 4, 1, 1, 1, 5, 9, 2].map((count) => ({ count })),
  { count: 1, flush: true },
  { count: 3 },
  { keep: 21, count: 4 }, // over two boundaries, below what the state file vouches for
  { count: 2 },
  { count: 1 },
  { keep: 20, count: 1 },
  { count: 8 },
  { keep: 10, count: 1 }, // many segments
  ...[4, 3, 1, 1, 6].map((count) => ({ count })),
  { count: 2, flush: true },
  { keep: 0, count: 3 }, // everything
  ...[2, 2, 3, 1].map((count) => ({ count })),
];

/** A call of the story, and the logs before and after the batch that it belongs to. */
interface Scene {
  call: Call;
  log: Entry[];
  keep: number;
  next: Entry[];
  terms: [HardState, HardState];
}

/** Lives through the story once. */
function live(): { scenes: Scene[]; log: Entry[]; files: Files } {
  const recording = new RecordingDisk(new Map());
  const storage = new Storage(recording.disk, options);
  storage.recover(identity.nodeId);
  recording.do((done) => storage.repair(done));
  recording.do((done) => storage.saveIdentity(identity, done));
  const scenes: Scene[] = [];
  let log: Entry[] = [];
  let hardState: HardState = { currentTerm: 0, votedFor: null };
  for (const { keep = log.length, count, flush } of story) {
    const before = hardState;
    if (keep < log.length || hardState.currentTerm === 0) {
      hardState = { currentTerm: hardState.currentTerm + 1, votedFor: null };
    }
    const options = { count, term: hardState.currentTerm, size: 200 };
    const added = entriesAfter(log[keep - 1] ?? null, options);
    const next = [...log.slice(0, keep), ...added];
    const from = recording.calls.length;
    recording.do((done) => storage.append([write(added, hardState)], done));
    const terms: Scene["terms"] = [before, hardState];
    for (const call of recording.calls.slice(from)) scenes.push({ call, log, keep, next, terms });
    log = next;
    if (flush) recording.do((done) => storage.flushMark(done));
  }
  return { scenes, log, files: recording.files };
}

Deno.test("recover() starts after a power cut in any call to the disk, and in any call of that start", () => {
  const { scenes, log, files } = live();
  assertEquals(lines(start(files).found.entries), lines(log));
  let runs = 0;
  const check = (files: Files, { log, keep, next, terms }: Scene): Call[] => {
    runs++;
    const { found, storage, recording } = start(files);
    const calls = [...recording.calls];
    const text = lines(found.entries);
    assert(found.entries.length >= keep, "what both logs have in common is there");
    assert(lines(next).startsWith(text) || lines(log).startsWith(text), "and nothing but these");
    if (keep === log.length) assert(text.startsWith(lines(log)), "nothing that was durable is gone");
    assert(terms.some(({ currentTerm }) => currentTerm === found.hardState.currentTerm));
    // What comes next is written behind what was found, and is there after the next power cut.
    const more = entriesAfter(found.entries.at(-1) ?? null, { count: 1, term: terms[1].currentTerm });
    recording.do((done) => storage.append([write(more, terms[1])], done));
    assertEquals(lines(start(recording.files).found.entries), lines([...found.entries, ...more]));
    return calls;
  };
  for (const scene of scenes) {
    for (const files of leftBy(scene.call)) {
      for (const call of check(files, scene)) {
        for (const again of leftBy(call)) check(again, scene);
      }
    }
  }
  assert(runs > 1500, `${runs} runs`);
});
