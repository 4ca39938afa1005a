/**
 * The clients' side of a node: their connections, what waits for the cluster, and what is kept for them. The server
 * tells it what happens to the log; it answers.
 *
 * @module
 */

import type { Io } from "../io/io.ts";
import type { Result } from "../kv/command.ts";
import type { Message } from "../raft/messages.ts";
import type { Raft } from "../raft/raft.ts";
import type { Entry, NodeId, Ready, Write } from "../raft/types.ts";
import { ClientConnections } from "./client_connections.ts";
import { Expiry } from "./expiry.ts";
import { Freshness } from "./freshness.ts";
import { FrozenStates } from "./frozen_states.ts";
import { Listings } from "./listings.ts";
import type { ServerOptions } from "./options.ts";
import { PendingRequests } from "./pending_requests.ts";
import { answerRequest, type RequestContext } from "./requests.ts";
import type { StateMachine } from "./state_machine.ts";
import type { StatusReply } from "./status.ts";
import { WriteTraces } from "./trace.ts";
import { Watches } from "./watches.ts";

/** The parts of a node that clients have to do with. */
export interface ClientsNode {
  readonly raft: Raft;
  readonly machine: StateMachine;
  nodes(): { id: NodeId; address: string }[];
  clientAddressOf(id: NodeId): string | null;
  /** The disk has no room: no new writes. */
  isDiskFull(): boolean;
  /** The disk is as far behind as it may be, or the node is stopping: no new writes. */
  isOverloaded(): boolean;
  status(clients: { connections: number; watches: number }): StatusReply;
  /** There is something to do. */
  onWork(): void;
}

/** All that a node does for its clients. */
export class Clients {
  readonly connections: ClientConnections;
  readonly #nodeId: NodeId;
  readonly #clock: Io["clock"];
  readonly #node: ClientsNode;
  readonly #pending: PendingRequests;
  readonly #freshness: Freshness;
  readonly #states = new FrozenStates();
  readonly #watches: Watches;
  readonly #traces = new WriteTraces();
  readonly #expiry: Expiry;

  constructor(options: ServerOptions, { clock, random }: Pick<Io, "clock" | "random">, node: ClientsNode) {
    const { limits, timing } = options;
    this.#nodeId = options.nodeId;
    this.#clock = clock;
    this.#node = node;
    this.#pending = new PendingRequests(limits.requestTimeoutMs);
    this.#freshness = new Freshness(node.raft, this.#pending, timing.heartbeatIntervalMs);
    this.#watches = new Watches(node.machine, this.#states, limits.watchesMax);
    this.#expiry = new Expiry(node.raft, node.machine, clock);
    const context: RequestContext = {
      raft: node.raft,
      machine: node.machine,
      pending: this.#pending,
      listings: new Listings(this.#states, random),
      watches: this.#watches,
      traces: this.#traces,
      expiry: this.#expiry,
      clock,
      now: () => this.connections.now,
      nodes: () => node.nodes(),
      clientAddressOf: (id) => node.clientAddressOf(id),
      ageMs: () => this.#freshness.ageMs(clock.now()),
      isDiskFull: () => node.isDiskFull(),
      isOverloaded: () => node.isOverloaded() || this.#pending.isBehind(node.raft.currentTerm),
      status: () => node.status({ connections: this.connections.size, watches: this.#watches.size }),
    };
    this.connections = new ClientConnections({ clock, limits, delayMs: timing.clientDelayMs }, {
      onRequest: (request, answer, caller) => {
        answerRequest(request, answer, { context, caller });
        node.onWork();
      },
      onWork: () => node.onWork(),
      onGone: (caller) => this.#watches.drop(caller),
    });
  }

  /** Requests that wait for the cluster. */
  get waiting(): number {
    return this.#pending.size;
  }

  /** States that are kept for lists and watches. */
  get frozenStates(): number {
    return this.#states.size;
  }

  /** Time passes. */
  onTick(now: number): void {
    this.#pending.expire(now);
    this.connections.onTick(now);
    this.#states.onTick(now, this.#node.machine);
    this.#watches.onTick(now);
    const { isOverloaded, isDiskFull } = this.#node;
    this.#expiry.onTick(!isOverloaded() && !isDiskFull());
  }

  /** A leader sees to it that its stale reads are fresh. */
  keepFresh(now: number): void {
    this.#freshness.onTick(now);
  }

  /** A round of work begins. */
  askReads(): void {
    this.#pending.askReads((attempt) => this.#node.raft.read(attempt));
  }

  /** The core wants this done; `committed` is about to be applied. */
  onReady({ write, committed, reads }: Ready): void {
    if (write !== null) this.#traces.mark(write.entries, "handed");
    for (const { id, readIndex } of reads) this.#pending.onReadResult(id, readIndex);
    this.#traces.mark(committed, "committed");
  }

  /** The disk was given these. */
  onWritten(writes: readonly Write[]): void {
    for (const { entries } of writes) this.#traces.mark(entries, "written");
  }

  /** A message came, from this node itself or another one. */
  onMessage(message: Message): void {
    if (message.type === "appendEntriesResponse" && message.success) {
      this.#traces.acknowledged(message.from === this.#nodeId ? null : message.from, message.matchIndex);
    } else if (message.type === "appendEntries" && message.prevLogIndex > 0) {
      this.#freshness.onAppendEntries(message, this.#clock.now());
    }
  }

  /** An entry was applied. */
  onApplied(entry: Entry, result: Result | null): void {
    this.#pending.onApplied(entry, result);
  }

  /** The state is that at `index` from now on, without the entries between having been applied. */
  onInstalled(index: number): void {
    this.#pending.onInstalled(index);
  }

  /** A round of work ends: everything that can be said is. True: there is more for another round. */
  flush(): boolean {
    this.#freshness.onApplied(this.#node.machine.appliedIndex);
    this.connections.flush();
    return this.#watches.size > 0 && this.#watches.flush(this.#clock.now());
  }
}
