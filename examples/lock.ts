/**
 * A lock, or who leads: one at a time has it, and one that dies loses it. Four workers want it, and the second one to
 * get it dies with it. Here they share a program and a node of one; with the addresses of a real cluster nothing
 * changes.
 *
 *     deno run -A examples/lock.ts
 *
 * @module
 */

import { type Client, ClientError, connect, startNode } from "@kvapp/kvapp";

const key = "lock";
/** Whoever has the lock for longer must renew it, well before this: see `renew`. */
const ttlMs = 500;

/**
 * Waits for the lock. Returns a number that is greater than that of every holder before: send it along with whatever
 * the lock protects, and let the other end refuse a smaller one than it has seen. A holder that was asleep and does not
 * know that its time is over can then do no harm.
 */
async function acquire(client: Client, name: string): Promise<number> {
  for (;;) {
    try {
      const { version } = await client.put(key, name, { ifVersion: 0, ttlMs }); // 0: there is no such key
      return version;
    } catch (error) {
      if (!(error instanceof ClientError) || error.code !== "conditionFailed") throw error;
      // Somebody has it, since the write `version`. Nothing that comes after that is missed.
      const after = error.details.version as number;
      for await (const { type } of client.watch({ key, after })) {
        if (type !== "put" && type !== "progress") break;
      }
    }
  }
}

/** Keeps the lock for another `ttlMs`. Throws ClientError `conditionFailed` when it is lost already. */
async function renew(client: Client, name: string, token: number): Promise<number> {
  return (await client.put(key, name, { ifVersion: token, ttlMs })).version;
}

async function release(client: Client, token: number): Promise<void> {
  await client.delete(key, { ifVersion: token });
}

let holders = 0;

async function work(name: string, address: string): Promise<void> {
  await using client = await connect(address);
  let token = await acquire(client, name);
  const place = ++holders;
  console.log(`${name} is number ${place} to have the lock, with token ${token}`);
  if (place === 2) return console.log(`${name} dies with it`);
  token = await renew(client, name, token);
  await release(client, token);
}

const dataDir = await Deno.makeTempDir({ prefix: "lock-" });
{
  await using node = await startNode({ dataDir, bind: "127.0.0.1:0" });
  await Promise.all(["Ada", "Bob", "Cleo", "Dan"].map((name) => work(name, node.clientAddress)));
}
await Deno.remove(dataDir, { recursive: true });
