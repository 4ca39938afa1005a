/**
 * How fast a node's clocks run: three modes, one for work and two for watching, and an option for each number.
 *
 * @module
 */

import type { Timing } from "../server/options.ts";
import { UsageError } from "./exit.ts";
import { didYouMean, type Option, type Parsed } from "./options.ts";

/** The modes by name. Milliseconds. */
export const timingModes = {
  fast: {
    eventLoopDelayMs: 0,
    heartbeatIntervalMs: 50,
    electionTimeoutMinMs: 150,
    electionTimeoutMaxMs: 300,
    networkDelayMs: 0,
    clientDelayMs: 0,
  },
  debug: {
    eventLoopDelayMs: 100,
    heartbeatIntervalMs: 500,
    electionTimeoutMinMs: 1000,
    electionTimeoutMaxMs: 2000,
    networkDelayMs: 50,
    clientDelayMs: 25,
  },
  demo: {
    eventLoopDelayMs: 1000,
    heartbeatIntervalMs: 3000,
    electionTimeoutMinMs: 5000,
    electionTimeoutMaxMs: 8000,
    networkDelayMs: 500,
    clientDelayMs: 200,
  },
} as const satisfies Record<string, Timing>;

type ModeName = keyof typeof timingModes;
const modeNames = Object.keys(timingModes) as ModeName[];

/** Which option sets which number. */
const fields: readonly (readonly [option: string, field: keyof Timing, text: string])[] = [
  ["event-loop-delay", "eventLoopDelayMs", "between rounds of work"],
  ["heartbeat-interval", "heartbeatIntervalMs", "between heartbeats of a leader"],
  ["election-timeout-min", "electionTimeoutMinMs", "shortest wait for a leader before an election"],
  ["election-timeout-max", "electionTimeoutMaxMs", "longest wait for a leader before an election"],
  ["network-delay", "networkDelayMs", "before each message to another node"],
  ["client-delay", "clientDelayMs", "before each reply to a client"],
];

/** The options that `timingOf` reads. */
export const timingOptions: readonly Option[] = [
  { name: "timing-mode", value: "NAME", text: "fast (default), debug or demo" },
  ...modeNames.map((name) => ({ name: `${name}-mode`, text: `same as --timing-mode ${name}` })),
  ...fields.map(([name, , text]) => ({ name, value: "MS", text })),
];

/** The timing that a command line asks for. Throws UsageError when its numbers contradict each other. */
export function timingOf(parsed: Parsed): Timing {
  const timing: Timing = { ...timingModes[modeOf(parsed)] };
  for (const [option, field] of fields) {
    timing[field] =
      parsed.integer(option, { min: field === "heartbeatIntervalMs" ? 1 : 0, max: 3_600_000 }) ??
        timing[field];
  }
  const { eventLoopDelayMs, heartbeatIntervalMs, electionTimeoutMinMs, electionTimeoutMaxMs } = timing;
  if (electionTimeoutMinMs >= electionTimeoutMaxMs) {
    throw new UsageError(
      `--election-timeout-min (${electionTimeoutMinMs} ms) must be less than ` +
        `--election-timeout-max (${electionTimeoutMaxMs} ms): nodes take turns by waiting differently long`,
    );
  }
  if (heartbeatIntervalMs + eventLoopDelayMs >= electionTimeoutMinMs) {
    throw new UsageError(
      `--heartbeat-interval (${heartbeatIntervalMs} ms) plus --event-loop-delay (${eventLoopDelayMs} ms) must be ` +
        `less than --election-timeout-min (${electionTimeoutMinMs} ms), or followers give up a leader that lives`,
    );
  }
  const roundTripMs = 2 * (timing.networkDelayMs + eventLoopDelayMs);
  if (roundTripMs >= electionTimeoutMinMs) {
    throw new UsageError(
      `a vote takes twice --network-delay plus --event-loop-delay, ${roundTripMs} ms, which must be ` +
        `less than --election-timeout-min (${electionTimeoutMinMs} ms), or nobody is ever elected`,
    );
  }
  return timing;
}

/** The words that give another node the same timing. */
export function timingArguments(parsed: Parsed): string[] {
  return timingOptions.flatMap(({ name, value }) => {
    if (value === undefined) return parsed.flag(name) ? [`--${name}`] : [];
    const text = parsed.text(name);
    return text === undefined ? [] : [`--${name}`, text];
  });
}

function modeOf(parsed: Parsed): ModeName {
  const flags = modeNames.filter((name) => parsed.flag(`${name}-mode`));
  const named = parsed.text("timing-mode")?.toLowerCase();
  if (flags.length + (named === undefined ? 0 : 1) > 1) {
    throw new UsageError(
      "give one timing mode: --timing-mode NAME or one of --fast-mode, --debug-mode, --demo-mode",
    );
  }
  if (named === undefined) return flags[0] ?? "fast";
  const mode = modeNames.find((name) => name === named);
  if (mode !== undefined) return mode;
  throw new UsageError(
    `--timing-mode is ${modeNames.join(", ")}, not "${named}".${didYouMean(named, modeNames)}`,
  );
}
