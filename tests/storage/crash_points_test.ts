/**
 * The power is cut in every call that a node makes to its disk, with every way to lose bytes, and in every call of the
 * start after that.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Entry } from "../../lib/raft/types.ts";
import { Storage } from "../../lib/storage/storage.ts";
import { entriesAfter, identity, lines, newIncarnation, stateName, write } from "./folder.ts";
import { type Call, type Files, leftBy } from "./recording_disk.ts";
import { isAllowed, type Scene, start, type Step, Teller } from "./story.ts";

const append = (...counts: number[]): Step[] => counts.map((count) => ({ do: "append", count }));
const conflict = (keep: number, count: number): Step => ({ do: "append", keep, count });

const logStory: Step[] = [
  ...append(3, 1, 2, 4, 1, 1, 1, 5, 9, 2, 1),
  { do: "flush" },
  ...append(3),
  conflict(21, 4), // over two boundaries, below what the state file vouches for
  ...append(2, 1),
  conflict(20, 1),
  ...append(8),
  conflict(10, 1), // many segments
  ...append(4, 3, 1, 1, 6, 2),
  { do: "flush" },
  conflict(0, 3), // everything
  ...append(2, 2, 3, 1),
];

const snapshotStory: Step[] = [
  ...append(3, 2, 4),
  { do: "take", behind: 2 },
  ...append(3, 1),
  { do: "take", behind: 0 }, // the log goes up to entry 7
  ...append(5),
  { do: "flush" },
  conflict(14, 3), // right behind the newest snapshot
  ...append(4),
  { do: "take", behind: 3 },
  { do: "install", keep: 21, index: 30, count: 0 }, // the log ends below it
  ...append(2, 6),
  { do: "install", keep: 32, index: 35, count: 2 }, // the log conflicts with it, over segments
  ...append(1, 7),
  { do: "flush" },
  { do: "install", keep: 37, index: 45, count: 3 }, // the same, vouched for, and its last entry's index was there
  { do: "take", behind: 1 },
  conflict(47, 2),
  ...append(3),
];

/** Lives through a story, and cuts the power in every call, twice. Returns how often a node was started. */
function cutEverywhere(story: Step[]): { runs: number; scenes: Scene[] } {
  const teller = new Teller();
  for (const step of story) teller.tell(step);
  const whole = start(teller.recording.files);
  assertEquals(isAllowed(whole.found, [{ log: teller.log, min: teller.log.length }]), true);
  let runs = 0;
  const check = (files: Files, { call, step, allowed, terms }: Scene): Call[] => {
    runs++;
    const { found, storage, recording } = start(files);
    const calls = [...recording.calls];
    const where = `${JSON.stringify(step)}: ${call.kind} ${call.name}`;
    assertEquals(found.damage, null, where);
    const base = found.snapshot?.lastIncludedIndex ?? 0;
    assert(isAllowed(found, allowed), `${where}: ${base} and ${found.entries.length} entries`);
    assert(terms.some((term) => JSON.stringify(term) === JSON.stringify(found.hardState)), where);
    // What comes next is written behind what was found, and is there after the next power cut.
    const last = (found.entries.at(-1) ?? lastOf(found.snapshot)) as Entry | null;
    const more = entriesAfter(last, { count: 1, term: terms[1].currentTerm });
    recording.do((done) => storage.append([write(more, terms[1])], done));
    const again = new Storage(recording.disk).recover(identity.nodeId);
    assertEquals([again.damage, again.entries.length], [null, found.entries.length + 1], where);
    assertEquals(again.entries.at(-1)!.crc, more[0]!.crc, where);
    return calls;
  };
  for (const scene of teller.scenes) {
    for (const files of leftBy(scene.call)) {
      for (const call of check(files, scene)) {
        for (const again of leftBy(call)) check(again, scene);
      }
    }
  }
  return { runs, scenes: teller.scenes };
}

/** As much of a snapshot's last entry as the next one needs. */
function lastOf(
  snapshot: ReturnType<typeof start>["found"]["snapshot"],
): Pick<Entry, "index" | "crc"> | null {
  return snapshot === null ? null : { index: snapshot.lastIncludedIndex, crc: snapshot.lastIncludedCrc };
}

Deno.test("recover() starts after a power cut in any call to the disk, and in any call of that start", () => {
  const { runs } = cutEverywhere(logStory);
  assert(runs > 2000, `${runs} runs`);
});

Deno.test("recover() starts after a power cut in any call for a snapshot, taken or received, or for the log before it", () => {
  const { runs, scenes } = cutEverywhere(snapshotStory);
  assert(runs > 2500, `${runs} runs`);
  for (const kind of ["append", "replace", "truncate", "remove"]) {
    assert(scenes.some(({ call }) => call.kind === kind));
  }
});

/** A folder that stopped cleanly, with a snapshot, several segments and the names of its log's files. */
function stopped(): { files: Files; log: Entry[]; segments: string[] } {
  const teller = new Teller();
  const story: Step[] = [...append(3, 2), { do: "take", behind: 2 }, ...append(2, 4, 1, 3, 1), {
    do: "flush",
  }];
  for (const step of story) teller.tell(step);
  const { files } = teller.recording;
  const segments = [...files.keys()].filter((name) => name.startsWith("log/")).sort();
  assert(segments.length >= 4);
  return { files, log: teller.log, segments };
}

function flipped(files: Files, name: string, byte: number): Files {
  const bytes = files.get(name)!.slice();
  bytes[byte < 0 ? bytes.length + byte : byte]! ^= 4; // from the end when negative
  return new Map(files).set(name, bytes);
}

/** Those entries that were in a damaged folder's log and are nowhere now, by their indexes. */
function lost(entries: Entry[], before: Files, now: Files): number[] {
  const textOf = (files: Files, prefix: RegExp) =>
    [...files].filter(([name]) => prefix.test(name)).map(([, bytes]) => new TextDecoder().decode(bytes))
      .join();
  const had = textOf(before, /^log\//);
  const has = textOf(now, /^(damaged|torn)\//);
  return entries.filter((entry) => had.includes(lines([entry])) && !has.includes(lines([entry])))
    .map(({ index }) => index);
}

Deno.test("open() of a damaged folder, cut short in any call, never forgets that something was lost", () => {
  const { files, log, segments } = stopped();
  const without = (name: string): Files => new Map([...files].filter(([other]) => other !== name));
  const last = segments.at(-1)!;
  const damages: [string, Files][] = [
    ["in the middle", flipped(files, segments[1]!, 300)],
    ["a header", flipped(files, segments[2]!, 40)],
    ["what only the state file vouches for", flipped(files, last, -40)],
    ["the header of the last segment", flipped(files, last, 40)],
    ["a segment is gone", without(segments[1]!)],
    ["the last segment is gone", without(last)],
    ["the state file", flipped(files, stateName, 60)],
    ["the state file and the log", flipped(flipped(files, stateName, 60), segments[2]!, 300)],
  ];
  let runs = 0;
  for (const [what, damaged] of damages) {
    const first = start(damaged);
    assert(first.found.damage !== null, what);
    const count = (first.found.snapshot?.lastIncludedIndex ?? 0) + first.found.entries.length;
    const check = (files: Files): Call[] => {
      runs++;
      const { found, recording } = start(files);
      assert(isAllowed(found, [{ log, min: count }]), what);
      assertEquals((found.snapshot?.lastIncludedIndex ?? 0) + found.entries.length, count, what);
      assertEquals(found.hardState.admittedIndex, 0, what);
      if (found.damage === null) assertEquals(found.identity!.incarnation, newIncarnation, what);
      const calls = [...recording.calls];
      assertEquals(
        lost(log.slice(count), damaged, recording.files),
        [],
        `${what}: all that goes is saved aside`,
      );
      const { found: after } = start(recording.files);
      assertEquals([after.damage, after.hardState.admittedIndex], [null, 0], what);
      assertEquals(after.identity!.incarnation, newIncarnation, what);
      return calls;
    };
    assert(first.recording.calls.length >= 2, what);
    for (const call of first.recording.calls) {
      for (const files of leftBy(call)) {
        for (const next of check(files)) {
          for (const again of leftBy(next)) check(again);
        }
      }
    }
  }
  assert(runs > 2000, `${runs} runs`);
});
