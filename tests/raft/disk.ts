/**
 * What survives a crash of a test's node: term and vote, snapshots and the log, each as `Write` asks for. A snapshot
 * is the JSON of the commands applied so far behind a checksum, so that a test can damage it.
 *
 * @module
 */

import { assert } from "@std/assert";
import { crc32, crcToHex } from "../../lib/crc32.ts";
import type { RecoveredState } from "../../lib/raft/raft.ts";
import type { Entry, HardState, NodeId, SnapshotMetadata, Write } from "../../lib/raft/types.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Term and vote of a node that the founding configuration names. */
export function admitted(currentTerm: number, votedFor: NodeId | null): HardState {
  return { currentTerm, votedFor, admittedIndex: 1 };
}

/** The bytes of a snapshot: what the log said, and the state. */
export function encodeSnapshot(snapshot: SnapshotMetadata, commands: readonly unknown[]): Uint8Array {
  const body = encoder.encode(JSON.stringify({ snapshot, commands }));
  return joined(encoder.encode(crcToHex(crc32(body))), body);
}

/** What the bytes hold; null: it is no whole snapshot. */
export function decodeSnapshot(
  bytes: Uint8Array,
): { snapshot: SnapshotMetadata; commands: unknown[] } | null {
  const body = bytes.subarray(8);
  const isWhole = decoder.decode(bytes.subarray(0, 8)) === crcToHex(crc32(body));
  return isWhole ? JSON.parse(decoder.decode(body)) : null;
}

/** One disk. */
export class Disk {
  hardState: HardState;
  /** The newest snapshot. */
  snapshot: SnapshotMetadata | null = null;
  /** Consecutive. The log is cut in front in memory only. */
  entries: Entry[];
  /** Snapshots by lastIncludedIndex. */
  readonly files = new Map<number, Uint8Array>();
  /** What came so far of another node's snapshot. */
  incoming: Uint8Array = new Uint8Array();

  constructor(hardState: HardState, entries: readonly Entry[]) {
    this.hardState = hardState;
    this.entries = [...entries];
  }

  /** Term and vote come before the rest, and of the entries only the first `count` get there in a crash. */
  save({ hardState, chunks, snapshot, entries }: Write, count: number = entries.length): void {
    if (hardState !== null) this.hardState = hardState;
    for (const { offset, data } of chunks) {
      if (offset === 0) this.incoming = new Uint8Array();
      assert(offset === this.incoming.length, "the pieces of a snapshot are written in their order");
      this.incoming = joined(this.incoming, data);
    }
    if (snapshot !== null) {
      assert(this.files.has(snapshot.lastIncludedIndex), "a snapshot is whole before the log is given up");
      this.snapshot = snapshot;
      this.entries = [];
    }
    const [first] = entries;
    if (first === undefined) return;
    const at = first.index - (this.entries[0]?.index ?? first.index);
    assert(at >= 0 && at <= this.entries.length, "the log on the disk has no gap");
    this.entries.splice(at, Infinity, ...entries.slice(0, count));
  }

  /** The entry at `index` is in the log, or in the newest snapshot, which holds only what is committed. */
  holds({ index, crc }: Entry): boolean {
    if (index <= (this.snapshot?.lastIncludedIndex ?? 0)) return true;
    return this.at(index)?.crc === crc;
  }

  at(index: number): Entry | undefined {
    return this.entries[index - (this.entries[0]?.index ?? 0)];
  }

  /** The commands that the newest snapshot holds. */
  get state(): unknown[] {
    const bytes = this.snapshot && this.files.get(this.snapshot.lastIncludedIndex);
    return bytes ? decodeSnapshot(bytes)!.commands : [];
  }

  /** What a node that starts is given. A log that does not go on behind the snapshot is set aside. */
  recover(): RecoveredState {
    const { snapshot } = this;
    this.incoming = new Uint8Array();
    if (snapshot !== null && this.at(snapshot.lastIncludedIndex)?.crc !== snapshot.lastIncludedCrc) {
      const follows = this.entries[0]?.index === snapshot.lastIncludedIndex + 1;
      if (!follows) this.entries = [];
    }
    const entries = this.entries.filter(({ index }) => index > (snapshot?.lastIncludedIndex ?? 0));
    return { hardState: { ...this.hardState }, snapshot, entries };
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}
