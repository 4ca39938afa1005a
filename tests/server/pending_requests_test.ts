/**
 * Requests that wait for the cluster: each is answered once, with what really became of it.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { PendingRequests } from "../../lib/server/pending_requests.ts";
import type { Result } from "../../lib/kv/command.ts";

const timeoutMs = 1000;

/** Requests, and what became of each by its name: "ok" or the code of an error. */
class Waiting {
  readonly pending = new PendingRequests(timeoutMs);
  readonly outcomes: Record<string, string> = {};
  attempts: number[] = [];

  write(name: string, place: { index: number; term: number }, now = 0): void {
    this.pending.addWrite(place, { now, numbered: null }, (outcome) => {
      this.#note(name, "ok" in outcome && outcome.ok ? "ok" : (outcome as { code: string }).code);
    });
  }

  read(name: string, { now = 0, afterIndex = 0 } = {}): void {
    this.pending.addRead(
      now,
      { afterIndex },
      (error) => this.#note(name, error === null ? "ok" : error.code),
    );
  }

  /** Asks the protocol about the new reads; `knowsLeader`: it takes them. */
  ask(knowsLeader = true): void {
    this.pending.askReads((attempt) => {
      if (knowsLeader) this.attempts.push(attempt);
      return knowsLeader;
    });
  }

  apply(index: number, term = 1): void {
    const result: Result = { ok: true, index, version: index };
    this.pending.onApplied({ index, term }, result);
  }

  #note(name: string, outcome: string): void {
    assertEquals(this.outcomes[name], undefined, `${name} is answered once`);
    this.outcomes[name] = outcome;
  }
}

Deno.test("PendingRequests() waits for nothing at first", () => {
  const { pending, outcomes } = new Waiting();
  let asked = 0;
  pending.askReads(() => ++asked > 0);
  pending.expire(Infinity);
  assertEquals([pending.size, asked, outcomes], [0, 0, {}]);
});

Deno.test("PendingRequests.isBehind() tells when the oldest write of the term has waited half of its time", () => {
  const { pending } = new Waiting();
  const ignore = (): void => {};
  const isBehindAt = (now: number, term = 1): boolean => {
    pending.expire(now);
    return pending.isBehind(term);
  };
  assertEquals(isBehindAt(0), false);
  pending.addWrite({ index: 1, term: 1 }, { now: 100, numbered: null }, ignore);
  pending.addWrite({ index: 2, term: 1 }, { now: 400, numbered: null }, ignore);
  assertEquals([isBehindAt(100), isBehindAt(600), isBehindAt(601)], [false, false, true]);
  assertEquals(isBehindAt(601, 2), false, "a new leadership begins without a burden");
  pending.onApplied({ index: 1, term: 1 }, null);
  assertEquals([isBehindAt(900), isBehindAt(901)], [false, true]);
  pending.addWrite({ index: 3, term: 2 }, { now: 1000, numbered: null }, ignore);
  assertEquals([isBehindAt(1300, 2), isBehindAt(1301, 1)], [false, false]);
  assertEquals(isBehindAt(1501, 2), true);
  assertEquals(isBehindAt(2000, 2), false, "given up");
});

Deno.test("PendingRequests.onApplied() answers the writes whose entries are applied, and no others", () => {
  const waiting = new Waiting();
  for (const index of [3, 5, 7]) waiting.write(`write ${index}`, { index, term: 1 });
  for (let index = 1; index <= 5; index++) waiting.apply(index);
  assertEquals(waiting.outcomes, { "write 3": "ok", "write 5": "ok" });
  assertEquals(waiting.pending.size, 1);
});

Deno.test("PendingRequests.onApplied() tells a write whose place another term took that it never happened", () => {
  const waiting = new Waiting();
  waiting.write("replaced", { index: 3, term: 1 });
  waiting.apply(3, 2);
  assertEquals(waiting.outcomes, { replaced: "noLeader" });
});

Deno.test("PendingRequests.addWrite() at the same index leaves the outcome of the older write open", () => {
  const waiting = new Waiting();
  waiting.write("older", { index: 3, term: 1 });
  waiting.write("newer", { index: 3, term: 3 });
  assertEquals(waiting.outcomes, { older: "outcomeUnknown" });
  waiting.apply(3, 3);
  assertEquals(waiting.outcomes, { older: "outcomeUnknown", newer: "ok" });
});

Deno.test("PendingRequests.expire() gives up after the time-out, and says that a write may have happened", () => {
  const waiting = new Waiting();
  waiting.write("write", { index: 3, term: 1 }, 0);
  waiting.read("read", { now: 0 });
  waiting.write("later", { index: 4, term: 1 }, 500);
  waiting.pending.expire(timeoutMs - 1);
  assertEquals(waiting.outcomes, {});
  waiting.pending.expire(timeoutMs);
  assertEquals(waiting.outcomes, { write: "outcomeUnknown", read: "noLeader" });
  waiting.apply(3);
  waiting.apply(4);
  assertEquals(waiting.outcomes, { write: "outcomeUnknown", read: "noLeader", later: "ok" });
  assertEquals(waiting.pending.size, 0);
});

Deno.test("PendingRequests.onReadResult() lets reads look once their index is applied", () => {
  const waiting = new Waiting();
  waiting.apply(1);
  waiting.read("a");
  waiting.read("b");
  waiting.ask();
  assertEquals(waiting.attempts.length, 1, "one attempt for both");
  waiting.pending.onReadResult(waiting.attempts[0]!, 3);
  waiting.apply(2);
  assertEquals(waiting.outcomes, {});
  waiting.apply(3);
  assertEquals(waiting.outcomes, { a: "ok", b: "ok" });
});

Deno.test("PendingRequests.onReadResult() asks cancelled reads anew, under another number (etcd-io/etcd #20418)", () => {
  const waiting = new Waiting();
  waiting.read("a");
  waiting.ask(false); // no leader is known
  assertEquals(waiting.pending.size, 1);
  waiting.ask();
  waiting.pending.onReadResult(waiting.attempts[0]!, null);
  waiting.ask();
  assertEquals(new Set(waiting.attempts).size, 2);
  waiting.pending.onReadResult(waiting.attempts[0]!, 0); // late, and about the first attempt
  assertEquals(waiting.outcomes, {});
  waiting.pending.onReadResult(waiting.attempts[1]!, 0);
  assertEquals(waiting.outcomes, { a: "ok" });
});

Deno.test("PendingRequests.addRead() waits for the writes before it on its connection", () => {
  const waiting = new Waiting();
  waiting.write("write", { index: 3, term: 1 });
  waiting.read("read", { afterIndex: 3 });
  waiting.ask();
  waiting.pending.onReadResult(waiting.attempts[0]!, 1);
  waiting.apply(1);
  waiting.apply(2);
  assertEquals(waiting.outcomes, {});
  waiting.apply(3);
  assertEquals(waiting.outcomes, { write: "ok", read: "ok" });
});

Deno.test("PendingRequests.addWrite() leaves the outcome of all older writes from its index on open, once each", () => {
  const waiting = new Waiting();
  for (const index of [5, 6, 7, 9]) waiting.write(`older ${index}`, { index, term: 1 });
  waiting.write("newer 6", { index: 6, term: 3 });
  waiting.write("newer 7", { index: 7, term: 3 });
  const lost = { "older 6": "outcomeUnknown", "older 7": "outcomeUnknown", "older 9": "outcomeUnknown" };
  assertEquals(waiting.outcomes, lost);
  waiting.apply(5);
  for (const index of [6, 7]) waiting.apply(index, 3);
  assertEquals(waiting.outcomes, { ...lost, "older 5": "ok", "newer 6": "ok", "newer 7": "ok" });
  assertEquals(waiting.pending.size, 0);
});

Deno.test("PendingRequests.onReadResult() lets each read look at its own index, whatever order they are confirmed in", () => {
  const waiting = new Waiting();
  for (const [i, index] of [9, 7, 8, 7].entries()) {
    waiting.read(`${index} (${i})`);
    waiting.ask();
    waiting.pending.onReadResult(waiting.attempts.at(-1)!, index);
  }
  for (const [index, names] of [[7, ["7 (1)", "7 (3)"]], [8, ["8 (2)"]], [9, ["9 (0)"]]] as const) {
    const before = Object.keys(waiting.outcomes);
    waiting.apply(index);
    assertEquals(Object.keys(waiting.outcomes).filter((name) => !before.includes(name)), [...names]);
  }
});

Deno.test("PendingRequests.onInstalled() ends what the snapshot has, and nothing else", () => {
  const waiting = new Waiting();
  for (const index of [7, 8, 9]) {
    waiting.write(`write ${index}`, { index, term: 1 });
    waiting.read(`read ${index}`);
    waiting.ask();
    waiting.pending.onReadResult(waiting.attempts.at(-1)!, index);
  }
  waiting.pending.onInstalled(8);
  const ended = { "write 7": "outcomeUnknown", "write 8": "outcomeUnknown", "read 7": "ok", "read 8": "ok" };
  assertEquals(waiting.outcomes, ended);
  waiting.apply(9);
  assertEquals(waiting.outcomes, { ...ended, "write 9": "ok", "read 9": "ok" });
});

Deno.test("PendingRequests.joinWrite() lets who sends a session's write again wait with the first (thesis 6.3)", () => {
  const { pending } = new Waiting();
  const told: string[] = [];
  const tell = (name: string) => (outcome: object): void => {
    told.push(`${name}: ${"index" in outcome ? outcome.index : (outcome as { code: string }).code}`);
  };
  const write = (index: number, term: number, numbered: { session: string; seq: number } | null): void =>
    pending.addWrite({ index, term }, { now: 0, numbered }, tell(`${index}`));
  const first = { session: "5", seq: 1 };
  write(7, 1, first);
  write(8, 1, { session: "5", seq: 11 });
  write(9, 1, null);
  assertEquals(pending.joinWrite(first, 1, tell("again")), 7);
  assertEquals(pending.joinWrite(first, 1, tell("and again")), 7);
  assertEquals(pending.joinWrite(first, 2, tell("never")), null, "another term's log may not have it");
  assertEquals(pending.joinWrite({ session: "51", seq: 1 }, 1, tell("never")), null, "another session's");
  pending.onApplied({ index: 7, term: 1 }, { ok: true, index: 7, version: 7 });
  assertEquals(told, ["7: 7", "again: 7", "and again: 7"]);
  assertEquals(pending.joinWrite(first, 1, tell("never")), null, "nobody waits for it any more");
  write(8, 2, first);
  assertEquals(told.splice(3), ["9: outcomeUnknown", "8: outcomeUnknown"]);
  assertEquals(pending.joinWrite(first, 2, tell("late")), 8);
  pending.expire(timeoutMs);
  assertEquals(told.splice(3), ["8: outcomeUnknown", "late: outcomeUnknown"]);
  assertEquals([pending.joinWrite(first, 2, tell("never")), pending.size], [null, 0]);
});

Deno.test("PendingRequests.joinWrite() finds a write though its number was proposed in a term before, or another took its place", () => {
  const { pending } = new Waiting();
  const told: string[] = [];
  const write = (index: number, term: number, seq: number): void =>
    pending.addWrite({ index, term }, { now: 0, numbered: { session: "5", seq } }, (outcome) => {
      told.push(`${index}: ${"index" in outcome ? "ok" : (outcome as { code: string }).code}`);
    });
  const join = (term: number, seq: number) => pending.joinWrite({ session: "5", seq }, term, () => {});
  write(7, 1, 1);
  write(8, 2, 1);
  pending.onApplied({ index: 7, term: 1 }, { ok: true, index: 7, version: 7 });
  assertEquals([told, join(1, 1), join(2, 1)], [["7: ok"], null, 8]);
  for (let i = 1; i <= 3 << 14; i++) write(8 + i, 2, 1 + i);
  const found = [0, 1, 2].map((turn) => join(2, 2 + (turn << 14)));
  assertEquals(
    found,
    [null, null, 9 + (2 << 14)],
    "only so many latest ones are found, and never another one",
  );
});
