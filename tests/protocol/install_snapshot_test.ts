/**
 * Pieces of a snapshot on the raft port: whatever lines they cut, they come out as they went in, and a header never
 * makes the reader hold more than it says.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { LineSplitter } from "../../lib/protocol/lines.ts";
import {
  chunkBytesMax,
  controlLineBytesMax,
  describeMessage,
  encodeMessage,
  type PeerInput,
  PeerReader,
} from "../../lib/protocol/peer_protocol.ts";
import type { InstallSnapshot, Message } from "../../lib/raft/messages.ts";
import { timeoutNow } from "../raft/messages.ts";

const encoder = new TextEncoder();
const known = { isKnown: true, entryBytesMax: 1 << 20 };

function installSnapshot(data: Uint8Array, fields: Partial<InstallSnapshot> = {}): InstallSnapshot {
  return {
    type: "installSnapshot",
    from: 2,
    to: 1,
    term: 7,
    lastIncludedIndex: 5,
    lastIncludedTerm: 6,
    lastIncludedCrc: 0x00c0ffee,
    offset: 1000,
    data,
    done: false,
    ...fields,
  };
}

/** What a reader makes of bytes that come in pieces; it ends with the first text, as a connection does. */
function read(pieces: Iterable<Uint8Array>, reader = new PeerReader()): (PeerInput | string)[] {
  const inputs: (PeerInput | string)[] = [];
  const splitter = new LineSplitter(2 << 20);
  for (const piece of pieces) {
    splitter.push(piece, (line) => {
      if (typeof inputs.at(-1) === "string") return;
      const input = reader.take(line, known);
      if (input !== null) inputs.push(input);
    });
  }
  return inputs;
}

/** A header line as somebody else might write it. */
function header(fields: Record<string, unknown>): Uint8Array {
  const message = { ...installSnapshot(new Uint8Array()), lastIncludedCrc: "00c0ffee", data: 0, ...fields };
  return encoder.encode(JSON.stringify(message) + "\n");
}

const snapshot = encoder.encode(`{"a":1}\n\n{"key":"grüße"}\n{"crc":"12345678","blocks":1}\n`);

Deno.test("encodeMessage() writes a piece of a snapshot that PeerReader.take() reads back, wherever it begins and ends", () => {
  const following = timeoutNow({ term: 7 });
  for (let from = 0; from <= snapshot.length; from++) {
    for (let end = from; end <= snapshot.length; end++) {
      const message = installSnapshot(snapshot.slice(from, end), {
        offset: from,
        done: end === snapshot.length,
      });
      const bytes = new Uint8Array([...encodeMessage(message), ...encodeMessage(following)]);
      assertEquals(read([bytes]), [message, following], `bytes ${from} to ${end}`);
    }
  }
});

Deno.test("PeerReader.take() puts a piece together however the bytes come", () => {
  const messages: Message[] = [
    installSnapshot(snapshot.slice(0, 30)),
    installSnapshot(snapshot.slice(30), { offset: 30, done: true }),
    timeoutNow({ term: 7 }),
  ];
  const bytes = new Uint8Array(messages.flatMap((message) => [...encodeMessage(message)]));
  for (let cut = 0; cut <= bytes.length; cut++) {
    assertEquals(read([bytes.slice(0, cut), bytes.slice(cut)]), messages, `cut at byte ${cut}`);
  }
  assertEquals(read(Array.from(bytes, (byte) => new Uint8Array([byte]))), messages, "byte by byte");
});

Deno.test("encodeMessage() shows the lines of a snapshot as they are, so that people can read along", () => {
  const text = new TextDecoder().decode(encodeMessage(installSnapshot(snapshot.slice(0, 12))));
  const [first, ...rest] = text.split("\n");
  assertEquals([JSON.parse(first!).data, JSON.parse(first!).lastIncludedCrc], [12, "00c0ffee"]);
  assertEquals(rest, [`{"a":1}`, "", `{"k`, ""]);
});

Deno.test("PeerReader.take() owns the bytes of a piece", () => {
  const bytes = encodeMessage(installSnapshot(snapshot.slice()));
  const [message] = read([bytes]);
  bytes.fill(0); // the buffer is used for something else
  assert(typeof message === "object" && message.type === "installSnapshot");
  assertEquals(message.data, snapshot);
});

Deno.test("PeerReader.take() takes the largest piece, in one line or of nothing but line ends", () => {
  for (const byte of [0x61, 10]) {
    const message = installSnapshot(new Uint8Array(chunkBytesMax).fill(byte), { done: true });
    const [input, ...rest] = read([encodeMessage(message)]);
    assert(typeof input === "object" && input.type === "installSnapshot" && rest.length === 0);
    assertEquals(input.data.length, chunkBytesMax);
    assert(input.data.every((one) => one === byte));
  }
});

Deno.test("PeerReader.take() refuses a header that asks for too much, or for nothing sensible, and holds nothing for it", () => {
  for (const data of [chunkBytesMax + 1, 2 ** 40, -1, 1.5, "12", null, [], "x".repeat(100)]) {
    const reader = new PeerReader();
    assertStringIncludes(String(reader.take(header({ data }), known)), "installSnapshot: the field data");
    assertEquals(reader.lineBytesMax(1) !== controlLineBytesMax, false);
  }
  for (
    const [name, value] of [["lastIncludedCrc", 5], ["offset", -1], ["done", 1], ["lastIncludedIndex", "5"]]
  ) {
    assertStringIncludes(
      String(new PeerReader().take(header({ [name!]: value }), known)),
      `installSnapshot: the field ${name}`,
    );
  }
});

Deno.test("PeerReader.take() refuses more bytes than the header says", () => {
  for (let extra = 2; extra < 20; extra++) {
    const line = encoder.encode("a".repeat(10 + extra - 1) + "\n");
    const [input] = read([header({ data: 10 }), line]);
    assertStringIncludes(String(input), "more bytes than its header says");
  }
  // The newline that ends a cut line is the only byte that may be too much.
  const [input] = read([header({ data: 10 }), encoder.encode("abc\n"), encoder.encode("abcdef\n")]);
  assert(typeof input === "object" && input.type === "installSnapshot");
  assertEquals(new TextDecoder().decode(input.data), "abc\nabcdef");
  const [late] = read([header({ data: 10 }), encoder.encode("abc\n"), encoder.encode("abcdefg\n")]);
  assertStringIncludes(String(late), "more bytes than its header says");
});

Deno.test("PeerReader.take() takes what follows a piece that was said to be shorter for a line of its own", () => {
  const [input, next] = read([header({ data: 4 }), encoder.encode("abc\n"), encoder.encode("def\n")]);
  assert(typeof input === "object" && input.type === "installSnapshot" && input.data.length === 4);
  assertStringIncludes(String(next), "not JSON");
});

Deno.test("PeerReader.take() takes an empty piece at once, and nothing of a stranger's", () => {
  const reader = new PeerReader();
  assertEquals(reader.take(header({ data: 0 }), known), installSnapshot(new Uint8Array()));
  const stranger = { ...known, isKnown: false };
  assertEquals(new PeerReader().take(header({ data: 4 }), stranger), "a hello comes first");
});

Deno.test("PeerReader.take() waits for all the bytes of a piece", () => {
  const reader = new PeerReader();
  assertEquals(reader.take(header({ data: 10 }), known), null);
  assertEquals(reader.take(encoder.encode("abcd\n"), known), null);
  assertEquals(reader.lineBytesMax(1) !== controlLineBytesMax, true);
  const message = reader.take(encoder.encode("efg\n"), known);
  assertEquals(message, null, "one byte is missing");
  assertEquals(reader.take(encoder.encode("h\n"), known) !== null, true);
  assertEquals(reader.lineBytesMax(1) !== controlLineBytesMax, false);
});

Deno.test("PeerReader.lineBytesMax() bounds a line of a piece by what is missing of it", () => {
  const reader = new PeerReader();
  assertEquals(reader.lineBytesMax(1 << 20), controlLineBytesMax);
  reader.take(header({ data: 10 }), known);
  assertEquals(reader.lineBytesMax(1 << 20), 11, "and the newline of a line that is cut there");
  reader.take(encoder.encode("abcd\n"), known);
  assertEquals(reader.lineBytesMax(1 << 20), 6);
  reader.take(encoder.encode("efghi\n"), known);
  assertEquals(reader.lineBytesMax(1 << 20), controlLineBytesMax);
});

Deno.test("describeMessage() counts the bytes of a piece rather than shows them", () => {
  assertStringIncludes(describeMessage(installSnapshot(snapshot)), `"data":${snapshot.length},`);
});
