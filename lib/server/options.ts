/**
 * What a node is told at its start: who it is, where it listens, how fast its clocks run, and its bounds.
 *
 * @module
 */

import type { OldEntries, RaftOptions } from "../raft/raft.ts";
import type { NodeId } from "../raft/types.ts";
import { defaultSegmentBytesMax } from "../storage/storage.ts";

/** Ticks in a heartbeat interval: how finely time is told. */
const ticksPerHeartbeat = 5;

/** Intervals in milliseconds. The delays exist to watch consensus at work; they are 0 in fast mode. */
export interface Timing {
  /** Between rounds of work; 0: a round runs as soon as there is work. */
  eventLoopDelayMs: number;
  /** Between heartbeats of a leader. */
  heartbeatIntervalMs: number;
  /** A follower that hears of no leader starts an election after a random time from here ... */
  electionTimeoutMinMs: number;
  /** ... up to here. */
  electionTimeoutMaxMs: number;
  /** Added before each outgoing message to another node. */
  networkDelayMs: number;
  /** Added before each reply to a client. */
  clientDelayMs: number;
}

/** Bounds on what other people can make a node hold. Bytes unless the name says otherwise. */
export interface Limits {
  /** A request line of a client, newline included. */
  requestLineBytesMax: number;
  /** A key in UTF-8. */
  keyBytesMax: number;
  /** A value in UTF-8. */
  valueBytesMax: number;
  /** A line on the raft port: whatever the client port accepted, in its entry line, fits. */
  peerLineBytesMax: number;
  /** Open client connections. */
  clientConnectionsMax: number;
  /** A client connection on which nothing happens, and which has no watch, is closed after this time. */
  idleMs: number;
  /** A request line has to be whole so long after its first byte. */
  partialLineMs: number;
  /** Requests of one connection that wait for an answer; more are read only as answers leave. */
  requestsInFlightMax: number;
  /** Replies of one connection that its client has not read. */
  replyBytesMax: number;
  /** Unfinished lines, and replies that have not left, of all clients together. */
  clientBytesMax: number;
  /** Entries that are not yet committed. */
  uncommittedBytesMax: number;
  /** Entries that are under way to one follower, not yet acknowledged. One that catches up writes them with one fsync. */
  inflightBytesMax: number;
  /** Entries in one AppendEntries. */
  appendBytesMax: number;
  /** Committed entries that are applied in one go, a number: others get their turn in between. */
  committedEntriesMax: number;
  /** Bytes queued on the connection to one peer; beyond, the connection is given up. */
  peerQueueBytesMax: number;
  /** A segment of the log, unless one batch alone has more. */
  segmentBytesMax: number;
  /** Log since the last snapshot, after which the next one is taken; more while the snapshot itself is larger. */
  snapshotLogBytes: number;
  /** Log before the newest snapshot that is kept for followers that are a little behind. */
  trailingBytes: number;
  /** Log that is kept in memory of what was applied and is on the disk. */
  logMemoryBytes: number;
  /** Entries since the last snapshot, a number, after which the next one is taken. */
  snapshotEntries: number;
  /** What changed lately, kept for watches. */
  watchHistoryBytes: number;
  /** Watches of all clients, a number. */
  watchesMax: number;
  /** A request without an outcome is answered `outcomeUnknown` or `noLeader` after this time. */
  requestTimeoutMs: number;
}

/** The bounds of a node that was told nothing else. */
export const defaultLimits: Limits = {
  requestLineBytesMax: 8 << 20,
  keyBytesMax: 4 << 10,
  valueBytesMax: 1 << 20,
  peerLineBytesMax: 64 << 20,
  clientConnectionsMax: 4096,
  idleMs: 600_000,
  partialLineMs: 60_000,
  requestsInFlightMax: 1024,
  replyBytesMax: 4 << 20,
  clientBytesMax: 128 << 20,
  uncommittedBytesMax: 64 << 20,
  inflightBytesMax: 1 << 20,
  appendBytesMax: 256 << 10,
  committedEntriesMax: 4096,
  peerQueueBytesMax: 128 << 20,
  segmentBytesMax: defaultSegmentBytesMax,
  snapshotLogBytes: 32 << 20,
  trailingBytes: 8 << 20,
  logMemoryBytes: 8 << 20,
  snapshotEntries: 500_000,
  watchHistoryBytes: 32 << 20,
  watchesMax: 1024,
  requestTimeoutMs: 5000,
};

/**
 * So many connections on either port may wait beside those of clients: of strangers until they say who they are, of
 * clients over the limit until they are told so. A node that has room for few clients has none for more of these.
 */
export function waitingConnectionsMax({ clientConnectionsMax }: Limits): number {
  return Math.min(64, Math.max(4, clientConnectionsMax));
}

/** How much a line of the node's journal matters. */
export type LogLevel = "error" | "warn" | "info" | "debug";

/** Everything a Server is told. */
export interface ServerOptions {
  nodeId: NodeId;
  /** Where the raft port listens, "host:port". */
  bindAddress: string;
  /** Where the client port listens. */
  clientBindAddress: string;
  /** Client address that other nodes tell their clients, "host:port". */
  clientAddress: string;
  /** Raft addresses of all nodes, this one included, sorted by id. */
  cluster: { id: NodeId; address: string }[];
  timing: Timing;
  limits: Limits;
  /** What the members have in common and strangers do not know; null: whoever reaches the raft port is believed. */
  secret?: Uint8Array | null;
  /** Tells the journal of every message to and from other nodes, at level debug. */
  verbose?: boolean;
  /** The node's journal. */
  log(level: LogLevel, message: string): void;
  /** The node stopped by itself: its disk failed. Nothing was acknowledged or sent since. */
  onStop(error: Error): void;
}

/** Milliseconds of a tick, the unit of the core's timeouts. */
export function tickMs(options: ServerOptions): number {
  return Math.max(1, Math.floor(options.timing.heartbeatIntervalMs / ticksPerHeartbeat));
}

/** What a node's options mean to the core; `read` reads the log again, if it need not all stay in memory. */
export function raftOptions(
  options: ServerOptions,
  { incarnation, random, read }: Pick<RaftOptions, "incarnation" | "random"> & Partial<OldEntries>,
): RaftOptions {
  const { timing, limits } = options;
  const ticks = (ms: number) => Math.max(1, Math.ceil(ms / tickMs(options)));
  const min = ticks(timing.electionTimeoutMinMs);
  return {
    id: options.nodeId,
    incarnation,
    electionTimeoutTicks: { min, max: Math.max(min + 1, ticks(timing.electionTimeoutMaxMs)) },
    heartbeatTicks: ticks(timing.heartbeatIntervalMs),
    appendBytesMax: limits.appendBytesMax,
    inflightBytesMax: limits.inflightBytesMax,
    uncommittedBytesMax: limits.uncommittedBytesMax,
    committedEntriesMax: limits.committedEntriesMax,
    random,
    ...(read === undefined ? {} : { oldEntries: { memoryBytes: limits.logMemoryBytes, read } }),
  };
}
