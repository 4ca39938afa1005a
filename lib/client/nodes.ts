/**
 * Which node the client talks to: one connection at a time, to the leader as soon as somebody names it. Addresses come
 * from the caller, who may give raft or client ports, from the cluster's own list of members and from redirects.
 *
 * @module
 */

import { clientAddressesOf } from "./addresses.ts";
import { Connection } from "./connection.ts";
import { untilAborted, within } from "./deadline.ts";
import { ClientError } from "./errors.ts";

/** A node of the cluster with both its addresses, "host:port". */
export interface MemberAddresses {
  /** Positive integer. */
  id: number;
  /** Where other nodes reach it. */
  raft: string;
  /** Where clients reach it; null while nobody has heard from it. */
  client: string | null;
}

/** A frozen node accepts connections and says nothing. */
const helloTimeoutMs = 2500;

/** The addresses of a cluster and the present connection. */
export class Nodes {
  /** Client addresses to try, the most promising first. */
  #addresses: string[];
  #connection: Connection | null = null;
  #opening: Promise<Connection> | null = null;
  /** Left, but still owing replies. */
  readonly #retired = new Set<Connection>();
  readonly #closing = new AbortController();

  /** Takes "host:port" addresses, raft or client. Throws a TypeError for what is none. */
  constructor(cluster: readonly string[]) {
    this.#addresses = [...new Set(cluster.flatMap(clientAddressesOf))];
    if (this.#addresses.length === 0) throw new TypeError("a cluster has at least one address");
  }

  /** The node that is talked to, or null between two. */
  get address(): string | null {
    return this.#connection?.isOpen ? this.#connection.address : null;
  }

  /** Client addresses that may answer, the most promising first. */
  get addresses(): readonly string[] {
    return this.#addresses;
  }

  /** The present connection or a new one, to the first address that answers. Throws ClientError `unreachable`. */
  connected(signal: AbortSignal): Promise<Connection> {
    if (this.#connection?.isOpen) return Promise.resolve(this.#connection);
    this.#opening ??= this.#open().finally(() => this.#opening = null);
    return untilAborted(this.#opening, signal);
  }

  /** That node could not help; `leader` is the address it knows of one that can, if any. */
  leave(connection: Connection, leader?: string): void {
    if (this.#connection !== connection) return; // another request of the same batch already did it
    this.#connection = null;
    this.#addresses = [...this.#addresses.filter((it) => it !== connection.address), connection.address];
    if (leader !== undefined) this.#addresses = [leader, ...this.#addresses.filter((it) => it !== leader)];
    if (!connection.isOpen) return;
    for (const old of this.#retired) if (!old.isOpen) this.#retired.delete(old);
    this.#retired.add(connection);
    connection.retire();
  }

  /** Closes everything; requests without a reply end with ConnectionLost. */
  async close(): Promise<void> {
    this.#closing.abort(new ClientError("closed", "the client was closed", { definite: true }));
    await this.#opening?.catch(() => null); // its callers are told
    await this.#connection?.close();
    for (const connection of this.#retired) await connection.close();
  }

  async #open(): Promise<Connection> {
    this.#closing.signal.throwIfAborted();
    const failures: string[] = [];
    for (const address of [...this.#addresses]) {
      try {
        this.#connection = await this.#greet(address);
        return this.#connection;
      } catch (error) {
        this.#closing.signal.throwIfAborted();
        const why = error instanceof Error ? error.message.replace(/ \(os error \d+\)$/, "") : String(error);
        failures.push(`${address} (${why})`);
        this.#addresses = [...this.#addresses.filter((it) => it !== address), address];
      }
    }
    throw new ClientError("unreachable", `no node of the cluster answers: ${failures.join(", ")}`, {
      definite: true,
    });
  }

  /** Asks for the members: only a client port answers that, and the answer completes the addresses. */
  async #greet(address: string): Promise<Connection> {
    const connection = await Connection.open(address, this.#closing.signal);
    try {
      const reply = await within(
        helloTimeoutMs,
        "connected, but no answer",
        this.#closing.signal,
        (signal) => untilAborted(connection.request({ op: "members" }), signal),
      );
      if (reply.ok) this.#learn(reply.members as MemberAddresses[]);
      return connection;
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  #learn(members: readonly MemberAddresses[]): void {
    const client = members.map((member) => member.client).filter((it) => it !== null);
    const raft = new Set(members.map((member) => member.raft));
    const notRaft = this.#addresses.filter((it) => !raft.has(it) || client.includes(it));
    this.#addresses = [...new Set([...notRaft, ...client])];
  }
}
