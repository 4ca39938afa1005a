/**
 * Addresses as people write them: "host:port", with IPv6 hosts in brackets. A node has two, one for its peers and one
 * for clients, and by convention the second port is the first one plus 1000.
 *
 * @module
 */

/** What is added to a raft port to get the client port of the same node, unless it was told another one. */
export const clientPortOffset = 1000;

/** One end of TCP. */
interface Address {
  /** A name or an IP address; IPv6 without its brackets. */
  host: string;
  /** From 1 to 65535. */
  port: number;
}

/** Reads "host:port" or "[::1]:port". Throws a TypeError that names the text and what was expected. */
export function parseAddress(text: string): Address {
  const parts = /^(?:\[([0-9a-fA-F:.%]+)\]|([^\s:[\]/]+)):(\d+)$/.exec(text);
  if (parts === null) {
    const why = /^[0-9a-fA-F:]*:[0-9a-fA-F:]*:/.test(text)
      ? "an IPv6 host stands in brackets, [::1]:8080"
      : "expected host:port";
    throw new TypeError(`"${text}" is not an address: ${why}`);
  }
  const port = Number(parts[3]);
  if (port < 1 || port > 65535) throw new TypeError(`"${text}" is not an address: a port is from 1 to 65535`);
  return { host: (parts[1] ?? parts[2])!, port };
}

/** The text that parseAddress reads. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * Where the node's client port may be, given one of its addresses: the port + 1000 first, since people mostly have the
 * raft address at hand, then the port itself.
 */
export function clientAddressesOf(text: string): string[] {
  const { host, port } = parseAddress(text);
  const own = formatAddress({ host, port });
  const client = port + clientPortOffset;
  return client > 65535 ? [own] : [formatAddress({ host, port: client }), own];
}
