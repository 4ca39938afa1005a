/**
 * Lines that a seed makes: requests whose fields are swapped, lost, doubled, renamed and nested, then bytes that are
 * changed, cut and repeated. Most are nearly right, because what is nearly right gets furthest.
 *
 * @module
 */

import { operations } from "../../lib/protocol/operations.ts";
import type { Random } from "../sim/random.ts";

const names = Object.keys(operations);
const fieldNames = [
  ...new Set(Object.values(operations).flatMap(({ fields }) => Object.keys(fields))),
  ..."op id Key vaule __proto__ constructor toString".split(" "),
  "",
];
const scalars: readonly unknown[] = [
  ...[
    null,
    true,
    false,
    0,
    -1,
    1,
    0.5,
    1e21,
    2 ** 53 - 1,
    2 ** 53,
    "",
    "k",
    "1",
    "-1",
    "stale",
    "\0",
    "\ud800",
  ],
  ...["e\u0301", "😀", "\u2028", "x".repeat(300)],
];
const pieces = [
  ..."{}[]\",:\\ \t\r\0'/+-.0eE\x80\xc3\xed\xff".split(""),
  "null",
  "\\u00",
  "\\ud800",
  '"op":',
  "1e400",
];

type Json = Record<string, unknown>;

const changes: readonly ((fields: Json, random: Random) => void)[] = [
  (fields, random) => fields[random.pick(fieldNames)] = randomValue(random, 3),
  (fields, random) => fields[random.pick(Object.keys(fields))] = randomValue(random, 3),
  (fields, random) => delete fields[random.pick(Object.keys(fields))],
  (fields, random) => fields.op = random.pick(names),
  (fields, random) => fields.id = random.pick(scalars),
  (fields, random) => Object.assign(fields, { session: `${random.below(5)}`, seq: random.below(5) }),
  (fields, random) => {
    const field = random.pick(Object.keys(fields));
    fields[random.pick(fieldNames)] = fields[field];
  },
  (fields, random) => {
    const field = random.pick(Object.keys(fields));
    fields[field] = random.chance(0.5) ? [fields[field]] : { [field]: fields[field] };
  },
];

function randomValue(random: Random, depth: number): unknown {
  if (depth === 0 || random.chance(0.6)) return random.pick(scalars);
  const items = Array.from({ length: random.below(4) }, () => randomValue(random, depth - 1));
  if (random.chance(0.5)) return items;
  return Object.fromEntries(items.map((item) => [random.pick(fieldNames), item]));
}

/** One line without its newline, and without another one inside. */
export function hostileLine(random: Random): Uint8Array {
  const fields: Json = structuredClone(operations[random.pick(names) as keyof typeof operations].example);
  for (let i = random.below(4); i > 0 && Object.keys(fields).length > 0; i--) {
    random.pick(changes)(fields, random);
  }
  let bytes = toBytes(JSON.stringify(fields));
  if (random.chance(0.02)) bytes = [...bytes, ...bytes];
  for (let i = random.chance(0.5) ? random.below(4) : 0; i > 0; i--) bytes = changeBytes(bytes, random);
  return Uint8Array.from(bytes, (byte) => byte === 10 ? 11 : byte);
}

function toBytes(text: string): number[] {
  return [...new TextEncoder().encode(text)];
}

function changeBytes(bytes: number[], random: Random): number[] {
  const at = random.below(bytes.length + 1);
  const end = at + random.below(Math.min(20, bytes.length + 1));
  switch (random.below(5)) {
    case 0:
      return [...bytes.slice(0, at), random.below(256), ...bytes.slice(at + 1)];
    case 1: {
      const piece = random.pick(pieces);
      const inserted = piece.length === 1 ? [piece.charCodeAt(0)] : toBytes(piece);
      return [...bytes.slice(0, at), ...inserted, ...bytes.slice(at)];
    }
    case 2:
      return [...bytes.slice(0, at), ...bytes.slice(end)];
    case 3:
      return [...bytes.slice(0, end), ...bytes.slice(at)];
    default:
      return bytes.slice(0, at);
  }
}
