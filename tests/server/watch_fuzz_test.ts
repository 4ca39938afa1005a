/**
 * Watches of all sorts of keys while these change, clients read or do not and states are taken over, as chance has it:
 * what each was told is held against all that ever changed.
 *
 * @module
 */

import { assert, assertEquals, assertGreater } from "@std/assert";
import { Random } from "../../lib/chaos/random.ts";
import type { Change, Command } from "../../lib/kv/command.ts";
import { Store } from "../../lib/kv/store.ts";
import { makeEntry } from "../../lib/raft/entry.ts";
import type { Caller } from "../../lib/server/caller.ts";
import { FrozenStates } from "../../lib/server/frozen_states.ts";
import { StateMachine } from "../../lib/server/state_machine.ts";
import { Watches } from "../../lib/server/watches.ts";
import { linesOf } from "../kv/commands.ts";

// Some begin with others, or differ from them in the last byte of a character only.
const keys = ["a", "ab", "abc", "a\0", "\u00e4", "\u00e4b", "\u{1f600}", "\u{1f601}", "\ufffd", "\uffff"];
const prefixes = ["", "a", "ab", "\u00e4", "\u00c3", "\u{1f600}", "\ufffd"];

interface Event {
  type: string;
  key?: string;
  value?: string;
  index: number;
  more?: true;
}

/** A client with one watch. */
class Watcher implements Caller {
  lastWriteIndex = 0;
  lastWatch = 0;
  watches = 0;
  readonly inputEnded = false;
  readonly mayHold = true;
  readonly waitsForTooMuch = false;
  /** So many times more it has room. */
  room = Infinity;
  pushed = "";

  constructor(readonly range: { key: string } | { prefix: string }, readonly after: number) {}

  get hasRoom(): boolean {
    return this.room-- > 0;
  }

  push(lines: string): void {
    this.pushed += lines;
  }

  hold(): void {}

  wants(key: string): boolean {
    return "key" in this.range ? key === this.range.key : key.startsWith(this.range.prefix);
  }
}

/** A node, and everything that ever changed on it, as a store says that nobody watches. */
class Watched {
  readonly changes: (Change & { index: number })[] = [];
  readonly watchers: Watcher[] = [];
  readonly #random: Random;
  readonly #machine: StateMachine;
  readonly #states = new FrozenStates();
  readonly #watches: Watches;
  readonly #truth = new Store();
  #now = 0;

  constructor(random: Random, historyBytes: number) {
    this.#random = random;
    this.#machine = new StateMachine(historyBytes);
    this.#watches = new Watches(this.#machine, this.#states, 1000);
  }

  /** Something happens. */
  step(): void {
    const random = this.#random;
    const weights = {
      put: 8,
      delete: 4,
      range: 4,
      txn: 4,
      open: 4,
      flush: 5,
      time: 1,
      many: 0.1,
      takeOver: 0.2,
    };
    const what = random.weighted(weights);
    if (what === "put") this.#apply(this.#onePut());
    else if (what === "delete") this.#apply({ op: "delete", key: random.pick(keys) });
    else if (what === "range") this.#apply({ op: "deleteRange", prefix: random.pick(prefixes) });
    else if (what === "txn") this.#put(Array.from({ length: 1 + random.below(6) }, () => this.#onePut()));
    else if (what === "open") this.#open();
    else if (what === "flush") this.#flush();
    else if (what === "time") this.#pass(random.pick([6000, 70_000]));
    else if (what === "many") this.#changeMany();
    else this.#takeOver();
  }

  /** All clients read all. */
  finish(): void {
    for (const watcher of this.watchers) watcher.room = Infinity;
    while (this.#watches.flush(this.#now));
  }

  #apply(command: Command): void {
    const index = this.#machine.appliedIndex + 1;
    this.#machine.apply(makeEntry({ index, term: 1, kind: "command", command, prevCrc: 0 }));
    this.#note(index, command);
  }

  #note(index: number, command: Command): void {
    this.#truth.apply(command, index);
    for (const change of this.#truth.takeChanges()) this.changes.push({ ...change, index });
  }

  #onePut() {
    return { op: "put" as const, key: this.#random.pick(keys), value: "v".repeat(this.#random.below(99)) };
  }

  #put(puts: { op: "put"; key: string; value: string }[]): void {
    this.#apply({ op: "txn", if: [], then: puts, else: [] });
  }

  #open(): void {
    const random = this.#random;
    const range = random.chance(1 / 3) ? { key: random.pick(keys) } : { prefix: random.pick(prefixes) };
    const after = Math.max(0, this.#machine.appliedIndex + random.below(16) - 12);
    const watcher = new Watcher(range, after);
    const opened = this.#watches.open({ op: "watch", id: undefined, ...range, after }, watcher, this.#now);
    assert("start" in opened);
    opened.start();
    this.watchers.push(watcher);
  }

  /** Some read a little only. */
  #flush(): void {
    for (const watcher of this.watchers) {
      watcher.room = this.#random.chance(1 / 3) ? this.#random.below(3) : Infinity;
    }
    this.#watches.flush(this.#now);
  }

  #pass(ms: number): void {
    this.#now += ms;
    this.#watches.onTick(this.#now);
    this.#states.onTick(this.#now, this.#machine);
  }

  /** An entry changes more keys than are looked at in one go. */
  #changeMany(): void {
    for (let i = 0; i < 700; i += 100) {
      this.#put(Array.from({ length: 100 }, (_, j) => ({ op: "put", key: `ab${i + j}`, value: "" })));
    }
    this.#flush();
    this.#apply({ op: "deleteRange", prefix: "ab" });
    this.#flush();
  }

  /** The state comes from elsewhere, where some entries more had been applied. */
  #takeOver(): void {
    let index = this.#machine.appliedIndex;
    for (let left = 1 + this.#random.below(3); left > 0; left--) this.#note(++index, this.#onePut());
    const store = new Store();
    for (const line of linesOf(this.#truth.snapshot())) {
      assertEquals(store.restoreLine(JSON.parse(line)), null);
    }
    assertEquals(store.finishRestore(index), null);
    this.#machine.takeOver(store, index);
  }
}

/** An event in a few letters: "put a=1 @3". */
function inWords({ type, key, value, index, more }: Event): string {
  return `${type} ${key}=${value} @${index}${more ? "+" : ""}`;
}

/** What there is of keys after these changes, as events of a reset at `index`. */
function stateAfter(changes: readonly Event[], index: number): string[] {
  const state = new Map<string, string>();
  for (const change of changes) {
    if (change.index > index) break;
    if (change.type === "put") state.set(change.key!, change.value!);
    else state.delete(change.key!);
  }
  return [...state].map(([key, value]) => inWords({ type: "put", key, value, index, more: true }));
}

/** Each change was told once and in its order, or a whole state in the place of all those before. Returns the resets. */
function check(watcher: Watcher, all: readonly (Change & { index: number })[]): number {
  const wanted: Event[] = all.filter(({ key }) => watcher.wants(key));
  const changes = wanted.map((change, i) =>
    wanted[i + 1]?.index === change.index ? { ...change, more: true as const } : change
  );
  const between = (from: number, to: number) =>
    changes.filter(({ index }) => index > from && index <= to).map(inWords);
  let from = watcher.after, reset: number | null = null, told: string[] = [], resets = 0;
  for (const line of watcher.pushed.split("\n").slice(0, -1)) {
    const event: Event = JSON.parse(line);
    if (event.type === "reset") {
      if (reset === null) assertEquals(told, between(from, Infinity).slice(0, told.length));
      reset = event.index;
      resets++;
      told = [];
    } else if (event.type !== "progress") told.push(inWords(event));
    else if (reset === null) assertEquals(told, between(from, event.index), "nothing is missing before");
    else {
      assertEquals(told.sort(), stateAfter(changes, reset).sort());
      from = Math.max(from, reset);
      reset = null;
      told = [];
    }
  }
  assertEquals(reset, null, "a state is told to its end");
  assertEquals(told, between(from, Infinity));
  return resets;
}

Deno.test("Watches.flush() tells each watch each change of its keys once, or the state, whatever happens when", () => {
  let resets = 0, watchers = 0;
  for (const historyBytes of [60, 300, 2000, 20_000, 1 << 20]) {
    for (let run = 0; run < 25; run++) {
      const node = new Watched(new Random(`watches ${historyBytes} ${run}`), historyBytes);
      for (let step = 0; step < 150; step++) node.step();
      node.finish();
      for (const watcher of node.watchers) resets += check(watcher, node.changes);
      watchers += node.watchers.length;
    }
  }
  assertGreater(resets, watchers / 4, "many begin anew");
  assertGreater(watchers, resets / 4, "and not all the time");
});
