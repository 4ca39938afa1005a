/**
 * The client port: a line of bytes into a request, and a reply into a line. Every line that comes in is answered;
 * what is not a request is answered with what is wrong and an example of what works.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { Command, Result, Versioned } from "../kv/command.ts";
import type { ListedEntry, ListOptions, Page } from "../kv/keys.ts";
import { parseCommand, rangeOf } from "./commands.ts";
import { errorMeanings, errorReply, refusedByStore, type RequestError, type RequestId } from "./errors.ts";
import {
  BadRequest,
  booleanOf,
  checkNames,
  choiceOf,
  describe,
  type FieldLimits,
  type Fields,
  integerOf,
  keyOf,
} from "./fields.ts";
import { findJsonError, isIntricate } from "./json_text.ts";
import { trimLine } from "./lines.ts";
import { nearest } from "./nearest.ts";
import { isOperation, type Operation, type OperationName, operations } from "./operations.ts";

/** Whether a read must see every write that was answered before it, or may be answered from the state at hand. */
export type Consistency = "linearizable" | "stale";

/** A change of the state: `command` goes into the log as it is. */
export interface WriteRequest {
  op: Command["op"];
  id: RequestId;
  command: Command;
}

/** A read of one key. */
export interface GetRequest {
  op: "get";
  id: RequestId;
  key: string;
  consistency: Consistency;
}

/** A read of many keys, or of how many there are. */
export interface ListRequest {
  op: "list";
  id: RequestId;
  options: ListOptions;
  /** Only their number. */
  count: boolean;
  consistency: Consistency;
}

/** A question about the node or the cluster. */
export interface NodeRequest {
  op: "status" | "members" | "ping" | "help";
  id: RequestId;
}

/** A line that is no request, and its answer. */
export interface Refusal {
  op: "refused";
  id: RequestId;
  error: RequestError;
}

/** A line from a client. */
export type Request = WriteRequest | GetRequest | ListRequest | NodeRequest | Refusal;

/** Longest `id` that is echoed, in UTF-16 units. */
export const idUnitsMax = 256;
const listLimitMax = 10_000;
const listLimitDefault = 1000;

// Parsing time grows with the pieces of a text. Short lines cannot have many, and requests have a dozen.
const simpleUnitsMax = 16 << 10;
const piecesMax = 4096;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads a line, with or without its newline. Never throws, whatever the line. */
export function parseRequest(line: Uint8Array, limits: FieldLimits): Request {
  let id: RequestId;
  try {
    const fields = parseObject(trimLine(line));
    id = idOf(fields);
    return parseFields(id, fields, limits);
  } catch (thrown) {
    if (!(thrown instanceof BadRequest)) throw thrown;
    return { op: "refused", id, error: withExample(thrown.error, line) };
  }
}

/** Adds to the message of a bad request a good one, of the operation that the line names somewhere near its start. */
function withExample(error: RequestError, line: Uint8Array): RequestError {
  if (error.code !== "badRequest") return error;
  const words = new TextDecoder().decode(line.subarray(0, 256)).toLowerCase().match(/[a-z]+/g) ?? [];
  const names = Object.keys(operations) as OperationName[];
  const named = words.map((word) => names.find((name) => name.toLowerCase() === word));
  const { example } = operations[named.find((name) => name !== undefined) ?? "put"];
  return { ...error, message: `${error.message}; this works: ${JSON.stringify(example)}` };
}

function parseObject(line: Uint8Array): Fields {
  const text = decode(line);
  if (text.length > simpleUnitsMax && isIntricate(text, piecesMax)) {
    throw new BadRequest({
      code: "tooLarge",
      message: `a request has at most ${piecesMax} brackets, commas and colons outside its texts`,
      details: { limit: piecesMax },
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new BadRequest(notJson(text));
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new BadRequest({
      code: "badRequest",
      message: `a request is a JSON object, not ${describe(value)}`,
    });
  }
  return value as Fields;
}

function decode(line: Uint8Array): string {
  try {
    return decoder.decode(line);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const position = findInvalidUtf8(line) + 1;
    const message = `the line is not UTF-8 from byte ${position} on`;
    throw new BadRequest({ code: "badRequest", message, details: { position } });
  }
}

/** Where the bytes first differ from those of the text that a forgiving decoder makes of them. */
function findInvalidUtf8(line: Uint8Array): number {
  const forgiven = new TextEncoder().encode(new TextDecoder("utf-8", { ignoreBOM: true }).decode(line));
  return line.findIndex((byte, i) => byte !== forgiven[i]);
}

function notJson(text: string): RequestError {
  if (text.trim() === "") {
    return { code: "badRequest", message: "the line is empty; a request is a JSON object" };
  }
  const at = findJsonError(text);
  if (at === null) return { code: "badRequest", message: "the line is not JSON" };
  const found = at >= text.length ? "where the line ends" : `at ${describe(text.slice(at, at + 12))}`;
  const message = `the line stops being JSON at character ${at + 1}, ${found}`;
  return { code: "badRequest", message, details: { position: at + 1 } };
}

function idOf(fields: Fields): RequestId {
  const { id } = fields;
  if (id === undefined || Number.isSafeInteger(id)) return id as number | undefined;
  if (typeof id !== "string") {
    throw new BadRequest({
      code: "badRequest",
      message: `id must be a text or an integer, not ${describe(id)}`,
    });
  }
  if (id.length <= idUnitsMax) return id;
  const message = `id has more than ${idUnitsMax} characters`;
  throw new BadRequest({ code: "tooLarge", message, details: { limit: idUnitsMax } });
}

/** What a request of each operation may have. */
const fieldNames: Readonly<Record<string, readonly string[]>> = Object.fromEntries(
  Object.entries(operations).map(([name, { fields }]) => [name, ["op", "id", ...Object.keys(fields)]]),
);

function parseFields(id: RequestId, fields: Fields, limits: FieldLimits): Request {
  const { op } = fields;
  if (!isOperation(op)) throw new BadRequest(notAnOperation(op));
  checkNames(fields, fieldNames[op]!, op);
  switch (op) {
    case "put":
    case "delete":
    case "increment":
    case "deleteRange":
    case "txn":
    case "session":
      return { op, id, command: parseCommand(op, fields, limits) };
    case "get":
      return { op, id, key: keyOf(fields, limits), consistency: consistencyOf(fields) };
    case "list":
      return parseList(id, fields, limits);
    default:
      return { op, id };
  }
}

function parseList(id: RequestId, fields: Fields, limits: FieldLimits): Request {
  const options: ListOptions = {
    limit: integerOf(fields, "limit", { min: 1, max: listLimitMax }) ?? listLimitDefault,
    reverse: booleanOf(fields, "reverse") ?? false,
    keysOnly: booleanOf(fields, "keysOnly") ?? false,
    ...rangeOf(fields, limits),
  };
  const count = booleanOf(fields, "count") ?? false;
  return { op: "list", id, options, count, consistency: consistencyOf(fields) };
}

function consistencyOf(fields: Fields): Consistency {
  return choiceOf(fields, "consistency", ["linearizable", "stale"]) ?? "linearizable";
}

function notAnOperation(op: unknown): RequestError {
  if (op === undefined) return { code: "badRequest", message: "op is missing, which names the operation" };
  if (typeof op !== "string") {
    return { code: "badRequest", message: `op must be a text, not ${describe(op)}` };
  }
  const near = nearest(op, Object.keys(operations));
  const advice = near === null
    ? `there are ${Object.keys(operations).join(", ")}`
    : `did you mean ${JSON.stringify(near)}, as in ${
      JSON.stringify(operations[near as OperationName].example)
    }?`;
  const message = `unknown operation ${describe(op)}: ${advice}`;
  return { code: "unknownOperation", message, details: { nearest: near } };
}

/** The answer to `get`. */
export interface GetReply {
  ok: true;
  found: boolean;
  value?: string;
  version?: number;
  /** Index of the last entry that the answer reflects. */
  index: number;
  /** Only for `stale`: how long ago this node last was up to date; null: not since its start. */
  ageMs?: number | null;
}

/** The answer to `list`. */
export interface ListReply {
  ok: true;
  entries: ListedEntry[];
  /** Where the next page begins, or null. */
  next: string | null;
  index: number;
  ageMs?: number | null;
}

/** A good answer; `ok` comes first. */
export type Reply = { readonly ok: true };

/** What `get` answers for a key, present or not. */
export function getReply(
  found: Versioned | undefined,
  at: { index: number; ageMs?: number | null },
): GetReply {
  if (found === undefined) return { ok: true, found: false, ...at };
  return { ok: true, found: true, value: found.value, version: found.version, ...at };
}

/** What `list` answers for a page. */
export function listReply(page: Page, at: { index: number; ageMs?: number | null }): ListReply {
  return { ok: true, ...page, ...at };
}

/** What `help` answers: all operations with examples, and what the error codes mean. */
export function helpReply(): Reply & { operations: Readonly<Record<string, Operation>>; errors: object } {
  const errors = Object.fromEntries(
    Object.entries(errorMeanings).map(([code, { meaning }]) => [code, meaning]),
  );
  return { ok: true, operations, errors };
}

/** The reply line of a good answer or of what the state machine answered. The server encodes many at once. */
export function encodeReply<R extends Reply>(id: RequestId, reply: R | Result): string {
  if (!reply.ok) return errorReply(id, refusedByStore(reply as Result & { ok: false }));
  const text = JSON.stringify(reply);
  assert(text.startsWith(okField), "ok is the first field of a reply");
  if (id === undefined) return text + "\n";
  return `${okField},"id":${typeof id === "number" ? id : JSON.stringify(id)}${text.slice(okField.length)}\n`;
}

const okField = `{"ok":true`;

const httpMethod = /^(GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI) /;

/** Whether a connection's first line comes from a browser or the like. */
export function isHttp(line: Uint8Array): boolean {
  return httpMethod.test(String.fromCharCode(...line.subarray(0, 8)));
}

/** What a browser is told; the connection is closed afterwards. */
export function httpAnswer(): string {
  const text =
    `This is the client port of kvapp. It does not speak HTTP but lines of JSON, for example with netcat:

  ${JSON.stringify(operations.help.example)}
  ${JSON.stringify(operations.put.example)}
  ${JSON.stringify(operations.get.example)}
`;
  return "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n" +
    `Content-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`;
}
