/**
 * What each write does to the keys. All that it looks at is the keys and the command, and what it may not do it
 * refuses before anything has changed: a transaction that fails in the middle leaves no trace.
 *
 * @module
 */

import type {
  ConditionFailed,
  DeleteCommand,
  IncrementResult,
  NotInteger,
  PutCommand,
  Result,
  Stored,
  TooLarge,
  TxnCommand,
  TxnCondition,
  TxnOperation,
  TxnOperationResult,
  Versioned,
  WriteCommand,
} from "./command.ts";
import type { Keys } from "./keys.ts";
import { PlainPut } from "./plain_put.ts";

// These bounds decide what a command does, so nodes with other ones would diverge: they are part of the state machine.

/** An integer has at most so many digits, so that no command takes long to count. */
export const integerDigitsMax = 1000;
/** One entry takes at most so many keys away by their range. */
export const deletedKeysMax = 10_000;
/** A transaction answers values of at most so many UTF-16 units in all, one value aside. */
export const answeredUnitsMax = 2 << 20;
/** One entry takes at most so many keys away because their time is over. */
export const expiredKeysMax = 1000;
/** A key goes at most so many milliseconds after it was put: a hundred years. */
export const ttlMsMax = 100 * 365 * 86_400_000;

/** Where and when, in the order of the log, a write is carried out. */
export interface Moment {
  index: number;
  logTime: number;
}

/** Carries out a write whose turn it is. */
export function writeNow(keys: Keys, command: WriteCommand, moment: Moment): Result {
  const { index } = moment;
  if (command instanceof PlainPut) {
    keys.put(command, index);
    return { ok: true, index, version: index };
  }
  switch (command.op) {
    case "put":
    case "delete":
      return checkCondition(keys, command) ?? putOrDelete(keys, command, moment);
    case "increment":
      return increment(keys, command, index);
    case "deleteRange": {
      const { deleted, more } = keys.deleteRange(command, deletedKeysMax);
      return { ok: true, deleted, ...(more ? { more } : {}), index };
    }
    case "txn":
      return transact(keys, command, moment);
  }
}

function putOrDelete(keys: Keys, command: PutCommand | DeleteCommand, moment: Moment): Result {
  const { op, key } = command;
  const { index } = moment;
  if (op === "put") {
    const previous = command.previous ? { previous: versionedOf(keys.get(key)) } : null;
    put(keys, command, moment);
    return { ok: true, index, version: index, ...previous };
  }
  const previous = command.previous ? { previous: versionedOf(keys.get(key)) } : null;
  return { ok: true, deleted: keys.delete(key), index, ...previous };
}

function put(
  keys: Keys,
  { key, value, ttlMs }: { key: string; value: string; ttlMs?: number },
  { index, logTime }: Moment,
): void {
  const stored = { value, version: index };
  keys.set(key, ttlMs === undefined ? stored : { ...stored, expiresAt: logTime + ttlMs });
}

/** What clients see of what is kept. */
function versionedOf(stored: Stored | undefined): Versioned | null {
  return stored === undefined ? null : { value: stored.value, version: stored.version };
}

function checkCondition(keys: Keys, command: PutCommand | DeleteCommand): ConditionFailed | null {
  const { key, ifVersion, ifValue } = command;
  if (ifVersion === undefined && ifValue === undefined) return null;
  const version = keys.version(key);
  const holds = (ifVersion === undefined || ifVersion === version) &&
    (ifValue === undefined || ifValue === keys.get(key)?.value);
  return holds ? null : { ok: false, code: "conditionFailed", version };
}

function increment(
  keys: Keys,
  { key, by }: { key: string; by: string },
  index: number,
): IncrementResult | NotInteger | TooLarge {
  const present = keys.get(key);
  if (present !== undefined && !isInteger(present.value)) {
    return { ok: false, code: "notInteger" };
  }
  const value = String(BigInt(present?.value ?? "0") + BigInt(by));
  if (!isInteger(value)) return { ok: false, code: "tooLarge", what: "digits", limit: integerDigitsMax };
  keys.set(key, { ...present, value, version: index }); // a counter that goes at some time still does
  return { ok: true, value, version: index, index };
}

const integer = new RegExp(`^-?[0-9]{1,${integerDigitsMax}}$`);

/** Whether a text is a decimal integer that `increment` takes. */
export function isInteger(text: string): boolean {
  return integer.test(text);
}

/** A part of a transaction could not be carried out, or its answer was too large. */
type Failure = NotInteger | TooLarge;

function transact(keys: Keys, command: TxnCommand, moment: Moment): Result {
  const succeeded = command.if.every((condition) => holds(keys, condition));
  keys.begin();
  const results: TxnOperationResult[] = [];
  const left = { keys: deletedKeysMax, units: answeredUnitsMax, values: 0 };
  for (const operation of succeeded ? command.then : command.else) {
    const result = carryOut(keys, operation, { moment, left });
    if (!result.ok) {
      keys.rollBack();
      return { ...result, operation: results.length };
    }
    results.push(result);
  }
  keys.commit();
  return { ok: true, succeeded, results, index: moment.index };
}

function holds(keys: Keys, { key, version, value, exists }: TxnCondition): boolean {
  const present = keys.version(key);
  return (version === undefined || version === present) &&
    (exists === undefined || exists === (present > 0)) &&
    (value === undefined || value === keys.get(key)?.value);
}

/** What a transaction may still do. */
interface Allowance {
  keys: number;
  units: number;
  values: number;
}

function carryOut(
  keys: Keys,
  operation: TxnOperation,
  { moment, left }: { moment: Moment; left: Allowance },
): TxnOperationResult | Failure {
  const { index } = moment;
  switch (operation.op) {
    case "put":
      put(keys, operation, moment);
      return { ok: true, version: index };
    case "get": {
      const found = keys.get(operation.key);
      if (found === undefined) return { ok: true, found: false };
      left.units -= found.value.length;
      left.values++;
      if (left.units < 0 && left.values > 1) {
        return { ok: false, code: "tooLarge", what: "answeredValues", limit: answeredUnitsMax };
      }
      return { ok: true, found: true, value: found.value, version: found.version };
    }
    case "delete": {
      return { ok: true, deleted: keys.delete(operation.key) };
    }
    case "increment": {
      const result = increment(keys, operation, index);
      return result.ok ? { ok: true, value: result.value, version: index } : result;
    }
    case "deleteRange": {
      const { deleted, more } = keys.deleteRange(operation, left.keys);
      left.keys -= deleted;
      if (more) return { ok: false, code: "tooLarge", what: "deletedKeys", limit: deletedKeysMax };
      return { ok: true, deleted };
    }
  }
}
