import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { addCounters } from "./batch.ts";
import { missingIn, required } from "./coverage.ts";
import { readLedger } from "./ledger.ts";

Deno.test("readLedger() gives long runs of known commits, each seed at most once for a commit, that saw enough altogether", () => {
  const runs = readLedger();
  assertGreater(runs.length, 0);
  const ends = new Map<string, number>();
  const totals = new Map<string, Record<string, number>>();
  for (const { commit, first, seeds, counters } of runs) {
    assertMatch(commit, /^[0-9a-f]{40}$/);
    assert(first >= (ends.get(commit) ?? 0), `${commit}: seed ${first} was run before`);
    ends.set(commit, first + seeds);
    const total = totals.get(commit) ?? {};
    addCounters(total, counters);
    totals.set(commit, total);
  }
  for (const [commit, total] of totals) {
    // What is counted only since then, that run need not have seen.
    const later = Object.keys(required).filter((name) => !(name in total)).map((name) => [name, Infinity]);
    assertEquals(missingIn({ ...total, ...Object.fromEntries(later) }), [], commit);
  }
});
