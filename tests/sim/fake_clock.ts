/**
 * The clock of one simulated process: simulated time, seen through an oscillator that runs a little fast or slow
 * and through timers that are a little late.
 *
 * @module
 */

import type { Clock, Timer } from "../../lib/io/io.ts";
import type { Random } from "./random.ts";
import type { Event, Life, Scheduler } from "./scheduler.ts";

/** What is wrong with clocks. */
export interface ClockFaults {
  /** Clocks run up to this part faster or slower than true time; 0.1 is 10 %. */
  driftMax: number;
  /** Timers are up to this late. */
  lateMsMax: number;
}

/** Makes the clock of one life. */
export function fakeClock(
  scheduler: Scheduler,
  life: Life,
  options: { random: Random; faults: ClockFaults },
): Clock {
  const { random, faults } = options;
  const rate = 1 + random.between(-faults.driftMax, faults.driftMax);
  const offset = random.between(0, 1e6);
  // All timers that are due within one such step run at its end: late, but in the order of their times.
  const stepMs = random.between(0, faults.lateMsMax);
  let soons: (() => void)[] = [];

  function start(ms: number, what: string, run: () => void): Event {
    const due = scheduler.now + ms / rate;
    const late = stepMs === 0 ? due : Math.ceil(due / stepMs) * stepMs;
    return scheduler.schedule(late - scheduler.now, life, what, run);
  }

  return {
    now: () => offset + scheduler.now * rate,
    after(ms: number, f: () => void): Timer {
      const event = start(ms, "timer", f);
      return { cancel: () => scheduler.cancel(event) };
    },
    every(ms: number, f: () => void): Timer {
      const repeat = (): void => {
        event = start(ms, "tick", repeat);
        f();
      };
      let event = start(ms, "tick", repeat);
      return { cancel: () => scheduler.cancel(event) };
    },
    soon(f: () => void): void {
      soons.push(f);
      if (soons.length > 1) return;
      scheduler.soon(life, "soon", () => {
        const ready = soons;
        soons = [];
        for (const run of ready) run();
      });
    },
  };
}
