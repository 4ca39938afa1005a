/**
 * Hostile lines against the parser of the client port: each gets a definite answer with a code, and soon. The same lines
 * go to real nodes in tests/e2e/hostile_clients_test.ts. `KVAPP_SEED` makes other generated ones.
 *
 * @module
 */

import { assert, assertEquals, assertGreaterOrEqual, assertStringIncludes } from "@std/assert";
import { parseRequest, type Request } from "../../lib/protocol/client_protocol.ts";
import { errorMeanings } from "../../lib/protocol/errors.ts";
import { isOperation, operations } from "../../lib/protocol/operations.ts";
import { defaultLimits } from "../../lib/server/options.ts";
import { Random } from "../sim/random.ts";
import { type FieldCase, fieldCases } from "./field_cases.ts";
import { hostileLine } from "./generator.ts";
import { accepted, decided, invalidUtf8, refused } from "./grammar.ts";

const seed = Deno.env.get("KVAPP_SEED") ?? "hostile";
const encoder = new TextEncoder();
/** Each takes microseconds, or milliseconds when it has megabytes; the rest is for a machine that does other things. */
const lineMsMax = 1000;

/** What the parser makes of a line, having looked that it is an answer and did not take long. */
function parse(line: string | Uint8Array): Request {
  const bytes = typeof line === "string" ? encoder.encode(line) : line;
  const started = performance.now();
  const request = parseRequest(bytes, defaultLimits);
  const ms = performance.now() - started;
  const shown = new TextDecoder().decode(bytes.subarray(0, 100));
  assert(ms < lineMsMax, `${Math.round(ms)} ms for ${shown}`);
  if (request.op !== "refused") {
    assert(isOperation(request.op), shown);
    return request;
  }
  assert(Object.hasOwn(errorMeanings, request.error.code), shown);
  assert(errorMeanings[request.error.code].definite, shown);
  assert(request.error.message.length < 1000, `the answer to ${shown} must be readable`);
  return request;
}

/** The operation that was understood, or the code of the refusal. */
function outcome(line: string | Uint8Array): string {
  const request = parse(line);
  return request.op === "refused" ? request.error.code : request.op;
}

/** The message of a refusal, without the example at its end; empty when it is none. */
function messageOf(line: string | Uint8Array): string {
  const request = parse(line);
  return request.op === "refused" ? request.error.message.split("; this works: ")[0]! : "";
}

const grammarMessage = "stops being JSON";

Deno.test("parseRequest() never finds fault with the grammar of what is JSON, as a line and in a field", () => {
  assertGreaterOrEqual(accepted.length, 95);
  for (const json of accepted) {
    for (const line of [json, `${json}\n`, `${json}\r\n`, `${json} \t \n`, `{"op":"ping","id":${json}}`]) {
      assert(!messageOf(line).includes(grammarMessage), line);
    }
    for (const two of [`${json} ${json}`, `${json},${json}`, `{"op":"ping","id":${json}} {"op":"ping"}`]) {
      assertStringIncludes(messageOf(two), grammarMessage, two);
    }
  }
});

Deno.test("parseRequest() refuses what is not JSON and points at the place, as a line and in a field", () => {
  assertGreaterOrEqual(refused.length, 188);
  for (const text of refused) {
    for (const line of [text, `${text}\n`, `${text}\r\n`, `${text} \t \n`]) {
      const request = parse(line);
      assert(request.op === "refused" && request.error.code === "badRequest", line);
      const position = request.error.details?.position as number;
      assert(
        position >= 1 && position <= line.trimEnd().length + 4,
        `${position} in ${JSON.stringify(line)}`,
      );
    }
    assertEquals(outcome(`{"op":"ping","id":${text}}`), "badRequest", text);
  }
});

Deno.test("parseRequest() decides what the grammar leaves open, as written down", () => {
  assertGreaterOrEqual(decided.length, 35);
  for (const [line, expected] of decided) {
    for (const end of ["", "\n", "\r\n", " \t\n"]) {
      assertEquals(
        outcome(line + end),
        expected,
        `${JSON.stringify(line.slice(0, 100))}: ${messageOf(line)}`,
      );
    }
  }
});

Deno.test("parseRequest() answers nesting of any depth, open and closed", () => {
  for (const depth of [10, 100, 1000, 10_000, 100_000, 1_000_000]) {
    for (const [open, close] of [["[", "]"], ['{"a":', "}"], ['[{"a":', "}]"]] as const) {
      const inside = open.repeat(depth) + "1" + close.repeat(depth);
      for (const line of [inside, open.repeat(depth), `{"op":"txn","then":[${inside}]}`]) {
        assert(["badRequest", "tooLarge"].includes(outcome(line)), `${depth} times ${open}`);
      }
    }
  }
});

/** A request with some bytes in the middle of its value. */
function around(...bytes: readonly number[]): Uint8Array {
  return Uint8Array.of(...putHead, ...bytes, ...putTail);
}
const putHead = encoder.encode('{"op":"put","key":"k","value":"a');
const putTail = encoder.encode('-"}\n');

/** The value that is written, as bytes; null when the line is refused. */
function writtenValue(line: Uint8Array): Uint8Array | null {
  const request = parse(line);
  if (request.op !== "put") return null;
  assert("value" in request.command && typeof request.command.value === "string");
  return encoder.encode(request.command.value);
}

Deno.test("parseRequest() refuses what is not UTF-8, in a value and at the start of a line", () => {
  for (const [kind, all] of Object.entries(invalidUtf8)) {
    for (const hex of all) {
      const bytes = Uint8Array.fromHex(hex);
      for (const line of [around(...bytes), Uint8Array.of(...bytes, ...encoder.encode('{"op":"ping"}\n'))]) {
        assertStringIncludes(messageOf(line), "the line is not UTF-8 from byte ", `${kind}: ${hex}`);
      }
    }
  }
  for (const units of [[..."{}"], [..."\ufeff{}"]]) {
    const codes = units.map((unit) => unit.charCodeAt(0));
    for (
      const line of [codes.flatMap((it) => [it & 255, it >> 8]), codes.flatMap((it) => [it >> 8, it & 255])]
    ) {
      assertEquals(outcome(Uint8Array.from(line)), "badRequest", "UTF-16");
    }
  }
});

Deno.test("parseRequest() takes exactly those of all bytes and all pairs of bytes that a text may have inside", () => {
  // what stands for itself between quotation marks: neither control characters nor the two marks of the grammar
  const isPlain = (byte: number): boolean => byte >= 0x20 && byte < 0x80 && byte !== 0x22 && byte !== 0x5c;
  for (let first = 0; first < 256; first++) {
    const single = writtenValue(around(first));
    assertEquals(single !== null, isPlain(first), `${first}`);
    for (let second = 0; second < 256; second++) {
      const isEscape = first === 0x5c && second < 0x80 && '"\\/bfnrt'.includes(String.fromCharCode(second));
      const isTwoByteCharacter = first >= 0xc2 && first <= 0xdf && second >= 0x80 && second <= 0xbf;
      const isFine = isEscape || isTwoByteCharacter || (isPlain(first) && isPlain(second));
      const written = writtenValue(around(first, second));
      // a failing comparison of every pair would cost more than the pairs
      if ((written !== null) !== isFine) assert(false, `${first}, ${second}`);
      if (written === null || isEscape) continue;
      if (written[1] !== first || written[2] !== second || written.length !== 4) assert(false, `${written}`);
    }
  }
});

const isText = (unitsMax: number, unitsMin = 0) => (value: unknown): boolean =>
  typeof value === "string" && value.isWellFormed() && value.length <= unitsMax && value.length >= unitsMin;
const isInteger = (min: number, max = Number.MAX_SAFE_INTEGER) => (value: unknown): boolean =>
  Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
const isBoolean = (value: unknown): boolean => typeof value === "boolean";
const isEmptyList = (value: unknown): boolean => Array.isArray(value) && value.length === 0;

/** Which of the values of field_cases.ts a field takes, said a second time and in other words than the program's. */
const takes: Readonly<Record<string, (value: unknown) => boolean>> = {
  op: () => false,
  id: (value) =>
    isInteger(-Number.MAX_SAFE_INTEGER)(value) || (typeof value === "string" && value.length <= 256),
  key: isText(4096, 1),
  value: isText(1 << 20),
  ifValue: isText(1 << 20),
  prefix: isText(4096),
  start: isText(4096),
  end: isText(4096),
  ifVersion: isInteger(0),
  version: isInteger(0),
  seq: isInteger(1),
  limit: isInteger(1, 10_000),
  after: isInteger(0),
  watch: isInteger(1),
  ttlMs: isInteger(1, 3_153_600_000_000),
  cursor: isText(4096 + 64),
  trace: isBoolean,
  previous: isBoolean,
  reverse: isBoolean,
  keysOnly: isBoolean,
  count: isBoolean,
  exists: isBoolean,
  consistency: (value) => value === "stale",
  session: (value) => value === "1",
  by: (value) =>
    isInteger(-Number.MAX_SAFE_INTEGER)(value) || ["0", "1", "-1", "01"].includes(value as string),
  if: isEmptyList,
  then: isEmptyList,
  else: isEmptyList,
};

/** What an operation cannot do without. */
const needed = /op$|^txn\.then$|if\.key$|(put|get|delete|increment)\.key$|put\.value$/;

/** What must become of a case: true: it is a request; false: it is refused; null: only some answer is certain. */
function isTaken({ place, field, json }: FieldCase): boolean | null {
  if (json === null) return needed.test(place) ? false : null;
  if (Object.hasOwn(takes, field)) return takes[field]!(JSON.parse(json));
  return Object.values<{ fields: object }>(operations).some((it) => Object.hasOwn(it.fields, field))
    ? null
    : false;
}

Deno.test("parseRequest() holds each field of each operation to its type and range", () => {
  const cases = [...fieldCases()];
  assertGreaterOrEqual(cases.length, 2000);
  for (const one of cases) {
    const expected = isTaken(one);
    const code = outcome(one.line + "\n");
    const shown = `${one.place} is ${one.json?.slice(0, 60)}: ${code}, ${messageOf(one.line)}`;
    if (expected !== null) assertEquals(isOperation(code), expected, shown);
    if (!isOperation(code)) assert(["badRequest", "tooLarge", "unknownOperation"].includes(code), shown);
  }
});

Deno.test("parseRequest() answers 20,000 lines of a seed", () => {
  const random = new Random(seed);
  const counts: Record<string, number> = {};
  for (let i = 0; i < 20_000; i++) {
    const code = outcome(hostileLine(random.fork(`${i}`)));
    counts[code] = (counts[code] ?? 0) + 1;
  }
  const requests = Object.keys(operations).reduce((sum, op) => sum + (counts[op] ?? 0), 0);
  assertGreaterOrEqual(requests, 2000, "many must be good enough to get behind the parser");
  assertGreaterOrEqual(counts.badRequest ?? 0, 5000, "and many must not");
  assertGreaterOrEqual(counts.unknownOperation ?? 0, 100);
});

Deno.test("hostileLine() makes the same line of the same seed, and never two lines", () => {
  for (let i = 0; i < 500; i++) {
    const line = hostileLine(new Random(`${i}`));
    assertEquals(hostileLine(new Random(`${i}`)), line);
    assert(!line.includes(10));
  }
});
