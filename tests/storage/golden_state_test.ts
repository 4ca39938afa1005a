/**
 * A folder that holds one of everything that the state machine knows: sessions with every kind of answer, keys that go,
 * transactions, in the log and in a snapshot. Every later version must make the same state of it.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { Command, Result } from "../../lib/kv/command.ts";
import { Store } from "../../lib/kv/store.ts";
import { makeEntry } from "../../lib/raft/entry.ts";
import type { Entry } from "../../lib/raft/types.ts";
import { encodeSnapshot, SnapshotReader } from "../../lib/storage/snapshot_format.ts";
import { snapshotName } from "../../lib/storage/snapshot_files.ts";
import { FolderError, Storage } from "../../lib/storage/storage.ts";
import { concat, Folder, identity, logName, recover, stateName, write } from "./folder.ts";

const at = new URL("./golden/format_1_state/", import.meta.url);
const files: Record<string, string> = {
  [stateName]: "state.json.txt",
  [logName]: "log.txt",
  [snapshotName(23)]: "snapshot.txt",
};
const member = { id: 1, address: "127.0.0.1:8080", incarnation: identity.incarnation };
/** The snapshot holds the entries up to here. */
const snapshotIndex = 23;

/** Entry 1 is the configuration, entry 2 the no-op; these follow. */
const commands: readonly Command[] = [
  { op: "session" }, // 3
  { op: "put", key: "a", value: "1", session: "3", seq: 1 },
  { op: "put", key: "grüße", value: 'two\nlines "quoted" \u2028', previous: true, session: "3", seq: 2 },
  { op: "put", key: "a", value: "2", ifVersion: 99, session: "3", seq: 3 }, // refused
  { op: "put", key: "lease/1", value: "x", ttlMs: 60_000, logTime: 1000 },
  { op: "put", key: "lease/2", value: "y", ttlMs: 500, logTime: 1001, session: "3", seq: 4 },
  { op: "increment", key: "n", by: "9007199254740993", session: "3", seq: 5 },
  { op: "increment", key: "a\u{1f511}", by: "-5" },
  { op: "increment", key: "lease/1", by: "1", session: "3", seq: 6 }, // not an integer
  { op: "expire", logTime: 1501 }, // takes lease/2
  { op: "put", key: "z/1", value: "" }, // 13
  { op: "put", key: "z/2", value: "", session: "3", seq: 140 }, // seq 1 to 13 are too old now: six of them had answers
  { op: "deleteRange", prefix: "z/", session: "3", seq: 141 },
  { op: "session" }, // 16
  {
    op: "txn",
    if: [{ key: "a", value: "1" }, { key: "b", exists: false }, { key: "n", version: 9 }],
    then: [
      { op: "put", key: "b", value: "then", ttlMs: 90_000 },
      { op: "get", key: "b" },
      { op: "get", key: "none" },
      { op: "delete", key: "a" },
      { op: "increment", key: "n", by: "7" },
      { op: "deleteRange", start: "x", end: "y" },
    ],
    else: [],
    logTime: 2000,
    session: "16",
    seq: 1,
  },
  {
    op: "txn",
    if: [{ key: "b", version: 0 }],
    then: [],
    else: [{ op: "put", key: "c", value: "lost" }, { op: "increment", key: "b", by: "1" }], // fails
    session: "16",
    seq: 2,
  },
  { op: "delete", key: "grüße", previous: true, session: "16", seq: 3 },
  { op: "delete", key: "none", ifValue: "x", session: "16", seq: 4 }, // refused
  { op: "put", key: "a", value: "again", session: "3", seq: 1 }, // too old
  { op: "increment", key: "digits", by: "9".repeat(1000) },
  { op: "increment", key: "digits", by: "1", session: "16", seq: 5 }, // 23: a digit too many
  { op: "put", key: "n", value: "behind the snapshot", ttlMs: 1, logTime: 2500, session: "16", seq: 6 },
  { op: "expire", logTime: 2501 },
  { op: "put", key: "b", value: "stays", session: "16", seq: 1 }, // a repetition: the transaction's answer
];

const digests = { 23: "46cc1207", 26: "cf8f9beb" };

function golden(name: string): Uint8Array {
  return Deno.readFileSync(new URL(files[name]!, at));
}

function makeLog(): Entry[] {
  const entries: Entry[] = [];
  const add = (kind: Entry["kind"], command: unknown, term: number): void => {
    const prevCrc = entries.at(-1)?.crc ?? 0;
    entries.push(makeEntry({ index: entries.length + 1, term, kind, command, prevCrc }));
  };
  add("configuration", { members: [member] }, 0);
  add("noop", null, 1);
  for (const command of commands) add("command", command, 1);
  return entries;
}

/** Applies the commands of some entries. */
function apply(store: Store, entries: readonly Entry[]): Result[] {
  return entries.filter(({ kind }) => kind === "command")
    .map(({ command, index }) => store.apply(command as Command, index));
}

/** What this version makes of the commands, as files. */
function makeFolder(): Folder {
  const entries = makeLog();
  const folder = new Folder();
  const storage = new Storage(folder.disk);
  storage.recover(1);
  folder.do((done) => storage.open({ ...identity, pinned: [member] }, done));
  const hardState = (currentTerm: number) => ({ currentTerm, votedFor: 1, admittedIndex: 1 });
  for (const batch of [entries.slice(0, 1), entries.slice(1, 9), entries.slice(9)]) {
    folder.do((done) => storage.append([write(batch, hardState(1))], done));
  }
  folder.do((done) => storage.close(done));
  const store = new Store();
  apply(store, entries.slice(0, snapshotIndex));
  const state = store.snapshot();
  const last = entries[snapshotIndex - 1]!;
  const metadata = {
    lastIncludedIndex: last.index,
    lastIncludedTerm: last.term,
    lastIncludedCrc: last.crc,
    configuration: { members: [member] },
    configurationIndex: 1,
  };
  const contents = { clusterId: identity.clusterId, keys: state.keys, sessions: state.sessions };
  folder.put(snapshotName(snapshotIndex), concat(...encodeSnapshot(metadata, contents, state.blocks())));
  return folder;
}

Deno.test("Store.apply() makes of the log of format 1 what its first version made of it, and always must", () => {
  const folder = new Folder();
  for (const name of [stateName, logName]) folder.put(name, golden(name));
  folder.operations = [];
  const found = recover(folder);
  if (found instanceof FolderError) throw found;
  const store = new Store();
  apply(store, found.entries.slice(0, snapshotIndex));
  assertEquals(store.digest(), digests[23]);
  const results = apply(store, found.entries.slice(snapshotIndex));
  assertEquals(store.digest(), digests[26]);
  assertEquals(results[1], { ok: true, expired: 1, index: 25 });
  assertEquals("succeeded" in results[2]! && results[2].index, 17, "a repetition gets the first answer");
});

Deno.test("Store.restoreLine() makes of the snapshot of format 1 the same, and goes on behind it", () => {
  const folder = new Folder();
  for (const name of Object.keys(files)) folder.put(name, golden(name));
  const store = new Store();
  const reader = new SnapshotReader("golden", (line) => store.restoreLine(line));
  assertEquals(reader.take(golden(snapshotName(snapshotIndex))), "whole");
  assertEquals(store.finishRestore(snapshotIndex), null);
  assertEquals([store.digest(), store.logTime, store.nextExpiry], [digests[23], 2000, 61_000]);
  folder.operations = [];
  const found = recover(folder);
  if (found instanceof FolderError) throw found;
  assertEquals(found.snapshot?.lastIncludedIndex, snapshotIndex);
  apply(store, found.entries);
  assertEquals(store.digest(), digests[26]);
  assertEquals(store.list({ limit: 99, keysOnly: true }).entries.map(({ key }) => key), [
    "a\u{1f511}",
    "b",
    "digits",
    "lease/1",
  ]);
});

Deno.test("Storage.append() and encodeSnapshot() leave the very bytes of the folder that holds one of everything", () => {
  const folder = makeFolder();
  for (const name of Object.keys(files)) {
    assertEquals(new TextDecoder().decode(folder.disk.read(name)!), new TextDecoder().decode(golden(name)));
  }
});
