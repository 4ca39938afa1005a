import { assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "@std/assert";
import fc from "fast-check";
import { Histogram } from "../../lib/cli/histogram.ts";

Deno.test("Histogram.quantile() is exact below 128 and never off by more than 1 in 64 above", () => {
  const values = fc.array(
    fc.integer({ min: 0, max: 2 ** 31 - 1 }).chain((max) => fc.integer({ min: 0, max })),
    {
      minLength: 1,
    },
  );
  fc.assert(fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (values, q) => {
    const histogram = new Histogram();
    for (const value of values) histogram.record(value);
    const exact = values.toSorted((a, b) => a - b)[Math.max(1, Math.ceil(q * values.length)) - 1]!;
    const found = histogram.quantile(q);
    assertGreaterOrEqual(found, exact);
    assertLessOrEqual(found, exact < 128 ? exact : exact * (1 + 1 / 64));
  }));
});

Deno.test("Histogram.quantile() gives the greatest value for 1, and 0 when it holds nothing", () => {
  const histogram = new Histogram();
  assertEquals(histogram.quantile(0.5), 0);
  for (const value of [1_000_003, 5.4, 2 ** 40]) histogram.record(value);
  assertEquals(histogram.count, 3);
  assertEquals(histogram.quantile(0), 5);
  assertEquals(histogram.quantile(1), 2 ** 31 - 1);
});

Deno.test("Histogram.buckets tells how many values are where, within 1 in 64", () => {
  const histogram = new Histogram();
  for (const value of [5, 5, 127, 128, 1000, 1001]) histogram.record(value);
  assertEquals(histogram.buckets, [[5, 2], [127, 1], [129, 1], [1007, 2]]);
});
