/**
 * A second, simple state machine: every version of every key, by index, built from the committed entries. It shares
 * no code with the real one, and remembers everything, so any answer can be checked at the index that it names.
 *
 * @module
 */

import type {
  ClientCommand,
  Command,
  ExpireCommand,
  TxnCommand,
  TxnOperation,
} from "../../lib/kv/command.ts";
import type { Range } from "../../lib/kv/key_order.ts";
import type { Entry } from "../../lib/raft/types.ts";
import { loggedCommand } from "./logged_command.ts";

type Write = Exclude<ClientCommand, { op: "session" }>;

/** What an entry did. */
export interface Effect {
  command: Command | null;
  /** refused: its condition did not hold; repeated: its session had run it before, at `first`. */
  kind: "applied" | "refused" | "repeated" | "none";
  first: number;
  /** What the client must be told; put and delete are checked field by field. */
  answer?: object;
}

/** A value at some moment; null: the key was not there. */
export interface Version {
  index: number;
  value: string | null;
  /** Log time at which the key goes. */
  expiresAt?: number;
}

/** What watches must be told of an entry. */
export interface Event {
  type: "put" | "delete" | "expire";
  key: string;
  value?: string;
}

/** Answers of a session are kept for so many numbers. */
const answersKept = 128;
/** An entry takes so many keys away because of their time. */
const expiredMax = 1000;

/** The whole history of the state. */
export class Model {
  /** Index of the last committed entry. */
  index = 0;
  /** By index. */
  readonly effects: Effect[] = [{ command: null, kind: "none", first: 0 }];
  /** Indexes of the entries that carry a value; every value is written by one request only. */
  readonly indexesOf: Map<string, number[]> = new Map();
  /** Session writes that were found in the log again. */
  repeated = 0;
  /** Keys that went because of their time. */
  expired = 0;
  /** By index; nothing where nothing changed. */
  readonly #events: Event[][] = [];
  #logTime = 0;
  readonly #versions = new Map<string, Version[]>();
  /** Session to number to the index at which it was run. */
  readonly #sessions = new Map<string, Map<number, number>>();

  /** Takes the next committed entry. */
  apply(entry: Entry): void {
    this.index = entry.index;
    const command = entry.kind === "command" ? loggedCommand(entry) : null;
    const effect: Effect = { command, kind: "none", first: entry.index };
    this.effects[entry.index] = effect;
    if (command === null) return;
    effect.kind = "applied";
    if ("logTime" in command) this.#logTime = Math.max(this.#logTime, command.logTime ?? 0);
    if (command.op === "session") this.#sessions.set(String(entry.index), new Map());
    else if (command.op === "expire") this.#expire(command, entry.index);
    else this.#write(command, effect);
  }

  /** The version of a key after the entry at `index`. */
  at(key: string, index: number): Version {
    const versions = this.#versions.get(key) ?? [];
    for (let i = versions.length - 1; i >= 0; i--) {
      if (versions[i]!.index <= index) return versions[i]!;
    }
    return { index: 0, value: null };
  }

  /** What the entries from `first` to `last` changed, of keys with that prefix. */
  eventsBetween(first: number, last: number, prefix: string): { index: number; events: Event[] }[] {
    const found: { index: number; events: Event[] }[] = [];
    for (let index = first; index <= last; index++) {
      const events = (this.#events[index] ?? []).filter(({ key }) => key.startsWith(prefix));
      if (events.length > 0) found.push({ index, events });
    }
    return found;
  }

  /** The keys that exist after the entry at `index`, in the order of their UTF-8 bytes. */
  keysAt(index: number): string[] {
    const keys = [...this.#versions.keys()].filter((key) => this.at(key, index).value !== null);
    return keys.sort(byCodePoint);
  }

  #write(command: Write, effect: Effect): void {
    const index = effect.first;
    if (command.op === "put") {
      const indexes = this.indexesOf.get(command.value);
      if (indexes === undefined) this.indexesOf.set(command.value, [index]);
      else indexes.push(index);
    }
    const { session, seq } = command;
    if (session !== undefined && seq !== undefined) {
      const numbers = this.#sessions.get(session);
      const first = numbers?.get(seq);
      if (numbers === undefined || first !== undefined) {
        effect.kind = "repeated";
        effect.first = first ?? 0;
        this.repeated++;
        return;
      }
      if (seq <= Math.max(0, ...numbers.keys()) - answersKept) {
        effect.kind = "refused";
        return;
      }
      numbers.set(seq, index);
      numbers.delete(seq - 4 * answersKept);
    }
    if (command.op === "put" || command.op === "delete") this.#putOrDelete(command, effect);
    else if (command.op === "increment") effect.answer = { ...this.#increment(command, index), index };
    else if (command.op === "deleteRange") {
      effect.answer = { ok: true, deleted: this.#deleteRange(command, index), index };
    } else effect.answer = this.#transact(command, index);
  }

  #putOrDelete(command: Extract<Write, { op: "put" | "delete" }>, effect: Effect): void {
    const index = effect.first;
    const present = this.at(command.key, index);
    const version = present.value === null ? 0 : present.index;
    if (command.ifVersion !== undefined && command.ifVersion !== version) effect.kind = "refused";
    else if (command.ifValue !== undefined && command.ifValue !== present.value) effect.kind = "refused";
    else if (command.op === "put") this.#put(command, index);
    else if (present.value !== null) this.#set(command.key, { index, value: null });
  }

  #put({ key, value, ttlMs }: { key: string; value: string; ttlMs?: number }, index: number): void {
    this.#set(key, { index, value, ...(ttlMs === undefined ? {} : { expiresAt: this.#logTime + ttlMs }) });
  }

  #set(key: string, version: Version, type: Event["type"] = version.value === null ? "delete" : "put"): void {
    const versions = this.#versions.get(key) ?? [];
    this.#versions.set(key, versions);
    versions.push(version);
    const { index, value } = version;
    (this.#events[index] ??= []).push(value === null ? { type, key } : { type, key, value });
  }

  #expire({ logTime }: ExpireCommand, index: number): void {
    const due: { key: string; expiresAt: number }[] = [];
    for (const key of this.keysAt(index)) {
      const { expiresAt = Infinity } = this.at(key, index);
      if (expiresAt <= Math.max(logTime, this.#logTime)) due.push({ key, expiresAt });
    }
    due.sort((a, b) => a.expiresAt - b.expiresAt); // keys of one time stay in their order
    for (const { key } of due.slice(0, expiredMax)) {
      this.#set(key, { index, value: null }, "expire");
      this.expired++;
    }
  }

  /** The clients add to integers only. */
  #increment({ key, by }: { key: string; by: string }, index: number): object {
    const { value: present, expiresAt } = this.at(key, index);
    const value = String(BigInt(present ?? 0) + BigInt(by));
    this.#set(key, { index, value, ...(present === null || expiresAt === undefined ? {} : { expiresAt }) });
    return { ok: true, value, version: index };
  }

  /** The clients delete by prefix only. */
  #deleteRange({ prefix }: Range, index: number): number {
    const keys = this.keysAt(index).filter((key) => key.startsWith(prefix!));
    for (const key of keys) this.#set(key, { index, value: null });
    return keys.length;
  }

  /** The clients' conditions name a version, and what they do never fails. */
  #transact(command: TxnCommand, index: number): object {
    const succeeded = command.if.every(({ key, version }) => {
      const present = this.at(key, index);
      return version === (present.value === null ? 0 : present.index);
    });
    const operations = succeeded ? command.then : command.else;
    return { ok: true, succeeded, results: operations.map((it) => this.#part(it, index)), index };
  }

  #part(operation: TxnOperation, index: number): object {
    if (operation.op === "increment") return this.#increment(operation, index);
    if (operation.op === "deleteRange") return { ok: true, deleted: this.#deleteRange(operation, index) };
    const { key } = operation;
    const { value, index: version } = this.at(key, index);
    const found = value !== null;
    if (operation.op === "get") return found ? { ok: true, found, value, version } : { ok: true, found };
    if (operation.op === "delete") {
      if (found) this.#set(key, { index, value: null });
      return { ok: true, deleted: found };
    }
    this.#put(operation, index);
    return { ok: true, version: index };
  }
}

function byCodePoint(a: string, b: string): number {
  const left = [...a].map((c) => c.codePointAt(0)!);
  const right = [...b].map((c) => c.codePointAt(0)!);
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    if (left[i] !== right[i]) return left[i]! - right[i]!;
  }
  return left.length - right.length;
}
