/**
 * Whether something in a node grew during a soak, or a term did, from samples of it.
 *
 * @module
 */

/** What was seen of a node at one moment. */
export interface NodeSample {
  /** Since the load began. */
  seconds: number;
  /** Memory of the process, now. */
  rssMebibytes: number;
  /** What was its own when everything had last been collected, the heap then, and buffers outside of it. */
  restMebibytes: number;
  heapMebibytes: number;
  externalMebibytes: number;
  descriptors: number;
  threads: number;
  timers: number;
  /** The longest that its event loop stood still lately. */
  stillMilliseconds: number;
  term: number;
  role: string;
  snapshotIndex: number;
  diskMebibytes: number;
  files: number;
}

type Memory = "rssMebibytes" | "restMebibytes" | "heapMebibytes";

/** A place on a line. */
export type Point = readonly [x: number, y: number];

/** First, last and greatest of a figure behind the warm-up. */
export interface Course {
  first: number;
  last: number;
  max: number;
}

/** What became of a node. */
export interface NodeVerdict {
  /**
   * In MiB an hour: of what is its own, which is what counts, with its bounds, and by least squares; of what is resident, be
   * it garbage or a page of the program; of the heap.
   */
  slope: {
    theilSen: number;
    least: number;
    most: number;
    leastSquares: number;
    resident: number;
    heap: number;
  };
  rssMebibytes: Course;
  restMebibytes: Course;
  heapMebibytes: Course;
  externalMebibytes: Course;
  descriptors: Course;
  timers: Course;
  threads: Course;
  diskMebibytes: Course;
  files: Course;
  /** Snapshots that it took in the whole run, as far as samples show. */
  snapshots: number;
  /** By how much its term grew in the whole run. */
  elections: number;
  /** Which bars are broken, in words. */
  problems: string[];
}

/** The bars: MiB an hour, and how far descriptors and timers may stray. */
export const slopeMax = 4, strayMax = 5;
/** From fewer measurements of memory nothing is concluded. */
const measurementsMin = 10;
/** Windows of descriptors and timers are so long, in seconds, and shorter when there would be too few. */
const windowSeconds = 120, windowsMin = 10;
/** By then the oldest log has gone from memory and disk, and the history for watches is full. */
const snapshotsOfWarmUp = 2;

/**
 * Judges what was seen of one node; what came before `warmUpSeconds` counts for elections only.
 *
 * Memory was measured behind a full collection, less often than the samples were taken: each measurement counts once. What
 * is left still goes up and down, with the log up to the next snapshot and with what is on its way. The slope is the median
 * of the slopes of all pairs (Theil and Sen), which a few that are out of line do not move; least squares stands beside it.
 * Of descriptors and timers only the least of each window counts: clients that come and go make crowds, and what leaked
 * is there when they have gone.
 */
export function judge(samples: readonly NodeSample[], warmUpSeconds: number): NodeVerdict {
  const counted = samples.filter(({ seconds }) => seconds >= warmUpSeconds);
  const windows = windowsOf(counted);
  const line = (name: Memory, some = counted): Point[] =>
    some.map((sample) => [sample.seconds / 3600, sample[name]]);
  const measured = counted.filter((sample, i) => i === 0 || isNew(sample, counted[i - 1]!));
  const { slope: theil, least, most } = theilSen(line("restMebibytes", measured));
  const slope = {
    theilSen: theil,
    least,
    most,
    leastSquares: leastSquares(line("restMebibytes", measured)),
    resident: leastSquares(line("rssMebibytes")),
    heap: theilSen(line("heapMebibytes", measured)).slope,
  };
  const elections = samples.at(-1)!.term - samples[0]!.term;
  const problems: string[] = [];
  if (measured.length < measurementsMin) {
    problems.push(
      `its memory was measured ${measured.length} times, and ${measurementsMin} are needed: run longer`,
    );
  } else if (!(theil <= slopeMax)) {
    const [grows, from, to] = [theil, least, most].map((one) => one.toFixed(1));
    const doubt = least <= slopeMax ? ": too noisy to tell, run longer on a quieter machine" : "";
    problems.push(
      `memory grows by ${grows} MiB an hour (${from} to ${to}), and ${slopeMax} are allowed${doubt}`,
    );
  }
  for (const name of ["descriptors", "timers"] as const) {
    const least = windows.map((all) => Math.min(...all.map((sample) => sample[name])));
    const stray = Math.max(...least.map((one) => Math.abs(one - least[0]!)));
    if (stray > strayMax) problems.push(`${name} are not flat: the least of a window strays by ${stray}`);
  }
  if (elections > 0) problems.push(`its term grew by ${elections}`);
  const inWarmUp = snapshotsIn(samples.filter(({ seconds }) => seconds < warmUpSeconds));
  if (inWarmUp < snapshotsOfWarmUp) {
    problems.push(
      `it had taken ${inWarmUp} of ${snapshotsOfWarmUp} snapshots when the warm-up ended: its memory was filling; run longer or faster`,
    );
  }
  const course = (name: keyof NodeSample): Course => courseOf(counted.map((sample) => Number(sample[name])));
  return {
    slope,
    rssMebibytes: course("rssMebibytes"),
    restMebibytes: course("restMebibytes"),
    heapMebibytes: course("heapMebibytes"),
    externalMebibytes: course("externalMebibytes"),
    descriptors: course("descriptors"),
    timers: course("timers"),
    threads: course("threads"),
    diskMebibytes: course("diskMebibytes"),
    files: course("files"),
    snapshots: snapshotsIn(samples),
    elections,
    problems,
  };
}

/** The slope of the line that is nearest to all points by the squares of their distances. */
export function leastSquares(points: readonly Point[]): number {
  const mean = (i: 0 | 1): number => points.reduce((sum, point) => sum + point[i], 0) / points.length;
  const [x0, y0] = [mean(0), mean(1)];
  const squares = points.reduce((sum, [x]) => sum + (x - x0) ** 2, 0);
  return points.reduce((sum, [x, y]) => sum + (x - x0) * (y - y0), 0) / squares;
}

/**
 * The median of the slopes of all pairs of points, and between which two of them the true slope lies, nine times in ten,
 * if the points stray independently of each other (Sen 1968). NaN of a single point.
 */
export function theilSen(points: readonly Point[]): { slope: number; least: number; most: number } {
  const slopes = points.flatMap(([x, y], i) => points.slice(i + 1).map(([x1, y1]) => (y1 - y) / (x1 - x)));
  slopes.sort((a, b) => a - b);
  const n = points.length;
  const spread = 1.645 * Math.sqrt(n * (n - 1) * (2 * n + 5) / 18);
  const [low, high] = [Math.floor((slopes.length - spread) / 2), Math.ceil((slopes.length + spread) / 2)];
  const at = (rank: number): number => slopes[Math.min(slopes.length - 1, Math.max(0, rank))] ?? NaN;
  return { slope: median(slopes), least: at(low), most: at(high) };
}

/** Whether memory was measured again between two samples: of the heap, to the byte, it is never the same. */
function isNew(sample: NodeSample, before: NodeSample): boolean {
  return sample.restMebibytes !== before.restMebibytes || sample.heapMebibytes !== before.heapMebibytes;
}

/** Cuts samples into windows of equal length; the last one may be shorter by less than half. */
function windowsOf(samples: readonly NodeSample[]): NodeSample[][] {
  const from = samples[0]!.seconds;
  const span = samples.at(-1)!.seconds - from;
  const count = Math.max(windowsMin, Math.round(span / windowSeconds));
  const windows: NodeSample[][] = Array.from({ length: count }, () => []);
  for (const sample of samples) {
    windows[Math.min(count - 1, Math.floor((sample.seconds - from) / span * count))]!.push(sample);
  }
  return windows.filter(({ length }) => length > 0);
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function courseOf(numbers: readonly number[]): Course {
  return { first: numbers[0]!, last: numbers.at(-1)!, max: Math.max(...numbers) };
}

function snapshotsIn(samples: readonly NodeSample[]): number {
  return new Set(samples.map(({ snapshotIndex }) => snapshotIndex).filter((index) => index > 0)).size;
}
