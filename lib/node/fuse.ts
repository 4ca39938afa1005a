/**
 * A fuse in every line between a node and its outside. A node that finds one of its invariants broken throws, wherever
 * it is just then. Here that ends the node, and nothing else: all that it has open is closed at once, it hears nothing
 * any more, and so sends and writes nothing more. The program around it lives on, and is told.
 *
 * @module
 */

import type { Connection, Disk, Done, Io, Listener, Timer } from "../io/io.ts";

/** One fuse, for one node. */
export class Fuse {
  /** What the node is given in place of the real outside. */
  readonly io: Io;
  readonly #onError: (error: unknown) => void;
  /** What is open or under way, each with how to end it. */
  readonly #open = new Map<object, () => void>();
  /** How many of those are connections. */
  #connections = 0;
  #isBlown = false;
  #onIdle: () => void = () => {};

  /** `onError` is told what the node threw; the fuse is blown by then. */
  constructor(io: Io, onError: (error: unknown) => void) {
    this.#onError = onError;
    this.io = {
      disk: this.#guardDisk(io.disk),
      network: {
        listen: (address, onConnection) =>
          this.#guardListener(
            io.network.listen(address, (inner) => this.run(() => onConnection(this.#guard(inner)))),
          ),
        connect: (address) => this.#guard(io.network.connect(address)),
      },
      clock: {
        now: () => io.clock.now(),
        soon: (f) => io.clock.soon(() => this.run(f)),
        every: (ms, f) => this.#guardTimer(io.clock.every(ms, () => this.run(f))),
        after: (ms, f) => {
          const timer = io.clock.after(ms, () => {
            this.#open.delete(timer);
            this.run(f);
          });
          return this.#guardTimer(timer);
        },
      },
      random: () => io.random(),
    };
  }

  /** Lets the node do something, unless the fuse is blown. */
  run(f: () => void): void {
    if (this.#isBlown) return;
    try {
      f();
    } catch (error) {
      this.blow();
      this.#onError(error);
    }
  }

  /** Cuts the node off. What its disk is doing goes on to its end, which the node does not hear of. */
  blow(): void {
    if (this.#isBlown) return;
    this.#isBlown = true;
    for (const end of this.#open.values()) end();
    this.#open.clear();
  }

  /** Resolves when all connections are closed. */
  async whenIdle(): Promise<void> {
    if (this.#connections > 0) await new Promise<void>((resolve) => this.#onIdle = resolve);
  }

  #guardDisk(disk: Disk): Disk {
    const guarded = (done: Done): Done => (error) => this.run(() => done(error));
    return {
      list: () => disk.list(),
      read: (name) => disk.read(name),
      readRange: (name, offset, length) => disk.readRange(name, offset, length),
      append: (name, bytes, done) => disk.append(name, bytes, guarded(done)),
      replace: (name, bytes, done) => disk.replace(name, bytes, guarded(done)),
      truncate: (name, size, done) => disk.truncate(name, size, guarded(done)),
      remove: (name, done) => disk.remove(name, guarded(done)),
    };
  }

  #guardListener(listener: Listener): Listener {
    this.#open.set(listener, () => listener.close());
    return {
      close: () => {
        this.#open.delete(listener);
        listener.close();
      },
    };
  }

  #guardTimer(timer: Timer): Timer {
    this.#open.set(timer, () => timer.cancel());
    return {
      cancel: () => {
        this.#open.delete(timer);
        timer.cancel();
      },
    };
  }

  #guard(inner: Connection): Connection {
    this.#connections++;
    this.#open.set(inner, () => inner.destroy());
    const outer = new GuardedConnection(inner);
    inner.onOpen = () => this.run(() => outer.onOpen());
    inner.onData = (bytes) => this.run(() => outer.onData(bytes));
    inner.onEnd = () => this.run(() => outer.onEnd());
    inner.onDrain = () => this.run(() => outer.onDrain());
    inner.onClose = (error) => {
      this.#open.delete(inner);
      this.run(() => outer.onClose(error));
      if (--this.#connections === 0) this.#onIdle();
    };
    return outer;
  }
}

/** A connection whose handlers are called through the fuse. */
class GuardedConnection implements Connection {
  readonly #inner: Connection;
  onOpen: () => void = () => {};
  onData: (bytes: Uint8Array) => void = () => {};
  onEnd: () => void = () => {};
  onDrain: () => void = () => {};
  onClose: (error: Error | null) => void = () => {};

  constructor(inner: Connection) {
    this.#inner = inner;
  }

  get remote(): string {
    return this.#inner.remote;
  }

  get bufferedBytes(): number {
    return this.#inner.bufferedBytes;
  }

  send(bytes: Uint8Array): void {
    this.#inner.send(bytes);
  }

  pause(): void {
    this.#inner.pause();
  }

  resume(): void {
    this.#inner.resume();
  }

  close(): void {
    this.#inner.close();
  }

  destroy(): void {
    this.#inner.destroy();
  }
}
