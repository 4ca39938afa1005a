/**
 * The state machine: every node applies the same committed commands in the same order and so holds the same keys,
 * values, versions and sessions, and gives the same answers. It reads nothing but its own state and the command:
 * no clock, no randomness, no setting that could differ between nodes.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { crc32, crcToHex } from "../crc32.ts";
import type { Command, Result, Versioned, WriteCommand } from "./command.ts";
import { Keys, type ListOptions, type Page, type Range } from "./keys.ts";
import { Sessions } from "./sessions.ts";
import { writeNow } from "./writes.ts";

/** The replicated state. */
export class Store {
  readonly #keys = new Keys();
  readonly #sessions = new Sessions();
  /** Index of the last entry applied; 0 before the first. */
  #index = 0;

  /** Carries out the command of the committed entry at `index`. Indexes grow; those without a command are left out. */
  apply(command: Command, index: number): Result {
    assert(index > this.#index, "entries are applied in the order of the log, each once");
    this.#index = index;
    switch (command.op) {
      case "put":
      case "delete":
      case "increment":
      case "deleteRange":
      case "txn":
        return this.#write(command, index);
      case "session":
        return { ok: true, session: this.#sessions.open(index) };
      default:
        return refuseUnknown(command, index);
    }
  }

  /** How many keys there are. */
  get size(): number {
    return this.#keys.size;
  }

  /** The value of a key and the index of the write that made it. */
  get(key: string): Versioned | undefined {
    return this.#keys.get(key);
  }

  /** A page of the keys in a range, in the order of their UTF-8 bytes. */
  list(options: ListOptions): Page {
    return this.#keys.list(options);
  }

  /** How many keys a range has. */
  count(range: Range): number {
    return this.#keys.count(range);
  }

  /**
   * 8 hex digits that are equal on nodes that hold the same keys and sessions and, but for a chance of one in 2^32,
   * only on them: each line of the state is hashed together with the hash of the line before. Reads everything.
   */
  digest(): string {
    let digest = "";
    for (const line of this.#lines()) digest = crcToHex(crc32(encoder.encode(digest + line)));
    return digest;
  }

  *#lines(): Generator<string> {
    yield "kvapp";
    for (const entry of this.#keys.all()) yield JSON.stringify(entry);
    yield* this.#sessions.lines();
  }

  #write(command: WriteCommand, index: number): Result {
    const { session, seq } = command;
    if (session === undefined || seq === undefined) return writeNow(this.#keys, command, index);
    return this.#sessions.once(session, seq, () => writeNow(this.#keys, command, index));
  }
}

const encoder = new TextEncoder();

/** Skipping what a newer version of this program wrote would make this node's state differ from the others'. */
function refuseUnknown(command: never, index: number): never {
  const op = JSON.stringify((command as { op?: unknown } | null)?.op);
  assert(
    false,
    `this version of kvapp knows the operation ${op} of the entry at index ${index}; ` +
      `a newer version wrote it: run that one on this node`,
  );
}
