import { assert, assertEquals, assertGreater, assertLess, assertThrows } from "@std/assert";
import fc from "fast-check";
import { AssertionFailed } from "../../lib/assert.ts";
import type { Command, Result, TxnOperation } from "../../lib/kv/command.ts";
import { allSessionsUnitsMax, answersMax, sessionsMax, sessionUnitsMax } from "../../lib/kv/sessions.ts";
import { Store, type StoreSnapshot } from "../../lib/kv/store.ts";
import { command, linesOf, put, remove } from "./commands.ts";

const open: Command = { op: "session" };

/** A write of session 1, unless another is named. */
function numbered(seq: number, command: Command, session = "1"): Command {
  return { ...command, session, seq } as Command;
}

/** A store and its last index. */
class Subject {
  readonly store: Store;
  index: number;

  constructor(store = new Store(), index = 0) {
    this.store = store;
    this.index = index;
  }

  apply(...commands: Command[]): Result[] {
    return commands.map((command) => this.store.apply(command, ++this.index));
  }
}

function applied(...commands: Command[]): Subject {
  const subject = new Subject();
  subject.apply(...commands);
  return subject;
}

function restored(snapshot: StoreSnapshot): Subject {
  const store = new Store();
  for (const line of linesOf(snapshot)) assertEquals(store.restoreLine(JSON.parse(line)), null, line);
  assertEquals(store.finishRestore(snapshot.index), null);
  return new Subject(store, snapshot.index);
}

/** Holds a restored store to the original: the same state, and the same answers to all that comes. */
function assertRestores(original: Subject, ...later: Command[]): void {
  const copy = restored(original.store.snapshot());
  assertEquals(copy.store.digest(), original.store.digest());
  assertEquals(copy.apply(...later), original.apply(...later));
  assertEquals(copy.store.digest(), original.store.digest());
}

Deno.test("Store.snapshot() gives a line a key in the order of their bytes, then one a session, latest used last", () => {
  const { store } = applied(
    open,
    open,
    numbered(1, put("a", "line\nbreak")),
    put("\u{1f600}", "\u{1f600}"),
    numbered(2, put("\ue000", "\ud7ff", { previous: true }), "2"),
    numbered(200, put("a", "2", { previous: true })),
    numbered(1, { op: "increment", key: "a", by: "40" }, "2"),
  );
  const snapshot = store.snapshot();
  const { index, keys, sessions } = snapshot;
  assertEquals({ index, keys, sessions, lines: [...linesOf(snapshot)] }, {
    index: 7,
    keys: 3,
    sessions: 2,
    lines: [
      '{"key":"a","value":"42","version":7}',
      '{"key":"\ue000","value":"\ud7ff","version":5}',
      '{"key":"\u{1f600}","value":"\u{1f600}","version":4}',
      '{"session":"1","forgotten":72,"answers":' +
      '[[200,{"ok":true,"index":6,"version":6,"previous":{"value":"line\\nbreak","version":3}}]]}',
      '{"session":"2","forgotten":0,"answers":[[1,{"ok":true,"value":"42","version":7,"index":7}],' +
      '[2,{"ok":true,"index":5,"version":5,"previous":null}]]}',
    ],
  });
  // Nodes of all versions must agree on this: it is how they find out that their states differ.
  assertEquals(store.digest(), "4b8e44c4");
  assertEquals(new Store().digest(), "50bbe7dc");
  assertEquals(restored(snapshot).store.digest(), "4b8e44c4");
});

Deno.test("StoreSnapshot.blocks() are a little more than 64 KiB of whole lines each, of keys and of sessions", () => {
  const subject = applied(...Array<Command>(300).fill(open));
  for (let i = 0; i < 2000; i++) subject.apply(put(`key${i}`, "v".repeat(100)));
  for (let i = 1; i <= 300; i++) {
    for (let seq = 1; seq <= 10; seq++) {
      subject.apply(numbered(seq, put("key0", "w".repeat(50), { previous: true }), String(i)));
    }
  }
  const sizes = Array.from(subject.store.snapshot().blocks(), ({ bytes }) => bytes.length);
  assertGreater(sizes.length, 7);
  for (const size of sizes.slice(0, -1)) assert(size > 64 << 10 && size < 67_000, `${size} bytes`);
  assertLess(sizes.at(-1)!, 67_000);
});

Deno.test("Store.snapshot() stays as it was while keys are written and sessions write, retry, open and expire", () => {
  const subject = applied(open, open, put("a", "1"), put("b", "2"), numbered(1, put("c", "3")));
  const digest = subject.store.digest();
  const snapshot = subject.store.snapshot();
  const before = [...linesOf(snapshot)];
  const reading = linesOf(snapshot)[Symbol.iterator]();
  assertEquals(reading.next().value, before[0]);
  const second = numbered(2, put("c", "4"));
  const [first] = subject.apply(numbered(1, put("c", "ignored")), second, second, remove("b"), put("a", "5"));
  assertEquals(first, { ok: true, index: 5, version: 5 });
  subject.apply(numbered(500, put("d", "6"))); // forgets the answers before
  subject.apply(...Array<Command>(sessionsMax).fill(open));
  assertEquals([...linesOf(snapshot)], before);
  assertEquals([before[0], ...{ [Symbol.iterator]: () => reading }], before);
  assertEquals(restored(snapshot).store.digest(), digest);
});

Deno.test("Store.snapshot() of one moment and of the next are independent of each other", () => {
  const subject = applied(open);
  const snapshots = [1, 2, 3].map((seq) => {
    const snapshot = subject.store.snapshot();
    const lines = [...linesOf(snapshot)];
    subject.apply(numbered(seq, put("a", String(seq))), numbered(seq + 10, put("b", "")));
    return { snapshot, lines };
  });
  for (const { snapshot, lines } of snapshots) assertEquals([...linesOf(snapshot)], lines);
  assertEquals(new Set(snapshots.map(({ lines }) => lines.join("\n"))).size, 3);
});

/** Any command; now and then with a number so far ahead that the session forgets all before. */
const leaping = fc.tuple(command, fc.constantFrom(0, 0, 0, answersMax - 4, 5000)).map(([command, leap]) =>
  "seq" in command && command.seq !== undefined ? { ...command, seq: command.seq + leap } : command
);
const sequence = fc.array(leaping, { maxLength: 50, size: "max" }).map((
  commands,
) => [open, open, ...commands]);

Deno.test("Store.restoreLine() makes a store that is equal and goes on equally, whatever was and will be applied", () => {
  fc.assert(
    fc.property(sequence, sequence, (before, after) => {
      const original = applied(...before);
      const digest = original.store.digest();
      const snapshot = original.store.snapshot();
      const results = original.apply(...after); // the snapshot is read only when all this has changed the store
      const copy = restored(snapshot);
      assertEquals(copy.store.digest(), digest);
      assertEquals([...linesOf(copy.store.snapshot())], [...linesOf(snapshot)]);
      assertEquals(copy.apply(...after), results);
      assertEquals(copy.store.digest(), original.store.digest());
    }),
    { numRuns: 300 },
  );
});

Deno.test("Store.restoreLine() brings every kind of answer back, to be given again", () => {
  const txn = (then: TxnOperation[]): Command => ({ op: "txn", if: [], then, else: [] });
  const get: TxnOperation = { op: "get", key: "long" };
  const commands: Command[] = [
    put("a", "1"),
    put("a", "2", { previous: true }),
    put("a", "3", { ifVersion: 1 }),
    remove("b"),
    remove("a", { previous: true }),
    { op: "increment", key: "n", by: "9".repeat(1000) },
    { op: "increment", key: "n", by: "1" },
    { op: "increment", key: "long", by: "1" },
    { op: "deleteRange", prefix: "b" },
    { op: "deleteRange", prefix: "many" },
    txn([{ op: "put", key: "a", value: "1" }, { op: "get", key: "a" }, { op: "get", key: "b" }]),
    txn([{ op: "delete", key: "a" }, { op: "increment", key: "b", by: "1" }, {
      op: "deleteRange",
      prefix: "b",
    }]),
    txn([{ op: "increment", key: "long", by: "1" }]),
    txn([{ op: "put", key: "many", value: "" }, { op: "deleteRange", prefix: "many" }]),
    txn([get, get]),
    txn([]),
  ].map((command, i) => numbered(i + 1, command as Command));
  const original = applied(open, put("long", "x".repeat(sessionUnitsMax / 2 + 1)));
  for (let i = 0; i < 20_002; i++) original.apply(put(`many/${i}`, ""));
  original.apply(...commands);
  assertRestores(original, ...commands);
});

Deno.test("Store.restoreLine() keeps all texts: line breaks, zeros, U+E000, emoji", () => {
  const texts = [
    "",
    "\n",
    "\r\n\0",
    '"\\',
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\u{10000}",
    "\u{1f600}",
  ];
  const original = applied(open);
  for (const [i, text] of texts.entries()) {
    original.apply(put(`key ${text}`, text), numbered(i + 1, put("same", text, { previous: true })));
  }
  const { store } = restored(original.store.snapshot());
  for (const text of texts) assertEquals(store.get(`key ${text}`)?.value, text);
  assertRestores(original, ...texts.map((text, i) => numbered(i + 1, put(text, text))));
});

Deno.test("Store.restoreLine() keeps the order in which sessions expire", () => {
  const original = applied(...Array<Command>(sessionsMax).fill(open));
  original.apply(
    numbered(1, put("a", "1"), "1"),
    numbered(1, put("a", "2"), "3"),
    numbered(1, put("a", "3"), "1"),
  );
  const ask = ["1", "2", "3", "4", "5"].map((name) => numbered(1, put("a", "4"), name));
  assertRestores(original, open, open, ...ask, open, ...ask);
  const codes = original.apply(...ask).map((result) => result.ok || result.code);
  assertEquals(codes, [true, "sessionExpired", true, "sessionExpired", true]);
});

Deno.test("Store.restoreLine() keeps what sessions hold, so that they forget and expire at the same write", () => {
  const half = "x".repeat(sessionUnitsMax / 2);
  const previous = { previous: true };
  const original = applied(put("a", half), open, put("b", half + half));
  original.apply(numbered(1, put("a", half, previous), "2"), numbered(2, put("a", half, previous), "2"));
  const retries = [1, 2, 3].map((seq) => numbered(seq, put("c", ""), "2"));
  assertRestores(original, numbered(3, put("a", half, previous), "2"), ...retries);
  assertEquals(original.apply(retries[0]!), [{
    ok: false,
    code: "seqTooOld",
    session: "2",
    seq: 1,
    oldest: 2,
  }]);

  const fit = allSessionsUnitsMax / sessionUnitsMax;
  const names: string[] = [];
  for (let i = 0; i < fit - 1; i++) {
    original.apply(open);
    names.push(String(original.index));
    original.apply(numbered(1, put("b", half + half, previous), names.at(-1)!));
  }
  assertEquals(original.store.snapshot().sessions, fit);
  assertRestores(original, open, numbered(1, put("a", "", previous), names[0]!), ...retries);
  assertRestores(
    original,
    numbered(2, remove("a", previous), names[0]!),
    numbered(1, remove("b"), names[1]!),
  );
});

Deno.test("Store.finishRestore() refuses what is younger than the snapshot, and lets apply go on behind it", () => {
  const done = { ok: true, index: 7, version: 7 };
  const lines = [
    { key: "a", value: "1", version: 7 },
    { session: "7", forgotten: 0, answers: [] },
    { session: "1", forgotten: 0, answers: [[1, done]] },
  ];
  for (const line of lines) {
    const store = new Store();
    assertEquals(store.restoreLine(line), null);
    assertEquals(store.finishRestore(6), "a line names index 7, above 6, that of the snapshot");
    const fits = new Store();
    assertEquals(fits.restoreLine(line), null);
    assertEquals(fits.finishRestore(7), null);
    assertThrows(() => fits.apply(open, 7), AssertionFailed, "each once");
    assertEquals(fits.apply(open, 8), { ok: true, session: "8" });
  }
});

Deno.test("Store.restoreLine() and finishRestore() are for a store that has applied nothing", () => {
  const { store } = applied(put("a", "1"));
  assertThrows(
    () => store.restoreLine({ key: "b", value: "", version: 1 }),
    AssertionFailed,
    "applied nothing",
  );
  assertThrows(() => store.finishRestore(1), AssertionFailed, "applied nothing");
  assertRestores(new Subject(), open, put("a", "1"));
});

Deno.test("Store.snapshot() takes no longer than a few writes, however much there is", () => {
  const subject = applied(...Array<Command>(sessionsMax).fill(open));
  for (let i = 0; i < 100_000; i++) subject.apply(put(`key ${i}`, "value"));
  for (let i = 1; i <= sessionsMax; i++) subject.apply(numbered(1, put("a", "1"), String(i)));
  const times: number[] = [];
  for (let round = 1; round <= 9; round++) {
    const start = performance.now();
    const snapshot = subject.store.snapshot();
    times.push(performance.now() - start);
    assertEquals([snapshot.keys, snapshot.sessions], [100_001, sessionsMax]);
    for (let i = 1; i <= 1000; i++) subject.apply(numbered(round + 1, put(`key ${i}`, "new"), String(i)));
  }
  const median = times.sort((a, b) => a - b)[4]!;
  assertLess(median, 20, `milliseconds: ${times}`);
});
