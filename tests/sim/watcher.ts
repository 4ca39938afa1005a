/**
 * A client that watches: it goes on after the last event on another node whenever its connection breaks, sometimes
 * reads slowly, and finds out whether anything was left out, doubled, or told that did not happen.
 *
 * @module
 */

import type { Connection, Io } from "../../lib/io/io.ts";
import { LineSplitter } from "../../lib/protocol/lines.ts";
import type { Event, Model } from "./model.ts";
import type { Random } from "./random.ts";
import { Violation } from "./violation.ts";

/** A line of a watch, or the answer to its opening. */
interface Line {
  ok?: boolean;
  error?: { code: string };
  watch: number;
  type: Event["type"] | "reset" | "progress";
  key: string;
  value?: string;
  version?: number;
  index: number;
  more?: true;
  reason?: string;
}

/** What is told between `reset` and `progress`. */
interface Reset {
  index: number;
  present: { key: string; value: string; version: number }[];
}

/** One watch, carried on over any number of connections. */
export class Watcher {
  /** Entries of which it was told, and how often it had to begin anew. */
  readonly counters = { watchedEntries: 0, watchResets: 0, watchSlowResets: 0 };
  /** Everything up to here was told. */
  told = 0;
  readonly #prefix: string;
  #connection: Connection | null = null;
  #reset: Reset | null = null;
  /** Events of the entry of which more will be told. */
  #open: Event[] = [];

  constructor(
    readonly name: string,
    readonly io: Io,
    readonly options: { model: Model; random: Random; nodes: number; prefixes: readonly string[] },
  ) {
    this.#prefix = options.random.pick(["", ...options.prefixes]);
  }

  /** Watches from now on. */
  start(): void {
    this.#connect();
  }

  #connect(): void {
    const { random, nodes } = this.options;
    const connection = this.io.network.connect(`n${1 + random.below(nodes)}:9080`);
    const splitter = new LineSplitter(8 << 20);
    this.#connection = connection;
    this.#reset = null;
    this.#open = [];
    connection.onData = (bytes) =>
      void splitter.push(bytes, (line) => {
        // What arrives behind a connection's end is not looked at: the next one tells it again.
        if (this.#connection === connection) this.#onLine(JSON.parse(new TextDecoder().decode(line)));
      });
    connection.onEnd = () => connection.close();
    connection.onClose = () => {
      if (this.#connection !== connection) return;
      this.#connection = null;
      this.io.clock.after(random.between(1, 200), () => this.#connect());
    };
    const request = { op: "watch", prefix: this.#prefix, after: this.told };
    connection.send(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
    this.#disturb(connection);
  }

  /** Leaves, or stops reading for a while. */
  #disturb(connection: Connection): void {
    const { random } = this.options;
    this.io.clock.after(random.exponential(3000), () => {
      if (this.#connection !== connection) return;
      if (random.chance(0.3)) return connection.destroy();
      connection.pause();
      this.io.clock.after(random.exponential(2000), () => {
        if (this.#connection !== connection) return;
        connection.resume();
        this.#disturb(connection);
      });
    });
  }

  #onLine(line: Line): void {
    if (line.ok !== undefined) {
      this.#check(line.ok || line.error!.code === "busy", line, "it is refused");
      if (!line.ok) this.#connection?.destroy();
      return;
    }
    this.#check(line.index <= this.options.model.index, line, "that is not committed");
    if (line.type === "reset") this.#onReset(line);
    else if (this.#reset !== null) this.#onPresent(line, this.#reset);
    else if (line.type === "progress") this.#missNothing(line, line.index);
    else this.#onChange(line);
  }

  #onChange(line: Line): void {
    const { type, key, value, version, index, more } = line;
    this.#check(index > this.told, line, "it was told before");
    this.#open.push(value === undefined ? { type, key } as Event : { type, key, value } as Event);
    if (type === "put") this.#check(version === index, line, "version is not index");
    if (more) return;
    this.#missNothing(line, index - 1);
    const [expected] = this.options.model.eventsBetween(index, index, this.#prefix);
    const same = JSON.stringify(expected?.events) === JSON.stringify(this.#open);
    this.#check(
      same,
      line,
      `the entry is ${JSON.stringify(expected?.events)}, told ${JSON.stringify(this.#open)}`,
    );
    this.#open = [];
    this.told = index;
    this.counters.watchedEntries++;
  }

  #onReset(line: Line): void {
    this.counters.watchResets++;
    if (line.reason === "slow") this.counters.watchSlowResets++;
    this.#check(line.index >= this.told, line, `${this.told} was told before`);
    this.#open = [];
    this.#reset = { index: line.index, present: [] };
  }

  #onPresent(line: Line, reset: Reset): void {
    this.#check(line.index === reset.index, line, "the reset named another index");
    if (line.type !== "progress") {
      const { key, value, version } = line;
      reset.present.push({ key, value: value!, version: version! });
      return;
    }
    const { model } = this.options;
    const keys = model.keysAt(reset.index).filter((key) => key.startsWith(this.#prefix));
    const expected = keys.map((key) => {
      const { value, index } = model.at(key, reset.index);
      return { key, value, version: index };
    });
    const same = JSON.stringify(expected) === JSON.stringify(reset.present);
    this.#check(
      same,
      line,
      `the state is ${JSON.stringify(expected)}, told ${JSON.stringify(reset.present)}`,
    );
    this.told = reset.index;
    this.#reset = null;
  }

  /** Nothing between what was told and `last` changed a key that is watched. */
  #missNothing(line: Line, last: number): void {
    const [missed] = this.options.model.eventsBetween(this.told + 1, last, this.#prefix);
    this.#check(missed === undefined, line, `it was not told of entry ${missed?.index}`);
    this.told = Math.max(this.told, last);
  }

  #check(holds: boolean, line: Line, why: string): void {
    if (holds) return;
    throw new Violation(
      "watch",
      `${this.name} watches ${JSON.stringify(this.#prefix)}, was told up to ${this.told}, and now ` +
        `${JSON.stringify(line)}, but ${why}`,
    );
  }
}
