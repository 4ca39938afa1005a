/**
 * The contract of lib/io/io.ts as tests, for every implementation of it: real files and sockets, and the fakes of
 * the simulator. What holds for one and not for the other is a bug in one of them, or a gap in the contract.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Connection, Disk, Io } from "../../lib/io/io.ts";

/** Two machines of a world without faults. */
export interface Harness {
  here: Io;
  /** The other one; it may be the same. */
  there: Io;
  /** An address of the machine `there` at which nobody listens. */
  freeAddress(): string;
  /** Lets things happen until the condition holds; rejects, naming `what`, when it does not come to hold. */
  until(what: string, condition: () => boolean): Promise<void>;
  /** Ends the world. All connections have been closed by the test. */
  close(): Promise<void>;
}

/** Registers the tests under `name`. Each gets a new world with empty disks. */
export function testIo(name: string, make: () => Promise<Harness>): void {
  for (const [title, run] of Object.entries({ ...diskTests, ...networkTests, ...clockTests })) {
    Deno.test(`${name}: ${title}`, async () => {
      const world = await make();
      try {
        await run(world);
      } finally {
        await world.close();
      }
    });
  }
}

type Tests = Record<string, (world: Harness) => Promise<void>>;

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : new TextDecoder().decode(bytes);

/** Runs one operation on a disk and waits for its `done`, which must come after the call. */
async function finished(
  world: Harness,
  start: (disk: Disk, done: (error: Error | null) => void) => void,
): Promise<void> {
  let outcome: Error | null | undefined;
  let calls = 0;
  start(world.here.disk, (error) => {
    outcome = error;
    calls++;
  });
  assertEquals(calls, 0, "done runs after the call");
  await world.until("the disk is done", () => calls > 0);
  assertEquals([outcome, calls], [null, 1]);
}

/** Lets some time pass, for what must not happen. */
async function pause(world: Harness, ms = 20): Promise<void> {
  let isOver = false;
  world.here.clock.after(ms, () => isOver = true);
  await world.until("time passes", () => isOver);
}

const diskTests: Tests = {
  "append() adds at the end and makes files and folders that are missing": async (world) => {
    await finished(world, (disk, done) => disk.append("a/b/log", bytes("one"), done));
    await finished(world, (disk, done) => disk.append("a/b/log", bytes(",two"), done));
    assertEquals(text(world.here.disk.read("a/b/log")), "one,two");
  },

  "read() sees an append that is not finished": async (world) => {
    const { disk } = world.here;
    let isDone = false;
    disk.append("log", bytes("one"), () => isDone = true);
    assertEquals(text(disk.read("log")), "one");
    await world.until("the append is done", () => isDone);
  },

  "read() says null for a file that is not there": async ({ here }) => {
    await Promise.resolve();
    assertEquals(here.disk.read("missing"), null);
    assertEquals(here.disk.read("missing/too"), null);
  },

  "readRange() gives a part, and less at the end": async (world) => {
    await finished(world, (disk, done) => disk.append("log", bytes("0123456789"), done));
    const { disk } = world.here;
    assertEquals(text(disk.readRange("log", 2, 3)), "234");
    assertEquals(text(disk.readRange("log", 8, 100)), "89");
    assertEquals(text(disk.readRange("log", 10, 1)), "");
    assertEquals(text(disk.readRange("never written", 0, 1)), "");
  },

  "list() names all files, sorted": async (world) => {
    assertEquals(world.here.disk.list(), []);
    await finished(world, (disk, done) => disk.append("b", bytes("1"), done));
    await finished(world, (disk, done) => disk.replace("a/2", bytes("2"), done));
    await finished(world, (disk, done) => disk.replace("a/1", bytes(""), done));
    assertEquals(world.here.disk.list(), ["a/1", "a/2", "b"]);
  },

  "replace() puts a whole new file in place, whatever was there": async (world) => {
    await finished(world, (disk, done) => disk.replace("state", bytes("a long first version"), done));
    await finished(world, (disk, done) => disk.replace("state", bytes("short"), done));
    assertEquals(text(world.here.disk.read("state")), "short");
    await finished(world, (disk, done) => disk.append("state", bytes("er"), done));
    await finished(world, (disk, done) => disk.replace("state", bytes("again"), done));
    await finished(world, (disk, done) => disk.append("state", bytes("!"), done));
    assertEquals(text(world.here.disk.read("state")), "again!");
  },

  "truncate() cuts, and an append goes on there": async (world) => {
    await finished(world, (disk, done) => disk.append("log", bytes("one,two"), done));
    await finished(world, (disk, done) => disk.truncate("log", 4, done));
    assertEquals(text(world.here.disk.read("log")), "one,");
    await finished(world, (disk, done) => disk.append("log", bytes("three"), done));
    assertEquals(text(world.here.disk.read("log")), "one,three");
    await finished(world, (disk, done) => disk.truncate("log", 9, done));
    await finished(world, (disk, done) => disk.truncate("log", 0, done));
    assertEquals(text(world.here.disk.read("log")), "");
  },

  "remove() takes a file away, and its name can be used again": async (world) => {
    await finished(world, (disk, done) => disk.append("log", bytes("old"), done));
    await finished(world, (disk, done) => disk.remove("log", done));
    assertEquals(world.here.disk.list(), []);
    await finished(world, (disk, done) => disk.append("log", bytes("new"), done));
    assertEquals(text(world.here.disk.read("log")), "new");
  },

  "operations on different files go on side by side": async (world) => {
    const { disk } = world.here;
    let done = 0;
    disk.append("a", bytes("1"), () => done++);
    disk.append("b", bytes("2"), () => done++);
    disk.replace("c/d", bytes("3"), () => done++);
    await world.until("all are done", () => done === 3);
    assertEquals(disk.list(), ["a", "b", "c/d"]);
  },

  "two operations at once on one file are refused as the mistake that they are": async (world) => {
    const { disk } = world.here;
    let isDone = false;
    disk.append("log", bytes("1"), () => isDone = true);
    assertThrows(() => disk.append("log", bytes("2"), () => {}), Error, "one operation at a time");
    await world.until("the first is done", () => isDone);
    assertEquals(text(disk.read("log")), "1");
  },
};

/** A connection that writes down what happens to it. */
interface Witness {
  connection: Connection;
  received: string;
  events: string[];
}

function witness(connection: Connection): Witness {
  const seen: Witness = { connection, received: "", events: [] };
  connection.onOpen = () => seen.events.push("open");
  connection.onData = (data) => seen.received += text(data);
  connection.onEnd = () => seen.events.push("end");
  connection.onClose = (error) => seen.events.push(error === null ? "close" : "error");
  return seen;
}

const isGone = ({ events }: Witness): boolean => events.includes("close") || events.includes("error");

/** A listening port and a connection to it, both ends. The port is closed again. */
async function connected(world: Harness): Promise<{ near: Witness; far: Witness }> {
  const address = world.freeAddress();
  let far: Witness | undefined;
  const listener = world.there.network.listen(address, (connection) => far = witness(connection));
  const near = witness(world.here.network.connect(address));
  assertEquals(near.events, [], "nothing is told inside connect()");
  await world.until("both ends are open", () => far !== undefined && near.events.length > 0);
  assertEquals(near.events, ["open"]);
  listener.close();
  return { near, far: far! };
}

async function destroyed(world: Harness, ...ends: Witness[]): Promise<void> {
  for (const { connection } of ends) connection.destroy();
  await world.until("the connections are gone", () => ends.every(isGone));
}

const networkTests: Tests = {
  "send() delivers all bytes in order, both ways": async (world) => {
    const { near, far } = await connected(world);
    let sent = "";
    for (let i = 0; i < 2000; i++) {
      const line = `${i}:${"x".repeat(i % 300)}\n`;
      sent += line;
      near.connection.send(bytes(line));
    }
    far.connection.send(bytes("hello"));
    await world.until(
      "all has arrived",
      () => far.received.length === sent.length && near.received.length === 5,
    );
    assertEquals(far.received === sent, true);
    assertEquals(near.received, "hello");
    await destroyed(world, near, far);
  },

  "send() before the connection is open waits for that": async (world) => {
    const address = world.freeAddress();
    let far: Witness | undefined;
    const listener = world.there.network.listen(address, (connection) => far = witness(connection));
    const near = witness(world.here.network.connect(address));
    near.connection.send(bytes("early"));
    await world.until("the bytes have arrived", () => far?.received === "early");
    listener.close();
    await destroyed(world, near, far!);
  },

  "bufferedBytes counts what is queued, and onDrain tells when nothing is": async (world) => {
    const { near, far } = await connected(world);
    let drains = 0;
    near.connection.onDrain = () => {
      drains++;
      assertEquals(near.connection.bufferedBytes, 0);
    };
    near.connection.send(bytes("12345"));
    near.connection.send(bytes("678"));
    assertEquals(near.connection.bufferedBytes, 8);
    assertEquals(drains, 0, "nothing is told inside send()");
    await world.until("the queue is empty", () => drains > 0 && far.received === "12345678");
    await destroyed(world, near, far);
  },

  "pause() holds the other end back, resume() lets it go on, and nothing is lost": async (world) => {
    const { near, far } = await connected(world);
    const total = 16 << 20;
    far.received = "";
    let arrived = 0;
    far.connection.onData = (data) => arrived += data.length;
    far.connection.pause();
    const block = new Uint8Array(64 << 10).fill(0x61);
    for (let i = 0; i < total / block.length; i++) near.connection.send(block);
    await pause(world, 50);
    assert(arrived <= 64 << 10, `at most one chunk arrives during a pause, not ${arrived} bytes`);
    assert(near.connection.bufferedBytes > 0, "the sender sees that the other end does not read");
    far.connection.resume();
    await world.until("all has arrived", () => arrived === total);
    assertEquals(near.connection.bufferedBytes, 0);
    await destroyed(world, near, far);
  },

  "close() first sends what is queued; the other end sees the end and may still answer": async (world) => {
    const { near, far } = await connected(world);
    near.connection.send(bytes("x".repeat(1 << 20)));
    near.connection.close();
    near.connection.close();
    near.connection.send(bytes("too late"));
    assertEquals(near.events, ["open"], "nothing is told inside close()");
    await world.until("the other end saw it all", () => far.events.includes("end"));
    assertEquals(far.received.length, 1 << 20);
    assertEquals(far.events, ["end"]);
    far.connection.send(bytes("thanks"));
    far.connection.close();
    await world.until("both ends are gone", () => isGone(near) && isGone(far));
    await pause(world);
    assertEquals([near.events.length, far.events.length], [2, 2], "onClose is told once");
    assertEquals(near.received, "", "a closed end gets no data");
  },

  "close() delivers the last bytes though the other end is still sending": async (world) => {
    const { near, far } = await connected(world);
    far.connection.pause();
    near.connection.send(new Uint8Array(16 << 20));
    await pause(world);
    far.connection.send(bytes("too long, goodbye"));
    far.connection.close();
    await world.until("the end has arrived", () => near.events.length > 1);
    assertEquals(near.received, "too long, goodbye");
    assertEquals(near.events[1], "end");
    near.connection.close();
    await world.until("both ends are gone", () => isGone(near) && isGone(far));
  },

  "destroy() ends it at once: no data any more, onClose once and after the call": async (world) => {
    const { near, far } = await connected(world);
    far.connection.send(bytes("on its way"));
    near.connection.send(bytes("lost"));
    near.connection.destroy();
    assertEquals(near.events, ["open"], "nothing is told inside destroy()");
    near.connection.send(bytes("ignored"));
    near.connection.destroy();
    near.connection.close();
    near.connection.pause();
    near.connection.resume();
    assertEquals(near.connection.bufferedBytes, 0);
    await world.until("the other end sees it", () => far.events.length > 0);
    await pause(world);
    assertEquals(near.events, ["open", "close"]);
    assertEquals(near.received, "");
    await destroyed(world, far);
  },

  "destroy() inside onData stops the data": async (world) => {
    const { near, far } = await connected(world);
    let calls = 0;
    far.connection.onData = () => {
      calls++;
      far.connection.destroy();
    };
    near.connection.send(bytes("x".repeat(1 << 20)));
    await world.until("it is gone", () => isGone(far));
    await pause(world);
    assertEquals(calls, 1);
    await destroyed(world, near);
  },

  "destroy() inside another connection's onData stops data that has arrived already": async (world) => {
    const pairs = [await connected(world), await connected(world)];
    let calls = 0;
    for (const { near, far } of pairs) {
      far.connection.onData = () => {
        calls++;
        for (const other of pairs) other.far.connection.destroy();
      };
      near.connection.send(bytes("hello"));
    }
    await world.until("both are gone", () => pairs.every(({ far }) => isGone(far)));
    await pause(world);
    assertEquals(calls, 1);
    await destroyed(world, ...pairs.map(({ near }) => near));
  },

  "connect() tells by onClose that nobody listens": async (world) => {
    const near = witness(world.here.network.connect(world.freeAddress()));
    near.connection.send(bytes("hello"));
    await world.until("it is refused", () => isGone(near));
    await pause(world);
    assertEquals(near.events, ["error"]);
  },

  "connect() can be given up before it is open": async (world) => {
    const address = world.freeAddress();
    const far: Witness[] = [];
    const listener = world.there.network.listen(address, (connection) => far.push(witness(connection)));
    const destroyedAtOnce = witness(world.here.network.connect(address));
    destroyedAtOnce.connection.destroy();
    const closedAtOnce = witness(world.here.network.connect(address));
    closedAtOnce.connection.close();
    assertEquals([destroyedAtOnce.events, closedAtOnce.events], [[], []]);
    await pause(world);
    assertEquals([destroyedAtOnce.events, closedAtOnce.events], [["close"], ["close"]]);
    for (let i = 0; i < 20; i++) {
      const before = far.length;
      const near = witness(world.here.network.connect(address));
      await world.until("the other end is open", () => far.length > before);
      near.connection.destroy();
      await world.until("it is gone", () => isGone(near));
    }
    listener.close();
    await destroyed(world, ...far);
  },

  "listen() refuses an address that is taken, and close() gives it free": async (world) => {
    const { network } = world.there;
    const address = world.freeAddress();
    const listener = network.listen(address, () => {});
    assertThrows(() => network.listen(address, () => {}), Error, `cannot listen on ${address}`);
    listener.close();
    listener.close();
    await world.until("the address is free", () => {
      try {
        network.listen(address, () => {}).close();
        return true;
      } catch (error) {
        assert(error instanceof Error && error.message.startsWith("cannot listen on"));
        return false;
      }
    });
  },

  "Listener.close() stops accepting and leaves open connections alone": async (world) => {
    const address = world.freeAddress();
    let far: Witness | undefined;
    const listener = world.there.network.listen(address, (connection) => far = witness(connection));
    const near = witness(world.here.network.connect(address));
    await world.until("it is open", () => far !== undefined && near.events.length > 0);
    listener.close();
    const late = witness(world.here.network.connect(address));
    await world.until("the late one is refused", () => isGone(late));
    assertEquals(late.events, ["error"]);
    near.connection.send(bytes("still here"));
    await world.until("the first one lives", () => far!.received === "still here");
    await destroyed(world, near, far!);
  },
};

const clockTests: Tests = {
  "now() never goes back, and after() waits": async (world) => {
    const { clock } = world.here;
    const start = clock.now();
    await pause(world, 5);
    const waited = clock.now() - start;
    assert(waited >= 4.5, `5 ms have passed, not ${waited}`);
  },

  "after() runs once, every() again and again, and cancel() ends both": async (world) => {
    const { clock } = world.here;
    const ran: string[] = [];
    clock.after(2, () => ran.push("after"));
    clock.after(2, () => ran.push("cancelled")).cancel();
    const ticks = clock.every(3, () => {
      ran.push("tick");
      if (ran.length === 4) ticks.cancel();
    });
    await world.until("four have run", () => ran.length === 4);
    await pause(world);
    assertEquals(ran, ["after", "tick", "tick", "tick"]);
  },

  "soon() runs after the work at hand, in order, before a timer": async (world) => {
    const { clock } = world.here;
    const ran: string[] = [];
    clock.after(1, () => ran.push("timer"));
    clock.soon(() => {
      ran.push("first");
      clock.soon(() => ran.push("third"));
    });
    clock.soon(() => ran.push("second"));
    assertEquals(ran, []);
    await world.until("all have run", () => ran.length === 4);
    assertEquals(ran, ["first", "second", "third", "timer"]);
  },

  "random() gives numbers from 0 to below 1, and not the same ones": async ({ here }) => {
    await Promise.resolve();
    const numbers = Array.from({ length: 100 }, () => here.random());
    assert(numbers.every((number) => number >= 0 && number < 1));
    assertEquals(new Set(numbers).size, 100);
  },
};
