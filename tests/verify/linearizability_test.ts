/**
 * The checker is checked: it must accept what is possible, agree with a search of all orders on what may not be, and
 * reach the known verdicts on histories that others recorded (where those are present; they are not part of the
 * project).
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { explain, picture } from "../../lib/verify/explain.ts";
import { checkRegister } from "../../lib/verify/linearizability.ts";
import { byKey, type Operation } from "../../lib/verify/operation.ts";
import { Random } from "../sim/random.ts";
import { bruteForce, mutated, readJepsen, readKeys, validHistory } from "./histories.ts";

/** `KVAPP_HISTORIES=10000` qualifies it in full. */
const count = Number(Deno.env.get("KVAPP_HISTORIES") ?? 1000);

function get(client: string, call: number, end: number, value: string | null): Operation {
  return { client, key: "k", op: "get", call, return: end, value };
}

function put(client: string, call: number, end: number | null, value: string): Operation {
  return { client, key: "k", op: "put", call, return: end, value };
}

function isPossible(...operations: Operation[]): boolean {
  const { linearizable } = checkRegister(operations);
  assert(linearizable !== "unknown");
  return linearizable;
}

Deno.test("checkRegister() accepts any order of what overlaps, and real time of what does not (Herlihy and Wing)", () => {
  assert(isPossible());
  assert(isPossible(put("a", 0, 9, "1"), put("b", 1, 8, "2"), get("c", 10, 11, "1")));
  assert(isPossible(put("a", 0, 9, "1"), put("b", 1, 8, "2"), get("c", 10, 11, "2")));
  assert(isPossible(put("a", 0, 9, "1"), get("b", 1, 2, "1"), get("c", 3, 4, "1")));
  assert(!isPossible(put("a", 0, 9, "1"), get("b", 1, 2, "1"), get("c", 3, 4, null)), "it goes back");
  assert(!isPossible(put("a", 0, 1, "1"), put("b", 2, 3, "2"), get("c", 4, 5, "1")), "a stale read");
  assert(!isPossible(put("a", 0, 1, "1"), get("c", 2, 3, null)), "a lost write");
  assert(!isPossible(get("c", 0, 1, "1"), put("a", 2, 3, "1")), "a read of the future");
});

Deno.test("checkRegister() lets an operation of unknown outcome happen at any time after its call, or never", () => {
  const open = put("a", 0, null, "1");
  assert(isPossible(open, get("b", 5, 6, null), get("b", 7, 8, "1")));
  assert(isPossible(open, get("b", 5, 6, null)));
  assert(!isPossible(open, get("b", 5, 6, "1"), get("b", 7, 8, null)), "but once");
  const cas: Operation = { client: "a", key: "k", op: "cas", call: 0, return: null, from: "1", to: "2" };
  assert(isPossible(cas, put("b", 1, 2, "1"), get("b", 3, 4, "2")));
  assert(!isPossible(cas, put("b", 1, 2, "3"), get("b", 3, 4, "2")), "and only when its condition holds");
});

Deno.test("checkRegister() knows conditions, deletions and sums", () => {
  const cas = (succeeded: boolean): Operation => (
    { client: "a", key: "k", op: "cas", call: 2, return: 3, from: "1", to: "2", succeeded }
  );
  const remove = (deleted: boolean): Operation => ({
    client: "a",
    key: "k",
    op: "delete",
    call: 2,
    return: 3,
    deleted,
  });
  const add = (sum: string): Operation => ({
    client: "a",
    key: "k",
    op: "increment",
    call: 2,
    return: 3,
    by: "-5",
    sum,
  });
  const one = put("b", 0, 1, "1");
  assertEquals([isPossible(one, cas(true)), isPossible(one, cas(false)), isPossible(cas(true))], [
    true,
    false,
    false,
  ]);
  assertEquals([isPossible(one, remove(true)), isPossible(one, remove(false))], [true, false]);
  assertEquals([isPossible(one, add("-4")), isPossible(one, add("-5")), isPossible(add("-5"))], [
    true,
    false,
    true,
  ]);
});

Deno.test("checkRegister() accepts every history that is linearizable by its making", () => {
  const random = new Random("valid");
  for (let i = 0; i < count; i++) {
    const history = validHistory(random, {
      operations: 1 + random.below(60),
      clients: 1 + random.below(8),
      values: 1 + random.below(5),
    });
    assert(isPossible(...history), `history ${i}`);
  }
});

Deno.test("checkRegister() agrees with a search of all orders on histories that were tampered with", () => {
  const random = new Random("mutated");
  let impossible = 0;
  for (let i = 0; i < count; i++) {
    const options = {
      operations: 1 + random.below(8),
      clients: 1 + random.below(4),
      values: 1 + random.below(3),
    };
    const history = mutated(random, validHistory(random, options), options.values);
    const expected = bruteForce(history);
    if (!expected) impossible++;
    assertEquals(isPossible(...history), expected, `history ${i}: ${JSON.stringify(history)}`);
  }
  assertGreater(impossible, count / 20);
});

Deno.test("checkRegister() gives up rather than search for ever, and does not call that an answer", () => {
  const many = Array.from({ length: 24 }, (_, i) => put(`c${i}`, i, 100 + i, `${i}`));
  const verdict = checkRegister([...many, get("r", 200, 201, "none of them")], 10_000);
  assertEquals(verdict.linearizable, "unknown");
});

Deno.test("explain() shows what fits nowhere among what was going on, in words and as a picture", () => {
  const history = [put("a", 0, 1, "<old>"), put("b", 2, 3, "new"), get("c", 4, 5, "<old>")];
  const verdict = checkRegister(history);
  assert(verdict.linearizable === false);
  const text = explain(history, verdict);
  assertStringIncludes(text, 'The operations on key "k" have no order');
  assertStringIncludes(text, 'An order of 2 of 3 operations is possible; the key is then "new"');
  assertStringIncludes(text, ">>>  4.000 - 5.000 ms");
  assertStringIncludes(text, 'get: "<old>"');
  const page = picture(history, verdict);
  assertStringIncludes(page, 'class="stuck"');
  assert(!page.includes("<old>"), "what was stored is no markup");
  assertEquals(page.match(/<rect/g)!.length, 3);
});

const recorded = new URL("../../../shared/data/histories/", import.meta.url);
const isThere = await Deno.stat(recorded).then(() => true, () => false);

Deno.test({
  name: "checkRegister() reaches the known verdict on every history that others recorded",
  ignore: !isThere,
  async fn() {
    const verdicts = JSON.parse(await Deno.readTextFile(new URL("verdicts.json", recorded)));
    for (const [name, expected] of Object.entries(verdicts)) {
      const text = await Deno.readTextFile(new URL(name, recorded));
      const history = name.startsWith("jepsen/") ? readJepsen(text) : readKeys(text);
      assertGreater(history.length, 20, name);
      const found = [...byKey(history).values()].map((own) => checkRegister(own).linearizable);
      assert(!found.includes("unknown"), name);
      assertEquals(found.every((it) => it === true), expected, name);
    }
    assertEquals(Object.keys(verdicts).length, 54);
  },
});
