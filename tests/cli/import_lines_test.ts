import { assertEquals, assertRejects } from "@std/assert";
import { CommandError } from "../../lib/cli/exit.ts";
import { entriesOf, type ImportEntry, type Source } from "../../lib/cli/import_lines.ts";

const never = new AbortController().signal;

/** The bytes in reads of at most so many. */
function sourceOf(bytes: Uint8Array, readMax = 64): Source {
  let at = 0;
  return {
    read: (buffer) => {
      const part = bytes.subarray(at, at + Math.min(readMax, buffer.length));
      buffer.set(part);
      at += part.length;
      return Promise.resolve(part.length === 0 ? null : part.length);
    },
  };
}

function entries(text: string | Uint8Array, readMax?: number): Promise<ImportEntry[]> {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  return Array.fromAsync(entriesOf(sourceOf(bytes, readMax), never));
}

Deno.test("entriesOf() reads lines wherever reads cut them, blank lines, CR LF, a byte order mark and a last line without end", async () => {
  const text =
    '\uFEFF{"key":"字","value":"\\u0000\\n"}\r\n\n  \n{"value":"","version":7,"key":"a","ttlMs":5}\n' +
    '{"key":"last","value":"1"}';
  for (const readMax of [1, 2, 3, 1000]) {
    assertEquals(await entries(text, readMax), [
      { line: 1, key: "字", value: "\0\n" },
      { line: 4, key: "a", value: "", ttlMs: 5 },
      { line: 5, key: "last", value: "1" },
    ]);
  }
  assertEquals(await entries(""), []);
});

Deno.test("entriesOf() names a bad line by its number, says what was expected, and gives the lines before it", async () => {
  const cases: [string | Uint8Array, string][] = [
    ["[1]", 'expected an object as export writes it, {"key":"color","value":"green"}'],
    ["null", "expected an object"],
    ['{"key":"a"', "JSON"],
    ["a\u009b2J", "\\u009b2J"],
    ['{"value":"1"}', "key is missing"],
    ['{"key":"a"}', "value is missing; expected an object"],
    ['{"key":1,"value":"1"}', "key is no text"],
    ['{"key":"a","value":null}', "value is no text"],
    ['{"key":"a","value":"1","vresion":7}', 'unknown field "vresion"'],
    ['{"key":"a","value":"1","ttlMs":"5"}', "ttlMs is no whole number"],
    [Uint8Array.of(0x22, 0xff, 0x22), "it is not UTF-8"],
    [new Uint8Array((8 << 20) + 1).fill(0x20), "it has more than 8388608 bytes"],
  ];
  for (const [bad, message] of cases) {
    const input = new Blob(['{"key":"good","value":"1"}\n\n', bad as BlobPart, "\n"]);
    const bytes = new Uint8Array(await input.arrayBuffer());
    const found: string[] = [];
    const error = await assertRejects(
      async () => {
        for await (const { key } of entriesOf(sourceOf(bytes, 1 << 20), never)) found.push(key);
      },
      CommandError,
      message,
    );
    assertEquals(error.message.slice(0, 8), "line 3: ");
    assertEquals(found, ["good"]);
  }
});
