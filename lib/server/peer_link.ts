/**
 * One connection on the raft port, either end: lines in and out, and signs of life. The node that dialled sends its
 * messages on it; the one that accepted answers only hellos and pings.
 *
 * @module
 */

import type { Clock, Connection, Timer } from "../io/io.ts";
import { isHttp } from "../protocol/client_protocol.ts";
import { LineSplitter } from "../protocol/lines.ts";
import {
  controlLineBytesMax,
  encodeLinkLine,
  type Hello,
  type LinkLine,
  type PeerInput,
  PeerReader,
} from "../protocol/peer_protocol.ts";
import type { Handshake } from "./handshake.ts";

/** What the owner of a link wants to know. Texts that it returns refuse the other end. */
export interface LinkOwner {
  /** Judges a hello that came in this line, and keeps it in the link when it is accepted. */
  onHello(link: PeerLink, hello: Hello, line: Uint8Array): string | null;
  onProof(link: PeerLink, proof: string): string | null;
  onInput(link: PeerLink, input: Exclude<PeerInput, LinkLine>): string | null;
  /** The other end said why it closes. */
  onRefused(link: PeerLink, reason: string): void;
  onGone(link: PeerLink, error: Error | null): void;
}

/** Times and bounds of a link. */
export interface LinkOptions {
  /** An entry's line, and all entries of one message. */
  entryBytesMax: number;
  /** Bytes queued; beyond, the other end is too slow and the link is given up. */
  queueBytesMax: number;
  /** Between pings of the end that dialled. Twice that without a sign of life, and the link is given up. */
  pingMs: number;
  /** Added before each message. */
  delayMs: number;
  /** Where clients should have gone. */
  clientAddress: string;
}

/** Bytes queued for somebody who has not said who it is. */
const strangerQueueBytesMax = 64 << 10;

/** A connection to or from another node. */
export class PeerLink {
  readonly connection: Connection;
  readonly handshake: Handshake;
  /** The latest hello of the other end that its owner accepted; null: it may not speak yet. */
  hello: Hello | null = null;
  /** Index of the configuration by which that hello was judged; with another one it is judged again. */
  judgedAt = 0;
  /** Set by the end that dialled, once the connection is open. */
  sendsPings = false;
  /** One of the ends has said why it closes. */
  isRefused = false;
  readonly #owner: LinkOwner;
  readonly #clock: Clock;
  readonly #options: LinkOptions;
  readonly #splitter: LineSplitter;
  readonly #reader = new PeerReader();
  readonly #timer: Timer;
  readonly #startedAt: number;
  /** When the other end last gave a sign of life. */
  #heardAt: number;
  /** Bytes handed to the connection, and how many of them the system had taken when it was last looked at. */
  #sentBytes = 0;
  #takenBytes = 0;
  #wasBlocked = false;
  /** This end's latest hello. */
  #said: string | null = null;
  #isClosed = false;

  constructor(
    connection: Connection,
    { owner, clock, handshake }: { owner: LinkOwner; clock: Clock; handshake: Handshake },
    options: LinkOptions,
  ) {
    this.connection = connection;
    this.handshake = handshake;
    this.#owner = owner;
    this.#clock = clock;
    this.#options = options;
    this.#splitter = new LineSplitter(controlLineBytesMax);
    this.#startedAt = this.#heardAt = clock.now();
    connection.onData = (bytes) => this.#onData(bytes);
    connection.onEnd = () => connection.close();
    connection.onClose = (error) => this.#onClose(error);
    // Both ends look at the time: neither silence nor an end that never says who it is lasts.
    this.#timer = clock.every(options.pingMs, () => this.#lookAtTime());
  }

  /** The dialler's end pings; then both hear something at least this often. */
  #lookAtTime(): void {
    // On a slow line pings wait behind entries. That a full queue moves is a sign of life, too.
    const { bufferedBytes } = this.connection;
    const takenBytes = this.#sentBytes - bufferedBytes;
    if (this.#wasBlocked && takenBytes > this.#takenBytes) this.#heardAt = this.#clock.now();
    this.#takenBytes = takenBytes;
    this.#wasBlocked = bufferedBytes > 0;
    const since = this.hello === null ? this.#startedAt : this.#heardAt;
    if (this.#clock.now() - since > 2 * this.#options.pingMs + 2 * this.#options.delayMs) {
      this.connection.destroy();
      return;
    }
    if (this.sendsPings) this.sendLine({ type: "ping" });
  }

  /** Says who this node is, unless this end has just said the same. */
  sayHello(hello: Hello): void {
    const text = JSON.stringify(hello);
    if (text === this.#said) return;
    this.#sendNow(this.#said === null ? this.handshake.encodeHello(hello) : encodeLinkLine(hello));
    this.#said = text;
  }

  /** Sends a line about the link at once. */
  sendLine(line: LinkLine): void {
    this.#sendNow(encodeLinkLine(line));
  }

  /** Sends a message, after the delay that the timing mode asks for. */
  send(parts: readonly Uint8Array[]): void {
    const sendNow = (): void => {
      for (const part of parts) this.#sendNow(part);
    };
    if (this.#options.delayMs === 0) sendNow();
    else this.#clock.after(this.#options.delayMs, sendNow);
  }

  /** Says why and closes. */
  refuse(reason: string): void {
    this.sendLine({ type: "refused", reason });
    this.#isClosed = this.isRefused = true;
    this.connection.close();
  }

  #sendNow(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    this.connection.send(bytes);
    this.#sentBytes += bytes.length;
    const queueBytesMax = this.hello === null ? strangerQueueBytesMax : this.#options.queueBytesMax;
    if (this.connection.bufferedBytes > queueBytesMax) this.connection.destroy();
  }

  #onData(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    this.#heardAt = this.#clock.now();
    const state = this.#splitter.push(bytes, (line) => this.#onLine(line));
    if (state === "tooLong") this.refuse(`a line has more than ${this.#splitter.lineBytesMax} bytes`);
  }

  #onLine(line: Uint8Array): boolean {
    const isKnown = this.hello !== null;
    const { entryBytesMax } = this.#options;
    const input = !isKnown && isOfClient(line)
      ? `this is the raft port, where the nodes meet: clients connect to ${this.#options.clientAddress}`
      : this.#reader.take(line, { isKnown, entryBytesMax });
    this.#splitter.lineBytesMax = this.#reader.lineBytesMax(entryBytesMax);
    if (input === null) return true;
    const refusal = typeof input === "string" ? input : this.#take(input, line);
    if (refusal !== null) this.refuse(refusal);
    return !this.#isClosed;
  }

  #take(input: PeerInput, line: Uint8Array): string | null {
    switch (input.type) {
      case "hello":
        return this.#owner.onHello(this, input, line);
      case "proof":
        return this.#owner.onProof(this, input.proof);
      case "ping":
        // While something is queued, that is the sign of life; whoever does not read gets no more of them.
        if (this.connection.bufferedBytes === 0) this.sendLine({ type: "pong" });
        return null;
      case "pong":
        return null;
      case "refused":
        this.#isClosed = this.isRefused = true;
        this.#owner.onRefused(this, input.reason);
        this.connection.destroy();
        return null;
      default:
        if (this.hello === null) return "a hello comes first";
        if (input.from !== this.hello.nodeId) return `node ${this.hello.nodeId} speaks as node ${input.from}`;
        return this.#owner.onInput(this, input);
    }
  }

  #onClose(error: Error | null): void {
    this.#isClosed = true;
    this.#timer.cancel();
    this.#owner.onGone(this, error);
  }
}

/** Whether a first line was meant for the client port. */
function isOfClient(line: Uint8Array): boolean {
  return isHttp(line) || new TextDecoder().decode(line.subarray(0, 256)).includes('"op"');
}
