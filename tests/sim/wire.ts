/**
 * Listens on the raft ports: no message may claim what its sender's disk does not hold (DESIGN 3, ordering rules).
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
  voteGranted?: boolean;
  success?: boolean;
  matchIndex?: number;
}

const decoder = new TextDecoder();
const lineBytesMax = 64 << 20;

/** Checks all that the nodes say to each other from now on. */
export function watchWire(network: FakeNetwork, durables: readonly DurableState[]): void {
  const splitters = new WeakMap<Endpoint, LineSplitter>();
  network.onSend = (end, bytes) => {
    if (!end.host.startsWith("n") || !end.remoteHost.startsWith("n")) return;
    let splitter = splitters.get(end);
    if (splitter === undefined) splitters.set(end, splitter = new LineSplitter(lineBytesMax));
    splitter.push(bytes, (line) => {
      const message = parse(line);
      if (message !== null) checkMessage(message, durables[message.from - 1]!);
    });
  };
}

/** A message that claims something; null for entries, hellos and what claims nothing. */
function parse(line: Uint8Array): Spoken | null {
  const start = decoder.decode(line.subarray(0, 40));
  if (!start.includes('"type":"')) return null;
  const message = JSON.parse(decoder.decode(line)) as Spoken;
  return typeof message.from === "number" && typeof message.term === "number" ? message : null;
}

function checkMessage(message: Spoken, { name, currentTerm, votedFor, lastIndex }: DurableState): void {
  const { type, term, to } = message;
  const isTimeless = message.preVote || type === "timeoutNow";
  if (!isTimeless && currentTerm < term) {
    throw new Violation(
      "I14",
      `${name} speaks in term ${term}, its disk holds ${currentTerm}: ${JSON.stringify(message)}`,
    );
  }
  const isVote = type === "requestVoteResponse" && message.voteGranted && !message.preVote;
  if (isVote && currentTerm === term && votedFor !== to) {
    throw new Violation("I14", `${name} votes for n${to} in term ${term}, its disk says ${votedFor}`);
  }
  if (
    type === "appendEntriesResponse" && message.success && currentTerm === term &&
    message.matchIndex! > lastIndex
  ) {
    throw new Violation("I14", `${name} acknowledges ${message.matchIndex}, its disk ends at ${lastIndex}`);
  }
}
