import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { DiskFull, type Io } from "../../lib/io/io.ts";
import { type Harness, testIo } from "../io/conformance.ts";
import { testFullDisk } from "../io/full_disk_conformance.ts";
import { CrashPointDisk } from "./crash_points_disk.ts";
import { FakeDisk } from "./fake_disk.ts";
import { Random } from "./random.ts";
import { Life, Scheduler } from "./scheduler.ts";
import { calm, type Machine, World, type WorldFaults } from "./world.ts";

/** Worlds that keep the contract must keep it in fine weather and in foul. */
const weathers: Record<string, WorldFaults> = {
  "calm fakes": calm,
  "rough fakes": {
    ...calm,
    grainMicroseconds: 1000,
    clock: { driftMax: 0.05, lateMsMax: 1 },
    network: { ...calm.network, latencyMsMean: 3, splitChance: 0.5, windowBytes: 100_000 },
  },
};

for (const [name, faults] of Object.entries(weathers)) {
  testIo(name, () => Promise.resolve(harness(new World(new Random(name), faults))));
}

for (const Kind of [FakeDisk, CrashPointDisk]) {
  testFullDisk(Kind.name, () => {
    const random = new Random("full");
    const scheduler = new Scheduler(random, { grainMicroseconds: 1 });
    const small = new Kind(scheduler, random, calm.disk);
    return Promise.resolve({
      disk: small.of(new Life("n1")),
      fill: () => small.full = true,
      makeRoom: () => small.full = false,
      outcome(start) {
        let outcome: Error | null | undefined;
        start((error) => outcome = error);
        assertEquals(outcome, undefined, "done runs after the call");
        for (let event = scheduler.next(); event !== null; event = scheduler.next()) event.run!();
        return Promise.resolve(outcome!);
      },
      close: () => Promise.resolve(),
    });
  });
}

function harness(world: World): Harness {
  const [here, there] = [startOn(world, "here"), startOn(world, "there")];
  let port = 8000;
  return {
    here: here.io,
    there: there.io,
    freeAddress: () => `there:${++port}`,
    until(what, condition) {
      for (let i = 0; i < 100_000 && !condition(); i++) world.step();
      assert(condition(), `it should come about that ${what}`);
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
}

/** A machine that runs nothing of its own: the test uses its io. */
function startOn(world: World, name: string): { machine: Machine; io: Io } {
  let io: Io | undefined;
  const machine = world.machine(name, (its) => io = its);
  machine.restart();
  return { machine, io: io! };
}

function runFor(world: World, ms: number): void {
  let isOver = false;
  world.scheduler.schedule(ms, null, "time passes", () => isOver = true);
  while (!isOver) world.step();
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : new TextDecoder().decode(bytes);

Deno.test("Random gives the same numbers under the same name, and forks do not depend on its use", () => {
  const numbers = (random: Random): number[] => Array.from({ length: 5 }, () => random.next());
  const used = new Random("a");
  const first = numbers(used);
  assertEquals(numbers(new Random("a")), first);
  assertNotEquals(numbers(new Random("b")), first);
  assertEquals(numbers(used.fork("x")), numbers(new Random("a").fork("x")));
});

Deno.test("Random.below() is even, as far as 60,000 draws can tell", () => {
  const random = new Random("dice");
  const counts = [0, 0, 0, 0, 0, 0];
  for (let i = 0; i < 60_000; i++) counts[random.below(6)]!++;
  for (const count of counts) assert(Math.abs(count - 10_000) < 400, `${counts}`);
});

Deno.test("Scheduler.next() goes by time and then by age, whatever the order of scheduling", () => {
  const random = new Random("times");
  const scheduler = new Scheduler(random, { grainMicroseconds: 1000 });
  const seen: { at: number; nr: number }[] = [];
  for (let nr = 0; nr < 500; nr++) {
    scheduler.schedule(random.below(40), null, "", () => seen.push({ at: scheduler.now, nr }));
  }
  for (let event = scheduler.next(); event !== null; event = scheduler.next()) event.run!();
  const sorted = [...seen].sort((a, b) => a.at - b.at || a.nr - b.nr);
  assertEquals(seen.length, 500);
  assertEquals(seen, sorted);
});

Deno.test("Scheduler.soon() runs behind some of the ready events: now and then all of them, now and then none", () => {
  const random = new Random("soon");
  const behind = new Set<number>();
  for (let round = 0; round < 100; round++) {
    const scheduler = new Scheduler(random, { grainMicroseconds: 1000 });
    const life = new Life("n1");
    let handled = 0;
    scheduler.schedule(1, life, "", () => scheduler.soon(life, "", () => behind.add(handled)));
    for (let i = 0; i < 3; i++) scheduler.schedule(1, life, "", () => handled++);
    scheduler.schedule(2, life, "", () => handled = 99);
    for (let event = scheduler.next(); event !== null; event = scheduler.next()) event.run!();
  }
  assertEquals([...behind].sort(), [0, 1, 2, 3]);
});

Deno.test("Machine.crash() ends all that its process had planned", () => {
  const world = new World(new Random("crash"), calm);
  const { machine, io } = startOn(world, "n1");
  const ran: string[] = [];
  io.clock.after(5, () => ran.push("timer"));
  io.clock.every(1, () => ran.push("tick"));
  io.clock.soon(() => ran.push("soon"));
  io.disk.append("log", bytes("x"), () => ran.push("done"));
  machine.crash("kill");
  runFor(world, 20);
  assertEquals(ran, []);
});

Deno.test("Machine.pause() holds events back, and resume() lets them all happen in their order", () => {
  const world = new World(new Random("pause"), calm);
  const { machine, io } = startOn(world, "n1");
  const ran: string[] = [];
  io.clock.after(2, () => ran.push("first"));
  io.clock.after(3, () => ran.push("second"));
  io.clock.after(4, () => ran.push("cancelled")).cancel();
  let ticks = 0;
  io.clock.every(1, () => ticks++);
  machine.pause();
  runFor(world, 10);
  assertEquals([ran, ticks], [[], 0]);
  machine.resume();
  runFor(world, 0.2);
  assertEquals([ran, ticks], [["first", "second"], 1], "late ticks are not made up for");
});

Deno.test("Machine.resume() keeps the order of bytes that arrive at that very moment", () => {
  for (let seed = 0; seed < 20; seed++) {
    const world = new World(new Random(`order ${seed}`), {
      ...calm,
      grainMicroseconds: 10_000,
      network: { ...calm.network, latencyMsMean: 20 },
    });
    const { far, got, send } = pair(world);
    runFor(world, 1000);
    for (let i = 0; i < 50; i++) {
      world.scheduler.schedule(i * 2, null, "send", () => send(`${i} `));
      if (i % 10 === 3) world.scheduler.schedule(i * 2, null, "pause", () => far.pause());
      if (i % 10 === 8) world.scheduler.schedule(i * 2, null, "resume", () => far.resume());
      if (i % 20 === 18) world.scheduler.schedule(i * 2, null, "pause again", () => far.pause());
    }
    runFor(world, 1000);
    assertEquals(got.join("").trim().split(" ").map(Number), Array.from({ length: 50 }, (_, i) => i));
  }
});

/** Fills a disk with a durable and an unfinished append, cuts the power, and says what is left. */
function cutPowerDuring(
  seed: number,
  unfinished: (disk: ReturnType<FakeDisk["of"]>) => void,
): string | null {
  const random = new Random(`power ${seed}`);
  const scheduler = new Scheduler(random, { grainMicroseconds: 1 });
  const disk = new FakeDisk(scheduler, random, { ...calm.disk, pageBytes: 4 });
  const life = new Life("n1");
  disk.of(life).append("f", bytes("durable."), () => {});
  for (let event = scheduler.next(); event !== null; event = scheduler.next()) event.run!();
  unfinished(disk.of(life));
  life.alive = false;
  disk.onCrash({ power: true });
  const left = disk.of(new Life("n1")).read("f");
  assertEquals(left, disk.durable("f"), "after a power cut, what is seen is what is durable");
  return text(left);
}

Deno.test("FakeDisk: a power cut leaves each page of an unfinished append old, zero or new, up to any byte", () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 8000; seed++) {
    seen.add(cutPowerDuring(seed, (disk) => disk.append("f", bytes("abcdEFGH"), () => {}))!);
  }
  const allowed = new Set<string>();
  for (const first of ["abcd", "\0\0\0\0"]) {
    for (const second of ["EFGH", "\0\0\0\0"]) {
      for (let length = 0; length <= 8; length++) allowed.add("durable." + (first + second).slice(0, length));
    }
  }
  assertEquals([...seen].sort(), [...allowed].sort());
});

Deno.test("FakeDisk: a power cut leaves the other unfinished operations done or not done", () => {
  const outcomes = (unfinished: (disk: ReturnType<FakeDisk["of"]>) => void): (string | null)[] =>
    [...new Set(Array.from({ length: 50 }, (_, seed) => cutPowerDuring(seed, unfinished)))].sort();
  assertEquals(outcomes((disk) => disk.replace("f", bytes("new"), () => {})), ["durable.", "new"]);
  assertEquals(outcomes((disk) => disk.truncate("f", 3, () => {})), ["dur", "durable."]);
  assertEquals(outcomes((disk) => disk.remove("f", () => {})), ["durable.", null]);
});

Deno.test("FakeDisk: a killed process leaves all it wrote in view, but not on the disk", () => {
  const world = new World(new Random("kill"), calm);
  const { machine, io } = startOn(world, "n1");
  io.disk.append("f", bytes("unfinished"), () => {});
  machine.crash("kill");
  assertEquals(text(machine.disk.of(new Life("n1")).read("f")), "unfinished");
  assertEquals(machine.disk.durable("f"), null);
});

Deno.test("FakeDisk: a failed operation says so, and may have done anything", () => {
  const world = new World(new Random("error"), calm);
  const { machine, io } = startOn(world, "n1");
  machine.disk.failNext = true;
  const errors: (string | undefined)[] = [];
  io.disk.append("f", bytes("x"), (error) => errors.push(error?.message));
  runFor(world, 10);
  assertEquals(errors, ["append f: input/output error"]);
});

Deno.test("FakeDisk: a full one draws the same chances, changes nothing, and a power cut finds nothing to tear", () => {
  const seen = [false, true].map((full) => {
    const world = new World(new Random("full"), calm);
    const { machine, io } = startOn(world, "n1");
    io.disk.append("f", bytes("old"), () => {});
    runFor(world, 10);
    machine.disk.full = full;
    const errors: (Error | null)[] = [];
    io.disk.append("f", bytes("new"), (error) => errors.push(error));
    assertEquals(text(io.disk.read("f")), full ? "old" : "oldnew");
    runFor(world, 10);
    assertEquals(errors.map((error) => error instanceof DiskFull), [full]);
    assertEquals(text(machine.disk.durable("f")), full ? "old" : "oldnew");
    const next = machine.disk.random.next();
    if (!full) return next;
    io.disk.append("f", bytes("new"), () => {});
    machine.crash("power");
    assertEquals(text(machine.disk.durable("f")), "old");
    return next;
  });
  assertEquals(seen[0], seen[1]);
});

/** A connection from one host to another, and what came out at the other end. */
function pair(
  world: World,
): { near: Io; far: Machine; got: string[]; lost: string[]; send(text: string): void } {
  const near = startOn(world, "a").io;
  const far = startOn(world, "b");
  const got: string[] = [];
  const lost: string[] = [];
  far.io.network.listen("b:1", (connection) => connection.onData = (data) => got.push(text(data)!));
  const connection = near.network.connect("b:1");
  connection.onClose = (error) => lost.push(error?.message ?? "closed");
  runFor(world, 10);
  return { near, far: far.machine, got, lost, send: (line) => connection.send(bytes(line)) };
}

Deno.test("World.cut() holds the bytes of one direction back; healed, they arrive in order", () => {
  const world = new World(new Random("cut"), calm);
  const { got, lost, send } = pair(world);
  const heal = world.cut([["a", "b"]]);
  send("1");
  runFor(world, 100);
  send("2");
  runFor(world, 5000);
  assertEquals([got, lost], [[], []]);
  heal();
  runFor(world, 500);
  assertEquals([got.join(""), lost], ["12", []]);
});

Deno.test("World.cut() of the way back lets bytes arrive", () => {
  const world = new World(new Random("one way"), calm);
  const { got, send } = pair(world);
  world.cut([["b", "a"]]);
  send("1");
  runFor(world, 10);
  assertEquals(got, ["1"]);
});

Deno.test("World.partition() leaves attempts to connect unanswered until they are given up", () => {
  const world = new World(new Random("partition"), calm);
  const { near } = pair(world);
  world.partition([["a"], ["b"]]);
  const outcome: string[] = [];
  const connection = near.network.connect("b:1");
  connection.onOpen = () => outcome.push("open");
  connection.onClose = (error) => outcome.push(error!.message);
  runFor(world, 5000);
  assertEquals(outcome, ["no answer from b:1 within 3000 ms"]);
});

Deno.test("A killed process has its connections reset; a machine without power says nothing until it is back", () => {
  const killed = new World(new Random("killed"), calm);
  const one = pair(killed);
  one.far.crash("kill");
  runFor(killed, 10);
  assertEquals(one.lost, ["connection reset by b"]);

  const dark = new World(new Random("dark"), calm);
  const other = pair(dark);
  other.far.crash("power");
  other.send("anybody?");
  runFor(dark, 60_000);
  assertEquals(other.lost, []);
  other.far.restart();
  runFor(dark, 500);
  assertEquals(other.lost, ["connection reset by b"]);
  assertEquals(other.got, []);
});

Deno.test("FakeNetwork.reset() loses the end of what was under way, never a part in the middle", () => {
  const lengths = new Set<number>();
  for (let seed = 0; seed < 60; seed++) {
    const world = new World(new Random(`reset ${seed}`), {
      ...calm,
      network: { ...calm.network, latencyMsMean: 5, splitChance: 0.8 },
    });
    const { got, send } = pair(world);
    send("0123456789");
    runFor(world, 0.2);
    world.network.reset("a", "b");
    runFor(world, 1000);
    assert("0123456789".startsWith(got.join("")));
    lengths.add(got.join("").length);
  }
  assert(lengths.has(0) && lengths.has(10) && lengths.size > 3, `${[...lengths]}`);
});

Deno.test("World.step() lets what a handler throws come out", () => {
  const world = new World(new Random("throw"), calm);
  startOn(world, "n1").io.clock.after(1, () => {
    throw new Error("found a bug");
  });
  assertThrows(() => runFor(world, 5), Error, "found a bug");
});
