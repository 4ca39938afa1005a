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
      from: "const keys = this.#keys.freeze();\n    const sessions",
      to: "const keys = Object.assign(this.#keys, { release() {} });\n    const sessions",
    }],
  },
  "frozen-values-replaced": {
    bug: "a new value takes the place of one that a frozen state shows (value_heap.ts)",
    classes: ["BN1"],
    changes: [{
      file: "lib/kv/value_heap.ts",
      from: "if (isSlot && !this.#isFrozen(held) && this.#write(held, stored)) return held;",
      to: "if (isSlot && this.#write(held, stored)) return held;",
    }],
  },
  "values-kept-for-one": {
    bug: "what two frozen states show makes room for others when the newer one is released (value_heap.ts)",
    classes: ["BN1"],
    changes: [{
      file: "lib/kv/value_heap.ts",
      from: "if (older !== undefined && this.#birthOf(ref) < older.number) older.kept.push(ref);",
      to: "if (older === null) older.kept.push(ref);",
    }],
  },
  "state-never-released": {
    bug:
      "the state of a snapshot stays frozen when the snapshot is there, and with it all values that were in it",
    classes: ["BN1"],
    changes: [{ file: snapshotter, from: "      state.release();\n", to: "" }],
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
      from: "blocks: () => blocksOf(logTime, keys, sessions),",
      to: "blocks: () => blocksOf(logTime, keys, { lines: () => [] }),",
    }],
  },
  "snapshot-forgets-ends": {
    bug: "a snapshot does not say when keys go (keys.ts)",
    classes: ["BN7"],
    changes: [{
      file: "lib/kv/keys.ts",
      from: "if (expiresAt !== Infinity) lines.plain(",
      to: "if (expiresAt < 0) lines.plain(",
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
      from: "const held = values[i]!, expiresAt = heap.expiresAt(held);",
      to:
        'const held = values[i]!, expiresAt = heap.expiresAt(held);\n      if (heap.get(held).value === "") continue;',
    }],
  },
  "odd-keys-dropped": {
    bug: "a snapshot leaves out keys with a colon or a newline in them",
    classes: ["S12"],
    changes: [{
      file: "lib/kv/keys.ts",
      from: "const held = values[i]!, expiresAt = heap.expiresAt(held);",
      to:
        "const held = values[i]!, expiresAt = heap.expiresAt(held);\n      if (/[:\\n]/.test(fromSortable(keys[i]!))) continue;",
    }],
  },
  "quotes-not-escaped": {
    bug: "a snapshot has values with quotes as they are, so that their lines are not JSON (line_buffer.ts)",
    classes: ["S12"],
    changes: [{
      file: "lib/kv/line_buffer.ts",
      from: "| ((quotes - eachByte) & ~quotes) |",
      to: "|",
    }],
  },
};
