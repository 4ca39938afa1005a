/**
 * One request, as often as it takes: finds the leader, follows it when it moves, and retries what is safe to retry.
 * Writes go with a session and a sequence number, so a retry after a lost reply happens once (thesis 6.3).
 *
 * @module
 */

import { type Attempts, backoffMs, noAttempts, outcomeUnknown, reads, unanswering } from "./attempts.ts";
import type { Connection, ReplyLine } from "./connection.ts";
import { ConnectionLost } from "./connection.ts";
import { sleep, TimedOut, untilAborted, within } from "./deadline.ts";
import { ClientError } from "./errors.ts";
import type { Nodes } from "./nodes.ts";
import { Session } from "./session.ts";
import type { ConnectOptions, OperationOptions } from "./types.ts";

/** How to carry a request out. */
interface Performance {
  isWrite: boolean;
  /** Sending it twice does no harm. */
  isSafe: boolean;
  signal: AbortSignal;
  /** Given the connection of each attempt, the last one of which is that of the answer. */
  hold?: ((connection: Connection) => void) | undefined;
}

/** Sends requests to a cluster. */
export class Requests {
  readonly #nodes: Nodes;
  /** Bound on each operation. */
  readonly timeoutMs: number;
  readonly #useSessions: boolean;
  #session: Session | null = null;
  /** Why the latest attempt at opening that session failed; null: it is open, or nothing has come back yet. */
  #opening: Attempts = noAttempts();
  #closed = false;

  constructor(nodes: Nodes, options: ConnectOptions) {
    this.#nodes = nodes;
    this.timeoutMs = options.timeoutMs ?? 10_000;
    this.#useSessions = options.sessions ?? true;
  }

  /** Starts no attempt any more. */
  close(): void {
    this.#closed = true;
  }

  /** Resolves with the reply line. A write gets a session unless it brings its own or none are to be used. */
  request(fields: Readonly<Record<string, unknown>>, options: OperationOptions = {}): Promise<ReplyLine> {
    const isWrite = !reads.has(String(fields.op));
    const isOnce = isWrite && this.#useSessions && fields.session === undefined;
    return this.#inTime(options.signal, async (signal) => {
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

  /**
   * The reply lines of a list, page after page. Cursors belong to the node that gave them, so all are asked of one;
   * when it is lost nobody knows the next page: ClientError `cursorExpired`.
   */
  async *pages(
    fields: Readonly<Record<string, unknown>>,
    options: OperationOptions,
  ): AsyncGenerator<ReplyLine, void, void> {
    let held: { connection: Connection; release(): void } | null = null;
    const hold = (connection: Connection): void => {
      held?.release();
      held = { connection, release: connection.hold() };
    };
    try {
      let page = await this.#inTime(
        options.signal,
        (signal) => this.#perform({ ...fields, op: "list" }, { isWrite: false, isSafe: true, signal, hold }),
      );
      for (;;) {
        yield page;
        if (typeof page.next !== "string") return;
        page = await this.#nextPage(held!, page.next, options.signal);
      }
    } finally {
      (held as { release(): void } | null)?.release();
    }
  }

  async #nextPage(
    { connection }: { connection: Connection },
    cursor: string,
    signal: AbortSignal | undefined,
  ): Promise<ReplyLine> {
    try {
      const reply = await this.#inTime(
        signal,
        (limit) => untilAborted(connection.request({ op: "list", cursor }), limit),
      );
      if (reply.ok) return reply;
      const { code, message, definite } = reply.error!;
      throw new ClientError(code, message, { definite, details: reply.error! });
    } catch (error) {
      if (!(error instanceof ConnectionLost) && !(error instanceof TimedOut)) throw error;
      if (this.#closed) throw new ClientError("closed", "the client was closed", { definite: true });
      const message = `the list cannot go on, because its node is gone: ${error.message}. Begin it again`;
      throw new ClientError("cursorExpired", message, { definite: true, cause: error });
    }
  }

  #inTime<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return within(this.timeoutMs, `no answer within ${this.timeoutMs} ms`, signal, work);
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
    const name = this.#inTime(undefined, async (signal) => {
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
    { isWrite, isSafe, signal, hold }: Performance,
    attempts: Attempts = noAttempts(),
  ): Promise<ReplyLine> {
    try {
      for (let count = 0;; count++) {
        attempts.waitMs = count === 0 ? 0 : backoffMs(count);
        const reply = await this.#attempt(fields, attempts, { signal, hold });
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
    { signal, hold }: Pick<Performance, "signal" | "hold">,
  ): Promise<ReplyLine | null> {
    if (this.#closed) throw new ClientError("closed", "the client was closed", { definite: true });
    let connection: Connection | null = null;
    try {
      connection = await this.#nodes.connected(signal);
      hold?.(connection);
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
    const why = `no answer within ${this.timeoutMs} ms${last === null ? "" : `; last: ${last.message}`}`;
    if (uncertain && isWrite) return outcomeUnknown(why, last);
    // a session that nobody commits was asked of a leader without a majority, which is none
    const code = last?.code === "outcomeUnknown" ? "noLeader" : last?.code ?? "unreachable";
    return new ClientError(code, why, { definite: true, cause: last ?? undefined });
  }
}
