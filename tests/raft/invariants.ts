/**
 * The five safety properties of the paper (figure 3) and what this core promises besides, checked after every step
 * of every test that runs a cluster: of the memory of each node and of what its disk really holds.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Message } from "../../lib/raft/messages.ts";
import type { Raft } from "../../lib/raft/raft.ts";
import type { Entry, HardState, Member, NodeId } from "../../lib/raft/types.ts";
import type { Disk } from "./disk.ts";
import { commandsOf } from "./node.ts";

interface Watched {
  readonly id: NodeId;
  readonly isUp: boolean;
  readonly raft: Raft;
  readonly options: { incarnation: string };
  readonly disk: Disk;
  /** Commands that the state machine began with, and the index of that snapshot. */
  readonly restored: readonly unknown[];
  readonly restoredIndex: number;
  readonly applied: readonly Entry[];
}

/** What a node looked like at the last check. */
interface Seen {
  hardState: HardState;
  currentTerm: number;
  votedFor: NodeId | null;
  commitIndex: number;
  /** The list of what was applied since the last snapshot was taken over, and how much of it was seen. */
  applied: readonly Entry[] | null;
  appliedCount: number;
  /** Of a leader: the end of its log, and what it knew of the others. */
  leading: { term: number; last: { index: number; crc: number }; matchIndexes: Map<NodeId, number> } | null;
}

/** Watches one cluster. */
export class Invariants {
  /** Committed entries by index, from 1. */
  readonly committed: Entry[] = [];
  readonly #leaders = new Map<number, NodeId>();
  readonly #entries = new Map<string, number>();
  readonly #seen: Map<NodeId, Seen>;
  /** The folders, by incarnation, whose nodes have taken part in decisions. */
  readonly #admitted = new Set<string>();
  /** The disks that were lost, by incarnation: what they had acknowledged was true when it was said. */
  readonly #lost = new Map<string, Disk>();

  constructor(readonly nodes: readonly Watched[]) {
    this.#seen = new Map(nodes.map((node) => [node.id, fresh(node)]));
    for (const { disk } of nodes) for (const entry of disk.entries) this.#matchLog(entry);
  }

  /** A node has started from its disk. */
  onRestart(node: Watched): void {
    const { hardState } = this.#seen.get(node.id)!;
    this.#checkHardState(node, hardState);
    this.#seen.set(node.id, fresh(node));
  }

  /** A node has lost the folder `incarnation`, or a part of it, and started with another. */
  onLoss(node: Watched, incarnation: string, disk: Disk): void {
    this.#lost.set(incarnation, disk);
    this.#seen.set(node.id, fresh(node));
  }

  /** A node has met another process of `peer`: what it knew of its log counts no more. */
  onMet(node: Watched, peer: NodeId): void {
    this.#seen.get(node.id)!.leading?.matchIndexes.delete(peer);
  }

  /** Who abstains gives no vote and confirms nothing. */
  checkSent(node: Watched, message: Message): void {
    if (!abstains(node)) return;
    const { type } = message;
    assert(type !== "requestVote" && type !== "timeoutNow", `node ${node.id} abstains, and sends ${type}`);
    const isGrant = type === "requestVoteResponse" && message.voteGranted;
    assert(!isGrant, `node ${node.id} abstains, and grants a vote`);
    const isAnswer = type === "contactResponse" || type === "appendEntriesResponse";
    assert(!isAnswer || message.abstains, `node ${node.id} abstains, and its ${type} does not say so`);
  }

  check(node: Watched): void {
    const { id, raft, disk } = node;
    const seen = this.#seen.get(id)!;
    this.#checkHardState(node, seen.hardState);
    seen.hardState = disk.hardState;
    assert(raft.currentTerm >= seen.currentTerm, `node ${id}: the term never goes back`);
    if (raft.currentTerm === seen.currentTerm && seen.votedFor !== null) {
      assert(raft.votedFor === seen.votedFor, `node ${id}: a vote stays for its term`);
    }
    this.#checkAbstaining(node, seen);
    seen.currentTerm = raft.currentTerm;
    seen.votedFor = raft.votedFor;
    for (let { lastIndex } = raft; lastIndex > raft.baseIndex; lastIndex--) {
      if (this.#matchLog(raft.entryAt(lastIndex)!)) break;
    }
    this.#checkCommit(node, seen);
    this.#checkApplied(node, seen);
    this.#checkLeader(node, seen);
  }

  /** Term and vote on the disk: the term only grows, the vote stays. */
  #checkHardState({ id, disk: { hardState } }: Watched, before: HardState): void {
    assert(hardState.currentTerm >= before.currentTerm, `node ${id}: the durable term never goes back`);
    const kept = hardState.currentTerm > before.currentTerm || before.votedFor === null ||
      hardState.votedFor === before.votedFor;
    assert(kept, `node ${id}: the durable vote of term ${before.currentTerm} never changes`);
    const isSameFolder = before.admittedIndex === 0 || hardState.admittedIndex === before.admittedIndex;
    assert(isSameFolder, `node ${id}: once admitted, always admitted`);
  }

  #checkAbstaining(node: Watched, seen: Seen): void {
    const { id, raft, options: { incarnation } } = node;
    if (!abstains(node)) {
      this.#admitted.add(incarnation);
      return;
    }
    assert(raft.role === "follower", `node ${id} abstains, and is a ${raft.role}`);
    const votes = raft.votedFor !== null && raft.votedFor !== seen.votedFor;
    assert(!votes, `node ${id} abstains, and votes for ${raft.votedFor}`);
  }

  /** Log matching: the checksum of an entry stands for all before it. True: it was known already. */
  #matchLog({ index, term, crc }: Entry): boolean {
    const known = this.#entries.get(`${index}/${term}`);
    assert(known === undefined || known === crc, `log matching: entry ${index} of term ${term}`);
    this.#entries.set(`${index}/${term}`, crc);
    return known !== undefined;
  }

  #checkCommit(node: Watched, seen: Seen): void {
    const { id, raft } = node;
    assert(raft.commitIndex >= seen.commitIndex, `node ${id}: commitIndex never goes back`);
    assert(raft.commitIndex <= raft.lastIndex, `node ${id}: what is committed is in the log`);
    assert(raft.commitIndex >= raft.baseIndex, `node ${id}: what was cut off is committed`);
    const base = raft.snapshotAt(raft.baseIndex).lastIncludedCrc;
    const isSame = raft.baseIndex === 0 || this.committed[raft.baseIndex - 1]?.crc === base;
    assert(isSame, `node ${id}: what was cut off, up to entry ${raft.baseIndex}, is what was committed`);
    const from = Math.max(seen.commitIndex, raft.baseIndex) + 1;
    for (let index = from; index <= raft.commitIndex; index++) this.#commit(node, raft.entryAt(index)!);
    seen.commitIndex = raft.commitIndex;
  }

  #checkApplied(node: Watched, seen: Seen): void {
    const { id, applied, restored, restoredIndex } = node;
    if (seen.applied !== applied) {
      assert(restoredIndex <= this.committed.length, `node ${id}: a snapshot holds what is committed`);
      assertEquals(restored, commandsOf(this.committed.slice(0, restoredIndex)), `snapshot of node ${id}`);
      seen.applied = applied;
      seen.appliedCount = 0;
    }
    for (; seen.appliedCount < applied.length; seen.appliedCount++) {
      const entry = applied[seen.appliedCount]!;
      const next = restoredIndex + seen.appliedCount + 1;
      assert(entry.index === next, `node ${id}: entries are applied in order, each once`);
      const expected = this.committed[entry.index - 1];
      assert(entry.crc === expected?.crc, `state machine safety: entry ${entry.index} on node ${id}`);
    }
  }

  #commit({ id, raft }: Watched, entry: Entry): void {
    const { index, crc } = entry;
    const known = this.committed[index - 1];
    assert(known === undefined || known.crc === crc, `node ${id} commits another entry at index ${index}`);
    if (known !== undefined) return;
    this.committed.push(entry);
    const { members } = raft.configuration;
    const holders = members.filter((member) => this.#holds(member, entry)).length;
    assert(
      holders * 2 > members.length,
      `entry ${index} is on ${holders} disks of members when node ${id} commits it`,
    );
    for (const other of this.nodes) {
      const isLater = other.raft.role === "leader" && other.raft.currentTerm > raft.currentTerm;
      if (other.isUp && isLater) this.#checkComplete(other, index);
    }
  }

  /** The folder that the configuration names takes part, and has the entry, or had it when it was lost. */
  #holds({ id, incarnation }: Member, entry: Entry): boolean {
    const node = this.nodes[id - 1];
    const disk = node?.options.incarnation === incarnation ? node.disk : this.#lost.get(incarnation);
    const isFounder = entry.index === 1; // which every founder writes, and needs no vote
    return (isFounder || this.#admitted.has(incarnation)) && disk !== undefined && disk.holds(entry);
  }

  #checkComplete({ id, raft }: Watched, index: number): void {
    assert(
      index < raft.baseIndex || crcAt(raft, index) === this.committed[index - 1]!.crc,
      `leader completeness: node ${id} leads term ${raft.currentTerm} without committed entry ${index}`,
    );
  }

  #checkLeader(node: Watched, seen: Seen): void {
    const { id, raft } = node;
    if (raft.role !== "leader") {
      seen.leading = null;
      return;
    }
    const term = raft.currentTerm;
    if (seen.leading?.term !== term) {
      const rival = this.#leaders.get(term);
      assert(rival === undefined, `election safety: nodes ${rival} and ${id} both led term ${term}`);
      this.#leaders.set(term, id);
      for (let index = 1; index <= this.committed.length; index++) this.#checkComplete(node, index);
    } else {
      const { last, matchIndexes } = seen.leading;
      const isKept = last.index < raft.baseIndex || crcAt(raft, last.index) === last.crc;
      assert(isKept, `leader append-only: node ${id}, term ${term}`);
      for (const { id: peer, matchIndex, nextIndex } of raft.progress()) {
        assert(matchIndex >= (matchIndexes.get(peer) ?? 0), `node ${id}: matchIndex of ${peer} only grows`);
        assert(nextIndex > matchIndex, `node ${id}: nextIndex of ${peer} is above matchIndex`);
      }
    }
    const matchIndexes = new Map(raft.progress().map((peer) => [peer.id, peer.matchIndex]));
    const last = { index: raft.lastIndex, crc: crcAt(raft, raft.lastIndex)! };
    seen.leading = { term, last, matchIndexes };
  }
}

/** Checksum of an entry that is in the log or was the last one cut off. */
function crcAt(raft: Raft, index: number): number | null {
  return raft.termAt(index) === null ? null : raft.snapshotAt(index).lastIncludedCrc;
}

function abstains({ raft }: Watched): boolean {
  return raft.admittedIndex === 0;
}

function fresh({ raft, disk: { hardState } }: Watched): Seen {
  return {
    hardState,
    currentTerm: raft.currentTerm,
    votedFor: raft.votedFor,
    commitIndex: 0,
    applied: null,
    appliedCount: 0,
    leading: null,
  };
}
