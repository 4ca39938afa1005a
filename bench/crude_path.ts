/**
 * A yardstick: what a simple program in Deno does on this machine when a put has only to be on the disks of a majority.
 * Three processes, of which the first one always leads, a log of lines, an fsync for all that gathered during the last
 * one, and a map. There are no terms, elections, checksums, bounds, versions or order of keys, nothing is checked, and
 * nothing is ever read again, by a get either. `bench/vs_etcd.sh` measures it in place of kvapp:
 *
 *   KVAPP="deno run --v8-flags=--no-allocation-site-pretenuring,--heap-growing-percent=60 -A bench/crude_path.ts" bench/vs_etcd.sh put:64x1 put:16x64
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { writeAll } from "../lib/io/deno_room.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What a leader tells its followers of a write, and all write to their disks. */
interface Entry {
  index: number;
  key: string;
  value: string;
}

/** Lines that gather while those before them are on their way leave together. */
class Batches {
  #lines: string[] = [];
  #isBusy = false;

  constructor(readonly write: (bytes: Uint8Array) => Promise<void>) {}

  add(line: string): void {
    this.#lines.push(line);
    if (this.#isBusy) return;
    this.#isBusy = true;
    queueMicrotask(() => this.#run());
  }

  async #run(): Promise<void> {
    while (this.#lines.length > 0) {
      const lines = this.#lines;
      this.#lines = [];
      await this.write(encoder.encode(lines.join("\n") + "\n"));
    }
    this.#isBusy = false;
  }
}

function sendTo(conn: Deno.TcpConn): Batches {
  conn.setNoDelay(true);
  return new Batches(async (bytes) => {
    for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
  });
}

/** Gives all whole lines of each read to `take`, until the connection ends. A line longer than the buffer ends it, too. */
async function readLines(tcp: Deno.TcpConn, take: (lines: string[]) => void): Promise<void> {
  using conn = tcp;
  const buffer = new Uint8Array(256 << 10);
  let rest = 0;
  for (let count; (count = await conn.read(buffer.subarray(rest)));) {
    const end = rest + count;
    const last = buffer.lastIndexOf(10, end - 1);
    if (last >= 0) take(decoder.decode(buffer.subarray(0, last)).split("\n"));
    buffer.copyWithin(0, last + 1, end);
    rest = end - last - 1;
  }
}

/** What gathers during an fsync shares the next one. */
class Log {
  #lastIndex = 0;
  durableIndex = 0;
  onDurable: () => void = () => {};
  readonly #batches: Batches;

  constructor(file: Deno.FsFile) {
    this.#batches = new Batches(async (bytes) => {
      const index = this.#lastIndex;
      writeAll(file, bytes);
      await file.syncData();
      this.durableIndex = index;
      this.onDurable();
    });
  }

  append(line: string, index: number): void {
    this.#lastIndex = index;
    this.#batches.add(line);
  }
}

/** Entries that wait to be committed, oldest first, and the map that they go to. */
class Waiting<T extends Entry> {
  readonly map = new Map<string, string>();
  #entries: T[] = [];
  #taken = 0;

  add(entry: T): void {
    this.#entries.push(entry);
  }

  commit(index: number, then: (entry: T) => void): void {
    for (; this.#taken < this.#entries.length && this.#entries[this.#taken]!.index <= index; this.#taken++) {
      const entry = this.#entries[this.#taken]!;
      this.map.set(entry.key, entry.value);
      then(entry);
    }
    if (this.#taken < 4096) return;
    this.#entries = this.#entries.slice(this.#taken);
    this.#taken = 0;
  }
}

async function lead(log: Log, followers: Deno.TcpConn[], clients: Deno.Listener): Promise<void> {
  const waiting = new Waiting<Entry & { client: Batches }>();
  const peers = followers.map((conn) => ({ conn, batches: sendTo(conn), durableIndex: 0 }));
  let lastIndex = 0;
  let committed = 0;
  const advance = (): void => {
    const durable = [log, ...peers].map(({ durableIndex }) => durableIndex).sort((a, b) => b - a);
    committed = durable[1]!;
    waiting.commit(committed, ({ index, client }) => client.add(`{"ok":true,"index":${index}}`));
  };
  log.onDurable = advance;
  for (const peer of peers) {
    readLines(peer.conn, (lines) => {
      peer.durableIndex = Number(lines.at(-1));
      advance();
    });
  }
  for await (const conn of clients) {
    const client = sendTo(conn as Deno.TcpConn);
    readLines(conn as Deno.TcpConn, (lines) => {
      for (const line of lines) {
        const { op, key, value } = JSON.parse(line);
        if (op !== "put") {
          client.add('{"ok":true,"role":"leader"}');
          continue;
        }
        const index = ++lastIndex;
        waiting.add({ index, key, value, client });
        const entry = JSON.stringify({ index, committed, key, value });
        log.append(entry, index);
        for (const { batches } of peers) batches.add(entry);
      }
    });
  }
}

async function follow(log: Log, leader: Deno.TcpConn): Promise<void> {
  const waiting = new Waiting<Entry>();
  const batches = sendTo(leader);
  log.onDurable = () => batches.add(String(log.durableIndex));
  await readLines(leader, (lines) => {
    for (const line of lines) {
      const { committed, ...entry } = JSON.parse(line);
      waiting.add(entry);
      log.append(line, entry.index);
      waiting.commit(committed, () => {});
    }
  });
}

function splitAddress(address: string, offset = 0): { hostname: string; port: number } {
  const [hostname, port] = address.split(":");
  return { hostname: hostname!, port: Number(port) + offset };
}

async function dial(address: string): Promise<Deno.TcpConn> {
  for (let attempt = 0;; attempt++) {
    try {
      return await Deno.connect(splitAddress(address));
    } catch (error) {
      if (attempt === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function serve(args: string[]): Promise<void> {
  const options = parseArgs(args, { string: ["node-id", "bind", "cluster", "data-dir"] });
  const bind = options.bind!;
  Deno.mkdirSync(options["data-dir"]!, { recursive: true });
  const log = new Log(Deno.openSync(`${options["data-dir"]}/log`, { create: true, append: true }));
  if (options["node-id"] !== "1") {
    const listener = Deno.listen(splitAddress(bind));
    for await (const leader of listener) follow(log, leader);
  }
  const followers = await Promise.all(options.cluster!.split(",").slice(1).map(dial));
  await lead(log, followers, Deno.listen(splitAddress(bind, 1000)));
}

/** What the script waits for: it ends well when the leader takes clients. */
async function knock(args: string[]): Promise<void> {
  const [leader] = parseArgs(args, { string: ["cluster"] }).cluster!.split(",");
  (await Deno.connect(splitAddress(leader!, 1000))).close();
}

const [command, ...args] = Deno.args;
if (command === "serve") await serve(args);
else if (command === "client") await knock(args);
else console.log("a crude write path");
