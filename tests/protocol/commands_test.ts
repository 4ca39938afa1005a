import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import type { Command } from "../../lib/kv/command.ts";
import { parseRequest } from "../../lib/protocol/client_protocol.ts";
import { refusedByStore, type RequestError } from "../../lib/protocol/errors.ts";

const limits = { keyBytesMax: 4096, valueBytesMax: 1 << 20 };

/** The command of a request that is accepted. */
function commandOf(fields: object): Command {
  const request = parseRequest(new TextEncoder().encode(JSON.stringify(fields)), limits);
  assert("command" in request, JSON.stringify(request));
  return request.command;
}

/** The error of a request that must be refused. */
function refused(fields: object): RequestError {
  const request = parseRequest(new TextEncoder().encode(JSON.stringify(fields)), limits);
  assert(request.op === "refused", `must be refused: ${JSON.stringify(fields).slice(0, 80)}`);
  return request.error;
}

Deno.test("parseCommand() makes decimal text of what increment adds, without losing a digit", () => {
  const cases: [unknown, string][] = [
    [undefined, "1"],
    ["5", "5"],
    [-5, "-5"],
    [0, "0"],
    [Number.MAX_SAFE_INTEGER, "9007199254740991"],
    ["9007199254740993", "9007199254740993"],
    ["-0", "0"],
    ["007", "7"],
    ["9".repeat(1000), "9".repeat(1000)],
  ];
  for (const [by, expected] of cases) {
    assertEquals(commandOf({ op: "increment", key: "n", by }), { op: "increment", key: "n", by: expected });
  }
});

Deno.test("parseCommand() refuses to add what is no integer, or not exactly one", () => {
  for (
    const by of [
      null,
      true,
      [],
      {},
      1.5,
      2 ** 53,
      1e300,
      "",
      "x",
      "1.0",
      "+1",
      "1e3",
      " 1",
      "-",
      "9".repeat(1001),
    ]
  ) {
    const { code, message } = refused({ op: "increment", key: "n", by });
    assertEquals(code, "badRequest");
    assert(message.startsWith("by must be an integer"), message);
    assert(message.length < 300, "a long text is not quoted whole");
    assertStringIncludes(message, '{"op":"increment","key":"visits","by":"5"}');
  }
  assert(refused({ op: "increment" }).message.startsWith("key is missing"));
  assert(
    refused({ op: "increment", key: "n", ifVersion: 1 }).message.startsWith('unknown field "ifVersion"'),
  );
});

Deno.test("parseCommand() wants a bound for deleteRange, so that a forgotten field does not delete everything", () => {
  assert(refused({ op: "deleteRange" }).message.startsWith("prefix, start or end is missing"));
  assert(refused({ op: "deleteRange", session: "1", seq: 1 }).message.startsWith("prefix, start"));
  assert(refused({ op: "deleteRange", perfix: "a" }).message.includes('did you mean "prefix"?'));
  for (const range of [{ prefix: "" }, { prefix: "a", start: "b", end: "c" }, { end: "c" }]) {
    const command: unknown = { op: "deleteRange", ...range, session: "7", seq: 2 };
    assertEquals<unknown>(commandOf(command as object), command);
  }
  assertStringIncludes(
    refused({ op: "deleteRange", limit: 1 }).message,
    '{"op":"deleteRange","prefix":"user/"}',
  );
});

const text = fc.string({ unit: "binary", maxLength: 5 });
const key = text.filter((it) => it !== "");
const range = fc.record({ prefix: text, start: text, end: text }, { requiredKeys: [] })
  .filter((it) => Object.keys(it).length > 0);
const operation = fc.oneof(
  fc.record({ op: fc.constant("put"), key, value: text }),
  fc.record({ op: fc.constantFrom("get", "delete"), key }),
  fc.record({ op: fc.constant("increment"), key, by: fc.bigInt().map(String) }),
  range.map((it) => ({ op: "deleteRange", ...it })),
);
const wanted = fc.record({ version: fc.maxSafeNat(), value: text, exists: fc.boolean() }, {
  requiredKeys: [],
})
  .filter((it) => Object.keys(it).length > 0);
const condition = fc.tuple(key, wanted).map(([key, wanted]) => ({ key, ...wanted }));

Deno.test("parseCommand() makes of a transaction exactly that command, as the log will store it", () => {
  const txn = fc.record({
    op: fc.constant("txn"),
    if: fc.array(condition, { maxLength: 4 }),
    then: fc.array(operation, { maxLength: 6 }),
    else: fc.array(operation, { maxLength: 6 }),
  });
  fc.assert(fc.property(txn, (txn) => assertEquals<unknown>(commandOf(txn), txn)), { numRuns: 300 });
  const empty = { op: "txn", if: [], then: [], else: [] } as const;
  assertEquals<unknown>(commandOf({ op: "txn", then: [] }), empty);
  assertEquals<unknown>(commandOf({ op: "txn", then: [], session: "3", seq: 1 }), {
    ...empty,
    session: "3",
    seq: 1,
  });
});

Deno.test("parseCommand() says which item of a transaction is wrong, counted from 0", () => {
  const good = { op: "get", key: "a" };
  const cases: [object, string][] = [
    [{}, "then is missing"],
    [{ then: {} }, "then must be a list, not an object"],
    [{ then: [], if: "a" }, 'if must be a list, not "a"'],
    [{ then: [good, null] }, "then[1]: an item is a JSON object, not null"],
    [{ then: [good, []] }, "then[1]: an item is a JSON object, not an array"],
    [{ then: [{ op: "list" }] }, "then[0]: op must be one of put, get, delete, increment, deleteRange"],
    [{ then: [{ key: "a" }] }, "then[0]: op must be one of"],
    [{ then: [{ op: "txn", then: [] }] }, "then[0]: op must be one of"],
    [{ then: [good], else: [{ op: "put", key: "a" }] }, "else[0]: value is missing"],
    [
      { then: [{ op: "put", key: "a", value: "1", ifVersion: 0 }] },
      'then[0]: unknown field "ifVersion" for put',
    ],
    [{ then: [{ op: "delete", key: "a", session: "1", seq: 1 }] }, 'then[0]: unknown field "session"'],
    [{ then: [{ op: "get", key: "" }] }, "then[0]: key must have at least one byte"],
    [{ then: [{ op: "increment", key: "a", by: "x" }] }, "then[0]: by must be an integer"],
    [{ then: [{ op: "deleteRange" }] }, "then[0]: prefix, start or end is missing"],
    [{ then: [], if: [{ key: "a" }] }, "if[0]: a condition needs version, value or exists"],
    [{ then: [], if: [{ version: 1 }] }, "if[0]: key is missing"],
    [{ then: [], if: [{ key: "a", version: -1 }] }, "if[0]: version must be an integer"],
    [{ then: [], if: [{ key: "a", exists: 1 }] }, "if[0]: exists must be true or false"],
    [{ then: [], if: [{ key: "a", ifVersion: 1 }] }, 'if[0]: unknown field "ifVersion" for a condition'],
    [{ then: [], if: [{ key: "a", value: "\ud800" }] }, "if[0]: value must be well-formed Unicode"],
    [{ then: [], unless: [] }, 'unknown field "unless" for txn'],
  ];
  for (const [fields, start] of cases) {
    const { code, message } = refused({ op: "txn", ...fields });
    assertEquals(code, "badRequest");
    assert(message.startsWith(start), `${message} must start with ${start}`);
    assertStringIncludes(message, '; this works: {"op":"txn","if":');
  }
  const long = refused({ op: "txn", then: [good, { op: "get", key: "k".repeat(4097) }] });
  assertEquals([long.code, long.details], ["tooLarge", { limit: 4096 }]);
  assert(long.message.startsWith("then[1]: key has more than 4096 bytes"));
});

Deno.test("parseCommand() takes 128 items in each list of a transaction and not one more", () => {
  const full = {
    op: "txn",
    if: Array.from(
      { length: 128 },
      (_, i) => ({ key: `k${i}`, version: i, value: "v".repeat(100), exists: true }),
    ),
    then: Array.from({ length: 128 }, (_, i) => ({ op: "put", key: `k${i}`, value: "v".repeat(100) })),
    else: Array.from({ length: 128 }, (_, i) => ({ op: "increment", key: `k${i}`, by: String(i) })),
  };
  assertEquals<unknown>(commandOf(full), full);
  for (const name of ["if", "then", "else"] as const) {
    const { code, details, message } = refused({ ...full, [name]: [...full[name], full[name][0]] });
    assertEquals([code, details], ["tooLarge", { limit: 128 }]);
    assert(message.startsWith(`${name} has 129 items`), message);
  }
});

Deno.test("refusedByStore() says what a write would have done, where in a transaction, and the way out", () => {
  assertEquals(refusedByStore({ ok: false, code: "notInteger" }), {
    code: "notInteger",
    message: "the key's value is not a decimal integer, so nothing was changed: " +
      "see it with get, and give the key one with put",
    details: {},
  });
  const inTxn = refusedByStore({ ok: false, code: "notInteger", operation: 2 });
  assertEquals(inTxn.details, { operation: 2 });
  assert(inTxn.message.startsWith("operation 2, counted from 0, failed: the key's value"));
  const excesses = {
    digits: "the sum has",
    deletedKeys: "with deleteRange alone",
    answeredValues: "in another one",
  };
  for (const [what, part] of Object.entries(excesses)) {
    const { code, message, details } = refusedByStore({
      ok: false,
      code: "tooLarge",
      what: what as keyof typeof excesses,
      limit: 9,
    });
    assertEquals([code, details], ["tooLarge", { limit: 9 }]);
    assertStringIncludes(message, part);
    assertStringIncludes(message, "so nothing was changed");
  }
});
