/**
 * Known bugs, put on purpose into a copy of the Raft core, to see that the explorer finds them. Each is a change of the
 * source's text, which must fit exactly once.
 *
 * @module
 */

import { mutants } from "../sim/mutants.ts";
import type { Mutant } from "../sim/mutants/mutant.ts";
import type { Bounds } from "./bounds.ts";
import type { Core } from "./processes.ts";
import type { SafetyPromise } from "./violation.ts";

/** A bug, small bounds within which it does harm, and the promise to watch when others break before it. */
export interface Bug extends Pick<Mutant, "bug" | "changes"> {
  bounds: Partial<Bounds>;
  only?: SafetyPromise;
}

const replication = "lib/raft/replication.ts";

/** All bugs by name. */
export const bugs: Record<string, Bug> = {
  "vote-not-persisted": {
    ...mutants["vote-not-persisted"]!,
    bounds: { terms: 2, timeouts: 2, crashes: 1 },
    only: "one leader a term",
  },
  "figure-8": {
    bug: "a leader commits an entry of an earlier term because a majority has it (paper 5.4.2, figure 8)",
    changes: [{
      file: replication,
      from: " || log.termAt(reached) !== state.currentTerm) return;",
      to: ") return;",
    }],
    bounds: {},
  },
  "acknowledge-before-durable": {
    bug: "a follower acknowledges entries as soon as they are handed to its disk (rule of order 1)",
    changes: [{
      file: replication,
      from: 'sendAfterWrite(state, {\n    type: "appendEntriesResponse"',
      to: 'send(state, {\n    type: "appendEntriesResponse"',
    }],
    bounds: {},
    only: "committed entries are durable on a majority",
  },
  "shorter-logs-win": {
    bug: "a node votes for logs that are shorter than its own (paper 5.4.1)",
    changes: [{
      file: "lib/raft/log.ts",
      from:
        "return last.term > this.lastTerm || (last.term === this.lastTerm && last.index >= this.lastIndex);",
      to: "return last.term >= this.lastTerm;",
    }],
    bounds: { terms: 2, entries: 2, timeouts: 2, heartbeats: 1, proposals: 1 },
  },
  "commit-unconfirmed": {
    bug: "a follower commits entries behind those that its leader has confirmed (paper 5.3)",
    changes: [{
      file: replication,
      from: "Math.min(request.leaderCommit, matchIndex)",
      to: "Math.min(request.leaderCommit, log.lastIndex)",
    }],
    bounds: { terms: 2, entries: 1, timeouts: 2, heartbeats: 1 },
  },
  "prevLogTerm-unchecked": {
    ...mutants["prevLogTerm-unchecked"]!,
    bounds: { terms: 2, entries: 2, timeouts: 2, proposals: 1 },
  },
  "late-entries-cut": {
    bug: "entries that come late cut off what follows them (hashicorp/raft #113)",
    changes: [{
      file: replication,
      from: "if (log.termAt(entry.index) === entry.term) {",
      to: "if (log.termAt(entry.index) === entry.term && entry.index === log.lastIndex) {",
    }],
    bounds: { terms: 1, packets: 2, timeouts: 1, proposals: 1, duplicates: 1 },
  },
};

const root = new URL("../../", import.meta.url);

/** The Raft core with a bug in it. Throws when the bug does not fit the source. */
export async function coreWith({ changes }: Pick<Bug, "bug" | "changes">): Promise<Core> {
  const folder = await Deno.makeTempDir({ prefix: "kvapp-bug-" });
  try {
    await Deno.mkdir(`${folder}/lib/raft`, { recursive: true });
    const files = ["assert", "bytes", "byte_queue", "crc32", "encoded_command"].map((name) =>
      `lib/${name}.ts`
    );
    for await (const { name } of Deno.readDir(new URL("lib/raft/", root))) files.push(`lib/raft/${name}`);
    for (const file of files) {
      let text = await Deno.readTextFile(new URL(file, root));
      for (const { from, to } of changes.filter((change) => change.file === file)) {
        const parts = text.split(from);
        if (parts.length !== 2) throw new Error(`${from} is ${parts.length - 1} times in ${file}, not once`);
        text = parts.join(to);
      }
      await Deno.writeTextFile(`${folder}/${file}`, text);
    }
    return await import(`file://${folder}/lib/raft/raft.ts`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
