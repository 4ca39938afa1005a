/**
 * What clients asked and what they were told, checked as it comes. Every answer names the index that it reflects, so
 * linearizability needs no search: an answer must be true of the committed state at its index, and its index must
 * not be older than anything that anybody had been told before the request was made.
 *
 * @module
 */

import type { ClientCommand, Stamped, TxnCondition, TxnOperation } from "../../lib/kv/command.ts";
import type { Entry } from "../../lib/raft/types.ts";
import { Model } from "./model.ts";
import { Violation } from "./violation.ts";

/** A request. */
export interface Request {
  op: "put" | "delete" | "increment" | "deleteRange" | "txn" | "get" | "list" | "session";
  key?: string;
  value?: string;
  prefix?: string;
  limit?: number;
  cursor?: string;
  ttlMs?: number;
  consistency?: "stale";
  previous?: true;
  ifVersion?: number;
  by?: string;
  if?: TxnCondition[];
  then?: TxnOperation[];
  else?: TxnOperation[];
  session?: string;
  seq?: number;
}

/** One request, sent once. */
export interface Attempt {
  id: number;
  client: string;
  request: Request;
  calledAt: number;
  /** The newest index that anybody had been told when it was made, or first made if it belongs to a session. */
  floor: number;
  /** null: no answer yet. */
  returnedAt: number | null;
  outcome: "open" | "ok" | "refused" | "failed" | "unknown";
  /** Index of the answer. */
  index: number;
  /** The list of which this asks for the next page, the key before it and the moment that it shows. */
  list?: { prefix: string; limit: number; lastKey: string; index: number };
}

/** An answer, as parsed from its line. */
export interface Reply {
  ok: boolean;
  id: number;
  index: number;
  version: number;
  found?: boolean;
  value?: string;
  deleted?: boolean;
  previous?: { value: string; version: number } | null;
  entries?: { key: string; value: string; version: number; ttlMs?: number }[];
  next?: string | null;
  session?: string;
  error?: { code: string; definite: boolean; version?: number; leader?: { id: number } | null };
}

/** The record of all clients of a cluster. */
export class History {
  readonly model: Model = new Model();
  readonly attempts: Attempt[] = [];
  /** Answers to writes, linearizable reads, stale reads and lists. */
  readonly answered = { writes: 0, reads: 0, staleReads: 0, lists: 0, sessions: 0, refused: 0 };
  /** Answers to a session's write that had been given before: most had no entry of their own. */
  repeatedAnswers = 0;
  /** Indexes that were answered to a session's write. */
  readonly #answeredIndexes = new Set<number>();
  /** The newest index that anybody was told. */
  newestKnown = 0;
  /** By the text of a command: lines with it that were sent and not refused for certain, and its entries. */
  readonly #lines = new Map<string, { sent: number; entries: number }>();
  readonly #isOnMajority: (index: number) => boolean;

  constructor(isOnMajority: (index: number) => boolean) {
    this.#isOnMajority = isOnMajority;
  }

  /** Operations that were acknowledged. */
  get acknowledged(): number {
    const { writes, reads, staleReads, lists } = this.answered;
    return writes + reads + staleReads + lists;
  }

  /** An entry was committed. */
  onCommitted(entry: Entry): void {
    this.model.apply(entry);
    const { command } = this.model.effects[entry.index]!;
    if (command !== null && command.op !== "expire") this.#count(command, { sent: 0, entries: 1 });
  }

  /** A request is about to be sent. */
  onCall(attempt: Attempt): void {
    this.attempts.push(attempt);
    if (isWrite(attempt.request)) this.#count(attempt.request, { sent: 1, entries: 0 });
  }

  /** An answer came. Throws Violation. */
  onReply(attempt: Attempt, reply: Reply, now: number): void {
    attempt.returnedAt = now;
    const { request } = attempt;
    if (!reply.ok) return this.#onError(attempt, reply);
    attempt.outcome = "ok";
    if (request.op === "session") return this.#onSession(attempt, reply);
    attempt.index = reply.index;
    const { index } = reply;
    check(index <= this.model.index, "I11", attempt, reply, `only ${this.model.index} entries are committed`);
    const isStale = request.consistency === "stale";
    if (!isStale && attempt.list === undefined) {
      check(index >= attempt.floor, "I11", attempt, reply, `${attempt.floor} was known before`);
    }
    if (request.op === "put" || request.op === "delete") this.#onWrite(attempt, reply);
    else if (request.op === "get") this.#onGet(attempt, reply);
    else if (request.op === "list") this.#onList(attempt, reply);
    else this.#onOtherWrite(attempt, reply);
    this.newestKnown = Math.max(this.newestKnown, index);
    if (request.session === undefined) return;
    if (this.#answeredIndexes.has(index)) this.repeatedAnswers++;
    this.#answeredIndexes.add(index);
  }

  #onError(attempt: Attempt, reply: Reply): void {
    const { code, definite, version } = reply.error!;
    const { request } = attempt;
    if (code === "conditionFailed") {
      attempt.outcome = "refused";
      this.answered.refused++;
      check(request.ifVersion !== undefined, "replies", attempt, reply, "there was no condition");
      check(version !== request.ifVersion, "replies", attempt, reply, "the condition holds");
      const [index] = this.model.indexesOf.get(request.value ?? "") ?? [];
      check(index !== undefined, "replies", attempt, reply, "no committed entry says so");
      const present = this.model.at(request.key!, index! - 1);
      const presentVersion = present.value === null ? 0 : present.index;
      check(version === presentVersion, "I11", attempt, reply, `the version was ${presentVersion}`);
      return;
    }
    check(code !== "sessionExpired", "replies", attempt, reply, "the session is open");
    check(code !== "badRequest", "replies", attempt, reply, "the request is well formed");
    check(code !== "notInteger" && code !== "tooLarge", "replies", attempt, reply, "it can be carried out");
    attempt.outcome = definite ? "failed" : "unknown";
    // A number that is too old is found out when the entry is applied: the line is in the log, and did nothing.
    const isInLog = code === "seqTooOld";
    if (definite && !isInLog && isWrite(request)) this.#count(request, { sent: -1, entries: 0 });
  }

  /**
   * A line makes one entry at most, and none ever if it was refused for certain: there are never more entries than
   * lines that were not. This holds for lines of sessions too, which say the same when they are sent again.
   */
  #count(command: Request | ClientCommand, more: { sent: number; entries: number }): void {
    const { logTime: _stamp, ...asked } = command as Stamped;
    const text = JSON.stringify(Object.entries(asked).sort());
    const lines = this.#lines.get(text) ?? { sent: 0, entries: 0 };
    this.#lines.set(text, lines);
    lines.sent += more.sent;
    lines.entries += more.entries;
    if (lines.entries <= lines.sent) return;
    throw new Violation(
      "replies",
      `entries that say ${text}: ${lines.entries}; lines that do, without those refused for certain: ${lines.sent}`,
    );
  }

  #onSession(attempt: Attempt, reply: Reply): void {
    this.answered.sessions++;
    const effect = this.model.effects[Number(reply.session)];
    check(effect?.command?.op === "session", "I9", attempt, reply, "no committed entry opens it");
  }

  #onWrite(attempt: Attempt, reply: Reply): void {
    this.answered.writes++;
    const { request } = attempt;
    const { index } = reply;
    const effect = this.model.effects[index]!;
    const { command } = effect;
    const isIt = command !== null && command.op === request.op && "key" in command &&
      command.key === request.key &&
      (command.op !== "put" || command.value === request.value) && command.session === request.session &&
      command.seq === request.seq;
    check(isIt, "I9", attempt, reply, `the entry there is ${JSON.stringify(command)}`);
    const invariant = effect.kind === "repeated" ? "I10" : "I9";
    check(effect.kind === "applied", invariant, attempt, reply, `the entry there was ${effect.kind}`);
    check(this.#isOnMajority(index), "I9", attempt, reply, "it is not on the disks of a majority");
    const before = this.model.at(request.key!, index - 1);
    const wasThere = before.value !== null;
    if (request.op === "put") check(reply.version === index, "I9", attempt, reply, "version is not index");
    else check(reply.deleted === wasThere, "I11", attempt, reply, `before it the value was ${before.value}`);
    if (request.previous) {
      const expected = wasThere ? before.value : undefined;
      const given = reply.previous ?? undefined;
      const same = given?.value === expected && (!wasThere || given?.version === before.index);
      check(same, "I11", attempt, reply, `before it the value was ${before.value} of ${before.index}`);
    }
  }

  /** The whole answer must be the model's. */
  #onOtherWrite(attempt: Attempt, reply: Reply): void {
    this.answered.writes++;
    const { command, kind, answer } = this.model.effects[reply.index]!;
    const { logTime: _stamp, ...asked } = (command ?? {}) as Stamped;
    const isIt = JSON.stringify(asked) === JSON.stringify(attempt.request);
    check(isIt, "I9", attempt, reply, `the entry there is ${JSON.stringify(command)}`);
    check(kind === "applied", kind === "repeated" ? "I10" : "I9", attempt, reply, `the entry was ${kind}`);
    check(this.#isOnMajority(reply.index), "I9", attempt, reply, "it is not on the disks of a majority");
    const { id: _, ...given } = reply;
    const same = JSON.stringify(given) === JSON.stringify(answer);
    check(same, "I11", attempt, reply, `the answer is ${JSON.stringify(answer)}`);
  }

  #onGet(attempt: Attempt, reply: Reply): void {
    const { request } = attempt;
    if (request.consistency === "stale") this.answered.staleReads++;
    else this.answered.reads++;
    const { index, value } = this.model.at(request.key!, reply.index);
    check(reply.found === (value !== null), "I11", attempt, reply, `the value at that index is ${value}`);
    if (value === null) return;
    check(
      reply.version === index && reply.value === value,
      "I11",
      attempt,
      reply,
      `it is ${value} of ${index}`,
    );
  }

  #onList(attempt: Attempt, reply: Reply): void {
    this.answered.lists++;
    const { prefix = "", limit = 0, lastKey, index: shown } = { ...attempt.request, ...attempt.list };
    if (shown !== undefined) {
      check(reply.index === shown, "I11", attempt, reply, "a page shows another moment");
    }
    let keys = this.model.keysAt(reply.index).filter((key) => key.startsWith(prefix));
    if (lastKey !== undefined) keys = keys.slice(keys.indexOf(lastKey) + 1);
    const expected = keys.slice(0, limit).map((key) => {
      const { index, value, expiresAt } = this.model.at(key, reply.index);
      return { key, value, version: index, goes: expiresAt !== undefined };
    });
    const given = reply.entries!.map(({ ttlMs, ...entry }) => ({ ...entry, goes: ttlMs !== undefined }));
    const same = JSON.stringify(expected) === JSON.stringify(given);
    check(same, "I11", attempt, reply, `the list at that index is ${JSON.stringify(expected)}`);
    check(
      (reply.next === null) === (keys.length <= limit),
      "I11",
      attempt,
      reply,
      `${keys.length} keys match`,
    );
  }
}

function isWrite({ op }: Request): boolean {
  return op !== "get" && op !== "list";
}

function check(
  holds: boolean,
  invariant: Violation["invariant"],
  attempt: Attempt,
  reply: Reply,
  why: string,
): void {
  if (holds) return;
  throw new Violation(
    invariant,
    `${attempt.client} asked ${JSON.stringify(attempt.request)} and was told ${
      JSON.stringify(reply)
    }, but ${why}`,
  );
}
