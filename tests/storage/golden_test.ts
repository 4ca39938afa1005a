/**
 * Folders as earlier versions left them. They must be opened for ever; and what this version writes is compared with
 * the newest of them byte for byte, so that no format changes unnoticed.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Store } from "../../lib/kv/store.ts";
import type { SnapshotMetadata } from "../../lib/raft/types.ts";
import { snapshotName } from "../../lib/storage/snapshot_files.ts";
import { encodeSnapshot, SnapshotReader } from "../../lib/storage/snapshot_format.ts";
import { FolderError, type Recovered, Storage } from "../../lib/storage/storage.ts";
import { linesOf } from "../kv/commands.ts";
import { concat, Folder, identity, logName, recover, stateName, write } from "./folder.ts";
import { blocksOf } from "./snapshots.ts";

const at = new URL("./golden/format_1/", import.meta.url);
const golden = (name: string): Uint8Array => Deno.readFileSync(new URL(name, at));

const member = { id: 1, address: "127.0.0.1:8080", incarnation: identity.incarnation };
const hardState = { currentTerm: 2, votedFor: 1, admittedIndex: 1 };

const snapshot: SnapshotMetadata = {
  lastIncludedIndex: 3,
  lastIncludedTerm: 1,
  lastIncludedCrc: 0x160785ee,
  configuration: { members: [member] },
  configurationIndex: 1,
};

function goldenFolder(...files: [string, string][]): Folder {
  const folder = new Folder();
  for (const [name, source] of files) folder.put(name, golden(source));
  folder.operations = [];
  return folder;
}

function opened(folder: Folder): Recovered {
  const found = recover(folder);
  if (found instanceof FolderError) throw found;
  assertEquals(found.damage, null);
  assertEquals(found.identity, { ...identity, starts: 2, pinned: [member] });
  assertEquals(found.hardState, hardState);
  return found;
}

const summary = ({ entries }: Recovered) => entries.map(({ index, term, kind }) => [index, term, kind]);

Deno.test("recover() opens the folder of format 1 that lies here, and every later version must too", () => {
  const found = opened(goldenFolder([stateName, "state.json.txt"], [logName, "log.txt"]));
  assertEquals(summary(found), [
    [1, 0, "configuration"],
    [2, 1, "noop"],
    [3, 1, "command"],
    [4, 2, "noop"],
    [5, 2, "command"],
  ]);
});

Deno.test("recover() opens the same folder with its snapshot", () => {
  const found = opened(
    goldenFolder([stateName, "state.json.txt"], [logName, "log.txt"], [snapshotName(3), "snapshot.txt"]),
  );
  assertEquals(found.snapshot, snapshot);
  assertEquals(summary(found), [[4, 2, "noop"], [5, 2, "command"]]);
});

Deno.test("append() and close() leave the very bytes of the folder of format 1", () => {
  const found = opened(goldenFolder([stateName, "state.json.txt"], [logName, "log.txt"]));
  const folder = new Folder();
  const storage = new Storage(folder.disk);
  storage.recover(1);
  folder.do((done) => storage.open(found.identity!, done));
  const batches = [found.entries.slice(0, 1), found.entries.slice(1, 3), found.entries.slice(3)];
  for (const batch of batches) {
    const currentTerm = batch.at(-1)!.term;
    const votedFor = currentTerm === 0 ? null : 1;
    folder.do((done) => storage.append([write(batch, { currentTerm, votedFor, admittedIndex: 1 })], done));
  }
  folder.do((done) => storage.close(done));
  assertEquals(folder.disk.read(stateName), golden("state.json.txt"));
  assertEquals(folder.disk.read(logName), golden("log.txt"));
});

Deno.test("encodeSnapshot() leaves the very bytes of the snapshot of format 1, and the store takes its lines", () => {
  const bytes = golden("snapshot.txt");
  const store = new Store();
  const lines: string[] = [];
  const reader = new SnapshotReader("golden", (line) => {
    lines.push(JSON.stringify(line));
    return store.restoreLine(line);
  });
  assertEquals(reader.take(bytes), "whole");
  assertEquals(store.finishRestore(3), null);
  assertEquals(store.get("grüße"), { value: "two\nlines", version: 3 });
  assertEquals([...linesOf(store.snapshot())], lines);
  const contents = { clusterId: identity.clusterId, keys: 1, sessions: 1 };
  assertEquals(reader.contents, contents);
  assert(reader.metadata !== null);
  assertEquals(concat(...encodeSnapshot(reader.metadata, contents, blocksOf(lines))), bytes);
});
