/**
 * What the state machine can be told to do, and what it answers. A command is stored in a log entry and read again
 * by every node, so it is plain JSON data; a result is the reply to the client, all but the request's `id`.
 *
 * @module
 */

/** What must hold, and what makes a write happen once. */
export interface WriteOptions {
  /** Only when the key's present version is this one; 0: only when there is no such key. */
  ifVersion?: number;
  /** Only when the key's present value is this one. */
  ifValue?: string;
  /** Answer what was there before. */
  previous?: boolean;
  /** The session in which `seq` numbers this write, as the session's opening answered it. Always with `seq`. */
  session?: string;
  /** From 1; the same number again is the same write again, and is not carried out twice. */
  seq?: number;
}

/** Gives a key a value. */
export interface PutCommand extends WriteOptions {
  op: "put";
  key: string;
  value: string;
}

/** Takes a key away. */
export interface DeleteCommand extends WriteOptions {
  op: "delete";
  key: string;
}

/** Opens a session, named by the index of this entry. */
export interface SessionCommand {
  op: "session";
}

/** The contents of a log entry of kind "command". */
export type Command = PutCommand | DeleteCommand | SessionCommand;

/** A value and the index of the write that made it. */
export interface Versioned {
  readonly value: string;
  readonly version: number;
}

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
export type Result = PutResult | DeleteResult | SessionResult | ConditionFailed | SessionExpired | SeqTooOld;
