/**
 * What a leader knows of one follower's log, and how much is under way to it.
 *
 * ```text
 *    probe      where do our logs agree? Entries once, then wait for an answer; heartbeats ask again without any
 *    replicate  they agree at matchIndex: send ahead optimistically, several messages in flight, bounded in bytes
 *    snapshot   its next entry is not in the leader's log any more: a snapshot, piece by piece, one at a time
 * ```
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { NodeId, PeerProgress, SnapshotMetadata } from "./types.ts";

/** A snapshot on its way to a follower. */
export interface Transfer {
  readonly snapshot: SnapshotMetadata;
  /** Bytes that the follower has, as far as is known: the piece that is sent next, or is under way. */
  offset: number;
  /** Tick at which that last changed. */
  progressTick: number;
  /** The piece at `offset` is under way since this tick; null: it is not. */
  sentTick: number | null;
}

/** What the leader knows of one follower. Made anew for each leadership, and for each process of the follower. */
export interface Progress {
  mode: "probe" | "replicate" | "snapshot";
  /** Highest index known to be durable on the follower and equal to the leader's. Only grows. */
  matchIndex: number;
  /** Next entry to send; always greater than matchIndex. */
  nextIndex: number;
  /** What it has counts for nothing yet: it said so itself (incarnations.ts). */
  abstains: boolean;
  /** In probe mode: the question is under way. */
  probeSent: boolean;
  /** In snapshot mode: the snapshot. */
  transfer: Transfer | null;
  /** Messages with entries under way, oldest first: the last index of each and its bytes. */
  inflight: { lastIndex: number; bytes: number }[];
  inflightBytes: number;
  /** Tick at which the follower was last heard in this term (CheckQuorum). */
  lastContactTick: number;
  /** Latest read round that the follower has confirmed. */
  readRound: number;
  /** What the newest message said, so that it need not be said again. */
  sentCommit: number;
  sentReadRound: number;
}

/** A follower of which nothing is known yet: assume that it has everything, and ask. */
export function newProgress(lastIndex: number, tick: number): Progress {
  return {
    mode: "probe",
    matchIndex: 0,
    nextIndex: lastIndex + 1,
    abstains: false,
    probeSent: false,
    transfer: null,
    inflight: [],
    inflightBytes: 0,
    lastContactTick: tick,
    readRound: 0,
    sentCommit: 0,
    sentReadRound: 0,
  };
}

/** What of it concerns others than the leader. */
export function describe(id: NodeId, { mode, matchIndex, nextIndex, abstains }: Progress): PeerProgress {
  return { id, mode, matchIndex, nextIndex, abstains };
}

/** The follower has everything up to `index` on its disk. Old news changes nothing. */
export function acknowledge(progress: Progress, index: number): void {
  while (progress.inflight.length > 0 && progress.inflight[0]!.lastIndex <= index) {
    progress.inflightBytes -= progress.inflight.shift()!.bytes;
  }
  const { transfer } = progress;
  const isFound = progress.mode === "probe" && index >= progress.nextIndex - 1;
  if (isFound || (transfer !== null && index >= transfer.snapshot.lastIncludedIndex)) {
    progress.mode = "replicate";
    progress.probeSent = false;
    progress.transfer = null;
  }
  progress.matchIndex = Math.max(progress.matchIndex, index);
  progress.nextIndex = Math.max(progress.nextIndex, progress.matchIndex + 1);
}

/** Forget what is under way and ask again from `nextIndex` on, never below what is known to match. */
export function becomeProbe(progress: Progress, nextIndex: number): void {
  progress.mode = "probe";
  progress.probeSent = false;
  progress.transfer = null;
  progress.inflight = [];
  progress.inflightBytes = 0;
  progress.nextIndex = Math.max(nextIndex, progress.matchIndex + 1);
}

/** The follower is sent a snapshot, from its beginning. */
export function becomeSnapshot(progress: Progress, snapshot: SnapshotMetadata, tick: number): void {
  becomeProbe(progress, snapshot.lastIncludedIndex + 1);
  progress.mode = "snapshot";
  progress.transfer = { snapshot, offset: 0, progressTick: tick, sentTick: null };
}

/** Entries up to `lastIndex` were sent. */
export function recordSent(progress: Progress, lastIndex: number, bytes: number): void {
  assert(lastIndex >= progress.nextIndex, "entries are sent once while nothing is known to be lost");
  if (progress.mode === "probe") {
    progress.probeSent = true;
    return;
  }
  progress.nextIndex = lastIndex + 1;
  progress.inflight.push({ lastIndex, bytes });
  progress.inflightBytes += bytes;
}
