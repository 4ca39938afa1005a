/**
 * Everything outside a node, as four small interfaces: disk, network, clock, randomness. The same Server runs on
 * `deno_io.ts` in production and on seeded fakes in the simulator, so what is written here about order, failure
 * and crashes is a contract: tests/io/conformance.ts holds both implementations to it.
 *
 * @module
 */

/** Told once how a disk operation ended, never inside the call that started it. */
export type Done = (error: Error | null) => void;

/** There is no room for what was to be written, and nothing was. It may be tried again: room can come back. */
export class DiskFull extends Error {
  override name = "DiskFull";
}

/** A `replace` of at most this many bytes has a reserve of its own. */
export const reserveBytesMax = 16 * 1024;

/**
 * One data folder. Names use "/" ("log/00000000000000000001.log"); folders appear with their first file.
 *
 * A `done(null)` means durable: contents, length and the name itself survive a power cut. Before that a crash may
 * leave any mixture: every page of an unfinished `append` is, independently, old, zero or new; an unfinished
 * `replace` left either the old file or the new one, whole; an unfinished `truncate` or `remove` happened or not.
 * At most one operation may be under way on one file; reads see finished and unfinished operations alike.
 * After any error but DiskFull the file's durable contents are unknown: the node stops.
 *
 * `done(DiskFull)`: an `append` or a `replace` found no room. Then, and only then, the file is exactly as it was before
 * the call, and nothing of the call is durable: an `append` has cut the file back and fsynced that, and a file that it
 * was to make is missing or empty; a `replace` left the old file. The same operation or another may be tried at any
 * time. When cutting back fails, or an fsync for whatever reason, lack of room included, the error is an ordinary one.
 * A `replace` of at most `reserveBytesMax` bytes falls back on a reserve, got back as soon as there is room for it: the
 * term and the vote can be written to a full disk, time and again.
 */
export interface Disk {
  /** Names of all files, sorted. */
  list(): string[];
  /** A file's whole contents, or null when there is no such file. */
  read(name: string): Uint8Array | null;
  /** Up to `length` bytes from `offset`; fewer at the end of the file, none when there is no such file. */
  readRange(name: string, offset: number, length: number): Uint8Array;
  /** Adds bytes at the end, creating the file when it is new, then fsyncs. The bytes must not change before `done`. */
  append(name: string, bytes: Uint8Array, done: Done): void;
  /** Puts a whole file in place of another, atomically: temporary file, fsync, rename, fsync of the folder. */
  replace(name: string, bytes: Uint8Array, done: Done): void;
  /** Cuts a file to `size` bytes, then fsyncs. */
  truncate(name: string, size: number, done: Done): void;
  /** Removes a file, then fsyncs its folder. */
  remove(name: string, done: Done): void;
}

/** One TCP connection, either end. Bytes arrive in order or not at all; the handlers are set by its owner at once. */
export interface Connection {
  /** Address of the other end, for messages to people. */
  readonly remote: string;
  /** Bytes given to `send` that the operating system has not taken yet. The owner bounds it. */
  readonly bufferedBytes: number;
  /** Queues bytes; they must not be changed afterwards. Does nothing on a closed connection. */
  send(bytes: Uint8Array): void;
  /** Stops delivering data until `resume`. At most one chunk may still arrive. */
  pause(): void;
  /** Delivers data again. */
  resume(): void;
  /** Sends what is queued, then closes. What cannot be sent within a few seconds is given up. */
  close(): void;
  /** Closes now; queued bytes are lost. */
  destroy(): void;
  /** A connection made by `connect` is open. Never called on an accepted one, which is open from the start. */
  onOpen: () => void;
  /** Bytes arrived. The array is reused: it is valid during the call only. */
  onData: (bytes: Uint8Array) => void;
  /** The other end will send no more (half-close). It still reads. */
  onEnd: () => void;
  /** All that was queued has been taken by the operating system. */
  onDrain: () => void;
  /** The connection is gone; nothing follows. Called once, never inside a call to a method. */
  onClose: (error: Error | null) => void;
}

/** A listening port. */
export interface Listener {
  /** Stops accepting; open connections live on. */
  close(): void;
}

/** TCP. Addresses are "host:port", with IPv6 hosts in brackets. */
export interface Network {
  /** Accepts connections until closed. Throws when the address cannot be bound. */
  listen(address: string, onConnection: (connection: Connection) => void): Listener;
  /** Starts to connect. What goes wrong, a refused or unanswered attempt included, is told by `onClose`. */
  connect(address: string): Connection;
}

/** A timer that was started. */
export interface Timer {
  /** The function will not run again. */
  cancel(): void;
}

/** Monotonic time and ways to run later. */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes back. */
  now(): number;
  /** Runs `f` every `ms` milliseconds; late runs are not made up for. */
  every(ms: number, f: () => void): Timer;
  /** Runs `f` once after `ms` milliseconds. */
  after(ms: number, f: () => void): Timer;
  /** Runs `f` once the input at hand has been handled, before the node waits for more. Here batches form. */
  soon(f: () => void): void;
}

/** All that a node knows of the outside. */
export interface Io {
  disk: Disk;
  network: Network;
  clock: Clock;
  /** A number from 0 (inclusive) to 1 (exclusive). */
  random(): number;
}
