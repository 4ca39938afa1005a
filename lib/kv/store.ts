/**
 * The state machine: every node applies the same committed commands in the same order and so holds the same keys,
 * values, versions and sessions, and gives the same answers. It reads nothing but its own state and the command:
 * no clock, no randomness, no setting that could differ between nodes.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { decodeText } from "../bytes.ts";
import { crc32, crcToHex } from "../crc32.ts";
import type { Change, Command, Numbered, Result, Stamped, Stored, WriteCommand } from "./command.ts";
import type { Range } from "./key_order.ts";
import { type FrozenKeys, Keys } from "./keys.ts";
import { type Block, LineBuffer } from "./line_buffer.ts";
import type { ListOptions, Page } from "./list.ts";
import { Sessions } from "./sessions.ts";
import { checkLine, type KeyLine, type SessionLine, type TimeLine } from "./snapshot_lines.ts";
import { expiredKeysMax, writeNow } from "./writes.ts";

/** The whole state as it was at one moment. */
export interface StoreSnapshot {
  /** Of the last entry that was applied; entries without a command aside. */
  readonly index: number;
  readonly keys: number;
  readonly sessions: number;
  /**
   * Lines of JSON: one with the log time, one for each key in order, one for each session, the one not used for the
   * longest time first. May be read at leisure, also in parts, while the store goes on.
   */
  blocks(): Iterable<Block>;
  /** Nobody reads it any more. To be called once. */
  release(): void;
}

/** The replicated state. */
export class Store {
  readonly #keys = new Keys();
  readonly #sessions = new Sessions();
  /** Index of the last entry applied; 0 before the first. */
  #index = 0;
  #logTime = 0;
  /** While a snapshot is restored: what was wrong with one of its lines, and the greatest index in those so far. */
  #wrong: string | null = null;
  #greatestIndex = 0;

  /** Carries out the command of the committed entry at `index`. Indexes grow; those without a command are left out. */
  apply(command: Command, index: number): Result {
    assert(index > this.#index, "entries are applied in the order of the log, each once");
    this.#index = index;
    const { logTime } = command as Stamped;
    if (logTime !== undefined && logTime > this.#logTime) this.#logTime = logTime;
    switch (command.op) {
      case "put":
      case "delete":
      case "increment":
      case "deleteRange":
      case "txn":
        return this.#write(command, index);
      case "expire":
        return { ok: true, expired: this.#keys.expire(this.#logTime, expiredKeysMax), index };
      case "session":
        return { ok: true, session: this.#sessions.open(index) };
      default:
        return refuseUnknown(command, index);
    }
  }

  /** What the first write with this number was answered, if its session still knows; no use of the session. */
  answerTo({ session, seq }: Numbered): Result | null {
    return this.#sessions.answerTo(session, seq);
  }

  /** How many keys there are. */
  get size(): number {
    return this.#keys.size;
  }

  /** For how many values there is memory: at most as many as keys while nothing is frozen. */
  get slots(): number {
    return this.#keys.slots;
  }

  /** The greatest log time that an entry brought, in milliseconds; 0 before the first. Never goes back. */
  get logTime(): number {
    return this.#logTime;
  }

  /** How many keys go at some log time. */
  get expiring(): number {
    return this.#keys.expiring;
  }

  /** The log time at which the next key goes; Infinity: none does. */
  get nextExpiry(): number {
    return this.#keys.nextExpiry;
  }

  /** What the last entry changed, in order. To be asked for once after each. */
  takeChanges(): Change[] {
    return this.#keys.takeChanges();
  }

  /** The value of a key, the index of the write that made it, and when it goes. */
  get(key: string): Stored | undefined {
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
    const add = (line: string): void => {
      digest = crcToHex(crc32(encoder.encode(digest + line)));
    };
    add("kvapp");
    for (const { bytes } of blocksOf(this.#logTime, this.#keys, this.#sessions)) {
      for (const line of decodeText(bytes).trimEnd().split("\n")) add(line);
    }
    return digest;
  }

  /** The keys at this moment, to be read at leisure. Takes no time; holds what changes afterwards in memory. */
  freezeKeys(): FrozenKeys {
    return this.#keys.freeze();
  }

  /** How many states that `freezeKeys` and `snapshot` gave are not released. */
  get frozen(): number {
    return this.#keys.frozen;
  }

  /** The state at this moment; takes less than a millisecond, for it copies nothing but a list of the sessions. */
  snapshot(): StoreSnapshot {
    const keys = this.#keys.freeze();
    const sessions = this.#sessions.freeze();
    const logTime = this.#logTime;
    return {
      index: this.#index,
      keys: keys.size,
      sessions: sessions.size,
      blocks: () => blocksOf(logTime, keys, sessions),
      release: () => keys.release(),
    };
  }

  /**
   * Takes the next line of a snapshot, parsed, into a store that has applied nothing yet. Returns what is wrong with
   * it, or null. A store that refused one refuses all that follow, and is of no use any more.
   */
  restoreLine(line: unknown): string | null {
    assert(this.#index === 0, "a snapshot is restored into a store that has applied nothing");
    if (this.#wrong !== null) return this.#wrong;
    const checked = checkLine(line);
    if (typeof checked === "string") this.#wrong = checked;
    else if ("key" in checked) this.#wrong = this.#restoreKey(checked);
    else this.#wrong = "session" in checked ? this.#restoreSession(checked) : this.#restoreTime(checked);
    return this.#wrong;
  }

  /**
   * All lines of a snapshot of the state at `index` were taken, and applying goes on behind it. Returns what is wrong
   * with them, or null.
   */
  finishRestore(index: number): string | null {
    assert(this.#index === 0, "a snapshot is restored into a store that has applied nothing");
    if (this.#wrong !== null) return this.#wrong;
    if (this.#greatestIndex > index) {
      this.#wrong = `a line names index ${this.#greatestIndex}, above ${index}, that of the snapshot`;
      return this.#wrong;
    }
    this.#index = index;
    return null;
  }

  #restoreTime({ logTime }: TimeLine): string | null {
    const isFirst = this.#logTime + this.#keys.size + this.#sessions.size === 0;
    if (!isFirst) return "logTime must come first";
    this.#logTime = logTime;
    return null;
  }

  #restoreKey({ key, ...stored }: KeyLine): string | null {
    const { version } = stored;
    if (this.#sessions.size > 0) return "key must not come after a session";
    if (!this.#keys.append(key, stored)) return "key must come after that of the line before";
    this.#greatestIndex = Math.max(this.#greatestIndex, version);
    return null;
  }

  #restoreSession(line: SessionLine): string | null {
    this.#greatestIndex = Math.max(this.#greatestIndex, Number(line.session));
    for (const [, answer] of line.answers) {
      if ("index" in answer) this.#greatestIndex = Math.max(this.#greatestIndex, answer.index);
    }
    return this.#sessions.restore(line);
  }

  #write(command: WriteCommand, index: number): Result {
    const { session, seq } = command;
    const moment = { index, logTime: this.#logTime };
    if (session === undefined || seq === undefined) return writeNow(this.#keys, command, moment);
    return this.#sessions.once(session, seq, () => writeNow(this.#keys, command, moment));
  }
}

function* blocksOf(
  logTime: number,
  keys: { blocks(lines: LineBuffer): Iterable<Block> },
  sessions: { lines(): Iterable<string> },
): Generator<Block> {
  const lines = new LineBuffer();
  if (logTime > 0) lines.line(JSON.stringify({ logTime }));
  yield* keys.blocks(lines);
  for (const line of sessions.lines()) {
    lines.line(line);
    if (lines.isFull) yield lines.take();
  }
  const last = lines.take();
  if (last.lines > 0) yield last;
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
