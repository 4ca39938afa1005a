/**
 * The fields of a request, checked one by one. What is wrong is thrown as `BadRequest` and becomes a reply in
 * client_protocol.ts; nothing else is ever thrown here.
 *
 * @module
 */

import type { Numbered } from "../kv/command.ts";
import type { RequestError } from "./errors.ts";
import { nearest } from "./nearest.ts";

/** The parsed line: nothing is known of its fields yet. */
export type Fields = Readonly<Record<string, unknown>>;

/** The bounds that requests are held to; they are part of the node's limits. */
export interface FieldLimits {
  /** A key in UTF-8. */
  readonly keyBytesMax: number;
  /** A value in UTF-8. */
  readonly valueBytesMax: number;
}

/** A request that is refused, and why. */
export class BadRequest extends Error {
  override name = "BadRequest";
  readonly error: RequestError;

  constructor(error: RequestError) {
    super(error.message);
    this.error = error;
  }
}

function bad(message: string): BadRequest {
  return new BadRequest({ code: "badRequest", message });
}

/** A required text of 1 to `bytesMax` bytes. */
export function keyOf(fields: Fields, limits: FieldLimits): string {
  const { key } = fields;
  if (key === undefined) throw bad(`key is missing`);
  const text = checkText("key", key, limits.keyBytesMax);
  if (text === "") throw bad(`key must have at least one byte`);
  return text;
}

/** A required text of at most `bytesMax` bytes. */
export function valueOf(fields: Fields, limits: FieldLimits): string {
  const { value } = fields;
  if (value === undefined) throw bad(`value is missing`);
  return checkText("value", value, limits.valueBytesMax);
}

/** Refuses a field that is not among the `known` ones of `what`. */
export function checkNames(fields: Fields, known: readonly string[], what: string): void {
  for (const name in fields) {
    if (known.includes(name)) continue;
    const near = nearest(name, known);
    const advice = near === null
      ? `its fields are ${known.join(", ")}`
      : `did you mean ${JSON.stringify(near)}?`;
    throw bad(`unknown field ${describe(name)} for ${what}: ${advice}`);
  }
}

/** An optional text of at most `bytesMax` bytes. */
export function textOf(fields: Fields, name: string, bytesMax: number): string | undefined {
  const text = fields[name];
  return text === undefined ? undefined : checkText(name, text, bytesMax);
}

/** An optional integer within `min` and `max`. */
export function integerOf(
  fields: Fields,
  name: string,
  { min, max = Number.MAX_SAFE_INTEGER }: { min: number; max?: number },
): number | undefined {
  const value = fields[name];
  if (value === undefined) return undefined;
  const isFine = Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
  if (isFine) return value as number;
  throw bad(`${name} must be an integer from ${min} to ${max}, not ${describe(value)}`);
}

/** An optional true or false. */
export function booleanOf(fields: Fields, name: string): boolean | undefined {
  const value = fields[name];
  if (value === undefined || typeof value === "boolean") return value;
  throw bad(`${name} must be true or false, not ${describe(value)}`);
}

/** An optional one of a few words. */
export function choiceOf<Choice extends string>(
  fields: Fields,
  name: string,
  choices: readonly Choice[],
): Choice | undefined {
  const value = fields[name];
  if (value === undefined) return undefined;
  const choice = choices.find((choice) => choice === value);
  if (choice !== undefined) return choice;
  throw bad(`${name} must be ${choices.map((c) => JSON.stringify(c)).join(" or ")}, not ${describe(value)}`);
}

/** The session and number of a write: both, or neither (null). */
export function sessionOf(fields: Fields): Numbered | null {
  const { session } = fields;
  const seq = integerOf(fields, "seq", { min: 1 });
  if (session === undefined && seq === undefined) return null;
  const isName = typeof session === "string" && /^[1-9][0-9]{0,15}$/.test(session);
  if (session !== undefined && !isName) {
    throw bad(`session must be the text that {"op":"session"} answered, not ${describe(session)}`);
  }
  if (!isName || seq === undefined) throw bad(`session and seq go together: one of them is missing`);
  return { session, seq };
}

/** Well-formed Unicode: of anything else, two different texts would be the same bytes on disk. */
function checkText(name: string, value: unknown, bytesMax: number): string {
  if (typeof value !== "string") throw bad(`${name} must be a text, not ${describe(value)}`);
  if (exceedsUtf8(value, bytesMax)) {
    const message = `${name} has more than ${bytesMax} bytes in UTF-8, which is its limit on this node`;
    throw new BadRequest({ code: "tooLarge", message, details: { limit: bytesMax } });
  }
  if (!value.isWellFormed()) {
    throw bad(`${name} must be well-formed Unicode: it has one half of a surrogate pair without the other`);
  }
  return value;
}

/** Whether a text has more than `bytesMax` bytes in UTF-8; looks at its characters only when its length is unclear. */
function exceedsUtf8(text: string, bytesMax: number): boolean {
  if (text.length * 3 <= bytesMax) return false;
  if (text.length > bytesMax) return true;
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    const isSurrogate = unit >= 0xd800 && unit < 0xe000; // a pair, two units, has four bytes
    if (unit >= 0x80) bytes += unit < 0x800 || isSurrogate ? 1 : 2;
  }
  return bytes > bytesMax;
}

/** A value in a few words; never its whole text, which may be megabytes. */
export function describe(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return "an object";
  if (typeof value !== "string") return String(value);
  return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
}
