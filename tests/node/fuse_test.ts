import { assert, assertEquals } from "@std/assert";
import { denoIo, openFolder } from "../../lib/io/deno_io.ts";
import type { Connection, Io } from "../../lib/io/io.ts";
import { Fuse } from "../../lib/node/fuse.ts";
import { testIo } from "../io/conformance.ts";
import { freeAddress, until } from "../io/real_outside.ts";

/** An outside behind a fuse, on real files and sockets, and how to end it. */
async function makeFused(onError: (error: unknown) => void) {
  const path = await Deno.makeTempDir({ prefix: "kvapp-" });
  const folder = await openFolder(path);
  const fuse = new Fuse(denoIo(folder.disk), onError);
  const close = async (): Promise<void> => {
    await folder.close();
    await Deno.remove(path, { recursive: true });
  };
  return { fuse, close };
}

testIo("Fuse.io", async () => {
  const { fuse, close } = await makeFused((error) => {
    throw error;
  });
  return { here: fuse.io, there: fuse.io, freeAddress, until, close };
});

const failure = new Error("an invariant is broken");
const fail = (): never => {
  throw failure;
};

/** Each way in which the outside calls a node, made to meet a broken invariant. */
const entrances: Record<string, (io: Io, server: Connection, client: Connection) => void> = {
  "clock.soon": (io) => io.clock.soon(fail),
  "clock.after": (io) => void io.clock.after(1, fail),
  "clock.every": (io) => void io.clock.every(1, fail),
  "disk.append": (io) => io.disk.append("a", new Uint8Array(1), fail),
  "disk.replace": (io) => io.disk.replace("a", new Uint8Array(1), fail),
  "onData": (_, server, client) => {
    server.onData = fail;
    client.send(new Uint8Array(1));
  },
  "onEnd": (_, server, client) => {
    server.onEnd = fail;
    client.close();
  },
  "onClose": (_, server, client) => {
    server.onEnd = () => server.destroy();
    server.onClose = fail;
    client.destroy();
  },
  "onDrain": (_, server) => {
    server.onDrain = fail;
    server.send(new Uint8Array(1));
  },
};

for (const [name, enter] of Object.entries(entrances)) {
  Deno.test(`Fuse.run() ends all that is open when ${name} meets a broken invariant, and tells`, async () => {
    const errors: unknown[] = [];
    const { fuse, close } = await makeFused((error) => errors.push(error));
    const { clock, network } = fuse.io;
    let server: Connection | null = null;
    const address = freeAddress();
    network.listen(address, (connection) => server = connection);
    const outside = denoIo(fuse.io.disk); // somebody else's: it has a fuse of its own, or none
    const client = outside.network.connect(address);
    let isOver = false;
    client.onEnd = client.onClose = () => isOver = true;
    await until("the connection is open", () => server !== null);
    let ticks = 0;
    clock.every(1, () => ticks++);

    enter(fuse.io, server!, client);
    await until("the error is told", () => errors.length > 0);
    const ticksThen = ticks;
    await until("the connection is gone", () => isOver);
    client.destroy();
    await fuse.whenIdle();
    assertEquals(errors, [failure]);
    Deno.listen({ hostname: "127.0.0.1", port: Number(address.split(":")[1]) }).close(); // the port is free
    fuse.run(() => assert(false, "nothing runs any more"));
    assertEquals(ticks, ticksThen, "timers are stopped");
    await close();
  });
}

Deno.test("Fuse.run() ends all that is open when a new connection meets a broken invariant", async () => {
  const errors: unknown[] = [];
  const { fuse, close } = await makeFused((error) => errors.push(error));
  const address = freeAddress();
  fuse.io.network.listen(address, fail);
  const client = denoIo(fuse.io.disk).network.connect(address);
  let isOver = false;
  client.onEnd = client.onClose = () => isOver = true;
  await until("the connection is gone", () => isOver);
  client.destroy();
  await fuse.whenIdle();
  assertEquals(errors, [failure]);
  await close();
});

Deno.test("Fuse.whenIdle() waits for the last connection", async () => {
  const { fuse, close } = await makeFused(() => {});
  const address = freeAddress();
  const listener = fuse.io.network.listen(address, (server) => server.onData = () => server.close());
  const client = fuse.io.network.connect(address);
  let isIdle = false;
  client.onOpen = () => client.send(new Uint8Array(1));
  const idle = fuse.whenIdle().then(() => isIdle = true);
  client.onEnd = () => {
    assertEquals(isIdle, false);
    client.close();
  };
  await idle;
  listener.close();
  await close();
});
