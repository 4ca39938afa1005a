import { assert, assertEquals } from "@std/assert";
import { nearest } from "../../lib/protocol/nearest.ts";

Deno.test("nearest() names what was probably meant, and nothing when it is a guess", () => {
  const names = ["put", "get", "delete", "list", "session", "status"];
  const cases: [string, string | null][] = [
    ["put", "put"],
    ["PUT", "put"],
    ["gte", "get"],
    ["gett", "get"],
    ["detele", "delete"],
    ["lst", "list"],
    ["statsu", "status"],
    ["sesion", "session"],
    ["increment", null],
    ["frobnicate", null],
    ["", null],
    ["x", null],
  ];
  for (const [word, name] of cases) assertEquals(nearest(word, names), name, word.slice(0, 20));
  assertEquals(nearest("put", []), null);
  assertEquals(nearest("aa", ["ab", "aa", "ac"]), "aa");
  assertEquals(nearest("ax", ["ab", "ac"]), "ab");
});

Deno.test("nearest() does not compare words longer than any name, which would take long", () => {
  const started = performance.now();
  assertEquals(nearest("put".repeat(3_000_000), ["put", "get", "delete", "list", "session", "status"]), null);
  assert(performance.now() - started < 1000);
});
