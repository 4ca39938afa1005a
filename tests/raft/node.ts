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
import type { Configuration, Entry, HardState, NodeId, Write } from "../../lib/raft/types.ts";
import { Random } from "../sim/random.ts";

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

export function configurationOfSize(size: number): Configuration {
  return {
    members: Array.from({ length: size }, (_, i) => ({
      id: i + 1,
      address: `127.0.0.1:${8081 + i}`,
      incarnation: (i + 1).toString(16).padStart(16, "0"),
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

/** The terms of the entries behind the founding one, as far as the node has them in memory. */
export function termsOf(raft: Raft): number[] {
  return Array.from({ length: Math.max(0, raft.lastIndex - 1) }, (_, i) => raft.entryAt(i + 2)!.term);
}

/** One node: the real Raft, and what stands around it. */
export class Node {
  raft: Raft;
  isUp = true;
  /** What survives a crash. */
  readonly disk: { hardState: HardState; entries: Entry[] };
  /** Writes that were taken and are not yet durable, oldest first. */
  readonly pending: Write[] = [];
  /** While held, the disk finishes nothing. */
  diskHeld = false;
  /** Committed entries in the order in which they were handed out since the last start. */
  applied: Entry[] = [];
  /** Results of reads by id. */
  readonly reads = new Map<number, number | null>();
  readonly options: RaftOptions;

  constructor(readonly id: NodeId, setup: Setup = {}) {
    const { size = 3, terms = [], votedFor = null, log = logOf(size, terms) } = setup;
    const term = setup.term ?? log.at(-1)?.term ?? 0;
    this.disk = { hardState: { currentTerm: term, votedFor }, entries: [...log] };
    const random = new Random(`node ${id}`);
    this.options = {
      id,
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
    return new Raft(this.options, { hardState: { ...this.disk.hardState }, entries: [...this.disk.entries] });
  }

  /** Does all that the node can do by itself, and returns what leaves for other nodes. */
  run(): Message[] {
    const leaving: Message[] = [];
    for (;;) {
      const ready = this.raft.takeReady();
      if (ready !== null) {
        leaving.push(...ready.messages);
        if (ready.write !== null) this.pending.push(ready.write);
        this.applied.push(...ready.committed);
        for (const { id, readIndex } of ready.reads) this.reads.set(id, readIndex);
      } else if (!this.diskHeld && this.pending.length > 0) {
        leaving.push(...this.finishWrite());
      } else return leaving;
    }
  }

  /** The oldest write becomes durable. Returns the messages that waited for it, except those to the node itself. */
  finishWrite(): Message[] {
    const write = this.pending.shift();
    assert(write !== undefined, "a write is under way");
    this.save(write);
    for (const message of write.messages) {
      if (message.to === this.id) assertEquals(this.raft.receive(message), null);
    }
    return write.messages.filter((message) => message.to !== this.id);
  }

  /** The state goes to the disk before the entries, and of those only the first `count` in a crash. */
  save({ hardState, entries }: Write, count: number = entries.length): void {
    if (hardState !== null) this.disk.hardState = hardState;
    const [first] = entries;
    if (first !== undefined) this.disk.entries.splice(first.index - 1, Infinity, ...entries.slice(0, count));
  }

  /** Loses everything but the disk. */
  crash(): void {
    this.isUp = false;
    this.pending.length = 0;
    this.reads.clear();
    this.applied = [];
  }

  /** Starts again from the disk. */
  start(): void {
    this.isUp = true;
    this.diskHeld = false;
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
    return this.applied.filter((entry) => entry.kind === "command").map((entry) => entry.command);
  }
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
