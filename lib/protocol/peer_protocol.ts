/**
 * The raft port: what nodes say to each other, as lines of JSON that a person can read along with netcat. A hello
 * comes first, then with a secret a proof, and a hello again whenever something in it changes. AppendEntries is one header line that tells the number of
 * entries, then the entries' own lines, verbatim as they stand in the log. InstallSnapshot is one header line that tells
 * the number of bytes, then lines of the snapshot; a last one that the piece cuts is ended with a newline that does not
 * count. Every other message is one line.
 *
 * @module
 */

import { Arena, concat, decodeText, merged } from "../bytes.ts";
import { crc32, crcToHex, writeCrc } from "../crc32.ts";
import { findPlainPut } from "../kv/plain_put.ts";
import { entryLines, readEntry } from "../raft/entry.ts";
import type { AppendEntries, InstallSnapshot, Message } from "../raft/messages.ts";
import type { Entry, Member, NodeId } from "../raft/types.ts";
import { trimLine } from "./lines.ts";

/** Versions of this protocol that this program speaks. */
export const protocolVersions = { min: 1, max: 1 };

/** Entries in one AppendEntries; the sender stays far below. */
const entriesMax = 1 << 20;

/**
 * No later term is read. No honest cluster gets near it, and the core can count on from it without losing precision.
 * How far ahead of a node's own term a message may be is bounded where that is known (lib/raft/inspection.ts).
 */
export const termMax = 2 ** 48;

/** Bytes of a snapshot in one InstallSnapshot. */
export const chunkBytesMax = 256 << 10;

/** Who speaks, and for which cluster. */
export interface Hello {
  type: "hello";
  versions: { min: number; max: number };
  nodeId: NodeId;
  /** Random name of the sender's data folder, 16 hex digits. */
  incarnation: string;
  /** How often the sender has been started on its folder. One that went back tells a restored copy. */
  starts: number;
  /** Random name of the sender's process. Two at a time for one count of starts tell a copied folder. */
  nonce: string;
  /** Where its clients connect. */
  clientAddress: string;
  /** The nodes that it was told of. All must have been told the same until the cluster is founded. */
  cluster: { id: NodeId; address: string }[];
  /** Name of the cluster that it has bound itself to, or null. */
  clusterId: string | null;
  /** The members of that cluster with their incarnations, or null. */
  members: Member[] | null;
  /** The cluster is founded: that configuration is in its log. */
  founded: boolean;
  /** Index of the configuration entry that made the sender's folder a member's; 0: it abstains. */
  admitted: number;
  /** There is room on its disk, so that it could lead. */
  hasRoom: boolean;
  /** In the first hello on a connection, of a node that has a secret: what the other end's proof is to cover. */
  challenge?: string;
}

/** A line that is about the connection and not for the protocol. */
export type LinkLine =
  | Hello
  /** The sender has the secret (lib/server/handshake.ts). */
  | { type: "proof"; proof: string }
  | { type: "refused"; reason: string }
  | { type: "ping" }
  | { type: "pong" };

/** What the reader makes of the bytes. */
export type PeerInput = LinkLine | Message;

const encoder = new TextEncoder();
/** All lines but those of entries and snapshots, on their way out. */
const controlLines = new Arena(16 << 10);

/** The digest of the members of a cluster, which is its name: all founders compute the same one. */
export function clusterIdOf(members: readonly Member[]): string {
  const sorted = [...members].sort((a, b) => a.id - b.id);
  const text = JSON.stringify(sorted.map(({ id, address, incarnation }) => [id, address, incarnation]));
  return crcToHex(crc32(encoder.encode(text))) + crcToHex(crc32(encoder.encode(`kvapp ${text}`)));
}

/** The bytes of a line about the connection. */
export function encodeLinkLine(line: LinkLine): Uint8Array {
  return withCrc(line);
}

/** A line that ends with the checksum of what is before it: TCP's own lets one error in 65,536 pass. */
function withCrc(fields: object): Uint8Array {
  const bytes = controlLines.encode(`${JSON.stringify(fields).slice(0, -1)},"crc":"00000000"}\n`);
  writeCrc(bytes, bytes.length - crcHexFromEnd, crc32(bytes.subarray(0, -crcLength - 1)));
  return bytes;
}

const crcLength = ',"crc":"00000000"}'.length;
const crcHexFromEnd = '00000000"}\n'.length;

/**
 * What stands before the checksum at the end of a line; null: it is not what was sent. A line that a person types needs
 * no checksum, and is given back whole but for its end.
 */
function takeCrc(line: Uint8Array): { bytes: Uint8Array; hadCrc: boolean } | null {
  const bytes = trimLine(line);
  const found = /^,"crc":"(.{8})"\}$/.exec(String.fromCharCode(...bytes.subarray(-crcLength)));
  if (found === null) return { bytes, hadCrc: false };
  const before = bytes.subarray(0, -crcLength);
  return found[1] === crcToHex(crc32(before)) ? { bytes: before, hadCrc: true } : null;
}

/** The bytes of a message: its line and, for AppendEntries and InstallSnapshot, the lines that follow as they are. */
export function encodeMessage(message: Message): Uint8Array {
  return concat(partsOf(message));
}

/** The same in as few parts as there are without copying. */
export function partsOf(message: Message): Uint8Array[] {
  if (message.type === "installSnapshot") return chunkParts(message);
  if (message.type !== "appendEntries") return [withCrc(message)];
  const { entries } = message;
  const prevLogCrc = crcToHex(message.prevLogCrc);
  const header = withCrc({ ...message, prevLogCrc, entries: entries.length });
  return [header, ...merged(entries.map(({ line }) => line))];
}

function chunkParts(message: InstallSnapshot): Uint8Array[] {
  const { data } = message;
  const lastIncludedCrc = crcToHex(message.lastIncludedCrc);
  const header = withCrc({ ...message, lastIncludedCrc, data: data.length });
  const isCut = data.length > 0 && data[data.length - 1] !== newline;
  return [header, data, lineEnd.subarray(isCut ? 0 : 1)];
}

const newline = 10;
const lineEnd = new Uint8Array([newline]);

/** A message for people to read in the journal: entries and bytes are only counted. */
export function describeMessage({ type, from, to, ...fields }: Message): string {
  const isLong = (key: string) => key === "entries" || key === "data";
  const text = JSON.stringify(fields, (key, value) => isLong(key) ? value.length : value);
  return `${type} from ${from} to ${to}: ${text}`;
}

/** Any line but an entry's is shorter than this. */
export const controlLineBytesMax = 64 << 10;

/** Puts lines together to messages. One for each connection: some messages span several lines. */
export class PeerReader {
  /** AppendEntries whose entries are still coming, or InstallSnapshot whose bytes are. */
  #open: AppendEntries | InstallSnapshot | null = null;
  /** So many entries, or bytes. */
  #missing = 0;
  #openBytes = 0;

  /** Bytes that the next line may have; an entry's at most `entryBytesMax`. */
  lineBytesMax(entryBytesMax: number): number {
    if (this.#open === null) return controlLineBytesMax;
    return this.#open.type === "appendEntries" ? entryBytesMax : this.#missing + 1;
  }

  /**
   * Takes a line with its newline. A message, null when one is not complete yet, or a text that says what is wrong.
   * Whoever is not known yet may only say hello. All entries of a message have at most `entryBytesMax` bytes.
   */
  take(line: Uint8Array, { isKnown, entryBytesMax }: { isKnown: boolean; entryBytesMax: number }):
    | PeerInput
    | string
    | null {
    if (this.#open !== null) {
      this.#openBytes += line.length;
      if (this.#openBytes > entryBytesMax) {
        return `the entries of a message have more than ${entryBytesMax} bytes`;
      }
      return this.#open.type === "appendEntries"
        ? this.#takeEntry(this.#open, line)
        : this.#takeBytes(this.#open, line);
    }
    const taken = takeCrc(line);
    if (taken === null) return "the line is not what was sent: its crc does not fit";
    const fields = parse(taken.bytes, taken.hadCrc ? "}" : "");
    if (typeof fields === "string") return fields;
    const problem = checkFields(fields);
    if (problem !== null) return problem;
    if (!isKnown && !Object.hasOwn(linkShapes, fields.type as string)) return "a hello comes first";
    if (fields.type === "appendEntries") {
      const prevLogCrc = parseInt(fields.prevLogCrc as string, 16);
      const message = { ...fields, prevLogCrc, entries: [] as Entry[] };
      return this.#expect(message as unknown as AppendEntries, fields.entries as number);
    }
    if (fields.type !== "installSnapshot") return fields as unknown as PeerInput;
    const lastIncludedCrc = parseInt(fields.lastIncludedCrc as string, 16);
    const count = fields.data as number;
    const message = { ...fields, lastIncludedCrc, data: new Uint8Array(count) };
    return this.#expect(message as unknown as InstallSnapshot, count);
  }

  #expect(message: AppendEntries | InstallSnapshot, count: number): PeerInput | null {
    if (count === 0) return message;
    this.#open = message;
    this.#missing = count;
    this.#openBytes = 0;
    return null;
  }

  #takeBytes(message: InstallSnapshot, line: Uint8Array): InstallSnapshot | string | null {
    const { data } = message;
    const isCut = line.length === this.#missing + 1; // its newline does not count
    if (line.length > this.#missing && !isCut) {
      return "a snapshot's piece has more bytes than its header says";
    }
    data.set(isCut ? line.subarray(0, -1) : line, data.length - this.#missing);
    this.#missing -= isCut ? line.length - 1 : line.length;
    if (this.#missing > 0) return null;
    this.#open = null;
    return message;
  }

  #takeEntry(message: AppendEntries, line: Uint8Array): AppendEntries | string | null {
    const entry = readEntry(entryLines.copy(line), findPlainPut); // the entry keeps its bytes
    if (typeof entry === "string") return `a bad entry line: ${entry}`;
    message.entries.push(entry);
    if (--this.#missing > 0) return null;
    this.#open = null;
    return message;
  }
}

type Fields = Record<string, unknown>;
type Check = (value: unknown) => boolean;

const isIndex: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isId: Check = (value) => isIndex(value) && (value as number) > 0;
const isFlag: Check = (value) => typeof value === "boolean";
const isTerm: Check = (value) => isIndex(value) && (value as number) <= termMax;
const isCrc: Check = (value) => typeof value === "string" && /^[0-9a-f]{8}$/.test(value);
const isText: Check = (value) => typeof value === "string" && value.length <= 1024;
const isObject = (value: unknown): value is Fields => typeof value === "object" && value !== null;
const isVersions: Check = (value) => isObject(value) && isId(value.min) && isId(value.max);
const isNodes: Check = (value) =>
  Array.isArray(value) && value.length <= 100 &&
  value.every((node) => isObject(node) && isId(node.id) && isText(node.address));
const isMembers: Check = (value) =>
  isNodes(value) && (value as Fields[]).every((member) => isText(member.incarnation));
const isChallenge: Check = (value) => typeof value === "string" && /^[0-9a-f]{32}$/.test(value);
const isProof: Check = (value) => typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
const orNull = (check: Check): Check => (value) => value === null || check(value);
const orMissing = (check: Check): Check => (value) => value === undefined || check(value);

const envelope = { from: isId, to: isId, term: isTerm };

/** The fields of a line and what they must be. Further fields are let pass, for later versions. */
type Shape = Record<string, Check>;

/** Lines about the connection. */
const linkShapes: Record<string, Shape> = {
  hello: {
    versions: isVersions,
    nodeId: isId,
    incarnation: isText,
    starts: isId,
    nonce: isText,
    clientAddress: isText,
    cluster: isNodes,
    clusterId: orNull(isText),
    members: orNull(isMembers),
    founded: isFlag,
    admitted: isIndex,
    hasRoom: isFlag,
    challenge: orMissing(isChallenge),
  },
  proof: { proof: isProof },
  refused: { reason: isText },
  ping: {},
  pong: {},
};

/** All lines. */
const shapes: Record<string, Shape> = {
  ...linkShapes,
  requestVote: {
    ...envelope,
    lastLogIndex: isIndex,
    lastLogTerm: isTerm,
    preVote: isFlag,
    leadershipTransfer: isFlag,
  },
  requestVoteResponse: { ...envelope, voteGranted: isFlag, preVote: isFlag },
  appendEntries: {
    ...envelope,
    prevLogIndex: isIndex,
    prevLogTerm: isTerm,
    prevLogCrc: isCrc,
    leaderCommit: isIndex,
    readRound: isIndex,
    entries: (value) => isIndex(value) && (value as number) <= entriesMax,
  },
  appendEntriesResponse: {
    ...envelope,
    success: isFlag,
    prevLogIndex: isIndex,
    matchIndex: isIndex,
    conflictIndex: isIndex,
    conflictTerm: isTerm,
    abstains: isFlag,
  },
  contactResponse: { ...envelope, readRound: isIndex, abstains: isFlag },
  installSnapshot: {
    ...envelope,
    lastIncludedIndex: isIndex,
    lastIncludedTerm: isTerm,
    lastIncludedCrc: isCrc,
    offset: isIndex,
    data: (value) => isIndex(value) && (value as number) <= chunkBytesMax,
    done: isFlag,
  },
  installSnapshotResponse: { ...envelope, lastIncludedIndex: isIndex, offset: isIndex, isDamaged: isFlag },
  readIndexRequest: { ...envelope, id: isIndex },
  readIndexResponse: { ...envelope, id: isIndex, readIndex: orNull(isIndex) },
  timeoutNow: envelope,
};

function parse(bytes: Uint8Array, end: string): Fields | string {
  try {
    const value: unknown = JSON.parse(decodeText(bytes) + end);
    return isObject(value) ? value : "the line is not a JSON object";
  } catch (error) {
    return `the line is not JSON: ${error instanceof Error ? error.message.slice(0, 100) : error}`;
  }
}

function checkFields(fields: Fields): string | null {
  const { type } = fields;
  if (typeof type !== "string" || !Object.hasOwn(shapes, type)) {
    const found = typeof type === "string" ? JSON.stringify(type.slice(0, 40)) : "missing";
    return `the type is ${found} and must be one of ${Object.keys(shapes).join(", ")}`;
  }
  const shape = shapes[type]!;
  for (const name in shape) {
    if (!shape[name]!(fields[name])) return `${type}: the field ${name} is missing or not what it should be`;
  }
  return null;
}
