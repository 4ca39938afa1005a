/**
 * Client ports over real sockets and the real state machine, without Raft: a test says which node leads and spoils
 * chosen answers. What the client must endure, lost replies above all, happens here exactly when it should.
 *
 * @module
 */

import { TextLineStream } from "@std/streams/text-line-stream";
import type { Command } from "../../lib/kv/command.ts";
import type { ListOptions } from "../../lib/kv/list.ts";
import { Store } from "../../lib/kv/store.ts";
import {
  cursorExpired,
  type ErrorCode,
  errorReply,
  notLeader,
  refusedByStore,
} from "../../lib/protocol/errors.ts";

/** A request as it came, `op` and all. */
export type Request = { op: string; id: number; [field: string]: unknown };

/** What happens to a request instead of an honest answer. */
export type Fault =
  | "dropBefore" // the connection ends, nothing was done
  | "dropAfter" // the request is carried out, the connection ends without a reply
  | "silence" // nothing, ever
  | { error: ErrorCode; details?: Record<string, unknown> }; // this error, nothing was done

/** A cluster for tests. */
export class FaultyCluster {
  readonly store = new Store();
  /** Requests in the order of their arrival, greetings left out. */
  readonly requests: { node: number; request: Request }[] = [];
  /** Index of the last entry that the store has. */
  index = 0;
  /** Position of the leader in `nodes`, or null. */
  leader: number | null = 0;
  readonly nodes: FaultyNode[];
  #faults: ((node: number, request: Request) => Fault | null) | null = null;

  constructor(count = 1) {
    this.nodes = Array.from({ length: count }, (_, position) => new FaultyNode(this, position));
  }

  /** Raft addresses of the nodes, which nobody listens on. */
  get cluster(): string[] {
    return this.nodes.map((node) => `127.0.0.1:${node.port - 1000}`);
  }

  /** The function chooses the fault of each request from now on. */
  spoil(choose: (node: number, request: Request) => Fault | null): void {
    this.#faults = choose;
  }

  /** The next request of that operation meets the fault. */
  spoilNext(op: string, fault: Fault): void {
    this.spoil((_, request) => {
      if (request.op !== op) return null;
      this.#faults = null;
      return fault;
    });
  }

  /** The reply line, or how the connection goes on without one. */
  answer(node: number, request: Request): string | "drop" | "silence" {
    const isGreeting = request.op === "members";
    if (!isGreeting) this.requests.push({ node, request });
    const fault = this.#faults?.(node, request) ?? null;
    if (fault === "dropBefore") return "drop";
    if (fault === "silence") return "silence";
    if (typeof fault === "object" && fault !== null) {
      return errorReply(request.id, { code: fault.error, message: "spoiled", details: fault.details ?? {} });
    }
    const line = this.#carryOut(node, request);
    return fault === "dropAfter" ? "drop" : line;
  }

  async close(): Promise<void> {
    for (const node of this.nodes) await node.close();
  }

  /** A cursor is all that is asked for, and belongs to its node. */
  #list(node: number, { id, op: _, ...fields }: Request, ok: (rest: object) => string): string {
    const options = fields.cursor === undefined
      ? { ...fields as unknown as ListOptions, node }
      : JSON.parse(fields.cursor as string) as Cursor;
    if (options.node !== node) return errorReply(id, cursorExpired("it is of another node"));
    const { entries, next } = this.store.list(options);
    if (next !== null) options[options.reverse ? "end" : "start"] = next;
    return ok({ entries, next: next === null ? null : JSON.stringify(options), index: this.index });
  }

  #carryOut(node: number, request: Request): string {
    const { op, id, ...fields } = request;
    const ok = (rest: object): string => JSON.stringify({ ok: true, id, ...rest }) + "\n";
    switch (op) {
      case "members":
        return ok({ members: this.nodes.map(({ port }, i) => memberOf(i, port)) });
      case "ping":
        return ok({});
      case "get": {
        const found = this.store.get(fields.key as string);
        return ok({ found: found !== undefined, ...found, index: this.index });
      }
      case "list":
        return this.#list(node, request, ok);
    }
    if (node !== this.leader) {
      const port = this.leader === null ? null : this.nodes[this.leader]!.port;
      const leader = port === null ? null : { id: this.leader! + 1, address: `127.0.0.1:${port}` };
      return errorReply(id, notLeader(leader));
    }
    const result = this.store.apply({ op, ...fields } as Command, ++this.index);
    return result.ok ? ok(result) : errorReply(id, refusedByStore(result));
  }
}

interface Cursor extends ListOptions {
  node: number;
}

function memberOf(position: number, port: number): object {
  return { id: position + 1, raft: `127.0.0.1:${port - 1000}`, client: `127.0.0.1:${port}` };
}

/** One listening port. */
class FaultyNode {
  readonly port: number;
  readonly #cluster: FaultyCluster;
  readonly #position: number;
  readonly #listener: Deno.TcpListener;
  readonly #connections = new Set<Deno.TcpConn>();
  readonly #accepting: Promise<void>;
  #closed = false;

  constructor(cluster: FaultyCluster, position: number) {
    this.#cluster = cluster;
    this.#position = position;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.#listener.addr.port;
    this.#accepting = this.#accept();
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Stops as a killed process does. Once is enough, twice does no harm. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.close();
    for (const conn of [...this.#connections]) this.#drop(conn);
    await this.#accepting;
  }

  async #accept(): Promise<void> {
    const serving: Promise<void>[] = [];
    for await (const conn of this.#listener) {
      this.#connections.add(conn);
      serving.push(this.#serve(conn));
    }
    await Promise.all(serving);
  }

  async #serve(conn: Deno.TcpConn): Promise<void> {
    try {
      const lines = conn.readable.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
      for await (const line of lines) {
        const answer = this.#cluster.answer(this.#position, JSON.parse(line));
        if (answer === "drop") return this.#drop(conn);
        if (answer !== "silence") await conn.write(new TextEncoder().encode(answer));
      }
      this.#drop(conn);
    } catch (error) {
      if (this.#connections.has(conn)) throw error; // otherwise it was dropped on purpose
    }
  }

  #drop(conn: Deno.TcpConn): void {
    if (!this.#connections.delete(conn)) return;
    try {
      conn.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error; // its stream had closed it
    }
  }
}
