/**
 * Watches on real processes: leaders are killed, snapshots taken and the log cut while many watch, and nobody misses an
 * event or is told one twice. `KVAPP_EVENTS=50000` is the whole thing: a hundred watchers, five kills.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { type Client, connect, type WatchEvent } from "../../mod.ts";
import { steady, type TestCluster, until, withCluster } from "./cluster.ts";
import { smallSnapshots } from "./small_snapshots.ts";
import { mebibytesOf } from "../../bench/process_figures.ts";

const eventsWanted = Number(Deno.env.get("KVAPP_EVENTS") ?? 4000);
const isWhole = eventsWanted >= 50_000;
const [watchers, kills] = isWhole ? [100, 5] : [20, 2];
const writers = 10;
const keysOfWriter = 20;

/** What somebody was told, or must be told: `index type key value`, each once, in order. */
class Told {
  readonly events: string[] = [];
  resets = 0;
  #last = 0;
  #more = false;

  constructor(readonly prefix: string) {}

  take(event: WatchEvent): void {
    if (event.type === "reset") this.resets++;
    if (event.type === "reset" || event.type === "progress") return;
    const { index, more = false } = event;
    if (this.#more) assertEquals(index, this.#last, "the events of one entry come together");
    else assertGreater(index, this.#last, `${this.prefix}: in order`);
    this.#last = index;
    this.#more = more;
    this.events.push(nameOf(event));
  }
}

function nameOf(event: { type: string; key: string; value?: string; index: number }): string {
  return `${event.index} ${event.type} ${event.key} ${event.value ?? ""}`;
}

async function follow(watch: AsyncIterable<WatchEvent>, told: Told, signal: AbortSignal): Promise<void> {
  try {
    for await (const event of watch) told.take(event);
  } catch (error) {
    if (error !== signal.reason) throw error;
  }
}

/** Writes until enough has happened; returns what was acknowledged as the events that it must have made. */
async function write(client: Client, name: string, isEnough: () => boolean): Promise<string[]> {
  const acknowledged: string[] = [];
  for (let i = 0; !isEnough(); i++) {
    const key = `${name}/${i % keysOfWriter}`;
    if (i % 10 === 9) {
      const other = `${name}/t`;
      const value = `${name}.${i}`;
      const then = [{ op: "put", key, value }, { op: "put", key: other, value }, {
        op: "delete",
        key,
      }] as const;
      const { index } = await client.txn({ then: [...then] });
      acknowledged.push(...then.map((it) => nameOf({ type: it.op, value: "", ...it, index })));
    } else {
      const { index } = await client.put(key, `${name}.${i}`);
      acknowledged.push(nameOf({ type: "put", key, value: `${name}.${i}`, index }));
    }
  }
  return acknowledged;
}

function withPrefix(events: readonly string[], prefix: string): string[] {
  return events.filter((event) => event.split(" ")[2]!.startsWith(prefix));
}

async function killLeaders(cluster: TestCluster, isDue: (kill: number) => boolean): Promise<void> {
  for (let kill = 1; kill <= kills; kill++) {
    await until(`time for kill ${kill}`, () => isDue(kill) || null);
    const leader = await cluster.leader();
    await leader.kill();
    await until("the others go on", async () => {
      const all = await Promise.all(cluster.nodes.map((node) => node === leader ? null : node.status()));
      return all.some((status) => status?.role === "leader") || null;
    });
    leader.start();
    await cluster.leader();
  }
}

Deno.test("Client.watch() tells many watchers every event once, leaders killed and logs cut in between", async () => {
  await withCluster({ nodes: 3, args: steady, wrapper: smallSnapshots }, async (cluster) => {
    await cluster.leader();
    await using client = await connect(cluster.addresses, { timeoutMs: 60_000 });
    const told = Array.from({ length: watchers }, (_, i) => new Told(i % 2 === 0 ? "" : `w${i % writers}/`));
    const stop = new AbortController();
    const watches = told.map((one) => client.watch({ prefix: one.prefix, signal: stop.signal }));
    await Promise.all(watches.map((watch) => watch.open()));
    const watching = watches.map((watch, i) => follow(watch, told[i]!, stop.signal));
    const isEnough = () => told[0]!.events.length >= eventsWanted;
    const killing = killLeaders(
      cluster,
      (kill) => told[0]!.events.length > kill * eventsWanted / (kills + 2),
    );
    const names = Array.from({ length: writers }, (_, i) => `w${i}`);
    const acknowledged = (await Promise.all(names.map((name) => write(client, name, isEnough)))).flat();
    await killing;
    const { index } = await client.put("end", "");
    await until("all have been told everything", () => {
      const isTold = told[0]!.events.at(-1)?.startsWith(`${index} `);
      return isTold &&
          told.every((one) => one.events.length >= withPrefix(told[0]!.events, one.prefix).length) ||
        null;
    });
    stop.abort(new Error("the test is over"));
    await Promise.all(watching);

    const all = told[0]!.events;
    assertEquals(told.map(({ resets }) => resets), told.map(() => 0), "nobody had to begin anew");
    for (const one of told) assertEquals(one.events, withPrefix(all, one.prefix));
    const events = new Set(all);
    assertEquals(events.size, all.length, "none is told twice");
    assertEquals(acknowledged.filter((it) => !events.has(it)), [], "all that was acknowledged is told");
    assertLess(all.length - acknowledged.length, 2 * writers * kills, "and next to nothing else");
    const statuses = await Promise.all(cluster.nodes.map((node) => node.status()));
    assert(statuses.every((status) => status!.snapshotIndex > 1000), "the log was cut meanwhile");
    console.log(
      `${watchers} watchers were told ${all.length} events over ${kills} kills, ${acknowledged.length} acknowledged`,
    );
  });
});

Deno.test({
  name: "Watches.flush() holds next to nothing for a client that never reads, however much happens",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await withCluster({ nodes: 1 }, async (cluster) => {
      const node = await cluster.leader();
      await using client = await connect(node.client);
      const grow = async (): Promise<number> => {
        const before = (await mebibytesOf(node))!.now;
        for (let i = 0; i < 300; i++) {
          await Promise.all(
            Array.from({ length: 5 }, (_, k) => client.put(`k${k}`, `${i}`.padEnd(100_000, "v"))),
          );
        }
        return (await mebibytesOf(node))!.now - before;
      };
      await grow(); // 150 MB of events: history, log and snapshot have the size that they keep
      const deaf = await Promise.all(Array.from({ length: 20 }, () => watchAndNeverRead(node.client)));
      const grown = await grow();
      const status = await node.status();
      for (const conn of deaf) conn.close();
      assertEquals(status!.watches, deaf.length);
      assertLess(grown, 128, `${deaf.length} deaf clients and 150 MB of events: ${grown} MiB`);
      console.log(`20 clients that never read cost ${grown} MiB while 150 MB of events passed`);
    });
  },
});

async function watchAndNeverRead(address: string): Promise<Deno.TcpConn> {
  const [hostname, port] = address.split(":") as [string, string];
  const conn = await Deno.connect({ hostname, port: Number(port) });
  await conn.write(new TextEncoder().encode('{"op":"watch","after":0}\n'));
  return conn;
}
