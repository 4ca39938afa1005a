import { assert, assertEquals, assertGreater } from "@std/assert";
import { crashPoints, tell } from "./crash_points.ts";
import { keeps, leftOf } from "./crash_points_disk.ts";

/** KVAPP_CRASH_POINTS=all tries every point of two stories, which takes minutes; otherwise a hundred or two of one. */
const isComplete = Deno.env.get("KVAPP_CRASH_POINTS") === "all";
const stories = isComplete ? ["one story", "another story"] : ["one story"];
const step = isComplete ? 1 : 31;

for (const name of stories) {
  Deno.test(`tell() ends well wherever a node dies at a call to its disk, and whatever is left: ${name}`, () => {
    const whole = tell(name, null);
    assertGreater(whole.truncations, 0, "the story has a conflict");
    assertGreater(whole.snapshots, 5, "the story has snapshots");
    assertGreater(whole.installs, 0, "the story has a snapshot that is sent");
    for (const calls of whole.calls) {
      const kinds = new Set(calls.map(({ kind }) => kind));
      assert(kinds.isSupersetOf(new Set(["append", "replace", "truncate"])), "each node does all of this");
    }
    const points = crashPoints(whole).filter((_, i) => i % step === 0);
    const failures: string[] = [];
    let truncations = 0, installs = 0;
    for (const point of points) {
      try {
        const story = tell(name, point);
        assert(story.hasDied, "the node never got there");
        assertEquals(story.acknowledged, whole.acknowledged);
        truncations += story.truncations;
        installs += story.installs;
      } catch (error) {
        failures.push(`${JSON.stringify(point)}: ${error instanceof Error ? error.stack : error}`);
      }
    }
    console.log(
      `${points.length} crash points, ${failures.length} failures, ${truncations} conflicts cut, ${installs} installs`,
    );
    assertEquals(failures, []);
    assertGreater(points.length, isComplete ? 1000 : 80);
    assertGreater(truncations, points.length / 2, "most deaths leave the conflict in the story");
  });
}

Deno.test("leftOf() leaves of an append what it is told to, and of anything else all or nothing", () => {
  const old = new Uint8Array([1, 2]);
  const next = new Uint8Array(2 + 600).fill(7);
  next.set(old);
  const left = keeps.filter((kept) => kept !== "cached").map((kept) => leftOf(old, next, kept)!);
  assertEquals(left.map(({ length }) => length), [2, 602, 302, 602, 90]);
  assertEquals(left.map((bytes) => bytes[2]), [undefined, 7, 7, 0, 7]);
  for (const bytes of left) assertEquals(bytes.subarray(0, 2), old, "what was durable stays");
  for (const kept of keeps) assertEquals(leftOf(next, old, kept), kept === "nothing" ? next : old);
});
