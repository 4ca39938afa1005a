/**
 * TCP as the contract of io.ts wants it. Bytes are read into one reused buffer, all that is sent in one turn leaves
 * in one write, and closing lingers until the other end has had the chance to read the last bytes.
 *
 * @module
 */

import { concat, copyAll } from "../bytes.ts";
import type { Connection, Listener, Network } from "./io.ts";

/** A host that does not answer is given up after this time. */
const connectTimeoutMs = 3000;
/** What `close` cannot deliver within this time is lost. */
const lingerMs = 3000;
/** After a failed accept, most often for want of file descriptors, the next one waits. */
const acceptRetryMs = 50;
/** While accepts go on failing, this is said only so often: it may last, and the journal must not grow with it. */
const acceptErrorMs = 60_000;
/** The read buffer grows to this size as a connection proves busy: thousands may be idle. */
const readBytesMax = 64 << 10;
const readBytesMin = 4 << 10;
/** Chunks are copied together into one write up to this size; one alone is written as it is. */
const writeBytesMax = 64 << 10;
/** Buffers for that, which connections share; so many are kept. */
const writeBuffers: Uint8Array[] = [];
const writeBuffersMax = 16;

/** TCP over the system's sockets. `onAcceptError` hears now and then of failed accepts, which are tried again. */
export function denoNetwork(onAcceptError: (error: Error) => void = () => {}): Network {
  return {
    listen: (address, onConnection) => listen(address, onConnection, onAcceptError),
    connect: (address) => new TcpConnection(address),
  };
}

/** How many descriptors, for files and connections, this process may have open; Infinity when nobody tells. */
export function descriptorsMax(): number {
  const path = "/proc/self/limits";
  if (Deno.build.os !== "linux") return Infinity;
  if (Deno.permissions.querySync({ name: "read", path }).state !== "granted") return Infinity;
  try {
    return Number(/^Max open files +(\d+)/m.exec(Deno.readTextFileSync(path))?.[1] ?? Infinity);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable || error instanceof Deno.errors.NotFound) return Infinity;
    throw error;
  }
}

/** Splits "host:port". Throws when it is not of that form. */
function splitAddress(address: string): { hostname: string; port: number } {
  const parts = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address);
  const port = Number(parts?.[3]);
  if (parts === null || port > 65535) {
    throw new Error(
      `address ${JSON.stringify(address)} is not of the form host:port, such as 127.0.0.1:8080 or [::1]:8080`,
    );
  }
  return { hostname: (parts[1] ?? parts[2])!, port };
}

function listen(
  address: string,
  onConnection: (connection: Connection) => void,
  onAcceptError: (error: Error) => void,
): Listener {
  let listener: Deno.TcpListener;
  try {
    listener = Deno.listen({ ...splitAddress(address), tcpBacklog: 1024 });
  } catch (error) {
    throw new Error(`cannot listen on ${address}: ${asError(error).message}`, { cause: error });
  }
  let isClosed = false;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let silentUntil = 0;

  /** A listener outlives a failed accept: otherwise the port would look alive and serve nobody. */
  async function waitAfter(error: unknown): Promise<null> {
    if (isClosed) return null;
    if (performance.now() >= silentUntil) {
      silentUntil = performance.now() + acceptErrorMs;
      const { message } = asError(error);
      onAcceptError(new Error(`cannot accept a connection on ${address}: ${message}`, { cause: error }));
    }
    await new Promise((resolve) => retry = setTimeout(resolve, acceptRetryMs));
    return null;
  }

  async function acceptAll(): Promise<void> {
    while (!isClosed) {
      const tcp = await listener.accept().catch(waitAfter);
      if (tcp === null) continue;
      if (isClosed) tcp.close();
      else onConnection(new TcpConnection(showAddress(tcp.remoteAddr as Deno.NetAddr), tcp));
    }
  }

  acceptAll();
  return {
    close: () => {
      if (isClosed) return;
      isClosed = true;
      clearTimeout(retry);
      listener.close();
    },
  };
}

class TcpConnection implements Connection {
  readonly remote: string;
  onOpen: () => void = () => {};
  onData: (bytes: Uint8Array) => void = () => {};
  onEnd: () => void = () => {};
  onDrain: () => void = () => {};
  onClose: (error: Error | null) => void = () => {};

  /** null until the connection is open. */
  #tcp: Deno.TcpConn | null = null;
  /** Sent by the owner, not yet handed to the system; the chunk that is being written is no longer in it. */
  #queue: Uint8Array[] = [];
  #bufferedBytes = 0;
  #isWriting = false;
  #isPaused = false;
  /** Lets a paused read loop go on. */
  #wake: () => void = () => {};
  /** The other end will send no more. */
  #hasEnded = false;
  /** `close` was called: nothing is delivered any more, what is queued still leaves. */
  #isClosing = false;
  /** Nothing happens any more, but for onClose. */
  #isGone = false;
  /** Of connecting, then of closing. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #connecting = new AbortController();

  /** With `tcp` the connection is open; without, it is made to `remote`. */
  constructor(remote: string, tcp?: Deno.TcpConn) {
    this.remote = remote;
    if (tcp === undefined) this.#connect();
    else this.#open(tcp);
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  send(bytes: Uint8Array): void {
    if (this.#isGone || this.#isClosing || bytes.length === 0) return;
    this.#queue.push(bytes);
    this.#bufferedBytes += bytes.length;
    this.#startWriting();
  }

  pause(): void {
    this.#isPaused = !this.#isClosing;
  }

  resume(): void {
    this.#isPaused = false;
    this.#wake();
  }

  close(): void {
    if (this.#isGone || this.#isClosing) return;
    this.#isClosing = true;
    if (this.#tcp === null && this.#queue.length === 0) return this.#end(null);
    if (this.#tcp !== null) this.#lingerFrom(this.#tcp);
  }

  destroy(): void {
    this.#end(null);
  }

  async #connect(): Promise<void> {
    this.#timer = setTimeout(() => {
      this.#end(new Error(`cannot connect to ${this.remote}: no answer within ${connectTimeoutMs} ms`));
    }, connectTimeoutMs);
    let tcp: Deno.TcpConn;
    try {
      tcp = await Deno.connect({ ...splitAddress(this.remote), signal: this.#connecting.signal });
    } catch (error) {
      return this.#end(
        new Error(`cannot connect to ${this.remote}: ${asError(error).message}`, { cause: error }),
      );
    }
    if (this.#isGone) return tcp.close();
    clearTimeout(this.#timer);
    this.#open(tcp);
    // A port that nobody listens on may be the one that the system picked for this end.
    if (isToItself(tcp)) {
      return this.#end(new Error(`cannot connect to ${this.remote}: nobody listens there`));
    }
    if (this.#isClosing) return this.#lingerFrom(tcp);
    this.onOpen();
  }

  #open(tcp: Deno.TcpConn): void {
    this.#tcp = tcp;
    try {
      tcp.setNoDelay(true);
    } catch (error) {
      return this.#fail(error); // the other end has hung up already
    }
    this.#readAll(tcp);
    if (this.#queue.length > 0) this.#startWriting();
  }

  async #readAll(tcp: Deno.TcpConn): Promise<void> {
    let buffer = new Uint8Array(readBytesMin);
    while (true) {
      if (this.#isPaused) await new Promise<void>((resolve) => this.#wake = resolve);
      if (this.#isGone) return;
      let count: number | null;
      try {
        count = await tcp.read(buffer);
      } catch (error) {
        return this.#fail(error);
      }
      if (this.#isGone) return;
      if (count === null) break;
      if (!this.#isClosing) this.onData(buffer.subarray(0, count));
      if (count === buffer.length && count < readBytesMax) buffer = new Uint8Array(4 * count);
    }
    this.#hasEnded = true;
    if (!this.#isClosing) this.onEnd();
    else if (!this.#isWriting) this.#end(null);
  }

  /** Writes once the turn is over, so that all that it sends goes out together. */
  #startWriting(): void {
    const tcp = this.#tcp;
    if (tcp === null || this.#isWriting) return;
    this.#isWriting = true;
    queueMicrotask(() => this.#writeAll(tcp));
  }

  async #writeAll(tcp: Deno.TcpConn): Promise<void> {
    while (this.#queue.length > 0) {
      const isMuch = this.#queue.length > 1 && this.#bufferedBytes > writeBytesMax / 4;
      const buffer = isMuch ? writeBuffers.pop() ?? new Uint8Array(writeBytesMax) : null;
      const bytes = buffer === null ? concat(this.#queue.splice(0)) : this.#takeQueued(buffer);
      for (let written = 0; written < bytes.length;) {
        let count: number;
        try {
          count = await tcp.write(bytes.subarray(written));
        } catch (error) {
          return this.#fail(error);
        }
        if (this.#isGone) return;
        written += count;
        this.#bufferedBytes -= count;
      }
      if (buffer !== null && writeBuffers.length < writeBuffersMax) writeBuffers.push(buffer);
    }
    this.#isWriting = false;
    if (this.#isClosing) this.#endWriting(tcp);
    else this.onDrain();
  }

  /** As many chunks as go together, put together in `buffer`, or one that is too large for it. */
  #takeQueued(buffer: Uint8Array): Uint8Array {
    let count = 0;
    let length = 0;
    for (const chunk of this.#queue) {
      length += chunk.length;
      if (length > buffer.length) break;
      count++;
    }
    return count === 0 ? this.#queue.shift()! : copyAll(this.#queue.splice(0, count), buffer);
  }

  /**
   * Closing with unread input would make the system reset the connection, and the other end lose what it has not
   * read yet. So the input is read and dropped until the other end closes too.
   */
  #lingerFrom(tcp: Deno.TcpConn): void {
    this.#timer = setTimeout(() => this.#end(null), lingerMs);
    this.resume();
    if (!this.#isWriting) this.#endWriting(tcp);
  }

  #endWriting(tcp: Deno.TcpConn): void {
    if (this.#hasEnded) this.#end(null);
    else tcp.closeWrite().catch((error) => this.#fail(error));
  }

  #fail(cause: unknown): void {
    this.#end(new Error(`connection to ${this.remote} failed: ${asError(cause).message}`, { cause }));
  }

  #end(error: Error | null): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#queue = [];
    this.#bufferedBytes = 0;
    clearTimeout(this.#timer);
    this.#connecting.abort();
    this.#tcp?.close();
    this.#wake();
    queueMicrotask(() => this.onClose(error));
  }
}

function isToItself(tcp: Deno.TcpConn): boolean {
  const { localAddr, remoteAddr } = tcp;
  return localAddr.port === remoteAddr.port && localAddr.hostname === remoteAddr.hostname;
}

function showAddress({ hostname, port }: Deno.NetAddr): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
