/**
 * Who works how long, on a clock that the work itself moves on.
 *
 * @module
 */

import { assert, assertEquals, assertLess } from "@std/assert";
import { Turns, type Worker } from "../../lib/server/turns.ts";

/** An event loop with one kind of event, the next turn. */
class Loop {
  ms = 0;
  readonly turns: Turns;
  #next: (() => void)[] = [];

  constructor() {
    this.turns = new Turns({
      now: () => this.ms,
      after: (_ms, f) => {
        this.#next.push(f);
        return { cancel: () => {} };
      },
      every: () => ({ cancel: () => {} }),
      soon: (f) => this.#next.push(f),
    });
  }

  /** Comes around once; returns how long that took. */
  turn(): number {
    const before = this.ms;
    const due = this.#next;
    this.#next = [];
    for (const run of due) run();
    return this.ms - before;
  }
}

/** Has parts of work that take a millisecond each, or another time. */
class Job implements Worker {
  turn = 0;
  usedMs = 0;
  worksUntil = 0;
  done = 0;
  weight = 0;

  constructor(readonly loop: Loop, public parts: number, readonly msEach = 1) {
    this.goOn();
  }

  get isDone(): boolean {
    return this.done === this.parts;
  }

  goOn(): void {
    const { loop } = this;
    loop.turns.run(this, () => {
      while (!this.isDone && !loop.turns.isOver(this)) {
        loop.ms += this.msEach;
        this.done++;
        if (this.msEach >= 0.05) loop.turns.look(); // shorter ones it counts
      }
    });
  }
}

Deno.test("Turns.run() lets a worker have a turn to itself, and go on in the next one until it is done", () => {
  const loop = new Loop();
  const job = new Job(loop, 95);
  assertEquals(job.done, 10);
  for (let i = 0; i < 8; i++) assertEquals(loop.turn(), 10);
  assertEquals(loop.turn(), 5);
  assert(job.isDone);
  assertEquals(loop.turn(), 0, "nobody waits any more");
});

Deno.test("Turns.isOver() finds out without a look after each part, and before many more are done", () => {
  const loop = new Loop();
  const job = new Job(loop, 4000, 0.01);
  assert(job.done >= 1000 && job.done <= 1003, `${job.done} of 1,000`);
  loop.turn();
  assert(job.done >= 2000 && job.done <= 2006, `${job.done} of 2,000`);
});

Deno.test("Turns.run() counts what a worker does in several parts of one turn", () => {
  const loop = new Loop();
  new Job(loop, 100);
  loop.turns.begin();
  const job = new Job(loop, 3);
  job.parts = 100;
  job.goOn();
  assertEquals(job.done, 5, "half a turn, because another one waits");
  loop.turns.begin();
  job.goOn();
  assertEquals(job.done, 10);
});

Deno.test("Turns.run() keeps turns short and shares them evenly, however many want more", () => {
  const loop = new Loop();
  const greedy = Array.from({ length: 100 }, () => new Job(loop, 1000, 0.05));
  assertLess(loop.ms, 25, "those who came late in the turn got little of it");
  for (let i = 0; i < 50; i++) assertLess(loop.turn(), 12);
  const counts = greedy.map(({ done }) => done);
  assertLess(Math.max(...counts) - Math.min(...counts), 240); // the first one had a turn to itself
});

Deno.test("Turns.run() does not keep one with little to do waiting behind a few with much", () => {
  const loop = new Loop();
  for (let i = 0; i < 5; i++) new Job(loop, 10_000);
  loop.turn();
  const small = new Job(loop, 1);
  let turns = 0;
  for (; !small.isDone; turns++) loop.turn();
  assertLess(turns, 3);
});

Deno.test("Turns.run() goes on with those for whom a turn had no time left, though all before them were in time", () => {
  const loop = new Loop();
  new Job(loop, 10);
  const jobs = Array.from({ length: 20 }, (_, i) => new Job(loop, 1, 9 / (20 - i)));
  for (let i = 0; i < 10; i++) loop.turn();
  assertEquals(jobs.filter(({ isDone }) => !isDone), []);
});

Deno.test("Turns.end() lets everybody finish at once", () => {
  const loop = new Loop();
  const job = new Job(loop, 1000);
  loop.turns.end();
  job.goOn();
  assert(job.isDone);
});
