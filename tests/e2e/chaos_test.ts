/**
 * Real processes that are killed, paused and cut off from each other while what clients are told is recorded: the history
 * must be linearizable. `deno task chaos` does the same for half an hour.
 *
 * @module
 */

import { assertEquals, assertGreater } from "@std/assert";
import { runChaos } from "../../bench/chaos.ts";
import { type FaultKind, faultKinds } from "../../lib/chaos/faults.ts";

const seconds = Number(Deno.env.get("KVAPP_CHAOS_SECONDS") ?? 8);

Deno.test("a cluster that is killed, paused and cut apart is linearizable and loses nothing", async () => {
  const chaos = Object.keys(faultKinds) as FaultKind[];
  const [report] = await runChaos({ runs: 1, seconds, chaos: chaos.slice(0, 3), seed: "tests" }, () => {});
  assertEquals([report!.verdict, report!.problems], ["linearizable", []]);
  assertGreater(report!.acknowledgedWrites, 100);
});
