/**
 * A TCP proxy that does to connections what networks do: what goes one way or both is delayed, held up, lost without a
 * word or spoilt, and connections are cut, in good order or by reset. Who dials can be learnt from the first line, so
 * that each pair of nodes and each direction has conditions of its own.
 *
 * @module
 */

// Deno's own connections cannot send a reset; those of node:net can.
import { connect, createServer, type Server, type Socket } from "node:net";

/** Which way bytes go. */
export type Direction = "toTarget" | "toDialler";

/** What befalls the bytes that go one way. */
export interface Conditions {
  /**
   * "hold": they wait and go on later, as TCP sends again what was dropped. "lose": they are gone and nobody is told;
   * when that ends the connection is reset, because a stream has no holes. "reset": the connection is, at once.
   */
  fate: "pass" | "hold" | "lose" | "reset";
  /** All that comes is so much later. */
  delayMs: number;
  /** The chance that a piece has a bit flipped. */
  corruption: number;
}

/** Nothing befalls them. */
export const clear: Conditions = { fate: "pass", delayMs: 0, corruption: 0 };

/** Sees the bytes that would be passed on, instead. */
export type Filter = (direction: Direction, bytes: Uint8Array) => void;

const newline = "\n".charCodeAt(0);
/** A first line that is longer names nobody. */
const firstLineBytesMax = 64 << 10;
/** So much waits in the proxy; then it reads no more. */
const heldBytesMax = 256 << 10;

/** Listens on a port of its own and passes everything on to a target. */
export class TcpProxy {
  /** Tells the conditions of one way of a connection; after a change call `changed`. */
  conditions: (dialler: number | null, direction: Direction) => Conditions = () => clear;
  /** What is to see the bytes of each new connection; null: nothing. */
  filter: ((link: Link) => Filter) | null = null;
  /** Decides what is spoilt. */
  random: () => number = Math.random;
  readonly #server: Server;
  readonly #links = new Set<Link>();

  private constructor(server: Server, target: string, identify: Identify | null) {
    this.#server = server;
    const [host, port] = target.split(":");
    const owner = { proxy: this, onEnd: (link: Link): unknown => this.#links.delete(link) };
    server.on("connection", (dialler: Socket) => {
      this.#links.add(new Link(dialler, { host: host!, port: Number(port) }, { ...owner, identify }));
    });
  }

  /**
   * Starts a proxy before `target`, "host:port", which need not be there yet. `identify` reads from the first line who
   * dials; until that has come the target hears nothing.
   */
  static async open(
    target: string,
    { port = 0, identify = null }: { port?: number; identify?: Identify | null } = {},
  ): Promise<TcpProxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    const proxy = new TcpProxy(server, target, identify);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
    return proxy;
  }

  /** Where it listens, "host:port". */
  get address(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy does not listen");
    return `${address.address}:${address.port}`;
  }

  /** The conditions are others now. */
  changed(): void {
    for (const link of this.#links) link.changed();
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
}

/** Tells from a first line which node dials; null: none that is known. */
export type Identify = (line: string) => number | null;

interface LinkOwner {
  proxy: TcpProxy;
  identify: Identify | null;
  onEnd(link: Link): void;
}

/** A connection that was accepted and the one to the target that goes with it. */
export class Link {
  /** Who dialled, once that is known. */
  dialler: number | null = null;
  readonly #owner: LinkOwner;
  readonly #sockets: { dialler: Socket; target: Socket };
  readonly #ways: Record<Direction, Way>;
  readonly #filter: Filter | null;
  #isEnding = false;
  /** The way that ended by an error at its beginning. */
  #broken: Direction | null = null;

  /** Made by its proxy. */
  constructor(dialler: Socket, target: { host: string; port: number }, owner: LinkOwner) {
    this.#owner = owner;
    const sockets = { dialler, target: connect({ ...target, allowHalfOpen: true, noDelay: true }) };
    this.#sockets = sockets;
    this.#filter = owner.proxy.filter?.(this) ?? null;
    this.#ways = {
      toTarget: new Way(dialler, sockets.target, this.#wayOwner("toTarget")),
      toDialler: new Way(sockets.target, dialler, this.#wayOwner("toDialler")),
    };
    for (const socket of [dialler, sockets.target]) {
      socket.on("error", () => this.#onError(socket));
      socket.on("close", () => {
        if (dialler.destroyed && sockets.target.destroyed) owner.onEnd(this);
      });
    }
    if (owner.identify === null) { for (const way of Object.values(this.#ways)) way.open(); }
    else this.#waitForFirstLine(owner.identify);
  }

  /** Whether it was ended, by this program or either end. */
  get isEnded(): boolean {
    return this.#isEnding || Object.values(this.#sockets).some((socket) => socket.destroyed);
  }

  /** Passes bytes on that a filter has kept, and calls `done` when they have left. */
  pass(direction: Direction, bytes: Uint8Array, done?: () => void): void {
    this.#ways[direction].write(bytes, done);
  }

  /** Passes these last bytes on, or none, and ends both connections. Nothing that comes is passed on any more. */
  cut(direction: Direction, last: Uint8Array, reset: boolean): void {
    this.#isEnding = true;
    if (last.length === 0) this.end(reset);
    else this.pass(direction, last, () => this.end(reset));
  }

  /** Ends both connections now. */
  end(reset: boolean): void {
    this.#isEnding = true;
    for (const way of Object.values(this.#ways)) way.close();
    for (const socket of Object.values(this.#sockets)) {
      if (reset) socket.resetAndDestroy();
      else socket.destroy();
    }
    this.#owner.onEnd(this);
  }

  /** The conditions are others now. */
  changed(): void {
    for (const way of Object.values(this.#ways)) if (!this.#isEnding) way.changed();
    this.#tellBroken();
  }

  #wayOwner(direction: Direction): WayOwner {
    const { proxy } = this.#owner;
    return {
      conditions: () => proxy.conditions(this.dialler, direction),
      random: () => proxy.random(),
      isEnding: () => this.#isEnding,
      reset: () => this.end(true),
      deliver: this.#filter === null ? null : (bytes) => this.#filter!(direction, bytes),
    };
  }

  #waitForFirstLine(identify: Identify): void {
    const { dialler } = this.#sockets;
    const pieces: Uint8Array[] = [];
    let length = 0;
    const look = (bytes: Uint8Array): void => {
      pieces.push(bytes);
      length += bytes.length;
      if (!bytes.includes(newline) && length < firstLineBytesMax) return;
      dialler.off("data", look);
      const text = pieces.map((piece) => new TextDecoder().decode(piece)).join("");
      this.dialler = identify(text.split("\n", 1)[0]!);
      for (const way of Object.values(this.#ways)) way.open();
      for (const piece of pieces) this.#ways.toTarget.take(piece);
      this.changed();
    };
    dialler.on("data", look);
    dialler.once("end", () => {
      if (this.dialler === null) this.end(false);
    });
  }

  /** A reset, or nobody listens: the other end is told, as soon as it can hear anything. */
  #onError(from: Socket): void {
    this.#broken ??= from === this.#sockets.dialler ? "toTarget" : "toDialler";
    this.#tellBroken();
  }

  #tellBroken(): void {
    if (this.#isEnding || this.#broken === null) return;
    const { fate } = this.#owner.proxy.conditions(this.dialler, this.#broken);
    if (fate === "pass" || fate === "reset") this.end(true);
  }
}

interface WayOwner {
  conditions(): Conditions;
  random(): number;
  isEnding(): boolean;
  reset(): void;
  /** Instead of writing them to the other end. */
  deliver: ((bytes: Uint8Array) => void) | null;
}

/** One way of a connection. Its bytes keep their order whatever the conditions become. */
class Way {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #owner: WayOwner;
  /** What has come and waits; null: the end of the stream. */
  #queue: { due: number; bytes: Uint8Array | null }[] = [];
  #queueBytes = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #hasHole = false;

  constructor(from: Socket, to: Socket, owner: WayOwner) {
    this.#from = from;
    this.#to = to;
    this.#owner = owner;
  }

  /** Begins to read. */
  open(): void {
    this.#from.on("data", (bytes: Uint8Array) => this.take(bytes));
    this.#from.on("end", () => this.take(null));
    this.#to.on("drain", () => this.#steer());
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  take(bytes: Uint8Array | null): void {
    if (this.#owner.isEnding()) return;
    const due = performance.now() + this.#owner.conditions().delayMs;
    this.#queue.push({ due: Math.max(due, this.#queue.at(-1)?.due ?? 0), bytes });
    this.#queueBytes += bytes?.length ?? 0;
    this.#flush();
  }

  write(bytes: Uint8Array, done?: () => void): void {
    this.#to.write(bytes, done);
  }

  changed(): void {
    const { fate } = this.#owner.conditions();
    if (fate === "reset" || (this.#hasHole && fate !== "lose")) this.#owner.reset();
    else this.#flush();
  }

  /** Passes on what is due. */
  #flush(): void {
    this.close();
    this.#timer = null;
    while (this.#queue.length > 0 && !this.#owner.isEnding()) {
      const { fate, corruption } = this.#owner.conditions();
      if (fate === "hold") break;
      const { due, bytes } = this.#queue[0]!;
      const waitMs = due - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.#flush(), waitMs);
        break;
      }
      this.#queue.shift();
      this.#queueBytes -= bytes?.length ?? 0;
      if (fate === "lose") this.#hasHole = true;
      else this.#deliver(bytes, corruption);
    }
    this.#steer();
  }

  #deliver(bytes: Uint8Array | null, corruption: number): void {
    if (bytes === null) this.#to.end();
    else {
      if (corruption > 0 && this.#owner.random() < corruption) this.#spoil(bytes);
      if (this.#owner.deliver !== null) this.#owner.deliver(bytes);
      else this.write(bytes);
    }
  }

  #spoil(bytes: Uint8Array): void {
    const at = Math.floor(this.#owner.random() * bytes.length);
    bytes[at]! ^= 1 << Math.floor(this.#owner.random() * 8);
  }

  /** Reads on, or not. */
  #steer(): void {
    if (this.#queueBytes > heldBytesMax || this.#to.writableNeedDrain) this.#from.pause();
    else if (this.#from.isPaused()) this.#from.resume();
  }
}
