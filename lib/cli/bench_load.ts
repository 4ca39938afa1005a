/**
 * One connection of the load generator: it keeps so many requests in flight, or makes so many a second, and times each.
 * It shares the machine with what it measures, so it does as little as it can: request bytes are made once and only their
 * key is overwritten, replies are found by their newline and judged by one byte, and a turn ends in one write.
 *
 * @module
 */

import { parseAddress } from "../client/addresses.ts";
import { Histogram } from "./histogram.ts";

/** What the load is made of. */
export interface Load {
  workload: "put" | "get" | "mixed";
  valueBytes: number;
  /** Keys are drawn from so many, evenly. */
  keys: number;
  /** Requests in flight on each connection. */
  pipeline: number;
  /**
   * Open loop: a request of a connection falls due so often, whether or not answers come. It counts from then, so what
   * has to wait for room in the pipeline, or for a new connection, counts as waiting. Null, closed loop: a request
   * follows each answer.
   */
  intervalMs: number | null;
  /** Times on the clock of performance.now(): requests made from here ... */
  measureFrom: number;
  /** ... and answered up to here count; in an open loop those answered later, too. No request is made afterwards. */
  until: number;
}

/** What all connections found together. */
export interface Tally {
  /** Latencies of successful operations within the measured time, in microseconds. */
  latencies: Histogram;
  /** How many were answered in each second of the measured time. */
  perSecond: number[];
  /** Requests of an open loop that fell due and were not sent before the time was up. */
  unsent: number;
  /** Failed operations, the warm-up included. */
  errors: number;
  /** The first error's message, for people. */
  firstError: string | null;
}

/** Nothing found yet, in a load of so many measured seconds. */
export function newTally(seconds: number): Tally {
  const perSecond = new Array<number>(Math.ceil(seconds)).fill(0);
  return { latencies: new Histogram(), perSecond, unsent: 0, errors: 0, firstError: null };
}

const newline = 10;
const letterT = 0x74; // {"ok":true ... against {"ok":false ...
const okAt = 6;
/** A timer is late by up to so much, which is no fault of the node. */
const timerMs = 2;

/** Drives one connection until the time is up, it is lost, or a reply is an error; then all it owes is read first. */
export class LoadConnection {
  readonly #load: Load;
  readonly #tally: Tally;
  readonly #put: Template;
  readonly #get: Template;
  /** Room for what is being written and, behind it, as much again. */
  readonly #out: Uint8Array;
  #outLength = 0;
  #isFlushing = false;
  #in = new Uint8Array(64 << 10);
  #inLength = 0;
  /** Start times of requests in flight, a ring: replies come in the order of the requests. */
  readonly #startedAt: Float64Array;
  #made = 0;
  #answered = 0;
  #failed = false;
  /** Open loop: when the next request falls due. It does not wait for a lost connection. */
  #dueAt: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(load: Load, tally: Tally) {
    this.#load = load;
    this.#tally = tally;
    this.#put = new Template(`{"op":"put","key":"key########","value":"${"x".repeat(load.valueBytes)}"}\n`);
    this.#get = new Template(`{"op":"get","key":"key########"}\n`);
    const lineBytes = Math.max(this.#put.bytes.length, this.#get.bytes.length);
    this.#out = new Uint8Array(2 * load.pipeline * lineBytes);
    this.#startedAt = new Float64Array(load.pipeline);
    this.#dueAt = performance.now() + Math.random() * (load.intervalMs ?? 0); // connections take turns
  }

  /** Requests that fell due before the time was up and were not sent. */
  get unsent(): number {
    const { intervalMs, until } = this.#load;
    return intervalMs === null ? 0 : Math.max(0, Math.ceil((until - this.#dueAt) / intervalMs));
  }

  /** Runs against one node. */
  async run(conn: Deno.TcpConn): Promise<void> {
    this.#made =
      this.#answered =
      this.#inLength =
      this.#outLength =
        0;
    this.#failed = false;
    try {
      for (let now = performance.now();;) {
        this.#fill(now);
        await this.#flush(conn);
        if (this.#answered === this.#made) {
          if (now >= this.#load.until || this.#failed) break;
          const waitMs = Math.min(this.#dueAt, this.#load.until) - performance.now();
          await new Promise((resolve) => setTimeout(resolve, Math.max(0, waitMs)));
          now = performance.now();
          continue;
        }
        this.#pace(conn);
        if (this.#inLength === this.#in.length) this.#grow();
        const length = await conn.read(this.#in.subarray(this.#inLength));
        if (length === null) throw new Error("the node closed the connection");
        now = performance.now();
        this.#take(length, now);
      }
    } catch (error) {
      this.#tally.errors += this.#made - this.#answered;
      this.#note(error);
    } finally {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
  }

  /** Makes requests until the pipeline is full or none is due. After an error none: first all that is owed is read. */
  #fill(now: number): void {
    if (now >= this.#load.until || this.#failed) return;
    const { workload, keys, pipeline, intervalMs } = this.#load;
    while (this.#made - this.#answered < pipeline) {
      if (intervalMs !== null && this.#dueAt > now) return;
      const isPut = workload === "put" || (workload === "mixed" && (this.#made & 1) === 0);
      const template = isPut ? this.#put : this.#get;
      template.copyTo(this.#out, this.#outLength, Math.floor(Math.random() * keys));
      this.#outLength += template.bytes.length;
      const hasWaited = intervalMs !== null && now - this.#dueAt > timerMs;
      this.#startedAt[this.#made++ % pipeline] = hasWaited ? this.#dueAt : now;
      this.#dueAt += intervalMs ?? 0;
    }
  }

  /** Open loop: sends what falls due while answers are awaited. */
  #pace(conn: Deno.TcpConn): void {
    const { intervalMs, pipeline } = this.#load;
    const isFull = this.#made - this.#answered === pipeline; // then the next answer goes on
    if (intervalMs === null || this.#timer !== undefined || isFull) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const now = performance.now();
      this.#fill(now);
      this.#flush(conn).catch((error) => this.#note(error)); // whoever reads sees the end of the connection
      if (now < this.#load.until && !this.#failed) this.#pace(conn);
    }, Math.max(0, this.#dueAt - performance.now()));
  }

  /** Writes all that was made, also what is made meanwhile. */
  async #flush(conn: Deno.TcpConn): Promise<void> {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    try {
      while (this.#outLength > 0) {
        const written = await conn.write(this.#out.subarray(0, this.#outLength));
        this.#out.copyWithin(0, written, this.#outLength);
        this.#outLength -= written;
      }
    } finally {
      this.#isFlushing = false;
    }
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
  }

  #count(from: number, end: number, now: number): void {
    const { pipeline, intervalMs, measureFrom, until } = this.#load;
    const { latencies, perSecond } = this.#tally;
    const startedAt = this.#startedAt[this.#answered++ % pipeline]!;
    if (this.#in[from + okAt] === letterT) {
      if (startedAt < measureFrom) return;
      const isInTime = now <= until;
      if (isInTime) perSecond[Math.min(Math.floor((now - measureFrom) / 1000), perSecond.length - 1)]!++;
      if (isInTime || intervalMs !== null) latencies.record((now - startedAt) * 1000);
      return;
    }
    this.#failed = true;
    this.#tally.errors++;
    this.#tally.firstError ??= new TextDecoder().decode(this.#in.subarray(from, end));
  }

  #note(error: unknown): void {
    this.#tally.firstError ??= error instanceof Error ? error.message : String(error);
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
