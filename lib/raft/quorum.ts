/**
 * Majorities. Every decision of the protocol is taken by one, and any two share a member; that is all of its safety.
 *
 * @module
 */

import type { Configuration, NodeId } from "./types.ts";

/** How many members of `configuration` are a majority. */
export function quorumSize(configuration: Configuration): number {
  return Math.floor(configuration.members.length / 2) + 1;
}

/** The greatest value that a majority of the members has reached, such as an index that a majority has on disk. */
export function reachedByQuorum(configuration: Configuration, valueOf: (id: NodeId) => number): number {
  const values = configuration.members.map((member) => valueOf(member.id)).sort((a, b) => b - a);
  return values[quorumSize(configuration) - 1] ?? 0;
}

/** Where a vote stands. Only members count, each once. */
export function tally(
  configuration: Configuration,
  votes: ReadonlyMap<NodeId, boolean>,
): "won" | "lost" | "open" {
  let granted = 0, refused = 0;
  for (const { id } of configuration.members) {
    if (votes.get(id) === true) granted++;
    if (votes.get(id) === false) refused++;
  }
  const needed = quorumSize(configuration);
  if (granted >= needed) return "won";
  return configuration.members.length - refused < needed ? "lost" : "open";
}
