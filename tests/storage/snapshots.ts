/**
 * Snapshots for tests of their files: of the state after an entry of some log, whole or in the pieces in which another
 * node sends them.
 *
 * @module
 */

import { type Block, LineBuffer } from "../../lib/kv/line_buffer.ts";
import { sealLine } from "../../lib/raft/entry.ts";
import type { InstallSnapshot } from "../../lib/raft/messages.ts";
import type { Entry, SnapshotMetadata, Write } from "../../lib/raft/types.ts";
import { snapshotName } from "../../lib/storage/snapshot_files.ts";
import { encodeSnapshot } from "../../lib/storage/snapshot_format.ts";
import { concat, type Folder, identity, write } from "./folder.ts";

/** What a snapshot of the state after the entry `index` of `log` says of itself. */
export function metadataAt(log: readonly Entry[], index: number): SnapshotMetadata {
  const { term, crc } = log[index - 1]!;
  return {
    lastIncludedIndex: index,
    lastIncludedTerm: term,
    lastIncludedCrc: crc,
    configuration: { members: [{ id: 1, address: "n1:8080", incarnation: identity.incarnation }] },
    configurationIndex: 1,
  };
}

/** `count` lines of a state machine. */
export function stateLines(count: number, size = 10): string[] {
  return Array.from(
    { length: count },
    (_, i) => JSON.stringify({ key: `key ${i}`, value: "w".repeat(size) }),
  );
}

/** Lines of a state machine as a snapshot takes them. */
export function* blocksOf(lines: Iterable<string>): Generator<Block> {
  const buffer = new LineBuffer();
  for (const line of lines) {
    buffer.line(line);
    if (buffer.isFull) yield buffer.take();
  }
  const last = buffer.take();
  if (last.lines > 0) yield last;
}

/** The bytes of that snapshot. */
export function snapshotAt(
  log: readonly Entry[],
  index: number,
  { lines = stateLines(3), clusterId = identity.clusterId }: { lines?: string[]; clusterId?: string | null } =
    {},
): Uint8Array {
  const contents = { clusterId, keys: lines.length, sessions: 0 };
  return concat(...encodeSnapshot(metadataAt(log, index), contents, blocksOf(lines)));
}

/** Puts snapshots of these entries into a folder that nobody uses. */
export function putSnapshots(folder: Folder, log: readonly Entry[], ...indexes: number[]): void {
  for (const index of indexes) folder.put(snapshotName(index), snapshotAt(log, index));
}

/** A snapshot as it comes from another node: writes of one piece each. */
export function chunkWrites(bytes: Uint8Array, metadata: SnapshotMetadata, pieceBytes: number): Write[] {
  const writes: Write[] = [];
  const { lastIncludedIndex, lastIncludedTerm, lastIncludedCrc } = metadata;
  for (let offset = 0; offset < bytes.length; offset += pieceBytes) {
    const chunk: InstallSnapshot = {
      type: "installSnapshot",
      from: 2,
      to: 1,
      term: lastIncludedTerm,
      lastIncludedIndex,
      lastIncludedTerm,
      lastIncludedCrc,
      offset,
      data: bytes.slice(offset, offset + pieceBytes),
      done: offset + pieceBytes >= bytes.length,
    };
    writes.push({ ...write([]), chunks: [chunk] });
  }
  return writes;
}

/** The write with which a snapshot that came takes the place of the log. */
export function install(snapshot: SnapshotMetadata, entries: Entry[] = []): Write {
  return { ...write(entries), snapshot };
}

/** A file with other words in its first line, sealed as they should be. */
export function reworded(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const end = bytes.indexOf(10);
  const text = new TextDecoder().decode(bytes.subarray(18, end));
  if (!text.includes(from)) throw new Error(`there is no ${from} in ${text}`);
  return concat(sealLine(text.replace(from, to)), bytes.subarray(end + 1));
}
