/**
 * What `import` reads: bytes into lines, lines into keys with their values. What is wrong is told with the number of
 * its line.
 *
 * @module
 */

import { untilAborted } from "../client/deadline.ts";
import { LineSplitter } from "../protocol/lines.ts";
import { CommandError } from "./exit.ts";
import { escapeControls } from "./output.ts";

/** Gives bytes until there are none: null. */
export interface Source {
  read(buffer: Uint8Array): Promise<number | null>;
}

/** One line. */
export interface ImportEntry {
  /** Counted from 1. */
  line: number;
  key: string;
  value: string;
  /** The key goes by itself after so many milliseconds. */
  ttlMs?: number;
}

/** As long as a request may be. */
const lineBytesMax = 8 << 20;
const expected = `expected an object as export writes it, {"key":"color","value":"green"}`;
const fields = ["key", "value", "version", "ttlMs"];

/** A line of the file is none that can be imported. */
function badLine(line: number, why: string): CommandError {
  return new CommandError(`line ${line}: ${why}`);
}

/** The keys of a file, in the order of its lines; blank lines are none. Throws CommandError. */
export async function* entriesOf(
  source: Source,
  signal: AbortSignal,
): AsyncGenerator<ImportEntry, void, void> {
  const splitter = new LineSplitter(lineBytesMax);
  const buffer = new Uint8Array(64 << 10);
  let line = 0;
  for (;;) {
    const length = await untilAborted(source.read(buffer), signal);
    const texts: (string | null)[] = [];
    const onLine = (bytes: Uint8Array): void => void texts.push(decode(bytes));
    const splitting = length === null ? "end" : splitter.push(buffer.subarray(0, length), onLine);
    if (splitting === "end" && splitter.rest.length > 0) onLine(splitter.rest);
    for (const text of texts) {
      const entry = parseLine(++line, text);
      if (entry !== null) yield entry;
    }
    if (splitting === "tooLong") throw badLine(line + 1, `it has more than ${lineBytesMax} bytes`);
    if (splitting === "end") return;
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/** Null: it is not UTF-8. */
function decode(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

function parseLine(line: number, text: string | null): ImportEntry | null {
  if (text === null) throw badLine(line, `it is not UTF-8; ${expected}`);
  if (text.trim() === "") return null;
  const { key, value, ttlMs, ...others } = parseObject(line, text);
  if (typeof key !== "string") {
    throw badLine(line, `key is ${key === undefined ? "missing" : "no text"}; ${expected}`);
  }
  if (typeof value !== "string") {
    throw badLine(line, `value is ${value === undefined ? "missing" : "no text"}; ${expected}`);
  }
  const unknown = Object.keys(others).find((name) => !fields.includes(name));
  if (unknown !== undefined) {
    throw badLine(line, `unknown field ${escapeControls(JSON.stringify(unknown))}; ${expected}`);
  }
  if (ttlMs === undefined) return { line, key, value };
  if (!Number.isSafeInteger(ttlMs)) throw badLine(line, "ttlMs is no whole number of milliseconds");
  return { line, key, value, ttlMs: ttlMs as number };
}

function parseObject(line: number, text: string): Record<string, unknown> {
  let object: unknown;
  try {
    object = JSON.parse(text);
  } catch (error) {
    throw badLine(line, `${escapeControls((error as Error).message)}; ${expected}`);
  }
  if (typeof object === "object" && object !== null && !Array.isArray(object)) {
    return object as Record<string, unknown>;
  }
  throw badLine(line, expected);
}
