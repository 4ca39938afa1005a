/**
 * What it costs to make entries durable: they are appended to the log on a real disk, in the folder of temporary files,
 * with one fsync for each batch. Beside it the fsync alone, which is the disk's part.
 *
 * @module
 */

import { openFolder } from "../lib/io/deno_io.ts";
import { makeEntry } from "../lib/raft/entry.ts";
import type { Entry } from "../lib/raft/types.ts";
import { type Identity, Storage } from "../lib/storage/storage.ts";
import { areGranted, benchFolder } from "./permissions.ts";

const ignore = !areGranted("appends to a log, with fsync", ["read", "write"]);
const identity: Identity = {
  nodeId: 1,
  incarnation: "0123456789abcdef",
  starts: 1,
  clusterId: null,
  pinned: null,
};
const command = { op: "put", key: "key00000000", value: "x".repeat(256) } as const;
/** Where a segment's worth of log is compacted away, so that the disk does not fill. */
const keptEntries = 50_000;

/** A log that grows at its end. */
class GrowingLog {
  readonly #storage: Storage;
  #last = 0;
  #lastCrc = 0;
  #kept = 0;

  private constructor(storage: Storage) {
    this.#storage = storage;
  }

  static async open(path: string): Promise<GrowingLog> {
    const storage = new Storage((await openFolder(path)).disk);
    storage.recover(identity.nodeId);
    await finished((done) => storage.open(identity, done));
    return new GrowingLog(storage);
  }

  /** So many more entries, made and not yet appended. */
  next(count: number): Entry[] {
    return Array.from({ length: count }, () => {
      const entry = makeEntry({
        index: ++this.#last,
        term: 1,
        kind: "command",
        command,
        prevCrc: this.#lastCrc,
      });
      this.#lastCrc = entry.crc;
      return entry;
    });
  }

  append(entries: Entry[]): Promise<void> {
    const write = { hardState: null, chunks: [], snapshot: null, entries, messages: [] };
    return finished((done) => this.#storage.append([write], done));
  }

  /** Keeps the disk from filling. */
  async compact(): Promise<void> {
    if (this.#last - this.#kept < keptEntries) return;
    this.#kept = this.#last;
    await finished((done) => this.#storage.compact(this.#kept, done));
  }
}

function finished(start: (done: (error: Error | null) => void) => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  start((error) => error === null ? resolve() : reject(error));
  return promise;
}

const path = ignore ? null : benchFolder();
const log = path === null ? null : await GrowingLog.open(`${path}/node`);
const file = path === null ? null : Deno.openSync(`${path}/fsync`, { create: true, append: true });
const line = new Uint8Array(400);

Deno.bench({
  name: "400 bytes appended to a file, fsync: the disk's part",
  group: "log",
  baseline: true,
  ignore,
}, async () => {
  file!.writeSync(line);
  await file!.syncData();
});

for (const count of [1, 64, 1000]) {
  Deno.bench({ name: `Storage.append() of ${count}, fsync`, group: "log", ignore }, async (b) => {
    await log!.compact();
    const entries = log!.next(count);
    b.start();
    await log!.append(entries);
    b.end();
  });
}
