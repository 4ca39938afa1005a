/**
 * Where a node stands in its cluster: from `cluster`, `bind`, `nodeId` and the client's port to addresses.
 *
 * @module
 */

import { clientPortOffset, formatAddress, parseAddress } from "../client/addresses.ts";
import type { ServerOptions } from "../server/options.ts";
import { OptionError } from "./errors.ts";

/** Where a node listens that was told nothing, and where clients look that were told nothing. */
export const defaultAddress = "127.0.0.1:8080";

/** What a node is told about places. */
export interface PlaceOptions {
  /** "host:port" or "id=host:port", as a list or with commas between. */
  cluster?: string | readonly string[] | undefined;
  bind?: string | undefined;
  nodeId?: number | undefined;
  clientPort?: number | undefined;
  advertiseClient?: string | undefined;
}

/** The part of a node's options that says where it and its peers are. */
export type Place = Pick<
  ServerOptions,
  "nodeId" | "bindAddress" | "clientBindAddress" | "clientAddress" | "cluster"
>;

/** Works out ids and addresses. Throws OptionError when something is missing, doubled or impossible. */
export function placeOf(options: PlaceOptions): Place {
  const { nodeId, advertiseClient: advertised } = options;
  if (nodeId !== undefined && !(Number.isSafeInteger(nodeId) && nodeId > 0)) {
    throw new OptionError((name) => `${name("nodeId")} is a positive whole number, not ${nodeId}`);
  }
  const bind = options.bind === undefined ? undefined : checkedAddress("bind", options.bind);
  const cluster = options.cluster === undefined
    ? [{ id: nodeId ?? 1, address: bind ?? defaultAddress }]
    : parseCluster(options.cluster);
  const own = ownNode(cluster, nodeId, bind);
  const bindAddress = bind ?? own.address;
  const { host } = parseAddress(bindAddress);
  const clientPort = clientPortOf(bindAddress, options.clientPort);
  return {
    nodeId: own.id,
    bindAddress,
    clientBindAddress: formatAddress({ host, port: clientPort }),
    clientAddress: advertised === undefined
      ? formatAddress({ host: parseAddress(own.address).host, port: clientPort })
      : checkedAddress("advertiseClient", advertised),
    cluster,
  };
}

/** Reads the members of a cluster, sorted by id: ids as given or, when none is, positions from 1. */
export function parseCluster(cluster: string | readonly string[]): { id: number; address: string }[] {
  const text = typeof cluster === "string" ? cluster : cluster.join(",");
  const items = text.split(",").map((item) => item.trim()).filter((item) => item !== "");
  if (items.length === 0) {
    throw new OptionError((name) => `${name("cluster")} lists host:port addresses with commas between`);
  }
  const withIds = items.filter((item) => item.includes("=")).length;
  if (withIds > 0 && withIds < items.length) {
    throw new OptionError((name) =>
      `${name("cluster")}: give every node an id, as in 1=host:port, or none of them`
    );
  }
  const nodes = items.map((item, position) => {
    const parts = /^(?:([^=]*)=)?(.*)$/s.exec(item)!;
    const id = parts[1] === undefined ? position + 1 : Number(parts[1]);
    if (!Number.isSafeInteger(id) || id < 1 || (parts[1] !== undefined && !/^\d+$/.test(parts[1]))) {
      throw new OptionError((name) => `${name("cluster")}: "${item}" has no positive whole number as its id`);
    }
    return { id, address: checkedAddress("cluster", parts[2]!) };
  });
  for (const [position, { id, address }] of nodes.entries()) {
    const before = nodes.slice(0, position);
    if (before.some((other) => other.id === id)) {
      throw new OptionError((name) => `${name("cluster")} has the id ${id} twice`);
    }
    if (before.some((other) => other.address === address)) {
      throw new OptionError((name) => `${name("cluster")} has ${address} twice`);
    }
  }
  return nodes.sort((a, b) => a.id - b.id);
}

function ownNode(
  cluster: { id: number; address: string }[],
  nodeId: number | undefined,
  bind: string | undefined,
): { id: number; address: string } {
  const ids = cluster.map((node) => node.id).join(", ");
  if (nodeId !== undefined) {
    const own = cluster.find((node) => node.id === nodeId);
    if (own !== undefined) return own;
    throw new OptionError((name) =>
      `${name("nodeId")} ${nodeId} is not in ${name("cluster")}, whose ids are ${ids}`
    );
  }
  if (bind === undefined) {
    if (cluster.length === 1) return cluster[0]!;
    throw new OptionError((name) =>
      `give ${name("nodeId")}: ${name("cluster")} has the ids ${ids}, and one of them is this node's`
    );
  }
  const own = cluster.find((node) => node.address === bind);
  if (own !== undefined) return own;
  throw new OptionError((name) =>
    `${name("bind")} ${bind} is not in ${name("cluster")}: give ${
      name("nodeId")
    } to say which node this is, of ${ids}`
  );
}

function clientPortOf(bindAddress: string, wanted: number | undefined): number {
  const { port } = parseAddress(bindAddress);
  const clientPort = wanted ?? port + clientPortOffset;
  if (wanted !== undefined && !(Number.isInteger(wanted) && wanted >= 1 && wanted <= 65535)) {
    throw new OptionError((name) => `${name("clientPort")} is a port from 1 to 65535, not ${wanted}`);
  }
  if (clientPort > 65535) {
    throw new OptionError((name) =>
      `the client port would be ${clientPort}, the raft port plus ${clientPortOffset}, and ports end at 65535: ` +
      `choose a raft port up to ${65535 - clientPortOffset}, or give ${name("clientPort")}`
    );
  }
  if (clientPort === port) {
    throw new OptionError((name) => `${name("clientPort")} ${port} is the raft port: they must differ`);
  }
  return clientPort;
}

/** The address in its usual form. */
function checkedAddress(option: string, text: string): string {
  try {
    const { host, port } = parseAddress(text);
    return formatAddress({ host: host.toLowerCase(), port });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const { message } = error;
    throw new OptionError((name) => `${name(option)}: ${message}`);
  }
}
