/**
 * Clients that take up a connection and do nothing with it, or do it so slowly that it comes to the same.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess, assertMatch } from "@std/assert";
import { denoClock, denoNetwork } from "../../lib/io/deno_io.ts";
import { ClientConnections } from "../../lib/server/client_connections.ts";
import { defaultLimits } from "../../lib/server/options.ts";
import { type Client, SmallCluster } from "./cluster.ts";

const limits = { idleMs: 5000, partialLineMs: 2000 };

/** The code and the message of a client's last reply. */
function lastError({ replies }: Client): { code: string; message: string; definite: boolean } {
  return replies.at(-1)!.error as { code: string; message: string; definite: boolean };
}

/** Runs until the node has closed a connection; returns how long that took. */
function untilClosed(cluster: SmallCluster, client: Client): number {
  const before = cluster.world.scheduler.now;
  cluster.until(() => client.isClosed, "the connection is closed");
  return cluster.world.scheduler.now - before;
}

Deno.test("Client.onTick() closes a connection on which nothing happens, and tells it so", () => {
  const cluster = new SmallCluster("idle", { limits });
  const leader = cluster.leader!;
  const [mute, silent, talking] = Array.from({ length: 3 }, () => cluster.client(leader));
  const watching = cluster.client(leader);
  assertEquals(watching.ask({ op: "watch" }).ok, true);
  assertEquals(silent!.ask({ op: "put", key: "a", value: "1" }).ok, true);
  for (let ms = 0; ms < limits.idleMs + 2000; ms += 1000) {
    talking!.ask({ op: "ping" });
    cluster.run(1000);
    const isEarly = ms + 1000 < limits.idleMs - 100;
    if (isEarly) assert(!mute!.isClosed && !silent!.isClosed, `after ${ms} ms`);
  }
  for (const client of [mute!, silent!]) {
    assert(client.isClosed);
    assertEquals([lastError(client).code, lastError(client).definite], ["busy", true]);
    assertMatch(lastError(client).message, /idle for 5 s and is closed/);
  }
  assert(!talking!.isClosed && !watching.isClosed, "those who talk, and those who listen, stay");
});

Deno.test("Client.onTick() leaves a connection alone while the cluster owes it an answer", () => {
  const cluster = new SmallCluster("long wait", { limits: { ...limits, requestTimeoutMs: 12_000 } });
  const leader = cluster.leader!;
  for (const node of cluster.nodes) if (node !== leader) cluster.hangDisk(node);
  const client = cluster.client(leader);
  client.send({ op: "put", key: "a", value: "1" });
  cluster.run(limits.idleMs + 2000);
  assertEquals([client.replies.length, client.isClosed], [0, false]);
  cluster.until(() => client.replies.length > 0, "an answer");
  assertEquals(lastError(client).code, "outcomeUnknown");
});

Deno.test("Client.onTick() closes a connection whose line does not end, however many bytes still come", () => {
  const cluster = new SmallCluster("slow line", { limits });
  const client = cluster.client(cluster.leader!);
  client.ask({ op: "ping" });
  cluster.run(1000);
  const before = cluster.world.scheduler.now;
  for (let i = 0; i < 100 && !client.isClosed; i++) {
    client.write(" ");
    cluster.run(100);
  }
  const waited = cluster.world.scheduler.now - before;
  assert(waited >= limits.partialLineMs && waited < limits.partialLineMs + 1500, `${waited} ms`);
  assertEquals([lastError(client).code, lastError(client).definite], ["badRequest", true]);
  assertMatch(lastError(client).message, /has to be whole within 2 s; the connection is closed/);
});

Deno.test("Client.onTick() gives every line its time, counted from its first byte", () => {
  const cluster = new SmallCluster("slow lines", { limits });
  const client = cluster.client(cluster.leader!);
  const line = '{"op":"ping"}\n';
  client.write(line.slice(0, 5));
  for (let i = 0; i < 6; i++) {
    cluster.run(limits.partialLineMs - 200);
    client.write(line.slice(5) + line.slice(0, 5));
  }
  cluster.run(500);
  assertEquals(client.replies, Array.from({ length: 6 }, () => ({ ok: true })));
  const waited = untilClosed(cluster, client);
  assertLess(waited, limits.partialLineMs + 1000);
});

Deno.test("Client.onTick() drops a client that has stopped to read, with what it was to get", () => {
  const cluster = new SmallCluster("unread", { limits: { ...limits, replyBytesMax: 100_000 } });
  const leader = cluster.leader!;
  const reader = cluster.client(leader);
  reader.ask({ op: "put", key: "a", value: "x".repeat(100_000) });
  const deaf = cluster.client(leader);
  deaf.ask({ op: "ping" });
  deaf.pause();
  deaf.send(...Array.from({ length: 50 }, () => ({ op: "get", key: "a" })));
  cluster.run(1000);
  assertGreater(cluster.bufferedBytes(leader), 0);
  assertEquals(reader.ask({ op: "status" }).clients, 2);
  for (let ms = 0; ms < limits.idleMs + 2000; ms += 1000) {
    cluster.run(1000);
    reader.ask({ op: "ping" });
  }
  assertEquals(reader.ask({ op: "status" }).clients, 1);
  assertEquals(cluster.bufferedBytes(leader), 0);
});

Deno.test("ClientConnections.accept() answers busy to one client too many, until another one goes", () => {
  const cluster = new SmallCluster("full house", { size: 1, limits: { clientConnectionsMax: 2 } });
  const leader = cluster.leader!;
  const [first, second] = [cluster.client(leader), cluster.client(leader)];
  for (const client of [first, second]) assertEquals(client.ask({ op: "ping" }).ok, true);
  const late = cluster.client(leader);
  untilClosed(cluster, late);
  assertEquals(lastError(late).code, "busy");
  assertEquals(first.ask({ op: "status" }).clients, 2);
  second.close();
  cluster.run(500);
  assertEquals(cluster.client(leader).ask({ op: "ping" }).ok, true);
});

Deno.test("ClientConnections.accept() holds only so many connections open to say that there are too many", async () => {
  const accepted = Promise.withResolvers<void>();
  let count = 0;
  const connections = new ClientConnections({
    clock: denoClock(),
    limits: { ...defaultLimits, clientConnectionsMax: 0 },
    delayMs: 0,
  }, { onRequest() {}, onWork() {}, onGone() {} });
  const address = { hostname: "127.0.0.1", port: 0 };
  const probe = Deno.listen(address);
  address.port = probe.addr.port;
  probe.close();
  const listener = denoNetwork().listen(`127.0.0.1:${address.port}`, (connection) => {
    connections.accept(connection);
    if (++count === 100) accepted.resolve();
  });
  const clients = await Promise.all(Array.from({ length: 100 }, () => Deno.connect(address)));
  await accepted.promise;
  const texts = await Promise.all(
    clients.map((client) => new Response(client.readable).text().catch(() => "")),
  );
  assertEquals(texts.filter((text) => text.includes('"code":"busy"')).length, 4);
  assertEquals(texts.filter((text) => text === "").length, 96);
  listener.close();
});

Deno.test("ClientConnections.onTick() lets those go who read nothing while clients hold too much, and serves all others", () => {
  const cluster = new SmallCluster("deaf", { size: 1, limits: { clientBytesMax: 1 << 20 } });
  const leader = cluster.leader!;
  const honest = cluster.client(leader);
  honest.ask({ op: "put", key: "large", value: "v".repeat(1 << 20) });
  honest.ask({ op: "put", key: "small", value: "v" });
  const deaf = Array.from({ length: 6 }, () => cluster.client(leader));
  for (const client of deaf) {
    client.pause();
    client.send({ op: "get", key: "large" });
  }
  cluster.run(500);
  assertLess(cluster.bufferedBytes(leader), 4 << 20);
  const before = cluster.world.scheduler.now;
  assertEquals(honest.ask({ op: "get", key: "small" }).value, "v");
  assertLess(cluster.world.scheduler.now - before, 100);
  assertEquals((honest.ask({ op: "get", key: "large" }).value as string).length, 1 << 20);
  assertLess(cluster.world.scheduler.now - before, 20_000);
  assertEquals(honest.ask({ op: "status" }).ok, true);
});
