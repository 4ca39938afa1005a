/**
 * Bugs of log replication and commitment (lib/raft/replication.ts, progress.ts, log.ts).
 *
 * @module
 */

import type { Mutant } from "./mutant.ts";

const file = "lib/raft/replication.ts";

/** By name. */
export const replication: Record<string, Mutant> = {
  "canary": {
    bug: "a leader commits what it has as soon as it has it: so gross that the first seed must fail",
    classes: [],
    changes: [{
      file,
      from: "  if (reached <= state.commitIndex || log.termAt(reached) !== state.currentTerm) return;",
      to: "  if (reached < 0) return;\n  state.commitIndex = log.lastIndex;",
    }, {
      file,
      from: "  log.append(entry);\n  leader.uncommittedBytes += entry.line.length;",
      to: "  log.append(entry);\n  advanceCommitIndex(state, leader);",
    }],
  },
  "prevLogTerm-unchecked": {
    bug: "a follower takes entries whatever the term of the entry before them (paper 5.3)",
    classes: [],
    changes: [{
      file,
      from: "prevLogIndex > log.lastIndex || (!isCut && log.termAt(prevLogIndex) !== prevLogTerm)",
      to: "prevLogIndex > log.lastIndex",
    }],
  },
  "commits-earlier-terms": {
    bug: "a leader commits entries of earlier terms because a majority has them (paper 5.4.2, figure 8)",
    classes: ["BR1"],
    changes: [{
      file,
      from: "reached <= state.commitIndex || log.termAt(reached) !== state.currentTerm",
      to: "reached <= state.commitIndex",
    }],
  },
  "commit-beyond-match": {
    bug: "a follower commits entries that it has not compared with its leader's",
    classes: ["S3", "BR2"],
    changes: [{
      file,
      from: "Math.min(request.leaderCommit, matchIndex)",
      to: "Math.min(request.leaderCommit, log.lastIndex)",
    }],
  },
  "read-commits-unverified": {
    bug: "a follower commits, up to a read index, entries that it has not compared with its leader's",
    classes: ["BR2"],
    changes: [{
      file: "lib/raft/reads.ts",
      from: "Math.min(response.readIndex, role.verifiedIndex)",
      to: "Math.min(response.readIndex, state.log.lastIndex)",
    }],
  },
  "acknowledges-whole-log": {
    bug: "a follower acknowledges its whole log, not what it has compared with its leader's",
    classes: ["S2", "BR5"],
    changes: [{
      file,
      from: "{ success: true, matchIndex, conflictIndex: 0",
      to: "{ success: true, matchIndex: log.lastIndex, conflictIndex: 0",
    }],
  },
  "match-goes-back": {
    bug: "a late answer takes back what a leader knows of a follower's log (etcd-io/raft #149)",
    classes: ["BR5"],
    changes: [{
      file: "lib/raft/progress.ts",
      from: "progress.matchIndex = Math.max(progress.matchIndex, index);",
      to: "progress.matchIndex = index;",
    }],
  },
  "entries-renumbered": {
    bug:
      "entries go out behind the last acknowledged one, wherever they belong, and followers number them anew",
    classes: ["S4"],
    changes: [{
      file,
      from: "const prevLogIndex = isEmpty ? 0 : progress.nextIndex - 1;",
      to: 'const prevLogIndex = isEmpty ? 0 : progress.mode === "replicate"\n' +
        "    ? Math.max(progress.matchIndex, log.base.index)\n    : progress.nextIndex - 1;",
    }, {
      file,
      from: "recordSent(progress, prevLogIndex + entries.length, bytes)",
      to: "recordSent(progress, entries.at(-1)!.index, bytes)",
    }, {
      file,
      from: "  takeEntries(state, entries);",
      to: "  let prevCrc = request.prevLogCrc;\n" +
        "  const renumbered = entries.map((entry, i) => {\n" +
        "    const again = makeEntry({ ...entry, index: prevLogIndex + 1 + i, prevCrc });\n" +
        "    prevCrc = again.crc;\n    return again;\n  });\n  takeEntries(state, renumbered);",
    }, {
      file: "lib/raft/inspection.ts",
      from: "return inspectEntries(message) ?? inspectPast(state, message);",
      to: "return null;",
    }],
  },
  "never-sent-again": {
    bug: "a follower that missed entries is never sent them again",
    classes: ["S5", "BR7"],
    changes: [{ file, from: "  if (stale) return;", to: "  if (stale || !stale) return;" }],
  },
  "probe-never-left": {
    bug:
      "a leader that has asked where the logs part does not hear the answer (etcd-io/raft heartbeat_resp_recovers)",
    classes: ["BR7"],
    changes: [{
      file: "lib/raft/progress.ts",
      from: "index >= progress.nextIndex - 1;",
      to: "index >= progress.nextIndex;",
    }],
  },
  "restart-unnoticed": {
    bug: "a leader goes on with a follower's new process where it was with the one before",
    classes: ["BR7", "BM6"],
    changes: [{
      file: "lib/raft/incarnations.ts",
      from: '  if (leader.name !== "leader" || !leader.progress.has(id)) return;',
      to: '  if (leader.name !== "leader" || leader.progress.size > 0) return;',
    }],
  },
  "shorter-message-cuts": {
    bug: "a follower cuts what it has behind the last entry of a message (hashicorp/raft #113)",
    classes: ["BR3"],
    changes: [{
      file,
      from: "  const matchIndex = prevLogIndex + entries.length;\n  state.role",
      to: "  const matchIndex = prevLogIndex + entries.length;\n" +
        "  const end = Math.max(matchIndex, state.commitIndex) + 1;\n" +
        "  if (end <= log.lastIndex) {\n    log.truncateFrom(end);\n" +
        "    state.unwrittenIndex = Math.min(state.unwrittenIndex, end);\n  }\n  state.role",
    }],
  },
  "conflict-keeps-tail": {
    bug: "a follower replaces a conflicting entry in its place, and keeps what follows it (mofa #1151)",
    classes: ["BR4"],
    changes: [{
      file: "lib/raft/log.ts",
      from: "    this.#entries.length = Math.min(this.#entries.length, index - this.#packedIndex - 1);",
      to: "    this.#tail = this.#entries.splice(index - this.#packedIndex - 1).slice(1);",
    }, {
      file: "lib/raft/log.ts",
      from: "    this.#entries.push(entry);\n",
      to: "    this.#entries.push(entry, ...this.#tail);\n    this.#tail = [];\n",
    }, {
      file: "lib/raft/log.ts",
      from: "  #entries: Entry[] = [];\n",
      to: "  #entries: Entry[] = [];\n  #tail: Entry[] = [];\n",
    }],
  },
  "replaced-entry-unwritten": {
    bug:
      "an entry that replaces one that was handed to the disk is not, and the old one's write acknowledges it",
    classes: ["BR6"],
    changes: [{
      file,
      from: "      state.unwrittenIndex = Math.min(state.unwrittenIndex, entry.index);\n",
      to: "",
    }],
  },
  "leader-counts-itself": {
    bug: "a leader counts itself for an entry before its own disk has it (etcd-io/etcd #14370)",
    classes: ["BR8"],
    changes: [{
      file,
      from: "  log.append(entry);\n  leader.uncommittedBytes",
      to: "  log.append(entry);\n  acknowledge(leader.progress.get(state.options.id)!, entry.index);\n" +
        "  leader.uncommittedBytes",
    }],
  },
  "acknowledge-before-fsync": {
    bug: "a node acknowledges entries as soon as they are handed to its disk (rule of order 1)",
    classes: ["S7", "BR8", "BS2"],
    changes: [{
      file: "lib/server/log_writer.ts",
      from: "    this.#waiting.push(write);\n",
      to: `    const isEarly = ({ type }: Message): boolean => type === "appendEntriesResponse";
    this.#waiting.push({ ...write, messages: write.messages.filter((message) => !isEarly(message)) });
    this.#owner.onDurable(write.messages.filter(isEarly));
`,
    }],
  },
  "unbounded-uncommitted": {
    bug: "a leader that cannot commit takes proposals without end",
    classes: ["BR9"],
    changes: [{
      file: "lib/raft/raft.ts",
      from: "role.uncommittedBytes >= options.uncommittedBytesMax",
      to: "role.uncommittedBytes >= 100 * options.uncommittedBytesMax",
    }],
  },
  "no-noop": {
    bug: "a new leader writes nothing of its own, so what earlier terms left stays uncommitted (paper 8)",
    classes: ["S14"],
    changes: [
      { file, from: "noopIndex: log.lastIndex + 1,", to: "noopIndex: log.lastIndex," },
      {
        file,
        from: '  state.role = leader;\n  appendOwn(state, leader, "noop", null);',
        to: "  state.role = leader;",
      },
    ],
  },
};
