/**
 * The client port: a line of bytes into a request. Every line that comes in is answered; what is not a request is
 * answered with what is wrong and an example of what works. Replies are made in client_replies.ts.
 *
 * @module
 */

import { decodeText } from "../bytes.ts";
import type { ClientCommand } from "../kv/command.ts";
import type { ListOptions } from "../kv/list.ts";
import { parseCommand, rangeOf } from "./commands.ts";
import type { RequestError, RequestId } from "./errors.ts";
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
  textOf,
} from "./fields.ts";
import { findJsonError, isIntricate } from "./json_text.ts";
import { trimLine } from "./lines.ts";
import { nearest } from "./nearest.ts";
import { isOperation, type OperationName, operations } from "./operations.ts";
import { readPlainPutRequest } from "./plain_put_request.ts";

/** Whether a read must see every write that was answered before it, or may be answered from the state at hand. */
export type Consistency = "linearizable" | "stale";

/** What every request has. */
interface AnyRequest {
  id: RequestId;
  /** Answer also where the time went. */
  trace?: true;
}

/** A change of the state: `command` goes into the log as it is, but for the stamp of its time. */
export interface WriteRequest extends AnyRequest {
  op: ClientCommand["op"];
  command: ClientCommand;
}

/** A read of one key. */
export interface GetRequest extends AnyRequest {
  op: "get";
  key: string;
  consistency: Consistency;
}

/** A read of many keys, or of how many there are. */
export interface ListRequest extends AnyRequest {
  op: "list";
  options: ListOptions;
  /** Only their number. */
  count: boolean;
  consistency: Consistency;
}

/** The next page of a list. */
export interface NextPageRequest extends AnyRequest {
  op: "list";
  cursor: string;
  /** What was said of the list again: it must be what the list began with, the limit aside. */
  repeated: Partial<ListOptions>;
}

/** Asks to be told what becomes of a key, of all that begin with a prefix, or of all. */
export interface WatchRequest extends AnyRequest {
  op: "watch";
  key?: string;
  prefix?: string;
  /** Changes with a greater index are told; absent: those from now on. */
  after?: number;
}

/** Ends a watch of this connection. */
export interface UnwatchRequest extends AnyRequest {
  op: "unwatch";
  watch: number;
}

/** A question about the node or the cluster. */
export interface NodeRequest extends AnyRequest {
  op: "status" | "members" | "ping" | "help";
}

/** A line that is no request, and its answer. */
export interface Refusal extends AnyRequest {
  op: "refused";
  error: RequestError;
}

/** A line from a client. */
export type Request =
  | WriteRequest
  | GetRequest
  | ListRequest
  | NextPageRequest
  | WatchRequest
  | UnwatchRequest
  | NodeRequest
  | Refusal;

/** Longest `id` that is echoed, in UTF-16 units. */
export const idUnitsMax = 256;
const listLimitMax = 10_000;
const listLimitDefault = 1000;
/** A cursor is some numbers and a key. */
const cursorBytesBeyondKey = 64;

// Parsing time grows with the pieces of a text. Short lines cannot have many, and requests have a dozen.
const simpleUnitsMax = 16 << 10;
const blanks = [0x20, 0x09, 0x0d];
const brackets = [0x7b, 0x5b];
const piecesMax = 4096;

/**
 * Reads a line, with or without its newline. Never throws, whatever the line. The command of a plain put borrows the line's
 * bytes until it is in an entry.
 */
export function parseRequest(line: Uint8Array, limits: FieldLimits): Request {
  return readPlainPutRequest(line, limits) ?? parseAny(line, limits);
}

/** The same for any line, by all the rules. */
export function parseAny(line: Uint8Array, limits: FieldLimits): Request {
  let id: RequestId;
  try {
    const fields = parseObject(trimLine(line));
    id = idOf(fields);
    const request = parseFields(id, fields, limits);
    if (booleanOf(fields, "trace")) request.trace = true;
    return request;
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
  if (line.length > simpleUnitsMax && !brackets.includes(line.find((byte) => !blanks.includes(byte))!)) {
    // Many clients may send much of it at once: it is not looked at any further.
    const message = 'the line does not begin with "{", and is too long to say more about it';
    throw new BadRequest({ code: "badRequest", message, details: { position: 1 } });
  }
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
    return decodeText(line);
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
  Object.entries(operations).map((
    [name, { fields }],
  ) => [name, ["op", "id", ...Object.keys(fields), "trace"]]),
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
      return fields.cursor === undefined ? parseList(id, fields, limits) : parseNextPage(id, fields, limits);
    case "watch":
      return parseWatch(id, fields, limits);
    case "unwatch":
      return { op, id, watch: watchOf(fields) };
    default:
      return { op, id };
  }
}

function parseList(id: RequestId, fields: Fields, limits: FieldLimits): ListRequest {
  const options: ListOptions = {
    limit: integerOf(fields, "limit", { min: 1, max: listLimitMax }) ?? listLimitDefault,
    reverse: booleanOf(fields, "reverse") ?? false,
    keysOnly: booleanOf(fields, "keysOnly") ?? false,
    ...rangeOf(fields, limits),
  };
  const count = booleanOf(fields, "count") ?? false;
  return { op: "list", id, options, count, consistency: consistencyOf(fields) };
}

/** A cursor says all that the list began with; what is said again beside it must be the same. */
function parseNextPage(id: RequestId, fields: Fields, limits: FieldLimits): NextPageRequest {
  const cursor = textOf(fields, "cursor", cursorBytesBeyondKey + limits.keyBytesMax)!;
  const { options, count } = parseList(id, fields, limits);
  if (count) throw bad("cursor and count do not go together: all are counted at once");
  const repeated = Object.entries(options).filter(([name]) => fields[name] !== undefined);
  return { op: "list", id, cursor, repeated: Object.fromEntries(repeated) };
}

function parseWatch(id: RequestId, fields: Fields, limits: FieldLimits): WatchRequest {
  const request: WatchRequest = { op: "watch", id };
  if (fields.key !== undefined) request.key = keyOf(fields, limits);
  const prefix = textOf(fields, "prefix", limits.keyBytesMax);
  if (prefix !== undefined) request.prefix = prefix;
  if (request.key !== undefined && prefix !== undefined) {
    throw bad("a watch has a key or a prefix, not both: open two");
  }
  const after = integerOf(fields, "after", { min: 0 });
  if (after !== undefined) request.after = after;
  return request;
}

function watchOf(fields: Fields): number {
  const watch = integerOf(fields, "watch", { min: 1 });
  if (watch === undefined) throw bad("watch is missing: the number that the operation watch answered");
  return watch;
}

function bad(message: string): BadRequest {
  return new BadRequest({ code: "badRequest", message });
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
