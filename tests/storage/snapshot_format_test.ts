/**
 * A snapshot reads back as it was written, or not at all.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { sealLine } from "../../lib/raft/entry.ts";
import { encodeSnapshot, type Reading, SnapshotReader } from "../../lib/storage/snapshot_format.ts";
import { FolderError } from "../../lib/storage/storage.ts";
import { concat, entriesAfter, identity } from "./folder.ts";
import { blocksOf, metadataAt, reworded, snapshotAt, stateLines } from "./snapshots.ts";

const log = entriesAfter(null, { count: 9, term: 2 });
const metadata = metadataAt(log, 7);
const contents = { clusterId: identity.clusterId, keys: 2, sessions: 1 };
const encoder = new TextEncoder();

/** Reads a snapshot in pieces of a size; the same buffer is used for all of them. */
function read(
  bytes: Uint8Array,
  { pieceBytes = bytes.length, name = "s" } = {},
): { reading: Reading; reader: SnapshotReader; lines: string[] } {
  const lines: string[] = [];
  const reader = new SnapshotReader(name, (line) => {
    lines.push(JSON.stringify(line));
    return null;
  });
  const buffer = new Uint8Array(pieceBytes);
  let reading: Reading = "more";
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const piece = bytes.subarray(at, at + pieceBytes);
    buffer.set(piece);
    reading = reader.take(buffer.subarray(0, piece.length));
    buffer.fill(0x7b);
  }
  return { reading, reader, lines };
}

function isBad(bytes: Uint8Array, ...said: string[]): void {
  const { reading, reader } = read(bytes);
  assert(typeof reading === "object", `it is ${reading}`);
  for (const words of said) assertStringIncludes(reading.bad, words);
  assertEquals(reader.take(encoder.encode("{}\n")), reading, "and stays bad");
}

/** Lines of every kind: long, short, with line ends inside, and some that look like what vouches for a block. */
const mixed = [
  ...stateLines(50, 5000),
  JSON.stringify({ key: "grüße 🎈", value: "two\nlines" }),
  JSON.stringify({ crc: "00000000", blocks: 1, keys: 0, sessions: 0 }),
  ...stateLines(2),
];

Deno.test("SnapshotReader.take() reads what encodeSnapshot() wrote, however the bytes come", () => {
  for (const all of [mixed, mixed.slice(-4)]) {
    const bytes = concat(...encodeSnapshot(metadata, contents, blocksOf(all)));
    for (const pieceBytes of all === mixed ? [1000, 4096, 65_536, 100_000, bytes.length] : [1, 2, 7]) {
      const { reading, reader, lines } = read(bytes, { pieceBytes });
      const { clusterId } = identity;
      assertEquals(reading, "whole");
      assertEquals([reader.metadata, reader.contents, reader.clusterId], [metadata, contents, clusterId]);
      assertEquals(lines, all);
    }
  }
});

Deno.test("encodeSnapshot() hands out a piece for each block, with what vouches for it", () => {
  const pieces = [...encodeSnapshot(metadata, contents, blocksOf(mixed))];
  assertEquals(pieces.length, 6, "a header, four blocks, the last line");
  for (const { length } of pieces) assert(length < 75_000, `${length} bytes`);
});

Deno.test("encodeSnapshot() writes an empty state, and a line of any length", () => {
  const none = concat(...encodeSnapshot(metadata, { ...contents, clusterId: null }, blocksOf([])));
  const { reading, reader, lines } = read(none);
  assertEquals([reading, reader.clusterId, lines], ["whole", null, []]);
  const long = stateLines(3, 300_000); // longer than a piece on the wire
  const bytes = concat(...encodeSnapshot(metadata, contents, blocksOf(long)));
  assertEquals(read(bytes, { pieceBytes: 128 << 10 }).lines, long);
});

Deno.test("SnapshotReader.take() finds a snapshot whole only with its very last byte", () => {
  const bytes = snapshotAt(log, 7);
  for (let size = 0; size < bytes.length; size++) {
    assertEquals(read(bytes.subarray(0, size)).reading, "more", `${size} bytes`);
  }
  assertEquals(read(bytes).reading, "whole");
});

Deno.test("SnapshotReader.take() refuses anything behind the last line", () => {
  for (const more of ["\n", "{", snapshotAt(log, 7)]) {
    const bytes = typeof more === "string" ? encoder.encode(more) : more;
    isBad(concat(snapshotAt(log, 7), bytes), "something follows the last line");
    const { reader } = read(snapshotAt(log, 7));
    assertEquals(reader.take(new Uint8Array()), "whole");
    assert(typeof reader.take(bytes) === "object", "also in a piece of its own");
  }
});

/** The lines of a snapshot with newlines, to be put together in another way. */
function linesOf(bytes: Uint8Array): Uint8Array[] {
  return new TextDecoder().decode(bytes).split("\n").slice(0, -1).map((line) => encoder.encode(line + "\n"));
}

Deno.test("SnapshotReader.take() refuses blocks that were lost, doubled, swapped or changed, and wrong counts", () => {
  const bytes = concat(...encodeSnapshot(metadata, contents, blocksOf(stateLines(40, 5000))));
  const lines = linesOf(bytes);
  const checks = lines.flatMap((line, at) => new TextDecoder().decode(line).includes(`"block":`) ? [at] : []);
  assert(checks.length >= 3);
  const [a, b] = [checks[0]! + 1, checks[1]! + 1];
  const [head, first, second, rest] = [
    lines.slice(0, 1),
    lines.slice(1, a),
    lines.slice(a, b),
    lines.slice(b),
  ];
  isBad(concat(...head, ...second, ...rest), "block 1 is not as it was written");
  isBad(concat(...head, ...first, ...rest), "block 2 is not as it was written");
  isBad(concat(...head, ...first, ...first, ...second, ...rest), "block 2 is not");
  isBad(concat(...head, ...second, ...first, ...rest), "block 1 is not");
  isBad(concat(...head, ...first.slice(1), ...second, ...rest), "block 1 is not");
  isBad(concat(...head, ...first, lines.at(-1)!), "the last line does not fit what is before it");
  isBad(concat(...head, ...first, lines[1]!, ...rest.slice(-1)), "the last line does not fit");
  isBad(concat(...head, ...first.slice(0, -1), lines.at(-1)!), "the last line does not fit");
  for (const footer of [`"blocks":4,"keys":-1,"sessions":0}`, `"blocks":4,"keys":"1","sessions":0}`]) {
    isBad(concat(...lines.slice(0, -1), sealLine(footer)), "the last line does not fit");
  }
});

Deno.test("SnapshotReader.take() refuses a first line that is none, and names the byte of a later problem", () => {
  const bytes = snapshotAt(log, 7);
  isBad(encoder.encode("garbage\n"), "byte 0: the line is not whole");
  isBad(sealLine(`"synced":1,"at":"00000000"}`), "byte 0: the first line is no header");
  const fields: [string, string][] = [
    [`"index":7`, `"index":-7`],
    [`"term":2`, `"term":"2"`],
    [`"at":"`, `"at":"x`],
    [`"at":"`, `"was":"`],
    [`"configurationIndex":1`, `"configurationIndex":null`],
    [`"configuration":{`, `"configuration":null,"was":{`],
    [`"configuration":{`, `"configuration":7,"was":{`],
    [`"members":[`, `"nodes":[`],
    [`"clusterId":"`, `"clusterId":5,"was":"`],
  ];
  for (const [from, to] of fields) {
    isBad(reworded(bytes, from, to), "the header's fields are not those of a snapshot");
  }
  const lines = linesOf(bytes);
  const before = lines[0]!.length + lines[1]!.length + lines[2]!.length + lines[3]!.length;
  lines[2] = encoder.encode(new TextDecoder().decode(lines[2]).replace("w", "v"));
  isBad(concat(...lines), `byte ${before}: block 1 is not as it was written`);
});

Deno.test("SnapshotReader.take() throws for a snapshot of a newer version", () => {
  const newer = reworded(snapshotAt(log, 7), `"format":1`, `"format":2,"new":[]`);
  const error = assertThrows(() => read(newer, { name: "snapshots/7" }), FolderError);
  assertStringIncludes(error.message, "snapshots/7 has format 2, and this version of kvapp reads format 1");
});

Deno.test("SnapshotReader.take() hands on no line of a block that is not whole, and stops at what is found wrong", () => {
  const bytes = concat(...encodeSnapshot(metadata, contents, blocksOf(stateLines(40, 5000))));
  const half = read(bytes.subarray(0, 100_000)).lines.length;
  assert(half > 10 && half < 15, `${half} lines: those of the first block`);
  const taken: unknown[] = [];
  const reader = new SnapshotReader("s", (line) => {
    taken.push(line);
    return taken.length === 3 ? "key must be something else" : null;
  });
  const reading = reader.take(bytes);
  assert(typeof reading === "object");
  assertStringIncludes(reading.bad, "key must be something else");
  assertEquals(taken.length, 3);
});
