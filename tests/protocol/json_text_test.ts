import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { findJsonError, isIntricate } from "../../lib/protocol/json_text.ts";

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    assert(error instanceof SyntaxError);
    return false;
  }
}

// Texts that are JSON, or nearly.
const damaged = fc.tuple(
  fc.json({ maxDepth: 3 }),
  fc.nat(),
  fc.constantFrom(...'{}[],:"\\ 01-.etn\u0001', ""),
)
  .map(([json, at, put]) => {
    const place = at % (json.length + 1);
    return json.slice(0, place) + put + json.slice(place + (at % 2));
  });
const soup = fc.string({
  unit: fc.constantFrom(...'{}[],:"\\u012e+-. tfn', "true", "null", '"a"', "\t"),
  maxLength: 12,
});

Deno.test("findJsonError() finds an error exactly where JSON.parse does", () => {
  const oneOf = fc.oneof(fc.json(), damaged, soup);
  fc.assert(fc.property(oneOf, (text) => assertEquals(findJsonError(text) === null, isJson(text), text)), {
    numRuns: 5000,
  });
});

Deno.test("findJsonError() points at the piece that cannot stand there", () => {
  const cases: [string, number | null][] = [
    ['{"op":"get","key":a}', 18],
    ['{"op":"get" "key":"a"}', 12],
    ['{"op":"get",}', 12],
    ['{"op":"get"', 11],
    ['{"op":"get', 6],
    ["{op:1}", 1],
    ["get a", 0],
    ["", 0],
    ['{"a":"\\x"}', 5],
    ["[1,2", 4],
    ["{]", 1],
    ["01", 1],
    ['{"a":1} {"a":2}', 8],
    [' {"a":[1,-2.5e3,true,null,"\\u00e9"]}\r', null],
    ["[".repeat(70_000), null],
  ];
  for (const [text, position] of cases) assertEquals(findJsonError(text), position, text.slice(0, 20));
});

Deno.test("isIntricate() counts brackets, commas and colons outside texts", () => {
  const json = fc.json({ maxDepth: 4 });
  fc.assert(
    fc.property(json, (text) => {
      const pieces = text.replaceAll(/"(\\.|[^"\\])*"/g, "").replaceAll(/[^[{,:]/g, "").length;
      assert(!isIntricate(text, pieces));
      if (pieces > 0) assert(isIntricate(text, pieces - 1));
    }),
    { numRuns: 1000 },
  );
});

Deno.test("isIntricate() comes to an end on texts that are not JSON, in time that grows with their length", () => {
  const started = performance.now();
  for (const piece of ['"', "\\", '\\"', '"\\', " ", "x", '"\\\\"']) {
    assert(!isIntricate(piece.repeat((1 << 20) / piece.length), 10));
    assert(!isIntricate('"' + piece.repeat((1 << 20) / piece.length), 10));
  }
  // Quadratic time would be minutes.
  assert(performance.now() - started < 5000);
});
