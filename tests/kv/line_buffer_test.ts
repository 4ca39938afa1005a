import { assertEquals, assertLess } from "@std/assert";
import fc from "fast-check";
import { LineBuffer } from "../../lib/kv/line_buffer.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textOf(lines: LineBuffer): string {
  return decoder.decode(lines.take().bytes);
}

/** All that JSON escapes, what it does not though some do, and characters of every length. */
const character = fc.oneof(
  fc.integer({ min: 0, max: 0x81 }).map((unit) => String.fromCharCode(unit)),
  fc.constantFrom("\u00e4", "\u2028", "\u2029", "\ufeff", "\ufffd", "\uffff", "\u{1f600}", "\u{10ffff}"),
);
const text = fc.array(character, { maxLength: 300, size: "max" }).map((all) => all.join(""));

Deno.test("LineBuffer.string() and stringOf() write what JSON.stringify() writes, whatever the text", () => {
  const lines = new LineBuffer();
  fc.assert(
    fc.property(text, text, (before, text) => {
      lines.string(before);
      lines.string(text);
      assertEquals(textOf(lines), JSON.stringify(before) + JSON.stringify(text));
      const { length } = encoder.encode(text);
      const ints = new Int32Array(before.length + length);
      ints.fill(0x22000a5c);
      encoder.encodeInto(text, new Uint8Array(ints.buffer, 4 * before.length));
      lines.stringOf(ints, before.length, length);
      lines.end("}");
      lines.line(before);
      assertEquals(textOf(lines), JSON.stringify(text) + `}\n${before}\n`);
    }),
    { numRuns: 300 },
  );
});

Deno.test("LineBuffer.stringOf() finds the only character that is escaped, whatever stands around it", () => {
  const lines = new LineBuffer();
  for (const filler of ["a", "!", "#", "[", "]", "\x7f", " ", "\u00e4"]) {
    for (let length = 1; length <= 9; length++) {
      for (let at = 0; at < length; at++) {
        for (let unit = 0; unit < 0x80; unit++) {
          const text = filler.repeat(at) + String.fromCharCode(unit) + filler.repeat(length - at - 1);
          const bytes = encoder.encode(text);
          const ints = new Int32Array(6);
          new Uint8Array(ints.buffer).set(bytes);
          lines.stringOf(ints, 0, bytes.length);
          if (textOf(lines) !== JSON.stringify(text)) throw new Error(JSON.stringify(text));
        }
      }
    }
  }
});

Deno.test("LineBuffer.take() gives whole lines and their number, of any length, and begins anew", () => {
  const lines = new LineBuffer();
  assertEquals(lines.take(), { bytes: new Uint8Array(), lines: 0 });
  for (
    const [length, unit] of [[10, "a"], [300_000, "\u0001"], [300_000, "\u20ac"], [70_000, "a"]] as const
  ) {
    const long = unit.repeat(length);
    lines.plain("{");
    lines.string(long);
    lines.end("}");
    lines.line(long);
    assertEquals(lines.isFull, length > 10);
    const { bytes, lines: count } = lines.take();
    assertEquals([decoder.decode(bytes), count], [`{${JSON.stringify(long)}}\n${long}\n`, 2]);
  }
  let full = 0;
  while (!lines.isFull) {
    lines.line("x".repeat(999));
    full += 1000;
  }
  assertLess(full, 67_000);
  assertEquals(lines.take().bytes.length, full);
  assertEquals(lines.isFull, false);
});
