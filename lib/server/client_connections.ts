/**
 * The client port: all its connections, and that none of them has what belongs to others. Their bytes are bounded, and
 * in each turn of the event loop their work is, so that timers, other nodes and small clients get theirs.
 *
 * @module
 */

import type { Clock, Connection } from "../io/io.ts";
import { busy, errorReply } from "../protocol/errors.ts";
import type { Caller, OnRequest } from "./caller.ts";
import { Client } from "./client_connection.ts";
import { type Limits, waitingConnectionsMax } from "./options.ts";
import { Turns } from "./turns.ts";

/** What is done with a connection's requests. */
export interface ClientConnectionsOwner {
  onRequest: OnRequest;
  /** There are replies to flush, or there is room again for lines beside them. */
  onWork(): void;
  /** A connection is gone. */
  onGone(caller: Caller): void;
}

const encoder = new TextEncoder();

/** How often is looked whether somebody waits too long: there may be thousands. */
const lookMs = 1000;

/** Clients together may hold so many times what they should: each of those that read gets one reply at a time then. */
const overfull = 2;

/** All client connections. */
export class ClientConnections {
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly #delayMs: number;
  readonly #owner: ClientConnectionsOwner;
  readonly #clients = new Set<Client>();
  /** Clients whose next reply is there; sent together at the end of a round of work. */
  #answered = new Set<Client>();
  /** Bytes of unfinished lines and of replies that have not left, or may come to be, of all clients. */
  #bytes = 0;
  /** Of those, what they were sent and have not read. */
  #unread = 0;
  readonly #turns: Turns;
  #nextLookAt = 0;
  /** Connections over the limit that are not closed yet. */
  #refused = 0;

  constructor(
    { clock, limits, delayMs }: { clock: Clock; limits: Limits; delayMs: number },
    owner: ClientConnectionsOwner,
  ) {
    this.#clock = clock;
    this.#limits = limits;
    this.#delayMs = delayMs;
    this.#turns = new Turns(clock);
    this.#owner = owner;
  }

  /** How many clients are connected. */
  get size(): number {
    return this.#clients.size;
  }

  /** The time when somebody last began or ended a part of his work, or later. */
  get now(): number {
    return this.#turns.now;
  }

  /** A client has connected. */
  accept(connection: Connection): void {
    if (this.#clients.size >= this.#limits.clientConnectionsMax) return this.#refuse(connection);
    this.#turns.now = this.#clock.now();
    const client: Client = new Client(connection, this.#limits, {
      onRequest: this.#owner.onRequest,
      onAnswered: () => {
        this.#answered.add(client);
        this.#owner.onWork();
      },
      onRoom: () => this.#owner.onWork(),
      onGone: () => {
        this.#clients.delete(client);
        this.#owner.onGone(client);
      },
      onBuffered: (bytes, unread) => {
        this.#bytes += bytes;
        this.#unread += unread;
      },
      isCrowded: () => this.#bytes > this.#limits.clientBytesMax,
      isPacked: () => this.#bytes > overfull * this.#limits.clientBytesMax,
      isOverfull: () => this.#unread > overfull * this.#limits.clientBytesMax,
      onDeferred: () => this.#answered.add(client), // the next round of work looks again
      now: () => this.#turns.now,
      turns: this.#turns,
      send: (bytes) => this.#delayed(() => connection.send(bytes)),
      close: () => this.#delayed(() => connection.close()),
    });
    this.#clients.add(client);
  }

  /** One connection too many is told so, unless so many are being told that they would crowd the node in turn. */
  #refuse(connection: Connection): void {
    if (this.#refused >= waitingConnectionsMax(this.#limits)) return connection.destroy();
    this.#refused++;
    connection.onClose = () => this.#refused--;
    const error = busy(`this node has ${this.#clients.size} client connections, as many as it takes`, 1000);
    connection.send(encoder.encode(errorReply(undefined, error)));
    connection.close();
  }

  /** Sends all replies that are there, one piece for each client. */
  flush(): void {
    if (this.#answered.size === 0) return;
    const answered = this.#answered;
    this.#answered = new Set();
    for (const client of answered) client.flush();
  }

  /** Time passes. */
  onTick(now: number): void {
    this.#turns.begin();
    if (this.#bytes > this.#limits.clientBytesMax) { // who does not read must not keep others from being served
      for (const client of this.#clients) if (client.isDeaf(now)) client.destroy();
    }
    if (now < this.#nextLookAt) return;
    this.#nextLookAt = now + lookMs;
    for (const client of this.#clients) client.onTick(now);
  }

  /** Sends what is there and ends all connections. */
  close(): void {
    this.#turns.end();
    this.flush();
    for (const client of this.#clients) client.close();
  }

  /** Ends all connections now. */
  destroy(): void {
    for (const client of this.#clients) client.destroy();
  }

  /** Equal delays keep their order. */
  #delayed(act: () => void): void {
    if (this.#delayMs === 0) act();
    else this.#clock.after(this.#delayMs, act);
  }
}
