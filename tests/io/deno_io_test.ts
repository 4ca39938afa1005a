import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { denoIo, denoNetwork, FolderLocked, openFolder } from "../../lib/io/deno_io.ts";
import type { Connection, Disk } from "../../lib/io/io.ts";
import { type Harness, testIo } from "./conformance.ts";
import { freeAddress, until } from "./real_outside.ts";

testIo("denoIo()", async () => {
  const path = await Deno.makeTempDir();
  const { disk, close } = await openFolder(`${path}/data`);
  const io = denoIo(disk);
  return {
    here: io,
    there: io,
    freeAddress,
    until,
    close: async () => {
      await close();
      await Deno.remove(path, { recursive: true });
    },
  } satisfies Harness;
});

async function withFolder(test: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    await test(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

function outcome(start: (done: (error: Error | null) => void) => void): Promise<Error | null> {
  return new Promise((resolve) => start(resolve));
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

Deno.test("openFolder() makes the folder with its parents and finds its files again", () =>
  withFolder(async (path) => {
    const first = await openFolder(`${path}/a/b/c`);
    assertEquals(await outcome((done) => first.disk.append("log/1", bytes("one"), done)), null);
    assertEquals(await outcome((done) => first.disk.replace("state", bytes("s"), done)), null);
    await first.close();
    const second = await openFolder(`${path}/a/b/c/`);
    assertEquals(second.disk.list(), ["log/1", "state"]);
    assertEquals(await outcome((done) => second.disk.append("log/1", bytes("two"), done)), null);
    assertEquals(second.disk.read("log/1"), bytes("onetwo"));
    await second.close();
  }));

Deno.test("list() shows neither the lock nor the reserve nor what an unfinished replace left", () =>
  withFolder(async (path) => {
    const { disk, close } = await openFolder(path);
    await Deno.writeTextFile(`${path}/state.json.tmp`, "half");
    await Deno.mkdir(`${path}/log`);
    assertEquals(disk.list(), []);
    assertEquals(await outcome((done) => disk.replace("state.json", bytes("whole"), done)), null);
    assertEquals(disk.list(), ["state.json"]);
    await close();
    assertEquals([...Deno.readDirSync(path)].map(({ name }) => name).sort(), [
      "LOCK",
      "RESERVE",
      "log",
      "state.json",
    ]);
  }));

Deno.test("openFolder() refuses a folder that is in use, naming it and the process, and takes it once it is free", () =>
  withFolder(async (path) => {
    const first = await openFolder(path);
    const error = await assertRejects(() => openFolder(path), FolderLocked);
    assertStringIncludes(error.message, path);
    assertStringIncludes(error.message, `process ${Deno.pid}`);
    await first.close();
    const second = await openFolder(path);
    await second.close();
    await error.over;
  }));

Deno.test("openFolder() takes the folder of a process that was killed", () =>
  withFolder(async (path) => {
    const source = `import { openFolder } from ${
      JSON.stringify(import.meta.resolve("../../lib/io/deno_io.ts"))
    };
      await openFolder(${JSON.stringify(path)});
      console.log("open");
      setInterval(() => {}, 1000);`;
    await Deno.writeTextFile(`${path}/holder.ts`, source);
    const holder = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", `${path}/holder.ts`],
      stdout: "piped",
    }).spawn();
    const output = holder.stdout.getReader();
    await output.read();
    const error = await assertRejects(() => openFolder(path), FolderLocked);
    assertStringIncludes(error.message, `process ${holder.pid}`);
    holder.kill("SIGKILL");
    await output.cancel();
    await holder.status;
    const folder = await openFolder(path);
    await folder.close();
    await error.over;
  }));

Deno.test("openFolder() says what is wrong with a path", () =>
  withFolder(async (path) => {
    await Deno.writeTextFile(`${path}/file`, "");
    const error = await assertRejects(
      () => openFolder(`${path}/file`),
      Error,
      `cannot open data folder ${path}/file`,
    );
    assert(error.cause instanceof Deno.errors.AlreadyExists);
    await assertRejects(() => openFolder(`${path}/file/below`), Error, "cannot open data folder");
  }));

Deno.test("Disk errors name the operation and the file and keep their cause", () =>
  withFolder(async (path) => {
    const { disk, close } = await openFolder(path);
    await Deno.mkdir(`${path}/folder`);
    const operations: Record<string, (disk: Disk, done: (error: Error | null) => void) => void> = {
      "append to": (disk, done) => disk.append("folder", bytes("x"), done),
      "replace": (disk, done) => disk.replace("folder", bytes("x"), done),
      "truncate": (disk, done) => disk.truncate("missing", 0, done),
      "remove": (disk, done) => disk.remove("missing", done),
    };
    for (const [verb, start] of Object.entries(operations)) {
      const error = await outcome((done) => start(disk, done));
      assertStringIncludes(error!.message, `cannot ${verb} ${path}/`);
      assert(error!.cause instanceof Error);
    }
    assertThrows(() => disk.readRange("folder", 0, 1), Error, `cannot read ${path}/folder`);
    assertEquals(await outcome((done) => disk.append("log", bytes("12"), done)), null);
    const error = await outcome((done) => disk.truncate("log", 3, done));
    assertStringIncludes(error!.message, "it has 2 bytes");
    await close();
  }));

/** A connection to a listener at `address`, both ends open. */
async function pair(address: string): Promise<[Connection, Connection]> {
  const network = denoNetwork();
  let far: Connection | undefined;
  const listener = network.listen(address, (connection) => far = connection);
  const near = network.connect(address);
  let isOpen = false;
  near.onOpen = () => isOpen = true;
  await until("both ends are open", () => isOpen && far !== undefined);
  listener.close();
  return [near, far!];
}

async function close(...connections: Connection[]): Promise<void> {
  let closed = 0;
  for (const connection of connections) {
    connection.onClose = () => closed++;
    connection.destroy();
  }
  await until("all are closed", () => closed === connections.length);
}

Deno.test("connect() takes host names and IPv6 addresses", async () => {
  const port = freeAddress().split(":")[1];
  for (const address of [`localhost:${port}`, `[::1]:${port}`]) {
    const [near, far] = await pair(address);
    assertEquals(near.remote, address);
    assert(/^(127\.0\.0\.1|\[::1\]):\d+$/.test(far.remote), far.remote);
    await close(near, far);
  }
});

Deno.test("listen() and connect() refuse what is not an address", async () => {
  for (const address of ["127.0.0.1", "localhost:", ":80", "a:b:1", "[::1]", "host:65536", "host:-1"]) {
    assertThrows(() => denoNetwork().listen(address, () => {}), Error, "not of the form host:port");
    const error = await new Promise<Error | null>((resolve) =>
      denoNetwork().connect(address).onClose = resolve
    );
    assertStringIncludes(error!.message, "not of the form host:port");
  }
});

Deno.test("connect() says that a host name does not exist", async () => {
  const connection = denoNetwork().connect("no-such-host.invalid:80");
  const error = await new Promise<Error | null>((resolve) => connection.onClose = resolve);
  assertStringIncludes(error!.message, "cannot connect to no-such-host.invalid:80: ");
});

Deno.test("send() puts all that is sent in one turn into one write", async () => {
  const [near, far] = await pair(freeAddress());
  let received = 0;
  far.onData = (data) => received += data.length;
  const sizes: number[] = [];
  const restore = await spyOnWrites((size) => sizes.push(size));
  try {
    for (let i = 0; i < 100; i++) near.send(bytes("line\n"));
    await until("all has arrived", () => received === 500);
    assertEquals(sizes, [500]);
    // A large chunk is not copied, small ones around it go together.
    near.send(bytes("small"));
    near.send(bytes("small"));
    near.send(new Uint8Array(1 << 20));
    near.send(bytes("small"));
    await until("all has arrived", () => received === 500 + 15 + (1 << 20));
    assertEquals(sizes.slice(0, 3), [500, 10, 1 << 20]);
  } finally {
    restore();
  }
  await close(near, far);
});

/** Tells the size of each write to any connection, until the function that it returns is called. */
async function spyOnWrites(onWrite: (size: number) => void): Promise<() => void> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  let owner: Deno.Conn = connection;
  while (!Object.hasOwn(owner, "write")) owner = Object.getPrototypeOf(owner);
  const { write } = owner;
  owner.write = function (bytes) {
    onWrite(bytes.length);
    return write.call(this, bytes);
  };
  return () => owner.write = write;
}

Deno.test("a connection that sends to an end that is gone is told by onClose", async () => {
  const [near, far] = await pair(freeAddress());
  let error: Error | null | undefined;
  near.onClose = (reason) => error = reason;
  far.destroy();
  await until("the reset has come back", () => {
    near.send(bytes("anybody there?"));
    return error !== undefined;
  });
  assertStringIncludes(error!.message, `connection to ${near.remote} failed: `);
  assert(error!.cause instanceof Error);
});

Deno.test("close() of a paused connection is over as soon as the other end closes too", async () => {
  const [near, far] = await pair(freeAddress());
  far.pause();
  near.send(new Uint8Array(16 << 20));
  await until("the other end holds it back", () => near.bufferedBytes < 16 << 20);
  const start = performance.now();
  far.close();
  near.close();
  await Promise.all([near, far].map((end) => new Promise((resolve) => end.onClose = resolve)));
  const waited = performance.now() - start;
  assert(waited < 2000, `at once, not after ${waited} ms`);
});

Deno.test("close() gives up after a while when the other end never closes", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connection = denoNetwork().connect(`127.0.0.1:${listener.addr.port}`);
  using _far = await listener.accept();
  let isOpen = false;
  connection.onOpen = () => isOpen = true;
  await until("it is open", () => isOpen);
  connection.send(new Uint8Array(16 << 20));
  const start = performance.now();
  connection.close();
  await new Promise((resolve) => connection.onClose = resolve);
  const waited = performance.now() - start;
  assert(waited > 2500 && waited < 6000, `after about 3 s, not ${waited} ms`);
});

Deno.test({
  name: "a listener that ran out of file descriptors says so, and serves again when there are some",
  ignore: Deno.build.os === "windows",
  fn: () =>
    withFolder(async (path) => {
      const address = freeAddress();
      const source = `import { denoNetwork } from ${
        JSON.stringify(import.meta.resolve("../../lib/io/deno_io.ts"))
      };
        const network = denoNetwork((error) => console.log(error.message));
        network.listen(${JSON.stringify(address)}, (connection) => {
          connection.onData = (bytes) => connection.send(bytes.slice());
          connection.onEnd = () => connection.close();
        });
        console.log("ready");`;
      await Deno.writeTextFile(`${path}/echo.ts`, source);
      const server = new Deno.Command("sh", {
        args: ["-c", 'ulimit -n 100 && exec "$0" run -A --no-check "$1"', Deno.execPath(), `${path}/echo.ts`],
        stdout: "piped",
      }).spawn();
      let output = "";
      const reading = server.stdout.pipeThrough(new TextDecoderStream())
        .pipeTo(new WritableStream({ write: (text) => void (output += text) }));
      await until("the server listens", () => output.includes("ready"));

      let answer = "";
      const ask = (connection: Connection, question: string): Promise<void> => {
        connection.onData = (data) => answer += new TextDecoder().decode(data);
        connection.send(bytes(question));
        return until(`it answers ${question}`, () => answer.endsWith(question));
      };
      const early = denoNetwork().connect(address);
      await ask(early, "are you there?");
      const connections = Array.from({ length: 120 }, () => denoNetwork().connect(address));
      const complaint = `cannot accept a connection on ${address}: `;
      await until("it runs out of descriptors", () => output.includes(complaint));
      await ask(early, "still there, for those who were?");
      await new Promise((resolve) => setTimeout(resolve, 200)); // several more accepts fail
      await close(...connections);
      const late = denoNetwork().connect(address);
      await ask(late, "still there, for all?");
      assertEquals(output.split(complaint).length, 2, "it says so once");

      await close(early, late);
      server.kill("SIGKILL");
      await Promise.all([server.status, reading]);
    }),
});

Deno.test({
  name: "connect() gives up after a while when nobody answers",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    // A port whose queue is full lets no one in and refuses no one.
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
    const address = `127.0.0.1:${listener.addr.port}`;
    const queued: Connection[] = [];
    let start = 0;
    let error: Error | null = null;
    while (error === null) {
      start = performance.now();
      const connection = denoNetwork().connect(address);
      error = await new Promise<Error | null>((resolve) => {
        connection.onOpen = () => resolve(null);
        connection.onClose = resolve;
      });
      if (error === null) queued.push(connection);
    }
    const waited = performance.now() - start;
    assertStringIncludes(error.message, `cannot connect to ${address}: no answer within 3000 ms`);
    assert(waited > 2500 && waited < 6000, `after about 3 s, not ${waited} ms`);
    await close(...queued);
  },
});
