/**
 * Clients that read and write a few keys without a pause and record what they were told. Each request is sent once: no
 * retry hides anything. Writes go to the node that was last named as the leader, linearizable reads to any.
 *
 * @module
 */

import { Connection, ConnectionLost, type ReplyLine } from "../client/connection.ts";
import { TimedOut, untilAborted, within } from "../client/deadline.ts";
import type { Operation } from "../verify/operation.ts";
import type { Random } from "./random.ts";

/** What the load is made of. */
export interface ClientsOptions {
  /** Client addresses of the nodes. */
  addresses: readonly string[];
  clients: number;
  /** So many keys at a time. Others take their place before the history of one gets too long to be checked. */
  keys: number;
  /** What their names begin with. */
  prefix: string;
  random: Random;
}

/** Operations on each key, about, before another one takes its place. */
const operationsPerKey = 100;
/** Operations of unknown outcome on each key, about: they make the check costly. */
const unknownPerKey = 4;
/** The outcome of what takes longer is unknown. */
const timeoutMs = 700;
/** After an attempt that found nobody. */
const pauseMs = 20;
/** Values are so far apart that sums are told from each other. */
const valueStep = 1_000_000;
const readersAtTheEnd = 16;

/** What is asked for: the request, and what it is in the history. */
interface Plan {
  op: "get" | "put" | "cas" | "delete" | "increment";
  key: string;
  from: string | null;
  to: string;
}

/** The clients and what they have recorded. */
export class Clients {
  readonly history: Operation[] = [];
  /** Writes that were acknowledged, operations whose outcome nobody knows, and requests that certainly had no effect. */
  readonly counts = { acknowledgedWrites: 0, unknown: 0, refused: 0 };
  /** All keys that were used, those in use last. */
  readonly keys: string[] = [];
  longestSilenceMs = 0;
  readonly #options: ClientsOptions;
  readonly #startedAt = performance.now();
  /** Values as they were last seen, for conditions that hold now and then. */
  readonly #seen = new Map<string, string | null>();
  #leader: string;
  /** Nodes that did not answer the last request that ended, and how many requests each node owes an answer. */
  readonly #silent = new Set<string>();
  readonly #owed = new Map<string, number>();
  #acknowledgedAt = 0;
  #lastValue = 0;
  /** Operations on the present keys. */
  #used = 0;
  #unknown = 0;

  constructor(options: ClientsOptions) {
    this.#options = options;
    this.#leader = options.addresses[0]!;
    this.#rotate();
  }

  /** Milliseconds since these clients were made: the clock of the history. */
  get now(): number {
    return performance.now() - this.#startedAt;
  }

  /** Reads and writes until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    this.#acknowledgedAt = this.now;
    const all = Array.from({ length: this.#options.clients }, (_, i) => this.#client(i + 1, signal));
    await Promise.all(all);
    this.#endSilence();
  }

  /** Reads every key once more with `read`, which may take several attempts: what was acknowledged is still there. */
  async readAll(read: (key: string) => Promise<ReplyLine>): Promise<void> {
    const left = [...this.keys];
    const readers = Array.from({ length: readersAtTheEnd }, async (_, i) => {
      for (let key = left.pop(); key !== undefined; key = left.pop()) {
        const call = this.now;
        const reply = await read(key);
        this.#record({ op: "get", key, from: null, to: "" }, { client: `end${i + 1}`, call, reply });
      }
    });
    await Promise.all(readers);
  }

  async #client(number: number, signal: AbortSignal): Promise<void> {
    const random = this.#options.random.fork(`${number}`);
    await using connections = new Connections();
    for (let life = 0; !signal.aborted;) {
      const plan = this.#plan(random);
      const isRead = plan.op === "get";
      const address = isRead ? this.#reader(random) : this.#leader;
      const client = life === 0 ? `c${number}` : `c${number}.${life}`;
      const call = this.now;
      const reply = await this.#ask(connections, address, plan);
      if (typeof reply === "object" && this.#take(plan, { client, call, reply })) continue;
      const isUnknown = reply === "unknown" ||
        (typeof reply === "object" && reply.error?.definite === false);
      if (isUnknown && !isRead) {
        this.#record(plan, { client, call, reply: null });
        life++; // whoever does not know what became of its write begins anew
      } else this.counts.refused++;
      if (!isRead) this.#leaveLeader(address, reply, random);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  /** Where to read: anywhere, but only one client at a time waits for a node that is silent. */
  #reader(random: Random): string {
    const { addresses } = this.#options;
    const free = addresses.filter((it) => !this.#silent.has(it) || (this.#owed.get(it) ?? 0) === 0);
    return random.pick(free.length === 0 ? addresses : free);
  }

  async #ask(
    connections: Connections,
    address: string,
    plan: Plan,
  ): Promise<ReplyLine | "unsent" | "unknown"> {
    const count = (by: number): unknown => this.#owed.set(address, (this.#owed.get(address) ?? 0) + by);
    count(1);
    const reply = await connections.request(address, requestOf(plan)).finally(() => count(-1));
    if (typeof reply === "object") this.#silent.delete(address);
    else this.#silent.add(address);
    return reply;
  }

  /** Records an answer, if it is one. */
  #take(plan: Plan, { client, call, reply }: { client: string; call: number; reply: ReplyLine }): boolean {
    const { code, message } = reply.error ?? {};
    if (code === "notInteger" || code === "badRequest" || code === "unknownOperation") {
      throw new Error(`a node does not understand ${JSON.stringify(requestOf(plan))}: ${message}`);
    }
    if (!reply.ok && code !== "conditionFailed") return false;
    this.#record(plan, { client, call, reply });
    if (plan.op !== "get" && reply.ok) {
      this.counts.acknowledgedWrites++;
      this.#endSilence();
    }
    return true;
  }

  #record(
    plan: Plan,
    { client, call, reply }: { client: string; call: number; reply: ReplyLine | null },
  ): void {
    const end = reply === null ? null : this.now;
    const index = typeof reply?.index === "number" ? { index: reply.index } : {};
    const operation = operationOf(plan, reply, { client, key: plan.key, call, return: end, ...index });
    this.history.push(operation);
    if (reply === null) {
      this.counts.unknown++;
      this.#unknown++;
    } else this.#see(operation);
    const { keys } = this.#options;
    if (++this.#used >= keys * operationsPerKey || this.#unknown >= keys * unknownPerKey) this.#rotate();
  }

  #see(operation: Operation): void {
    const { key } = operation;
    if (operation.op === "get" || operation.op === "put") this.#seen.set(key, operation.value);
    else if (operation.op === "delete") this.#seen.set(key, null);
    else if (operation.op === "increment") this.#seen.set(key, operation.sum!);
    else if (operation.op === "cas" && operation.succeeded) this.#seen.set(key, operation.to);
  }

  #plan(random: Random): Plan {
    const op = random.weighted({ get: 40, put: 25, cas: 20, increment: 10, delete: 5 });
    const key = this.keys[this.keys.length - 1 - random.below(this.#options.keys)]!;
    const to = op === "put" || op === "cas" ? String(++this.#lastValue * valueStep) : "";
    return { op, key, from: this.#seen.get(key) ?? null, to };
  }

  #rotate(): void {
    this.#used = this.#unknown = 0;
    this.#seen.clear();
    const { keys, prefix } = this.#options;
    for (let i = 0; i < keys; i++) this.keys.push(`${prefix}${this.keys.length}`);
  }

  /** Unless somebody else has found another one meanwhile. */
  #leaveLeader(address: string, reply: ReplyLine | "unsent" | "unknown", random: Random): void {
    const { leader = null } = (typeof reply === "object" ? reply.error : {}) as {
      leader?: { address: string | null } | null;
    };
    if (this.#leader === address) {
      this.#leader = leader?.address ?? random.pick(this.#options.addresses);
    }
  }

  #endSilence(): void {
    const { now } = this;
    this.longestSilenceMs = Math.max(this.longestSilenceMs, now - this.#acknowledgedAt);
    this.#acknowledgedAt = now;
  }
}

/** The connections of one client, which sends one request at a time: one to each node. */
class Connections {
  readonly #open = new Map<string, Connection>();

  /** The reply; "unsent": the node certainly got nothing; "unknown": who knows. */
  async request(
    address: string,
    fields: Readonly<Record<string, unknown>>,
  ): Promise<ReplyLine | "unsent" | "unknown"> {
    let isSent = false;
    try {
      return await within(timeoutMs, "no answer", undefined, async (limit) => {
        let connection = this.#open.get(address);
        if (!connection?.isOpen) {
          connection = await Connection.open(address, limit);
          this.#open.set(address, connection);
        }
        isSent = true;
        return await untilAborted(connection.request(fields), limit);
      });
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const isLost = error instanceof ConnectionLost || error instanceof TimedOut || !isSent;
      if (!isLost) throw error;
      await this.#open.get(address)?.close(); // a late answer would be taken for that of the next request
      this.#open.delete(address);
      return isSent && !(error instanceof ConnectionLost && !error.sent) ? "unknown" : "unsent";
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#open.values()) await connection.close();
  }
}

function requestOf({ op, key, from, to }: Plan): Readonly<Record<string, unknown>> {
  switch (op) {
    case "put":
      return { op, key, value: to };
    case "cas":
      return { op: "put", key, value: to, ...(from === null ? { ifVersion: 0 } : { ifValue: from }) };
    case "increment":
      return { op, key, by: "1" };
    default:
      return { op, key };
  }
}

type Span = Pick<Operation, "client" | "key" | "call" | "return" | "index">;

/** What it was and what was told; `reply` is null when nothing was. */
function operationOf({ op, from, to }: Plan, reply: ReplyLine | null, span: Span): Operation {
  switch (op) {
    case "get": {
      const isThere = reply?.found === true;
      const version = isThere ? { version: reply.version as number } : {};
      return { ...span, op, value: isThere ? reply.value as string : null, ...version };
    }
    case "put":
      return { ...span, op, value: to };
    case "cas":
      return { ...span, op, from, to, ...(reply === null ? {} : { succeeded: reply.ok }) };
    case "delete":
      return { ...span, op, ...(reply === null ? {} : { deleted: reply.deleted as boolean }) };
    case "increment":
      return { ...span, op, by: "1", ...(reply === null ? {} : { sum: reply.value as string }) };
  }
}
