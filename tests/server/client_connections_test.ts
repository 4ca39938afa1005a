/**
 * Client connections without a network: what each may hold, and that nobody who may go on is forgotten.
 *
 * @module
 */

import { assertEquals, assertLess } from "@std/assert";
import type { Clock, Connection } from "../../lib/io/io.ts";
import type { Answer } from "../../lib/server/caller.ts";
import { ClientConnections } from "../../lib/server/client_connections.ts";
import { defaultLimits, type Limits } from "../../lib/server/options.ts";

/** The near end of a connection whose far end reads when it is told to. */
class Near implements Connection {
  readonly remote = "client";
  bufferedBytes = 0;
  readonly sent: Uint8Array[] = [];
  onOpen = (): void => {};
  onData: (bytes: Uint8Array) => void = () => {};
  onEnd = (): void => {};
  onDrain = (): void => {};
  onClose: (error: Error | null) => void = () => {};
  pause(): void {}
  resume(): void {}
  close(): void {}
  destroy(): void {}

  send(bytes: Uint8Array): void {
    this.sent.push(bytes);
    this.bufferedBytes += bytes.length;
  }

  /** The system takes some; `drain`: all. */
  take(bytes: number): void {
    this.bufferedBytes -= bytes;
  }

  drain(): void {
    this.bufferedBytes = 0;
    this.onDrain();
  }
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const ping = bytes('{"op":"ping"}\n');

class Bench {
  now = 0;
  /** Milliseconds that a request takes. */
  costMs = 0;
  readonly answers: Answer[] = [];
  readonly connections: ClientConnections;

  constructor(limits: Partial<Limits> = {}) {
    const never = { cancel: () => {} };
    const clock: Clock = { now: () => this.now, after: () => never, every: () => never, soon: (f) => f() };
    this.connections = new ClientConnections({ clock, limits: { ...defaultLimits, ...limits }, delayMs: 0 }, {
      onRequest: (_request, answer) => {
        this.now += this.costMs;
        this.answers.push(answer);
      },
      onWork: () => {},
      onGone: () => {},
    });
  }

  accept(): Near {
    const near = new Near();
    this.connections.accept(near);
    return near;
  }

  answer(text: string): void {
    this.answers.shift()!(text);
    this.connections.flush();
  }
}

Deno.test("Client.flush() goes on with a client that was stopped while the node was crowded and drains when it is not", () => {
  const bench = new Bench({ clientBytesMax: 1000 });
  const [one, other] = [bench.accept(), bench.accept()];
  one.onData(ping);
  bench.answer("x".repeat(900));
  other.onData(ping);
  bench.answer("x".repeat(200));
  one.take(850);
  one.onData(ping); // it stops, for the node is crowded as long as this is not counted
  bench.answer("x".repeat(800)); // now it is crowded indeed
  one.drain();
  other.drain();
  one.onData(ping);
  assertEquals(bench.answers.length, 1, "its next request is taken");
});

Deno.test("ClientConnections.onTick() lets nobody go who began right after the node had stood still", () => {
  for (const [ms, line] of [[61_000, '{"op":"pi'], [601_000, ""]] as const) {
    const bench = new Bench();
    const early = bench.accept();
    bench.connections.onTick(0);
    bench.now = ms;
    const near = line === "" ? bench.accept() : early;
    if (line !== "") near.onData(bytes(line));
    bench.connections.onTick(ms);
    bench.connections.flush();
    assertEquals(near.sent, []);
  }
});

Deno.test("Client.push() of what nobody reads keeps little else in memory", () => {
  const bench = new Bench();
  const [deaf, busy] = [bench.accept(), bench.accept()];
  for (let i = 0; i < 5000; i++) {
    deaf.onData(ping);
    bench.answer('{"ok":true}\n');
    for (let k = 0; k < 4; k++) {
      busy.onData(ping);
      bench.answer("y".repeat(900));
      busy.drain();
    }
  }
  const buffers = new Set(deaf.sent.map(({ buffer }) => buffer));
  let kept = 0;
  for (const { byteLength } of buffers) kept += byteLength;
  assertLess(kept, 2 * deaf.bufferedBytes);
});

Deno.test("Client.onData() takes no more requests of who has too many answers behind one that is not there yet, and then the rest", () => {
  const bench = new Bench({ clientBytesMax: 200_000 });
  const near = bench.accept();
  near.onData(ping);
  const first = bench.answers.shift()!;
  let taken = 0;
  for (let i = 0; i < 100; i++) {
    near.onData(ping);
    while (bench.answers.length > 0) {
      bench.answer("x".repeat(9999) + "\n");
      taken++;
    }
  }
  assertEquals([taken, near.sent.length], [22, 0], "200 kB, and what shows that it is more");
  first("first\n");
  bench.connections.flush();
  while (near.bufferedBytes > 0 || bench.answers.length > 0) {
    near.drain();
    if (bench.answers.length > 0) bench.answer("last\n");
  }
  const text = near.sent.map((bytes) => new TextDecoder().decode(bytes)).join("");
  const lines = text.split("\n").map((line) => line.slice(0, 5));
  assertEquals(lines, ["first", ...Array(22).fill("xxxxx"), ...Array(78).fill("last"), ""]);
});

Deno.test("Client.onData() stops behind a long line, and flush() behind a reply that was only then made, when they took all its time", () => {
  const bench = new Bench();
  const near = bench.accept();
  bench.costMs = 11;
  const long = bytes(JSON.stringify({ op: "put", key: "k", value: "v".repeat(5000) }) + "\n");
  near.onData(new Uint8Array([...long, ...long, ...long]));
  assertEquals(bench.answers.length, 1);
  const other = bench.accept();
  bench.costMs = 0;
  for (let i = 0; i < 3; i++) other.onData(ping);
  assertEquals(bench.answers.length, 4);
  for (const answer of bench.answers.splice(1)) {
    answer(() => {
      bench.now += 11;
      return "slow\n";
    });
  }
  bench.connections.flush();
  assertEquals(other.sent.length, 1);
  assertEquals(new TextDecoder().decode(other.sent[0]), "slow\n");
});

Deno.test("Client.onData() knows of answers to others that wait for one before them, as soon as they are there", () => {
  const bench = new Bench({ clientBytesMax: 100_000 });
  const [near, other] = [bench.accept(), bench.accept()];
  other.onData(ping);
  bench.answer("it has not read this\n");
  for (let i = 0; i < 12; i++) near.onData(ping);
  for (const answer of bench.answers.splice(0).slice(1)) answer("x".repeat(20_000) + "\n");
  other.onData(ping);
  other.onData(ping);
  assertEquals(bench.answers.length, 1, "one more shows that the node holds too much");
});
