/**
 * The verdict of a soak on samples whose truth is known: what grows must be found, and what is only noisy must not.
 *
 * @module
 */

import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { countTimers, latestFigures } from "../../bench/soak_node.ts";
import { judge, leastSquares, type NodeSample, type Point, theilSen } from "../../bench/soak_verdict.ts";
import { describeSlowest, Machine } from "../../bench/yardstick.ts";
import { Random } from "../../lib/chaos/random.ts";

const warmUpSeconds = 600;

/** Forty minutes of a node that is well, each sample changed by `change`: its memory is noisy, and measured once a minute. */
function samplesOf(
  seed: string,
  change: (sample: NodeSample) => Partial<NodeSample> = () => ({}),
): NodeSample[] {
  const source = new Random(seed);
  const random = (): number => source.next();
  let restMebibytes = 0;
  return Array.from({ length: 241 }, (_, i) => {
    const seconds = 10 * i;
    if (i % 6 === 0) {
      const filling = 100 * Math.max(0, 1 - seconds / 400);
      restMebibytes = 135 - filling + 4 * random() + (random() < 0.05 ? 60 : 0);
    }
    const sample: NodeSample = {
      seconds,
      rssMebibytes: 500 + 100 * random(),
      restMebibytes,
      heapMebibytes: 200,
      externalMebibytes: 10,
      descriptors: 40 + Math.floor(5 * random()) + (random() < 0.05 ? 20 : 0),
      threads: 7,
      timers: 5 + Math.floor(3 * random()),
      stillMilliseconds: 100,
      term: 1,
      role: "follower",
      snapshotIndex: 1000 * Math.floor(seconds / 65),
      diskMebibytes: 60,
      files: 8,
    };
    return { ...sample, ...change(sample) };
  });
}

function problemsOf(change: (sample: NodeSample) => Partial<NodeSample>): string[] {
  return judge(samplesOf("a", change), warmUpSeconds).problems;
}

Deno.test("leastSquares() and theilSen() find the slope of a line, the second one past points out of line", () => {
  const line: Point[] = Array.from({ length: 20 }, (_, x) => [x, 3 * x + 7]);
  assertAlmostEquals(leastSquares(line), 3);
  assertAlmostEquals(theilSen(line).slope, 3);
  const spoilt = line.map(([x, y]): Point => [x, x > 16 ? y + 500 : y]);
  assert(leastSquares(spoilt) > 10);
  assertAlmostEquals(theilSen(spoilt).slope, 3);
});

Deno.test("judge() finds nothing in nodes that are noisy and flat", () => {
  for (let seed = 0; seed < 50; seed++) {
    assertEquals(judge(samplesOf(`${seed}`), warmUpSeconds).problems, [], `seed ${seed}`);
  }
});

Deno.test("judge() finds a leak of 10 MiB an hour in forty minutes", () => {
  for (let seed = 0; seed < 50; seed++) {
    const samples = samplesOf(`${seed}`, ({ restMebibytes, seconds }) => ({
      restMebibytes: restMebibytes + 10 * Math.floor(seconds / 60) / 60,
    }));
    const { problems } = judge(samples, warmUpSeconds);
    assertEquals(problems.length, 1, `seed ${seed}`);
    assertMatch(
      problems[0]!,
      /^memory grows by \d+\.\d MiB an hour \(\d+\.\d to \d+\.\d\), and 4 are allowed/,
    );
  }
});

Deno.test("theilSen() bounds the true slope nine times in ten", () => {
  const random = new Random("bounds");
  let inside = 0;
  for (let run = 0; run < 1000; run++) {
    const points = Array.from({ length: 15 }, (_, x): Point => [x, 3 * x + 20 * random.next()]);
    const { least, most } = theilSen(points);
    if (least <= 3 && 3 <= most) inside++;
  }
  assert(inside > 870 && inside < 950, `${inside} of 1000`);
});

Deno.test("judge() counts a measurement once, however many samples repeat it", () => {
  const bounds = (every: number): number => {
    const samples = samplesOf("a").filter((_, i) => i % every === 0);
    const { least, most } = judge(samples, warmUpSeconds).slope;
    return most - least;
  };
  assertEquals(bounds(1), bounds(6));
});

Deno.test("judge() concludes nothing from a few measurements", () => {
  const samples = samplesOf("a").filter(({ seconds }) => seconds < warmUpSeconds + 300);
  assertMatch(
    judge(samples, warmUpSeconds).problems[0]!,
    /^its memory was measured 5 times, and 10 are needed/,
  );
});

Deno.test("theilSen() knows nothing of a single point", () => {
  assertEquals(theilSen([[1, 2]]), { slope: NaN, least: NaN, most: NaN });
});

Deno.test("judge() says so when memory is too noisy to tell", () => {
  const random = new Random("noisy");
  const noisy = problemsOf(({ seconds }) => ({
    restMebibytes: 200 + 10 * seconds / 3600 + 90 * random.next(),
  }));
  assertMatch(noisy[0] ?? "", /too noisy to tell/);
});

Deno.test("judge() finds descriptors and timers that grow or jump, and passes over a crowd of a moment", () => {
  assertMatch(
    problemsOf(({ descriptors, seconds }) => ({ descriptors: descriptors + Math.floor(seconds / 200) }))[0]!,
    /^descriptors are not flat/,
  );
  assertMatch(
    problemsOf(({ timers, seconds }) => ({ timers: timers + (seconds > 2000 ? 10 : 0) }))[0]!,
    /^timers are not flat/,
  );
  assertEquals(problemsOf(({ seconds }) => seconds === 1500 ? { descriptors: 900 } : {}), []);
});

Deno.test("judge() finds an election, in the warm-up too", () => {
  assertEquals(problemsOf(({ seconds }) => ({ term: seconds > 100 ? 3 : 1 })), ["its term grew by 2"]);
});

Deno.test("judge() does not call a node flat that was still filling when the warm-up ended", () => {
  const [problem] = problemsOf(({ seconds }) => ({ snapshotIndex: seconds > 500 ? 1000 : 0 }));
  assertMatch(problem!, /^it had taken 1 of 2 snapshots when the warm-up ended/);
});

Deno.test("latestFigures() takes the last whole line of a journal", () => {
  const line = (timers: number): string =>
    `soak figures: {"timers":${timers},"heapBytes":1,"externalBytes":1,"ownBytes":2,"stillMilliseconds":3}\n`;
  assertEquals(latestFigures("node 1: listens\n"), null);
  assertEquals(latestFigures(`${line(4)}node 1: leads term 1\n`), {
    timers: 4,
    heapBytes: 1,
    externalBytes: 1,
    ownBytes: 2,
    stillMilliseconds: 3,
  });
  assertEquals(latestFigures(line(4) + line(5) + 'soak figures: {"tim'), {
    timers: 5,
    heapBytes: 1,
    externalBytes: 1,
    ownBytes: 2,
    stillMilliseconds: 3,
  });
});

Deno.test("countTimers() counts timers until they have run or are cleared", async () => {
  const scope = {} as Pick<
    typeof globalThis,
    "setTimeout" | "setInterval" | "clearTimeout" | "clearInterval"
  >;
  const pending = countTimers(scope);
  const interval = scope.setInterval(() => {}, 1000);
  const timeout = scope.setTimeout(() => {}, 1000);
  const ran = new Promise<string>((resolve) => scope.setTimeout(resolve, 0, "its argument"));
  assertEquals(pending(), 3);
  assertEquals(await ran, "its argument");
  assertEquals(pending(), 2);
  scope.clearTimeout(timeout);
  scope.clearInterval(interval);
  assertEquals(pending(), 0);
});

Deno.test("Machine.take() tells how long each piece of work took, and describeSlowest() the worst of a run", async () => {
  const file = await Deno.makeTempFile();
  const machine = new Machine(file);
  const first = machine.take(); // while the first fsync is under way
  await machine.close();
  const last = machine.take();
  await Deno.remove(file);
  assert(first.computeMilliseconds > 0 && first.longestFsyncMilliseconds > 0);
  assert(last.fsyncMilliseconds > 0 && last.longestFsyncMilliseconds >= last.fsyncMilliseconds);
  const all = [1, 1, 1, 3].map((n) => ({
    computeMilliseconds: n,
    fsyncMilliseconds: 2 * n * n,
    longestFsyncMilliseconds: 100 * n,
  }));
  assertMatch(
    describeSlowest(all),
    /3\.0 times the median for the same computation, 9\.0 times for an fsync; the longest fsync took 300 ms/,
  );
});
