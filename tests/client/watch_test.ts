/**
 * A watch over nodes that do exactly what a test says: what it goes on with when a connection breaks in a bad moment.
 *
 * @module
 */

import { TextLineStream } from "@std/streams/text-line-stream";
import { assertEquals, assertRejects } from "@std/assert";
import { type Client, ClientError, connect, type WatchEvent } from "../../mod.ts";

type Json = Record<string, unknown>;

/** Lines that a connection is answered with; it is closed behind them unless the last one is "stay". */
type Script = readonly (Json | "stay")[];

/** A client port that answers `members`, and each watch with the next of its scripts. */
class ScriptedNode {
  /** Watch requests, in their order. */
  readonly requests: Json[] = [];
  /** Other requests of watching connections, and their answers. */
  answer: Json = { ok: true };
  asked = 0;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  #isClosed = false;
  readonly #open = new Set<Deno.TcpConn>();
  readonly #serving: Promise<void>;

  constructor(readonly scripts: Script[]) {
    this.#serving = this.#accept();
  }

  get address(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  async close(): Promise<void> {
    if (!this.#isClosed) this.#listener.close();
    this.#isClosed = true;
    for (const conn of this.#open) close(conn);
    await this.#serving;
  }

  async #accept(): Promise<void> {
    const serving: Promise<void>[] = [];
    for await (const conn of this.#listener) serving.push(this.#serve(conn));
    await Promise.all(serving);
  }

  async #serve(conn: Deno.TcpConn): Promise<void> {
    this.#open.add(conn);
    const say = (line: Json): Promise<number> =>
      conn.write(new TextEncoder().encode(JSON.stringify(line) + "\n"));
    const lines = conn.readable.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
    try {
      for await (const text of lines) {
        const request = JSON.parse(text) as Json;
        if (request.op === "members") await say({ ok: true, id: request.id, members: [] });
        else if (request.op === "watch") {
          this.requests.push(request);
          const script = this.scripts.shift() ?? ["stay"];
          for (const line of script) if (line !== "stay") await say(line);
          if (script.at(-1) !== "stay") break;
        } else {
          this.asked++;
          await say(this.answer);
        }
      }
    } catch (error) {
      if (!(error instanceof Error)) throw error; // the client has left, or the test is over
    }
    if (this.#open.delete(conn)) close(conn);
  }
}

function close(conn: Deno.TcpConn): void {
  try {
    conn.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error; // the stream has closed it
  }
}

async function withNodes(
  scripts: Script[][],
  body: (client: Client, nodes: ScriptedNode[]) => Promise<void>,
): Promise<void> {
  const nodes = scripts.map((own) => new ScriptedNode(own));
  try {
    await using client = await connect(nodes.map(({ address }) => address), { timeoutMs: 500 });
    await body(client, nodes);
  } finally {
    await Promise.all(nodes.map((node) => node.close()));
  }
}

/** So many events of a watch. */
async function take(watch: AsyncIterable<WatchEvent>, count: number): Promise<WatchEvent[]> {
  const events: WatchEvent[] = [];
  for await (const event of watch) {
    events.push(event);
    if (events.length === count) break;
  }
  return events;
}

function opened(index: number): Json {
  return { ok: true, watch: 1, index };
}

function put(key: string, index: number, more?: true): Json {
  return { watch: 1, type: "put", key, value: "v", version: index, index, ...(more ? { more } : {}) };
}

function told(event: Json): Json {
  const { watch: _, ...rest } = event;
  return rest;
}

Deno.test("Client.watch() goes on behind the last whole entry, and tells what it has told of the next one not again", async () => {
  const scripts = [[
    [opened(3), put("a", 4), put("b", 5, true), put("c", 5, true)],
    [opened(9), put("b", 5, true)], // breaks again, even earlier in the entry
    [opened(9), put("b", 5, true), put("c", 5, true), put("d", 5), put("e", 6), "stay" as const],
  ]];
  await withNodes(scripts, async (client, [node]) => {
    const events = await take(client.watch({ prefix: "" }), 5);
    assertEquals(
      events as unknown[],
      [
        put("a", 4),
        put("b", 5, true),
        put("c", 5, true),
        put("d", 5),
        put("e", 6),
      ].map(told),
    );
    assertEquals(node!.requests.map(({ after }) => after), [undefined, 4, 4]);
  });
});

Deno.test("Client.watch() that has lost a node in the middle of the present state makes its taker forget that part", async () => {
  const reset = { watch: 1, type: "reset", index: 50, reason: "historyGone" };
  const scripts = [[
    [opened(50), reset, put("a", 50, true)],
    [opened(60), put("x", 2), put("a", 7), "stay" as const], // this node knows everything from the beginning on
  ]];
  await withNodes(scripts, async (client, [node]) => {
    const events = await take(client.watch({ prefix: "", after: 20 }), 5);
    assertEquals(events as unknown[], [
      told(reset),
      told(put("a", 50, true)),
      { type: "reset", index: 0, reason: "historyGone" },
      told(put("x", 2)),
      told(put("a", 7)),
    ]);
    assertEquals(node!.requests.map(({ after }) => after), [20, 0]);
  });
});

Deno.test("Client.watch() goes on from the index of a reset once it was told all of the present state", async () => {
  const reset = { watch: 1, type: "reset", index: 50, reason: "slow" };
  const progress = { watch: 1, type: "progress", index: 50 };
  const scripts = [[
    [opened(50), reset, put("a", 50, true), progress],
    [opened(60), put("b", 51), "stay" as const],
  ]];
  await withNodes(scripts, async (client, [node]) => {
    const events = await take(client.watch({ prefix: "", after: 20 }), 4);
    assertEquals(events as unknown[], [reset, put("a", 50, true), progress, put("b", 51)].map(told));
    assertEquals(node!.requests.map(({ after }) => after), [20, 50]);
  });
});

Deno.test("Client.watch() asks every node for what it misses before it begins anew with the present state", async () => {
  const knowsNothing: Script = [{ ...opened(90), reset: true }, "stay"];
  const reset = { watch: 1, type: "reset", index: 90, reason: "historyGone" };
  await withNodes([[knowsNothing], [[opened(90), put("a", 21), "stay"]]], async (client) => {
    assertEquals(await take(client.watch({ after: 20 }), 1) as unknown[], [told(put("a", 21))]);
  });
  await withNodes(
    [[knowsNothing, [{ ...opened(90), reset: true }, reset, "stay"]], [knowsNothing]],
    async (client) => {
      assertEquals(await take(client.watch({ after: 20 }), 1) as unknown[], [told(reset)]);
    },
  );
});

Deno.test("Client.watch() leaves a node that has lost the others, which only a question can show", async () => {
  await withNodes(
    [[[opened(3), "stay"]], [[opened(4), put("a", 4), "stay"]]],
    async (client, [first, second]) => {
      const error = { code: "noLeader", message: "no leader", definite: true };
      first!.answer = second!.answer = { ok: false, error };
      assertEquals(await take(client.watch(), 1) as unknown[], [told(put("a", 4))]);
      assertEquals([first!.asked, second!.requests[0]!.after], [1, 3]);
    },
  );
});

Deno.test("Client.watch() ends with what a node refuses, with an abort, with the client, and when no node is left", async () => {
  const error = { code: "badRequest", message: "both", definite: true };
  await withNodes([[[{ ok: false, error }]]], async (client) => {
    const refused = await assertRejects(() => take(client.watch({ key: "a", prefix: "b" }), 1), ClientError);
    assertEquals(refused.code, "badRequest");
  });
  await withNodes([[[opened(3), "stay"]]], async (client) => {
    const abort = new AbortController();
    const watch = client.watch({ signal: abort.signal });
    assertEquals(await watch.open(), 3);
    const reason = new Error("enough");
    setTimeout(() => abort.abort(reason));
    assertEquals(await assertRejects(() => take(watch, 1)), reason);
  });
  await withNodes([[[opened(3), "stay"]]], async (client) => {
    const watch = client.watch();
    await watch.open();
    setTimeout(() => client.close());
    assertEquals((await assertRejects(() => take(watch, 1), ClientError)).code, "closed");
  });
  await withNodes([[[opened(3)]]], async (client, [node]) => {
    const watch = client.watch();
    await watch.open();
    await node!.close();
    assertEquals((await assertRejects(() => take(watch, 1), ClientError)).code, "unreachable");
  });
});
