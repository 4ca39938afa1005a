/**
 * A TCP proxy that does to connections what networks do: it cuts them at a chosen moment of a request's life, in good
 * order or by reset, delays what passes, or swallows one direction or both while the connection seems to stand.
 *
 * @module
 */

// Deno's own connections cannot send a reset; those of node:net can.
import { connect, createServer, type Server, type Socket } from "node:net";

/** The moments in a request's life at which its connection can be cut, in their order. */
export const moments = [
  "beforeRequest", // the node never hears of it
  "inRequest", // the node gets the first half of the line
  "afterRequest", // the node gets it, and its connection ends before it can have answered
  "beforeReply", // the node has answered; the client gets no byte of it
  "inReply", // the client gets the first half of the line
  "afterReply", // the client gets all of it
] as const;

/** A moment in the life of a request. */
export type Moment = typeof moments[number];

/** When and how a connection is cut: its ends are told in good order, or by a reset. */
export interface Cut {
  moment: Moment;
  reset: boolean;
}

/** Which way bytes go. */
export type Direction = "toNode" | "toClient";

const newline = "\n".charCodeAt(0);

/** Listens on a port of its own and passes everything on to a target, which answers each line with one line. */
export class TcpProxy {
  /** Chooses the fate of the connection of each request line, as it comes; null: none. */
  onRequest: (line: string) => Cut | null = () => null;
  /** What goes these ways is lost, and nobody is told: one makes a one-way connection, both a half-open one. */
  readonly swallows: Set<Direction> = new Set();
  /** Everything is so much later. */
  delayMs = 0;
  /** Cuts so far. */
  readonly cuts: Record<Moment, number>;
  readonly #server: Server;
  readonly #target: { host: string; port: number };
  readonly #links = new Set<Link>();

  private constructor(server: Server, target: string) {
    this.#server = server;
    const [host, port] = target.split(":");
    this.#target = { host: host!, port: Number(port) };
    this.cuts = Object.fromEntries(moments.map((moment) => [moment, 0])) as Record<Moment, number>;
    server.on("connection", (client) => this.#accept(client));
  }

  /** Starts a proxy before `target`, "host:port", which need not be there yet. */
  static async open(target: string): Promise<TcpProxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    const proxy = new TcpProxy(server, target);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  /** Where it listens, "host:port". */
  get address(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy does not listen");
    return `${address.address}:${address.port}`;
  }

  /** Cuts all connections. */
  cutAll(reset: boolean): void {
    for (const link of this.#links) link.end(reset);
  }

  /** Cuts all connections and listens no more. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cutAll(true);
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #accept(client: Socket): void {
    const node = connect({ ...this.#target, allowHalfOpen: true, noDelay: true });
    const link: Link = new Link(client, node, {
      fateOf: (line) => this.onRequest(line),
      swallows: (direction) => this.swallows.has(direction),
      delayMs: () => this.delayMs,
      onCut: (moment) => this.cuts[moment]++,
      onEnd: () => this.#links.delete(link),
    });
    this.#links.add(link);
  }
}

interface LinkOwner {
  fateOf(line: string): Cut | null;
  swallows(direction: Direction): boolean;
  delayMs(): number;
  onCut(moment: Moment): void;
  onEnd(): void;
}

/** A client's connection and the one to the node that goes with it. */
class Link {
  readonly #client: Socket;
  readonly #node: Socket;
  readonly #owner: LinkOwner;
  /** The fates of the requests that were passed on and have no reply yet; the target answers in order. */
  readonly #fates: (Cut | null)[] = [];
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  /** Nothing is passed on any more: the last bytes leave, then both ends are told. */
  #isEnding = false;

  constructor(client: Socket, node: Socket, owner: LinkOwner) {
    this.#client = client;
    this.#node = node;
    this.#owner = owner;
    this.#read(client, "toNode", (line) => this.#onRequest(line));
    this.#read(node, "toClient", (line) => this.#onReply(line));
  }

  /** Ends both connections now. */
  end(reset: boolean): void {
    this.#isEnding = true;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const socket of [this.#client, this.#node]) {
      if (reset) socket.resetAndDestroy();
      else socket.destroy();
    }
    this.#owner.onEnd();
  }

  /** Hands each whole line of `socket` to `onLine`; its end and its loss are passed on. */
  #read(socket: Socket, direction: Direction, onLine: (line: Uint8Array) => void): void {
    let partial: Uint8Array = new Uint8Array();
    const pass = (act: () => void): void => {
      if (!this.#isEnding && !this.#owner.swallows(direction)) act();
    };
    socket.on("data", (bytes: Uint8Array) =>
      this.#later(() =>
        pass(() => {
          partial = concat(partial, bytes);
          for (let end = partial.indexOf(newline); end >= 0; end = partial.indexOf(newline)) {
            const line = partial.slice(0, end + 1);
            partial = partial.slice(end + 1);
            onLine(line);
            if (this.#isEnding) return;
          }
        })
      ));
    const other = socket === this.#client ? this.#node : this.#client;
    socket.on("end", () => this.#later(() => pass(() => other.end(partial))));
    socket.on("error", () => pass(() => this.end(true))); // a reset, or nobody listens: the other end is told
    socket.on("close", () => {
      if (this.#client.destroyed && this.#node.destroyed) this.#owner.onEnd();
    });
  }

  /** Timers of one length keep their order. */
  #later(act: () => void): void {
    const delayMs = this.#owner.delayMs();
    if (delayMs === 0) return act();
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, delayMs);
    this.#timers.add(timer);
  }

  #onRequest(line: Uint8Array): void {
    const cut = this.#owner.fateOf(new TextDecoder().decode(line));
    switch (cut?.moment) {
      case "beforeRequest":
        return this.#cut(cut);
      case "inRequest":
        return this.#cut(cut, this.#node, line.subarray(0, line.length >> 1));
      case "afterRequest":
        return this.#cut(cut, this.#node, line);
    }
    this.#fates.push(cut);
    this.#node.write(line);
  }

  #onReply(line: Uint8Array): void {
    const cut = this.#fates.shift() ?? null;
    switch (cut?.moment) {
      case "beforeReply":
        return this.#cut(cut);
      case "inReply":
        return this.#cut(cut, this.#client, line.subarray(0, line.length >> 1));
      case "afterReply":
        return this.#cut(cut, this.#client, line);
    }
    this.#client.write(line);
  }

  /** Ends both connections once `last`, if any, has left. */
  #cut({ moment, reset }: Cut, to?: Socket, last?: Uint8Array): void {
    this.#isEnding = true;
    this.#owner.onCut(moment);
    if (to === undefined || last === undefined) this.end(reset);
    else to.write(last, () => this.end(reset));
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b;
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
