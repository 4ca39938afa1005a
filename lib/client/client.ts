/**
 * The client library: finds the leader, follows it when it moves, and retries what is safe to retry. Writes go with a
 * session and a sequence number, so a retry after a lost reply happens once (thesis 6.3).
 *
 * @module
 */

import type { Connection, ReplyLine } from "./connection.ts";
import { ConnectionLost } from "./connection.ts";
import { sleep, TimedOut, untilAborted, within } from "./deadline.ts";
import { ClientError } from "./errors.ts";
import { type MemberAddresses, Nodes } from "./nodes.ts";
import { Session } from "./session.ts";
import type {
  ConnectOptions,
  Deleted,
  DeleteOptions,
  Found,
  GetOptions,
  ListedEntry,
  ListOptions,
  NodeStatus,
  OperationOptions,
  PutOptions,
  Written,
} from "./types.ts";

/** Operations that change nothing: sending one twice is harmless. All others count as writes. */
const reads: ReadonlySet<string> = new Set(["get", "list", "session", "status", "members", "ping", "help"]);
const pageEntries = 1000;
const backoffMsMax = 100;

/** What the attempts at one operation came to so far. */
interface Attempts {
  /** A request left and no answer came: it may have been carried out, or yet be. */
  uncertain: boolean;
  /** Why the latest attempt failed. */
  last: ClientError | null;
  /** How long to wait before the next one. */
  waitMs: number;
}

/**
 * Connects to a cluster. `cluster` is a list, or a text with commas, of "host:port" addresses of some of its nodes:
 * raft or client ports alike. Throws ClientError `unreachable` when none of them answers now, TypeError for what is
 * not an address.
 *
 * @example
 * ```ts no-assert
 * import { connect } from "@kvapp/kvapp";
 *
 * async function countVisit(): Promise<void> {
 *   await using client = await connect("127.0.0.1:8080,127.0.0.1:8081,127.0.0.1:8082");
 *   await client.put("greeting", "hello");
 *   const found = await client.get("greeting");
 *   console.log(found?.value, found?.version);
 * }
 * ```
 */
export async function connect(
  cluster: string | readonly string[],
  options: ConnectOptions = {},
): Promise<Client> {
  const addresses = typeof cluster === "string" ? cluster.split(",") : cluster;
  const nodes = new Nodes(addresses.map((it) => it.trim()).filter((it) => it !== ""));
  try {
    await nodes.connected(options.signal ?? new AbortController().signal);
  } catch (error) {
    await nodes.close();
    throw error;
  }
  return new Client(nodes, options);
}

/**
 * A cluster as its users see it. Many operations may be under way at once, over one connection. Each takes at most
 * `timeoutMs`, retries included, and throws ClientError when it did not succeed; an aborted one throws the signal's
 * reason, and an aborted write may still happen. While a client is open it keeps the process alive.
 */
export class Client {
  readonly #nodes: Nodes;
  readonly #timeoutMs: number;
  readonly #useSessions: boolean;
  #session: Session | null = null;
  /** Why the latest attempt at opening that session failed; null: it is open, or nothing has come back yet. */
  #opening: Attempts = noAttempts();
  #closed = false;

  /** Made by `connect`. */
  constructor(nodes: Nodes, options: ConnectOptions) {
    this.#nodes = nodes;
    this.#timeoutMs = options.timeoutMs ?? 10_000;
    this.#useSessions = options.sessions ?? true;
  }

  /** Client address of the node that the client talks to, or null between two. After a write: the leader. */
  get address(): string | null {
    return this.#nodes.address;
  }

  /** The value of a key, or null when there is none. Linearizable unless `consistency` is "stale". */
  async get(key: string, options: GetOptions = {}): Promise<Found | null> {
    const { signal, ...fields } = options;
    const reply = await this.request({ op: "get", key, ...fields }, { signal });
    if (reply.found !== true) return null;
    const { value, version, index } = reply as unknown as Found;
    return { value, version, index };
  }

  /** Sets a key. A condition that does not hold throws ClientError `conditionFailed`, with `details.version`. */
  async put(key: string, value: string, options: PutOptions = {}): Promise<Written> {
    const { signal, ...fields } = options;
    const { ok: _, ...written } = await this.request({ op: "put", key, value, ...fields }, { signal });
    return written as unknown as Written;
  }

  /** Removes a key and says whether there was one. */
  async delete(key: string, options: DeleteOptions = {}): Promise<Deleted> {
    const { signal, ...fields } = options;
    const { ok: _, ...deleted } = await this.request({ op: "delete", key, ...fields }, { signal });
    return deleted as unknown as Deleted;
  }

  /**
   * The keys of a range with their values, in the order of their UTF-8 bytes, asked for in pages. Each page is
   * linearizable; writes between two pages may show.
   *
   * @example
   * ```ts no-assert
   * import { connect } from "@kvapp/kvapp";
   *
   * async function printUsers(): Promise<void> {
   *   await using client = await connect("127.0.0.1:8080");
   *   for await (const { key, value } of client.list({ prefix: "user/" })) console.log(key, value);
   * }
   * ```
   */
  async *list(options: ListOptions = {}): AsyncGenerator<ListedEntry, void, void> {
    const { signal, limit = Infinity, ...range } = options;
    let left = limit;
    while (left > 0) {
      const reply = await this.request({ op: "list", ...range, limit: Math.min(left, pageEntries) }, {
        signal,
      });
      const entries = reply.entries as ListedEntry[];
      yield* entries;
      if (typeof reply.next !== "string") return;
      left -= entries.length;
      if (range.reverse) range.end = reply.next;
      else range.start = reply.next;
    }
  }

  /** What the node that the client talks to knows of itself and its cluster. */
  async status(options: OperationOptions = {}): Promise<NodeStatus> {
    const { ok: _, ...status } = await this.request({ op: "status" }, options);
    return status as unknown as NodeStatus;
  }

  /** All nodes of the cluster. */
  async members(options: OperationOptions = {}): Promise<MemberAddresses[]> {
    return (await this.request({ op: "members" }, options)).members as MemberAddresses[];
  }

  /** Resolves when the node that the client talks to has answered. */
  async ping(options: OperationOptions = {}): Promise<void> {
    await this.request({ op: "ping" }, options);
  }

  /**
   * Any operation of the client protocol, as the fields of its request line without `id`; resolves with the reply line.
   * A write gets a session unless it brings its own or the client was told to use none.
   */
  request(fields: Readonly<Record<string, unknown>>, options: OperationOptions = {}): Promise<ReplyLine> {
    const isWrite = !reads.has(String(fields.op));
    const isOnce = isWrite && this.#useSessions && fields.session === undefined;
    return this.#inTime(options.signal ?? neverAborted, async (signal) => {
      if (!isOnce) {
        const isSafe = !isWrite || fields.session !== undefined;
        return await this.#perform(fields, { isWrite, isSafe, signal });
      }
      try {
        return await this.#writeOnce(fields, signal);
      } catch (error) { // its time was up before it had its session and number
        throw error instanceof TimedOut ? this.#timedOut(this.#opening, false) : error;
      }
    });
  }

  /** Closes the connection. What is under way ends with ClientError `closed`. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#nodes.close();
  }

  /** As close, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #inTime<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return within(this.#timeoutMs, `no answer within ${this.#timeoutMs} ms`, signal, work);
  }

  /** Sends a write under a session; an expired session is replaced if the write has certainly not happened. */
  async #writeOnce(fields: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<ReplyLine> {
    for (;;) {
      const session = this.#session ??= this.#openSession();
      const seq = await session.next(signal);
      try {
        const name = await untilAborted(session.name, signal);
        const write = { ...fields, session: name, seq };
        return await this.#perform(write, { isWrite: true, isSafe: true, signal });
      } catch (error) {
        if (!(error instanceof ClientError) || error.code !== "sessionExpired") throw error;
        if (this.#session === session) this.#session = null;
      } finally {
        session.end(seq);
      }
    }
  }

  #openSession(): Session {
    const attempts = this.#opening = noAttempts();
    const name = this.#inTime(neverAborted, async (signal) => {
      const options = { isWrite: false, isSafe: true, signal };
      const reply = await this.#perform({ op: "session" }, options, attempts);
      attempts.last = null;
      return reply.session as string;
    });
    const session = new Session(name);
    name.catch(() => { // whoever waits for the name is told why; the next write tries again
      if (this.#session === session) this.#session = null;
    });
    return session;
  }

  async #perform(
    fields: Readonly<Record<string, unknown>>,
    { isWrite, isSafe, signal }: { isWrite: boolean; isSafe: boolean; signal: AbortSignal },
    attempts: Attempts = noAttempts(),
  ): Promise<ReplyLine> {
    try {
      for (let count = 0;; count++) {
        attempts.waitMs = count === 0 ? 0 : backoffMs(count);
        const reply = await this.#attempt(fields, attempts, signal);
        if (reply !== null) return reply;
        if (attempts.uncertain && !isSafe) throw outcomeUnknown(attempts.last!.message, attempts.last);
        await sleep(attempts.waitMs, signal);
      }
    } catch (error) {
      if (error instanceof TimedOut) throw this.#timedOut(attempts, isWrite);
      const mayHaveHappened = isWrite && attempts.uncertain && error instanceof ClientError;
      if (mayHaveHappened && unanswering.has(error.code)) throw outcomeUnknown(error.message, error);
      throw error;
    }
  }

  /** Sends the request once. Null: it may be tried again. Throws what another attempt would not change. */
  async #attempt(
    fields: Readonly<Record<string, unknown>>,
    attempts: Attempts,
    signal: AbortSignal,
  ): Promise<ReplyLine | null> {
    if (this.#closed) throw new ClientError("closed", "the client was closed", { definite: true });
    let connection: Connection | null = null;
    try {
      connection = await this.#nodes.connected(signal);
      const reply = await untilAborted(connection.request(fields), signal);
      if (reply.ok) return reply;
      this.#onError(reply, connection, attempts);
    } catch (error) {
      if (error instanceof ConnectionLost) {
        if (connection !== null) this.#nodes.leave(connection);
        attempts.uncertain ||= error.sent;
        attempts.last = new ClientError("unreachable", error.message, {
          definite: !error.sent,
          cause: error,
        });
      } else if (error instanceof ClientError && error.code === "unreachable") {
        attempts.last = error;
        attempts.waitMs = Math.max(attempts.waitMs, backoffMs(1));
      } else {
        if (connection !== null && signal.aborted) attempts.uncertain = true;
        throw error;
      }
    }
    return null;
  }

  /** Notes what an error reply means for the next attempt, or throws it. */
  #onError(reply: ReplyLine, connection: Connection, attempts: Attempts): void {
    const details = reply.error!;
    const { code, message, definite } = details;
    const error = new ClientError(code, message, { definite, details });
    attempts.last = error;
    switch (code) {
      case "notLeader": {
        const leader = details.leader as { address: string | null } | null | undefined;
        this.#nodes.leave(connection, leader?.address ?? undefined);
        return;
      }
      case "noLeader":
        this.#nodes.leave(connection);
        attempts.waitMs = Math.max(attempts.waitMs, backoffMs(1));
        return;
      case "busy":
      case "diskFull":
        attempts.waitMs = Math.max(attempts.waitMs, Number(details.retryAfterMs ?? 0), backoffMs(1));
        return;
      case "outcomeUnknown":
        attempts.uncertain = true;
        return;
      default:
        throw error;
    }
  }

  #timedOut({ uncertain, last }: Attempts, isWrite: boolean): ClientError {
    const why = `no answer within ${this.#timeoutMs} ms${last === null ? "" : `; last: ${last.message}`}`;
    if (uncertain && isWrite) return outcomeUnknown(why, last);
    // a session that nobody commits was asked of a leader without a majority, which is none
    const code = last?.code === "outcomeUnknown" ? "noLeader" : last?.code ?? "unreachable";
    return new ClientError(code, why, { definite: true, cause: last ?? undefined });
  }
}

/** Errors that tell nothing of attempts before the one that they answer. */
const unanswering: ReadonlySet<string> = new Set(["closed", "sessionExpired", "seqTooOld"]);
const neverAborted = new AbortController().signal;

function outcomeUnknown(why: string, cause: unknown): ClientError {
  const message = `the write may or may not have happened: ${why}`;
  return new ClientError("outcomeUnknown", message, { definite: false, cause });
}

function noAttempts(): Attempts {
  return { uncertain: false, last: null, waitMs: 0 };
}

/** Grows with the number of attempts and is random, so that clients do not come back together. */
function backoffMs(count: number): number {
  return Math.min(backoffMsMax, 10 * 2 ** count) * (0.5 + Math.random() / 2);
}
