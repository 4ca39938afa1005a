import { assertEquals, assertThrows } from "@std/assert";
import type { Command } from "../../lib/kv/command.ts";
import { makeEntry } from "../../lib/raft/entry.ts";
import type { Entry } from "../../lib/raft/types.ts";
import { type Attempt, History, type Reply, type Request } from "./history.ts";
import { type DurableView, Invariants, type NodeView } from "./invariants.ts";
import { Violation } from "./violation.ts";

/** A chain of entries; each item is a term or a command in term 1. */
function chain(...items: (number | Command)[]): Entry[] {
  const entries: Entry[] = [];
  for (const item of items) {
    const command = typeof item === "number" ? null : item;
    entries.push(makeEntry({
      index: entries.length + 1,
      term: typeof item === "number" ? item : 1,
      kind: command === null ? "noop" : "command",
      command,
      prevCrc: entries.at(-1)?.crc ?? 0,
    }));
  }
  return entries;
}

interface FakeNode {
  durable: DurableView & { currentTerm: number; votedFor: number | null };
  view: NodeView;
  set(
    state: { role?: string; term?: number; vote?: number; log?: Entry[]; commit?: number; applied?: number },
  ): void;
  digest: string;
}

/** Three nodes that are whatever the test says, and the checks that watch them. */
function cluster(): { invariants: Invariants; nodes: [FakeNode, FakeNode, FakeNode] } {
  const nodes = [1, 2, 3].map((): FakeNode => {
    let log: Entry[] = [];
    const raft = {
      role: "follower",
      currentTerm: 0,
      votedFor: null as number | null,
      commitIndex: 0,
      get lastIndex() {
        return log.length;
      },
      entryAt: (index: number) => log[index - 1],
    };
    const view = { raft, store: { digest: () => node.digest }, appliedIndex: 0 };
    const durable = { currentTerm: 0, votedFor: null as number | null, crcs: [0] };
    const node: FakeNode = {
      durable,
      view,
      digest: "same",
      set(state) {
        raft.role = state.role ?? raft.role;
        raft.currentTerm = durable.currentTerm = state.term ?? raft.currentTerm;
        raft.votedFor = durable.votedFor = state.vote ?? raft.votedFor;
        log = state.log ?? log;
        if (state.log !== undefined) durable.crcs.splice(0, Infinity, 0, ...log.map(({ crc }) => crc));
        raft.commitIndex = state.commit ?? raft.commitIndex;
        view.appliedIndex = state.applied ?? view.appliedIndex;
      },
    };
    return node;
  }) as [FakeNode, FakeNode, FakeNode];
  const invariants = new Invariants(nodes.map(({ durable }) => durable));
  nodes.forEach(({ view }, i) => invariants.onStart(i + 1, view));
  return { invariants, nodes };
}

function assertViolates(invariant: Violation["invariant"], run: () => void): void {
  const error = assertThrows(run, Violation);
  assertEquals(error.invariant, invariant, error.message);
}

Deno.test("Invariants.check() accepts a leader that replicates, commits and is followed by another one", () => {
  const { invariants, nodes: [one, two, three] } = cluster();
  const log = chain(1, 1, 1);
  one.set({ role: "leader", term: 1, vote: 1, log });
  two.set({ term: 1, vote: 1, log });
  invariants.check();
  one.set({ commit: 3, applied: 2 });
  invariants.check();
  one.set({ role: "follower" });
  three.set({ term: 1, log: chain(1, 1, 1).slice(0, 2) });
  two.set({ role: "leader", term: 2, vote: 2, log: chain(1, 1, 1, 2) });
  invariants.check();
  three.set({ log: chain(1, 1, 1, 2), term: 2, commit: 4 });
  invariants.check();
  assertEquals(invariants.committedIndex, 4);
  assertEquals(invariants.seen.leaderChanges, 2);
});

Deno.test("Invariants.check() finds two leaders in a term (I1)", () => {
  const { invariants, nodes: [one, two] } = cluster();
  one.set({ role: "leader", term: 1, vote: 1 });
  invariants.check();
  one.set({ role: "follower" });
  two.set({ role: "leader", term: 1, vote: 2 });
  assertViolates("I1", () => invariants.check());
});

Deno.test("Invariants.check() finds a leader that changes its log (I2)", () => {
  const { invariants, nodes: [one] } = cluster();
  one.set({ role: "leader", term: 2, vote: 1, log: chain(1, 1) });
  invariants.check();
  one.set({ log: chain(1, 2) });
  assertViolates("I2", () => invariants.check());
});

Deno.test("Invariants.check() finds the same index and term with another entry or another past (I3)", () => {
  const { invariants, nodes: [one, two] } = cluster();
  one.set({ term: 2, log: chain(1, 1, 2) });
  two.set({ term: 2, log: chain(1, 2, 2) });
  assertViolates("I3", () => invariants.check());
});

Deno.test("Invariants.check() finds a commit that is not on the disks of a majority (I4)", () => {
  const { invariants, nodes: [one, two] } = cluster();
  const log = chain(1);
  one.set({ role: "leader", term: 1, vote: 1, log });
  two.set({ term: 1, log });
  two.durable.crcs.length = 1;
  one.set({ commit: 1 });
  assertViolates("I4", () => invariants.check());
});

Deno.test("Invariants.check() finds another commit at the same index, and a committed entry that is cut (I4)", () => {
  for (const forgetful of [true, false]) {
    const { invariants, nodes: [one, two, three] } = cluster();
    for (const node of [one, two]) node.set({ term: 1, log: chain(1, 1), commit: 2 });
    invariants.check();
    if (forgetful) one.set({ term: 2, log: chain(1) });
    else three.set({ term: 2, log: chain(1, 2), commit: 2 });
    assertViolates("I4", () => invariants.check());
  }
});

Deno.test("Invariants.check() finds a leader that lacks what was committed before its term (I5)", () => {
  const { invariants, nodes: [one, two, three] } = cluster();
  for (const node of [one, two]) node.set({ term: 1, log: chain(1, 1), commit: 2 });
  invariants.check();
  three.set({ role: "leader", term: 2, vote: 3, log: chain(1) });
  assertViolates("I5", () => invariants.check());
});

Deno.test("Invariants.check() lets a leader of an old term lack what a later term committed", () => {
  const { invariants, nodes: [one, two, three] } = cluster();
  for (const node of [one, two]) node.set({ term: 1, log: chain(1), commit: 1 });
  invariants.check();
  for (const node of [one, two]) node.set({ term: 3, log: chain(1, 3), commit: 2 });
  invariants.check();
  three.set({ role: "leader", term: 2, vote: 3, log: chain(1) });
  invariants.check();
});

Deno.test("Invariants.check() finds different states at one index (I6)", () => {
  const { invariants, nodes: [one, two] } = cluster();
  const log = chain(1, 1, 1, 1, 1, 1, 1, 1);
  for (const node of [one, two]) node.set({ term: 1, log, commit: 8, applied: 8 });
  two.digest = "another";
  assertViolates("I6", () => invariants.check());
});

Deno.test("Invariants finds a term that goes back and a vote that changes, across a restart too (I7)", () => {
  const { invariants, nodes: [one] } = cluster();
  one.set({ term: 2, vote: 1 });
  invariants.check();
  one.set({ vote: 2 });
  assertViolates("I7", () => invariants.check());
  one.set({ term: 1, vote: 1 });
  assertViolates("I7", () => invariants.check());
  one.durable.currentTerm = 5;
  assertViolates("I7", () => invariants.onStart(1, one.view));
  one.set({ term: 5, vote: 3 });
  one.durable.votedFor = 2;
  assertViolates("I7", () => invariants.onStart(1, one.view));
});

Deno.test("Invariants.check() finds indexes that are out of order or go back (I8)", () => {
  for (
    const [from, to] of [[{ commit: 1 }, { applied: 2 }], [{ commit: 2 }, { commit: 1 }], [{}, { commit: 4 }]]
  ) {
    const { invariants, nodes: [one, two] } = cluster();
    two.set({ term: 1, log: chain(1, 1, 1) });
    one.set({ term: 1, log: chain(1, 1, 1), ...from });
    invariants.check();
    one.set({ ...to });
    assertThrows(() => invariants.check());
  }
});

Deno.test("Invariants.check() finds a leader whose vote for itself is not on its disk (I14)", () => {
  const { invariants, nodes: [one] } = cluster();
  one.set({ role: "leader", term: 1, vote: 1 });
  one.durable.votedFor = null;
  assertViolates("I14", () => invariants.check());
});

const put = (key: string, value: string, more: Partial<Request> = {}): Command =>
  ({ op: "put", key, value, ...more }) as Command;

/** A history in which `commands` were committed, and what a client asked and was told. */
function history(...commands: Command[]): {
  tell(request: Request, reply: Partial<Reply>, floor?: number): void;
  commit(entry: Entry): void;
} {
  const history = new History(() => true);
  for (const entry of chain(...commands)) history.onCommitted(entry);
  return {
    tell(request, reply, floor = 0) {
      const attempt: Attempt = {
        id: 1,
        client: "c1",
        request,
        calledAt: 0,
        floor,
        returnedAt: null,
        outcome: "open",
        index: 0,
      };
      history.onReply(attempt, { ok: true, ...reply } as Reply, 1);
    },
    commit: (entry) => history.onCommitted(entry),
  };
}

const two = [put("a", "1"), put("a", "2")] as const;
const get: Request = { op: "get", key: "a" };

Deno.test("History.onReply() accepts a read of the newest value, and of an older one only with an older index", () => {
  const { tell } = history(...two);
  tell(get, { found: true, value: "2", version: 2, index: 2 });
  tell(get, { found: true, value: "1", version: 1, index: 1 });
  tell({ op: "get", key: "b" }, { found: false, index: 2 });
});

Deno.test("History.onReply() finds a read that is older than what was known before it (I11)", () => {
  const { tell } = history(...two);
  assertViolates("I11", () => tell(get, { found: true, value: "1", version: 1, index: 1 }, 2));
  tell({ ...get, consistency: "stale" }, { found: true, value: "1", version: 1, index: 1 }, 2);
});

Deno.test("History.onReply() finds a value that was not there, a wrong version, and what is not committed (I11)", () => {
  const { tell } = history(...two);
  assertViolates("I11", () => tell(get, { found: true, value: "1", version: 1, index: 2 }));
  assertViolates("I11", () => tell(get, { found: true, value: "2", version: 1, index: 2 }));
  assertViolates("I11", () => tell(get, { found: false, index: 2 }));
  assertViolates("I11", () => tell(get, { found: true, value: "3", version: 3, index: 3 }));
});

Deno.test("History.onReply() finds an acknowledged write that is not the committed entry (I9)", () => {
  const { tell } = history(...two);
  tell({ op: "put", key: "a", value: "2" }, { index: 2, version: 2 });
  assertViolates("I9", () => tell({ op: "put", key: "a", value: "2" }, { index: 1, version: 1 }));
  assertViolates("I11", () => tell({ op: "put", key: "a", value: "3" }, { index: 3, version: 3 }));
});

Deno.test("History.onReply() finds a session write that was acknowledged as its second entry (I10)", () => {
  const write = put("a", "1", { session: "1", seq: 1 });
  const { tell } = history({ op: "session" }, write, write);
  const request: Request = { op: "put", key: "a", value: "1", session: "1", seq: 1 };
  tell(request, { index: 2, version: 2 });
  assertViolates("I10", () => tell(request, { index: 3, version: 3 }));
});

Deno.test("History.onReply() finds a failed condition that held, and a version that was not there", () => {
  const { tell } = history(put("a", "1"), put("a", "2", { ifVersion: 7 }));
  const request: Request = { op: "put", key: "a", value: "2", ifVersion: 7 };
  const failed = (version: number): Partial<Reply> => ({
    ok: false,
    error: { code: "conditionFailed", definite: true, version },
  });
  tell(request, failed(1));
  assertViolates("I11", () => tell(request, failed(2)));
  assertViolates("replies", () => tell(request, failed(7)));
  assertViolates("I9", () => tell(request, { index: 2, version: 2 }));
});

Deno.test("History finds a write that was refused for certain and happened all the same, before or after", () => {
  const refused: Partial<Reply> = { ok: false, error: { code: "notLeader", definite: true } };
  const { tell, commit } = history(...two);
  assertViolates("replies", () => tell({ op: "put", key: "a", value: "2" }, refused));
  tell({ op: "put", key: "a", value: "3" }, refused);
  assertViolates("replies", () => commit(chain(...two, put("a", "3"))[2]!));
});

Deno.test("History.onReply() finds a list with a key too many, too few or out of order (I11)", () => {
  const { tell } = history(put("\u{1f511}", "1"), put("\uffee", "2"));
  const entry = (key: string, value: string, version: number): NonNullable<Reply["entries"]>[0] => ({
    key,
    value,
    version,
  });
  const [last, first] = [entry("\u{1f511}", "1", 1), entry("\uffee", "2", 2)];
  const list = (entries: Reply["entries"], limit = 5, next: string | null = null): void =>
    tell({ op: "list", prefix: "", limit }, { entries: entries!, index: 2, next });
  list([first, last]);
  list([first], 1, "\u{1f511}");
  assertViolates("I11", () => list([last, first]));
  assertViolates("I11", () => list([first]));
  assertViolates("I11", () => list([first], 1));
  assertViolates("I11", () => list([first, last, last]));
});
