/**
 * Entries for the tests of the checks.
 *
 * @module
 */

import type { Command } from "../../lib/kv/command.ts";
import { makeEntry } from "../../lib/raft/entry.ts";
import type { Entry } from "../../lib/raft/types.ts";

/** A chain of entries; each item is a term or a command in term 1. */
export function chain(...items: (number | Command)[]): Entry[] {
  const entries: Entry[] = [];
  for (const item of items) {
    const command = typeof item === "number" ? null : item;
    entries.push(makeEntry({
      index: entries.length + 1,
      term: typeof item === "number" ? item : 1,
      kind: command === null ? "noop" : "command",
      command,
      prevCrc: entries.at(-1)?.crc ?? 0,
    }));
  }
  return entries;
}
