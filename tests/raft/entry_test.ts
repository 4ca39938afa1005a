/**
 * Entries whose command is known by its text: their lines are those of any entry, and are read back as such or not at all.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { crc32, writeCrc } from "../../lib/crc32.ts";
import { EncodedCommand } from "../../lib/encoded_command.ts";
import { decodeEntry, makeEntry, readEntry } from "../../lib/raft/entry.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Any object that begins with `a`. */
class Encoded extends EncodedCommand {}

function find(bytes: Uint8Array, from: number): EncodedCommand | null {
  const end = bytes.indexOf(0x7d, from);
  return bytes[from + 2] === 0x61 && end > 0 ? new Encoded(bytes, from, end - from) : null;
}

function textOf({ bytes, from, length }: EncodedCommand): string {
  return decoder.decode(bytes.subarray(from, from + length + 1));
}

/** The line of a text that stands behind the checksum of the entry before. */
function seal(text: string): Uint8Array {
  const line = encoder.encode(`{"crc":"00000000","prev":"00000000",${text}\n`);
  writeCrc(line, 8, crc32(line.subarray(17, line.length - 1)));
  return line;
}

Deno.test("makeEntry() of a text makes the line that it makes of the object, and the command is found in it", () => {
  for (const command of [{ a: 1 }, { a: "x".repeat(100) }, { a: "x".repeat(10_000) }]) {
    const borrowed = encoder.encode(`more ${JSON.stringify(command)}`);
    const encoded = new Encoded(borrowed, 5, borrowed.length - 6);
    const fields = { index: 12, term: 3, kind: "command", prevCrc: 0xabcdef } as const;
    const entry = makeEntry({ ...fields, command: encoded });
    borrowed.fill(0x78);
    assertEquals(decoder.decode(entry.line), decoder.decode(makeEntry({ ...fields, command }).line));
    assertEquals(entry.command, encoded);
    assertEquals([textOf(encoded), encoded.bytes], [JSON.stringify(command), entry.line]);
    const read = readEntry(entry.line, find);
    assert(typeof read !== "string" && read.command instanceof Encoded);
    assertEquals(textOf(read.command), JSON.stringify(command));
    assertEquals({ ...read, command }, decodeEntry(entry.line));
  }
});

Deno.test("readEntry() of a line that is not made like that says what decodeEntry() says", () => {
  const texts = [
    '"index":1,"term":1,"kind":"command","command":{"a":1},"more":1}',
    '"index":1,"term":1,"kind":"command","command":{"a":{}}}',
    '"index":1,"term":1,"kind":"command","command":{"a":1}} ',
    '"index":1,"term":1,"kind":"command","command": {"a":1}}',
    '"index":1,"term":1,"kind":"noop","command":{"a":1}}',
    '"index":1,"term":1,"kind":"configuration","command":{"a":1}}',
    '"index":0,"term":1,"kind":"command","command":{"a":1}}',
    '"index":01,"term":1,"kind":"command","command":{"a":1}}',
    '"index":1.5,"term":1,"kind":"command","command":{"a":1}}',
    '"index":1e9,"term":1,"kind":"command","command":{"a":1}}',
    '"index":1,"term":-1,"kind":"command","command":{"a":1}}',
    '"index":1,"term":,"kind":"command","command":{"a":1}}',
    '"term":1,"index":1,"kind":"command","command":{"a":1}}',
    '"index":9007199254740993,"term":1,"kind":"command","command":{"a":1}}',
    '"index":1,"term":1,"kind":"command","command":{"b":1}}',
    '"index":1,"term":1,"kind":"command","command":{"a":1}',
    '"index":1,"term":1,"kind":"command","command":null}',
  ];
  for (const text of texts) assertEquals(readEntry(seal(text), find), decodeEntry(seal(text)), text);
  const fine = readEntry(seal('"index":1,"term":0,"kind":"command","command":{"a":1}}'), find);
  assert(typeof fine !== "string" && fine.command instanceof Encoded, "but for these it is found");
});

Deno.test("readEntry() finds every changed bit of a line whose command is not parsed", () => {
  const { line } = makeEntry({ index: 7, term: 2, kind: "command", command: { a: "b" }, prevCrc: 1 });
  for (let bit = 0; bit < 8 * line.length; bit++) {
    const damaged = line.slice();
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    assertEquals(typeof readEntry(damaged, find), "string", `bit ${bit}`);
  }
});
