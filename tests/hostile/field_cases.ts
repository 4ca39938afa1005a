/**
 * Each field of each operation with everything that it must not be, and some things that it may: made from the
 * table of operations, so that a new field is ill-treated as soon as it is there.
 *
 * @module
 */

import { type OperationName, operations } from "../../lib/protocol/operations.ts";

/** A line with one field made into something. */
export interface FieldCase {
  /** Such as "put.key", or "txn.then.put.key" for one inside a transaction. */
  readonly place: string;
  readonly field: string;
  /** What stands there, as JSON; null: the field is missing. */
  readonly json: string | null;
  readonly line: string;
}

/** What a field is given, as JSON. */
const values: readonly string[] = [
  ..."null true false 0 -0 1 -1 2 10001 1.5 0.1 -1.5 1e3 1e21 1e308 1e400 -1e400".split(" "),
  ..."9007199254740991 9007199254740992 9007199254740993 -9007199254740991 -9007199254740993".split(" "),
  '" "',
  ...'"" "a" "NaN" "Infinity" "0" "1" "-1" "01" "1.5" "1e3" "0x10" "true" "null" "stale"'.split(" "),
  ...String.raw`"\ud800" "\udc00\ud800" "\u0000" "__proto__" "../x" "${"9".repeat(1001)}"`.split(" "),
  ...`[] [1] [[]] [null] ["a"] [{}] {} {"a":1} {"key":"k"} {"toString":1} {"length":1}`.split(" "),
  `"${"x".repeat(257)}"`,
  `"${"x".repeat(4097)}"`,
  `"${"x".repeat((1 << 20) + 1)}"`,
  `${"[".repeat(500)}${"]".repeat(500)}`,
  `[${'{"op":"get","key":"k"},'.repeat(129)}{"op":"get","key":"k"}]`,
];

/** What has to stand beside a field, and what must not. */
const companions: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  session: { seq: 1 },
  seq: { session: "1" },
  "watch.key": { prefix: undefined },
};

/** The operations that may stand in a transaction, with their fields there. */
const inner: Readonly<Record<string, readonly string[]>> = {
  put: ["key", "value", "ttlMs"],
  get: ["key"],
  delete: ["key"],
  increment: ["key", "by"],
  deleteRange: ["prefix", "start", "end"],
};

/** An object as JSON, in which `field` is the text `json`. */
function write(fields: Readonly<Record<string, unknown>>, field: string, json: string | null): string {
  const others = Object.entries(fields).filter(([name, value]) => name !== field && value !== undefined);
  const parts = others.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
  if (json !== null) parts.push(`${JSON.stringify(field)}:${json}`);
  return `{${parts.join()}}`;
}

/** All cases, a few thousand. */
export function* fieldCases(): Generator<FieldCase> {
  for (const [op, { fields, example }] of Object.entries(operations)) {
    for (const field of ["op", "id", "trace", ...Object.keys(fields)]) {
      const base = { ...example, ...companions[field], ...companions[`${op}.${field}`] };
      for (const json of [null, ...values]) {
        yield { place: `${op}.${field}`, field, json, line: write(base, field, json) };
      }
      const good = write(base, "", null).slice(0, -1);
      for (const typo of [`${field}X`, field.toUpperCase(), ` ${field}`, `${field}\\u0000`]) {
        yield { place: `${op}.${typo}`, field: typo, json: "1", line: `${good},"${typo}":1}` };
      }
    }
  }
  for (const [op, names] of Object.entries(inner)) {
    const { example } = operations[op as OperationName];
    for (const field of ["op", ...names]) {
      for (const json of [null, ...values]) {
        const line = `{"op":"txn","then":[${write(example, field, json)}]}`;
        yield { place: `txn.then.${op}.${field}`, field, json, line };
      }
    }
  }
  for (const field of ["key", "version", "value", "exists"]) {
    for (const json of [null, ...values]) {
      const condition = write({ key: "k", exists: true }, field, json);
      yield { place: `txn.if.${field}`, field, json, line: `{"op":"txn","if":[${condition}],"then":[]}` };
    }
  }
}
