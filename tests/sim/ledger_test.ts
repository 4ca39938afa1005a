import { assert, assertGreater, assertMatch } from "@std/assert";
import { missingIn, required } from "./coverage.ts";
import { readLedger } from "./ledger.ts";

Deno.test("readLedger() gives long runs of known commits that failed or saw enough, each seed at most once for a commit", () => {
  const runs = readLedger();
  assertGreater(runs.length, 0);
  const ends = new Map<string, number>();
  for (const { commit, first, seeds, failed, counters } of runs) {
    assertMatch(commit, /^[0-9a-f]{40}$/);
    assert(first >= (ends.get(commit) ?? 0), `${commit}: seed ${first} was run before`);
    ends.set(commit, first + seeds);
    // What is counted only since then, that run need not have seen.
    const later = Object.keys(required).filter((name) => !(name in counters)).map((name) => [name, Infinity]);
    const missing = missingIn({ ...counters, ...Object.fromEntries(later) });
    assert(failed > 0 || missing.length === 0, `${commit}, from seed ${first}: ${missing}`);
  }
});
