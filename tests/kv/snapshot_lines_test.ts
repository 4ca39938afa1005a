import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { answersMax, sessionsMax, sessionUnitsMax } from "../../lib/kv/sessions.ts";
import { Store } from "../../lib/kv/store.ts";

Deno.test("Store.restoreLine() refuses a line that is not what it should be, naming the field, and never throws", () => {
  const key = { key: "a", value: "1", version: 1 };
  const session = { session: "1", forgotten: 0, answers: [] };
  const answers = (...answers: unknown[]) => ({ ...session, answers });
  const answer = (answer: unknown) => answers([1, answer]);
  const done = { ok: true, index: 2 };
  const cases: [unknown, string][] = [
    [null, "the line must be an object"],
    ["text", "the line must be an object"],
    [[key], "the line must be an object"],
    [{}, "key is missing"],
    [{ ...key, key: 1 }, "key must be a text"],
    [{ key: "a", version: 1 }, "value is missing"],
    [{ ...key, value: null }, "value must be a text"],
    [{ ...key, value: "\ud83d" }, "value must be well-formed Unicode"],
    ...[0, -1, 1.5, "1", 2 ** 53].map((
      version,
    ): [unknown, string] => [{ ...key, version }, "version must be an integer from 1"]),
    [{ ...key, expires: 1 }, "expires is a field that this version of kvapp does not know"],
    [JSON.parse('{"key":"a","value":"1","version":1,"__proto__":1}'), "__proto__ is a field"],
    ...[1, "", "0", "01", "1.5", "1e3", "-1", "a", "9007199254740993"].map((
      name,
    ): [unknown, string] => [{ ...session, session: name }, "session must be an index as text"]),
    [{ ...session, forgotten: -1 }, "forgotten must be an integer from 0"],
    [{ ...session, key: "a" }, "key is a field"],
    [{ session: "1", forgotten: 0 }, "answers is missing"],
    [{ ...session, answers: {} }, "answers must be an array"],
    [answers(1), "answers[0] must be a number and its answer"],
    [answers([1]), "answers[0] must be a number and its answer"],
    [answers(["1", done]), "answers[0][0] must be an integer from 1"],
    [answer(null), "answers[0][1] must be an object"],
    [answer({}), "answers[0][1].ok is missing"],
    [answer(done), "answers[0][1].version is missing"],
    [answer({ ...done, version: 2, ok: false }), "answers[0][1].ok must be true"],
    [answer({ ...done, version: 2, previous: 5 }), "answers[0][1].previous must be an object"],
    [answer({ ...done, version: 2, previous: { value: "" } }), "answers[0][1].previous.version is missing"],
    [answer({ ...done, version: 2, session: "1" }), "answers[0][1].session is a field"],
    [answer({ ...done, deleted: "1" }), "answers[0][1].deleted must be an integer from 0"],
    [answer({ ...done, deleted: 1, more: false }), "answers[0][1].more must be true"],
    [answer({ ...done, value: 1, version: 1 }), "answers[0][1].value must be a text"],
    [answer({ ...done, succeeded: true, results: {} }), "answers[0][1].results must be an array"],
    [answer({ ...done, succeeded: true, results: [{}] }), "answers[0][1].results[0].ok is missing"],
    [answer({ ...done, succeeded: 1, results: [] }), "answers[0][1].succeeded must be true or false"],
    [
      answer({ ok: false, code: "seqTooOld" }),
      "answers[0][1].code must be one of conditionFailed, notInteger",
    ],
    [answer({ ok: false, code: "constructor" }), "answers[0][1].code must be one of"],
    [answer({ ok: true, code: "notInteger" }), "answers[0][1].ok must be false"],
    [
      answer({ ok: false, code: "tooLarge", what: "toString", limit: 1 }),
      "answers[0][1].what must be one of",
    ],
  ];
  for (const [line, wrong] of cases) {
    const store = new Store();
    assertStringIncludes(store.restoreLine(line) ?? "null", wrong);
    assertStringIncludes(store.restoreLine(key) ?? "null", wrong, "what follows cannot make it right");
    assertStringIncludes(store.finishRestore(9) ?? "null", wrong);
  }
  for (const line of [key, session]) assertEquals(new Store().restoreLine(line), null);
  fc.assert(fc.property(fc.jsonValue(), (line) => assert(new Store().restoreLine(line) !== null)));
});

Deno.test("Store.restoreLine() refuses lines out of order and sessions beyond the bounds", () => {
  const key = (key: string) => ({ key, value: "", version: 1 });
  const done = { ok: true, deleted: false, index: 2 };
  const session = (name: number, forgotten = 0, answers: [number, unknown][] = []) => (
    { session: String(name), forgotten, answers }
  );
  const long = (units: number) => ({ ...done, previous: { value: "x".repeat(units), version: 1 } });
  const many = Array.from({ length: sessionsMax + 1 }, (_, i) => session(i + 1));
  const full = Array.from({ length: 17 }, (_, i) => session(i + 1, 0, [[1, long(sessionUnitsMax)]]));
  const cases: [unknown[], string | null][] = [
    [[key(""), key("a"), key("aa"), key("b")], null],
    [[key("b"), key("a")], "key must come after that of the line before"],
    [[key("a"), key("a")], "key must come after that of the line before"],
    [[key("\ue000"), key("\u{1f600}")], null],
    [[key("\u{1f600}"), key("\ue000")], "key must come after that of the line before"],
    [[session(2), session(1)], null],
    [[session(1), key("a")], "key must not come after a session"],
    [[session(1), session(2), session(1)], "session 1 was there before"],
    [[session(1, 5, [[6, done], [8, done], [5 + answersMax, done]])], null],
    [[session(1, 5, [[5, done]])], "answers[0][0] must be above 5"],
    [[session(1, 0, [[2, done], [2, done]])], "answers[1][0] must be above 2"],
    [[session(1, 5, [[6 + answersMax, done]])], `answers[0][0] is more than ${answersMax} above forgotten`],
    [[session(1, 0, [[1, long(2 * sessionUnitsMax)]])], null],
    [[session(1, 0, [[1, long(sessionUnitsMax)], [2, long(1)]])], "answers hold more than a session may"],
    [many.slice(1), null],
    [many, "session 10001 is more than all sessions together may hold"],
    [full.slice(1), null],
    [full, "session 17 is more than all sessions together may hold"],
  ];
  for (const [lines, expected] of cases) {
    const store = new Store();
    assertEquals(lines.map((line) => store.restoreLine(line)).at(-1), expected);
  }
});
