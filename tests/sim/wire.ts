/**
 * Listens on the raft ports: no message may claim what its sender's disk does not hold (ARCHITECTURE.md, rules of order).
 *
 * @module
 */

import { LineSplitter } from "../../lib/protocol/lines.ts";
import type { DurableState } from "./durable_state.ts";
import type { Endpoint } from "./fake_connection.ts";
import type { FakeNetwork } from "./fake_network.ts";
import { Violation } from "./violation.ts";

/** What the checks read of a message; other fields and other lines mean nothing to them. */
interface Spoken {
  type?: string;
  from: number;
  to: number;
  term: number;
  preVote?: boolean;
  leadershipTransfer?: boolean;
  voteGranted?: boolean;
  success?: boolean;
  matchIndex?: number;
  readRound?: number;
}

const decoder = new TextDecoder();
const lineBytesMax = 64 << 20;

/** Whom to tell of what was heard. */
export interface Listeners {
  onVote(node: number): void;
  /** A follower tells its leader of this term that it has heard of a read round. */
  onReadRound(from: number, to: number, round: { term: number; readRound: number }): void;
}

/** Checks all that the nodes say to each other from now on, and tells of it. */
export function watchWire(
  network: FakeNetwork,
  durables: readonly DurableState[],
  { onVote, onReadRound }: Listeners,
): void {
  const splitters = new WeakMap<Endpoint, LineSplitter>();
  const votes = new Map<string, number>();
  /** By candidate and term: who said that it would vote so. */
  const willing = new Map<string, Set<number>>();
  network.onSend = (end, bytes) => {
    if (!end.host.startsWith("n") || !end.remoteHost.startsWith("n")) return;
    let splitter = splitters.get(end);
    if (splitter === undefined) splitters.set(end, splitter = new LineSplitter(lineBytesMax));
    splitter.push(bytes, (line) => {
      const message = parse(line);
      if (message === null) return;
      const durable = durables[message.from - 1]!;
      checkDurable(message, durable);
      const { type, from, to, term, readRound } = message;
      if (type === "contactResponse") onReadRound(from, to, { term, readRound: readRound! });
      checkWilling(willing, message, durables.length);
      const candidate = votedFor(message);
      if (candidate === null) return;
      checkOneVote(votes, durable, { term: message.term, candidate });
      onVote(message.from);
    });
  };
}

/** For whom a message says that its sender voted in its term: who asks for votes has voted for itself. */
function votedFor(message: Spoken): number | null {
  if (message.preVote) return null;
  if (message.type === "requestVote") return message.from;
  return message.type === "requestVoteResponse" && message.voteGranted ? message.to : null;
}

/** A node stands for election when a majority has said that it would vote for it, or when its leader asked it to. */
function checkWilling(willing: Map<string, Set<number>>, message: Spoken, nodes: number): void {
  const { type, from, to, term, preVote, voteGranted } = message;
  if (type === "requestVoteResponse" && preVote && voteGranted) {
    const key = `${to} ${term}`;
    const known = willing.get(key);
    if (known === undefined) willing.set(key, new Set([from]));
    else known.add(from);
  }
  if (type !== "requestVote" || preVote || message.leadershipTransfer) return;
  const count = 1 + (willing.get(`${from} ${term}`)?.size ?? 0);
  if (count * 2 <= nodes) {
    throw new Violation(
      "I16",
      `n${from} stands for election in term ${term}, and ${count} would vote for it`,
    );
  }
}

/**
 * What a node says in one life and in the next must agree, whatever its disk holds. A folder that was lost is another
 * matter: the new one must not vote at all until it is admitted, and then nobody can win with the forgotten vote
 * (lib/raft/incarnations.ts).
 */
function checkOneVote(
  votes: Map<string, number>,
  { name, incarnation, isAdmitted }: DurableState,
  { term, candidate }: { term: number; candidate: number },
): void {
  if (!isAdmitted) throw new Violation("I15", `${name} abstains and votes for n${candidate} in term ${term}`);
  const key = `${name} ${incarnation} ${term}`;
  const known = votes.get(key);
  if (known !== undefined && known !== candidate) {
    throw new Violation("I7", `${name} voted for n${known} and for n${candidate} in term ${term}`);
  }
  votes.set(key, candidate);
}

/** A message that claims something; null for entries, hellos and what claims nothing. */
function parse(line: Uint8Array): Spoken | null {
  const start = decoder.decode(line.subarray(0, 40));
  if (!start.includes('"type":"')) return null;
  const message = JSON.parse(decoder.decode(line)) as Spoken;
  return typeof message.from === "number" && typeof message.term === "number" ? message : null;
}

function checkDurable(message: Spoken, { name, currentTerm, votedFor: vote, lastIndex }: DurableState): void {
  const { type, term } = message;
  const isTimeless = message.preVote || type === "timeoutNow";
  if (!isTimeless && currentTerm < term) {
    throw new Violation(
      "I14",
      `${name} speaks in term ${term}, its disk holds ${currentTerm}: ${JSON.stringify(message)}`,
    );
  }
  const candidate = votedFor(message);
  if (candidate !== null && currentTerm === term && vote !== candidate) {
    throw new Violation("I14", `${name} votes for n${candidate} in term ${term}, its disk says ${vote}`);
  }
  if (
    type === "appendEntriesResponse" && message.success && currentTerm === term &&
    message.matchIndex! > lastIndex
  ) {
    throw new Violation("I14", `${name} acknowledges ${message.matchIndex}, its disk ends at ${lastIndex}`);
  }
}
