import { assert, assertEquals, assertMatch } from "@std/assert";
import fc from "fast-check";
import type { Command } from "../../lib/kv/command.ts";
import { PlainPut } from "../../lib/kv/plain_put.ts";
import { httpAnswer, isHttp, parseRequest, type Request } from "../../lib/protocol/client_protocol.ts";
import { encodeReply, getReply, helpReply, listReply } from "../../lib/protocol/client_replies.ts";
import type { RequestError } from "../../lib/protocol/errors.ts";
import { operations } from "../../lib/protocol/operations.ts";

const encoder = new TextEncoder();
const limits = { keyBytesMax: 4096, valueBytesMax: 1 << 20 };

/** Its command, when that is known by its bytes, as an object. */
function parse(line: string | Uint8Array): Request {
  const request = parseRequest(typeof line === "string" ? encoder.encode(line) : line, limits);
  if ("command" in request && request.command instanceof PlainPut) request.command = request.command.toJSON();
  return request;
}

/** Parses a request written as an object. */
function parseObject(fields: object): Request {
  return parse(JSON.stringify(fields) + "\n");
}

/** The error of a line that must be refused. */
function refused(line: string | Uint8Array | object): RequestError {
  const isLine = typeof line === "string" || line instanceof Uint8Array;
  const request = isLine ? parse(line) : parseObject(line);
  assert(request.op === "refused", `must be refused: ${isLine ? line.slice(0, 50) : JSON.stringify(line)}`);
  return request.error;
}

Deno.test("parseRequest() reads each operation, with its defaults", () => {
  const id = undefined;
  assertEquals(parse('{"op":"put","key":"a","value":"1"}\n'), {
    op: "put",
    id,
    command: { op: "put", key: "a", value: "1" },
  });
  assertEquals(parseObject({ op: "delete", key: "a" }), {
    op: "delete",
    id,
    command: { op: "delete", key: "a" },
  });
  assertEquals(parseObject({ op: "session" }), { op: "session", id, command: { op: "session" } });
  assertEquals(parseObject({ op: "get", key: "a" }), {
    op: "get",
    id,
    key: "a",
    consistency: "linearizable",
  });
  assertEquals(parseObject({ op: "list" }), {
    op: "list",
    id,
    options: { limit: 1000, reverse: false, keysOnly: false },
    count: false,
    consistency: "linearizable",
  });
  for (const op of ["status", "members", "ping", "help"] as const) {
    assertEquals(parseObject({ op }), { op, id });
  }
});

Deno.test("parseRequest() reads all fields of list and get", () => {
  const options = { limit: 10000, reverse: true, keysOnly: true, prefix: "", start: "a", end: "z" };
  assertEquals(parseObject({ op: "list", id: "x", ...options, count: true, consistency: "stale" }), {
    op: "list",
    id: "x",
    options,
    count: true,
    consistency: "stale",
  });
  const get = parseObject({ op: "get", key: "a", consistency: "linearizable" });
  assert(get.op === "get" && get.consistency === "linearizable");
});

Deno.test("parseRequest() ends a line at a newline, at a carriage return and newline, or at nothing", () => {
  for (const end of ["\n", "\r\n", "", " \t\r\n"]) {
    assertEquals(parse(' {"op":"ping","id":1}' + end), { op: "ping", id: 1 });
  }
});

// Any text, awkward ones included, but for lone surrogates.
const unicode = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.constantFrom(
    "__proto__",
    "constructor",
    "\u0000",
    "\u2028",
    "\ufeff",
    "\u{10ffff}",
    '"\\\n\r',
    "é",
    "e\u0301",
  ),
);
const key = unicode.filter((text) => text !== "");
const id = fc.oneof(fc.maxSafeInteger(), unicode);
const options = fc.record({
  ifVersion: fc.maxSafeNat(),
  ifValue: unicode,
  previous: fc.constant(true),
}, { requiredKeys: [] });
const numbered = fc.oneof(
  fc.constant({}),
  fc.record({ session: fc.integer({ min: 1 }).map(String), seq: fc.maxSafeNat().map((n) => n || 1) }),
);

Deno.test("parseRequest() makes of a written command exactly that command, as the log will store it", () => {
  const command = fc.oneof(
    fc.record({ key, value: unicode, options, numbered }).map(({ key, value, options, numbered }) => (
      { op: "put", key, value, ...options, ...numbered } as Command
    )),
    fc.record({ key, options, numbered }).map(({ key, options, numbered }) => (
      { op: "delete", key, ...options, ...numbered } as Command
    )),
  );
  fc.assert(
    fc.property(command, id, (command, id) => {
      const request = parseObject({ ...command, id });
      assertEquals(request, { op: command.op, id: Object.is(id, -0) ? 0 : id, command } as Request);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("encodeReply() gives a line that reads back as the reply with its id, whatever the texts", () => {
  const reply = fc.record({ value: unicode, version: fc.maxSafeNat(), index: fc.maxSafeNat() });
  fc.assert(
    fc.property(reply, fc.option(id, { nil: undefined }), ({ value, version, index }, id) => {
      const line = encodeReply(id, getReply({ value, version }, { index }));
      assertEquals(line.indexOf("\n"), line.length - 1);
      const idField = id === undefined ? {} : { id: Object.is(id, -0) ? 0 : id };
      assertEquals(JSON.parse(line), { ok: true, ...idField, found: true, value, version, index });
    }),
    { numRuns: 1000 },
  );
});

Deno.test("encodeReply() writes the lines of PROTOCOL.md", () => {
  assertEquals(
    encodeReply(undefined, { ok: true, index: 7, version: 7 }),
    '{"ok":true,"index":7,"version":7}\n',
  );
  assertEquals(
    encodeReply(1, { ok: true, index: 7, version: 7 }),
    '{"ok":true,"id":1,"index":7,"version":7}\n',
  );
  assertEquals(
    encodeReply(2, { ok: true, count: 3, index: 12 }),
    '{"ok":true,"id":2,"count":3,"index":12}\n',
  );
  assertEquals(encodeReply("x", { ok: true }), '{"ok":true,"id":"x"}\n');
  assertEquals(
    encodeReply(undefined, { ok: true, deleted: true, index: 10 }),
    '{"ok":true,"deleted":true,"index":10}\n',
  );
  assertEquals(
    encodeReply(undefined, getReply({ value: "1", version: 7 }, { index: 9 })),
    '{"ok":true,"found":true,"value":"1","version":7,"index":9}\n',
  );
  assertEquals(
    encodeReply(undefined, getReply(undefined, { index: 9, ageMs: 3 })),
    '{"ok":true,"found":false,"index":9,"ageMs":3}\n',
  );
  assertEquals(
    encodeReply(undefined, listReply({ entries: [{ key: "a", version: 7 }], next: null }, { index: 12 })),
    '{"ok":true,"entries":[{"key":"a","version":7}],"next":null,"index":12}\n',
  );
  assertMatch(
    encodeReply(3, { ok: false, code: "conditionFailed", version: 7 }),
    /^{"ok":false,"id":3,"error":{"code":"conditionFailed","message":".*","definite":true,"version":7}}\n$/,
  );
});

Deno.test("parseRequest() refuses what is not JSON, points at the place and shows what works", () => {
  const cases: [string, number | undefined, string][] = [
    ['{"op":"get","key":a}', 19, operations.get.example.op],
    ["get a", 1, "get"],
    ["LIST", 1, "list"],
    ['{"op":"delete"', 15, "delete"],
    ['{"op":"ping"} {"op":"ping"}', 15, "ping"],
    ["\ufeff{}", 1, "put"],
    ["\u0016\u0003\u0001", 1, "put"],
    ["", undefined, "put"],
    ["  ", undefined, "put"],
  ];
  for (const [line, position, example] of cases) {
    const { code, message, details } = refused(line);
    assertEquals([code, details?.position], ["badRequest", position], line);
    assert(message.endsWith(JSON.stringify(operations[example as "put"].example)), message);
  }
});

Deno.test("parseRequest() refuses bytes that are not UTF-8, wherever they stand, and names the first one", () => {
  const bad = [[0xff], [0x80], [0xc0, 0xaf], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [
    0xf8,
  ]];
  for (const bytes of bad) {
    for (const before of ["", '{"op":"put","key":"é€']) {
      const start = encoder.encode(before);
      const error = refused(Uint8Array.from([...start, ...bytes, ...encoder.encode('","value":"1"}')]));
      assertEquals(error.code, "badRequest");
      assertEquals(error.details, { position: start.length + 1 });
    }
  }
});

Deno.test("parseRequest() refuses JSON that is not an object", () => {
  for (const line of ["[]", '["put"]', "null", "1", "true", '"put"', "1e400"]) {
    assert(refused(line).message.startsWith("a request is a JSON object, not "), line);
  }
});

Deno.test("parseRequest() refuses fields of the wrong type or out of range, and names them", () => {
  const notTexts = [null, 1, true, [], {}, ["a"]];
  const notIntegers = [null, "1", true, [], -1, 1.5, 1e308, 2 ** 53];
  const wrong: Record<string, unknown[]> = {
    key: [...notTexts, "", "\ud800", "a\udc00", "\udc00\ud800"],
    value: [...notTexts, "\ud800"],
    ifVersion: notIntegers,
    ifValue: [...notTexts, "\udfff"],
    previous: [null, 0, 1, "true", [], {}],
    session: [...notTexts, "", "0", "01", "-1", "1.5", "x", "12345678901234567", " 1"],
    seq: [...notIntegers, 0],
  };
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      const fields = {
        op: "put",
        key: "a",
        value: "1",
        ...(name === "session" ? { seq: 1 } : {}),
        [name]: value,
      };
      const { code, message } = refused(fields);
      assertEquals(code, "badRequest", message);
      assert(message.startsWith(name), `${name}: ${JSON.stringify(value)}: ${message}`);
    }
  }
  const wrongInList: Record<string, unknown[]> = {
    limit: [null, "1", 0, -1, 10001, 1.5],
    prefix: notTexts,
    start: notTexts,
    end: notTexts,
    reverse: [null, 1, "yes"],
    keysOnly: [null, 1, "yes"],
    count: [null, 1, "yes"],
    consistency: [null, "", "Stale", "eventual", true],
  };
  for (const [name, values] of Object.entries(wrongInList)) {
    for (const value of values) assert(refused({ op: "list", [name]: value }).message.startsWith(name), name);
  }
});

Deno.test("parseRequest() refuses a request without what it needs", () => {
  assert(refused({}).message.startsWith("op is missing"));
  assert(refused({ op: 1 }).message.startsWith("op must be a text, not 1"));
  assert(refused({ op: "put", value: "1" }).message.startsWith("key is missing"));
  assert(refused({ op: "put", key: "a" }).message.startsWith("value is missing"));
  assert(refused({ op: "get" }).message.startsWith("key is missing"));
  assert(refused({ op: "delete" }).message.startsWith("key is missing"));
  assert(refused({ op: "delete", key: "a", seq: 1 }).message.includes("go together"));
  assert(refused({ op: "delete", key: "a", session: "1" }).message.includes("go together"));
});

Deno.test("parseRequest() refuses unknown fields rather than ignore a typing error", () => {
  assert(refused({ op: "put", key: "a", vaule: "1" }).message.includes('did you mean "value"?'));
  assert(
    refused({ op: "put", key: "a", value: "1", expires: 5 }).message.startsWith(
      'unknown field "expires" for put',
    ),
  );
  assert(refused({ op: "get", key: "a", value: "1" }).message.startsWith('unknown field "value" for get'));
  assert(refused({ op: "session", session: "1", seq: 1 }).message.startsWith('unknown field "session"'));
  assert(refused({ op: "ping", constructor: 1 }).message.startsWith('unknown field "constructor"'));
  assert(refused('{"op":"ping","__proto__":{"key":"a"}}').message.startsWith('unknown field "__proto__"'));
});

Deno.test("parseRequest() names the nearest operation, or all", () => {
  const near = refused({ op: "gte", key: "a" });
  assertEquals([near.code, near.details], ["unknownOperation", { nearest: "get" }]);
  assert(near.message.includes(JSON.stringify(operations.get.example)));
  const far = refused({ op: "subscribe", key: "a" });
  assertEquals([far.code, far.details], ["unknownOperation", { nearest: null }]);
  assert(far.message.includes("put, get, delete, list"));
  for (const op of ["constructor", "__proto__", "toString", ""]) {
    assertEquals(refused({ op }).code, "unknownOperation");
  }
});

Deno.test("parseRequest() echoes the id also of what it refuses, and refuses ids that are neither text nor integer", () => {
  for (const id of ["", "x", 0, -5, Number.MAX_SAFE_INTEGER]) {
    const request = parseObject({ id, op: "frobnicate" });
    assertEquals([request.op, request.id], ["refused", id]);
  }
  for (const id of [null, true, 1.5, 2 ** 53, [], {}]) {
    const request = parseObject({ op: "ping", id });
    assert(request.op === "refused" && request.error.message.startsWith("id must be a text or an integer"));
    assertEquals(request.id, undefined);
  }
  assertEquals(parseObject({ op: "ping", id: "x".repeat(256) }).op, "ping");
  assertEquals(refused({ op: "ping", id: "x".repeat(257) }).code, "tooLarge");
});

Deno.test("parseRequest() counts the limits of keys and values in bytes of UTF-8", () => {
  // One to four bytes a character.
  for (const character of ["a", "é", "€", "\u{1f600}"]) {
    const bytes = encoder.encode(character).length;
    for (const [name, max] of [["key", 4096], ["value", 1 << 20], ["ifValue", 1 << 20]] as const) {
      const fits = "a".repeat(max % bytes) + character.repeat(Math.floor(max / bytes));
      assertEquals(encoder.encode(fits).length, max);
      const fields = { op: "put", key: "a", value: "1" };
      assertEquals(parseObject({ ...fields, [name]: fits }).op, "put");
      const { code, message, details } = refused({ ...fields, [name]: fits + "a" });
      assertEquals([code, details], ["tooLarge", { limit: max }]);
      assert(message.startsWith(`${name} has more than ${max} bytes`));
    }
  }
});

Deno.test("parseRequest() takes the last of two fields with one name", () => {
  const request = parse('{"op":"get","key":"a","key":"b"}');
  assert(request.op === "get" && request.key === "b");
});

Deno.test("parseRequest() refuses lines that would take long to parse, at once", () => {
  const size = 8 << 20;
  const lines = [
    "[".repeat(size),
    '{"a":'.repeat(size / 5),
    "[".repeat(size / 2) + "]".repeat(size / 2),
    '{"op":"ping","id":' + "[".repeat(size / 2) + "]".repeat(size / 2) + "}",
    '{"op":"ping","x":[' + "0,".repeat(size / 2) + "0]}",
    '{"op":"ping"' + Array.from({ length: size / 16 }, (_, i) => `,"${i}":1`).join("") + "}",
  ];
  for (const line of lines) {
    const bytes = encoder.encode(line);
    const started = performance.now();
    assertEquals(refused(bytes).code, "tooLarge", line.slice(0, 20));
    // Reading the bytes takes some milliseconds; parsing them would take up to a second, and more on a busy machine.
    assert(performance.now() - started < 2000, line.slice(0, 20));
  }
  for (const depth of [10, 1000, 8000]) {
    assertEquals(
      refused('{"op":"ping","id":' + "[".repeat(depth) + "]".repeat(depth) + "}").code,
      "badRequest",
    );
  }
});

Deno.test("parseRequest() quotes little of a line that it refuses", () => {
  const long = "x".repeat(1 << 20);
  for (
    const line of [long, `{"op":"${long}"}`, `{"op":"ping","${long}":1}`, `{"op":"ping","id":1,"x":${long}}`]
  ) {
    assert(refused(line).message.length < 500);
  }
});

Deno.test("parseRequest() answers any bytes, and what it accepts means the same when written again", () => {
  const example = JSON.stringify({
    op: "put",
    key: "a",
    value: "1",
    id: 1,
    session: "1",
    seq: 1,
    ifVersion: 2,
  });
  const mutated = fc.array(fc.tuple(fc.nat(example.length - 1), fc.integer({ min: 0, max: 255 })), {
    maxLength: 3,
  })
    .map((changes) => {
      const bytes = encoder.encode(example);
      for (const [at, byte] of changes) bytes[at] = byte;
      return bytes;
    });
  const fields = fc.dictionary(
    fc.constantFrom(
      "op",
      "id",
      "key",
      "value",
      "limit",
      "prefix",
      "seq",
      "session",
      "count",
      "by",
      "if",
      "then",
    ),
    fc.oneof(
      fc.constantFrom("put", "get", "list", "increment", "deleteRange", "txn", "1", "", null, 0, 1, true, []),
      fc.jsonValue(),
    ),
  ).map((fields) => encoder.encode(JSON.stringify(fields)));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), mutated, fields), (bytes) => {
      const request = parse(bytes);
      if (!("command" in request)) return;
      assertEquals(parseObject({ ...request.command, id: request.id }), request);
    }),
    { numRuns: 5000 },
  );
});

Deno.test("helpReply() shows every operation with an example that parses, and fits on a screen line by line", () => {
  const { operations } = helpReply();
  assertEquals(Object.keys(operations), [
    "put",
    "get",
    "delete",
    "list",
    "increment",
    "deleteRange",
    "txn",
    "watch",
    "unwatch",
    "session",
    "status",
    "members",
    "ping",
    "help",
  ]);
  for (const [name, { example, fields }] of Object.entries(operations)) {
    assertEquals<string>(parseObject(example).op, name);
    for (const field of Object.keys(example)) assert(field === "op" || field in fields, `${name}: ${field}`);
  }
});

Deno.test("isHttp() tells the first line of a browser from a request, and httpAnswer() is whole HTTP", () => {
  for (
    const line of [
      "GET / HTTP/1.1\r\n",
      "POST /a HTTP/1.1\r\n",
      "OPTIONS * HTTP/1.1\r\n",
      "PRI * HTTP/2.0\r\n",
    ]
  ) {
    assert(isHttp(encoder.encode(line)), line);
  }
  for (const line of ['{"op":"get"}\n', "get / HTTP/1.1\n", "GETTER\n", "", "\n", " GET /\n"]) {
    assert(!isHttp(encoder.encode(line)), line);
  }
  const [head, body] = httpAnswer().split("\r\n\r\n");
  assert(head!.startsWith("HTTP/1.1 400 Bad Request\r\n"));
  assert(head!.includes(`\r\nContent-Length: ${encoder.encode(body).length}\r\n`));
  for (const line of body!.matchAll(/^ +({.*})$/gm)) assert(parse(line[1]!).op !== "refused");
});
