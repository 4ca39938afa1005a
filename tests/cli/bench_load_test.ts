import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertLessOrEqual,
  assertStringIncludes,
} from "@std/assert";
import {
  type Load,
  LoadConnection,
  newTally,
  openLoadConnection,
  type Tally,
} from "../../lib/cli/bench_load.ts";

/** Runs one connection against a node that answers each chunk of requests as told. */
async function drive(
  load: Partial<Load>,
  answer: (requests: string[], conn: Deno.TcpConn) => Promise<void>,
): Promise<{ tally: Tally; requests: string[]; unsent: number }> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const requests: string[] = [];
  const serving = (async () => {
    using conn = await listener.accept();
    let text = "";
    const buffer = new Uint8Array(64 << 10);
    for (let length; (length = await conn.read(buffer)) !== null;) {
      text += new TextDecoder().decode(buffer.subarray(0, length));
      const lines = text.split("\n");
      text = lines.pop()!;
      requests.push(...lines);
      if (lines.length > 0) await answer(lines, conn);
    }
  })();
  const tally = newTally(60);
  const now = performance.now();
  const whole: Load = {
    workload: "put",
    valueBytes: 3,
    keys: 10,
    pipeline: 4,
    intervalMs: null,
    measureFrom: now,
    until: now + 60_000, // the answers end it, however slow the machine is
    ...load,
  };
  using conn = await openLoadConnection(`127.0.0.1:${listener.addr.port}`);
  const connection = new LoadConnection(whole, tally);
  await connection.run(conn);
  conn.closeWrite();
  await serving;
  listener.close();
  return { tally, requests, unsent: connection.unsent };
}

async function send(conn: Deno.TcpConn, text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
  await new Promise((resolve) => setTimeout(resolve, 1)); // so that the pieces arrive one by one
}

Deno.test("LoadConnection makes requests of the client protocol and counts every reply", async () => {
  let [most, answered] = [0, 0];
  const { tally, requests } = await drive({ workload: "mixed" }, async (lines, conn) => {
    most = Math.max(most, lines.length);
    await send(conn, lines.map(() => ++answered > 400 ? '{"ok":false}\n' : '{"ok":true}\n').join(""));
  });
  assertEquals(most, 4);
  assertEquals(tally.latencies.count, 400);
  assertEquals(tally.errors, requests.length - 400);
  const parsed = requests.map((line) => JSON.parse(line));
  const puts = parsed.filter(({ op }) => op === "put");
  const gets = parsed.filter(({ op }) => op === "get");
  assertEquals(Math.abs(puts.length - gets.length) <= 1, true);
  assertEquals(puts.every(({ key, value }) => /^key0000000\d$/.test(key) && value === "xxx"), true);
  assertEquals(gets.every(({ key }) => /^key0000000\d$/.test(key)), true);
  assertEquals(new Set(parsed.map(({ key }) => key)).size, 10, "all keys have their turn");
});

Deno.test("LoadConnection counts no reply that comes after the time is up, and makes no request then", async () => {
  const until = performance.now() + 50;
  const { tally, requests } = await drive({ until }, async (lines, conn) => {
    while (performance.now() <= until) await new Promise((resolve) => setTimeout(resolve, 5));
    await send(conn, lines.map(() => '{"ok":true}\n').join(""));
  });
  assertEquals([tally.latencies.count, tally.errors], [0, 0]);
  assertLessOrEqual(requests.length, 4, "the first ones only");
});

Deno.test("LoadConnection counts replies however they are cut, and larger than its buffer", async () => {
  const long = `{"ok":true,"value":"${"y".repeat(200_000)}"}\n`;
  let answered = 0;
  const { tally } = await drive({}, async (lines, conn) => {
    const replies = lines.map(() => {
      if (++answered > 40) return '{"ok":false}\n';
      return answered % 2 === 0 ? '{"ok":true}\n' : long;
    });
    // the rest of one reply arrives with the beginning of the next
    for (const [i, reply] of replies.entries()) {
      await send(conn, (replies[i - 1]?.slice(8) ?? "") + reply.slice(0, 8));
    }
    await send(conn, replies.at(-1)!.slice(8));
  });
  assertEquals(tally.latencies.count, 40);
  assertEquals(tally.errors, answered - 40);
});

Deno.test("LoadConnection judges a reply by its own bytes when it arrives behind another one in two pieces", async () => {
  let isFirst = true;
  const { tally } = await drive({ pipeline: 2 }, async (lines, conn) => {
    if (!isFirst) return await send(conn, lines.map(() => '{"ok":true}\n').join(""));
    isFirst = false;
    await send(conn, '{"ok":true}\n{"ok":fal');
    await send(conn, "se}\n");
  });
  assertEquals(tally.errors, 1);
  assertEquals(tally.latencies.count, 2, "the first one and the one that it made room for");
});

Deno.test("LoadConnection reads what is owed after an error and makes no more requests", async () => {
  const { tally, requests } = await drive({}, async (lines, conn) => {
    const error = '{"ok":false,"error":{"code":"notLeader"}}\n';
    await send(conn, lines.map((_, i) => i === 1 ? error : '{"ok":true}\n').join(""));
  });
  assertEquals(requests.length, 4);
  assertEquals(tally.latencies.count, 3);
  assertEquals(tally.errors, 1);
  assertStringIncludes(tally.firstError!, "notLeader");
});

Deno.test("LoadConnection counts what a lost connection owed as errors", async () => {
  let isFirst = true;
  const { tally } = await drive({}, async (_, conn) => {
    if (isFirst) await send(conn, '{"ok":true}\n{"ok":tr');
    if (isFirst) await conn.closeWrite();
    isFirst = false;
  });
  assertEquals(tally.latencies.count, 1);
  assertEquals(tally.errors, 4, "three of the first four and the one that followed the answer");
});

Deno.test("LoadConnection in an open loop counts a stall for each request that fell due meanwhile", async () => {
  let isFirst = true;
  const load = { intervalMs: 10, pipeline: 8, until: performance.now() + 600 };
  const { tally, unsent } = await drive(load, async (lines, conn) => {
    if (isFirst) await new Promise((resolve) => setTimeout(resolve, 300));
    isFirst = false;
    await send(conn, lines.map(() => '{"ok":true}\n').join(""));
  });
  assertAlmostEquals(tally.latencies.count + unsent, 60, 2, "so many fell due");
  const slow = tally.latencies.buckets.filter(([microseconds]) => microseconds > 100_000);
  const count = slow.reduce((sum, [, count]) => sum + count, 0);
  assert(
    count >= 18,
    `those of the first 200 of 300 ms, which are more than the pipeline holds, not ${count}`,
  );
  assertEquals(tally.perSecond.length, 60);
  assertEquals(tally.perSecond.slice(1), new Array(59).fill(0));
});

Deno.test("LoadConnection in an open loop tells what it could not send, and counts late answers", async () => {
  const until = performance.now() + 200;
  const { tally, unsent } = await drive({ intervalMs: 10, pipeline: 4, until }, async (lines, conn) => {
    while (performance.now() <= until) await new Promise((resolve) => setTimeout(resolve, 5));
    await send(conn, lines.map(() => '{"ok":true}\n').join(""));
  });
  assertEquals([tally.latencies.count, tally.perSecond[0]], [4, 0]);
  assertAlmostEquals(unsent, 16, 2);
});
