/**
 * Bytes that share buffers: each array shows what it was made of, whatever is made beside it.
 *
 * @module
 */

import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import {
  Arena,
  concat,
  decodeAscii,
  decodeText,
  endOfDigits,
  hasAt,
  Joiner,
  merged,
  readDecimal,
} from "../lib/bytes.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (array: Uint8Array): string => new TextDecoder().decode(array);

Deno.test("Arena.encode() and Arena.copy() make arrays that stay as they are, side by side, in many buffers", () => {
  const arena = new Arena(1000);
  const texts = Array.from({ length: 2000 }, (_, i) => "añ€😀".repeat(i % 7) + i).concat(
    "x".repeat(5000),
    "",
  );
  const made = texts.map((one, i) => i % 2 === 0 ? arena.encode(one) : arena.copy(bytes(one)));
  assertEquals(made.map(text), texts);
  const buffers = new Set(made.map(({ buffer }) => buffer));
  assert(buffers.size < texts.length / 10, "they share buffers");
});

Deno.test("Arena.copy() does not follow what it was made of", () => {
  const source = bytes("before");
  const copies = [new Arena(100).copy(source), new Arena(2).copy(source)];
  source.fill(0);
  assertEquals(copies.map(text), ["before", "before"]);
});

Deno.test("merged() puts together what lies side by side in one buffer, and nothing else", () => {
  const arena = new Arena(1000);
  const [a, b, c] = ["one", "two", "three"].map((one) => arena.encode(one));
  const other = bytes("other");
  assertEquals(merged([a!, b!, c!]).map(text), ["onetwothree"]);
  assertEquals(merged([a!, c!, b!]).map(text), ["one", "three", "two"]);
  assertEquals(merged([a!, b!, other, c!]).map(text), ["onetwo", "other", "three"]);
  assertEquals(merged([]), []);
});

Deno.test("Joiner.join() gives all parts, larger and smaller than before and than what it keeps", () => {
  const joiner = new Joiner(1000);
  for (const length of [3, 700, 0, 5, 400, 1500, 8]) {
    const parts = [bytes("a".repeat(length)), bytes("b"), bytes("c".repeat(length))];
    assertEquals(text(joiner.join(parts)), text(concat(parts)));
  }
});

Deno.test("concat() gives a single part back as it is", () => {
  const only = bytes("only");
  assertStrictEquals(concat([only]), only);
});

Deno.test("decodeText() reads UTF-8 with U+FFFD and a byte order mark in it, and refuses anything else", () => {
  for (const one of ["", "plain", "añ€😀", "\ufffd", "\ufeffmark", "a\ufffdb"]) {
    assertEquals(decodeText(bytes(one)), one);
  }
  for (const bad of [[0x80], [0xc3], [0xed, 0xa0, 0x80], [0x61, 0xff], [0xef, 0xbf, 0xbd, 0xc0]]) {
    assertThrows(() => decodeText(new Uint8Array(bad)), TypeError);
  }
});

Deno.test("Arena.join() puts a part of an array between two texts, whatever its length", () => {
  const source = bytes("x".repeat(700));
  for (const length of [0, 1, 50, 62, 63, 600]) {
    const arena = new Arena(1000);
    const made = Array.from(
      { length: 40 },
      (_, i) => arena.join(`é${i}`, { bytes: source, from: 5, length }, "}"),
    );
    assertEquals(made.map(text), Array.from({ length: 40 }, (_, i) => `é${i}${"x".repeat(length)}}`));
  }
});

Deno.test("endOfDigits() finds the integers that JSON has as well, and readDecimal() says what they are", () => {
  const rows = [["0", 1], ["7}", 1], ["10", 2], ["999999999999999", 15], ["01", -1], ["00", -1], ["", -1], [
    "-1",
    -1,
  ]] as const;
  for (const [digits, end] of rows) {
    assertEquals(endOfDigits(bytes(`x${digits}`), 1), end < 0 ? end : end + 1, digits);
    if (end > 0) assertEquals(readDecimal(bytes(digits), 0, end), parseInt(digits));
  }
  assertEquals(endOfDigits(bytes("1000000000000000"), 0), -1, "beyond the safe integers may be what follows");
});

Deno.test("hasAt() compares as many bytes as are expected, and none is beyond the end", () => {
  assertEquals([2, 3, 0, -1].map((at) => hasAt(bytes("a bc"), at, bytes("bc"))), [true, false, false, false]);
});

Deno.test("decodeAscii() gives the text of a part, short or long", () => {
  const all = Array.from({ length: 128 }, (_, i) => String.fromCharCode(i)).join("");
  for (const [from, end] of [[0, 0], [0, 32], [0, 33], [65, 66], [0, 128]] as const) {
    assertEquals(decodeAscii(bytes(all), from, end), all.slice(from, end));
  }
});
