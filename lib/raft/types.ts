/**
 * The nouns of the protocol: entries, configurations, durable state, and what a step hands to the outside.
 *
 * @module
 */

import type { InstallSnapshot, Message } from "./messages.ts";

/** A positive integer that names a node for its whole life. */
export type NodeId = number;

/** One node of a configuration. */
export interface Member {
  /** Which node, from 1. */
  id: NodeId;
  /** Raft address, "host:port". */
  address: string;
  /** Random name of the data folder that takes part, 16 hex digits. Another one means that the folder was lost. */
  incarnation: string;
}

/** Who belongs to the cluster. It takes effect when it is appended, not when it is committed (thesis 4.1). */
export interface Configuration {
  /** Sorted by id. */
  members: Member[];
}

/** What an entry is for. */
export type EntryKind = "command" | "configuration" | "noop";

/** One entry of the log (paper 5.3). Never changed once made. */
export interface Entry {
  /** Position in the log, from 1. */
  readonly index: number;
  /** Term of the leader that made it; 0 for the founding configuration at index 1. */
  readonly term: number;
  /** What it is for. */
  readonly kind: EntryKind;
  /**
   * For the state machine, plain JSON data or an EncodedCommand; a Configuration when `kind` is "configuration"; null for
   * a no-op.
   */
  readonly command: unknown;
  /** CRC of the entry before; 0 for the first one. */
  readonly prevCrc: number;
  /** CRC-32 of its line and so, by `prev` inside the line, of the whole log up to here. */
  readonly crc: number;
  /** Its only encoding, with the newline: the same bytes on every disk and on the wire. */
  readonly line: Uint8Array;
}

/** Where a log was cut: the last entry that is not in it any more. */
export interface LogBase {
  /** Index of that entry; 0: nothing was cut. */
  index: number;
  term: number;
  crc: number;
  /** The configuration in force at `index`, and the index of its entry; none and 0 before the cluster is founded. */
  configuration: Configuration;
  configurationIndex: number;
}

/** Which state a snapshot holds: that after the entry `lastIncludedIndex`, and what is needed of the log before it (paper 7). */
export interface SnapshotMetadata {
  /** The last entry that it replaces. */
  lastIncludedIndex: number;
  /** Term of that entry. */
  lastIncludedTerm: number;
  /** Checksum of the entry at lastIncludedIndex, so that the hash chain goes on behind it. */
  lastIncludedCrc: number;
  /** The configuration in force at lastIncludedIndex. */
  configuration: Configuration;
  /** Index of its entry. */
  configurationIndex: number;
}

/** What must survive a crash besides the log (paper figure 2). */
export interface HardState {
  /** Latest term this node has seen; only grows. */
  currentTerm: number;
  /** Candidate that got this node's vote in `currentTerm`, or null; once set it stays for the term. */
  votedFor: NodeId | null;
  /**
   * Index of the committed configuration entry that names this node's incarnation; 0: none is known, and the node
   * abstains (incarnations.ts). Once set it stays for the incarnation.
   */
  admittedIndex: number;
}

/** One unit of work for the disk. Writes become durable in the order in which they were taken. */
export interface Write {
  /** New term, vote or admission, or null when unchanged. Durable before the entries of the same write. */
  hardState: HardState | null;
  /** Pieces of a snapshot that another node sends, in their order; the first one of a snapshot has offset 0. */
  chunks: InstallSnapshot[];
  /** The log is given up and begins anew behind this snapshot, whose file is whole; null: nothing of that. */
  snapshot: SnapshotMetadata | null;
  /** New entries, consecutive. When the first one's index exists already, the log is cut there first. */
  entries: Entry[];
  /** To be sent once this write and all before it are durable. May be addressed to this node itself. */
  messages: Message[];
}

/** A read that may be answered once `readIndex` is applied; null: leadership was lost, ask again. */
export interface ReadResult {
  /** As given to `read`. */
  id: number;
  /** The state machine must have applied this entry before it is asked. */
  readIndex: number | null;
}

/** Everything that the steps since the last `takeReady` want done. */
export interface Ready {
  /** To be sent at once: they claim nothing that is not durable (thesis 10.2.1). */
  messages: Message[];
  /** For the disk, or null. */
  write: Write | null;
  /** Newly committed entries, in order, each exactly once. */
  committed: Entry[];
  /** Reads that were confirmed or cancelled. */
  reads: ReadResult[];
}

/** What a leader knows of one follower's log (paper figure 2, "volatile state on leaders"). */
export interface PeerProgress {
  /** The follower. */
  id: NodeId;
  /**
   * "probe": where the logs agree is being found out; "replicate": entries are sent ahead of the answers; "snapshot":
   * it is sent a snapshot, because the log does not go back so far.
   */
  mode: "probe" | "replicate" | "snapshot";
  /** Highest index known to be durable on the follower and equal to the leader's; 0: none is. */
  matchIndex: number;
  /** Next entry to send; always greater than matchIndex. */
  nextIndex: number;
  /** It said that what it has counts for nothing yet: its folder is new to the cluster. */
  abstains: boolean;
}

/**
 * Why a proposal was not taken. Nothing happened. "notLeader": `leaderId` says who may lead; "transferring": leadership
 * is being handed over; "busy": `uncommittedBytesMax` is reached, which passes by itself.
 */
export type ProposalRefusal = "notLeader" | "transferring" | "busy";
