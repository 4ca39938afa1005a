/**
 * The five safety properties of the paper (figure 3) and what this core promises besides, checked after every step
 * of every test that runs a cluster: of the memory of each node and of what its disk really holds.
 *
 * @module
 */

import { assert } from "@std/assert";
import type { Raft } from "../../lib/raft/raft.ts";
import type { Entry, HardState, NodeId } from "../../lib/raft/types.ts";

interface Watched {
  readonly id: NodeId;
  readonly isUp: boolean;
  readonly raft: Raft;
  readonly disk: { hardState: HardState; entries: Entry[] };
  readonly applied: Entry[];
}

/** What a node looked like at the last check. */
interface Seen {
  hardState: HardState;
  currentTerm: number;
  votedFor: NodeId | null;
  commitIndex: number;
  appliedCount: number;
  /** Of a leader: the end of its log, and what it knew of the others. */
  leading: { term: number; last: Entry; matchIndexes: Map<NodeId, number> } | null;
}

/** Watches one cluster. */
export class Invariants {
  /** Committed entries by index, from 1. */
  readonly committed: Entry[] = [];
  readonly #leaders = new Map<number, NodeId>();
  readonly #entries = new Map<string, number>();
  readonly #seen: Map<NodeId, Seen>;

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

  check(node: Watched): void {
    const { id, raft, disk } = node;
    const seen = this.#seen.get(id)!;
    this.#checkHardState(node, seen.hardState);
    seen.hardState = disk.hardState;
    assert(raft.currentTerm >= seen.currentTerm, `node ${id}: the term never goes back`);
    if (raft.currentTerm === seen.currentTerm && seen.votedFor !== null) {
      assert(raft.votedFor === seen.votedFor, `node ${id}: a vote stays for its term`);
    }
    seen.currentTerm = raft.currentTerm;
    seen.votedFor = raft.votedFor;
    for (let index = raft.lastIndex; index > 0 && !this.#matchLog(raft.entryAt(index)!); index--);
    this.#checkCommit(node, seen);
    this.#checkLeader(node, seen);
  }

  /** Term and vote on the disk: the term only grows, the vote stays. */
  #checkHardState({ id, disk: { hardState } }: Watched, before: HardState): void {
    assert(hardState.currentTerm >= before.currentTerm, `node ${id}: the durable term never goes back`);
    const kept = hardState.currentTerm > before.currentTerm || before.votedFor === null ||
      hardState.votedFor === before.votedFor;
    assert(kept, `node ${id}: the durable vote of term ${before.currentTerm} never changes`);
  }

  /** Log matching: the checksum of an entry stands for all before it. True: it was known already. */
  #matchLog({ index, term, crc }: Entry): boolean {
    const known = this.#entries.get(`${index}/${term}`);
    assert(known === undefined || known === crc, `log matching: entry ${index} of term ${term}`);
    this.#entries.set(`${index}/${term}`, crc);
    return known !== undefined;
  }

  #checkCommit(node: Watched, seen: Seen): void {
    const { id, raft, applied } = node;
    assert(raft.commitIndex >= seen.commitIndex, `node ${id}: commitIndex never goes back`);
    assert(raft.commitIndex <= raft.lastIndex, `node ${id}: what is committed is in the log`);
    for (let index = seen.commitIndex + 1; index <= raft.commitIndex; index++) {
      this.#commit(node, raft.entryAt(index)!);
    }
    seen.commitIndex = raft.commitIndex;
    for (; seen.appliedCount < applied.length; seen.appliedCount++) {
      const entry = applied[seen.appliedCount]!;
      assert(entry.index === seen.appliedCount + 1, `node ${id}: entries are applied in order, each once`);
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
    const holders =
      members.filter((member) => this.nodes[member.id - 1]?.disk.entries[index - 1]?.crc === crc).length;
    assert(
      holders * 2 > members.length,
      `entry ${index} is on ${holders} disks when node ${id} commits it`,
    );
    for (const other of this.nodes) {
      const isLater = other.raft.role === "leader" && other.raft.currentTerm > raft.currentTerm;
      if (other.isUp && isLater) this.#checkComplete(other, index);
    }
  }

  #checkComplete({ id, raft }: Watched, index: number): void {
    assert(
      raft.entryAt(index)?.crc === this.committed[index - 1]!.crc,
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
      assert(raft.entryAt(last.index)?.crc === last.crc, `leader append-only: node ${id}, term ${term}`);
      for (const { id: peer, matchIndex, nextIndex } of raft.progress()) {
        assert(matchIndex >= (matchIndexes.get(peer) ?? 0), `node ${id}: matchIndex of ${peer} only grows`);
        assert(nextIndex > matchIndex, `node ${id}: nextIndex of ${peer} is above matchIndex`);
      }
    }
    const matchIndexes = new Map(raft.progress().map((peer) => [peer.id, peer.matchIndex]));
    seen.leading = { term, last: raft.entryAt(raft.lastIndex)!, matchIndexes };
  }
}

function fresh({ raft, disk: { hardState } }: Watched): Seen {
  return {
    hardState,
    currentTerm: raft.currentTerm,
    votedFor: raft.votedFor,
    commitIndex: 0,
    appliedCount: 0,
    leading: null,
  };
}
