import { assertEquals, assertGreaterOrEqual, assertRejects } from "@std/assert";
import { until } from "./cluster.ts";
import { LineConnection } from "./line_connection.ts";
import { type Moment, moments, TcpProxy } from "./tcp_proxy.ts";

/** A target that answers each line with one line, and remembers what it got. */
class Echo {
  readonly got: string[] = [];
  /** How connections ended: in good order, with what was left of a line, or by reset. */
  readonly ends: string[] = [];
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #serving: Promise<void>[] = [];
  readonly #accepting: Promise<void>;

  constructor() {
    this.#accepting = this.#accept();
  }

  get address(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  /** Resolves when all connections so far have ended. */
  async ended(): Promise<void> {
    await Promise.all(this.#serving);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#accepting;
    await this.ended();
  }

  async #accept(): Promise<void> {
    for await (const conn of this.#listener) this.#serving.push(this.#serve(conn));
  }

  async #serve(conn: Deno.TcpConn): Promise<void> {
    let text = "";
    try {
      for await (const bytes of conn.readable) {
        const lines = (text + new TextDecoder().decode(bytes)).split("\n");
        text = lines.pop()!;
        this.got.push(...lines);
        for (const line of lines) await conn.write(new TextEncoder().encode(`re: ${line}\n`));
      }
      this.ends.push(`end ${text}`);
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
      this.ends.push(`reset ${text}`);
    }
  }
}

/** Sends lines through a proxy that cuts the second one's connection at `moment`; what both ends saw. */
async function cutAt(
  moment: Moment,
  reset: boolean,
): Promise<{ got: string[]; ends: string[]; seen: string }> {
  await using echo = new Echo();
  await using proxy = await TcpProxy.open(echo.address);
  proxy.onRequest = (line) => line === "second\n" ? { moment, reset } : null;
  using client = await LineConnection.open(proxy.address);
  await client.send("first\n");
  assertEquals(await client.line(), "re: first");
  await client.send(moments.indexOf(moment) < 3 ? "second\nthird\n" : "second\n");
  let seen = "";
  try {
    seen = await client.rest();
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
    seen = "reset";
  }
  await echo.ended();
  assertEquals(proxy.cuts[moment], 1);
  return { got: echo.got, ends: echo.ends, seen };
}

/** What the target got, what it has of a line that never ended, and what the client got. */
const expected: Record<Moment, [got: string[], partial: string, seen: string]> = {
  beforeRequest: [["first"], "", ""],
  inRequest: [["first"], "sec", ""],
  afterRequest: [["first", "second"], "", ""],
  beforeReply: [["first", "second"], "", ""],
  inReply: [["first", "second"], "", "re: s"],
  afterReply: [["first", "second"], "", "re: second\n"],
};

Deno.test("TcpProxy cuts a connection at each moment of a request's life, in good order or by reset", async () => {
  for (const moment of moments) {
    const [got, partial, seen] = expected[moment];
    assertEquals(await cutAt(moment, false), { got, ends: [`end ${partial}`], seen }, moment);
    assertEquals(
      await cutAt(moment, true),
      { got, ends: [`reset ${partial}`], seen: "reset" },
      moment,
    );
  }
});

Deno.test("TcpProxy delays, loses what goes one way or both, and passes the end of a connection on", async () => {
  await using echo = new Echo();
  await using proxy = await TcpProxy.open(echo.address);
  using polite = await LineConnection.open(proxy.address);
  await polite.send("last");
  await polite.closeWrite();
  assertEquals([await polite.rest(), echo.ends], ["", ["end last"]]);
  using client = await LineConnection.open(proxy.address);
  proxy.delayMs = 20;
  const from = performance.now();
  await client.send("slow\n");
  assertEquals(await client.line(), "re: slow");
  assertGreaterOrEqual(performance.now() - from, 39, "there and back");
  proxy.delayMs = 0;
  proxy.swallows.add("toClient");
  await client.send("one-way\n");
  await until("the target hears it", () => echo.got.includes("one-way"));
  proxy.swallows.add("toNode");
  await client.send("lost\n");
  await new Promise((resolve) => setTimeout(resolve, 20)); // in which it would get there
  proxy.cutAll(true);
  await assertRejects(() => client.line(), Deno.errors.ConnectionReset);
  await echo.ended();
  assertEquals(echo.got, ["slow", "one-way"]);
});
