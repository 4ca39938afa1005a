/**
 * Who belongs to the cluster (paper 6, thesis 4). A configuration is an entry of the log, in force from the moment
 * it is appended. The first one is not proposed but founded: every node writes the same entry, byte for byte.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { makeEntry } from "./entry.ts";
import { newProgress } from "./progress.ts";
import { appendOwn } from "./replication.ts";
import { type Leader, resetElectionTimer, type State } from "./state.ts";
import type { Configuration, Entry } from "./types.ts";

/** The entry that founds a cluster: index 1, term 0, the same on every node. */
export function foundingEntry(configuration: Configuration): Entry {
  return makeEntry({ index: 1, term: 0, kind: "configuration", command: configuration, prevCrc: 0 });
}

/** Writes the founding entry into an empty log. */
export function found(state: State, configuration: Configuration): void {
  assert(state.log.lastIndex === 0, "a cluster is founded once, in an empty log");
  state.log.append(foundingEntry(configuration));
  resetElectionTimer(state); // nobody leads yet; give those who found at the same moment a fair chance
}

/**
 * Proposes another configuration. At most one member may differ, at most one change may be uncommitted, and the
 * leader must have committed an entry of its own term: Ongaro's correction of the single-server change.
 */
export function proposeConfiguration(state: State, configuration: Configuration): Entry | string {
  const { role: leader, log } = state;
  if (leader.name !== "leader") return "this node does not lead";
  if (leader.transfer !== null) return "leadership is being handed over";
  if (state.commitIndex < leader.noopIndex) return "nothing of this term is committed yet";
  if (log.configurationIndex > state.commitIndex) return "another change is not yet committed";
  if (difference(log.configuration, configuration) > 1) return "more than one member differs";
  const entry = appendOwn(state, leader, "configuration", configuration);
  followConfiguration(state, leader);
  return entry;
}

/** Keeps one Progress for each member of the configuration in force. */
function followConfiguration(state: State, leader: Leader): void {
  const ids = new Set(state.log.configuration.members.map((member) => member.id));
  for (const id of leader.progress.keys()) if (!ids.has(id)) leader.progress.delete(id);
  for (const id of ids) {
    if (!leader.progress.has(id)) leader.progress.set(id, newProgress(state.log.lastIndex, state.tick));
  }
}

/** How many members were added, removed or replaced by another incarnation. */
function difference(before: Configuration, after: Configuration): number {
  const incarnations = (configuration: Configuration) =>
    new Map(configuration.members.map((member) => [member.id, member.incarnation]));
  const a = incarnations(before), b = incarnations(after);
  return [...new Set([...a.keys(), ...b.keys()])].filter((id) => a.get(id) !== b.get(id)).length;
}
