/**
 * What a start finds in a data folder: the state file, the newest whole snapshot, the log behind it, and whether
 * something is lost that the node may have promised. Nothing is changed here.
 *
 * @module
 */

import type { Disk } from "../io/io.ts";
import { configurationOf } from "../raft/entry.ts";
import type { Entry, HardState, NodeId, SnapshotMetadata } from "../raft/types.ts";
import {
  decodeState,
  FolderError,
  type Identity,
  type Mark,
  noMark,
  segmentName,
  stateFile,
  wayOut,
} from "./formats.ts";
import { type RecoveredLog, recoverLog } from "./log_recovery.ts";
import type { SnapshotFiles, SnapshotTarget } from "./snapshot_files.ts";

/** What a folder held when the node started. */
export interface Recovered {
  /** null: the folder is empty, this is a first start. */
  identity: Identity | null;
  hardState: HardState;
  /** The newest whole snapshot, or null. */
  snapshot: SnapshotMetadata | null;
  /** The entries behind it. */
  entries: Entry[];
  /** What the folder has lost that it may have acknowledged or promised, and where; null: nothing. */
  damage: string | null;
  /** For people: what was recovered, and what `open` will do about the rest. */
  notes: string[];
}

/** The same, and what `open` has to do. */
export interface RecoveredFolder extends Recovered {
  /** null: the folder is new. */
  log: RecoveredLog | null;
  /** The last entry of the snapshot, or none. */
  base: Mark;
  /** What the state file vouches for. */
  stateMark: Mark;
}

const nothing: HardState = { currentTerm: 0, votedFor: null, admittedIndex: 0 };

/** Reads the folder. Throws FolderError when it is another node's, a newer version's, or half of it is missing. */
export function recoverFolder(
  disk: Disk,
  nodeId: NodeId,
  files: SnapshotFiles,
  makeTarget: (() => SnapshotTarget) | null = null,
): RecoveredFolder {
  const bytes = disk.read(stateFile);
  if (bytes === null) return newFolder(disk);
  const state = decodeState(bytes, nodeId);
  const owner = { nodeId, clusterId: state?.identity.clusterId };
  const { newest: snapshot, notes, clusterId } = files.recover(owner, makeTarget);
  const base = snapshot === null
    ? { ...noMark, term: 0 }
    : { index: snapshot.lastIncludedIndex, crc: snapshot.lastIncludedCrc, term: snapshot.lastIncludedTerm };
  const stateMark = state?.mark ?? noMark;
  const log = recoverLog(disk, { owner, base, stateMark });
  const last = log.entries.at(-1) ?? base;
  let hardState = state?.hardState ?? nothing;
  let damage = state === null ? `${stateFile} is damaged: its checksum does not match` : log.damage;
  if (last.term > hardState.currentTerm) {
    damage ??= `${stateFile} is older than the log: it knows of term ${hardState.currentTerm}, and entry ` +
      `${last.index} has term ${last.term}. A vote may be forgotten`;
    hardState = { ...hardState, currentTerm: last.term, votedFor: null };
  }
  if (damage !== null) hardState = { ...hardState, admittedIndex: 0 };
  const identity = state?.identity ?? identityFrom(nodeId, log, clusterId);
  notes.push(describe(hardState, snapshot, last), ...describeRest(log));
  return { identity, hardState, snapshot, entries: log.entries, damage, notes, log, base, stateMark };
}

/** A folder without state file that has data was not left so by a crash: that file is the first one written. */
function newFolder(disk: Disk): RecoveredFolder {
  const other = disk.list().find((name) => /^(log|snapshots|torn|damaged)\//.test(name));
  if (other !== undefined) {
    throw new FolderError(
      `${stateFile} is missing, though there is ${other}: half of the folder is lost. ${wayOut}`,
    );
  }
  const found = { identity: null, hardState: nothing, snapshot: null, entries: [], damage: null };
  return { ...found, notes: ["the data folder is new"], log: null, base: noMark, stateMark: noMark };
}

/** Who a folder belongs to whose state file cannot be read, without a name of its own; null: nothing tells. */
function identityFrom(nodeId: NodeId, log: RecoveredLog, clusterId: string | null): Identity | null {
  const known = clusterId ?? log.clusterId;
  if (known === null) return null;
  const first = log.entries[0];
  const isFounding = first?.index === 1 && first.kind === "configuration";
  const pinned = isFounding ? configurationOf(first).members : null;
  return { nodeId, incarnation: "", starts: 0, clusterId: known, pinned };
}

function describe(
  { currentTerm }: HardState,
  snapshot: SnapshotMetadata | null,
  last: { index: number; term: number },
): string {
  if (last.index === 0) return `recovered term ${currentTerm} and an empty log`;
  const from = snapshot === null ? "" : `the snapshot of entry ${snapshot.lastIncludedIndex} and `;
  const log = `the log up to entry ${last.index} of term ${last.term}`;
  return `recovered term ${currentTerm}${from === "" ? " and " : `, ${from}`}${log}`;
}

/** What of the log does not belong, and where it goes. */
function describeRest({ tail, lost, damage, isObsolete, segments }: RecoveredLog): string[] {
  if (isObsolete) {
    return segments.length === 0
      ? []
      : ["the log does not reach to the snapshot, or is not its own, and is removed"];
  }
  const notes: string[] = [];
  if (tail !== null) {
    const { first, end } = segments.at(-1)!;
    const bytes = `${tail.bytes.length} bytes from byte ${end} (${tail.reason})`;
    notes.push(
      damage === null
        ? `${segmentName(first)} ends in a write that a crash cut short: ${bytes} are moved to torn/`
        : `what follows the damage in ${segmentName(first)}, ${bytes}, is moved to damaged/`,
    );
  }
  for (const { first } of lost) {
    notes.push(`${segmentName(first)}, which is not a part of the log any more, is moved to damaged/`);
  }
  return notes;
}
