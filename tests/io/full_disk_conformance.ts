/**
 * What lib/io/io.ts promises of a full disk, as tests for every implementation. They stand apart from the other
 * promises because a real disk must be a small one to be filled, and not every machine lends one.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { type Disk, DiskFull, type Done, reserveBytesMax } from "../../lib/io/io.ts";

/** A disk that can be filled. */
export interface SmallDisk {
  disk: Disk;
  /** Takes all room of the disk but so many bytes, at most 64 KiB; a fake may take all. */
  fill(bytesLeft: number): void;
  /** Gives back what `fill` took: at least 128 KiB. */
  makeRoom(): void;
  /** Waits for the outcome of one operation, which must be told after the call. */
  outcome(start: (done: Done) => void): Promise<Error | null>;
  close(): Promise<void>;
}

/** Registers the tests under `name`; each gets a new empty disk. `skip` says why they cannot be run, if so. */
export function testFullDisk(name: string, make: () => Promise<SmallDisk>, skip: string | null = null): void {
  for (const [title, run] of Object.entries(tests)) {
    Deno.test({
      name: `${name}: ${title}${skip === null ? "" : ` (skipped: ${skip})`}`,
      ignore: skip !== null,
      fn: async () => {
        const small = await make();
        try {
          await run(small);
        } finally {
          await small.close();
        }
      },
    });
  }
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : new TextDecoder().decode(bytes);

type Start = (disk: Disk, done: Done) => void;

async function succeeds({ disk, outcome }: SmallDisk, start: Start): Promise<void> {
  assertEquals(await outcome((done) => start(disk, done)), null);
}

async function findsNoRoom({ disk, outcome }: SmallDisk, start: Start): Promise<void> {
  const error = await outcome((done) => start(disk, done));
  assert(error instanceof DiskFull, `DiskFull, not ${error}`);
  assertEquals(error.name, "DiskFull");
}

const tests: Record<string, (small: SmallDisk) => Promise<void>> = {
  "append() on a full disk leaves the file as it was, and works once there is room": async (small) => {
    const { disk } = small;
    await succeeds(small, (disk, done) => disk.append("log/1", bytes("one,"), done));
    small.fill(0);
    // A page that is partly filled may take some more, so what does not fit is larger than one.
    const large = new Uint8Array(20_000).fill(1);
    for (let i = 0; i < 3; i++) await findsNoRoom(small, (disk, done) => disk.append("log/1", large, done));
    assertEquals(text(disk.read("log/1")), "one,");
    small.makeRoom();
    await succeeds(small, (disk, done) => disk.append("log/1", bytes("two,"), done));
    await succeeds(small, (disk, done) => disk.append("log/1", large, done));
    assertEquals(text(disk.readRange("log/1", 0, 8)), "one,two,");
    assertEquals(disk.read("log/1")!.length, 8 + large.length);
  },

  "append() that finds room for a part of its bytes leaves none of them": async (small) => {
    const { disk } = small;
    await succeeds(small, (disk, done) => disk.append("log/1", bytes("whole"), done));
    small.fill(30_000);
    const parts = new Uint8Array(100_000).fill(1);
    await findsNoRoom(small, (disk, done) => disk.append("log/1", parts, done));
    assertEquals(text(disk.read("log/1")), "whole");
    await findsNoRoom(small, (disk, done) => disk.append("log/1", parts, done));
    small.makeRoom();
    await succeeds(small, (disk, done) => disk.append("log/1", bytes(" again"), done));
    assertEquals(text(disk.read("log/1")), "whole again");
  },

  "append() of a file that is new leaves none on a full disk, or an empty one": async (small) => {
    const { disk } = small;
    for (const left of [0, 30_000]) {
      small.fill(left);
      const parts = new Uint8Array(100_000).fill(1);
      for (const name of ["new", "folder/new", "folder/new"]) {
        await findsNoRoom(small, (disk, done) => disk.append(name, parts, done));
        assertEquals(disk.read(name)?.length ?? 0, 0);
      }
      small.makeRoom();
    }
    await succeeds(small, (disk, done) => disk.append("folder/new", bytes("one"), done));
    await succeeds(small, (disk, done) => disk.append("folder/new", bytes(",two"), done));
    assertEquals(text(disk.read("folder/new")), "one,two");
  },

  "append() to a file that was just put in place finds it whole, on a full disk too": async (small) => {
    const { disk } = small;
    await succeeds(small, (disk, done) => disk.append("state", bytes("before"), done));
    small.fill(0);
    await succeeds(small, (disk, done) => disk.replace("state", bytes("after"), done));
    await findsNoRoom(small, (disk, done) => disk.append("state", new Uint8Array(60_000).fill(1), done));
    assertEquals(text(disk.read("state")), "after");
    small.makeRoom();
    await succeeds(small, (disk, done) => disk.append("state", bytes("wards"), done));
    assertEquals(text(disk.read("state")), "afterwards");
  },

  "replace() of a small file works on a full disk, time and again": async (small) => {
    const { disk } = small;
    await succeeds(small, (disk, done) => disk.replace("state", bytes("term 0"), done));
    small.fill(0);
    for (let term = 1; term <= 20; term++) {
      await succeeds(small, (disk, done) => disk.replace("state", bytes(`term ${term}`), done));
      assertEquals(text(disk.read("state")), `term ${term}`);
      // What tries meanwhile to write something else takes no room away from it.
      await findsNoRoom(small, (disk, done) => disk.append("log/1", new Uint8Array(60_000).fill(1), done));
    }
    assertEquals(disk.list().filter((name) => name !== "log/1"), ["state"]);
    small.makeRoom();
    await succeeds(small, (disk, done) => disk.replace("state", bytes("term 21"), done));
    small.fill(0);
    const largest = new Uint8Array(reserveBytesMax).fill(1);
    await succeeds(small, (disk, done) => disk.replace("state", largest, done));
    assertEquals(disk.read("state"), largest);
  },

  "replace() of a large file on a full disk leaves the old one, and works once there is room": async (
    small,
  ) => {
    const { disk } = small;
    const large = new Uint8Array(60_000).fill(1);
    await succeeds(small, (disk, done) => disk.replace("snapshots/1", bytes("small"), done));
    for (const left of [0, 30_000]) {
      small.fill(left);
      await findsNoRoom(small, (disk, done) => disk.replace("snapshots/1", large, done));
      await findsNoRoom(small, (disk, done) => disk.replace("snapshots/2", large, done));
      assertEquals(disk.list(), ["snapshots/1"]);
      assertEquals(text(disk.read("snapshots/1")), "small");
      small.makeRoom();
    }
    await succeeds(small, (disk, done) => disk.replace("snapshots/1", large, done));
    assertEquals(disk.read("snapshots/1"), large);
  },

  "truncate() and remove() work on a full disk, and an empty append too": async (small) => {
    const { disk } = small;
    for (const name of ["a", "b"]) {
      await succeeds(small, (disk, done) => disk.append(name, bytes("0123456789"), done));
    }
    small.fill(0);
    await succeeds(small, (disk, done) => disk.truncate("a", 5, done));
    await succeeds(small, (disk, done) => disk.append("a", new Uint8Array(), done));
    await succeeds(small, (disk, done) => disk.remove("b", done));
    assertEquals([disk.list(), text(disk.read("a"))], [["a"], "01234"]);
  },
};
