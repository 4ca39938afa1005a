/**
 * Bugs of reads: from the log's side (lib/raft/reads.ts) and the store's (lib/server).
 *
 * @module
 */

import type { Mutant } from "./mutant.ts";

/** By name. */
export const reads: Record<string, Mutant> = {
  "local-reads": {
    bug: "any node answers reads from its own state at once",
    classes: ["S10", "BQ1"],
    changes: [{
      file: "lib/server/requests.ts",
      from:
        '  if (consistency === "stale") {\n    return answer(look(() => ({ index: context.machine.appliedIndex, ageMs',
      to: '  if (consistency !== "stale" || consistency === "stale") {\n' +
        "    return answer(look(() => ({ index: context.machine.appliedIndex, ageMs",
    }],
  },
  "unconfirmed-reads": {
    bug: "a leader answers reads without making sure that it still leads",
    classes: ["BQ1"],
    changes: [{
      file: "lib/raft/reads.ts",
      from: "id === state.options.id ? reads.round : leader.progress.get(id)?.readRound ?? 0,",
      to: "leader.progress.has(id) ? reads.round : 0,",
    }],
  },
  "fresh-leader-reads": {
    bug: "a new leader answers reads before it has committed an entry of its own term (etcd-io/etcd #7331)",
    classes: ["BQ2"],
    changes: [{
      file: "lib/raft/reads.ts",
      from: "reads.waiting.length === 0 || state.commitIndex < leader.noopIndex",
      to: "reads.waiting.length === 0",
    }],
  },
  "lease-reads": {
    bug:
      "a leader answers reads for the longest election timeout after it heard a majority; others may lead by then",
    classes: ["BQ3"],
    changes: [{
      file: "lib/raft/reads.ts",
      from: "(id) => id === state.options.id ? reads.round : leader.progress.get(id)?.readRound ?? 0,",
      to: "(id) => {\n      const { lastContactTick = -1e9 } = leader.progress.get(id) ?? {};\n" +
        "      const isLeased = state.tick - lastContactTick < state.options.electionTimeoutTicks.max;\n" +
        "      return id === state.options.id || isLeased ? reads.round : 0;\n    },",
    }],
  },
  "old-confirmation-counts": {
    bug: "a leader takes an answer to an earlier question for a confirmation of reads that came since",
    classes: ["BQ4"],
    changes: [{
      file: "lib/raft/replication.ts",
      from: "Math.max(progress.readRound, Math.min(response.readRound, leader.reads.round))",
      to: "leader.reads.round",
    }],
  },
  "read-before-applied": {
    bug: "a read looks at the store before what it must see is applied",
    classes: ["BQ5"],
    changes: [{
      file: "lib/server/pending_requests.ts",
      from: "if (dueIndex <= this.#appliedIndex) read.onReadable(null);",
      to: "if (dueIndex > 0) read.onReadable(null);",
    }],
  },
  "pages-of-the-present": {
    bug: "the later pages of a list show the present state (frozen_states.ts)",
    classes: [],
    changes: [{
      file: "lib/server/frozen_states.ts",
      from: "keys: store.freezeKeys(), usedAt",
      to: "keys: Object.assign(store, { release() {} }), usedAt",
    }],
  },
  "watch-over-install": {
    bug: "a watch goes on over an installed snapshot as if nothing had been skipped (watch_history.ts)",
    classes: [],
    changes: [{
      file: "lib/server/watch_history.ts",
      from: "restart(this.end + 1);",
      to: "restart(this.end);",
    }],
  },
};
