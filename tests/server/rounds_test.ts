import { assertEquals, assertLess } from "@std/assert";
import { Rounds } from "../../lib/server/rounds.ts";

/** An event loop, with what is due in its next turn and what is due soon. */
class Loop {
  rounds = 0;
  left = 0;
  #next: (() => void)[] = [];
  #soon: (() => void)[] = [];
  readonly node: Rounds;

  constructor(delayMs = 0) {
    const timer = { cancel: () => {} };
    const clock = {
      now: () => 0,
      after: (_ms: number, f: () => void) => (this.#next.push(f), timer),
      every: () => timer,
      soon: (f: () => void) => this.#soon.push(f),
    };
    this.node = new Rounds(clock, delayMs, () => {
      this.rounds++;
      return this.left-- > 0;
    });
  }

  /** Something happens; and what is to be soon behind that. */
  handle(event: () => void): void {
    event();
    for (const run of this.#soon.splice(0)) run();
  }

  /** Comes around once. */
  turn(): void {
    for (const timer of this.#next.splice(0)) this.handle(timer);
  }
}

Deno.test("Rounds.wake() has one round for all that happens before it", () => {
  for (const delayMs of [0, 100]) {
    const loop = new Loop(delayMs);
    loop.handle(() => {
      for (let i = 0; i < 10; i++) loop.node.wake();
      assertEquals(loop.rounds, 0);
    });
    loop.turn();
    assertEquals(loop.rounds, 1);
    loop.turn();
    assertEquals(loop.rounds, 1, "nothing has happened since");
  }
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
