/**
 * Requests and entries that are known by their bytes: what comes of one must be what the rules for all lines make of it.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { crc32, writeCrc } from "../../lib/crc32.ts";
import { findPlainPut, PlainPut } from "../../lib/kv/plain_put.ts";
import { parseAny, type Request } from "../../lib/protocol/client_protocol.ts";
import { readPlainPutRequest } from "../../lib/protocol/plain_put_request.ts";
import { checkedFrom, decodeEntry, readEntry } from "../../lib/raft/entry.ts";

const limits = { keyBytesMax: 10, valueBytesMax: 20 };
const encoder = new TextEncoder();

/** The request by its bytes, with an object for its command; null: it is left to the rules for all lines. */
function read(line: string | Uint8Array): Request | null {
  const bytes = typeof line === "string" ? encoder.encode(line) : line;
  const request = readPlainPutRequest(bytes, limits);
  return request && { ...request, command: JSON.parse(JSON.stringify(request.command)) };
}

/** What the rules for all lines make of it. */
function parse(line: string | Uint8Array): Request {
  return parseAny(typeof line === "string" ? encoder.encode(line) : line, limits);
}

Deno.test("readPlainPutRequest() reads a put with or without session, id and any end of a line", () => {
  for (
    const numbered of ["", ',"session":"17","seq":3', ',"session":"999999999999999","seq":999999999999999']
  ) {
    for (const id of ["", ',"id":0', ',"id":7', ',"id":999999999999999']) {
      for (const end of ["", "\n", "\r\n"]) {
        const line = `{"op":"put","key":"k","value":"v"${numbered}${id}}${end}`;
        assert(read(line) !== null, line);
        assertEquals(read(line), parse(line));
      }
    }
  }
});

Deno.test("readPlainPutRequest() leaves everything else to the rules for all lines", () => {
  const others = [
    '{"op":"put","key":"k","value":"v","id":"7"}\n',
    '{"op":"put","key":"k","value":"v","id":-7}\n',
    '{"op":"put","key":"k","value":"v","id":07}\n',
    '{"op":"put","key":"k","value":"v","id":7.5}\n',
    '{"op":"put","key":"k","value":"v","id":9007199254740992}\n',
    '{"op":"put","key":"k","value":"v","id":7,"trace":true}\n',
    '{"op":"put","key":"k","value":"v","ttlMs":7}\n',
    '{"op":"put","key":"k","value":"v"} \n',
    '{"op":"put","key":"k","value":"v"}}\n',
    '{"op":"put","key":"k","value":"v"\n',
    '{"op":"put","key":"k","value":"v"}\n\n',
    '{"op":"put","key":"k","value":"v"}\r\r\n',
    `{"op":"put","key":"${"k".repeat(11)}","value":"v"}\n`,
    `{"op":"put","key":"k","value":"${"v".repeat(21)}"}\n`,
    ' {"op":"put","key":"k","value":"v"}\n',
    "\n",
    "",
  ];
  for (const line of others) assertEquals(read(line), null, line);
});

Deno.test("readPlainPutRequest() of a line that ends too early leaves it to the rules for all lines", () => {
  const line = '{"op":"put","key":"k","value":"v","session":"17","seq":3,"id":12}';
  for (let length = 0; length < line.length; length++) {
    assertEquals(read(line.slice(0, length)), null, `${length}`);
  }
});

const signs = [...encoder.encode('"\\{}:,0195eE.- \r\n')];
/** In some lines one byte becomes another one, goes, or comes. */
const change = fc.option(
  fc.record({ at: fc.nat(), byte: fc.oneof(fc.nat(255), fc.constantFrom(...signs)), how: fc.nat(2) }),
  { freq: 1 },
);

/** The line with that change, at a place from `from` on. */
function changed(
  line: string,
  change: { at: number; byte: number; how: number } | null,
  from = 0,
): Uint8Array {
  const bytes = [...encoder.encode(line)];
  if (change !== null) {
    const { at, byte, how } = change;
    bytes.splice(from + at % (bytes.length - from), how === 2 ? 0 : 1, ...(how === 1 ? [] : [byte]));
  }
  return new Uint8Array(bytes);
}

const odd = fc.oneof(fc.string({ maxLength: 12 }), fc.constantFrom("", "\\", '"', "\u007f", "\u00e9"));
const text = fc.oneof({ weight: 5, arbitrary: fc.constantFrom("k", "Aa", "~ ", "12") }, odd);
const number = fc.oneof({ weight: 5, arbitrary: fc.nat() }, fc.maxSafeInteger(), odd);
const session = fc.oneof({ weight: 5, arbitrary: fc.nat().map(String) }, odd);
const numbered = fc.oneof(fc.constant({}), fc.record({ session, seq: number }, { requiredKeys: [] }));
const command = fc.tuple(text, text, numbered)
  .map(([key, value, numbered]) => ({ op: "put", key, value, ...numbered }));

Deno.test("readPlainPutRequest() makes of any line what the rules for all lines make of it, or leaves it to them", () => {
  const id = fc.record({ id: number }, { requiredKeys: [] });
  let taken = 0;
  fc.assert(
    fc.property(command, id, change, (command, id, change) => {
      const whole = changed(JSON.stringify({ ...command, ...id }) + "\n", change);
      const request = read(whole);
      if (request === null) return;
      taken++;
      assertEquals(request, parse(whole));
    }),
    { numRuns: 10_000 },
  );
  assert(taken > 1000, `${taken} were taken`);
});

Deno.test("readEntry() makes of any sealed line what decodeEntry() makes of it, when it looks for plain puts", () => {
  const fields = fc.record({
    index: number,
    term: number,
    kind: fc.constantFrom("command", "command", "noop"),
  });
  const from = '{"crc":"00000000","prev":"00000000",'.length;
  let taken = 0;
  fc.assert(
    fc.property(fields, command, change, (fields, command, change) => {
      const text = JSON.stringify({ crc: "00000000", prev: "0123abcd", ...fields, command }) + "\n";
      const line = changed(text, change, from);
      writeCrc(line, '{"crc":"'.length, crc32(line.subarray(checkedFrom, line.length - 1)));
      const entry = readEntry(line, findPlainPut);
      if (typeof entry === "string" || !(entry.command instanceof PlainPut)) {
        return assertEquals(entry, decodeEntry(line));
      }
      taken++;
      assertEquals({ ...entry, command: entry.command.toJSON() as unknown }, decodeEntry(line));
    }),
    { numRuns: 10_000 },
  );
  assert(taken > 1000, `${taken} were taken`);
});
