import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { AssertionFailed } from "../lib/assert.ts";
import { ByteQueue } from "../lib/byte_queue.ts";

/** A record that is told from others of its length. */
function record(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => seed + i);
}

Deno.test("ByteQueue gives back what was added, under its number, until that is dropped, whatever the lengths", () => {
  type Step = { do: "add" | "drop" | "restart"; size: number };
  const size = fc.oneof(fc.nat(300), fc.nat(40_000), fc.constant(32 << 10), fc.constant(70_000));
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 20, arbitrary: fc.record({ do: fc.constant("add" as const), size }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("drop" as const), size: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const), size: fc.nat(1000) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
      const queue = new ByteQueue();
      let first = 0;
      let model: Uint8Array[] = [];
      for (const [i, { do: what, size }] of steps.entries()) {
        if (what === "add") {
          const added = record(size, i);
          model.push(added.slice());
          queue.add(added);
          added.fill(0); // it is the caller's
        } else if (what === "drop") {
          const count = Math.min(size, model.length);
          model.splice(0, count);
          first += count;
          queue.dropBefore(first);
        } else {
          model = [];
          queue.restart(first = size);
        }
        assertEquals([queue.first, queue.end], [first, first + model.length]);
      }
      const same = model.every((expected, i) => {
        const found = queue.at(first + i);
        return queue.lengthAt(first + i) === expected.length &&
          found.every((byte, at) => byte === expected[at]);
      });
      assert(same, "each record is what it was");
      for (const number of [first - 1, first + model.length, 0.5]) {
        assertThrows(() => queue.at(number), AssertionFailed);
      }
      assertThrows(() => queue.dropBefore(queue.end + 1), AssertionFailed);
    }),
    { numRuns: 60 },
  );
});

Deno.test("ByteQueue puts new records where dropped ones were: what has its size takes no more memory", () => {
  const queue = new ByteQueue();
  const buffers = new Set<ArrayBufferLike>();
  for (let number = 0; number < 20_000; number++) {
    queue.add(record(300, number));
    queue.dropBefore(Math.max(0, queue.end - 1000));
    buffers.add(queue.at(number).buffer);
  }
  assert(buffers.size < 10, `${buffers.size} buffers for a thousand records of 300 bytes`);
});
