/**
 * How fast a node's clocks run: three modes, one for work and two for watching, and an option for each number.
 *
 * @module
 */

import { checkedTiming, intervalMsMax, timingModes } from "../node/timing.ts";
import type { Timing } from "../server/options.ts";
import { namingFlags, UsageError } from "./exit.ts";
import { didYouMean, type Option, type Parsed } from "./options.ts";

export { timingModes };

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
      parsed.integer(option, { min: field === "heartbeatIntervalMs" ? 1 : 0, max: intervalMsMax }) ??
        timing[field];
  }
  return namingFlags(() => checkedTiming(timing));
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
