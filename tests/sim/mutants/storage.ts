/**
 * Bugs of the files of a node, and of what a folder that has lost something may do.
 *
 * @module
 */

import type { Mutant } from "./mutant.ts";

const storageFile = "lib/storage/storage.ts";
const recovery = "lib/storage/log_recovery.ts";

/** By name. */
export const storage: Record<string, Mutant> = {
  "state-in-two-steps": {
    bug: "the state file is emptied and then written; an empty one means a new folder",
    classes: ["S6", "BE1"],
    changes: [{
      file: storageFile,
      from: "    this.#disk.replace(stateFile, encodeState(state), (error) => {",
      to: `    const replace = (name: string, bytes: Uint8Array, then: Done): void => {
      if (this.#disk.read(name) === null) return this.#disk.replace(name, bytes, then);
      this.#disk.truncate(name, 0, (error) => {
        if (error === null) this.#disk.append(name, bytes, then);
        else then(error);
      });
    };
    replace(stateFile, encodeState(state), (error) => {`,
    }, {
      file: "lib/storage/recovery.ts",
      from: "  if (bytes === null) return newFolder(disk);",
      to: "  if (bytes === null || bytes.length === 0) return newFolder(disk);",
    }],
  },
  "bad-lines-skipped": {
    bug: "a start skips lines of the log that it cannot read, and takes what follows them",
    classes: ["S8"],
    changes: [
      { file: recovery, from: "if (reason !== null && this.#isAnchored) {", to: "if (segment.end < 0) {" },
      { file: recovery, from: "entry.index !== this.#last.index + 1", to: "entry.index <= this.#last.index" },
      { file: recovery, from: "if (entry.prevCrc !== this.#last.crc) {", to: "if (entry.index < 0) {" },
    ],
  },
  "fsync-error-tried-again": {
    bug: "after a failed write the same write is tried again (PostgreSQL's fsyncgate)",
    classes: ["BS1"],
    changes: [{
      file: "lib/server/log_writer.ts",
      from: "if (error !== null && !(error instanceof DiskFull)) {",
      to: 'if (error !== null && error.message === "") {',
    }, {
      file: "lib/server/log_writer.ts",
      from: "then(error);",
      to: "then(error as DiskFull | null);",
    }, {
      file: storageFile,
      from: "if (!(error instanceof DiskFull)) this.#error = error;",
      to: 'if (error?.message === "") this.#error = error;',
    }],
  },
  "recovered-not-settled": {
    bug: "what a start finds in the system's cache, left by a killed process, counts as durable (storage.ts)",
    classes: ["BS2"],
    changes: [{ file: storageFile, from: "    this.#log.settle(steps);\n", to: "" }],
  },
  "damage-cut-as-torn": {
    bug: "a damaged end of the log is cut like a torn one, whatever vouches for it (log_recovery.ts)",
    classes: ["BS4", "BS5"],
    changes: [{
      file: recovery,
      from: "log.damage !== null || (!isVouched && log.lost.length === 0)",
      to: "log.damage !== null || log.lost.length === 0",
    }],
  },
  "torn-taken-for-damage": {
    bug: "a log that a crash has torn is taken for a damaged one",
    classes: ["BS4"],
    changes: [{
      file: recovery,
      from: "const isVouched = this.#voucher.index > this.#last.index;",
      to: "const isVouched = this.#voucher.index > this.#last.index || log.tail !== null;",
    }],
  },
  "mark-vouches-for-itself": {
    bug: "a mark vouches for the batch that it is written with, which a crash may tear (log_files.ts)",
    classes: ["BS4"],
    changes: [{
      file: "lib/storage/log_files.ts",
      from: "before.push(encodeMark(durable));",
      to: "before.push(encodeMark({ index: entries.at(-1)!.index, crc: entries.at(-1)!.crc }));",
    }],
  },
  "state-vouches-for-cut": {
    bug: "the state file goes on vouching for entries that a conflict has cut (storage.ts)",
    classes: ["BS4"],
    changes: [{
      file: storageFile,
      from: "hardState !== this.#hardState || this.#stateMark.index > keep || snapshot !== null",
      to: "hardState !== this.#hardState || snapshot !== null",
    }],
  },
  "lines-forgotten-early": {
    bug: "entries that are not on the disk yet are to be read from there again (server.ts)",
    classes: ["BS1"],
    changes: [{
      file: "lib/server/server.ts",
      from: "this.raft.forgetLines(this.#writer.settledIndex);",
      to: "this.raft.forgetLines(this.appliedIndex);",
    }],
  },
  "abstaining-acknowledges": {
    bug: "a leader counts what members that abstain have on their disks (incarnations.ts)",
    classes: ["BM6"],
    changes: [{
      file: "lib/raft/replication.ts",
      from: "progress === undefined || progress.abstains ? 0",
      to: "progress === undefined ? 0",
    }],
  },
  "abstaining-votes": {
    bug: "a node that has lost what it may have promised votes all the same (incarnations.ts)",
    classes: ["BM6"],
    changes: [{
      file: "lib/raft/election.ts",
      from: "const upToDate = !abstains(state) &&\n    state",
      to: "const upToDate = state",
    }],
  },
  "abstaining-stands": {
    bug: "a node that has lost what it may have promised stands for election (incarnations.ts)",
    classes: ["BM6"],
    changes: [{
      file: "lib/raft/election.ts",
      from: "isMember(state, state.options.id) && !abstains(state);",
      to: "isMember(state, state.options.id);",
    }],
  },
  "admission-before-entry": {
    bug: "a node notes that it is admitted before its disk has the entry that says so (incarnations.ts)",
    classes: ["BM6"],
    changes: [{
      file: "lib/raft/incarnations.ts",
      from: "configurationIndex > 1 && !isDurable",
      to: "configurationIndex > 1 && !isDurable && false",
    }],
  },
};
