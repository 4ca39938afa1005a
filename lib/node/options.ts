/**
 * What people tell a node that they embed, and what that means to the server.
 *
 * @module
 */

import { formatAddress } from "../client/addresses.ts";
import { descriptorsMax } from "../io/deno_io.ts";
import {
  defaultLimits,
  type Limits,
  type LogLevel,
  type ServerOptions,
  type Timing,
  waitingConnectionsMax,
} from "../server/options.ts";
import { OptionError } from "./errors.ts";
import { placeOf } from "./place.ts";
import { timingFrom, type TimingMode } from "./timing.ts";

/** Descriptors that a node needs for its files, other nodes and the runtime. */
const ownDescriptors = 64;
const clientConnectionsMin = 4;
const secretBytesMin = 16;
const secretBytesMax = 64 << 10;

/** How to run a node. With none of it: a cluster of one on 127.0.0.1, which works at once. */
export interface NodeOptions {
  /** Which node of `cluster` this is, a positive integer. May be left out when `bind` is in the list, or it is alone. */
  nodeId?: number | undefined;
  /**
   * Where the raft port listens, "host:port"; the node's address in `cluster` unless told otherwise, and
   * 127.0.0.1:8080 where there is none. A node that is alone may ask for port 0: then both ports are free ones, and
   * the node says which.
   */
  bind?: string | undefined;
  /**
   * Raft addresses of all nodes, this one included: "host:port" (ids are positions from 1) or "id=host:port", as a list
   * or with commas between. The first start of a cluster needs every node once. Later the log says who belongs to it,
   * and this is only where to find them. None: this node alone.
   */
  cluster?: string | readonly string[] | undefined;
  /** Folder of its files, made when missing; "./data" unless told otherwise. One node at a time has it. */
  dataDir?: string | undefined;
  /** Where clients connect, on the host of `bind`, from 1 to 65535; the raft port plus 1000 unless told otherwise. */
  clientPort?: number | undefined;
  /**
   * Where clients reach the client port, "host:port", if that is elsewhere, behind NAT or in a container; the host of
   * its address in `cluster` with the client port unless told otherwise.
   */
  advertiseClient?: string | undefined;
  /** The pace: a mode, or numbers, which are those of "fast" where they are left out. "fast" unless told otherwise. */
  timing?: TimingMode | Partial<Timing> | undefined;
  /** Bounds, each as in `defaultLimits` unless told otherwise. */
  limits?: Partial<Limits> | undefined;
  /**
   * What the members have in common and strangers do not know, the same on every node: from 16 bytes to 64 KiB, a text
   * stands for its UTF-8. None: whoever reaches the raft port is believed.
   */
  secret?: Uint8Array | string | null | undefined;
  /** The node's journal: a line for people, without a newline. Nothing is printed unless this does it. */
  log?: ((level: LogLevel, message: string) => void) | undefined;
  /** Tells the journal, at level "debug", of every message to and from other nodes. */
  verbose?: boolean | undefined;
  /** Aborted before the node has started: `startNode` rejects with its reason. Later: as `close`. */
  signal?: AbortSignal | undefined;
}

/** What the server is told, but for what only a running node knows. Throws OptionError. */
export function serverOptionsOf(options: NodeOptions): Omit<ServerOptions, "onStop"> {
  const timing = timingFrom(options.timing);
  return {
    ...placeOf(withFreePorts(options)),
    timing,
    limits: { ...limitsFor(timing), ...checkedLimits(options.limits ?? {}) },
    secret: secretOf(options.secret),
    verbose: options.verbose ?? false,
    log: options.log ?? (() => {}),
  };
}

/**
 * Slow clocks need long waits: a request may have to outlast an election. And where the system has few descriptors,
 * clients must leave some: a node that cannot open its files stops.
 */
export function limitsFor(timing: Timing): Limits {
  const requestTimeoutMs = Math.max(defaultLimits.requestTimeoutMs, 3 * timing.electionTimeoutMaxMs);
  return { ...defaultLimits, requestTimeoutMs, clientConnectionsMax: clientConnectionsFor(descriptorsMax()) };
}

/** Connections that wait on either port come on top: while there is room for few, each of the three gets a third. */
function clientConnectionsFor(descriptors: number): number {
  const { clientConnectionsMax } = defaultLimits;
  const left = descriptors - ownDescriptors;
  const waiting = waitingConnectionsMax(defaultLimits);
  const room = left < 3 * waiting ? Math.floor(left / 3) : left - 2 * waiting;
  return Math.min(clientConnectionsMax, Math.max(clientConnectionsMin, room));
}

function checkedLimits(limits: Partial<Limits>): Partial<Limits> {
  for (const [field, value] of Object.entries(limits)) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw new OptionError((name) => `${name(field)} is a positive whole number, not ${value}`);
  }
  return limits;
}

function secretOf(secret: Uint8Array | string | null = null): Uint8Array | null {
  if (secret === null) return null;
  // A text is most often what a file holds, and its last newline is no more a part of it than with `--secret-file`.
  const bytes = typeof secret === "string" ? new TextEncoder().encode(secret.replace(/\n$/, "")) : secret;
  if (bytes.length >= secretBytesMin && bytes.length <= secretBytesMax) return bytes;
  throw new OptionError((name) =>
    `${name("secret")} has ${bytes.length} bytes and must have ${secretBytesMin} to ${secretBytesMax}`
  );
}

/** Port 0 becomes one that is free now, and so does the client port unless it was chosen. */
function withFreePorts(options: NodeOptions): NodeOptions {
  const [, host, bracketed] = /^(?:([^:[\]]+)|\[([^\]]+)\]):0+$/.exec(options.bind ?? "") ?? [];
  const hostname = host ?? bracketed;
  if (hostname === undefined) return options;
  if (options.cluster !== undefined) {
    throw new OptionError((name) =>
      `${name("bind")} has port 0, any free one, which the other nodes of ${name("cluster")} could not know`
    );
  }
  using raft = Deno.listen({ hostname, port: 0 });
  using client = Deno.listen({ hostname, port: 0 });
  return {
    ...options,
    bind: formatAddress({ host: hostname, port: raft.addr.port }),
    clientPort: options.clientPort ?? client.addr.port,
  };
}
