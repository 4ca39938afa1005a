/**
 * Requests over the real Server: what they may make a node hold.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { SmallCluster } from "./cluster.ts";

for (const numbered of [{}, { session: "3", seq: 1 }]) {
  const again = "seq" in numbered ? ", though the same comes again," : ",";
  Deno.test(`answerRequest() refuses transactions while as much waits to be read as the node holds${again} and goes on then`, () => {
    const cluster = new SmallCluster("unread answers", {
      limits: { clientBytesMax: 1_500_000, replyBytesMax: 100_000 },
    });
    const writer = cluster.client(cluster.leader!);
    const opened = writer.ask({ op: "session" });
    assertEquals(opened.session, "3");
    const value = "v".repeat(4000);
    for (let i = 0; i < 40; i++) assert(writer.ask({ op: "put", key: `k${i}`, value }).ok);
    const then = Array.from({ length: 40 }, (_, i) => ({ op: "get", key: `k${i}` }));
    const txn = { op: "txn", if: [], then, else: [] };
    const client = cluster.client(cluster.leader!);
    client.ask({ op: "ping" });
    client.pause();
    // 160 kB are the answer to each, for which twice as much is kept free. Some of those of the first wave can be sent.
    for (let wave = 0; wave < 2; wave++) {
      client.send(...Array.from({ length: 100 }, () => ({ ...txn, ...numbered })));
      cluster.run(1000);
    }
    assert(writer.ask({ op: "put", key: "other", value }).ok, "what needs no room is taken");
    const { ok, results } = writer.ask(txn);
    assertEquals([ok, (results as unknown[]).length], [true, 40], "and also what does, of one who reads");
    client.resume();
    cluster.until(() => client.replies.length === 201, "all replies");
    const done = client.replies.filter(({ ok, results }) => ok && results !== undefined);
    assertGreater(done.length, 5);
    assertLess(done.length, 20);
    const codes = client.replies.flatMap((reply) => codeOf(reply) ?? []);
    assertEquals([new Set(codes), done.length + codes.length], [new Set(["busy"]), 200]);
    assert(writer.ask({ ...txn, ...numbered }).ok, "there is room again");
  });
}

Deno.test("answerRequest() answers all transactions that waited together, and others, however much they might have held", () => {
  const cluster = new SmallCluster("held", { limits: { clientBytesMax: 400_000 } });
  const leader = cluster.leader!;
  assert(cluster.client(leader).ask(put).ok);
  const clients = Array.from({ length: 14 }, () => cluster.client(leader));
  cluster.run(100);
  const heal = cluster.isolate(leader);
  const then = Array.from({ length: 10 }, () => ({ op: "get", key: "k" }));
  for (const client of clients) client.send({ op: "txn", then });
  cluster.run(40);
  heal();
  cluster.until(() => clients.every(({ replies }) => replies.length === 1), "an answer to each");
  const said = clients.map(({ replies: [reply] }) => codeOf(reply!) ?? "ok");
  assertEquals(new Set(said), new Set(["ok", "busy"]));
  assert(cluster.client(leader).ask({ op: "list" }).ok);
});

Deno.test("answerRequest() makes few of the answers that wait to be read, though all gets are confirmed at once", () => {
  const cluster = new SmallCluster("gets", { limits: { clientBytesMax: 4 << 20 } });
  const leader = cluster.leader!;
  const value = "v".repeat(8000);
  assert(cluster.client(leader).ask({ op: "put", key: "k", value }).ok);
  const clients = Array.from({ length: 10 }, () => cluster.client(leader));
  cluster.run(100);
  const count = 1000;
  for (const client of clients) {
    client.pause();
    client.send(...Array.from({ length: count }, () => ({ op: "get", key: "k" })));
  }
  cluster.run(1000);
  const txn = { op: "txn", then: [{ op: "get", key: "k" }] };
  assert(cluster.client(leader).ask(txn).ok, "80 MB would be more than the node holds");
  for (const client of clients) {
    client.resume();
    cluster.until(() => client.replies.length === count, "all replies");
    assert(client.replies.every((reply) => reply.value === value));
  }
});

Deno.test("answerRequest() holds nothing any more for a transaction of which nobody knows what became of it", () => {
  const limits = { clientBytesMax: 400_000, replyBytesMax: 100_000, requestTimeoutMs: 1000 };
  const cluster = new SmallCluster("outcome unknown", { size: 1, limits });
  const client = cluster.client(cluster.leader!);
  const { disk } = cluster.nodes[0]!.machine;
  const then = Array.from({ length: 20 }, () => ({ op: "get", key: "k" }));
  for (let i = 0; i < 5; i++) {
    disk.slowness = 1e4;
    const { error } = client.ask({ op: "txn", if: [], then, else: [] });
    assertEquals((error as { code: string }).code, "outcomeUnknown");
    disk.slowness = 1;
    cluster.until(() => client.ask(put).ok === true, "the disk goes on");
  }
  assert(client.ask({ op: "txn", if: [], then, else: [] }).ok);
});

Deno.test("answerRequest() puts a session's write into the log once, however often it is sent while it is under way and later", () => {
  const cluster = new SmallCluster("sent again", { size: 1, limits: { clientBytesMax: 400_000 } });
  const node = cluster.leader!;
  const { disk } = node.machine;
  const { session } = cluster.client(node).ask({ op: "session" });
  const lastIndex = (): number => node.server!.raft.lastIndex;
  const before = lastIndex();
  disk.slowness = 400;
  const [one, other] = [cluster.client(node), cluster.client(node)];
  const txn = { op: "txn", if: [], then: [{ op: "get", key: "k" }], else: [], session, seq: 1 };
  const put = { op: "put", key: "k", value: "v", previous: true, session, seq: 2 };
  for (let i = 0; i < 10; i++) {
    for (const client of [one, other]) client.send(txn, put, txn, { op: "get", key: "k" });
    cluster.run(5); // for longer, and the leader would resign
  }
  assertEquals([lastIndex(), one.replies.length], [before + 2, 0]);
  disk.slowness = 1;
  cluster.until(() => one.replies.length + other.replies.length === 80, "all replies");
  const [got, written, , read] = one.replies;
  assertEquals(written, { ok: true, index: before + 2, version: before + 2, previous: null });
  assertEquals([got!.index, read!.value], [before + 1, "v"], "a read sees what was sent before it");
  for (const { replies } of [one, other]) {
    for (let i = 0; i < 40; i++) assertEquals(replies[i], [got, written, got, read][i % 4]);
  }
  const late = cluster.client(node);
  assertEquals([late.ask(put), late.ask(txn), lastIndex()], [written, got, before + 2]);
  assert(late.ask({ ...put, seq: 3 }).ok, "the next number is another write");
  disk.full = true;
  late.send({ ...put, seq: 4 });
  cluster.until(() => codeOf(cluster.client(node).ask({ ...put, seq: 5 })) === "diskFull", "it is noticed");
  const last = cluster.client(node);
  assertEquals([last.ask(txn), last.ask(put)], [got, written], "what is known needs no room");
  disk.full = false;
});

function codeOf(reply: Record<string, unknown>): string | undefined {
  return (reply.error as { code: string } | undefined)?.code;
}

const put = { op: "put", key: "k", value: "v" };
