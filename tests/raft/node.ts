/**
 * One real Raft node in memory, with a disk that honours the order of Ready and Write and that a test can hold or
 * crash. `lone` nodes have peers only in the messages that a test makes up; harness.ts joins nodes to a cluster.
 *
 * The log of every node begins with the founding configuration at index 1, term 0. `logOf(3, [1, 1, 2])` has the
 * entries behind it: index 2 and 3 of term 1, index 4 of term 2.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { makeEntry } from "../../lib/raft/entry.ts";
import { foundingEntry } from "../../lib/raft/membership.ts";
import type { Message } from "../../lib/raft/messages.ts";
import { Raft, type RaftOptions } from "../../lib/raft/raft.ts";
import type { Configuration, Entry, NodeId, SnapshotMetadata, Write } from "../../lib/raft/types.ts";
import { Random } from "../sim/random.ts";
import { admitted, decodeSnapshot, Disk, encodeSnapshot } from "./disk.ts";

/** Election timeout 10 to 20 ticks, a heartbeat each tick. */
export const timeoutMin = 10;
export const timeoutMax = 20;

/** What a test may choose for all nodes of a cluster, or for a lone one. */
export interface Setup {
  /** Number of members, from id 1. */
  size?: number;
  /** currentTerm on the disk; at least the last term of the log. */
  term?: number;
  votedFor?: NodeId | null;
  /** Terms of the entries behind the founding one. */
  terms?: number[];
  /** The whole log instead, for a node that has another beginning. */
  log?: Entry[];
  options?: Partial<RaftOptions>;
}

/** Name of the data folder of a node that lost so many. */
export function incarnationOf(id: NodeId, losses: number): string {
  return `${losses}`.padStart(8, "0") + `${id}`.padStart(8, "0");
}

export function configurationOfSize(size: number): Configuration {
  return {
    members: Array.from({ length: size }, (_, i) => ({
      id: i + 1,
      address: `127.0.0.1:${8081 + i}`,
      incarnation: incarnationOf(i + 1, 0),
    })),
  };
}

/** The log of a cluster of `size`: equal index and term, equal entry, as in any real cluster. */
export function logOf(size: number, terms: readonly number[]): Entry[] {
  const log = [foundingEntry(configurationOfSize(size))];
  for (const term of terms) {
    const index = log.length + 1;
    log.push(
      makeEntry({ index, term, kind: "command", command: `${index}/${term}`, prevCrc: log.at(-1)!.crc }),
    );
  }
  return log;
}

/** The terms of the entries behind the founding one, or behind the base, as far as the node has them in memory. */
export function termsOf(raft: Raft): number[] {
  const first = Math.max(raft.baseIndex, 1) + 1;
  return Array.from(
    { length: Math.max(0, raft.lastIndex - first + 1) },
    (_, i) => raft.entryAt(first + i)!.term,
  );
}

/** One node: the real Raft, and what stands around it. */
export class Node {
  raft: Raft;
  isUp = true;
  /** What survives a crash. */
  disk: Disk;
  /** Number of the present process. */
  starts = 0;
  /** The processes of other nodes that this one has met, by their numbers. */
  readonly met = new Map<NodeId, number>();
  /** Writes that were taken and are not yet durable, oldest first. */
  readonly pending: Write[] = [];
  /** While held, the disk finishes nothing. */
  diskHeld = false;
  /** While held, a snapshot that was received is not looked at. */
  checkHeld = false;
  readonly #received: Uint8Array[] = [];
  /** The state machine began with the snapshot of this index; 0: empty. */
  restoredIndex = 0;
  restored: unknown[] = [];
  /** Committed entries in the order in which they were handed out since then. */
  applied: Entry[] = [];
  /** Bytes of a snapshot in one message. */
  pieceBytes = 100;
  /** Results of reads by id. */
  readonly reads = new Map<number, number | null>();
  options: RaftOptions;
  #losses = 0;

  constructor(readonly id: NodeId, setup: Setup = {}) {
    const { size = 3, terms = [], votedFor = null, log = logOf(size, terms) } = setup;
    const term = setup.term ?? log.at(-1)?.term ?? 0;
    const isNew = log.length === 0;
    this.disk = new Disk({ ...admitted(term, votedFor), admittedIndex: isNew ? 0 : 1 }, log);
    const random = new Random(`node ${id}`);
    this.options = {
      id,
      incarnation: incarnationOf(id, 0),
      electionTimeoutTicks: { min: timeoutMin, max: timeoutMax },
      heartbeatTicks: 1,
      appendBytesMax: 1 << 20,
      inflightBytesMax: 1 << 22,
      uncommittedBytesMax: 1 << 24,
      committedEntriesMax: 1000,
      random: () => random.next(),
      ...setup.options,
    };
    this.raft = this.#load();
  }

  #load(): Raft {
    this.starts++;
    this.met.clear();
    const recovered = this.disk.recover();
    this.restored = this.disk.state;
    this.restoredIndex = recovered.snapshot?.lastIncludedIndex ?? 0;
    return new Raft(this.options, recovered);
  }

  /** Does all that the node can do by itself, and returns what leaves for other nodes. */
  run(): Message[] {
    const leaving: Message[] = [];
    this.check();
    for (;;) {
      const ready = this.raft.takeReady();
      if (ready !== null) {
        leaving.push(...ready.messages);
        if (ready.write !== null) this.pending.push(ready.write);
        this.applied.push(...ready.committed);
        for (const { id, readIndex } of ready.reads) this.reads.set(id, readIndex);
      } else if (!this.diskHeld && this.pending.length > 0) {
        leaving.push(...this.finishWrite());
      } else return leaving.map((message) => this.#fill(message));
    }
  }

  /** The oldest write becomes durable. Returns the messages that waited for it, except those to the node itself. */
  finishWrite(): Message[] {
    const write = this.pending.shift();
    assert(write !== undefined, "a write is under way");
    this.disk.save(write);
    for (const message of write.messages) {
      if (message.to !== this.id) continue;
      assertEquals(this.raft.receive(message), null);
      if (message.type === "snapshotReceived") this.#received.push(this.disk.incoming);
    }
    this.check();
    return write.messages.filter((message) => message.to !== this.id);
  }

  /** Looks at the snapshots that were received. */
  check(): void {
    while (!this.checkHeld && this.#received.length > 0) {
      const bytes = this.#received.shift()!;
      const found = decodeSnapshot(bytes);
      if (found === null) this.raft.discard();
      else {
        const index = found.snapshot.lastIncludedIndex;
        this.disk.files.set(index, bytes);
        if (!this.raft.install(found.snapshot)) continue;
        this.restored = found.commands;
        this.restoredIndex = index;
        this.applied = [];
      }
    }
  }

  /** Takes a snapshot of what is applied, and compacts the log up to it but for `keep` entries. */
  takeSnapshot(keep = 0): SnapshotMetadata {
    const index = this.lastApplied;
    const snapshot = this.raft.snapshotAt(index);
    this.disk.files.set(index, encodeSnapshot(snapshot, this.commands));
    this.disk.snapshot = snapshot;
    this.raft.onSnapshotTaken(snapshot);
    this.compact(keep);
    return snapshot;
  }

  /** Compacts the log as far as no follower is about to need it, and removes the snapshots that nobody needs. */
  compact(keep = 0): void {
    const { snapshot, transfers } = this.raft;
    if (snapshot === null) return;
    this.raft.compact(Math.min(snapshot.lastIncludedIndex - keep, ...transfers));
    for (const index of this.disk.files.keys()) {
      if (index !== snapshot.lastIncludedIndex && !transfers.includes(index)) this.disk.files.delete(index);
    }
  }

  /** The core names a piece of a snapshot; the bytes come from the disk. */
  #fill(message: Message): Message {
    if (message.type !== "installSnapshot") return message;
    const file = this.disk.files.get(message.lastIncludedIndex);
    assert(file !== undefined, "a snapshot that is sent is still there");
    const end = message.offset + this.pieceBytes;
    return { ...message, data: file.slice(message.offset, end), done: end >= file.length };
  }

  /** Loses everything but the disk. */
  crash(): void {
    this.isUp = false;
    this.pending.length = 0;
    this.#received.length = 0;
    this.reads.clear();
    this.applied = [];
  }

  /** Loses the folder. What starts next is an empty one, with another name. */
  wipe(): void {
    this.crash();
    this.#rename();
    this.disk = new Disk({ currentTerm: 0, votedFor: null, admittedIndex: 0 }, []);
  }

  /**
   * Loses the entries behind `lastKept`; the folder gets another name. Term and vote stay unless the state file is
   * lost too. What a snapshot holds stays in any case.
   */
  damage(lastKept: number, { losesState = false } = {}): void {
    this.crash();
    this.#rename();
    const { hardState, entries, snapshot, files } = this.disk;
    this.disk = new Disk(
      { ...hardState, admittedIndex: 0 },
      entries.filter(({ index }) => index <= lastKept),
    );
    this.disk.snapshot = snapshot;
    for (const [index, bytes] of files) this.disk.files.set(index, bytes);
    const lastTerm = this.disk.recover().entries.at(-1)?.term ?? snapshot?.lastIncludedTerm ?? 0;
    if (losesState) this.disk.hardState = { currentTerm: lastTerm, votedFor: null, admittedIndex: 0 };
  }

  #rename(): void {
    this.options = { ...this.options, incarnation: incarnationOf(this.id, ++this.#losses) };
  }

  /** Starts again from the disk. */
  start(): void {
    this.isUp = true;
    this.diskHeld = this.checkHeld = false;
    this.raft = this.#load();
  }

  restart(): void {
    this.crash();
    this.start();
  }

  /** Receives messages, one after another, and returns what leaves. */
  step(...messages: Message[]): Message[] {
    return messages.flatMap((message) => {
      assertEquals(this.raft.receive(message), null);
      return this.run();
    });
  }

  tick(count = 1): Message[] {
    const leaving: Message[] = [];
    for (let i = 0; i < count; i++) {
      this.raft.tick();
      leaving.push(...this.run());
    }
    return leaving;
  }

  /** The commands applied so far, without no-ops and configurations. */
  get commands(): unknown[] {
    return [...this.restored, ...commandsOf(this.applied)];
  }

  /** Index of the last entry that was applied. */
  get lastApplied(): number {
    return this.applied.at(-1)?.index ?? this.restoredIndex;
  }
}

/** What a state machine is given of these entries. */
export function commandsOf(entries: readonly Entry[]): unknown[] {
  return entries.filter((entry) => entry.kind === "command").map((entry) => entry.command);
}

/** A node whose peers exist only in the messages that a test makes up. Its id is 1. */
export function lone(setup: Setup = {}): Node {
  return new Node(1, setup);
}

/** A lone node that has just won the election for `term`; its first messages are gone. */
export function loneLeader(setup: Setup = {}): Node {
  const last = setup.term ?? (setup.terms?.at(-1) ?? 0) + 1;
  const node = lone({ ...setup, term: last - 1 });
  becomeCandidate(node);
  node.step(...grants(node, "vote"));
  assertEquals([node.raft.role, node.raft.currentTerm], ["leader", last]);
  return node;
}

/** The node asks for votes, all pre-votes being granted. Returns the vote requests. */
export function becomeCandidate(node: Node): Message[] {
  node.raft.campaign();
  const asked = node.run();
  return node.raft.role === "candidate" || node.raft.role === "leader"
    ? asked
    : node.step(...grants(node, "preVote"));
}

/** As many granted votes as the node needs besides its own. */
function grants(node: Node, kind: "vote" | "preVote"): Message[] {
  const preVote = kind === "preVote";
  const term = node.raft.currentTerm + (preVote ? 1 : 0);
  const { members } = node.raft.configuration;
  return members.slice(1, Math.floor(members.length / 2) + 1).map(({ id: from }) => (
    { type: "requestVoteResponse", from, to: node.id, term, voteGranted: true, preVote }
  ));
}
