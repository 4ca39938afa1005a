/**
 * What waits for the disk, and what goes past it when the disk is full.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Message } from "../../lib/raft/messages.ts";
import type { Entry, HardState, Write } from "../../lib/raft/types.ts";
import { LogWriter } from "../../lib/server/log_writer.ts";
import { Storage } from "../../lib/storage/storage.ts";
import { appendResponse, contactResponse, requestVote, voteResponse } from "../raft/messages.ts";
import { entriesAfter, Folder, identity, inTerm, lines, write } from "../storage/folder.ts";

/** A writer on a folder, and what it tells. */
class Bench {
  readonly folder = new Folder();
  readonly storage: Storage = new Storage(this.folder.disk);
  readonly writer: LogWriter;
  /** What may be sent, in order: the types of messages with the index or the term that they claim. */
  readonly sent: string[] = [];
  readonly errors: Error[] = [];
  /** How many writes each attempt had. */
  readonly attempts: number[] = [];

  constructor() {
    this.storage.recover(identity.nodeId);
    this.folder.do((done) => this.storage.open(identity, done));
    const append = this.storage.append.bind(this.storage);
    this.storage.append = (writes, done) => {
      this.attempts.push(writes.length);
      append(writes, done);
    };
    this.writer = new LogWriter(this.storage, {
      onDurable: (messages) => {
        for (const message of messages) {
          this.#check(message);
          this.sent.push(describe(message));
        }
      },
      onWritten: () => {},
      onDiskError: (error) => this.errors.push(error),
      soon: (f) => f(),
    });
  }

  /** What a message claims is on the disk before it leaves. */
  #check(message: Message): void {
    if (message.type === "appendEntriesResponse") assert(this.storage.durableIndex >= message.matchIndex);
    if (message.type !== "requestVoteResponse" || message.preVote) return;
    const { currentTerm, votedFor } = this.storage.hardState;
    assert(currentTerm === message.term && votedFor === message.to, "a vote that leaves is on the disk");
  }

  set isFull(full: boolean) {
    this.folder.fake.full = full;
  }

  /** Lets the disk finish all that is under way. */
  settle(): void {
    while (this.folder.step());
  }

  tick(count: number): void {
    for (let i = 0; i < count; i++) {
      this.writer.onTick();
      this.settle();
    }
  }
}

function describe(message: Message): string {
  if (message.type === "appendEntriesResponse") return `ack ${message.matchIndex}`;
  return message.type === "requestVoteResponse" ? `vote ${message.term}` : `${message.type} ${message.term}`;
}

/** Entries, and the acknowledgement that rides on them. */
function acknowledged(entries: Entry[]): Write {
  const message = appendResponse({ from: 1, to: 2, term: 1, matchIndex: entries.at(-1)!.index });
  return { ...write(entries), messages: [message] };
}

function only(...messages: Message[]): Write {
  return { ...write([]), messages };
}

/** A vote for node 2, as the core hands it out. */
function vote(term: number): Write {
  const hardState: HardState = inTerm(term, 2);
  const messages: Message[] = [
    { type: "termDurable", from: 1, to: 1, term },
    voteResponse({ from: 1, to: 2, term }),
  ];
  return { ...write([], hardState), messages };
}

const log = entriesAfter(null, { count: 30, term: 1 });

Deno.test("submit() has one write under way, and all that gathers behind it shares the next", () => {
  const bench = new Bench();
  for (let i = 0; i < 5; i++) bench.writer.submit(acknowledged(log.slice(i, i + 1)));
  bench.writer.submit(only(contactResponse({ term: 1 })));
  assertEquals([bench.attempts, bench.sent, bench.writer.isIdle], [[1], [], false]);
  assert(bench.writer.pendingBytes > 0);
  bench.settle();
  assertEquals(bench.attempts, [1, 5]);
  assertEquals(bench.sent, ["ack 1", "ack 2", "ack 3", "ack 4", "ack 5", "contactResponse 1"]);
  assertEquals([bench.writer.pendingBytes, bench.writer.isIdle], [0, true]);
  bench.writer.submit(only(contactResponse({ term: 2 })));
  assertEquals(bench.sent.at(-1), "contactResponse 2", "without a disk at once, when nothing is before it");
});

Deno.test("submit() lets votes go past what finds no room, and keeps the rest in its order", () => {
  const bench = new Bench();
  bench.isFull = true;
  bench.writer.submit(acknowledged(log.slice(0, 2)));
  bench.settle();
  assertEquals([bench.writer.isFull, bench.sent], [true, []]);
  bench.writer.submit(vote(2));
  bench.settle();
  assertEquals(bench.sent, ["termDurable 2", "vote 2"]);
  bench.writer.submit(acknowledged(log.slice(2, 3)));
  bench.writer.submit(vote(3));
  bench.settle();
  assertEquals(bench.sent.slice(2), ["termDurable 3", "vote 3"], "time and again");
  bench.folder.crash({ power: true });
  const found = new Storage(bench.folder.disk).recover(identity.nodeId);
  assertEquals([found.hardState, found.entries], [inTerm(3, 2), []]);
});

Deno.test("submit() never lets a vote go before the disk has it, full or not", () => {
  const bench = new Bench();
  bench.isFull = true;
  bench.writer.submit(acknowledged(log.slice(0, 2)));
  bench.settle();
  const again = only(voteResponse({ from: 1, to: 2, term: 5 }));
  bench.writer.submit(vote(5)); // under way now
  bench.writer.submit(again); // the candidate asks twice
  assertEquals(bench.sent, []);
  bench.settle();
  bench.writer.submit(again);
  assertEquals(bench.sent, ["termDurable 5", "vote 5", "vote 5"]);
  // While an attempt is under way that has the term before, and another candidate asks.
  bench.writer.submit(write([], inTerm(6)));
  bench.writer.submit(vote(7));
  bench.writer.submit(only(voteResponse({ from: 1, to: 2, term: 7 })));
  assertEquals(bench.sent.length, 3);
  bench.settle();
  bench.writer.submit(only(voteResponse({ from: 1, to: 2, term: 7 }))); // Bench.#check looks at each
  bench.tick(30);
  assert(bench.sent.includes("vote 7"));
});

Deno.test("submit() makes a term durable that comes while a write finds no room, without waiting for the next attempt", () => {
  for (const isVote of [true, false]) {
    const bench = new Bench();
    bench.isFull = true;
    bench.writer.submit(acknowledged(log.slice(0, 2))); // under way
    bench.writer.submit(isVote ? vote(4) : write([], inTerm(4)));
    bench.settle();
    assertEquals([bench.writer.isFull, bench.storage.hardState.currentTerm], [true, 4]);
    assertEquals(bench.sent, isVote ? ["termDurable 4", "vote 4"] : []);
    bench.isFull = false;
    bench.tick(25);
    assertEquals(bench.sent.at(-1), "ack 2");
  }
});

Deno.test("onTick() tries again, and everything leaves in its order once there is room", () => {
  const bench = new Bench();
  bench.writer.submit(acknowledged(log.slice(0, 2)));
  bench.settle();
  bench.isFull = true;
  bench.writer.submit(acknowledged(log.slice(2, 4)));
  bench.writer.submit(acknowledged(log.slice(4, 5)));
  const instead = entriesAfter(log[3]!, { count: 2, term: 2 });
  bench.writer.submit({ ...acknowledged(instead), hardState: inTerm(2) }); // cuts what still waits
  bench.tick(100);
  assertEquals([bench.sent, bench.storage.durableIndex], [["ack 2"], 2]);
  assert(bench.attempts.length < 12, "not at every tick");
  bench.isFull = false;
  bench.tick(25);
  assertEquals(bench.sent, ["ack 2", "ack 4", "ack 5", "ack 6"]);
  assertEquals([bench.writer.isFull, bench.writer.isIdle, bench.writer.pendingBytes], [false, true, 0]);
  const found = new Storage(bench.folder.disk).recover(identity.nodeId);
  assertEquals(lines(found.entries), lines([...log.slice(0, 4), ...instead]));
});

Deno.test("submit() keeps nothing without bound while there is no room", () => {
  const bench = new Bench();
  bench.isFull = true;
  bench.writer.submit(acknowledged(log.slice(0, 3)));
  bench.settle();
  const { pendingBytes } = bench.writer;
  for (let term = 2; term < 300; term++) {
    bench.writer.submit(only(appendResponse({ from: 1, to: 2, term, success: false })));
    bench.writer.submit(only(contactResponse({ from: 1, to: 2, term })));
    bench.writer.submit(vote(term));
    bench.writer.submit(write([], inTerm(term, 2)));
    bench.settle();
    bench.writer.submit(only(requestVote({ from: 1, to: 2, term }), voteResponse({ from: 1, to: 1, term })));
    bench.tick(1);
  }
  assertEquals(bench.sent.filter((one) => one.startsWith("vote")).length, 298);
  assert(Math.max(...bench.attempts) < 10, `${Math.max(...bench.attempts)} writes at once`);
  assertEquals(bench.writer.pendingBytes, pendingBytes);
  bench.isFull = false;
  bench.tick(30);
  assertEquals([bench.sent.at(-1), bench.writer.pendingBytes, bench.writer.isIdle], ["ack 3", 0, true]);
});

Deno.test("whenIdle() waits for the writes before it, through a time without room too", () => {
  const bench = new Bench();
  const events: string[] = [];
  bench.isFull = true;
  bench.writer.submit(acknowledged(log.slice(0, 2)));
  for (const name of ["first", "second"]) {
    bench.writer.whenIdle((done) => bench.storage.saveIdentity({ ...identity, starts: 9 }, done), () => {
      events.push(`${name} ${bench.sent.length}`);
    });
  }
  bench.tick(50);
  assertEquals(events, []);
  bench.isFull = false;
  bench.tick(50);
  assertEquals(events, ["first 1", "second 1"]);
});

Deno.test("submit() tells of any other error of the disk once, and nothing leaves any more", () => {
  const bench = new Bench();
  bench.writer.submit(acknowledged(log.slice(0, 1)));
  bench.settle();
  bench.folder.fake.failNext = true;
  bench.writer.submit(acknowledged(log.slice(1, 2)));
  bench.writer.submit(acknowledged(log.slice(2, 3)));
  bench.settle();
  bench.writer.submit(acknowledged(log.slice(3, 4)));
  bench.writer.submit(only(contactResponse({ term: 1 })));
  bench.tick(50);
  assertEquals([bench.errors.length, bench.sent], [1, ["ack 1"]]);
});

Deno.test("onTick() counts for how long nothing has begun or ended on the disk", () => {
  const bench = new Bench();
  assertEquals([bench.writer.onTick(), bench.writer.onTick(), bench.writer.onTick()], [0, 1, 2]);
  bench.writer.submit(acknowledged(log.slice(0, 1)));
  assertEquals([bench.writer.onTick(), bench.writer.onTick()], [0, 1]);
  bench.settle();
  assertEquals(bench.writer.onTick(), 0);
});

Deno.test("LogWriter.settledIndex() is what is durable and will not be changed by a write that waits or is under way", () => {
  const bench = new Bench();
  const { writer } = bench;
  writer.submit(acknowledged(log.slice(0, 5)));
  assertEquals(writer.settledIndex, 0);
  bench.settle();
  writer.submit(acknowledged(log.slice(5, 7)));
  assertEquals([writer.settledIndex, writer.isIdle], [5, false]);
  const instead = entriesAfter(log[2]!, { count: 3, term: 2 });
  writer.submit(acknowledged(instead)); // cuts behind entry 3
  writer.submit(acknowledged(entriesAfter(instead[2]!, { count: 1, term: 2 })));
  assertEquals(writer.settledIndex, 3);
  while (bench.sent.at(-1) !== "ack 7") bench.folder.step();
  assertEquals([writer.settledIndex, bench.sent.at(-1)], [3, "ack 7"], "the cut is under way now");
  bench.settle();
  assertEquals([writer.settledIndex, bench.storage.durableIndex], [7, 7]);
  bench.isFull = true;
  writer.submit(acknowledged(entriesAfter(instead[0]!, { count: 1, term: 3 })));
  bench.settle();
  assertEquals([writer.isFull, writer.settledIndex], [true, 4]);
});

Deno.test("LogWriter.submit() says once what it is asked again and again while the disk hangs", () => {
  const bench = new Bench();
  const { writer } = bench;
  writer.submit(acknowledged(log.slice(0, 1)));
  const again = (): void => writer.submit(only(appendResponse({ term: 1, matchIndex: 1 })));
  for (let i = 0; i < 3; i++) again();
  writer.submit(acknowledged(log.slice(1, 2)));
  again();
  bench.settle();
  assertEquals(bench.sent, ["ack 1", "ack 1", "ack 2", "ack 1"]);
});

Deno.test("LogWriter.submit() goes on after a long time in which very much has gathered", () => {
  const bench = new Bench();
  bench.writer.submit(acknowledged(log.slice(0, 1)));
  const count = 200_000;
  for (let i = 0; i < count; i++) bench.writer.submit(only(contactResponse({ term: 1 })));
  bench.settle();
  assertEquals([bench.sent.length, bench.errors], [count + 1, []]);
});
