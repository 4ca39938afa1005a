/**
 * Bugs of snapshots: taking, sending and installing them, and what goes when they are there.
 *
 * @module
 */

import type { Mutant } from "./mutant.ts";

const core = "lib/raft/snapshotting.ts";
const snapshotter = "lib/server/snapshotter.ts";

/** By name. */
export const snapshots: Record<string, Mutant> = {
  "snapshot-not-frozen": {
    bug: "a snapshot shows keys as they are when it is written, which may be later than its index says",
    classes: ["BN1"],
    changes: [{
      file: "lib/kv/store.ts",
      from: "const keys = this.#keys.clone();\n    const sessions",
      to: "const keys = this.#keys;\n    const sessions",
    }],
  },
  "session-not-copied": {
    bug: "a snapshot shows sessions as they are when it is written (sessions.ts)",
    classes: ["BN1"],
    changes: [{
      file: "lib/kv/sessions.ts",
      from: "if (session.generation === this.#generation) return session;",
      to: "if (session.generation <= this.#generation) return session;",
    }],
  },
  "compaction-too-far": {
    bug: "the files of the log are removed beyond what the kept snapshots hold (snapshotter.ts)",
    classes: ["BN2"],
    changes: [{ file: snapshotter, from: "storage.compact(oldest,", to: "storage.compact(oldest + 10," }],
  },
  "needless-snapshot-installed": {
    bug: "a snapshot is installed though the log has all that it holds, and the entries behind it go",
    classes: ["BN3", "BN5"],
    changes: [{
      file: core,
      from: "  if (lastIncludedIndex <= state.commitIndex || isInLog) {",
      to: "  if (lastIncludedIndex <= log.base.index && !isInLog) {",
    }, {
      file: core,
      from: 'if (lastIncludedIndex <= state.commitIndex || isInLog || state.role.name !== "follower")',
      to: 'if (!isInLog && lastIncludedIndex <= log.base.index || state.role.name !== "follower")',
    }],
  },
  "install-keeps-log": {
    bug: "an installed snapshot leaves the log as it was, conflicting entries and all (hashicorp/raft #697)",
    classes: ["BN4"],
    changes: [{ file: core, from: "  log.restore(snapshot);\n", to: "" }],
  },
  "sent-snapshot-removed": {
    bug: "a snapshot is removed, and the log behind it cut, while it is being sent to a follower",
    classes: ["BN6"],
    changes: [
      { file: snapshotter, from: "[...whole.slice(-2), ...raft.transfers]", to: "[...whole.slice(-2)]" },
      { file: snapshotter, from: "Math.min(newest, ...raft.transfers), oldest", to: "newest, oldest" },
      {
        file: snapshotter,
        from: "kept.includes(index) || raft.transfers.includes(index) || index",
        to: "kept.includes(index) || index",
      },
    ],
  },
  "snapshot-without-sessions": {
    bug: "a snapshot leaves out what sessions have done (openraft #2096)",
    classes: ["BN7"],
    changes: [{
      file: "lib/kv/store.ts",
      from: "lines: () => linesOf(logTime, keys, sessions),",
      to: "lines: () => linesOf(logTime, keys, { lines: () => [] }),",
    }],
  },
  "snapshot-forgets-ends": {
    bug: "a snapshot does not say when keys go (keys.ts)",
    classes: ["BN7"],
    changes: [{
      file: "lib/kv/keys.ts",
      from: "yield { key: fromSortable(sortable), ...stored };",
      to: "yield { key: fromSortable(sortable), value: stored.value, version: stored.version };",
    }],
  },
  "empty-after-start": {
    bug: "a node that starts shows an empty state in the place of its snapshot's for a while (redisraft #18)",
    classes: ["BN8"],
    changes: [{
      file: "lib/server/server.ts",
      from:
        "if (recovered.snapshot !== null) this.#machine.takeOver(store, recovered.snapshot.lastIncludedIndex);",
      to: "if (recovered.snapshot !== null) {\n" +
        "      this.#machine.takeOver(new Store(), recovered.snapshot.lastIncludedIndex);\n" +
        "      io.clock.after(50, () => this.#machine.store = store);\n    }",
    }],
  },
  "snapshot-unverified": {
    bug: "a node takes over what it was sent of a snapshot without a look at its checksums (snapshotter.ts)",
    classes: ["BS5"],
    changes: [{
      file: snapshotter,
      from:
        "      if (problem === null) {\n        storage.snapshots.confirm(index);\n        if (!raft.install",
      to:
        "      if (metadata !== null) {\n        storage.snapshots.confirm(index);\n        if (!raft.install",
    }],
  },
  "empty-value-is-deleted": {
    bug: "a snapshot leaves out keys whose value is empty",
    classes: ["S12"],
    changes: [{
      file: "lib/kv/keys.ts",
      from: "yield { key: fromSortable(sortable), ...stored };",
      to: 'if (stored.value !== "") yield { key: fromSortable(sortable), ...stored };',
    }],
  },
  "odd-keys-dropped": {
    bug: "a snapshot leaves out keys with a colon or a newline in them",
    classes: ["S12"],
    changes: [{
      file: "lib/kv/keys.ts",
      from: "yield { key: fromSortable(sortable), ...stored };",
      to: "if (!/[:\\n]/.test(sortable)) yield { key: fromSortable(sortable), ...stored };",
    }],
  },
};
