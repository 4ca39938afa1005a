/**
 * What leaders and their voters must keep to beside safety, checked after every event: a leader that hears no majority
 * steps down, opens its term with an entry of its own, takes no more than it may, knows no less of its followers than
 * before, and keeps what it sends them; nobody helps to depose a leader that it hears.
 *
 * @module
 */

import { stateOf } from "../../lib/raft/raft.ts";
import type { Leader, State } from "../../lib/raft/state.ts";
import type { Timing } from "../../lib/server/options.ts";
import type { Server } from "../../lib/server/server.ts";
import { snapshotName } from "../../lib/storage/snapshot_files.ts";
import type { FakeNetwork } from "./fake_network.ts";
import { Violation } from "./violation.ts";
import type { Machine } from "./world.ts";

/** What the checks need to see of a node. */
interface Led {
  readonly id: number;
  readonly machine: Machine;
  readonly server: Server | null;
}

/** What was seen of a node that leads. */
interface Watched {
  term: number;
  lastIndex: number;
  /** When each of the others was last heard. */
  heardAt: Map<string, number>;
  matchIndexes: Map<number, number>;
}

/** The checks of one cluster. */
export class Leadership {
  readonly #nodes: readonly Led[];
  readonly #silenceMsMax: number;
  /** By the name of the machine; only those that lead. */
  readonly #watched = new Map<string, Watched>();

  constructor(nodes: readonly Led[], network: FakeNetwork, { electionTimeoutMaxMs }: Timing) {
    this.#nodes = nodes;
    // Leaders count ticks, and a tick may come late.
    this.#silenceMsMax = 3 * electionTimeoutMaxMs + 200;
    const { onReceive } = network;
    network.onReceive = (end, bytes) => {
      onReceive(end, bytes);
      this.#watched.get(end.host)?.heardAt.set(end.remoteHost, network.scheduler.now);
    };
  }

  /** Looks at all nodes. Throws Violation. */
  check(now: number): void {
    for (const node of this.#nodes) {
      if (node.server === null) {
        this.#watched.delete(node.machine.name);
        continue;
      }
      const state = stateOf(node.server.raft);
      if (state.outboxAfterWrite.length > 0) checkPreVotes(node, state);
      if (state.role.name === "leader") this.#checkLeader(node, state, now);
      else this.#watched.delete(node.machine.name);
    }
  }

  #checkLeader(node: Led, state: State, now: number): void {
    const { name, life, disk } = node.machine;
    const { log, currentTerm } = state;
    const leader = state.role as Leader;
    let watched = this.#watched.get(name);
    if (watched?.term !== currentTerm) {
      const heardAt = new Map(this.#nodes.map(({ machine }) => [machine.name, now]));
      watched = { term: currentTerm, lastIndex: 0, heardAt, matchIndexes: new Map() };
      this.#watched.set(name, watched);
      check(log.lastTerm === currentTerm, () => `${name} leads and has no entry of its term ${currentTerm}`);
    }
    if (life!.paused) { for (const peer of watched.heardAt.keys()) watched.heardAt.set(peer, now); }
    this.#checkContact(name, watched, now);
    checkProgress(name, leader, watched);
    if (log.lastIndex !== watched.lastIndex) checkUncommitted(name, state);
    watched.lastIndex = log.lastIndex;
    for (const { transfer } of leader.progress.values()) {
      if (transfer === null) continue;
      const file = snapshotName(transfer.snapshot.lastIncludedIndex);
      check(disk.durable(file) !== null, () => `${name} removed ${file}, which it is sending`);
    }
  }

  #checkContact(name: string, { heardAt }: Watched, now: number): void {
    let heard = 1;
    for (const [peer, at] of heardAt) if (peer !== name && now - at <= this.#silenceMsMax) heard++;
    const isMajority = heard * 2 > this.#nodes.length;
    check(isMajority, () => `${name} leads, and has heard no majority for ${this.#silenceMsMax} ms`);
  }
}

function checkProgress(name: string, { progress }: Leader, { matchIndexes }: Watched): void {
  for (const [id, { matchIndex, nextIndex }] of progress) {
    const before = matchIndexes.get(id) ?? 0;
    // Of a new process of the follower nothing is known.
    const grows = matchIndex >= before || matchIndex === 0;
    check(grows, () => `${name} knew that n${id} has ${before}, and now only ${matchIndex}`);
    check(nextIndex > matchIndex, () => `${name} sends n${id} ${nextIndex} next, which has ${matchIndex}`);
    if (matchIndex !== before) matchIndexes.set(id, matchIndex);
  }
}

/** All proposals of the term but the last one were in the log when that was taken. */
function checkUncommitted(name: string, { log, currentTerm, commitIndex, options }: State): void {
  let bytes = 0;
  for (let index = log.lastIndex - 1; index > commitIndex; index--) {
    const { term, kind, line } = log.at(index)!;
    if (term === currentTerm && kind === "command") bytes += line.length;
  }
  const { uncommittedBytesMax } = options;
  check(bytes < uncommittedBytesMax, () => `${name} took a proposal with ${bytes} bytes not committed`);
}

/** Right after an event, a pre-vote that was granted in it has not left. */
function checkPreVotes({ machine: { name } }: Led, state: State): void {
  const { role, electionElapsed, options } = state;
  for (const message of state.outboxAfterWrite) {
    if (message.type !== "requestVoteResponse" || !message.preVote || !message.voteGranted) continue;
    const hears = role.name === "follower" && role.leaderId !== null && role.leaderId !== message.to &&
      electionElapsed < options.electionTimeoutTicks.min;
    check(!hears && role.name !== "leader", () => `${name} has a leader and would vote for n${message.to}`);
  }
}

function check(holds: boolean, message: () => string): void {
  if (!holds) throw new Violation("I16", message());
}
