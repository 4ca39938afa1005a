import { assertEquals, assertLess } from "@std/assert";
import { Rounds } from "../../lib/server/rounds.ts";

/** An event loop, with what is due at some time and what is due soon. */
class Loop {
  rounds = 0;
  left = 0;
  /** Happens in each round. */
  inRound = (): void => {};
  #now = 0;
  #timers: { at: number; run: () => void }[] = [];
  #soon: (() => void)[] = [];
  readonly node: Rounds;

  constructor(delayMs = 0) {
    const timer = { cancel: () => {} };
    const clock = {
      now: () => this.#now,
      after: (ms: number, run: () => void) => (this.#timers.push({ at: this.#now + ms, run }), timer),
      every: () => timer,
      soon: (f: () => void) => this.#soon.push(f),
    };
    this.node = new Rounds(clock, delayMs, () => {
      this.rounds++;
      this.inRound();
      return this.left-- > 0;
    });
  }

  /** Something happens; and what is to be soon behind that. */
  handle(event: () => void): void {
    event();
    while (this.#soon.length > 0) this.#soon.shift()!();
  }

  /** Comes around once, `ms` milliseconds later. */
  turn(ms = 0): void {
    this.#now += ms;
    const due = this.#timers.filter(({ at }) => at <= this.#now);
    this.#timers = this.#timers.filter(({ at }) => at > this.#now);
    for (const { run } of due) this.handle(run);
  }
}

Deno.test("Rounds.wake() has one round for all that happens before it, at once or as much later as it should be", () => {
  for (const delayMs of [0, 100]) {
    const loop = new Loop(delayMs);
    loop.handle(() => {
      for (let i = 0; i < 10; i++) loop.node.wake();
      assertEquals(loop.rounds, 0);
    });
    assertEquals(loop.rounds, delayMs === 0 ? 1 : 0);
    loop.turn(99);
    assertEquals(loop.rounds, delayMs === 0 ? 1 : 0);
    loop.turn(1);
    assertEquals(loop.rounds, 1);
    loop.turn(1000);
    assertEquals(loop.rounds, 1, "nothing has happened since");
  }
});

Deno.test("Rounds.wake() in the middle of a round has another one follow, which sees what happened", () => {
  for (const delayMs of [0, 100]) {
    const loop = new Loop(delayMs);
    loop.inRound = () => {
      if (loop.rounds === 1) loop.node.wake();
    };
    loop.handle(() => loop.node.wake());
    for (let turn = 0; turn < 5; turn++) loop.turn(delayMs);
    assertEquals(loop.rounds, 2);
  }
});

Deno.test("Rounds.wake() has one round, after its delay, for what the last one left and what has happened since", () => {
  const loop = new Loop(100);
  loop.left = 1;
  loop.handle(() => loop.node.wake());
  loop.turn(100);
  loop.turn(); // others had their turn
  loop.handle(() => loop.node.wake());
  loop.turn(99);
  assertEquals(loop.rounds, 1);
  loop.turn(1);
  assertEquals([loop.rounds, loop.left], [2, -1]);
  loop.turn(1000);
  assertEquals(loop.rounds, 2, "nothing was left, and nothing has happened");
});

Deno.test("Rounds.wake() lets others have their turn between rounds that leave something, however often it is woken", () => {
  const loop = new Loop();
  loop.left = 1000;
  for (let turn = 0; turn < 200; turn++) {
    const before = loop.rounds;
    loop.handle(() => loop.node.wake()); // something else happens in each turn
    loop.turn();
    assertLess(loop.rounds - before, 3);
  }
  for (let turn = 0; turn < 1000; turn++) loop.turn();
  assertEquals(loop.left, -1, "all is done, and then no more");
});
