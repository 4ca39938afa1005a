/**
 * A connection that serves one watch: it is read only as fast as the events are taken, so a slow taker holds up nobody
 * else. While it is silent the node is asked for something that only a member of a working cluster can answer: a
 * node that is frozen or cut off would otherwise be believed for ever.
 *
 * @module
 */

import { openTcp, writeAll } from "./connection.ts";
import { ClientError } from "./errors.ts";

/** Silence after which the node is asked, and how long it may take to answer. */
const silenceMs = 2000;
const answerMs = 8000;

/** A line of a watch. */
export interface WatchLine {
  ok?: boolean;
  error?: { code: string; message: string; definite: boolean };
  watch?: number;
  type?: string;
  index?: number;
  more?: true;
  [field: string]: unknown;
}

/** One end of it. */
export class WatchConnection {
  readonly address: string;
  readonly #conn: Deno.TcpConn;
  readonly #lines = new TextLines();
  /** A read that is under way: none can be taken back. */
  #reading: Promise<Uint8Array | null> | null = null;
  /** The node owes an answer. */
  #isAsked = false;
  /** The node has told an event, or has shown that it belongs to a working cluster. */
  isOfUse = false;

  private constructor(address: string, conn: Deno.TcpConn) {
    this.address = address;
    this.#conn = conn;
  }

  /** Connects, sends the request and resolves with the connection and the first line. */
  static async open(
    address: string,
    request: object,
    signal: AbortSignal,
  ): Promise<{ connection: WatchConnection; reply: WatchLine }> {
    const connection = new WatchConnection(address, await openTcp(address, signal));
    try {
      await writeAll(connection.#conn, new TextEncoder().encode(JSON.stringify(request) + "\n"));
      connection.#isAsked = true;
      const reply = await connection.#next(signal);
      if (typeof reply.ok !== "boolean") throw new Error("not a reply of kvapp");
      connection.#isAsked = false;
      return { connection, reply };
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** The next event. Throws when the node is lost, or says that it has lost the others, and the reason of `signal`. */
  async nextEvent(signal: AbortSignal): Promise<WatchLine> {
    for (;;) {
      const line = await this.#next(signal);
      const isEvent = line.watch !== undefined && line.ok === undefined;
      this.#isAsked &&= isEvent;
      if (!isEvent && line.ok !== true) {
        throw new Error(`${this.address}: ${line.error?.message ?? "not a line of kvapp"}`);
      }
      this.isOfUse = true;
      if (isEvent) return line;
    }
  }

  close(): void {
    try {
      this.#conn.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error; // it was closed before
    }
    this.#reading?.catch(() => null); // whoever waits for it has gone
  }

  async #next(signal: AbortSignal): Promise<WatchLine> {
    for (;;) {
      const line = this.#lines.take();
      if (line !== null) return JSON.parse(line) as WatchLine;
      const bytes = await this.#read(signal);
      if (bytes === null) throw new Error(`${this.address} closed the connection`);
      if (bytes !== "silence") this.#lines.push(bytes);
      else if (this.#isAsked) throw new Error(`${this.address} does not answer`);
      else await this.#ask();
    }
  }

  async #ask(): Promise<void> {
    this.#isAsked = true;
    await writeAll(this.#conn, new TextEncoder().encode('{"op":"get","key":"\\u0000"}\n'));
  }

  async #read(signal: AbortSignal): Promise<Uint8Array | null | "silence"> {
    signal.throwIfAborted();
    this.#reading ??= this.#readOnce();
    const stop = Promise.withResolvers<"silence">();
    const timer = setTimeout(() => stop.resolve("silence"), this.#isAsked ? answerMs : silenceMs);
    const abort = (): void => stop.reject(signal.reason);
    signal.addEventListener("abort", abort);
    try {
      const result = await Promise.race([this.#reading, stop.promise]);
      if (result !== "silence") this.#reading = null;
      return result;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    }
  }

  async #readOnce(): Promise<Uint8Array | null> {
    const buffer = new Uint8Array(64 << 10);
    const length = await this.#conn.read(buffer);
    return length === null ? null : buffer.subarray(0, length);
  }
}

/** Bytes into lines. */
class TextLines {
  readonly #decoder = new TextDecoder();
  #text = "";
  #from = 0;

  push(bytes: Uint8Array): void {
    this.#text = this.#text.slice(this.#from) + this.#decoder.decode(bytes, { stream: true });
    this.#from = 0;
  }

  take(): string | null {
    const end = this.#text.indexOf("\n", this.#from);
    if (end < 0) return null;
    const line = this.#text.slice(this.#from, end);
    this.#from = end + 1;
    return line;
  }
}

/** What a node answered instead of opening a watch, if another one would answer the same. */
export function refusalOf({ error }: WatchLine): ClientError | null {
  if (error === undefined || error.code === "busy") return null;
  return new ClientError(error.code, error.message, { definite: error.definite, details: error });
}
