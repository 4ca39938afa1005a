/**
 * One connection to the client port of a node: requests go out as lines, several at a time, replies come back in the
 * order of the requests. A connection that stays silent while it owes replies is checked from outside: a frozen
 * node keeps its connections open for ever.
 *
 * @module
 */

import { Queue } from "../queue.ts";
import { parseAddress } from "./addresses.ts";
import { within } from "./deadline.ts";

/** A reply line. */
export type ReplyLine = { ok: boolean; error?: ErrorFields; [field: string]: unknown };

/** The error of a reply. */
export type ErrorFields = { code: string; message: string; definite: boolean; [field: string]: unknown };

/** The connection ended before the reply came. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
  /** False: no byte of the request left, so it certainly had no effect. */
  readonly sent: boolean;

  constructor(address: string, options: { sent: boolean; cause: unknown }) {
    const why = options.cause instanceof Error ? options.cause.message : "closed by the other end";
    super(`lost the connection to ${address}: ${why}`, { cause: options.cause });
    this.sent = options.sent;
  }
}

interface Waiting {
  readonly id: number;
  resolve(reply: ReplyLine): void;
  reject(error: ConnectionLost): void;
}

const connectTimeoutMs = 1000;
/** Silence of this length on a connection that owes a reply makes the client ask whether the node lives. */
const silenceMs = 1000;
const probeTimeoutMs = 2500;

/** An open connection. */
export class Connection {
  readonly address: string;
  readonly #conn: Deno.TcpConn;
  /** Requests without a reply, oldest first. */
  readonly #waiting = new Queue<Waiting>();
  #queue: string[] = [];
  #lastId = 0;
  /** Requests up to this id were handed to the operating system. */
  #sentThrough = 0;
  #flushing = false;
  /** When bytes last arrived or, after idling, when the oldest waiting request was made. */
  #heardAt = 0;
  #probe: Promise<void> | null = null;
  readonly #watch: ReturnType<typeof setInterval>;
  #lost: { cause: unknown } | null = null;
  #retired = false;
  /** So many owners need it to stay open, answers or not. */
  #holds = 0;
  /** Ends what is under way on behalf of this connection once it is lost. */
  readonly #gone = new AbortController();
  readonly #reading: Promise<void>;

  private constructor(address: string, conn: Deno.TcpConn) {
    this.address = address;
    this.#conn = conn;
    this.#watch = setInterval(() => this.#checkSilence(), silenceMs);
    this.#reading = this.#read();
  }

  /** Connects to "host:port" within a second. Throws what the operating system says, or the reason of `signal`. */
  static async open(address: string, signal: AbortSignal): Promise<Connection> {
    return new Connection(address, await openTcp(address, signal));
  }

  /** Whether requests can still be sent. */
  get isOpen(): boolean {
    return this.#lost === null;
  }

  /** Sends one request; resolves with its reply, be it ok or not. Throws ConnectionLost. */
  request(fields: Readonly<Record<string, unknown>>): Promise<ReplyLine> {
    if (this.#lost !== null) {
      return Promise.reject(new ConnectionLost(this.address, { sent: false, cause: this.#lost.cause }));
    }
    const id = ++this.#lastId;
    if (this.#waiting.size === 0) this.#heardAt = performance.now();
    this.#queue.push(JSON.stringify({ ...fields, id }) + "\n");
    if (!this.#flushing) this.#flush();
    return new Promise((resolve, reject) => this.#waiting.push({ id, resolve, reject }));
  }

  /** Keeps it open until the returned function is called: what only this node knows may still be asked for. */
  hold(): () => void {
    this.#holds++;
    return () => {
      this.#holds--;
      if (this.#retired) this.retire();
    };
  }

  /** Closes once all replies are here and nobody holds it. */
  retire(): void {
    this.#retired = true;
    if (this.#waiting.size === 0 && this.#holds === 0) this.#lose(null);
  }

  /** Closes now; requests without a reply end with ConnectionLost. */
  async close(): Promise<void> {
    this.#lose(new Error("the client closed it"));
    await this.#reading;
    await this.#probe;
  }

  /** Writes what was queued, all requests of one turn at once. */
  async #flush(): Promise<void> {
    this.#flushing = true;
    await Promise.resolve();
    try {
      while (this.#queue.length > 0 && this.#lost === null) {
        const bytes = new TextEncoder().encode(this.#queue.join(""));
        this.#queue = [];
        this.#sentThrough = this.#lastId;
        await writeAll(this.#conn, bytes);
      }
    } catch (error) {
      this.#lose(error);
    }
    this.#flushing = false;
  }

  async #read(): Promise<void> {
    try {
      await readLines(this.#conn, (line) => this.#onLine(line));
      this.#lose(null);
    } catch (error) {
      this.#lose(error);
    }
  }

  #onLine(line: string): void {
    this.#heardAt = performance.now();
    const reply = JSON.parse(line) as ReplyLine & { id?: unknown };
    const { first } = this.#waiting;
    // a line that the node could not read far enough to find its id is answered without one, in its turn
    const isNext = first !== undefined && (typeof reply.id !== "number" || reply.id === first.id);
    if (!isNext || typeof reply.ok !== "boolean") {
      throw new Error(`not the reply of kvapp that comes next: ${line.slice(0, 80)}`);
    }
    delete reply.id;
    this.#waiting.shift();
    first.resolve(reply);
    if (this.#retired) this.retire();
  }

  /** Asks over a second connection, since replies on this one keep their order: slow is not dead. */
  #checkSilence(): void {
    if (this.#waiting.size === 0 || this.#probe !== null || performance.now() - this.#heardAt < silenceMs) {
      return;
    }
    this.#probe = probe(this.address, this.#gone.signal)
      .catch((error) => this.#lose(error))
      .finally(() => this.#probe = null);
  }

  #lose(cause: unknown): void {
    if (this.#lost !== null) return;
    this.#lost = { cause };
    clearInterval(this.#watch);
    this.#gone.abort(cause);
    this.#conn.close();
    for (let waiting; (waiting = this.#waiting.shift());) {
      waiting.reject(new ConnectionLost(this.address, { sent: waiting.id <= this.#sentThrough, cause }));
    }
  }
}

/** A connection to "host:port" within a second. Throws what the operating system says, or the reason of `signal`. */
export function openTcp(address: string, signal: AbortSignal): Promise<Deno.TcpConn> {
  return within(connectTimeoutMs, "no answer within a second", signal, async (limit) => {
    const { host, port } = parseAddress(address);
    const conn = await Deno.connect({ hostname: host, port, signal: limit });
    conn.setNoDelay(true);
    return conn;
  });
}

/** Sends a ping over a connection of its own. Throws when no answer comes. */
async function probe(address: string, signal: AbortSignal): Promise<void> {
  const conn = await openTcp(address, signal);
  let open = true;
  const close = (): void => {
    if (open) conn.close();
    open = false;
  };
  try {
    await within(probeTimeoutMs, "the node does not answer", signal, async (limit) => {
      limit.addEventListener("abort", close);
      await writeAll(conn, new TextEncoder().encode('{"op":"ping"}\n'));
      if (await conn.read(new Uint8Array(512)) === null) throw new Error("the node closes new connections");
    });
  } finally {
    close();
  }
}

/** Writes all bytes, as fast as the other end takes them. */
export async function writeAll(conn: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** Calls `onLine` with each whole line until the other end closes. */
async function readLines(conn: Deno.TcpConn, onLine: (line: string) => void): Promise<void> {
  const buffer = new Uint8Array(64 << 10);
  const decoder = new TextDecoder();
  let partial = "";
  for (;;) {
    const length = await conn.read(buffer);
    if (length === null) return;
    const text = decoder.decode(buffer.subarray(0, length), { stream: true });
    let from = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", from)) {
      onLine(partial + text.slice(from, end));
      partial = "";
      from = end + 1;
    }
    partial += text.slice(from);
  }
}
