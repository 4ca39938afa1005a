/**
 * How fast a node's clocks run: three modes, one for work and two for watching, and what the numbers owe each other.
 *
 * @module
 */

import type { Timing } from "../server/options.ts";
import { OptionError } from "./errors.ts";

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

/** "fast" is for work; "debug" and "demo" slow everything down, so that a person can watch. */
export type TimingMode = "fast" | "debug" | "demo";

/** No interval is longer: an hour. */
export const intervalMsMax = 3_600_000;

/** The timing that is meant; what is left out is as in "fast". Throws OptionError. */
export function timingFrom(timing: TimingMode | Partial<Timing> = "fast"): Timing {
  if (typeof timing !== "string") return checkedTiming({ ...timingModes.fast, ...timing });
  if (Object.hasOwn(timingModes, timing)) return timingModes[timing];
  throw new OptionError((name) =>
    `${name("timing")} is ${Object.keys(timingModes).join(", ")}, not "${timing}"`
  );
}

/** Gives the timing back. Throws OptionError when its numbers contradict each other. */
export function checkedTiming(timing: Timing): Timing {
  for (const [field, value] of Object.entries(timing)) {
    const min = field === "heartbeatIntervalMs" ? 1 : 0;
    if (value >= min && value <= intervalMsMax) continue; // a number, then
    throw new OptionError((name) => `${name(field)} is from ${min} to ${intervalMsMax} ms, not ${value}`);
  }
  const { eventLoopDelayMs, heartbeatIntervalMs, electionTimeoutMinMs, electionTimeoutMaxMs } = timing;
  if (electionTimeoutMinMs >= electionTimeoutMaxMs) {
    throw new OptionError((name) =>
      `${name("electionTimeoutMinMs")} (${electionTimeoutMinMs} ms) must be less than ` +
      `${
        name("electionTimeoutMaxMs")
      } (${electionTimeoutMaxMs} ms): nodes take turns by waiting differently long`
    );
  }
  if (heartbeatIntervalMs + eventLoopDelayMs >= electionTimeoutMinMs) {
    throw new OptionError((name) =>
      `${name("heartbeatIntervalMs")} (${heartbeatIntervalMs} ms) plus ${name("eventLoopDelayMs")} ` +
      `(${eventLoopDelayMs} ms) must be less than ${
        name("electionTimeoutMinMs")
      } (${electionTimeoutMinMs} ms), ` +
      "or followers give up a leader that lives"
    );
  }
  const roundTripMs = 2 * (timing.networkDelayMs + eventLoopDelayMs);
  if (roundTripMs >= electionTimeoutMinMs) {
    throw new OptionError((name) =>
      `a vote takes twice ${name("networkDelayMs")} plus ${
        name("eventLoopDelayMs")
      }, ${roundTripMs} ms, which must ` +
      `be less than ${name("electionTimeoutMinMs")} (${electionTimeoutMinMs} ms), or nobody is ever elected`
    );
  }
  return timing;
}
