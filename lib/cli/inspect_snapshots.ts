/**
 * The snapshots of a folder, for people: what each holds or why it is none, and the lines of the newest whole one.
 * Of a file only a piece is in memory, beside the state that it holds.
 *
 * @module
 */

import type { Disk } from "../io/io.ts";
import { Store } from "../kv/store.ts";
import { isSealed } from "../raft/entry.ts";
import { linesOf } from "../storage/file_lines.ts";
import { FolderError } from "../storage/formats.ts";
import { SnapshotFiles, snapshotIndexIn, snapshotName } from "../storage/snapshot_files.ts";
import { type Reading, SnapshotReader } from "../storage/snapshot_format.ts";
import { harmlessLine, print } from "./output.ts";

/** What a file in `snapshots/` holds, for a node that starts. */
export interface SnapshotFileReport {
  /** It holds the state after the entry `index`, says its name. */
  index: number;
  /** Of that entry. */
  term: number | null;
  /** How many of each it holds; null: it is not whole. */
  keys: number | null;
  sessions: number | null;
  isWhole: boolean;
  /** Why it is not whole. */
  bad: string | null;
}

/** Reads a snapshot from its first byte to its last; null: the name is not that of a snapshot. */
export function readSnapshotFile(disk: Disk, name: string): SnapshotFileReport | null {
  const index = snapshotIndexIn(name);
  if (index === null) return null;
  const store = new Store();
  const reader = new SnapshotReader(name, (line) => store.restoreLine(line));
  const bad = whatIsBad(new SnapshotFiles(disk).pieces(index), reader) ??
    (reader.metadata!.lastIncludedIndex === index
      ? store.finishRestore(index)
      : `it is the snapshot of entry ${reader.metadata!.lastIncludedIndex}`);
  const contents = bad === null ? reader.contents : null;
  return {
    index,
    term: reader.metadata?.lastIncludedTerm ?? null,
    keys: contents?.keys ?? null,
    sessions: contents?.sessions ?? null,
    isWhole: bad === null,
    bad,
  };
}

function whatIsBad(pieces: Iterable<Uint8Array>, reader: SnapshotReader): string | null {
  let reading: Reading = "more";
  try {
    for (const bytes of pieces) {
      reading = reader.take(bytes);
      if (typeof reading === "object") return reading.bad;
    }
  } catch (error) {
    if (error instanceof FolderError) return error.message; // a newer version wrote it
    throw error;
  }
  return reading === "whole" ? null : "it ends too early";
}

/** Prints the keys of a whole snapshot, then how many sessions it has; `json`: their lines as they stand in the file. */
export function printSnapshot(disk: Disk, index: number, { json }: { json: boolean }): void {
  let sessions = 0;
  let answers = 0;
  let lines: string[] = [];
  let units = 0;
  const flush = (): void => {
    if (lines.length > 0) print(lines.join("\n"));
    lines = [];
    units = 0;
  };
  for (const bytes of linesOf(disk, snapshotName(index))) {
    if (isSealed(bytes)) continue; // the first and the last line, and those that vouch for a block
    const text = decoder.decode(bytes.subarray(0, -1));
    const line = json ? {} : JSON.parse(text) as Record<string, unknown>;
    if (Array.isArray(line.answers)) {
      sessions++;
      answers += line.answers.length;
      continue;
    }
    lines.push(json ? text : harmlessLine(`${line.key}\t${line.version}\t${line.value}`));
    units += lines.at(-1)!.length;
    if (units > unitsMax) flush();
  }
  flush();
  if (!json) print(`${count(sessions, "session")} with ${count(answers, "answer")}`);
}

/** "1 key", "2 keys". */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
/** About as much is printed at once. */
const unitsMax = 64 << 10;
