import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { AssertionFailed } from "../../lib/assert.ts";
import { Random } from "../../lib/chaos/random.ts";
import type { Stored } from "../../lib/kv/command.ts";
import { type Held, largeUnits, type NewValue, ValueHeap } from "../../lib/kv/value_heap.ts";

const MiB = 1 << 20;

/** Values of all sizes, of characters that take one to four bytes. */
function draw(random: Random, version: number): Stored {
  const unit = ["a", "\u00e9", "\u4e00", "\u{1f600}"][random.below(4)]!;
  const value = unit.repeat(random.below(10) === 0 ? random.below(120_000) : random.below(400));
  return random.below(3) === 0 ? { value, version, expiresAt: random.below(2 ** 40) } : { value, version };
}

/** The same with its value as UTF-8, unless that is large. */
function asBytes(stored: Stored): NewValue {
  const value = new TextEncoder().encode(stored.value);
  return value.length > largeUnits ? stored : { ...stored, value };
}

Deno.test("ValueHeap() shows every frozen state until it is released, whatever order they are released in", () => {
  const random = new Random("value heap");
  const heap = new ValueHeap();
  const state = new Map<number, { held: Held; stored: Stored }>();
  const frozen: { number: number; state: Map<number, { held: Held; stored: Stored }> }[] = [];
  const assertSame = (state: Map<number, { held: Held; stored: Stored }>): void => {
    for (const { held, stored } of state.values()) assertEquals(heap.get(held), stored);
  };
  for (let i = 0; i < 30_000; i++) {
    const at = random.below(100);
    const known = state.get(at);
    const stored = draw(random, i);
    const given = random.chance(1 / 2) ? asBytes(stored) : stored;
    if (known === undefined) state.set(at, { held: heap.add(given), stored });
    else if (random.below(4) > 0) state.set(at, { held: heap.replace(known.held, given), stored });
    else {
      heap.drop(known.held);
      state.delete(at);
    }
    if (random.below(200) === 0) frozen.push({ number: heap.freeze(), state: new Map(state) });
    if (random.below(200) === 0 && frozen.length > 0) {
      const [{ number, state }] = frozen.splice(random.below(frozen.length), 1) as [typeof frozen[0]];
      assertSame(state);
      heap.release(number);
    }
    if (i % 1000 === 0) assertSame(state);
  }
  assertSame(state);
  for (const { number, state } of frozen) {
    assertSame(state);
    heap.release(number);
  }
  for (const { held } of state.values()) heap.drop(held);
  assertLess(heap.bytes, 32 * MiB); // one slab of each size
  assertEquals(heap.frozen, 0);
});

Deno.test("ValueHeap.replace() takes no memory for a value of the same size, unless a frozen state shows the old one", () => {
  const heap = new ValueHeap();
  const stored = (version: number): Stored => ({ value: String(version).padEnd(1000), version });
  let refs = Array.from({ length: 10_000 }, (_, i) => heap.add(stored(i)));
  const { bytes } = heap;
  const replaceAll = (): void => void (refs = refs.map((held, i) => heap.replace(held, stored(i + 1))));
  for (let i = 0; i < 3; i++) replaceAll();
  assertEquals(heap.bytes, bytes);
  const number = heap.freeze();
  for (let i = 0; i < 3; i++) replaceAll();
  assert(heap.bytes > 1.9 * bytes && heap.bytes < 2.1 * bytes);
  heap.release(number);
  for (let i = 0; i < 3; i++) replaceAll();
  assert(heap.bytes < 2.1 * bytes);
});

Deno.test("ValueHeap.replace() keeps no large slot for a value that became small, and none for a large one", () => {
  const heap = new ValueHeap();
  const kept: Held[] = [];
  for (const [i, size] of [4096, 4097, 1 << 20].entries()) {
    const helds = Array.from({ length: 2000 }, () => heap.add({ value: "v".repeat(size), version: 1 }));
    kept.push(...helds.map((held) => heap.replace(held, { value: "w", version: i })));
  }
  assertEquals(new Set(kept).size, kept.length);
  assert(kept.every((held) => heap.get(held).value === "w"));
  assertLess(heap.bytes, MiB);
});

Deno.test("ValueHeap.add() takes little more memory than a text has bytes, whatever characters it has", () => {
  for (const unit of ["a", "aaaaaaaaaaaaaaaaaaa\u00e9", "\u00e9", "\u4e00", "\u{1f600}"]) {
    const heap = new ValueHeap();
    const value = unit.repeat(Math.ceil(1000 / unit.length));
    const bytes = new TextEncoder().encode(value).length;
    for (let i = 0; i < 5000; i++) heap.add({ value, version: i });
    assertLess(heap.bytes, 1.25 * 5000 * bytes);
  }
});

Deno.test("ValueHeap.move() gives memory back that few values of many had left nearly empty", () => {
  const heap = new ValueHeap();
  for (const size of [50, 100, 200, 400, 800]) {
    const refs = Array.from(
      { length: 64 * MiB / size },
      (_, i) => heap.add({ value: "v".repeat(size), version: i }),
    );
    // One stays of those that fill a slab.
    for (const [i, held] of refs.entries()) if (i % 300 > 0) heap.drop(held);
    let kept = refs.filter((_, i) => i % 300 === 0);
    for (let i = 0; i < 2; i++) {
      kept = kept.map((held) => heap.isSparse && heap.isBadPlace(held) ? heap.move(held) : held);
    }
    assert(!heap.isSparse);
    assertEquals(kept.map((held) => heap.get(held).version), kept.map((_, i) => i * 300));
    assertLess(heap.bytes, 36 * MiB);
  }
});

Deno.test("ValueHeap.isBadPlace() leaves a value where it is when it would be moved to the same slab", () => {
  const heap = new ValueHeap(0);
  const held = heap.add({ value: "only one", version: 1 });
  assert(heap.isSparse && !heap.isBadPlace(held));
});

Deno.test("ValueHeap.drop() gives the number of a slab back with its memory: they are not without end", () => {
  const heap = new ValueHeap();
  const stored = { value: "\u4e00".repeat(4096), version: 1 };
  const refs = Array.from({ length: 30 }, () => heap.add(stored)); // there is room for 19 in a slab
  heap.drop(refs[0]!);
  const slabs = new Set<number>();
  for (let i = 0; i < 100; i++) {
    for (const held of refs.splice(10)) heap.drop(held); // the second slab is gone
    while (refs.length < 30) refs.push(heap.add(stored));
    slabs.add(Math.floor(Number(refs.at(-1)) / (1 << 15)));
  }
  assertEquals(slabs.size, 1);
});

Deno.test("ValueHeap.add() refuses what UTF-8 would change: half a pair of surrogates", () => {
  const heap = new ValueHeap();
  const held = heap.add({ value: "", version: 1 });
  assertThrows(() => heap.add({ value: "\ud83d", version: 2 }), AssertionFailed, "well-formed");
  assertThrows(() => heap.replace(held, { value: "\ude00", version: 2 }), AssertionFailed, "well-formed");
  assertEquals(heap.get(held), { value: "", version: 1 });
});

Deno.test("ValueHeap.add() takes no large value as bytes, which nobody could read again", () => {
  const heap = new ValueHeap();
  const value = new Uint8Array(largeUnits).fill(0x78);
  assertEquals(heap.get(heap.add({ value, version: 1 })).value, "x".repeat(largeUnits));
  assertThrows(() => heap.add({ value: new Uint8Array(largeUnits + 1), version: 1 }), AssertionFailed);
});
