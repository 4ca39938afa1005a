/**
 * What the state machine can be told to do, and what it answers. A command is stored in a log entry and read again
 * by every node, so it is plain JSON data, or a put that is known by the bytes of that (plain_put.ts); a result is the
 * reply to the client, all but the request's `id`.
 *
 * @module
 */

import type { Range } from "./key_order.ts";

/** What makes a write happen once. */
export interface OnceOptions {
  /** The session in which `seq` numbers this write, as the session's opening answered it. Always with `seq`. */
  session?: string;
  /** From 1; the same number again is the same write again, and is not carried out twice. */
  seq?: number;
}

/** What a session knows a write by. */
export type Numbered = Required<OnceOptions>;

/** What must hold, and what is answered. */
export interface WriteOptions extends OnceOptions {
  /** Only when the key's present version is this one; 0: only when there is no such key. */
  ifVersion?: number;
  /** Only when the key's present value is this one. */
  ifValue?: string;
  /** Answer what was there before. */
  previous?: boolean;
}

/** What a leader adds to a command that has to do with time. */
export interface Stamped {
  /**
   * The leader's log time when it proposed this, in milliseconds. Log time is that of the cluster: it only grows, and
   * goes on under the next leader where it stood. No clock is ever read when a command is applied.
   */
  logTime?: number;
}

/** Gives a key a value. */
export interface PutCommand extends WriteOptions, Stamped {
  op: "put";
  key: string;
  value: string;
  /** The key goes so many milliseconds of log time later, from 1 to `ttlMsMax`; absent: it stays. */
  ttlMs?: number;
}

/** Takes a key away. */
export interface DeleteCommand extends WriteOptions {
  op: "delete";
  key: string;
}

/** Adds to a key's value, which must be an integer as decimal text; no such key counts as 0. */
export interface IncrementCommand extends OnceOptions {
  op: "increment";
  key: string;
  /** A decimal integer of any sign, of at most `integerDigitsMax` digits. */
  by: string;
}

/** Takes the keys of a range away, the first `deletedKeysMax` of them. */
export interface DeleteRangeCommand extends Range, OnceOptions {
  op: "deleteRange";
}

/** Carries out `then` when all of `if` holds, and `else` otherwise, at one index: all of it or, when a part fails, nothing. */
export interface TxnCommand extends OnceOptions, Stamped {
  op: "txn";
  if: TxnCondition[];
  then: TxnOperation[];
  else: TxnOperation[];
}

/** Holds when everything that it names does. */
export interface TxnCondition {
  key: string;
  /** The key's present version; 0: there is no such key. */
  version?: number;
  /** The key's present value. */
  value?: string;
  /** Whether there is such a key. */
  exists?: boolean;
}

/** A part of a transaction. Each sees what those before it did. */
export type TxnOperation =
  | { op: "put"; key: string; value: string; ttlMs?: number }
  | { op: "get"; key: string }
  | { op: "delete"; key: string }
  | { op: "increment"; key: string; by: string }
  | { op: "deleteRange" } & Range;

/** Opens a session, named by the index of this entry. */
export interface SessionCommand {
  op: "session";
}

/** Log time goes on, and the keys whose time is over by then go, the first `expiredKeysMax` of them. Only leaders make it. */
export interface ExpireCommand extends Required<Stamped> {
  op: "expire";
}

/** The contents of a log entry of kind "command". */
export type Command = ClientCommand | ExpireCommand;

/** What clients ask for. */
export type ClientCommand = WriteCommand | SessionCommand;

/** A change of keys. */
export type WriteCommand = PutCommand | DeleteCommand | IncrementCommand | DeleteRangeCommand | TxnCommand;

/** A value and the index of the write that made it. */
export interface Versioned {
  readonly value: string;
  readonly version: number;
}

/** What is kept of a key. */
export interface Stored extends Versioned {
  /** The key goes at this log time; absent: it stays. */
  readonly expiresAt?: number;
}

/**
 * What became of a key in an entry. Such changes, in their order, are what watches are told. Not to be spread: a PlainPut is
 * one as well.
 */
export type Change =
  | { readonly type: "put"; readonly key: string; readonly value: string }
  | { readonly type: "delete" | "expire"; readonly key: string };

/** A key was given its value. `version` equals `index`. */
export interface PutResult {
  ok: true;
  index: number;
  version: number;
  /** When it was asked for: what was there before, or null. */
  previous?: Versioned | null;
}

/** A key is not there any more, and whether it had been. */
export interface DeleteResult {
  ok: true;
  deleted: boolean;
  index: number;
  /** When it was asked for: what was there before, or null. */
  previous?: Versioned | null;
}

/** A key's value is now this integer. `version` equals `index`. */
export interface IncrementResult {
  ok: true;
  value: string;
  version: number;
  index: number;
}

/** Keys are not there any more. */
export interface DeleteRangeResult {
  ok: true;
  /** How many were there. */
  deleted: number;
  /** The range had more keys than one entry takes away: send the same again. */
  more?: true;
  index: number;
}

/** A transaction was carried out. */
export interface TxnResult {
  ok: true;
  /** Whether `if` held, so that `then` was carried out; else `else` was. */
  succeeded: boolean;
  /** One for each operation that was carried out, in order. */
  results: TxnOperationResult[];
  index: number;
}

/** What a part of a transaction answers; the index is that of the whole. */
export type TxnOperationResult =
  | { ok: true; version: number }
  | { ok: true; found: boolean; value?: string; version?: number }
  | { ok: true; deleted: boolean | number }
  | { ok: true; value: string; version: number };

/** Log time went on. No client is told. */
export interface ExpireResult {
  ok: true;
  /** How many keys went. */
  expired: number;
  index: number;
}

/** A session is open. */
export interface SessionResult {
  ok: true;
  session: string;
}

/** Nothing was changed: the key's present version or value is not the wanted one. */
export interface ConditionFailed {
  ok: false;
  code: "conditionFailed";
  /** The key's present version; 0: there is no such key. */
  version: number;
}

/** Nothing was changed: the key's value is not a decimal integer that `increment` could add to. */
export interface NotInteger {
  ok: false;
  code: "notInteger";
  /** Position in the transaction's list, from 0, when it was in one. */
  operation?: number;
}

/** Nothing was changed: it would have been more than one entry may do. */
export interface TooLarge {
  ok: false;
  code: "tooLarge";
  /** Digits of an integer, keys that a transaction deletes, or characters of the values that it answers. */
  what: "digits" | "deletedKeys" | "answeredValues";
  limit: number;
  /** Position in the transaction's list, from 0, when it was in one. */
  operation?: number;
}

/** Nothing was changed: there is no such session, or it had to make room for others. */
export interface SessionExpired {
  ok: false;
  code: "sessionExpired";
  session: string;
}

/** Nothing was changed: the session's answer to this number, if there ever was one, is not kept any more. */
export interface SeqTooOld {
  ok: false;
  code: "seqTooOld";
  session: string;
  seq: number;
  /** The smallest number that the session still takes. */
  oldest: number;
}

/** What applying a command answers; the same on every node. */
export type Result =
  | PutResult
  | DeleteResult
  | IncrementResult
  | DeleteRangeResult
  | TxnResult
  | ExpireResult
  | SessionResult
  | Refused;

/** A command that changed nothing, and why. */
export type Refused = ConditionFailed | NotInteger | TooLarge | SessionExpired | SeqTooOld;
