/**
 * What clients did to single keys and what they were told: the input of the checkers. A history is written as one JSON
 * object a line, so that others can read it too:
 *
 *     {"client":"c1","key":"a","call":12.5,"return":13.1,"op":"put","value":"1","index":7}
 *
 * Times are milliseconds on one clock: `call` before the first byte of the request was written, `return` after the
 * last of the reply was read. `return` is null for an operation whose outcome nobody knows: it may have happened at
 * any time after `call`, or not at all. Operations that certainly did not happen are left out.
 *
 * @module
 */

/** Who did it, to what, and when. */
interface Span {
  client: string;
  key: string;
  /** Milliseconds. */
  call: number;
  /** Milliseconds; null: nobody knows its outcome. */
  return: number | null;
  /** Index of the log that the answer names: that of a write, or the one that a read reflects. */
  index?: number;
}

/** One operation on one key. A key that does not exist has the value null. */
export type Operation =
  & Span
  & (
    | {
      op: "get";
      value: string | null;
      /** Index of the write that made the value. */
      version?: number;
    }
    | { op: "put"; value: string }
    | { op: "delete"; /** Whether there was a key, where that was told. */ deleted?: boolean }
    | { op: "cas"; from: string | null; to: string; /** Absent when nobody knows. */ succeeded?: boolean }
    | { op: "append"; value: string }
    | { op: "increment"; by: string; /** The sum, where it was told. */ sum?: string }
  );

/** The line of an operation, without its end. */
export function formatOperation(operation: Operation): string {
  return JSON.stringify(operation);
}

/** Reads the lines of a history. Throws SyntaxError that names the line and the field. */
export function parseHistory(text: string): Operation[] {
  const operations: Operation[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (error) {
      throw new SyntaxError(`line ${i + 1} is not JSON`, { cause: error });
    }
    const wrong = wrongOf(value);
    if (wrong !== null) throw new SyntaxError(`line ${i + 1}: ${wrong}`);
    operations.push(value as Operation);
  }
  return operations;
}

type Kind = "string" | "number" | "boolean" | "null";
/** What each field of each operation may be; "undefined" is in front of those that may be absent. */
const fieldsOf: Readonly<Record<string, Readonly<Record<string, readonly (Kind | "undefined")[]>>>> = {
  get: { value: ["string", "null"], version: ["undefined", "number"] },
  put: { value: ["string"] },
  delete: { deleted: ["undefined", "boolean"] },
  cas: { from: ["string", "null"], to: ["string"], succeeded: ["undefined", "boolean"] },
  append: { value: ["string"] },
  increment: { by: ["string"], sum: ["undefined", "string"] },
};
const spanFields: Readonly<Record<string, readonly (Kind | "undefined")[]>> = {
  client: ["string"],
  key: ["string"],
  call: ["number"],
  return: ["number", "null"],
  index: ["undefined", "number"],
};

function wrongOf(value: unknown): string | null {
  if (typeof value !== "object" || value === null) return "an operation is a JSON object";
  const fields = value as Record<string, unknown>;
  const own = typeof fields.op === "string" && Object.hasOwn(fieldsOf, fields.op)
    ? fieldsOf[fields.op]!
    : null;
  if (own === null) return `op must be one of ${Object.keys(fieldsOf).join(", ")}`;
  for (const [name, kinds] of Object.entries({ ...spanFields, ...own })) {
    const kind = fields[name] === null ? "null" : typeof fields[name];
    if (!(kinds as readonly string[]).includes(kind)) {
      return `${name} must be ${kinds.join(" or ")}, not ${kind}`;
    }
  }
  if (fields.return !== null && (fields.return as number) < (fields.call as number)) {
    return "return must not be before call";
  }
  return null;
}

/** The operations of each key, in the order of their calls. */
export function byKey(operations: readonly Operation[]): Map<string, Operation[]> {
  const keys = new Map<string, Operation[]>();
  for (const operation of operations) {
    const own = keys.get(operation.key);
    if (own === undefined) keys.set(operation.key, [operation]);
    else own.push(operation);
  }
  for (const own of keys.values()) own.sort((a, b) => a.call - b.call);
  return keys;
}

/** What an operation did and was told, in a few words. */
export function describeOperation(operation: Operation): string {
  const text = (value: string | null): string => value === null ? "nothing" : JSON.stringify(value);
  const outcome = (isKnown: boolean, words: string): string => isKnown ? words : ", outcome unknown";
  const isKnown = operation.return !== null;
  switch (operation.op) {
    case "get":
      return `get: ${text(operation.value)}`;
    case "put":
      return `put ${text(operation.value)}${outcome(isKnown, "")}`;
    case "delete":
      return `delete${outcome(isKnown, operation.deleted === false ? ": there was none" : "")}`;
    case "cas": {
      const told = operation.succeeded === false ? ": refused" : ": done";
      return `replace ${text(operation.from)} by ${text(operation.to)}${outcome(isKnown, told)}`;
    }
    case "append":
      return `append ${text(operation.value)}${outcome(isKnown, "")}`;
    case "increment":
      return `add ${operation.by}${
        outcome(isKnown, operation.sum === undefined ? "" : `: ${operation.sum}`)
      }`;
  }
}
