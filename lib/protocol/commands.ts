/**
 * The fields of a write into the command that goes into the log, exactly as every node will apply it.
 *
 * @module
 */

import type {
  ClientCommand,
  DeleteCommand,
  PutCommand,
  TxnCondition,
  TxnOperation,
  WriteCommand,
} from "../kv/command.ts";
import type { Range } from "../kv/key_order.ts";
import { integerDigitsMax, isInteger, ttlMsMax } from "../kv/writes.ts";
import {
  BadRequest,
  booleanOf,
  checkNames,
  describe,
  type FieldLimits,
  type Fields,
  integerOf,
  keyOf,
  sessionOf,
  textOf,
  valueOf,
} from "./fields.ts";

type TxnPut = Extract<TxnOperation, { op: "put" }>;

/** A transaction's `if`, `then` and `else` have at most so many items each. */
export const txnItemsMax = 128;

/** Reads the fields of what changes the state. Throws BadRequest. */
export function parseCommand(op: ClientCommand["op"], fields: Fields, limits: FieldLimits): ClientCommand {
  if (op === "session") return { op };
  const command = parseWrite(op, fields, limits);
  const numbered = sessionOf(fields);
  return numbered === null ? command : Object.assign(command, numbered);
}

function parseWrite(op: WriteCommand["op"], fields: Fields, limits: FieldLimits): WriteCommand {
  switch (op) {
    case "put": {
      const command: PutCommand = { op, key: keyOf(fields, limits), value: valueOf(fields, limits) };
      return addOptions(addTtl(command, fields), fields, limits);
    }
    case "delete":
      return addOptions({ op, key: keyOf(fields, limits) }, fields, limits);
    case "increment":
      return { op, key: keyOf(fields, limits), by: byOf(fields) };
    case "deleteRange":
      return { op, ...deletedRangeOf(fields, limits) };
    case "txn":
      if (fields.then === undefined) throw bad("then is missing: a list of operations, which may be empty");
      return {
        op,
        if: itemsOf(fields, "if", (item) => conditionOf(item, limits)),
        then: itemsOf(fields, "then", (item) => operationOf(item, limits)),
        else: itemsOf(fields, "else", (item) => operationOf(item, limits)),
      };
  }
}

/** `prefix`, `start` and `end`, those that are given. */
export function rangeOf(fields: Fields, limits: FieldLimits): Range {
  const range: Range = {};
  for (const name of ["prefix", "start", "end"] as const) {
    const text = textOf(fields, name, limits.keyBytesMax);
    if (text !== undefined) range[name] = text;
  }
  return range;
}

function addTtl<Put extends PutCommand | TxnPut>(put: Put, fields: Fields): Put {
  const ttlMs = integerOf(fields, "ttlMs", { min: 1, max: ttlMsMax });
  if (ttlMs !== undefined) put.ttlMs = ttlMs;
  return put;
}

function addOptions<C extends PutCommand | DeleteCommand>(
  command: C,
  fields: Fields,
  limits: FieldLimits,
): C {
  const ifVersion = integerOf(fields, "ifVersion", { min: 0 });
  if (ifVersion !== undefined) command.ifVersion = ifVersion;
  const ifValue = textOf(fields, "ifValue", limits.valueBytesMax);
  if (ifValue !== undefined) command.ifValue = ifValue;
  if (booleanOf(fields, "previous")) command.previous = true;
  return command;
}

/** As the log stores it: decimal text without leading zeros. */
function byOf({ by = 1 }: Fields): string {
  const isFine = typeof by === "string" ? isInteger(by) : Number.isSafeInteger(by);
  if (isFine) return String(BigInt(by as string | number));
  throw bad(
    `by must be an integer, or one of at most ${integerDigitsMax} digits as a text, not ${describe(by)}`,
  );
}

/** Without any bound, a forgotten field would delete everything: that is `"prefix":""`. */
function deletedRangeOf(fields: Fields, limits: FieldLimits): Range {
  const range = rangeOf(fields, limits);
  if (Object.keys(range).length > 0) return range;
  throw bad(`prefix, start or end is missing, at least one; "prefix":"" means all keys`);
}

/** The items of a list. What is wrong with one of them names its place, counted from 0. */
function itemsOf<Item>(fields: Fields, name: string, parse: (item: Fields) => Item): Item[] {
  const { [name]: items = [] } = fields; // null is no list, and is not the same as leaving the field out
  if (!Array.isArray(items)) throw bad(`${name} must be a list, not ${describe(items)}`);
  if (items.length > txnItemsMax) {
    const message =
      `${name} has ${items.length} items; a transaction has at most ${txnItemsMax} in each list`;
    throw new BadRequest({ code: "tooLarge", message, details: { limit: txnItemsMax } });
  }
  return items.map((item: unknown, place) => {
    try {
      if (typeof item === "object" && item !== null && !Array.isArray(item)) return parse(item as Fields);
      throw bad(`an item is a JSON object, not ${describe(item)}`);
    } catch (error) {
      if (!(error instanceof BadRequest)) throw error;
      throw new BadRequest({ ...error.error, message: `${name}[${place}]: ${error.message}` });
    }
  });
}

function conditionOf(fields: Fields, limits: FieldLimits): TxnCondition {
  checkNames(fields, ["key", "version", "value", "exists"], "a condition");
  const condition: TxnCondition = { key: keyOf(fields, limits) };
  const version = integerOf(fields, "version", { min: 0 });
  if (version !== undefined) condition.version = version;
  const value = textOf(fields, "value", limits.valueBytesMax);
  if (value !== undefined) condition.value = value;
  const exists = booleanOf(fields, "exists");
  if (exists !== undefined) condition.exists = exists;
  if (Object.keys(condition).length > 1) return condition;
  throw bad("a condition needs version, value or exists beside its key");
}

const operationFields = {
  put: ["op", "key", "value", "ttlMs"],
  get: ["op", "key"],
  delete: ["op", "key"],
  increment: ["op", "key", "by"],
  deleteRange: ["op", "prefix", "start", "end"],
} as const;

function operationOf(fields: Fields, limits: FieldLimits): TxnOperation {
  const names = Object.keys(operationFields) as (keyof typeof operationFields)[];
  const op = names.find((name) => name === fields.op);
  if (op === undefined) {
    throw bad(`op must be one of ${names.join(", ")} in a transaction, not ${describe(fields.op)}`);
  }
  checkNames(fields, operationFields[op], `${op} in a transaction`);
  if (op === "deleteRange") return { op, ...deletedRangeOf(fields, limits) };
  const key = keyOf(fields, limits);
  if (op === "put") return addTtl<TxnPut>({ op, key, value: valueOf(fields, limits) }, fields);
  if (op === "increment") return { op, key, by: byOf(fields) };
  return { op, key };
}

function bad(message: string): BadRequest {
  return new BadRequest({ code: "badRequest", message });
}
