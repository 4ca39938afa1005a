/**
 * The lines of a data folder besides the entries: the state file, and in the log the header and the marks. Each is a
 * sealed line of JSON, so a person can read them and a flipped bit is found.
 *
 * @module
 */

import { decodeText } from "../bytes.ts";
import { crcToHex } from "../crc32.ts";
import { isSealed, sealLine } from "../raft/entry.ts";
import type { HardState, Member, NodeId } from "../raft/types.ts";

/** Version of all formats of a folder. */
export const formatVersion = 1;

/** Term, vote and identity of the node. */
export const stateFile = "state.json";

/** The file of the log whose first entry has this index. Sorted by name, the segments are in order. */
export function segmentName(first: number): string {
  return `log/${String(first).padStart(20, "0")}.log`;
}

/** The index of the first entry in a segment, from its name; null when that is no segment's name. */
export function firstIndexIn(name: string): number | null {
  const first = Number(/^log\/(\d{20})\.log$/.exec(name)?.[1] ?? 0);
  return isWhole(first) && first > 0 ? first : null;
}

/** Who a data folder belongs to. */
export interface Identity {
  nodeId: NodeId;
  /** Random name of this folder, 16 hex digits. */
  incarnation: string;
  /** How often a node was started on this folder; only grows. */
  starts: number;
  /** The cluster that it belongs to; null until that is founded. */
  clusterId: string | null;
  /** The members with which the cluster is, or was, founded; null: not agreed on yet. */
  pinned: Member[] | null;
}

/** What the state file holds. */
export interface State {
  identity: Identity;
  hardState: HardState;
  mark: Mark;
}

/** Vouches that the log was durable up to the entry `index`, which had this `crc`. Index 0: nothing was. */
export interface Mark {
  index: number;
  crc: number;
}

/** The mark of an empty log. */
export const noMark: Mark = { index: 0, crc: 0 };

/**
 * The folder cannot be used: it belongs to another node, was written by a newer version, or is damaged in a way that
 * is not a write cut short by a crash. Its files were left as they are.
 */
export class FolderError extends Error {
  override name = "FolderError";
  /** What is wrong with the folder. */
  readonly reason: "foreign" | "newer" | "damaged";

  constructor(message: string, reason: FolderError["reason"] = "damaged") {
    super(message);
    this.reason = reason;
  }
}

const untouched = "Nothing in the folder was changed.";
/** What a person can do about a damaged folder. */
export const wayOut = `${untouched} The other nodes go on without this one as long as they are a majority. ` +
  "Put this node's own latest copy of the file back; an older copy, or an empty folder, must not take part";

/** The same, of a node that has no others. */
export const wayOutAlone =
  `${untouched} No other node has the data. Put the latest copy of the folder back, or cut ` +
  "off what is damaged, and all that was written after it, with: kvapp inspect DIR --repair --accept-loss";

/** The contents of the state file. */
export function encodeState(state: State): Uint8Array {
  const { nodeId, incarnation, starts, clusterId, pinned } = state.identity;
  const { currentTerm, votedFor, admittedIndex: admitted } = state.hardState;
  const identity = { format: formatVersion, nodeId, incarnation, starts, clusterId, pinned };
  return seal({
    ...identity,
    admitted,
    currentTerm,
    votedFor,
    synced: state.mark.index,
    at: crcToHex(state.mark.crc),
  });
}

/**
 * Reads the state file of the folder of `nodeId`; null: it is damaged. Throws FolderError when it is another node's, or
 * of a newer version.
 */
export function decodeState(bytes: Uint8Array, nodeId: NodeId): State | null {
  const fields = unseal(bytes);
  if (fields === null) return null;
  checkOrigin(stateFile, fields, nodeId);
  const { incarnation, starts, clusterId, pinned, admitted, currentTerm, votedFor } = fields;
  const mark = markIn(fields);
  if (
    typeof incarnation !== "string" || !isWhole(starts) ||
    !(clusterId === null || typeof clusterId === "string") ||
    !(pinned === null || Array.isArray(pinned) && pinned.every(isMember)) ||
    !isWhole(admitted) || !isWhole(currentTerm) || !(votedFor === null || isWhole(votedFor)) || mark === null
  ) {
    throw new FolderError(
      `${stateFile} is whole, but its fields are not those of format ${formatVersion}. ${untouched} ` +
        "Start the version that wrote the folder",
      "newer",
    );
  }
  const identity = { nodeId, incarnation, starts, clusterId, pinned };
  return { identity, hardState: { currentTerm, votedFor, admittedIndex: admitted }, mark };
}

/** The first line of a segment that begins behind the entry `before`, and so vouches for it like a mark. */
export function encodeHeader({ nodeId, clusterId }: Identity, before: Mark): Uint8Array {
  const prev = crcToHex(before.crc);
  return seal({ format: formatVersion, clusterId, nodeId, firstIndex: before.index + 1, prev });
}

/** What the header of a segment says. */
export interface Header {
  /** The entry before the first one. */
  before: Mark;
  /** The cluster that the node belonged to when the segment was begun; null: none yet. */
  clusterId: string | null;
}

/**
 * Reads the first line of the segment `name`; null: it is not whole. Throws FolderError when it is another node's, another
 * cluster's than `clusterId`, or of a newer version.
 */
export function decodeHeader(line: Uint8Array, name: string, owner: Owner): Header | null {
  const fields = unseal(line);
  if (fields === null || !("format" in fields)) return null;
  checkOrigin(name, fields, owner.nodeId);
  const { clusterId, firstIndex, prev } = fields;
  if (!(clusterId === null || typeof clusterId === "string")) return null;
  checkCluster(name, clusterId, owner);
  const before = markIn({ synced: Number(firstIndex) - 1, at: prev });
  return before === null ? null : { before, clusterId };
}

/** Who files must belong to. */
export interface Owner {
  nodeId: NodeId;
  /** Undefined: the state file, which knows it, is damaged. */
  clusterId: string | null | undefined;
}

/** Throws when a file belongs to another cluster than the state file says. */
export function checkCluster(name: string, clusterId: string | null, owner: Owner): void {
  if (clusterId === null || owner.clusterId === undefined || clusterId === owner.clusterId) return;
  throw new FolderError(
    `${name} belongs to cluster ${clusterId}, but ${stateFile} to ${owner.clusterId ?? "none yet"}: ` +
      `the files come from two folders. ${wayOut}`,
  );
}

/** A mark as a line of the log. It is written with the batch after the one that it vouches for. */
export function encodeMark(mark: Mark): Uint8Array {
  return seal({ synced: mark.index, at: crcToHex(mark.crc) });
}

/** Reads a line as a mark; null when it is not a whole one. */
export function decodeMark(line: Uint8Array): Mark | null {
  const fields = unseal(line);
  return fields === null || "format" in fields ? null : markIn(fields);
}

/** Throws when a sealed line with a `format` is of another version, or has another node's id. */
export function checkOrigin(file: string, fields: Record<string, unknown>, nodeId: NodeId | null): void {
  const { format } = fields;
  if (format !== formatVersion) {
    throw new FolderError(
      `${file} has format ${format}, and this version of kvapp reads format ${formatVersion}. ${untouched} ` +
        "Start the version that wrote the folder, or a newer one",
      "newer",
    );
  }
  if (nodeId !== null && fields.nodeId !== nodeId) {
    throw new FolderError(
      `${file} belongs to node ${fields.nodeId}, not to node ${nodeId}. ${untouched} ` +
        `Start node ${fields.nodeId} on it, or give node ${nodeId} a folder of its own`,
      "foreign",
    );
  }
}

/** Whether a line claims to be an entry; its own reader checks the claim. */
export function isEntryLine(line: Uint8Array): boolean {
  return line[19] === 0x70; // the p of {"crc":"........","prev":
}

/** A sealed line with these fields. */
export function seal(fields: Record<string, unknown>): Uint8Array {
  return sealLine(JSON.stringify(fields).slice(1));
}

/** The fields of a sealed line, or null when it is not whole. */
export function unseal(line: Uint8Array): Record<string, unknown> | null {
  if (!isSealed(line)) return null;
  try {
    const fields: unknown = JSON.parse(decodeText(line));
    return typeof fields === "object" && fields !== null ? fields as Record<string, unknown> : null;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return null;
    throw error;
  }
}

function markIn({ synced, at }: Record<string, unknown>): Mark | null {
  if (!isWhole(synced) || typeof at !== "string" || !/^[0-9a-f]{8}$/.test(at)) return null;
  return { index: synced, crc: parseInt(at, 16) };
}

/** Whether a value is a member of a configuration. */
function isMember(value: unknown): value is Member {
  if (typeof value !== "object" || value === null) return false;
  const { id, address, incarnation } = value as Record<string, unknown>;
  return isWhole(id) && typeof address === "string" && typeof incarnation === "string";
}

/** Whether a value is an integer from 0. */
export function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
