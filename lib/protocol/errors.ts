/**
 * Every error that a client can get: one table of what the codes mean, and the reply lines that carry them. A message
 * names the thing, what was expected, and the way out, because at the other end there may be a person with netcat.
 *
 * @module
 */

import type { Refused, TooLarge } from "../kv/command.ts";

/** What a client may give a request to recognise the reply by; undefined when it gave none. */
export type RequestId = string | number | undefined;

/** What a code says. */
export interface ErrorMeaning {
  /** True: the request line that this answers had no effect and never will have one. */
  definite: boolean;
  /** What happened and what to do, in one sentence each. */
  meaning: string;
}

/** The codes of all errors. Clients may rely on them; the messages are for people and may change. */
export type ErrorCode =
  | "badRequest"
  | "tooLarge"
  | "unknownOperation"
  | "notLeader"
  | "noLeader"
  | "busy"
  | "diskFull"
  | "outcomeUnknown"
  | "conditionFailed"
  | "notInteger"
  | "cursorExpired"
  | "sessionExpired"
  | "seqTooOld";

/** The meaning of each code. */
export const errorMeanings: Readonly<Record<ErrorCode, ErrorMeaning>> = {
  badRequest: {
    definite: true,
    meaning: "The line is not a request: not JSON, or a field is missing, unknown or wrong. " +
      "The message says where, and shows one that works.",
  },
  tooLarge: {
    definite: true,
    meaning: "The line, key, value, id or what a write would do is over the limit that the error names. " +
      "After a line over its limit the connection is closed.",
  },
  unknownOperation: {
    definite: true,
    meaning: "There is no such operation. The message names the nearest one, or all.",
  },
  notLeader: {
    definite: true,
    meaning:
      "Only the leader takes this request. Send it to `leader.address`, or when `leader` is null, ask again soon.",
  },
  noLeader: {
    definite: true,
    meaning:
      "A leader is being elected, or too few nodes are up to elect one. Ask again soon, or ask another node.",
  },
  busy: {
    definite: true,
    meaning: "The node has as much unfinished work, or as many connections or watches, as it takes. " +
      "Send the request again after `retryAfterMs`.",
  },
  diskFull: {
    definite: true,
    meaning: "The leader's disk has no room, and no other node's has. Reads go on. Make room on it; " +
      "writes are taken again by themselves then.",
  },
  outcomeUnknown: {
    definite: false,
    meaning:
      "The write may have happened or may still happen. Send it again with the same `session` and `seq`, " +
      "which makes it happen once; without a session, look before writing again.",
  },
  conditionFailed: {
    definite: true,
    meaning:
      "`ifVersion` or `ifValue` does not hold. `version` is the key's present version, 0 when it does not exist.",
  },
  notInteger: {
    definite: true,
    meaning: "The value to add to is no decimal integer, so nothing was changed. " +
      "In a transaction `operation` says which one failed, from 0; so it does beside `tooLarge`.",
  },
  cursorExpired: {
    definite: true,
    meaning:
      "The node does not keep the state that this list shows any more, or another node gave the cursor. " +
      "Begin the list again.",
  },
  sessionExpired: {
    definite: true,
    meaning: "There is no such session, or it had to make room for others. Open another one. " +
      "This line did nothing; the same write, sent before, may have.",
  },
  seqTooOld: {
    definite: true,
    meaning: "The session does not keep its answer to this `seq` any more. " +
      "This line did nothing; the same write, sent before, may have.",
  },
};

/** An error before it becomes a line: `details` are further fields, such as `leader`. */
export interface RequestError {
  code: ErrorCode;
  message: string;
  details?: Readonly<Record<string, unknown>>;
}

/** The reply line of an error, and of where its time went. */
export function errorReply(id: RequestId, error: RequestError, trace: object | null = null): string {
  const { code, message, details } = error;
  const { definite } = errorMeanings[code];
  const idField = id === undefined ? "" : `"id":${JSON.stringify(id)},`;
  const traceField = trace === null ? "" : `,"trace":${JSON.stringify(trace)}`;
  return `{"ok":false,${idField}"error":${
    JSON.stringify({ code, message, definite, ...details })
  }${traceField}}\n`;
}

/** The node is not the leader; it knows who is, or not (null). */
export function notLeader(leader: { id: number; address: string } | null): RequestError {
  const message = leader === null
    ? "this node is not the leader and knows none: ask again soon, or ask another node"
    : `this node is not the leader: send the request to node ${leader.id} at ${leader.address}`;
  return { code: "notLeader", message, details: { leader } };
}

/** Nobody leads. */
export function noLeader(): RequestError {
  return {
    code: "noLeader",
    message: "the cluster has no leader at present, so nothing was done: ask again soon; " +
      "if this lasts, see with status on each node whether a majority is up",
  };
}

/** The node holds as much as it may. `what` says of what. */
export function busy(what: string, retryAfterMs: number): RequestError {
  return {
    code: "busy",
    message: `${what}: send the request again in ${retryAfterMs} ms`,
    details: { retryAfterMs },
  };
}

/** The leader's disk has no room. */
export function diskFull(): RequestError {
  const retryAfterMs = 500;
  return {
    code: "diskFull",
    message:
      "this node leads and its disk is full, so nothing was written; reads go on. Make room on its disk, or " +
      `on another node's so that it can lead; then send the request again, in ${retryAfterMs} ms at the soonest`,
    details: { retryAfterMs },
  };
}

/** The state that a cursor belongs to is not kept here, for that reason. */
export function cursorExpired(why: string): RequestError {
  return {
    code: "cursorExpired",
    message: `the list cannot go on: ${why}. Begin it again, without cursor`,
  };
}

/** A write was proposed and its end was not seen. */
export function outcomeUnknown(hasSession: boolean): RequestError {
  const advice = hasSession
    ? "send it again with the same session and seq, here or to another node: it happens once"
    : "look with get before sending it again; a write with session and seq can be sent again safely";
  return { code: "outcomeUnknown", message: `the write may have happened or may still happen: ${advice}` };
}

/** A line outgrew its limit. The connection is closed after this reply. */
export function lineTooLong(lineBytesMax: number): RequestError {
  return {
    code: "tooLarge",
    message: `a request line has at most ${lineBytesMax} bytes; the connection is closed`,
    details: { limit: lineBytesMax },
  };
}

/** A line was begun and not ended. The connection is closed after this reply. */
export function lineTooSlow(partialLineMs: number): RequestError {
  const message = `a request line has to be whole within ${partialLineMs / 1000} s; the connection is closed`;
  return { code: "badRequest", message };
}

/** Nothing was asked for long. The connection is closed after this; a request that crosses it has this for its answer. */
export function idleTooLong(idleMs: number): RequestError {
  return busy(`this connection was idle for ${idleMs / 1000} s and is closed; on another one`, 0);
}

/** What the state machine refused. */
export function refusedByStore(result: Refused): RequestError {
  switch (result.code) {
    case "conditionFailed": {
      const { version } = result;
      const present = version === 0 ? "the key does not exist" : `the key's present version is ${version}`;
      return {
        code: "conditionFailed",
        message: `the condition does not hold, so nothing was changed: ${present}`,
        details: { version },
      };
    }
    case "notInteger":
    case "tooLarge": {
      const { code, operation } = result;
      const place = operation === undefined ? "" : `operation ${operation}, counted from 0, failed: `;
      const message = `${place}${code === "tooLarge" ? describeExcess(result) : notInteger}`;
      const limit = code === "tooLarge" ? { limit: result.limit } : {};
      return { code, message, details: operation === undefined ? limit : { ...limit, operation } };
    }
    case "sessionExpired":
      return {
        code: "sessionExpired",
        message:
          `session ${result.session} does not exist or has expired: open another one with {"op":"session"}; ` +
          "if this write was sent before, look whether it happened then",
      };
    case "seqTooOld":
      return {
        code: "seqTooOld",
        message:
          `session ${result.session} keeps no answer to seq ${result.seq}, only from ${result.oldest}: ` +
          "give a new write the next higher number; if this one was sent before, look whether it happened then",
        details: { oldest: result.oldest },
      };
  }
}

const notInteger = "the key's value is not a decimal integer, so nothing was changed: see it with get, " +
  "and give the key one with put";

function describeExcess({ what, limit }: TooLarge): string {
  switch (what) {
    case "digits":
      return `the sum has more than ${limit} digits, so nothing was changed`;
    case "deletedKeys":
      return `a transaction deletes at most ${limit} keys by range, so nothing was changed: ` +
        "delete some of them before, with deleteRange alone";
    case "answeredValues":
      return `a transaction answers values of at most ${limit} characters in all, so nothing was changed: ` +
        "get some of them in another one";
  }
}
