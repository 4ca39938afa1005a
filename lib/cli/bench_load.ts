/**
 * One connection of the load generator: it keeps so many requests in flight and times each. It shares the machine with
 * what it measures, so it does as little as it can: request bytes are made once and only their key is overwritten,
 * replies are found by their newline and judged by one byte, and a turn ends in one write.
 *
 * @module
 */

import { parseAddress } from "../client/addresses.ts";
import type { Histogram } from "./histogram.ts";

/** What the load is made of. */
export interface Load {
  workload: "put" | "get" | "mixed";
  valueBytes: number;
  /** Keys are drawn from so many, evenly. */
  keys: number;
  /** Requests in flight on each connection. */
  pipeline: number;
  /** Times on the clock of performance.now(): requests made from here ... */
  measureFrom: number;
  /** ... and answered up to here count. No request is made afterwards. */
  until: number;
}

/** What all connections found together. */
export interface Tally {
  /** Latencies of successful operations within the measured time, in microseconds. */
  latencies: Histogram;
  /** Failed operations, the warm-up included. */
  errors: number;
  /** The first error's message, for people. */
  firstError: string | null;
}

const newline = 10;
const letterT = 0x74; // {"ok":true ... against {"ok":false ...
const okAt = 6;

/** Drives one connection until the time is up, it is lost, or a reply is an error; then all it owes is read first. */
export class LoadConnection {
  readonly #load: Load;
  readonly #tally: Tally;
  readonly #put: Template;
  readonly #get: Template;
  readonly #out: Uint8Array;
  #outLength = 0;
  #in = new Uint8Array(64 << 10);
  #inLength = 0;
  /** Start times of requests in flight, a ring: replies come in the order of the requests. */
  readonly #startedAt: Float64Array;
  #made = 0;
  #answered = 0;
  #failed = false;

  constructor(load: Load, tally: Tally) {
    this.#load = load;
    this.#tally = tally;
    this.#put = new Template(`{"op":"put","key":"key########","value":"${"x".repeat(load.valueBytes)}"}\n`);
    this.#get = new Template(`{"op":"get","key":"key########"}\n`);
    this.#out = new Uint8Array(load.pipeline * Math.max(this.#put.bytes.length, this.#get.bytes.length));
    this.#startedAt = new Float64Array(load.pipeline);
  }

  /** Runs against one node. */
  async run(conn: Deno.TcpConn): Promise<void> {
    this.#made = this.#answered = this.#inLength = 0;
    this.#failed = false;
    try {
      this.#fill(performance.now());
      await this.#flush(conn);
      while (this.#answered < this.#made) {
        if (this.#inLength === this.#in.length) this.#grow();
        const length = await conn.read(this.#in.subarray(this.#inLength));
        if (length === null) throw new Error("the node closed the connection");
        this.#take(length, performance.now());
        await this.#flush(conn);
      }
    } catch (error) {
      this.#tally.errors += this.#made - this.#answered;
      this.#tally.firstError ??= error instanceof Error ? error.message : String(error);
    }
  }

  /** Makes requests until the pipeline is full. After an error none: first all that is owed is read. */
  #fill(now: number): void {
    if (now >= this.#load.until || this.#failed) return;
    const { workload, keys, pipeline } = this.#load;
    while (this.#made - this.#answered < pipeline) {
      const isPut = workload === "put" || (workload === "mixed" && (this.#made & 1) === 0);
      const template = isPut ? this.#put : this.#get;
      template.copyTo(this.#out, this.#outLength, Math.floor(Math.random() * keys));
      this.#outLength += template.bytes.length;
      this.#startedAt[this.#made++ % pipeline] = now;
    }
  }

  async #flush(conn: Deno.TcpConn): Promise<void> {
    for (let at = 0; at < this.#outLength;) at += await conn.write(this.#out.subarray(at, this.#outLength));
    this.#outLength = 0;
  }

  /** Counts the replies that are whole and keeps the rest. */
  #take(length: number, now: number): void {
    const bytes = this.#in.subarray(0, this.#inLength + length);
    let from = 0;
    let end = bytes.indexOf(newline, this.#inLength);
    while (end >= 0) {
      this.#count(from, end, now);
      from = end + 1;
      end = bytes.indexOf(newline, from);
    }
    if (from < bytes.length) bytes.copyWithin(0, from);
    this.#inLength = bytes.length - from;
    this.#fill(now);
  }

  #count(from: number, end: number, now: number): void {
    const { pipeline, measureFrom, until } = this.#load;
    const startedAt = this.#startedAt[this.#answered++ % pipeline]!;
    if (this.#in[from + okAt] === letterT) {
      if (startedAt >= measureFrom && now <= until) this.#tally.latencies.record((now - startedAt) * 1000);
      return;
    }
    this.#failed = true;
    this.#tally.errors++;
    this.#tally.firstError ??= new TextDecoder().decode(this.#in.subarray(from, end));
  }

  #grow(): void {
    const larger = new Uint8Array(this.#in.length * 2);
    larger.set(this.#in);
    this.#in = larger;
  }
}

/** Opens a connection to "host:port". */
export async function openLoadConnection(address: string): Promise<Deno.TcpConn> {
  const { host, port } = parseAddress(address);
  const conn = await Deno.connect({ hostname: host, port });
  conn.setNoDelay(true);
  return conn;
}

/** The bytes of a request, with the number of its key left open. */
class Template {
  readonly bytes: Uint8Array;
  readonly #digitsAt: number;

  constructor(text: string) {
    this.bytes = new TextEncoder().encode(text);
    this.#digitsAt = text.indexOf("########");
  }

  copyTo(out: Uint8Array, at: number, keyNumber: number): void {
    out.set(this.bytes, at);
    let rest = keyNumber;
    for (let digit = at + this.#digitsAt + 7; digit >= at + this.#digitsAt; digit--) {
      const next = Math.floor(rest / 10);
      out[digit] = 48 + rest - next * 10;
      rest = next;
    }
  }
}
