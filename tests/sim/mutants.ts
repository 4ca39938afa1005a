/**
 * Known bugs, put on purpose into a copy of the source, to see that the simulator finds them. The program itself has
 * no trace of them: each is a change of its text, which must fit exactly once or the mutant is out of date.
 *
 * @module
 */

/** A bug: in `file`, `from` becomes `to`. */
export interface Mutant {
  /** What is wrong with it. */
  bug: string;
  changes: { file: string; from: string; to: string }[];
}

/** All bugs by name. */
export const mutants: Record<string, Mutant> = {
  "acknowledge-before-fsync": {
    bug: "a node acknowledges entries as soon as they are handed to its disk (rule of order 1)",
    changes: [{
      file: "lib/server/log_writer.ts",
      from: "    this.#waiting.push(write);\n",
      to: `    const isEarly = ({ type }: Message): boolean => type === "appendEntriesResponse";
    this.#waiting.push({ ...write, messages: write.messages.filter((message) => !isEarly(message)) });
    this.#owner.onDurable(write.messages.filter(isEarly));
`,
    }],
  },
  "vote-not-persisted": {
    bug: "a node's disk never learns for whom it voted (paper figure 2)",
    changes: [{
      file: "lib/raft/ready.ts",
      from: "{ currentTerm: term, votedFor, admittedIndex }",
      to: "{ currentTerm: term, votedFor: null, admittedIndex }",
    }],
  },
  "prevLogTerm-unchecked": {
    bug: "a follower takes entries whatever the term of the entry before them (paper 5.3)",
    changes: [{
      file: "lib/raft/replication.ts",
      from: "prevLogIndex > log.lastIndex || (!isCut && log.termAt(prevLogIndex) !== prevLogTerm)",
      to: "prevLogIndex > log.lastIndex",
    }],
  },
  "abstaining-acknowledges": {
    bug: "a leader counts what members that abstain have on their disks (incarnations.ts)",
    changes: [{
      file: "lib/raft/replication.ts",
      from: "progress === undefined || progress.abstains ? 0",
      to: "progress === undefined ? 0",
    }],
  },
  "abstaining-votes": {
    bug: "a node that has lost what it may have promised votes all the same (incarnations.ts)",
    changes: [{
      file: "lib/raft/election.ts",
      from: "const upToDate = !abstains(state) &&\n    state",
      to: "const upToDate = state",
    }],
  },
  "admission-before-entry": {
    bug: "a node notes that it is admitted before its disk has the entry that says so (incarnations.ts)",
    changes: [{
      file: "lib/raft/incarnations.ts",
      from: "configurationIndex > 1 && !isDurable",
      to: "configurationIndex > 1 && !isDurable && false",
    }],
  },
  "damage-cut-as-torn": {
    bug: "a damaged end of the log is cut like a torn one, whatever vouches for it (log_recovery.ts)",
    changes: [{
      file: "lib/storage/log_recovery.ts",
      from: "log.damage !== null || (!isVouched && log.lost.length === 0)",
      to: "log.damage !== null || log.lost.length === 0",
    }],
  },
  "snapshot-unverified": {
    bug: "a node takes over what it was sent of a snapshot without a look at its checksums (snapshotter.ts)",
    changes: [{
      file: "lib/server/snapshotter.ts",
      from:
        "      if (problem === null) {\n        storage.snapshots.confirm(index);\n        if (!raft.install",
      to:
        "      if (metadata !== null) {\n        storage.snapshots.confirm(index);\n        if (!raft.install",
    }],
  },
  "compaction-too-far": {
    bug: "the files of the log are removed beyond what the kept snapshots hold (snapshotter.ts)",
    changes: [{
      file: "lib/server/snapshotter.ts",
      from: "storage.compact(oldest,",
      to: "storage.compact(oldest + 10,",
    }],
  },
  "given-up-is-definite": {
    bug: "a session's write that is given up is called off, though it is in the log (pending_requests.ts)",
    changes: [{
      file: "lib/server/pending_requests.ts",
      from:
        "if (write.deadline > now) break;\n      this.#writes.delete(index);\n      write.onWritten(outcomeUnknown",
      to:
        "if (write.deadline > now) break;\n      this.#writes.delete(index);\n      write.onWritten(write.hasSession ? noLeader() : outcomeUnknown",
    }],
  },
  "watch-over-install": {
    bug: "a watch goes on over an installed snapshot as if nothing had been skipped (watch_history.ts)",
    changes: [{ file: "lib/kv/watch_history.ts", from: "= this.end + 1;", to: "= this.end;" }],
  },
  "snapshot-forgets-ends": {
    bug: "a snapshot does not say when keys go (keys.ts)",
    changes: [{
      file: "lib/kv/keys.ts",
      from: "yield { key: fromSortable(sortable), ...stored };",
      to: "yield { key: fromSortable(sortable), value: stored.value, version: stored.version };",
    }],
  },
  "pages-of-the-present": {
    bug: "the later pages of a list show the present state (frozen_states.ts)",
    changes: [{
      file: "lib/server/frozen_states.ts",
      from: "keys: store.freezeKeys(), usedAt",
      to: "keys: store, usedAt",
    }],
  },
};

const root = new URL("../../", import.meta.url);

/** The text of `file` with the bug in it. Throws when the bug does not fit. */
export function plant(name: string, file: string, text: string): string {
  for (const change of mutants[name]?.changes ?? []) {
    if (change.file !== file) continue;
    const parts = text.split(change.from);
    if (parts.length !== 2) {
      throw new Error(
        `the mutant ${name} fits ${parts.length - 1} times into ${file}, not once; bring it up to date`,
      );
    }
    text = parts.join(change.to);
  }
  return text;
}

/** Makes a copy of the source with a bug in it, in a new folder; the caller removes it. */
export async function makeMutant(name: string): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "kvapp-mutant-" });
  for (const part of ["lib", "tests/sim"]) await copy(part, folder);
  await Deno.copyFile(new URL("deno.json", root), `${folder}/deno.json`);
  for (const { file } of mutants[name]!.changes) {
    const path = `${folder}/${file}`;
    await Deno.writeTextFile(path, plant(name, file, await Deno.readTextFile(path)));
  }
  return folder;
}

async function copy(part: string, folder: string): Promise<void> {
  await Deno.mkdir(`${folder}/${part}`, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(new URL(`${part}/`, root))) {
    if (isDirectory) await copy(`${part}/${name}`, folder);
    else await Deno.copyFile(new URL(`${part}/${name}`, root), `${folder}/${part}/${name}`);
  }
}

/** Runs the simulator with `args` on a copy of the source that has a bug; the code is 1 when that was found. */
export async function runMutant(name: string, args: string[]): Promise<{ code: number; output: string }> {
  const folder = await makeMutant(name);
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "tests/sim/main.ts", ...args, "--planted", name],
      cwd: folder,
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
