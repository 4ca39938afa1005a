/**
 * Plain puts: which texts are such, and that a store, told by bytes, is the same as one that is told by objects.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Change, Command, PutCommand } from "../../lib/kv/command.ts";
import type { FrozenKeys } from "../../lib/kv/keys.ts";
import type { Page } from "../../lib/kv/list.ts";
import { findPlainPut, type PlainPut } from "../../lib/kv/plain_put.ts";
import { Store } from "../../lib/kv/store.ts";
import { largeUnits } from "../../lib/kv/value_heap.ts";
import { command } from "./commands.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What is found at the beginning of a text. */
function find(text: string): PlainPut | null {
  return findPlainPut(encoder.encode(text), 0);
}

/** A change without what else it is. */
function asObject(change: Change): Change {
  const { key } = change;
  return change.type === "put" ? { type: change.type, key, value: change.value } : { type: change.type, key };
}

const printable = Array.from({ length: 0x5f }, (_, i) => String.fromCharCode(0x20 + i)).join("");
const plain = printable.replace(/["\\]/g, "");
const plainText = (maxLength: number) => fc.string({ unit: fc.constantFrom(...plain), maxLength });
const numbered = fc.oneof(
  fc.constant({}),
  fc.record({ session: fc.integer({ min: 1 }).map(String), seq: fc.integer({ min: 1 }) }),
);
const put: fc.Arbitrary<PutCommand> = fc.tuple(plainText(40), plainText(400), numbered)
  .map(([key, value, numbered]) => ({ op: "put", key: `k${key}`, value, ...numbered }));

Deno.test("findPlainPut() finds what JSON.stringify() makes of a put, wherever it stands, and its parts", () => {
  fc.assert(
    fc.property(put, fc.string(), (put, before) => {
      const text = JSON.stringify(put);
      const bytes = encoder.encode(before + text + "}\n");
      const from = encoder.encode(before).length;
      const found = findPlainPut(bytes, from)!;
      assertEquals([found.from, found.length], [from, text.length - 1]);
      assertEquals(found.toJSON(), put);
      assertEquals([found.op, found.type], ["put", "put"]);
      assertEquals([found.keyLength, found.valueLength], [put.key.length, put.value.length]);
      assertEquals(decoder.decode(found.valueBytes()), put.value);
      assertEquals(decoder.decode(found.keyBytes()), put.key);
    }),
    { numRuns: 500 },
  );
});

Deno.test("findPlainPut() finds nothing that JSON.parse() would read otherwise, or that is no put alone", () => {
  const others = [
    '{"op":"put","key":"a","value":"b\\n"',
    '{"op":"put","key":"a\\u0062","value":"b"',
    '{"op":"put","key":"a","value":"\u00e9"',
    '{"op":"put","key":"a\u0000","value":"b"',
    '{"op":"put","key":"a","value":"b\u007f"',
    '{"op":"put","key":"a","value":"b\t"',
    '{"op":"put","key":"","value":"b"',
    '{"op":"put","key":"a","value":"b',
    '{"op":"put","key":"a","value":1',
    '{"op":"put","key":"a"',
    '{"op":"put","value":"b","key":"a"',
    '{"op":"put", "key":"a","value":"b"',
    '{"op":"delete","key":"a"',
    '{"op":"put","key":"a","value":"b","session":"0","seq":1',
    '{"op":"put","key":"a","value":"b","session":"01","seq":1',
    '{"op":"put","key":"a","value":"b","session":"1","seq":0',
    '{"op":"put","key":"a","value":"b","session":"1","seq":01',
    '{"op":"put","key":"a","value":"b","session":"1","seq":-1',
    '{"op":"put","key":"a","value":"b","session":"1","seq":9007199254740993',
    '{"op":"put","key":"a","value":"b","session":"9999999999999999","seq":1',
    '{"op":"put","key":"a","value":"b","session":"1"',
    '{"op":"put","key":"a","value":"b","session":"x","seq":1',
    "",
    "{",
  ];
  for (const text of others) assertEquals(find(text), null, text);
});

Deno.test("findPlainPut() finds nothing in a text that ends too early, wherever that is", () => {
  const text = '{"op":"put","key":"a","value":"b","session":"12","seq":7';
  for (let length = 0; length < text.length; length++) {
    const isWithout = length >= 33 && length < 33 + ',"session":"'.length; // the put without a session is whole
    assertEquals(find(text.slice(0, length)) !== null, isWithout, text.slice(0, length));
  }
});

Deno.test("findPlainPut() leaves what stands behind it to others: only the brace makes a whole put of it", () => {
  for (const behind of ["", "}", ',"session":1,"seq":1}', ',"ttlMs":1}', ',"key":"c"}', ".5}"]) {
    assertEquals(find('{"op":"put","key":"a","value":"b"' + behind)!.length, 33);
  }
});

Deno.test("findPlainPut() finds no key and no value of more bytes than a slot may have", () => {
  for (
    const [key, value, isFound] of [
      [1, largeUnits, true],
      [1, largeUnits + 1, false],
      [largeUnits, 0, true],
      [
        largeUnits + 1,
        0,
        false,
      ],
    ] as const
  ) {
    const text = JSON.stringify({ op: "put", key: "k".repeat(key), value: "v".repeat(value) });
    assertEquals(find(text) !== null, isFound, `${key}, ${value}`);
  }
});

Deno.test("PlainPut.settle() makes it say the same by another copy of its text", () => {
  const text = encoder.encode('{"op":"put","key":"a","value":"b","session":"12","seq":7}');
  const found = findPlainPut(text, 0)!;
  const line = encoder.encode("before it: " + decoder.decode(text));
  found.settle(line, "before it: ".length);
  text.fill(0x78);
  assertEquals(found.toJSON(), { op: "put", key: "a", value: "b", session: "12", seq: 7 });
});

Deno.test("Store.apply() of plain puts does and answers what it does with the same puts as objects", () => {
  const steps = fc.array(
    fc.oneof(command as fc.Arbitrary<Command>, put, put.map((put) => ({ ...put, key: "a" }))),
    {
      maxLength: 60,
      size: "max",
    },
  );
  let found = 0;
  fc.assert(
    fc.property(steps, (steps) => {
      const byObjects = new Store(), byBytes = new Store();
      let frozen: FrozenKeys | null = null, expected: Page | null = null;
      for (const [i, step] of steps.entries()) {
        const index = 3 + 2 * i;
        const byText = find(JSON.stringify(step) + "}\n");
        const isWhole = byText !== null && byText.length === JSON.stringify(step).length - 1;
        if (isWhole) found++;
        assertEquals(byBytes.apply(isWhole ? byText : step, index), byObjects.apply(step, index));
        assertEquals(byBytes.takeChanges().map(asObject), byObjects.takeChanges());
        if (i !== 20) continue;
        frozen = byBytes.freezeKeys();
        expected = byBytes.list({ limit: 100 });
      }
      assertEquals(byBytes.digest(), byObjects.digest());
      if (frozen !== null) assertEquals(frozen.list({ limit: 100 }), expected!);
    }),
    { numRuns: 200 },
  );
  assert(found > 1000, `${found} plain puts`);
});
