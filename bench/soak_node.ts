/**
 * Runs the command that it is given, `kvapp` with its arguments, in this process, and tells its journal every few
 * seconds what nobody can see from outside: how many timers are pending, and the memory that is left when garbage has been
 * collected. The program itself has no such line, because only the soak needs it.
 *
 * @module
 */

import { main } from "../lib/cli/cli.ts";
import { defaultLimits, type Limits } from "../lib/server/options.ts";
import { wrappedArguments, wrapperWords } from "../tests/cli/processes.ts";
import { statusOf } from "./process_figures.ts";
import { Stillness } from "./yardstick.ts";

/** What a test cluster takes before its arguments, so that its nodes tell this. */
export const soakNode: readonly [string, ...string[]] = wrapperWords(import.meta.url, "--expose-gc");

/** What a node tells of its inside. */
export interface InnerFigures {
  /** Pending ones, whichever part of the node started them. */
  timers: number;
  /** What is left, of the heap and of buffers outside of it, when everything was last collected. */
  heapBytes: number;
  externalBytes: number;
  /** Of the process then, without the pages of its program, which the system loads and drops as it likes. */
  ownBytes: number;
  /** The longest that the event loop did not come around to a timer, the collection before these figures included. */
  stillMilliseconds: number;
}

/** What fills up by design has an eighth of its bound: it is full sooner, and its ups and downs hide less. */
const limits: Partial<Limits> = {
  snapshotEntries: defaultLimits.snapshotEntries / 8,
  snapshotLogBytes: defaultLimits.snapshotLogBytes / 8,
  segmentBytesMax: defaultLimits.segmentBytesMax / 8,
  trailingBytes: defaultLimits.trailingBytes / 8,
  watchHistoryBytes: defaultLimits.watchHistoryBytes / 8,
};

const mark = "soak figures: ";
const tellMs = 10_000, collectMs = 60_000, giveBackMs = 100, lookMs = 20;

/** What V8 does before it gives up for want of memory. */
interface Collect {
  (options: { type: "major"; execution: "sync"; flavor: "last-resort" }): void;
}

/** The latest figures in a node's journal; null: it has told none yet. */
export function latestFigures(journal: string): InnerFigures | null {
  const from = journal.lastIndexOf(mark, journal.lastIndexOf("\n"));
  return from < 0 ? null : JSON.parse(journal.slice(from + mark.length, journal.indexOf("\n", from)));
}

/** Whether a line of a journal is such figures. */
export function isFigures(line: string): boolean {
  return line.includes(mark);
}

/** Puts timers that are counted into `scope`; returns how many are pending. */
export function countTimers(scope: object): () => number {
  const pending = new Set<unknown>();
  const { setTimeout, setInterval, clearTimeout } = globalThis;
  const clear = (timer?: number): void => {
    pending.delete(timer);
    clearTimeout(timer); // which ends intervals too
  };
  Object.assign(scope, {
    setTimeout: (f: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => {
      const timer = setTimeout(() => {
        pending.delete(timer);
        f(...args);
      }, ms);
      pending.add(timer);
      return timer;
    },
    setInterval: (f: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => {
      const timer = setInterval(f, ms, ...args);
      pending.add(timer);
      return timer;
    },
    clearTimeout: clear,
    clearInterval: clear,
  });
  return () => pending.size;
}

if (import.meta.main) {
  Object.assign(defaultLimits, limits);
  const { setInterval, setTimeout } = globalThis; // do not count themselves
  const timers = countTimers(globalThis);
  const { gc } = globalThis as unknown as { gc: Collect };
  const stillness = new Stillness();
  setInterval(() => stillness.tick(), lookMs);
  let rest: Pick<InnerFigures, "heapBytes" | "externalBytes" | "ownBytes"> | null = null;
  setInterval(() => {
    if (rest === null) return;
    const figures: InnerFigures = { timers: timers(), ...rest, stillMilliseconds: stillness.take() };
    console.error(mark + JSON.stringify(figures));
  }, tellMs);
  // Snapshots come at drawn distances, so their saw cannot keep step with this.
  // A pause that the load notices: it makes elections likelier and hides none. A lesser collection leaves pages half
  // empty and 70 MiB of room for young objects; how much of them there is changes by 10 MiB at V8's leisure.
  const collect = (): void => {
    gc({ type: "major", execution: "sync", flavor: "last-resort" });
    setTimeout(async () => { // pages are given back behind the collection
      const { heapUsed: heapBytes, external: externalBytes } = Deno.memoryUsage();
      rest = { heapBytes, externalBytes, ownBytes: (await statusOf(Deno))("RssAnon") * 1024 };
    }, giveBackMs);
  };
  setTimeout(() => {
    collect();
    setInterval(collect, collectMs);
  }, Deno.pid % 6 * tellMs / 6); // not all nodes at once
  Deno.exit(await main(wrappedArguments()));
}
