/**
 * The bytes of a snapshot: lines of JSON, so that a person can read, search and compare it. The lines of the state
 * machine stand in blocks, and behind each block a line that vouches for it: one checksum for many lines costs little.
 * A snapshot without its last line, or with one wrong bit, is none.
 *
 * ```text
 *   {"crc":"...","format":1,"clusterId":"...","index":7,"term":2,"at":"...","configurationIndex":1,"configuration":{...}}
 *   {"key":"a","value":"1","version":7}
 *   {"session":"3","forgotten":0,"answers":[]}
 *   {"crc":"...","block":1,"lines":2,"sum":"..."}
 *   {"crc":"...","blocks":1,"keys":1,"sessions":1}
 * ```
 *
 * @module
 */

import { concat, decodeText } from "../bytes.ts";
import { crc32, crcToHex } from "../crc32.ts";
import { isConfiguration } from "../raft/entry.ts";
import type { SnapshotMetadata } from "../raft/types.ts";
import { checkOrigin, formatVersion, isWhole, seal, unseal } from "./formats.ts";

/** No block of an honest writer, whose longest line is a session's, comes near. */
const blockBytesMax = 64 << 20;

/** Where a snapshot comes from, and how many lines of each kind the state machine has in it. */
export interface SnapshotContents {
  clusterId: string | null;
  keys: number;
  sessions: number;
}

const newline = 10;

/**
 * The bytes of a snapshot, piece by piece, each a little more than a block. `blocks` are those of the state machine's
 * lines, and each is looked at only until the next is asked for.
 */
export function* encodeSnapshot(
  metadata: SnapshotMetadata,
  contents: SnapshotContents,
  blocks: Iterable<{ readonly bytes: Uint8Array; readonly lines: number }>,
): Generator<Uint8Array> {
  const { lastIncludedIndex: index, lastIncludedTerm: term, lastIncludedCrc } = metadata;
  const { configuration, configurationIndex } = metadata;
  const { clusterId, keys, sessions } = contents;
  const at = crcToHex(lastIncludedCrc);
  yield seal({ format: formatVersion, clusterId, index, term, at, configurationIndex, configuration });
  let count = 0;
  for (const { bytes, lines } of blocks) {
    yield concat([bytes, seal({ block: ++count, lines, sum: crcToHex(crc32(bytes)) })]);
  }
  yield seal({ blocks: count, keys, sessions });
}

/** How far a reader has come. */
export type Reading = "more" | "whole" | { bad: string };

/** Reads the bytes of a snapshot in the pieces in which they come. A line is handed on when its block is known to be whole. */
export class SnapshotReader {
  /** What the first line says, once it was read. */
  metadata: SnapshotMetadata | null = null;
  clusterId: string | null = null;
  /** Keys and sessions, once the last line was read. */
  contents: SnapshotContents | null = null;
  readonly #name: string;
  readonly #onLine: ((line: unknown) => string | null) | null;
  /** What is not handed on: the lines of an unfinished block and the beginning of a line. */
  #rest: Uint8Array = new Uint8Array();
  /** In `rest`: where the block begins and where the next line does. */
  #blockAt = 0;
  #lineAt = 0;
  #lines = 0;
  #blocks = 0;
  #offset = 0;
  #reading: Reading = "more";

  /** `name` is for messages. `onLine` takes each line of the state machine, and may find fault with it; null: nobody wants them. */
  constructor(name: string, onLine: ((line: unknown) => string | null) | null) {
    this.#name = name;
    this.#onLine = onLine;
  }

  /** Takes the next bytes; they may be used again afterwards. Throws FolderError when a newer version wrote them. */
  take(bytes: Uint8Array): Reading {
    if (typeof this.#reading === "object") return this.#reading;
    if (this.#reading === "whole" && bytes.length > 0) return this.#fail("something follows the last line");
    this.#rest = this.#blockAt === this.#rest.length
      ? bytes.slice()
      : concat([this.#rest.subarray(this.#blockAt), bytes]);
    if (this.#rest.length > blockBytesMax) return this.#fail(`a block has more than ${blockBytesMax} bytes`);
    this.#offset += this.#blockAt;
    this.#lineAt -= this.#blockAt;
    this.#blockAt = 0;
    while (this.#reading === "more") {
      const end = this.#rest.indexOf(newline, this.#lineAt) + 1;
      if (end === 0) break;
      if (this.metadata !== null && !this.#isCheckLike()) { // most lines, for which an array would be too much
        this.#lines++;
        this.#lineAt = end;
        continue;
      }
      const line = this.#rest.subarray(this.#lineAt, end);
      const problem = this.#takeLine(line);
      if (problem !== null) return this.#fail(problem);
      this.#lineAt = end;
    }
    if (this.#reading === "whole" && this.#lineAt < this.#rest.length) {
      return this.#fail("something follows the last line");
    }
    return this.#reading;
  }

  #fail(problem: string): Reading {
    return this.#reading = { bad: `byte ${this.#offset + this.#lineAt}: ${problem}` };
  }

  #takeLine(line: Uint8Array): string | null {
    const fields = unseal(line);
    if (fields === null) {
      if (this.metadata === null) return "the line is not whole";
      this.#lines++; // it begins like a check and is none, so it belongs to the block, whose sum will tell
      return null;
    }
    const problem = this.metadata === null ? this.#takeHeader(fields) : this.#takeCheck(fields);
    if (problem === null) this.#blockAt = this.#lineAt + line.length;
    return problem;
  }

  /** Whether the next line begins as a check does: {"crc"... */
  #isCheckLike(): boolean {
    return this.#rest[this.#lineAt + 2] === 0x63;
  }

  #takeHeader(fields: Record<string, unknown>): string | null {
    if (!("format" in fields)) return "the first line is no header";
    checkOrigin(this.#name, fields, null);
    const { clusterId, index, term, at, configurationIndex, configuration } = fields;
    const isHeader = isWhole(index) && isWhole(term) && typeof at === "string" && /^[0-9a-f]{8}$/.test(at) &&
      isWhole(configurationIndex) && isConfiguration(configuration) &&
      (clusterId === null || typeof clusterId === "string");
    if (!isHeader) return "the header's fields are not those of a snapshot";
    this.clusterId = clusterId;
    this.metadata = {
      lastIncludedIndex: index,
      lastIncludedTerm: term,
      lastIncludedCrc: parseInt(at, 16),
      configuration,
      configurationIndex,
    };
    return null;
  }

  #takeCheck(fields: Record<string, unknown>): string | null {
    if ("blocks" in fields) return this.#takeFooter(fields);
    const bytes = this.#rest.subarray(this.#blockAt, this.#lineAt);
    const { block, lines, sum } = fields;
    if (block !== ++this.#blocks || lines !== this.#lines || sum !== crcToHex(crc32(bytes))) {
      return `block ${this.#blocks} is not as it was written`;
    }
    this.#lines = 0;
    return this.#onLine === null ? null : handOn(bytes, this.#onLine);
  }

  #takeFooter({ blocks, keys, sessions }: Record<string, unknown>): string | null {
    if (blocks !== this.#blocks || this.#lines > 0 || !isWhole(keys) || !isWhole(sessions)) {
      return "the last line does not fit what is before it";
    }
    this.contents = { clusterId: this.clusterId, keys, sessions };
    this.#reading = "whole";
    return null;
  }
}

/** Hands on the lines of a whole block. */
function handOn(bytes: Uint8Array, onLine: (line: unknown) => string | null): string | null {
  try {
    for (const line of decodeText(bytes).split("\n")) {
      if (line === "") continue; // behind the last newline
      const problem = onLine(JSON.parse(line));
      if (problem !== null) return problem;
    }
    return null;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) {
      return `a line is not JSON: ${error.message}`;
    }
    throw error;
  }
}
