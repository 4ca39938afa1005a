/**
 * The lines of a snapshot are checked before they become state: a wrong one is refused with a text that names the
 * field. A field that this version would not have written is wrong too, for to leave it out would make this node's
 * state differ. How long a key or value may be is not looked at: what was applied once must come back.
 *
 * @module
 */

import type {
  ConditionFailed,
  DeleteRangeResult,
  DeleteResult,
  IncrementResult,
  NotInteger,
  PutResult,
  Refused,
  Result,
  Stored,
  TooLarge,
  TxnOperationResult,
  TxnResult,
  Versioned,
} from "./command.ts";

/** A key of the state, as a line of a snapshot. */
export interface KeyLine extends Stored {
  readonly key: string;
}

/** The log time of the state, as the first line of a snapshot; it is left out while time has never mattered. */
export interface TimeLine {
  readonly logTime: number;
}

/** A session of the state, as a line of a snapshot. */
export interface SessionLine {
  readonly session: string;
  /** Every number up to here is too old. */
  readonly forgotten: number;
  /** By number, which grows. */
  readonly answers: readonly (readonly [number, Result])[];
}

/** Takes a parsed line for what it is, or returns what is wrong with it. */
export function checkLine(line: unknown): TimeLine | KeyLine | SessionLine | string {
  const check = has(line, "session") ? checkSession : has(line, "logTime") ? checkTime : checkKey;
  const wrong = check(line);
  // A check names the field from the outside in, each with its dot or brackets in front.
  if (wrong !== null) return wrong.startsWith(".") ? wrong.slice(1) : `the line${wrong}`;
  return line as TimeLine | KeyLine | SessionLine;
}

/** What is wrong with a value, to be read behind its name, or null. */
type Check = (value: unknown) => string | null;

/** A check for each field, so that the compiler finds one that command.ts has and this file has not. */
type Checks<T> = {
  readonly [Name in keyof T]-?: Record<never, never> extends Pick<T, Name> ? Optional : Check;
};

/** Of a field that may be absent. */
interface Optional {
  readonly ifThere: Check;
}

function optional(check: Check): Optional {
  return { ifThere: check };
}

function fieldsOf<T>(checks: Checks<T>): Check {
  const all = new Map<string, Check>();
  const required: string[] = [];
  for (const [name, check] of Object.entries<Check | Optional>(checks)) {
    if (typeof check === "function") required.push(name);
    all.set(name, typeof check === "function" ? check : check.ifThere);
  }
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return " must be an object";
    for (const name of required) if (!Object.hasOwn(value, name)) return `.${name} is missing`;
    for (const name in value) {
      const check = all.get(name);
      if (check === undefined) return `.${name} is a field that this version of kvapp does not know`;
      const wrong = check((value as Record<string, unknown>)[name]);
      if (wrong !== null) return `.${name}${wrong}`;
    }
    return null;
  };
}

function arrayOf(check: Check): Check {
  return (value) => {
    if (!Array.isArray(value)) return " must be an array";
    for (let i = 0; i < value.length; i++) {
      const wrong = check(value[i]);
      if (wrong !== null) return `[${i}]${wrong}`;
    }
    return null;
  };
}

function only(wanted: string | boolean): Check {
  return (value) => value === wanted ? null : ` must be ${JSON.stringify(wanted)}`;
}

function nameIn(names: object): Check {
  const wrong = ` must be one of ${Object.keys(names).join(", ")}`;
  return (value) => typeof value === "string" && Object.hasOwn(names, value) ? null : wrong;
}

function integerFrom(min: number): Check {
  return (value) => {
    const isFine = Number.isSafeInteger(value) && (value as number) >= min;
    return isFine ? null : ` must be an integer from ${min}`;
  };
}

const text: Check = (value) => typeof value === "string" ? null : " must be a text";
/** Half a pair of surrogates would not come back: no client can have put it. */
const unicode: Check = (value) => {
  if (typeof value !== "string") return text(value);
  return value.isWellFormed() ? null : " must be well-formed Unicode";
};
const boolean: Check = (value) => typeof value === "boolean" ? null : " must be true or false";
const count = integerFrom(0);
const index = integerFrom(1);
const versioned = fieldsOf<Versioned>({ value: text, version: index });
const previous = optional((value) => value === null ? null : versioned(value));

const checkPut = fieldsOf<PutResult>({ ok: only(true), index, version: index, previous });
const checkDelete = fieldsOf<DeleteResult>({ ok: only(true), deleted: boolean, index, previous });
const checkIncrement = fieldsOf<IncrementResult>({ ok: only(true), value: text, version: index, index });
const checkDeleteRange = fieldsOf<DeleteRangeResult>({
  ok: only(true),
  deleted: count,
  more: optional(only(true)),
  index,
});

/** The answers of a transaction's parts that have such a field. */
type PartWith<Name extends string> = Extract<TxnOperationResult, { [Field in Name]: unknown }>;
const checkPartGet = fieldsOf<PartWith<"found">>({
  ok: only(true),
  found: boolean,
  value: optional(text),
  version: optional(index),
});
const checkPartDelete = fieldsOf<PartWith<"deleted">>({
  ok: only(true),
  deleted: (value) => typeof value === "boolean" ? null : count(value),
});
const checkPartIncrement = fieldsOf<{ ok: true; value: string; version: number }>({
  ok: only(true),
  value: text,
  version: index,
});
const checkPartPut = fieldsOf<{ ok: true; version: number }>({ ok: only(true), version: index });

const checkTxn = fieldsOf<TxnResult>({
  ok: only(true),
  succeeded: boolean,
  results: arrayOf((value) => {
    if (has(value, "found")) return checkPartGet(value);
    if (has(value, "deleted")) return checkPartDelete(value);
    return has(value, "value") ? checkPartIncrement(value) : checkPartPut(value);
  }),
  index,
});

const tooLargeWhats: Record<TooLarge["what"], true> = {
  digits: true,
  deletedKeys: true,
  answeredValues: true,
};

/** The refusals that a session remembers; the others say that it remembers nothing. */
const refusals: Record<Exclude<Refused, { session: string }>["code"], Check> = {
  conditionFailed: fieldsOf<ConditionFailed>({ ok: only(false), code: text, version: count }),
  notInteger: fieldsOf<NotInteger>({ ok: only(false), code: text, operation: optional(count) }),
  tooLarge: fieldsOf<TooLarge>({
    ok: only(false),
    code: text,
    what: nameIn(tooLargeWhats),
    limit: count,
    operation: optional(count),
  }),
};
const checkCode = nameIn(refusals);

function checkAnswer(answer: unknown): string | null {
  if (has(answer, "code")) {
    const wrong = checkCode(answer.code);
    return wrong === null ? refusals[answer.code as keyof typeof refusals](answer) : `.code${wrong}`;
  }
  if (has(answer, "results")) return checkTxn(answer);
  if (has(answer, "deleted")) {
    return typeof answer.deleted === "boolean" ? checkDelete(answer) : checkDeleteRange(answer);
  }
  return has(answer, "value") ? checkIncrement(answer) : checkPut(answer);
}

const checkTime = fieldsOf<TimeLine>({ logTime: integerFrom(1) });

const checkKey = fieldsOf<KeyLine>({ key: text, value: unicode, version: index, expiresAt: optional(count) });

const checkSession = fieldsOf<SessionLine>({
  session: (value) => {
    // The index of the entry that opened it, as text.
    const isName = typeof value === "string" && index(Number(value)) === null &&
      String(Number(value)) === value;
    return isName ? null : " must be an index as text";
  },
  forgotten: count,
  answers: arrayOf((value) => {
    if (!Array.isArray(value) || value.length !== 2) return " must be a number and its answer";
    const wrong = index(value[0]);
    if (wrong !== null) return `[0]${wrong}`;
    const wrongAnswer = checkAnswer(value[1]);
    return wrongAnswer === null ? null : `[1]${wrongAnswer}`;
  }),
});

function has<Name extends string>(value: unknown, name: Name): value is Record<Name, unknown> {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name);
}
