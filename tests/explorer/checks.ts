/**
 * The safety properties of the paper (figure 3) and what this core promises besides, as they must hold in every state of a
 * cluster. What concerns a single step of a single node is checked in step_checks.ts.
 *
 * @module
 */

import type { Cluster } from "./cluster.ts";
import { holds, isUpToDate, type Logs } from "./logs.ts";
import { type SafetyPromise, type Violation, violation } from "./violation.ts";

/** What does not hold in a state, or null; of one promise only if it is given. */
export function checkCluster(cluster: Cluster, logs: Logs, only: SafetyPromise | null): Violation | null {
  for (
    const check of [checkLogs, checkCommitted, checkDurable, checkLeaders, checkElectable, checkProgress]
  ) {
    const found = check(cluster, logs);
    if (found !== null && (only === null || found.promise === only)) return found;
  }
  return null;
}

/** Log matching, of all logs in memory and on disks. */
function checkLogs({ nodes }: Cluster, logs: Logs): Violation | null {
  for (const a of nodes) {
    for (const b of nodes) {
      const matching = logs.match(a.log, b.log) && logs.match(a.log, b.diskLog) &&
        logs.match(a.diskLog, b.diskLog);
      if (!matching) return violation("log matching", a.id, `its log and that of node ${b.id}`);
    }
  }
  return null;
}

function checkCommitted({ nodes, history: { committed } }: Cluster): Violation | null {
  for (const { id, commitIndex, log } of nodes) {
    if (commitIndex === 0) continue;
    const isSame = commitIndex <= committed.length && holds(log, committed[commitIndex - 1]!.entry);
    if (!isSame) return violation("state machine safety", id, `it commits another entry ${commitIndex}`);
  }
  return null;
}

/** An entry that was ever committed is on a majority of disks from then on. */
function checkDurable({ nodes, history: { committed } }: Cluster): Violation | null {
  const last = committed.at(-1)?.entry;
  if (last === undefined) return null;
  const holders = nodes.filter(({ diskLog }) => holds(diskLog, last)).length;
  if (holders >= 2) return null;
  const words = `entry ${last.index} is committed, and on the disks of ${holders} of 3`;
  return { promise: "committed entries are durable on a majority", words };
}

function checkLeaders({ nodes, history: { committed } }: Cluster): Violation | null {
  for (const { id, role, term, log } of nodes) {
    if (role !== "leader") continue;
    const missing = committed.find((one) => one.term <= term && !holds(log, one.entry));
    if (missing === undefined) continue;
    const { entry: { index }, term: committedIn } = missing;
    const words = `it leads term ${term} without entry ${index}, committed in term ${committedIn}`;
    return violation("leader completeness", id, words);
  }
  return null;
}

/**
 * Leader completeness, looked ahead: a node and a voter, with their logs as they are in memory or would be after a crash,
 * are a majority, and nothing stops them from an election in a later term. Finds bugs that need one term more to do harm.
 */
function checkElectable({ nodes, history: { committed } }: Cluster): Violation | null {
  const last = committed.at(-1)?.entry;
  if (last === undefined) return null;
  for (const node of nodes) {
    for (const log of [node.log, node.diskLog]) {
      if (holds(log, last)) continue;
      const voter = nodes.find((other) =>
        other !== node && (isUpToDate(log, other.log) || isUpToDate(log, other.diskLog))
      );
      if (voter === undefined) continue;
      const words = `without the committed entry ${last.index} it would get the vote of node ${voter.id}`;
      return violation("who may yet be elected has what is committed", node.id, words);
    }
  }
  return null;
}

/** What a leader takes for durable on a node that is in its term is durable there. */
function checkProgress({ nodes }: Cluster): Violation | null {
  for (const leader of nodes) {
    for (const { id, matchIndex } of leader.matchIndexes) {
      const follower = nodes[id - 1]!;
      if (matchIndex === 0 || follower.term !== leader.term) continue;
      if (holds(follower.diskLog, leader.log.entries[matchIndex - 1]!)) continue;
      const words = `matchIndex of node ${id} is ${matchIndex}, and its disk has no such entry`;
      return violation("matchIndex is durable there", leader.id, words);
    }
  }
  return null;
}
