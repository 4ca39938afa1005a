/**
 * A state of the whole cluster: three nodes, what is on its way between them, and how much of what is bounded was used.
 *
 * @module
 */

import type { History } from "./history.ts";
import { receiverOf, renamed } from "./packets.ts";
import type { NodeState, Processes } from "./processes.ts";
import { renamings } from "./renaming.ts";

/** How often each of the things that are bounded may happen on one path. */
export interface Budgets {
  timeouts: number;
  heartbeats: number;
  proposals: number;
  crashes: number;
  losses: number;
  duplicates: number;
}

/** The names of what is bounded, in the order in which `used` counts it, four bits each. */
export const budgetNames = [
  "timeouts",
  "heartbeats",
  "proposals",
  "crashes",
  "losses",
  "duplicates",
] as const;

/** One state of the cluster. */
export interface Cluster {
  readonly nodes: readonly NodeState[];
  readonly network: readonly number[];
  readonly history: History;
  /** How much of each budget was used. */
  readonly used: number;
}

/** How much of a budget was used. */
export function usedOf({ used }: Pick<Cluster, "used">, name: keyof Budgets): number {
  return (used >> (4 * budgetNames.indexOf(name))) & 15;
}

/** One more of a budget. */
export function oneOf(name: keyof Budgets): number {
  return 1 << (4 * budgetNames.indexOf(name));
}

/**
 * Writes into `key` what tells a state from all others that are not the same but for the names of the nodes, and returns
 * its length, of which the last number is what was used: of the six `ways` to name them the one whose numbers are smallest.
 */
export function writeKey(
  { nodes, network, history, used }: Cluster,
  key: Int32Array,
  ways: number = renamings.length,
): number {
  const length = 5 + network.length;
  let isFirst = true;
  for (let renaming = 0; renaming < ways; renaming++) {
    fill(candidate, { nodes, network, history }, renaming);
    if (isFirst || isLess(candidate, key, length)) {
      for (let i = 0; i < length; i++) key[i] = candidate[i]!;
    }
    isFirst = false;
  }
  key[length] = used;
  return length + 1;
}

/** More than any state has. */
export const keyLengthMax = 256;
const candidate = new Int32Array(keyLengthMax);

function fill(key: Int32Array, { nodes, network, history }: Omit<Cluster, "used">, renaming: number): void {
  for (const { id, shapes } of nodes) key[renamings[renaming]![id]! - 1] = shapes[renaming]!;
  key[3] = history.shapes[renaming]!;
  key[4] = network.length;
  for (let count = 0; count < network.length; count++) {
    const packet = renamed(network[count]!, renaming);
    let at = 5 + count;
    for (; at > 5 && key[at - 1]! > packet; at--) key[at] = key[at - 1]!;
    key[at] = packet;
  }
}

function isLess(a: Int32Array, b: Int32Array, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i]! < b[i]!;
  return false;
}

/**
 * Whether a packet can have no effect any more, whatever happens: it answers what its receiver is no more and never
 * will be again. Terms on a disk never go back, and nobody stands or leads twice in one term. Taking such packets away
 * makes states equal that differ in nothing else.
 */
export function isSpent(processes: Processes, nodes: readonly NodeState[], number: number): boolean {
  const receiver = nodes[receiverOf(number) - 1]!;
  const packet = processes.packets.contentOf(number);
  const { currentTerm } = receiver.disk.hardState;
  switch (packet.type) {
    case "started":
      return receiver.role !== "leader"; // a later one begins with nothing known
    case "contactResponse":
      return packet.term <= currentTerm; // it feeds CheckQuorum, which "timeout" stands for
    case "appendEntriesResponse":
      return packet.term <= currentTerm && !(receiver.role === "leader" && packet.term === receiver.term);
    case "requestVoteResponse":
      if (packet.preVote) return packet.voteGranted && packet.term <= currentTerm;
      return packet.term <= currentTerm && !(receiver.role === "candidate" && packet.term === receiver.term);
    default:
      return false;
  }
}
