/**
 * Bugs between clients and the log: requests, replies, sessions, the state machine, and who is who.
 *
 * @module
 */

import type { Mutant } from "./mutant.ts";

const pending = "lib/server/pending_requests.ts";

/** By name. */
export const clients: Record<string, Mutant> = {
  "writes-never-happen": {
    bug: "a write is answered without a look at the log",
    classes: ["S9"],
    changes: [{
      file: "lib/server/requests.ts",
      from: "  const copied = copiedBytes(command);\n",
      to: "  const copied = copiedBytes(command);\n" +
        "  const at = machine.appliedIndex;\n" +
        '  if (command.op === "put") {\n' +
        "    return answer(encodeReply(id, { ok: true, index: at, version: at }, undefined));\n  }\n",
    }],
  },
  "failed-apply-skipped": {
    bug: "an entry whose application fails on one node is skipped there",
    classes: ["S11"],
    changes: [{
      file: "lib/server/state_machine.ts",
      from: '    if (entry.kind !== "command") return null;\n',
      to: '    if (entry.kind !== "command" || this.appliedBytes % 100 === 7) return null;\n',
    }],
  },
  "plain-put-without-session": {
    bug:
      "a put that is known by its bytes is carried out in no session, so that what is sent again is done again",
    classes: ["S16", "BC1"],
    changes: [{
      file: "lib/kv/plain_put.ts",
      from: "const ends = { keyEnd: keyEnd - from, valueEnd: valueEnd - from, numbered };",
      to: "const ends = { keyEnd: keyEnd - from, valueEnd: valueEnd - from, numbered: null };",
    }],
  },
  "borrowed-bytes": {
    bug:
      "a put that is known by its bytes goes on referring to those of the request, where others come to stand",
    classes: ["S11"],
    changes: [{
      file: "lib/raft/entry.ts",
      from: "    command.settle(line, before.length);\n",
      to: "",
    }],
  },
  "requests-last-first": {
    bug: "requests that wait together are answered in the wrong order",
    classes: ["S13"],
    changes: [{
      file: "lib/server/client_connection.ts",
      from: "    const slot: Slot = { line: null };\n    this.#slots.push(slot);\n    if (isFirst",
      to: "    const slot: Slot = { line: null };\n    this.#slots.unshift(slot);\n    if (isFirst",
    }],
  },
  "matched-by-index": {
    bug: "a write is taken for done when any entry is applied at its index, whatever the term",
    classes: ["S13"],
    changes: [{ file: pending, from: "write.term === place.term && result !== null", to: "result !== null" }],
  },
  "sender-by-position": {
    bug: "the sender of a message is who stands at its place in the list of the other nodes",
    classes: ["S15"],
    changes: [{
      file: "lib/server/peer_links.ts",
      from: "    return this.#owner.onMessage(message);\n",
      to: "    const from = [...this.#peers.keys()].indexOf(link.hello!.nodeId) + 1;\n" +
        "    return this.#owner.onMessage({ ...message, from });\n",
    }],
  },
  "session-writes-twice": {
    bug: "a session's write that is sent again is carried out again",
    classes: ["S16", "BC1", "BC3"],
    changes: [{ file: "lib/kv/sessions.ts", from: "if (first !== undefined) return first;", to: "" }],
  },
  "resent-without-number": {
    bug: "a write that is sent again waits for any write of its session",
    classes: ["S16"],
    changes: [
      { file: pending, from: " && write.numbered.seq === numbered.seq", to: "" },
      { file: pending, from: " >>> 8) + seq)", to: " >>> 8) + (seq >> 3))" },
    ],
  },
  "given-up-is-definite": {
    bug: "a session's write that is given up is called off, though it is in the log (pending_requests.ts)",
    classes: ["BC2"],
    changes: [{
      file: pending,
      from: "known ?? outcomeUnknown(numbered !== null)",
      to: "known ?? (numbered !== null ? noLeader() : outcomeUnknown(false))",
    }],
  },
};
