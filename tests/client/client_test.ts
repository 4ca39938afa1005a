import { assert, assertEquals, assertGreaterOrEqual, assertLess, assertRejects } from "@std/assert";
import { ClientError, connect } from "../../mod.ts";
import { FaultyCluster } from "./nodes_with_faults.ts";

type Body = (cluster: FaultyCluster) => Promise<void>;

/** A test with a cluster of so many nodes. */
function withCluster(name: string, count: number, body: Body): void {
  Deno.test(name, async () => {
    const cluster = new FaultyCluster(count);
    try {
      await body(cluster);
    } finally {
      await cluster.close();
    }
  });
}

function rejectsWith(code: string, promise: Promise<unknown>): Promise<ClientError> {
  return assertRejects(() => promise, ClientError).then((error) => {
    assertEquals(error.code, code, error.message);
    return error;
  });
}

withCluster(
  "connect() finds the client port from raft and from client addresses alike",
  1,
  async (cluster) => {
    const { port } = cluster.nodes[0]!;
    for (const address of [`127.0.0.1:${port - 1000}`, `localhost:${port}`]) {
      await using client = await connect(address);
      await client.ping();
      assertEquals(client.address, address.replace(/\d+$/, String(port)));
    }
  },
);

Deno.test("connect() throws unreachable, naming every address, when nobody answers", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  const error = await rejectsWith("unreachable", connect([`127.0.0.1:${port}`]));
  assert(error.message.includes(`127.0.0.1:${port} (`), error.message);
  assertEquals(error.definite, true);
  await assertRejects(() => connect("nonsense"), TypeError, "is not an address");
  await assertRejects(() => connect(" , "), TypeError, "at least one address");
});

withCluster("get(), put(), delete() and list() speak the client protocol", 1, async (cluster) => {
  await using client = await connect(cluster.cluster);
  assertEquals(await client.get("a"), null);
  const { version, index } = await client.put("a", "1\n\u{1F642}");
  assertEquals(version, index);
  assertEquals(await client.get("a"), { value: "1\n\u{1F642}", version, index });
  assertEquals((await client.put("a", "2", { previous: true })).previous, { value: "1\n\u{1F642}", version });
  assertEquals((await client.delete("a", { previous: true })).previous?.value, "2");
  assertEquals((await client.delete("a")).deleted, false);
});

withCluster(
  "increment() gives the exact sum, and happens once when its reply is lost",
  1,
  async (cluster) => {
    await using client = await connect(cluster.cluster);
    assertEquals((await client.increment("n")).value, 1n);
    cluster.spoilNext("increment", "dropAfter");
    const { value, version, index } = await client.increment("n", 2n ** 64n);
    assertEquals([value, version], [2n ** 64n + 1n, index]);
    assertEquals(cluster.store.get("n"), { value: "18446744073709551617", version });
    assertEquals((await client.increment("n", -1)).value, 2n ** 64n);
    await client.put("n", "many");
    await rejectsWith("notInteger", client.increment("n"));
  },
);

withCluster(
  "deleteRange() goes on until nothing is left, and says how much there was",
  1,
  async (cluster) => {
    await using client = await connect(cluster.cluster, { sessions: false });
    await client.put("a", "1");
    const { index } = await client.put("z", "1");
    let last = index;
    for (let i = 0; i < 10_001; i++) cluster.store.apply({ op: "put", key: `m${i}`, value: "" }, ++last);
    cluster.index = last;
    assertEquals(await client.deleteRange({ start: "b", end: "n" }), { deleted: 10_001, index: last + 2 });
    assertEquals(cluster.store.size, 2);
    assertEquals((await client.deleteRange({ prefix: "" })).deleted, 2);
  },
);

withCluster("txn() does all or nothing, on a condition", 1, async (cluster) => {
  await using client = await connect(cluster.cluster);
  const { version } = await client.put("a", "1");
  const taken = await client.txn({
    if: [{ key: "a", version }],
    then: [{ op: "put", key: "a", value: "2" }, { op: "increment", key: "n", by: "5" }],
  });
  assertEquals(taken, {
    succeeded: true,
    results: [{ ok: true, version: taken.index }, { ok: true, value: "5", version: taken.index }],
    index: taken.index,
  });
  const { succeeded, results } = await client.txn({
    if: [{ key: "a", version }],
    then: [],
    else: [{ op: "get", key: "a" }],
  });
  assertEquals([succeeded, results[0]!.value], [false, "2"]);
  const error = await rejectsWith(
    "notInteger",
    client.txn({
      then: [{ op: "put", key: "a", value: "x" }, { op: "increment", key: "a", by: "1" }],
    }),
  );
  assertEquals(error.details.operation, 1);
  assertEquals((await client.get("a"))?.value, "2");
});

withCluster(
  "list() goes through all pages in both directions, and stops at its limit",
  1,
  async (cluster) => {
    await using client = await connect(cluster.cluster);
    const keys = Array.from({ length: 2345 }, (_, i) => `user/${String(i).padStart(5, "0")}`);
    await Promise.all([...keys, "other", "zzz"].map((key) => client.put(key, key)));
    const listed = async (options: Parameters<typeof client.list>[0]): Promise<string[]> => {
      const found = await Array.fromAsync(client.list(options));
      assertEquals(found.filter(({ key, value }) => key !== value), []);
      return found.map(({ key }) => key);
    };
    assertEquals(await listed({ prefix: "user/" }), keys);
    assertEquals(await listed({ prefix: "user/", reverse: true }), keys.toReversed());
    assertEquals(await listed({ prefix: "user/", limit: 1500 }), keys.slice(0, 1500));
    assertEquals(await listed({ start: "user/02344", end: "zzz" }), ["user/02344"]);
  },
);

withCluster(
  "list() stays with the node of its cursor when the client goes to another, and ends when it is lost",
  2,
  async (cluster) => {
    cluster.leader = 1;
    await using client = await connect(cluster.cluster);
    await Promise.all(Array.from({ length: 2500 }, (_, i) => client.put(`k${i}`, "v")));
    cluster.leader = null; // whoever reads stays where it is
    const pages = client.listPages({ limit: 1000 });
    await pages.next();
    const node = cluster.requests.at(-1)!.node;
    cluster.leader = 1 - node;
    await client.put("other", "v");
    assertEquals(cluster.requests.at(-1)!.node, 1 - node);
    assertEquals((await pages.next()).value?.ok, true);
    assertEquals(cluster.requests.at(-1)!.node, node);
    await cluster.nodes[node]!.close();
    await rejectsWith("cursorExpired", pages.next());
  },
);

withCluster(
  "put() throws conditionFailed with the present version and does not retry it",
  1,
  async (cluster) => {
    await using client = await connect(cluster.cluster);
    const { version } = await client.put("a", "1");
    const error = await rejectsWith("conditionFailed", client.put("a", "2", { ifVersion: 0 }));
    assertEquals(error.definite, true);
    assertEquals(error.details.version, version);
    assertEquals(cluster.requests.filter(({ request }) => request.op === "put").length, 2);
  },
);

withCluster(
  "put() happens once when its reply is lost after it was carried out (thesis 6.3)",
  1,
  async (cluster) => {
    await using client = await connect(cluster.cluster);
    await client.put("a", "0");
    cluster.spoilNext("put", "dropAfter");
    const { version } = await client.put("a", "1", { ifValue: "0" });
    assertEquals(
      cluster.store.get("a"),
      { value: "1", version },
      "a second run would have met its own value",
    );
    const seqs = cluster.requests.filter(({ request }) => request.op === "put").map(({ request }) =>
      request.seq
    );
    assertEquals(seqs, [1, 2, 2]);
  },
);

withCluster("put() happens when the connection ended before it was carried out", 1, async (cluster) => {
  await using client = await connect(cluster.cluster);
  cluster.spoilNext("put", "dropBefore");
  await client.put("a", "1");
  assertEquals(cluster.store.get("a")?.value, "1");
});

withCluster(
  "put() without a session throws outcomeUnknown rather than risk a second write",
  1,
  async (cluster) => {
    await using client = await connect(cluster.cluster, { sessions: false });
    cluster.spoilNext("put", "dropAfter");
    const error = await rejectsWith("outcomeUnknown", client.put("a", "1"));
    assertEquals(error.definite, false);
    cluster.spoilNext("put", { error: "outcomeUnknown" });
    await rejectsWith("outcomeUnknown", client.put("a", "2"));
    assertEquals(cluster.requests.length, 2);
    cluster.spoilNext("put", { error: "busy", details: { retryAfterMs: 1 } });
    await client.put("a", "3");
    assertEquals(cluster.store.get("a")?.value, "3", "a definite error is retried in any case");
  },
);

withCluster("put() gets a new session when its own expired before it was ever sent", 1, async (cluster) => {
  await using client = await connect(cluster.cluster);
  await client.put("a", "1");
  cluster.spoilNext("put", { error: "sessionExpired" });
  await client.put("a", "2");
  assertEquals(cluster.store.get("a")?.value, "2");
  assertEquals(cluster.requests.filter(({ request }) => request.op === "session").length, 2);
});

withCluster(
  "put() throws outcomeUnknown when it may have happened before the answer, which tells nothing of that",
  1,
  async (cluster) => {
    for (
      const error of ["sessionExpired", "seqTooOld", "badRequest", "tooLarge", "unknownOperation"] as const
    ) {
      await using client = await connect(cluster.cluster);
      let sent = 0;
      cluster.spoil((_, { op }) => op !== "put" ? null : ++sent === 1 ? "dropAfter" : { error });
      const { definite } = await rejectsWith("outcomeUnknown", client.put("a", error));
      assertEquals([definite, cluster.store.get("a")?.value], [false, error]);
      cluster.spoilNext("put", { error });
      if (error !== "sessionExpired") await rejectsWith(error, client.put("a", "2"));
    }
  },
);

withCluster("put() follows notLeader to the address that it names", 3, async (cluster) => {
  cluster.leader = 2;
  await using client = await connect(cluster.cluster);
  await client.put("a", "1");
  assertEquals(client.address, `127.0.0.1:${cluster.nodes[2]!.port}`);
  assertEquals(cluster.requests.map(({ node, request }) => `${node} ${request.op}`), [
    "0 session",
    "2 session",
    "2 put",
  ]);
  for (let turn = 0; cluster.nodes[0]!.connections > 0 && turn < 100; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assertEquals(cluster.nodes[0]!.connections, 0, "the connection that is left is closed");
});

withCluster("put() survives the leader's death and goes on through the next one", 3, async (cluster) => {
  await using client = await connect(cluster.cluster);
  await client.put("a", "1");
  await cluster.nodes[0]!.close();
  cluster.leader = null;
  const writing = client.put("a", "2");
  setTimeout(() => cluster.leader = 1, 60);
  await writing;
  assertEquals(cluster.store.get("a")?.value, "2");
  assertEquals(client.address, `127.0.0.1:${cluster.nodes[1]!.port}`);
});

withCluster(
  "put() waits ever longer between attempts and ends in time when nobody leads",
  2,
  async (cluster) => {
    cluster.leader = null;
    await using client = await connect(cluster.cluster, { timeoutMs: 600, sessions: false });
    const startedAt = performance.now();
    const error = await rejectsWith("notLeader", client.put("a", "1"));
    const ms = performance.now() - startedAt;
    assertGreaterOrEqual(ms, 590);
    assertLess(ms, 900);
    assertEquals(error.definite, true);
    assertLess(cluster.requests.length, 20);
  },
);

withCluster(
  "put() is not caught between two nodes that name each other as the leader",
  2,
  async (cluster) => {
    await using client = await connect(cluster.cluster, { timeoutMs: 400, sessions: false });
    cluster.spoil((node, { op }) => {
      const leader = { id: 2 - node, address: `127.0.0.1:${cluster.nodes[1 - node]!.port}` };
      return op === "put" ? { error: "notLeader", details: { leader } } : null;
    });
    await rejectsWith("notLeader", client.put("a", "1"));
    assertLess(cluster.requests.length, 15);
  },
);

withCluster("many writes may be under way at once, in order on one connection", 1, async (cluster) => {
  await using client = await connect(cluster.cluster);
  const writes = Array.from({ length: 1000 }, (_, i) => client.put("counter", String(i)));
  const versions = (await Promise.all(writes)).map(({ version }) => version);
  assertEquals(versions, versions.toSorted((a, b) => a - b));
  assertEquals(cluster.store.get("counter")?.value, "999");
  assertEquals(cluster.nodes[0]!.connections, 1);
});

withCluster("no more writes are under way than the session keeps answers", 1, async (cluster) => {
  await using client = await connect(cluster.cluster, { timeoutMs: 300 });
  await client.put("a", "0");
  cluster.spoil((_, { op }) => op === "put" ? "silence" : null);
  const writes = Array.from({ length: 200 }, () => client.put("a", "1"));
  const ended = Promise.allSettled(writes);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const seqs = cluster.requests.filter(({ request }) => request.op === "put").map(({ request }) =>
    request.seq
  );
  assertEquals(seqs.length, 1 + 128);
  assertEquals(Math.max(...seqs.map(Number)), 1 + 128);
  for (const result of await ended) assertEquals(result.status, "rejected");
});

withCluster(
  "a node that stays silent, even on a new connection, is left for another one",
  2,
  async (cluster) => {
    await using client = await connect(cluster.cluster);
    await client.put("a", "1");
    cluster.spoil((node) => node === 0 ? "silence" : null);
    cluster.leader = 1;
    await client.put("a", "2");
    assertEquals(client.address, `127.0.0.1:${cluster.nodes[1]!.port}`);
    assertEquals(cluster.store.get("a")?.value, "2");
  },
);

withCluster("a node that is slow, but answers on a new connection, is waited for", 1, async (cluster) => {
  await using client = await connect(cluster.cluster, { timeoutMs: 2500 });
  cluster.spoil((_, { op }) => op === "get" ? "silence" : null);
  await rejectsWith("unreachable", client.get("a"));
  assertEquals(cluster.requests.filter(({ request }) => request.op === "get").length, 1);
  assertGreaterOrEqual(cluster.requests.filter(({ request }) => request.op === "ping").length, 1);
});

withCluster(
  "request() of thousands has no signal in common, whose listeners cost more each time",
  1,
  async (cluster) => {
    await using client = await connect(cluster.cluster);
    const listeners = new Map<EventTarget, number>();
    const { addEventListener } = EventTarget.prototype;
    EventTarget.prototype.addEventListener = function (...args: Parameters<typeof addEventListener>): void {
      listeners.set(this, (listeners.get(this) ?? 0) + 1);
      addEventListener.apply(this, args);
    };
    try {
      await Promise.all(Array.from({ length: 500 }, () => client.get("a")));
      await Promise.all(Array.from({ length: 500 }, () => client.put("a", "1")));
    } finally {
      EventTarget.prototype.addEventListener = addEventListener;
    }
    assertGreaterOrEqual(listeners.size, 1000);
    assertLess(Math.max(...listeners.values()), 10);
  },
);

withCluster("an aborted operation throws the signal's reason at once", 1, async (cluster) => {
  await using client = await connect(cluster.cluster);
  cluster.spoil((_, { op }) => op === "put" ? "silence" : null);
  const abort = new AbortController();
  const writing = client.put("a", "1", { signal: abort.signal });
  setTimeout(() => abort.abort(new RangeError("enough")), 20);
  await assertRejects(() => writing, RangeError, "enough");
  await assertRejects(() => client.get("a", { signal: abort.signal }), RangeError, "enough");
  await client.ping();
});

withCluster("put() leaves no listener on the caller's signal, however it ends", 1, async (cluster) => {
  const { signal } = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  Object.assign(signal, {
    addEventListener: (...args: Parameters<typeof addEventListener>) => {
      listeners++;
      addEventListener.apply(signal, args);
    },
    removeEventListener: (...args: Parameters<typeof removeEventListener>) => {
      listeners--;
      removeEventListener.apply(signal, args);
    },
  });
  await using client = await connect(cluster.cluster, { timeoutMs: 100, signal });
  await client.put("a", "1", { signal });
  await rejectsWith("conditionFailed", client.put("a", "2", { signal, ifVersion: 0 }));
  const aborted = { signal: AbortSignal.any([signal, AbortSignal.abort(new RangeError("enough"))]) };
  await assertRejects(() => client.put("a", "2", aborted), RangeError, "enough");
  cluster.spoilNext("put", "dropBefore");
  await client.put("a", "3", { signal });
  cluster.spoil((_, { op }) => op === "put" ? "silence" : null);
  const writing = rejectsWith("outcomeUnknown", client.put("a", "4", { signal }));
  assertGreaterOrEqual(listeners, 1, "while it is under way there is one");
  await writing;
  assertEquals(listeners, 0);
});

withCluster(
  "put() throws noLeader when no session can be opened, for it was never sent, and outcomeUnknown when it was",
  1,
  async (cluster) => {
    for (const error of ["noLeader", "outcomeUnknown"] as const) {
      await using client = await connect(cluster.cluster, { timeoutMs: 200 });
      cluster.spoil((_, { op }) => op === "session" ? { error } : null);
      const [first, second] = await Promise.all(
        ["1", "2"].map((value) => rejectsWith("noLeader", client.put("a", value))),
      );
      assertEquals([first!.definite, second!.definite], [true, true]);
      cluster.spoil(() => null);
      await client.put("a", "3");
      cluster.spoil((_, { op }) => op === "put" ? { error } : null);
      const third = await rejectsWith(error, client.put("a", "4"));
      assertEquals(third.definite, error === "noLeader");
    }
    assertEquals(cluster.store.get("a")?.value, "3");
  },
);

withCluster("close() ends what is under way with closed, and what comes later", 1, async (cluster) => {
  const client = await connect(cluster.cluster);
  cluster.spoil((_, { op }) => op === "get" ? "silence" : null);
  const reading = client.get("a");
  const ended = rejectsWith("closed", reading);
  await client.close();
  await ended;
  await rejectsWith("closed", client.put("a", "1"));
});
