/**
 * How long a node with much data takes to be back: from the start of its process to the first answered linearizable
 * read. Its folder has two snapshots, as a node keeps them, and a log behind the newer one. The files are in the
 * system's cache, so this measures the program and not the disk.
 *
 * ```sh
 * deno task bench:restart --keys 1000000 --entries 100000 --runs 5
 * ```
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { openFolder } from "../lib/io/deno_io.ts";
import { Store } from "../lib/kv/store.ts";
import { clusterIdOf } from "../lib/protocol/peer_protocol.ts";
import { makeEntry } from "../lib/raft/entry.ts";
import type { Entry, SnapshotMetadata } from "../lib/raft/types.ts";
import { encodeSnapshot } from "../lib/storage/snapshot_format.ts";
import { Storage } from "../lib/storage/storage.ts";
import { mebibytesOf, processorMs, quantile } from "./process_figures.ts";
import { type TestNode, until, withCluster } from "../tests/e2e/cluster.ts";
import { exchange, type ReplyLine } from "../tests/e2e/line_connection.ts";

/** What the node has. */
interface Sizes {
  keys: number;
  /** Of each value. */
  valueBytes: number;
  /** In the log behind the newest snapshot. */
  entries: number;
}

const batchEntries = 2000;
const flushBytes = 4 << 20;

function keyOf(i: number): string {
  return `user/${String(i).padStart(8, "0")}`;
}

function valueOf(i: number, bytes: number): string {
  return `${i},`.repeat(Math.ceil(bytes / 2)).slice(0, bytes);
}

/** Makes the folder of a node that was alone, stopped in good order. */
export async function makeNodeFolder({ folder, raft }: TestNode, sizes: Sizes): Promise<void> {
  const opened = await openFolder(folder);
  const storage = new Storage(opened.disk);
  storage.recover(1);
  const members = [{ id: 1, address: raft, incarnation: "0123456789abcdef" }];
  const clusterId = clusterIdOf(members);
  const identity = { nodeId: 1, incarnation: members[0]!.incarnation, starts: 0, clusterId, pinned: members };
  await durable((done) => storage.open(identity, done));
  const store = new Store();
  for (let i = 1; i <= sizes.keys; i++) {
    store.apply({ op: "put", key: keyOf(i), value: valueOf(i, sizes.valueBytes) }, i + 1);
  }
  const last = sizes.keys + 2;
  for (const index of [last - 1, last]) {
    const metadata: SnapshotMetadata = {
      lastIncludedIndex: index,
      lastIncludedTerm: 1,
      lastIncludedCrc: 1,
      configuration: { members },
      configurationIndex: 1,
    };
    await writeSnapshot(storage, store, { metadata, clusterId });
    const hardState = { currentTerm: 1, votedFor: 1, admittedIndex: 1 };
    const write = { hardState, snapshot: metadata, chunks: [], entries: [], messages: [] };
    await durable((done) => storage.append([write], done));
  }
  await writeLog(storage, last, sizes);
  await durable((done) => storage.close(done));
  await opened.close();
}

async function writeSnapshot(
  storage: Storage,
  store: Store,
  { metadata, clusterId }: { metadata: SnapshotMetadata; clusterId: string },
): Promise<void> {
  const { keys, sessions, blocks } = store.snapshot();
  const parts: Uint8Array[] = [];
  let offset = 0, bytes = 0;
  const flush = async (): Promise<void> => {
    const piece = new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
    await durable((done) => storage.snapshots.write(metadata.lastIncludedIndex, offset, piece, done));
    offset += bytes;
    parts.length = bytes = 0;
  };
  for (const part of encodeSnapshot(metadata, { clusterId, keys, sessions }, blocks())) {
    parts.push(part);
    bytes += part.length;
    if (bytes >= flushBytes) await flush();
  }
  await flush();
}

/** Entries that change keys here and there. */
async function writeLog(storage: Storage, base: number, sizes: Sizes): Promise<void> {
  let prevCrc = 1;
  for (let from = 1; from <= sizes.entries; from += batchEntries) {
    const entries: Entry[] = [];
    for (let i = from; i < from + batchEntries && i <= sizes.entries; i++) {
      const key = keyOf(1 + i * 7919 % sizes.keys);
      const command = { op: "put", key, value: valueOf(-i, sizes.valueBytes) };
      const entry = makeEntry({ index: base + i, term: 1, kind: "command", command, prevCrc });
      prevCrc = entry.crc;
      entries.push(entry);
    }
    const write = { hardState: null, snapshot: null, chunks: [], entries, messages: [] };
    await durable((done) => storage.append([write], done));
  }
}

function durable(operation: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => operation((error) => error === null ? resolve() : reject(error)));
}

/** One start, up to the first answer. */
interface Start {
  ms: number;
  /** Null where the system does not tell. */
  processorMs: number | null;
  peakMiB: number | null;
}

async function measureStart(node: TestNode, key: string): Promise<Start> {
  const startedAt = performance.now();
  node.start();
  await until("an answer", () => tryGet(node, key));
  const ms = Math.round(performance.now() - startedAt);
  const start = {
    ms,
    processorMs: await processorMs(node),
    peakMiB: (await mebibytesOf(node))?.peak ?? null,
  };
  await node.kill();
  return start;
}

async function tryGet(node: TestNode, key: string): Promise<ReplyLine | null> {
  try {
    const [reply] = await exchange(node.client, [{ op: "get", key }]);
    if (reply!.ok && reply!.found !== true) throw new Error(`${key} is lost`);
    return reply!.ok ? reply! : null;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return null;
    throw error;
  }
}

async function main(args: string[]): Promise<number> {
  const options = parseArgs(args, { string: ["keys", "entries", "value-bytes", "runs"] });
  const keys = Number(options.keys ?? 1_000_000);
  const entries = Number(options.entries ?? 100_000);
  const valueBytes = Number(options["value-bytes"] ?? 100);
  const runs = Number(options.runs ?? 5);
  if (![keys, entries, valueBytes, runs].every((one) => Number.isSafeInteger(one) && one > 0)) {
    console.error("usage: restart.ts [--keys N] [--entries N] [--value-bytes N] [--runs N]");
    return 2;
  }
  const starts: Start[] = [];
  await withCluster({ nodes: 1, start: false }, async ({ nodes: [node] }) => {
    await makeNodeFolder(node!, { keys, entries, valueBytes });
    for (let run = 1; run <= runs; run++) {
      const start = await measureStart(node!, keyOf(keys));
      starts.push(start);
      console.error(`run ${run} of ${runs}: ${JSON.stringify(start)}`);
    }
  });
  const medianMs = quantile(starts.map(({ ms }) => ms), 0.5);
  console.log(JSON.stringify({ keys, entries, valueBytes, medianMs, starts }));
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
