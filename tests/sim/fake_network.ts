/**
 * TCP between simulated hosts: latency per direction, bytes in order in arbitrary pieces, windows that fill up,
 * resets, half-open connections, refused and unanswered attempts, and cuts of single directions. As TCP does, it
 * never loses or changes bytes in the middle of a stream: what a cut holds back arrives after it, or never.
 *
 * @module
 */

import type { Connection, Listener, Network } from "../../lib/io/io.ts";
import { Endpoint } from "./fake_connection.ts";
import type { Random } from "./random.ts";
import type { Life, Scheduler } from "./scheduler.ts";

/** How a network behaves when nothing in particular is wrong. */
export interface NetworkFaults {
  /** One-way latency: at least this ... */
  latencyMsMin: number;
  /** ... and on average this much more, exponentially distributed. */
  latencyMsMean: number;
  /** The part of packets that take much longer ... */
  tailChance: number;
  /** ... by up to this. */
  tailMsMax: number;
  /** The part of packets that arrive in pieces. */
  splitChance: number;
  /** What a connection holds between the two ends; more stays with the sender. */
  windowBytes: number;
}

/** A listening port. */
export interface Port {
  life: Life;
  onConnection: (connection: Connection) => void;
}

/** An attempt to connect is given up after this time. */
const connectTimeoutMs = 3000;

/** All hosts and what lies between them. */
export class FakeNetwork {
  readonly ports: Map<string, Port> = new Map();
  readonly endpoints: Set<Endpoint> = new Set();
  /** Called with all that a process hands to a connection. */
  onSend: (from: Endpoint, bytes: Uint8Array) => void = () => {};
  /** Called with all that a process is about to read. */
  onReceive: (by: Endpoint, bytes: Uint8Array) => void = () => {};
  #cuts = new Map<string, number>();
  #downHosts = new Set<string>();
  #slowHosts = new Map<string, number>();
  /** What waits for a cut to heal or a host to come up. */
  #stalled: (() => void)[] = [];

  /** Now and then a packet takes far longer, and all behind it with it, if that is among the faults. */
  mayStall = true;

  constructor(readonly scheduler: Scheduler, readonly random: Random, readonly faults: NetworkFaults) {}

  /** The network as one process on `host` sees it. */
  of(host: string, life: Life): Network {
    return {
      listen: (address, onConnection): Listener => {
        const bound = this.ports.get(address);
        if (bound?.life.alive) throw new Error(`cannot listen on ${address}: address in use`);
        const port = { life, onConnection };
        this.ports.set(address, port);
        return { close: () => void (this.ports.get(address) === port && this.ports.delete(address)) };
      },
      connect: (address): Connection => this.#connect(host, life, address),
    };
  }

  /** Whether packets get from one host to the other. */
  reaches(from: string, to: string): boolean {
    return !this.#downHosts.has(to) && !this.#cuts.has(`${from}>${to}`);
  }

  /** Runs `retry` some time after the way may have become free. */
  whenChanged(retry: () => void): void {
    this.#stalled.push(retry);
  }

  /** Cuts one direction. Cuts are counted: each needs its own `heal`. */
  cut(from: string, to: string): void {
    const link = `${from}>${to}`;
    this.#cuts.set(link, (this.#cuts.get(link) ?? 0) + 1);
  }

  /** Takes one cut back. */
  heal(from: string, to: string): void {
    const link = `${from}>${to}`;
    const left = (this.#cuts.get(link) ?? 0) - 1;
    if (left > 0) this.#cuts.set(link, left);
    else this.#cuts.delete(link);
    this.#retryStalled();
  }

  /** Resets some of the connections between two hosts; each end finds out, or only one of them. */
  reset(a: string, b: string): number {
    const ends = [...this.endpoints].filter((end) => end.host === a && end.remoteHost === b && end.isOpen);
    if (ends.length === 0) return 0;
    const broken = this.random.shuffled(ends).slice(0, 1 + this.random.below(ends.length));
    for (const end of broken) end.breakOff(this.random.pick(["both", "near", "far"]));
    return broken.length;
  }

  /** Makes everything to and from a host this much slower; 1 ends it. */
  slow(host: string, factor: number): void {
    if (factor === 1) this.#slowHosts.delete(host);
    else this.#slowHosts.set(host, factor);
  }

  /**
   * A process ended. When its whole host lost power, the other ends hear nothing until they send something to
   * the host after it has come back; otherwise the operating system closes its connections.
   */
  onCrash(host: string, life: Life, options: { power: boolean }): void {
    for (const [address, port] of this.ports) if (port.life === life) this.ports.delete(address);
    if (options.power) this.#downHosts.add(host);
    for (const end of [...this.endpoints]) if (end.life === life) end.onCrash(options);
  }

  /** A host has power again. */
  onBoot(host: string): void {
    this.#downHosts.delete(host);
    this.#retryStalled();
  }

  /** How long the next packet takes. */
  latency(from: string, to: string): number {
    const { latencyMsMin, latencyMsMean, tailChance, tailMsMax } = this.faults;
    // Of two slow hosts the slower one decides, and what hangs does not hang longer: all of it multiplied, a packet would
    // still be on its way long after both are well.
    const slowness = Math.max(this.#slowHosts.get(from) ?? 1, this.#slowHosts.get(to) ?? 1);
    const ms = (latencyMsMin + this.random.exponential(latencyMsMean)) * slowness;
    const hangs = this.random.chance(tailChance) && this.mayStall;
    return ms + (hangs ? this.random.between(0, tailMsMax) : 0);
  }

  #connect(host: string, life: Life, address: string): Connection {
    const near = new Endpoint(this, { life, host, remoteHost: hostOf(address), remote: address });
    const timeout = this.scheduler.schedule(
      connectTimeoutMs,
      life,
      "connect timeout",
      () => near.giveUp(`no answer from ${address} within ${connectTimeoutMs} ms`),
    );
    near.onConnected = () => this.scheduler.cancel(timeout);
    const knock = (): void => {
      if (!this.reaches(host, near.remoteHost)) return this.whenChanged(knock);
      near.onKnock(this.ports.get(address));
    };
    this.scheduler.schedule(this.latency(host, near.remoteHost), null, `connect ${host}>${address}`, knock);
    return near;
  }

  #retryStalled(): void {
    const stalled = this.#stalled;
    this.#stalled = [];
    for (const retry of stalled) {
      // A sender that heard nothing backs off; it tries again some time after the way is free.
      this.scheduler.schedule(this.random.exponential(20), null, "retransmit", retry);
    }
  }
}

function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(":"));
}
