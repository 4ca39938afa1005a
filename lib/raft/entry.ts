/**
 * The one encoding of an entry: a line of JSON that stands, byte for byte the same, in every log and on the wire.
 * `crc` covers the line behind it, `prev` is the crc of the entry before, so a log is a hash chain and a line that
 * is well formed but stale or foreign is found out. Both stand at fixed positions: checking needs no JSON parse.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { Arena, decodeText, endOfDigits, hasAt, readDecimal } from "../bytes.ts";
import { crc32, writeCrc } from "../crc32.ts";
import { EncodedCommand } from "../encoded_command.ts";
import type { Configuration, Entry, EntryKind } from "./types.ts";

// {"crc":"xxxxxxxx","prev":"xxxxxxxx","index":...}\n
//         8       16       26      34
const crcAt = 8;
const crcEnd = 16;
/** The checksum of a line covers its bytes from here to the newline. */
export const checkedFrom = 17;
const prevAt = 26;
const prevEnd = 34;
const newline = 10;

const encoder = new TextEncoder();
const frameText = '{"crc":"00000000","prev":"00000000","index":';
const frame = encoder.encode(frameText);
const termHead = encoder.encode(',"term":');
const commandHead = encoder.encode(',"kind":"command","command":');
/** What closes an encoded command, and its entry. */
const endText = "}}\n";
const lineEnd = encoder.encode(endText);

/** The lines of entries stay in memory, side by side as they will leave: the log is cut in front, so they go together. */
export const entryLines: Arena = new Arena(64 << 10);

/** Makes an entry and its line. `command`, plain JSON data or its text, belongs to the entry from now on. */
export function makeEntry(
  fields: { index: number; term: number; kind: EntryKind; command: unknown; prevCrc: number },
): Entry {
  const { index, term, kind, command, prevCrc } = fields;
  const before = `${frameText}${index},"term":${term},"kind":"${kind}","command":`;
  let line: Uint8Array;
  if (command instanceof EncodedCommand) {
    line = entryLines.join(before, command, endText);
    command.settle(line, before.length);
  } else line = entryLines.encode(`${before}${JSON.stringify(command)}}\n`);
  writeCrc(line, prevAt, prevCrc);
  return { index, term, kind, command, prevCrc, crc: putCrc(line), line };
}

/**
 * Puts `{"crc":"...",` before and a newline after the `rest` of a JSON object, which is how every line of a
 * node's files begins and ends.
 */
export function sealLine(rest: string): Uint8Array {
  const line = entryLines.encode(`{"crc":"00000000",${rest}\n`);
  putCrc(line);
  return line;
}

/** Puts the checksum of a line into its place, and returns it. */
function putCrc(line: Uint8Array): number {
  const crc = crc32(line.subarray(checkedFrom, line.length - 1));
  writeCrc(line, crcAt, crc);
  return crc;
}

/** Whether a line, newline included, is whole: the frame stands where it should and the checksum holds. */
export function isSealed(line: Uint8Array): boolean {
  if (line.length <= checkedFrom || line[line.length - 1] !== newline) return false;
  if (!hasFrame(line, 0, crcAt) || !hasFrame(line, crcEnd, checkedFrom + 1)) return false;
  return readHex(line, crcAt, crcEnd) === crc32(line.subarray(checkedFrom, line.length - 1));
}

/** The checksum that a sealed line carries. */
export function crcOfLine(line: Uint8Array): number {
  return readHex(line, crcAt, crcEnd);
}

/**
 * Reads an entry line, newline included: from a disk, or from another node. Returns a text that says what is wrong with
 * it when it is not one. The entry keeps `line`, so the caller must own those bytes.
 *
 * @example
 * ```ts
 * import { decodeEntry } from "@kvapp/kvapp/raft";
 * import { assertEquals } from "@std/assert";
 *
 * const text = `{"crc":"25269565","prev":"00000000","index":1,"term":1,"kind":"noop","command":null}\n`;
 * const entry = decodeEntry(new TextEncoder().encode(text));
 * assertEquals(typeof entry === "string" ? entry : entry.index, 1);
 * const damaged = decodeEntry(new TextEncoder().encode(text.replace('"term":1', '"term":2')));
 * assertEquals(damaged, "the checksum does not match the line");
 * ```
 */
export function decodeEntry(line: Uint8Array): Entry | string {
  return readEntry(line, () => null);
}

/** Finds a command whose text begins at `from`, up to the brace that closes it; null: it is not of its kind. */
export type FindCommand = (bytes: Uint8Array, from: number) => EncodedCommand | null;

/** The same as `decodeEntry`, but that a command which `findCommand` finds is not parsed. */
export function readEntry(line: Uint8Array, findCommand: FindCommand): Entry | string {
  if (!isSealed(line)) return "the checksum does not match the line";
  const prevCrc = readHex(line, prevAt, prevEnd);
  if (prevCrc < 0 || !hasFrame(line, checkedFrom, prevAt) || !hasFrame(line, prevEnd, frame.length)) {
    return "prev is not where it belongs";
  }
  const crc = readHex(line, crcAt, crcEnd);
  const found = findEncoded(line, findCommand);
  if (found !== null) {
    const { index, term, command } = found;
    return { index, term, kind: "command", command, prevCrc, crc, line };
  }
  let fields: Record<string, unknown>;
  try {
    // Without the checksums: V8 keeps each short text that JSON.parse finds in a table, which costs microseconds.
    fields = JSON.parse("{" + decodeText(line.subarray(prevEnd + 2)));
  } catch (error) {
    return `the line is not JSON: ${error instanceof Error ? error.message : error}`;
  }
  const { index, term, kind, command } = fields;
  if (!isWhole(index) || index < 1) return "index is not a positive integer";
  if (!isWhole(term)) return "term is not an integer from 0";
  if (kind !== "command" && kind !== "configuration" && kind !== "noop") return "kind is unknown";
  if (kind === "configuration" && !isConfiguration(command)) return "command is not a configuration";
  return { index, term, kind, command, prevCrc, crc, line };
}

/** What a line says whose command `findCommand` finds; null: it does not, or the line is not as `makeEntry` makes it. */
function findEncoded(
  line: Uint8Array,
  findCommand: FindCommand,
): { index: number; term: number; command: EncodedCommand } | null {
  const indexEnd = endOfDigits(line, frame.length);
  if (indexEnd < 0 || !hasAt(line, indexEnd, termHead)) return null;
  const termAt = indexEnd + termHead.length;
  const termEnd = endOfDigits(line, termAt);
  if (termEnd < 0 || !hasAt(line, termEnd, commandHead)) return null;
  const command = findCommand(line, termEnd + commandHead.length);
  if (command === null) return null;
  const commandEnd = command.from + command.length;
  if (commandEnd + lineEnd.length !== line.length || !hasAt(line, commandEnd, lineEnd)) return null;
  const index = readDecimal(line, frame.length, indexEnd);
  return index === 0 ? null : { index, term: readDecimal(line, termAt, termEnd), command };
}

/** The configuration that an entry of that kind carries. */
export function configurationOf(entry: Entry): Configuration {
  assert(entry.kind === "configuration", "a configuration is read from a configuration entry");
  return entry.command as Configuration;
}

/** Whether a value has the shape of a configuration, with at least one member. */
export function isConfiguration(command: unknown): command is Configuration {
  if (typeof command !== "object" || command === null) return false;
  const { members } = command as Record<string, unknown>;
  if (!Array.isArray(members) || members.length === 0) return false;
  return members.every((member) =>
    typeof member === "object" && member !== null && isWhole(member.id) && member.id > 0 &&
    typeof member.address === "string" && typeof member.incarnation === "string"
  );
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function hasFrame(line: Uint8Array, from: number, end: number): boolean {
  for (let i = from; i < end; i++) if (line[i] !== frame[i]) return false;
  return true;
}

/** Eight hex digits as an integer; -1, which no checksum equals, when they are not hex digits. */
function readHex(bytes: Uint8Array, from: number, end: number): number {
  let value = 0;
  for (let i = from; i < end; i++) {
    const c = bytes[i]!;
    if (c >= 48 && c <= 57) value = value * 16 + c - 48;
    else if (c >= 97 && c <= 102) value = value * 16 + c - 87;
    else return -1;
  }
  return value;
}
