/**
 * What leaders and voters must keep to beside safety. A leader that hears no majority steps down; it opens its term with an
 * entry of its own, hands over in time or not at all, and knows of its followers what is so. Followers acknowledge and
 * commit what they have compared with its log. Nobody helps to depose a leader that it hears, or one with a shorter log
 * to office. What changes slowly is looked at after every fourth event only.
 *
 * @module
 */

import { stateOf } from "../../lib/raft/raft.ts";
import type { Message, RequestVoteResponse } from "../../lib/raft/messages.ts";
import type { Leader, State } from "../../lib/raft/state.ts";
import type { Timing } from "../../lib/server/options.ts";
import type { Server } from "../../lib/server/server.ts";
import { snapshotName } from "../../lib/storage/snapshot_files.ts";
import type { DurableState } from "./durable_state.ts";
import type { FakeNetwork } from "./fake_network.ts";
import { Violation } from "./violation.ts";
import type { Machine } from "./world.ts";

/** What the checks need to see of a node. */
interface Led {
  readonly id: number;
  readonly machine: Machine;
  readonly server: Server | null;
  readonly durable: Pick<DurableState, "crcs" | "currentTerm" | "lastIndex">;
}

/** So many election timeouts are not all equal. */
const drawsMin = 16;
/** What a leader knows of its followers is compared with them this often. */
const eventsPerLook = 4;

/** What was seen of a node that leads. */
interface Watched {
  term: number;
  lastIndex: number;
  commitIndex: number;
  /** When each of the others was last heard. */
  heardAt: Map<string, number>;
  matchIndexes: Map<number, number>;
  /** Read rounds that were not confirmed yet. */
  rounds: number;
}

/** The checks of one cluster. */
export class Leadership {
  /** Read rounds that leaders had to call off, because they led no more. */
  cancelledRounds = 0;
  readonly #nodes: readonly Led[];
  readonly #isDamaged: (node: Led) => boolean;
  readonly #silenceMsMax: number;
  /** By the name of the machine; only those that lead. */
  readonly #watched = new Map<string, Watched>();
  readonly #states = new Map<number, State>();
  /** By follower, leader and term: the latest read round that it told of. */
  readonly #readRounds = new Map<string, number>();
  /** What followers had committed, and in which term. */
  readonly #followers = new WeakMap<State, Pick<State, "commitIndex" | "currentTerm">>();
  readonly #answers = new WeakSet<Message>();
  /** Whether each process stands for election, or would. */
  readonly #standing = new WeakMap<State, boolean>();
  /** The election timeouts that they drew at their start and for each attempt, and how often. */
  readonly #timeouts = new Set<number>();
  #draws = 0;
  #events = 0;

  constructor(
    nodes: readonly Led[],
    { network, timing: { electionTimeoutMaxMs }, isDamaged }: {
      network: FakeNetwork;
      timing: Timing;
      /** A node's disk has lost something: what was said of it before may be true no more, until its new folder is known. */
      isDamaged(node: Led): boolean;
    },
  ) {
    this.#nodes = nodes;
    this.#isDamaged = isDamaged;
    // Leaders count ticks, and a tick may come late.
    this.#silenceMsMax = 3 * electionTimeoutMaxMs + 200;
    const { onReceive } = network;
    network.onReceive = (end, bytes) => {
      onReceive(end, bytes);
      const heardAt = this.#watched.get(end.host)?.heardAt;
      if (heardAt?.has(end.remoteHost)) heardAt.set(end.remoteHost, network.scheduler.now); // no client
    };
  }

  /** Looks at all nodes. Throws Violation. */
  check(now: number): void {
    this.#events++;
    for (const { id, server } of this.#nodes) {
      if (server === null) this.#states.delete(id);
      else this.#states.set(id, stateOf(server.raft));
    }
    for (const node of this.#nodes) {
      const state = this.#states.get(node.id);
      if (state === undefined) {
        this.#watched.delete(node.machine.name);
        continue;
      }
      if (state.outboxAfterWrite.length > 0) this.#checkAnswers(node, state);
      this.#checkFollower(node, state);
      this.#checkTimeouts(state);
      if (state.role.name === "leader") this.#checkLeader(node, state, now);
      else this.#forget(node.machine.name);
    }
  }

  /** It leads no more, and lives. */
  #forget(name: string): void {
    this.cancelledRounds += this.#watched.get(name)?.rounds ?? 0;
    this.#watched.delete(name);
  }

  /** Each start and each attempt draws a timeout. That so many are equal by chance will not be seen. */
  #checkTimeouts(state: State): void {
    const isStanding = state.role.name === "preCandidate" || state.role.name === "candidate";
    const stood = this.#standing.get(state);
    if (isStanding === stood) return;
    this.#standing.set(state, isStanding);
    if (stood !== undefined && !isStanding) return;
    this.#timeouts.add(state.electionTimeout);
    const { min, max } = state.options.electionTimeoutTicks;
    const isSame = ++this.#draws >= drawsMin && this.#timeouts.size === 1 && max - min > 2;
    check(!isSame, () => `${this.#draws} times a timeout of ${state.electionTimeout} ticks was drawn`);
  }

  /** Right after the event that brought an answer about, it has not left. */
  #checkAnswers({ machine: { name } }: Led, state: State): void {
    const { role, currentTerm, commitIndex } = state;
    for (const message of state.outboxAfterWrite) {
      if (this.#answers.has(message)) continue;
      this.#answers.add(message);
      if (message.type === "requestVoteResponse" && message.voteGranted && message.to !== message.from) {
        checkVote(name, state, { candidate: this.#states.get(message.to), vote: message });
      }
      const isAck = message.type === "appendEntriesResponse" && message.success &&
        message.term === currentTerm;
      if (!isAck || role.name !== "follower") continue;
      const known = Math.max(commitIndex, role.verifiedIndex);
      check(
        message.matchIndex <= known,
        () => `${name} acknowledges ${message.matchIndex}, and has compared ${known} with its leader`,
      );
    }
  }

  /** A follower commits what it has compared with its leader's log, or was offered in a snapshot. */
  #checkFollower({ machine: { name } }: Led, state: State): void {
    const { role, currentTerm, commitIndex, outboxAfterWrite } = state;
    const before = this.#followers.get(state);
    if (role.name !== "follower") return void this.#followers.delete(state);
    if (before?.commitIndex === commitIndex && before.currentTerm === currentTerm) return;
    this.#followers.set(state, { commitIndex, currentTerm });
    if (before?.currentTerm !== currentTerm) return; // what it had compared in the term before is forgotten
    const isKnown = commitIndex <= role.verifiedIndex ||
      outboxAfterWrite.some((it) => it.type === "appendEntriesResponse" && it.matchIndex >= commitIndex);
    check(
      isKnown,
      () => `${name} commits ${commitIndex}, and has compared ${role.verifiedIndex} with its leader`,
    );
  }

  #checkLeader(node: Led, state: State, now: number): void {
    const { name } = node.machine;
    const { log, currentTerm } = state;
    const leader = state.role as Leader;
    let watched = this.#watched.get(name);
    if (watched === undefined || watched.term !== currentTerm) {
      const heardAt = new Map(this.#nodes.map(({ machine }) => [machine.name, now]));
      watched = {
        term: currentTerm,
        lastIndex: 0,
        commitIndex: state.commitIndex,
        heardAt,
        matchIndexes: new Map(),
        rounds: 0,
      };
      this.#watched.set(name, watched);
      check(log.lastTerm === currentTerm, () => `${name} leads and has no entry of its term ${currentTerm}`);
    }
    watched.rounds = leader.reads.rounds.length;
    if (leader.reads.round > 0) this.#checkRounds(node, state);
    if (this.#events % eventsPerLook === 0) this.#checkProgress(node, state, { watched, now });
    if (log.lastIndex !== watched.lastIndex) checkUncommitted(name, state);
    watched.lastIndex = log.lastIndex;
    if (state.commitIndex !== watched.commitIndex) {
      const isOwn = log.termAt(state.commitIndex) === currentTerm;
      check(isOwn, () => `${name} committed up to ${state.commitIndex}, an entry of an earlier term`);
      watched.commitIndex = state.commitIndex;
    }
    const isInTime = (leader.transfer?.ticks ?? 0) < state.options.electionTimeoutTicks.max;
    check(isInTime, () => `${name} hands over to n${leader.transfer!.target} without end`);
  }

  /** What does not go by so quickly is not looked at after each event. */
  #checkProgress(node: Led, state: State, { watched, now }: { watched: Watched; now: number }): void {
    const { name, life, disk } = node.machine;
    const { log } = state;
    const leader = state.role as Leader;
    if (life!.paused) { for (const peer of watched.heardAt.keys()) watched.heardAt.set(peer, now); }
    // One that is over, and only waits for its disk, deposes itself no more.
    if (node.server?.isOver === false) this.#checkContact(name, watched, now);
    checkProgress(name, leader, watched);
    for (const other of this.#nodes) {
      const { incarnation } = this.#states.get(other.id)?.options ?? {};
      const isKnown = incarnation !== undefined && state.peerIncarnations.get(other.id) === incarnation;
      // What a start finds whole it makes durable before it speaks.
      const isStarting = other.server?.isReady === false;
      if (!this.#isDamaged(other) || (isKnown && !isStarting)) checkMatch(name, state, other);
    }
    for (const { transfer } of leader.progress.values()) {
      if (transfer === null) continue;
      const { lastIncludedIndex } = transfer.snapshot;
      const isKept = disk.durable(snapshotName(lastIncludedIndex)) !== null &&
        log.base.index <= lastIncludedIndex;
      check(
        isKept,
        () => `${name} removed the snapshot ${lastIncludedIndex}, or the log behind it, while it sends it`,
      );
    }
  }

  /** A follower has told the leader of a term that it has heard of a read round. */
  onReadRound(from: number, to: number, { term, readRound }: { term: number; readRound: number }): void {
    const key = `${from}>${to} ${term}`;
    this.#readRounds.set(key, Math.max(this.#readRounds.get(key) ?? 0, readRound));
  }

  #checkRounds({ id, machine: { name } }: Led, { role, currentTerm }: State): void {
    for (const [other, { readRound }] of (role as Leader).progress) {
      if (readRound === 0) continue;
      const heard = this.#readRounds.get(`${other}>${id} ${currentTerm}`) ?? 0;
      check(
        readRound <= heard,
        () => `${name} counts n${other} for read round ${readRound}, it heard ${heard}`,
      );
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

/** What a leader knows of a disk is so, until a later leader says otherwise. */
function checkMatch(name: string, { role, log, currentTerm }: State, { id, durable }: Led): void {
  const { matchIndex = 0 } = (role as Leader).progress.get(id) ?? {};
  if (matchIndex < log.base.index || matchIndex === 0 || durable.currentTerm > currentTerm) return;
  const crc = durable.crcs[matchIndex];
  const isThere = crc === undefined ? durable.lastIndex >= matchIndex : crc === log.crcAt(matchIndex);
  check(isThere, () => `${name} believes that n${id} has its entry ${matchIndex}, and its disk has not`);
}

/** All proposals of the term but the last one were in the log when that was taken; a configuration may follow it. */
function checkUncommitted(name: string, { log, currentTerm, commitIndex, options }: State): void {
  let bytes = 0, last = 0;
  for (let index = log.lastIndex; index > commitIndex; index--) {
    const { term, kind, line } = log.at(index)!;
    if (term !== currentTerm || kind !== "command") continue;
    if (last === 0) last = line.length;
    bytes += line.length;
  }
  const before = bytes - last;
  const { uncommittedBytesMax } = options;
  check(before < uncommittedBytesMax, () => `${name} took a proposal with ${before} bytes not committed`);
}

/** Who has a leader helps nobody to its office; and the log of whom it helps is at least as complete as its own. */
function checkVote(
  name: string,
  { role, electionElapsed, options, log }: State,
  { candidate, vote: { to, term, preVote } }: { candidate: State | undefined; vote: RequestVoteResponse },
): void {
  const hears = role.name === "follower" && role.leaderId !== null && role.leaderId !== to &&
    electionElapsed < options.electionTimeoutTicks.min;
  if (preVote) {
    check(!hears && role.name !== "leader", () => `${name} has a leader and would vote for n${to}`);
  }
  const isAsking = candidate?.role.name === (preVote ? "preCandidate" : "candidate") &&
    candidate.currentTerm === (preVote ? term - 1 : term);
  if (!isAsking) return; // what it had when it asked is not known any more
  const { lastTerm, lastIndex } = candidate.log;
  const isComplete = lastTerm > log.lastTerm || (lastTerm === log.lastTerm && lastIndex >= log.lastIndex);
  check(isComplete, () => `${name} votes for n${to}, whose log ends before its own`);
}

function check(holds: boolean, message: () => string): void {
  if (!holds) throw new Violation("I16", message());
}
