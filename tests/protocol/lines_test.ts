import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { LineSplitter, type Splitting, trimLine } from "../../lib/protocol/lines.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Collects copies of the lines, as the arrays may be reused. */
function collector(): { lines: string[]; onLine: (line: Uint8Array) => void } {
  const lines: string[] = [];
  return { lines, onLine: (line) => void lines.push(decoder.decode(line)) };
}

/** Cuts bytes at the given places into chunks, all delivered in one array that is overwritten after each call. */
function deliver(bytes: Uint8Array, cuts: number[], take: (chunk: Uint8Array) => void): void {
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  const shared = new Uint8Array(bytes.length);
  let start = 0;
  for (const end of ends) {
    const chunk = shared.subarray(0, end - start);
    chunk.set(bytes.subarray(start, end));
    take(chunk);
    chunk.fill(0x21);
    start = end;
  }
}

// Some pieces are long, so that the buffer must grow, move what it keeps to its front, and shrink again.
const piece = fc.constantFrom("\n", "\n", "\r", "a", "b", "é", "0123456789".repeat(50));
const textOfLines = fc.array(piece, { maxLength: 100, size: "max" }).map((pieces) => pieces.join(""));
const cuts = fc.array(fc.nat(), { maxLength: 20, size: "max" });

Deno.test("LineSplitter.push() gives the same lines however the bytes are cut into chunks", () => {
  fc.assert(
    fc.property(textOfLines, cuts, (text, cuts) => {
      const { lines, onLine } = collector();
      const splitter = new LineSplitter(1 << 20);
      deliver(encoder.encode(text), cuts, (chunk) => assertEquals(splitter.push(chunk, onLine), "more"));
      const pieces = text.split("\n");
      assertEquals(decoder.decode(splitter.rest), pieces.pop());
      assertEquals(lines, pieces.map((piece) => piece + "\n"));
      assertEquals(splitter.bufferedBytes, splitter.rest.length);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("LineSplitter keeps what follows a stop and loses nothing, however often it is stopped and resumed", () => {
  fc.assert(
    fc.property(textOfLines, cuts, fc.infiniteStream(fc.boolean()), (text, cuts, coins) => {
      const coin = () => coins.next().value as boolean;
      const lines: string[] = [];
      let wasStopped = false;
      const onLine = (line: Uint8Array): boolean => {
        assert(!wasStopped, "no line comes while stopped");
        lines.push(decoder.decode(line));
        wasStopped = coin();
        return !wasStopped;
      };
      const splitter = new LineSplitter(1 << 20);
      const check = (splitting: Splitting) => assertEquals(splitting, wasStopped ? "stopped" : "more");
      const resume = () => {
        wasStopped = false;
        check(splitter.resume(onLine));
      };
      deliver(encoder.encode(text), cuts, (chunk) => {
        check(splitter.push(chunk, onLine));
        if (coin()) resume();
      });
      for (let i = 0; i <= text.length; i++) resume();
      const pieces = text.split("\n");
      assertEquals(decoder.decode(splitter.rest), pieces.pop());
      assertEquals(lines, pieces.map((piece) => piece + "\n"));
    }),
    { numRuns: 1000 },
  );
});

Deno.test("LineSplitter takes a line of exactly its limit and refuses one byte more, however it is cut", () => {
  fc.assert(
    fc.property(cuts, (cuts) => {
      for (const [last, state] of [["123456789\n", "more"], ["1234567890\n", "tooLong"]]) {
        const { lines, onLine } = collector();
        const splitter = new LineSplitter(10);
        const states: Splitting[] = [];
        deliver(encoder.encode("ab\n" + last), cuts, (chunk) => states.push(splitter.push(chunk, onLine)));
        assertEquals<string | undefined>(states.at(-1), state);
        assertEquals(lines, state === "more" ? ["ab\n", last] : ["ab\n"]);
      }
    }),
  );
});

Deno.test("LineSplitter reports a line too long while it grows, and holds nothing afterwards", () => {
  const { lines, onLine } = collector();
  const splitter = new LineSplitter(1000);
  const chunk = encoder.encode("x".repeat(100));
  for (let i = 0; i < 10; i++) assertEquals(splitter.push(chunk, onLine), "more");
  assertEquals(splitter.push(chunk, onLine), "tooLong");
  assertEquals(splitter.bufferedBytes, 0);
  assertEquals(splitter.push(encoder.encode("\nmore\n"), onLine), "tooLong");
  assertEquals(splitter.resume(onLine), "tooLong");
  assertEquals(splitter.bufferedBytes, 0);
  assertEquals(lines, []);
});

Deno.test("LineSplitter hands on lines inside a chunk as parts of it, without a copy", () => {
  const chunk = encoder.encode("one\ntwo\nthr");
  const buffers: ArrayBufferLike[] = [];
  const splitter = new LineSplitter(100);
  splitter.push(chunk, (line) => void buffers.push(line.buffer));
  assertEquals(buffers.map((buffer) => buffer === chunk.buffer), [true, true]);
});

Deno.test("LineSplitter copies a long line in small pieces a bounded number of times", () => {
  const { lines, onLine } = collector();
  const splitter = new LineSplitter(8 << 20);
  const piece = encoder.encode("x".repeat(64));
  const started = performance.now();
  for (let i = 0; i < (4 << 20) / 64; i++) splitter.push(piece, onLine);
  splitter.push(encoder.encode("\n"), onLine);
  assertEquals(lines[0]!.length, (4 << 20) + 1);
  // One copy a piece would be 128 GiB and take half a minute; this takes some hundredths of a second.
  assert(performance.now() - started < 5000);
});

Deno.test("trimLine() takes off the newline and one carriage return before it", () => {
  const trimmed = (text: string) => decoder.decode(trimLine(encoder.encode(text)));
  assertEquals(trimmed("a\n"), "a");
  assertEquals(trimmed("a\r\n"), "a");
  assertEquals(trimmed("a\r\r\n"), "a\r");
  assertEquals(trimmed("a"), "a");
  assertEquals(trimmed("\r\n"), "");
  assertEquals(trimmed("\n"), "");
  assertEquals(trimmed(""), "");
});
