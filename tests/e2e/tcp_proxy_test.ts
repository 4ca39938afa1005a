import { assertEquals, assertGreaterOrEqual, assertRejects } from "@std/assert";
import { clear, type Conditions, type Direction, TcpProxy } from "../../lib/chaos/tcp_proxy.ts";
import { until } from "./cluster.ts";
import { LineConnection } from "./line_connection.ts";
import { type Moment, moments, RequestCutter } from "./tcp_proxy.ts";

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
  await using proxy = await RequestCutter.open(echo.address);
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

Deno.test("RequestCutter cuts a connection at each moment of a request's life, in good order or by reset", async () => {
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

/** A proxy whose conditions can be changed, one way or both. */
async function proxyWith(
  echo: Echo,
  identify?: (line: string) => number | null,
): Promise<{ proxy: TcpProxy; set: (to: Partial<Conditions>, ...ways: Direction[]) => void }> {
  const proxy = await TcpProxy.open(echo.address, identify === undefined ? {} : { identify });
  const conditions: Record<Direction, Conditions> = { toTarget: clear, toDialler: clear };
  proxy.conditions = (_, direction) => conditions[direction];
  const set = (to: Partial<Conditions>, ...ways: Direction[]): void => {
    for (const way of ways) conditions[way] = { ...clear, ...to };
    proxy.changed();
  };
  return { proxy, set };
}

const both: Direction[] = ["toTarget", "toDialler"];

Deno.test("TcpProxy delays, holds up and passes the end of a connection on, all of it in order", async () => {
  await using echo = new Echo();
  const { proxy, set } = await proxyWith(echo);
  await using _ = proxy;
  using polite = await LineConnection.open(proxy.address);
  await polite.send("last");
  await polite.closeWrite();
  assertEquals([await polite.rest(), echo.ends], ["", ["end last"]]);
  using client = await LineConnection.open(proxy.address);
  set({ delayMs: 20 }, ...both);
  const from = performance.now();
  await client.send("slow\n");
  assertEquals(await client.line(), "re: slow");
  assertGreaterOrEqual(performance.now() - from, 39, "there and back");
  await client.send("late\n");
  set({ fate: "hold" }, ...both);
  await client.send("later\n");
  await new Promise((resolve) => setTimeout(resolve, 40)); // in which both would get there
  assertEquals(echo.got, ["slow"]);
  set({}, ...both);
  assertEquals([await client.line(), await client.line()], ["re: late", "re: later"]);
  set({ fate: "hold" }, ...both);
  client.close();
  await new Promise((resolve) => setTimeout(resolve, 20)); // in which the target would be told
  assertEquals(echo.ends.length, 1);
  set({}, ...both);
  await until("the target is told", () => echo.ends.length === 2);
});

Deno.test("TcpProxy loses what goes one way or both, and resets the connection when that ends", async () => {
  await using echo = new Echo();
  const { proxy, set } = await proxyWith(echo);
  await using _ = proxy;
  using client = await LineConnection.open(proxy.address);
  set({ fate: "lose" }, "toDialler");
  await client.send("one-way\n");
  await until("the target hears it", () => echo.got.includes("one-way"));
  set({ fate: "lose" }, "toTarget");
  await client.send("lost\n");
  await new Promise((resolve) => setTimeout(resolve, 20)); // in which it would get there
  set({}, ...both);
  await assertRejects(() => client.line(), Deno.errors.ConnectionReset);
  await echo.ended();
  assertEquals(echo.got, ["one-way"]);
});

Deno.test("TcpProxy resets at once, spoils a bit, and learns from the first line who dials", async () => {
  await using echo = new Echo();
  const { proxy, set } = await proxyWith(echo, (line) => JSON.parse(line).nodeId);
  await using _ = proxy;
  const whole = proxy.conditions;
  const ill: Conditions = { ...clear, fate: "lose" };
  proxy.conditions = (dialler, direction) => dialler === 2 ? ill : whole(dialler, direction);
  using second = await LineConnection.open(proxy.address);
  await second.send('{"nodeId":2}\n');
  using first = await LineConnection.open(proxy.address);
  await first.send('{"nodeId"');
  await first.send(":1}\n");
  assertEquals(await first.line(), 're: {"nodeId":1}');
  assertEquals(echo.got, ['{"nodeId":1}'], "nothing of the second one");
  proxy.random = () => 0; // the lowest bit of the first byte, always
  set({ corruption: 0.5 }, "toTarget");
  await first.send("b\n");
  assertEquals(await first.line(), "re: c");
  set({ fate: "reset" }, ...both);
  await assertRejects(() => first.line(), Deno.errors.ConnectionReset);
});
