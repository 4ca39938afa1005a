import { assert, assertAlmostEquals, assertEquals, assertGreater } from "@std/assert";
import { SmallCluster } from "./cluster.ts";

type Times = Record<string, number> & { peers: Record<string, number> };

Deno.test("Trace.report() tells of a write where its time went", () => {
  const cluster = new SmallCluster("trace");
  const leader = cluster.leader!;
  const client = cluster.client(leader);
  const trace = client.ask({ op: "put", key: "a", value: "1", trace: true }).trace as Times;
  assertEquals(Object.keys(trace), ["queueMs", "appendMs", "fsyncMs", "peers", "applyMs", "totalMs"]);
  assert(Object.values(trace.peers).length >= 1 && !(leader.id in trace.peers));
  assertGreater(trace.fsyncMs!, 0);
  assertGreater(trace.peers[cluster.nodes.find((node) => node.id in trace.peers)!.id]!, 0);
});

Deno.test("Trace.report() tells a slow disk from slow peers", () => {
  const cluster = new SmallCluster("slow disk");
  const leader = cluster.leader!;
  const ask = () =>
    cluster.client(leader).ask({ op: "put", key: "a", value: "1", trace: true }).trace as Times;
  const before = ask();
  for (const node of cluster.nodes) if (node !== leader) node.machine.disk.slowness = 20;
  const slowPeers = ask();
  assertGreater(Math.min(...Object.values(slowPeers.peers)), 3 * Math.min(...Object.values(before.peers)));
  assertAlmostEquals(slowPeers.fsyncMs!, before.fsyncMs!, 3 * before.fsyncMs!);
});

Deno.test("Trace.report() is in every kind of reply that asks for it, and in no other", () => {
  const cluster = new SmallCluster("all kinds");
  const client = cluster.client(cluster.leader!);
  const get = client.ask({ op: "get", key: "a", trace: true }).trace as Times;
  assertEquals(Object.keys(get), ["queueMs", "confirmMs", "applyMs", "totalMs"]);
  for (
    const request of [
      { op: "ping" },
      { op: "status" },
      { op: "list" },
      { op: "list", count: true },
      { op: "get", key: "a", consistency: "stale" },
      { op: "txn", then: [] },
      { op: "increment", key: "n" },
      { op: "session" },
      { op: "watch" },
    ]
  ) {
    assert("totalMs" in (client.ask({ ...request, trace: true }).trace as Times), JSON.stringify(request));
    assertEquals("trace" in client.ask({ ...request, trace: false }), false);
    assertEquals("trace" in client.ask(request), false);
  }
});
