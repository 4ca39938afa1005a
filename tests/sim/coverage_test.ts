import { assertEquals } from "@std/assert";
import { missingIn, required } from "./coverage.ts";
import { simulate } from "./simulation.ts";

Deno.test("missingIn() names what a batch has too little of, by its size", () => {
  const enough = { ...required, events: 50e6 };
  assertEquals(missingIn(enough), []);
  assertEquals(
    missingIn({ ...enough, events: 100e6, crashes: 20_000 }).length,
    Object.keys(required).length - 1,
  );
  assertEquals(missingIn({ ...enough, wiped: 49 }), ["49 wiped in 50000000 events, 50 are required"]);
});

Deno.test("missingIn() requires only what a seed counts", () => {
  const { counters } = simulate(1);
  assertEquals(Object.keys(required).filter((name) => !(name in counters)), []);
});
