/**
 * Bytes that share buffers: each array shows what it was made of, whatever is made beside it.
 *
 * @module
 */

import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { Arena, concat, decodeText, Joiner, merged } from "../lib/bytes.ts";

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
