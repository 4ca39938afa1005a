/**
 * Where a node stands in its cluster: from `--cluster`, `--bind`, `--node-id` and `--client-port` to addresses.
 *
 * @module
 */

import { clientPortOffset, formatAddress, parseAddress } from "../client/addresses.ts";
import type { ServerOptions } from "../server/options.ts";
import { UsageError } from "./exit.ts";

/** Where a node listens that was told nothing, and where clients look that were told nothing. */
export const defaultAddress = "127.0.0.1:8080";

/** What the command line says about places. */
export interface PlaceOptions {
  /** "host:port" or "id=host:port", with commas between. */
  cluster?: string | undefined;
  bind?: string | undefined;
  nodeId?: number | undefined;
  clientPort?: number | undefined;
}

/** The part of a node's options that says where it and its peers are. */
type Place = Pick<
  ServerOptions,
  "nodeId" | "bindAddress" | "clientBindAddress" | "clientAddress" | "cluster"
>;

/** Works out ids and addresses. Throws UsageError when something is missing, doubled or impossible. */
export function placeOf(options: PlaceOptions): Place {
  const bind = options.bind === undefined ? undefined : checkedAddress("--bind", options.bind);
  const cluster = options.cluster === undefined
    ? [{ id: options.nodeId ?? 1, address: bind ?? defaultAddress }]
    : parseCluster(options.cluster);
  const own = ownNode(cluster, options.nodeId, bind);
  const bindAddress = bind ?? own.address;
  const { host, port } = parseAddress(bindAddress);
  const clientPort = options.clientPort ?? port + clientPortOffset;
  if (clientPort > 65535) {
    throw new UsageError(
      `the client port would be ${clientPort}, the raft port plus ${clientPortOffset}, and ports end at 65535: ` +
        `choose a raft port up to ${65535 - clientPortOffset}, or give --client-port`,
    );
  }
  if (clientPort === port) throw new UsageError(`--client-port ${port} is the raft port: they must differ`);
  return {
    nodeId: own.id,
    bindAddress,
    clientBindAddress: formatAddress({ host, port: clientPort }),
    clientAddress: formatAddress({ host: parseAddress(own.address).host, port: clientPort }),
    cluster,
  };
}

/** Reads the value of `--cluster`, sorted by id: ids as given or, when none is, positions from 1. */
export function parseCluster(text: string): { id: number; address: string }[] {
  const items = text.split(",").map((item) => item.trim()).filter((item) => item !== "");
  if (items.length === 0) throw new UsageError(`--cluster lists host:port addresses with commas between`);
  const withIds = items.filter((item) => item.includes("=")).length;
  if (withIds > 0 && withIds < items.length) {
    throw new UsageError("--cluster: give every node an id, as in 1=host:port, or none of them");
  }
  const nodes = items.map((item, position) => {
    const parts = /^(?:([^=]*)=)?(.*)$/s.exec(item)!;
    const id = parts[1] === undefined ? position + 1 : Number(parts[1]);
    if (!Number.isSafeInteger(id) || id < 1 || (parts[1] !== undefined && !/^\d+$/.test(parts[1]))) {
      throw new UsageError(`--cluster: "${item}" has no positive whole number as its id`);
    }
    return { id, address: checkedAddress("--cluster", parts[2]!) };
  });
  for (const [position, { id, address }] of nodes.entries()) {
    const before = nodes.slice(0, position);
    if (before.some((other) => other.id === id)) throw new UsageError(`--cluster has the id ${id} twice`);
    if (before.some((other) => other.address === address)) {
      throw new UsageError(`--cluster has ${address} twice`);
    }
  }
  return nodes.sort((a, b) => a.id - b.id);
}

/** The addresses in the value of a client's `--cluster`; ids are allowed and ignored. */
export function parseClientCluster(text: string | undefined): string[] {
  return parseCluster(text ?? defaultAddress).map((node) => node.address);
}

function ownNode(
  cluster: { id: number; address: string }[],
  nodeId: number | undefined,
  bind: string | undefined,
): { id: number; address: string } {
  const ids = cluster.map((node) => node.id).join(", ");
  if (nodeId !== undefined) {
    const own = cluster.find((node) => node.id === nodeId);
    if (own === undefined) {
      throw new UsageError(`--node-id ${nodeId} is not in --cluster, whose ids are ${ids}`);
    }
    return own;
  }
  if (bind === undefined) {
    if (cluster.length === 1) return cluster[0]!;
    throw new UsageError(`give --node-id: --cluster has the ids ${ids}, and one of them is this node's`);
  }
  const own = cluster.find((node) => node.address === bind);
  if (own !== undefined) return own;
  throw new UsageError(
    `--bind ${bind} is not in --cluster: give --node-id to say which node this is, of ${ids}`,
  );
}

/** The address in its usual form. */
function checkedAddress(option: string, text: string): string {
  try {
    const { host, port } = parseAddress(text);
    return formatAddress({ host: host.toLowerCase(), port });
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(`${option}: ${error.message}`);
    throw error;
  }
}
