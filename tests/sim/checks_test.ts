import { assertEquals, assertThrows } from "@std/assert";
import type { Entry } from "../../lib/raft/types.ts";
import { chain } from "./chain.ts";
import { type DurableView, Invariants, type NodeView } from "./invariants.ts";
import { Violation } from "./violation.ts";

interface FakeNode {
  durable: DurableView & { currentTerm: number; votedFor: number | null; crcs: number[] };
  view: NodeView;
  set(state: FakeState): void;
  digest: string;
}

interface FakeState {
  role?: string;
  term?: number;
  vote?: number;
  log?: Entry[];
  commit?: number;
  applied?: number;
  /** The log up to here is cut off, and a snapshot reaches there. */
  base?: number;
  admitted?: number;
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
      baseIndex: 0,
      admittedIndex: 1,
      receivingIndex: null,
      snapshot: null as { lastIncludedIndex: number } | null,
      get lastIndex() {
        return log.length;
      },
      entryAt: (index: number) => index > raft.baseIndex ? log[index - 1] : undefined,
      snapshotAt: (index: number) => ({ lastIncludedCrc: log[index - 1]?.crc ?? 0 }),
    };
    const view = {
      raft,
      store: { digest: () => node.digest, frozen: 0, slots: 0, size: 0 },
      frozenStates: 0,
      appliedIndex: 0,
    };
    const crcs = [0];
    const has = (index: number, committed: readonly number[]): boolean => crcs[index] === committed[index];
    const durable = { currentTerm: 0, votedFor: null as number | null, crcs, has, admit: () => {} };
    const node: FakeNode = {
      durable,
      view,
      digest: "same",
      set(state) {
        raft.role = state.role ?? raft.role;
        raft.currentTerm = durable.currentTerm = state.term ?? raft.currentTerm;
        raft.votedFor = durable.votedFor = state.vote ?? raft.votedFor;
        log = state.log ?? log;
        if (state.log !== undefined) crcs.splice(0, Infinity, 0, ...log.map(({ crc }) => crc));
        raft.commitIndex = state.commit ?? raft.commitIndex;
        view.appliedIndex = state.applied ?? view.appliedIndex;
        raft.admittedIndex = state.admitted ?? raft.admittedIndex;
        raft.baseIndex = state.base ?? raft.baseIndex;
        if (state.base !== undefined) raft.snapshot = { lastIncludedIndex: state.base };
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

Deno.test("Invariants.check() accepts snapshots that are taken and taken over, and counts them", () => {
  const { invariants, nodes: [one, two, three] } = cluster();
  const log = chain(1, 1, 1);
  for (const node of [one, two]) node.set({ term: 1, log, commit: 3, applied: 3 });
  invariants.check();
  one.set({ base: 2 });
  invariants.check();
  three.set({ term: 1, log, base: 3, commit: 3 });
  invariants.check();
  assertEquals([invariants.seen.snapshots, invariants.seen.installs], [1, 1]);
});

Deno.test("Invariants.check() finds a snapshot of what was not committed, and one that goes back (I4, I8)", () => {
  for (const log of [chain(1, 2), chain(1, 1, 1)]) {
    const { invariants, nodes: [one, two, three] } = cluster();
    for (const node of [one, two]) node.set({ term: 1, log: chain(1, 1), commit: 2, applied: 2 });
    invariants.check();
    three.set({ term: 2, log, base: log.length, commit: log.length });
    assertViolates("I4", () => invariants.check());
  }
  const { invariants, nodes: [one, two] } = cluster();
  for (const node of [one, two]) node.set({ term: 1, log: chain(1, 1), commit: 2, applied: 2 });
  invariants.check();
  one.set({ base: 2 });
  invariants.check();
  one.set({ base: 1 });
  assertViolates("I8", () => invariants.check());
});

Deno.test("Invariants.check() finds a node that abstains and stands for election, and counts admissions (I14)", () => {
  const { invariants, nodes: [one, two] } = cluster();
  const log = chain(1, 1);
  two.set({ term: 1, log });
  one.set({ term: 1, log, commit: 2, admitted: 0 });
  invariants.check();
  one.set({ admitted: 2 });
  invariants.check();
  assertEquals(invariants.seen.admissions, 1);
  one.set({ admitted: 0, role: "candidate" });
  assertViolates("I14", () => invariants.check());
});
