/**
 * The client library: the operations of a cluster as functions. How a request finds the leader and survives its loss
 * is in requests.ts.
 *
 * @module
 */

import type { ReplyLine } from "./connection.ts";
import { ClientError } from "./errors.ts";
import { type MemberAddresses, Nodes } from "./nodes.ts";
import { Requests } from "./requests.ts";
import type {
  ConnectOptions,
  Deleted,
  DeleteOptions,
  DeleteRangeOptions,
  Found,
  GetOptions,
  Incremented,
  ListedEntry,
  ListOptions,
  NodeStatus,
  OperationOptions,
  PutOptions,
  RangeDeleted,
  Transacted,
  Transaction,
  WatchOptions,
  Written,
} from "./types.ts";
import { Watch } from "./watch.ts";

const pageEntries = 1000;

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
  readonly #requests: Requests;
  readonly #closing = new AbortController();

  /** Made by `connect`. */
  constructor(nodes: Nodes, options: ConnectOptions) {
    this.#nodes = nodes;
    this.#requests = new Requests(nodes, options);
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
    const { ok: _ok, found: _found, ageMs: _ageMs, ...found } = reply;
    return found as unknown as Found;
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
   * Adds `by`, a whole number of any sign, to a key's value and gives the sum, without loss of precision. No such key
   * counts as 0. A value that is no decimal integer throws ClientError `notInteger`, a sum of more than 1,000 digits
   * `tooLarge`.
   */
  async increment(
    key: string,
    by: bigint | number = 1,
    options: OperationOptions = {},
  ): Promise<Incremented> {
    const { value, version, index } = await this.request({ op: "increment", key, by: String(by) }, options);
    return { value: BigInt(value as string), version, index } as Incremented;
  }

  /**
   * Removes all keys of a range, and says how many there were; `prefix: ""` means all. At most 10,000 go at once: of
   * more, others may see a part gone, and keys that others add meanwhile may go too.
   */
  async deleteRange(options: DeleteRangeOptions): Promise<RangeDeleted> {
    const { signal, ...range } = options;
    let deleted = 0;
    for (;;) {
      const reply = await this.request({ op: "deleteRange", ...range }, { signal }).catch((error) => {
        throw deleted > 0 && error instanceof ClientError ? partlyDone(error, deleted) : error;
      });
      deleted += reply.deleted as number;
      if (reply.more !== true) return { deleted, index: reply.index as number };
    }
  }

  /**
   * Carries out `then` when all of `if` holds, and `else` otherwise: at one moment, all of it or, when an operation of
   * it throws, nothing.
   *
   * @example
   * ```ts no-assert
   * import { connect } from "@kvapp/kvapp";
   *
   * async function pay(from: string, to: string, version: number): Promise<boolean> {
   *   await using client = await connect("127.0.0.1:8080");
   *   const { succeeded } = await client.txn({
   *     if: [{ key: from, version }],
   *     then: [{ op: "increment", key: from, by: "-10" }, { op: "increment", key: to, by: "10" }],
   *   });
   *   return succeeded;
   * }
   * ```
   */
  async txn(transaction: Transaction, options: OperationOptions = {}): Promise<Transacted> {
    const request = { op: "txn", if: [], else: [], ...transaction };
    const { ok: _, ...transacted } = await this.request(request, options);
    return transacted as unknown as Transacted;
  }

  /**
   * The keys of a range with their values, in the order of their UTF-8 bytes: all of one moment, however many. They are
   * asked for in pages, from one node; when that is lost meanwhile, the caller takes minutes, or dozens of others list at
   * the same time, the loop ends with ClientError `cursorExpired`, and the list must be begun again.
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
    const { limit = Infinity } = options;
    let left = limit;
    for await (const { entries } of this.listPages({ ...options, limit: Math.min(limit, pageEntries) })) {
      const wanted = (entries as ListedEntry[]).slice(0, left);
      yield* wanted;
      left -= wanted.length;
      if (left <= 0) return;
    }
  }

  /** As `list`, but the reply lines, each of at most `limit` keys. Any field of the operation may be given. */
  async *listPages(
    { signal, ...fields }: OperationOptions & Readonly<Record<string, unknown>>,
  ): AsyncGenerator<ReplyLine, void, void> {
    yield* this.#requests.pages(fields, { signal });
  }

  /**
   * Tells what becomes of keys from now on, or since an index: every change once and in order, also when nodes fail
   * meanwhile. Nothing happens until the watch is opened or iterated.
   *
   * @example
   * ```ts no-assert
   * import { connect } from "@kvapp/kvapp";
   *
   * async function followConfiguration(): Promise<void> {
   *   await using client = await connect("127.0.0.1:8080");
   *   const settings = new Map<string, string>();
   *   for await (const event of client.watch({ prefix: "settings/", after: 0 })) {
   *     if (event.type === "reset") settings.clear();
   *     else if (event.type === "put") settings.set(event.key, event.value);
   *     else if (event.type !== "progress") settings.delete(event.key);
   *   }
   * }
   * ```
   */
  watch(options: WatchOptions = {}): Watch {
    const signals = options.signal ? [options.signal, this.#closing.signal] : [this.#closing.signal];
    return new Watch(this.#nodes, options, {
      timeoutMs: this.#requests.timeoutMs,
      signal: AbortSignal.any(signals),
    });
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
    return this.#requests.request(fields, options);
  }

  /** Closes the connection. What is under way ends with ClientError `closed`. */
  async close(): Promise<void> {
    this.#closing.abort(new ClientError("closed", "the client was closed", { definite: true }));
    this.#requests.close();
    await this.#nodes.close();
  }

  /** As close, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** What ended an operation of several parts had no effect; the parts before it had. */
function partlyDone(error: ClientError, deleted: number): ClientError {
  const { code, details } = error;
  const message = `${error.message}; ${deleted} keys were deleted before`;
  return new ClientError(code, message, {
    definite: false,
    details: { ...details, definite: false },
    cause: error,
  });
}
