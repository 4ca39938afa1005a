import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Result } from "../../lib/kv/command.ts";
import {
  allSessionsUnitsMax,
  answersMax,
  Sessions,
  sessionsMax,
  sessionUnitsMax,
} from "../../lib/kv/sessions.ts";

function answer(index: number): Result {
  return { ok: true, index, version: index };
}

/** Runs a write whose answer shows which run it was. */
function runner(sessions: Sessions): (name: string, seq: number) => { result: Result; ran: boolean } {
  let runs = 0;
  return (name, seq) => {
    let ran = false;
    const result = sessions.once(name, seq, () => {
      ran = true;
      return answer(++runs);
    });
    return { result, ran };
  };
}

Deno.test("Sessions.once() runs a number once and gives its first answer again (thesis 6.3)", () => {
  const sessions = new Sessions();
  const once = runner(sessions);
  const name = sessions.open(17);
  assertEquals(name, "17");
  assertEquals(once(name, 1), { result: answer(1), ran: true });
  assertEquals(once(name, 1), { result: answer(1), ran: false });
  assertEquals(once(name, 3), { result: answer(2), ran: true });
  assertEquals(once(name, 2), { result: answer(3), ran: true });
  assertEquals(once(name, 3), { result: answer(2), ran: false });
});

Deno.test("Sessions.once() tells an unknown session so, and runs nothing", () => {
  const sessions = new Sessions();
  const once = runner(sessions);
  sessions.open(1);
  for (const name of ["2", "01", "__proto__", ""]) {
    assertEquals(once(name, 1), {
      result: { ok: false, code: "sessionExpired", session: name },
      ran: false,
    });
  }
});

Deno.test("Sessions keep the answers to the last 128 numbers, and run none below them", () => {
  const sessions = new Sessions();
  const once = runner(sessions);
  const name = sessions.open(1);
  for (let seq = 1; seq <= answersMax; seq++) once(name, seq);
  assertEquals(once(name, 1), { result: answer(1), ran: false });
  once(name, answersMax + 1);
  assertEquals(once(name, 1), {
    result: { ok: false, code: "seqTooOld", session: name, seq: 1, oldest: 2 },
    ran: false,
  });
  assertEquals(once(name, 2), { result: answer(2), ran: false });
});

Deno.test("Sessions take any sequence of numbers: each runs at most once, and is answered alike while it is kept", () => {
  // Mostly neighbours, some far away, to leap over the window in both directions.
  const number = fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 1, max: 300 }) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(5000, 5001, Number.MAX_SAFE_INTEGER - 1, Number.MAX_SAFE_INTEGER),
    },
  );
  fc.assert(
    fc.property(fc.array(number, { maxLength: 400, size: "max" }), (numbers) => {
      const sessions = new Sessions();
      const once = runner(sessions);
      const name = sessions.open(1);
      const first = new Map<number, Result>();
      let highest = 0;
      for (const seq of numbers) {
        const { result, ran } = once(name, seq);
        const isTooOld = seq <= highest - answersMax;
        assertEquals(ran, !isTooOld && !first.has(seq));
        if (isTooOld) assertEquals(result.ok, false);
        else if (ran) first.set(seq, result);
        else assertEquals(result, first.get(seq));
        highest = Math.max(highest, seq);
      }
    }),
    { numRuns: 200 },
  );
});

Deno.test("Sessions forget all earlier answers when the numbers leap ahead, and hold no more of them", () => {
  const sessions = new Sessions();
  const once = runner(sessions);
  const name = sessions.open(1);
  for (const seq of [1, 2, 1000]) once(name, seq);
  assertEquals([...sessions.lines()].map((line) => JSON.parse(line)), [
    { session: name, forgotten: 1000 - answersMax, answers: [[1000, answer(3)]] },
  ]);
});

Deno.test("Sessions make room by expiring the one that was not used for the longest time, in the order of the log", () => {
  const sessions = new Sessions();
  const once = runner(sessions);
  for (let index = 1; index <= sessionsMax; index++) sessions.open(index);
  once("1", 1);
  sessions.open(sessionsMax + 1);
  assertEquals(sessions.size, sessionsMax);
  assertEquals(once("2", 1).result, { ok: false, code: "sessionExpired", session: "2" });
  assertEquals(once("1", 1), { result: answer(1), ran: false });
  assertEquals(once("3", 1).ran, true);
});

function withPrevious(units: number): Result {
  return { ok: true, index: 1, version: 1, previous: { value: "x".repeat(units), version: 1 } };
}

Deno.test("Sessions hold few long answers: older ones are forgotten, the last one never", () => {
  const sessions = new Sessions();
  const name = sessions.open(1);
  const half = withPrevious(sessionUnitsMax / 2);
  const kept = (seq: number) => sessions.once(name, seq, () => half) === half;
  kept(1);
  kept(2);
  assertEquals([kept(1), kept(2)], [true, true]);
  kept(3);
  assertEquals([kept(1), kept(2), kept(3)], [false, true, true]);
  sessions.once(name, 4, () => withPrevious(2 * sessionUnitsMax));
  assertEquals([kept(2), kept(3)], [false, false]);
  assertEquals(sessions.once(name, 4, () => half), withPrevious(2 * sessionUnitsMax));
});

Deno.test("Sessions together hold a bounded amount, however many there are", () => {
  const sessions = new Sessions();
  const full = withPrevious(sessionUnitsMax);
  const fit = allSessionsUnitsMax / sessionUnitsMax;
  for (let index = 1; index <= 3 * fit; index++) {
    const name = sessions.open(index);
    for (const seq of [1, 2, 3]) sessions.once(name, seq, () => full);
  }
  assertEquals(sessions.size, fit);
});

Deno.test("Sessions.answerTo() knows the first answers of open sessions, and uses none of them", () => {
  const sessions = new Sessions();
  for (let index = 1; index <= sessionsMax; index++) sessions.open(index);
  sessions.once("2", 7, () => answer(1));
  sessions.once("1", 7, () => answer(2));
  assertEquals(sessions.answerTo("1", 7), answer(2));
  assertEquals(sessions.answerTo("2", 7), answer(1));
  assertEquals([sessions.answerTo("2", 8), sessions.answerTo("0", 7)], [null, null]);
  const lines = [...sessions.lines()];
  sessions.answerTo("3", 1);
  assertEquals([...sessions.lines()], lines, "every node holds the same, whoever was asked");
});
