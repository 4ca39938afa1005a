/**
 * The client port: connections, each a stream of request lines and, in the same order, reply lines. What one client
 * can make the node hold is bounded: a client that does not read its replies is not read any more either.
 *
 * @module
 */

import type { Clock, Connection } from "../io/io.ts";
import { httpAnswer, isHttp, parseRequest, type Request } from "../protocol/client_protocol.ts";
import { busy, errorReply, lineTooLong } from "../protocol/errors.ts";
import { LineSplitter } from "../protocol/lines.ts";
import type { Limits } from "./options.ts";

/** Gives the reply line of a request, once, or what makes it when there is room to send it. */
export type Answer = (line: string | (() => string)) => void;

/** What the requests of one connection have to do with each other: a read sees the writes before it. */
export interface RequestOrder {
  /** Index of the latest write of this connection; 0: none. */
  lastWriteIndex: number;
}

/** Takes a request. */
export type OnRequest = (request: Request, answer: Answer, order: RequestOrder) => void;

const encoder = new TextEncoder();

/** Replies leave in pieces of about this many characters. */
const pieceUnits = 256 << 10;
/** What any client may have buffered, however much all others have. */
const shareBytes = 64 << 10;

/** All client connections. */
export class ClientConnections {
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly #delayMs: number;
  readonly #onRequest: OnRequest;
  readonly #onWork: () => void;
  readonly #clients = new Set<Client>();
  /** Clients whose next reply is there; sent together at the end of a round of work. */
  #answered = new Set<Client>();
  /** Bytes of unfinished lines and unsent replies of all clients. */
  #bufferedBytes = 0;

  constructor(
    { clock, limits, delayMs }: { clock: Clock; limits: Limits; delayMs: number },
    owner: { onRequest: OnRequest; onWork(): void },
  ) {
    this.#clock = clock;
    this.#limits = limits;
    this.#delayMs = delayMs;
    this.#onRequest = owner.onRequest;
    this.#onWork = owner.onWork;
  }

  /** How many clients are connected. */
  get size(): number {
    return this.#clients.size;
  }

  /** A client has connected. */
  accept(connection: Connection): void {
    if (this.#clients.size >= this.#limits.clientConnectionsMax) {
      const error = busy(`this node has ${this.#clients.size} client connections, as many as it takes`, 1000);
      connection.send(encoder.encode(errorReply(undefined, error)));
      connection.close();
      return;
    }
    const client: Client = new Client(connection, this.#limits, {
      onRequest: this.#onRequest,
      onAnswered: () => {
        this.#answered.add(client);
        this.#onWork();
      },
      onGone: () => this.#clients.delete(client),
      onBuffered: (bytes) => this.#bufferedBytes += bytes,
      isCrowded: () => this.#bufferedBytes > this.#limits.clientBytesMax,
      send: (bytes) => this.#delayed(() => connection.send(bytes)),
      close: () => this.#delayed(() => connection.close()),
    });
    this.#clients.add(client);
  }

  /** Sends all replies that are there, one piece for each client. */
  flush(): void {
    if (this.#answered.size === 0) return;
    const answered = this.#answered;
    this.#answered = new Set();
    for (const client of answered) client.flush();
  }

  /** Sends what is there and ends all connections. */
  close(): void {
    this.flush();
    for (const client of this.#clients) client.close();
  }

  /** Ends all connections now. */
  destroy(): void {
    for (const client of this.#clients) client.destroy();
  }

  /** Equal delays keep their order. */
  #delayed(act: () => void): void {
    if (this.#delayMs === 0) act();
    else this.#clock.after(this.#delayMs, act);
  }
}

interface ClientOwner {
  onRequest: OnRequest;
  onAnswered(): void;
  onGone(): void;
  /** This client has so many bytes more, or less, buffered than before. */
  onBuffered(bytes: number): void;
  /** All clients together have as much buffered as the node holds. */
  isCrowded(): boolean;
  send(bytes: Uint8Array): void;
  close(): void;
}

/** The place of one reply in its connection's order. */
interface Slot {
  /** null: not there yet. */
  line: string | (() => string) | null;
}

/** One client. */
class Client {
  readonly #connection: Connection;
  readonly #limits: Limits;
  readonly #owner: ClientOwner;
  readonly #splitter: LineSplitter;
  /** Replies in the order of their requests; the first ones may be missing still. */
  #slots: Slot[] = [];
  readonly #order: RequestOrder = { lastWriteIndex: 0 };
  #isFirstLine = true;
  /** The client has sent its last byte. */
  #inputEnded = false;
  /** Nothing more is read; the connection closes when the last reply is sent. */
  #isEnding = false;
  #isPaused = false;
  #isGone = false;
  /** What of this client the node's sum contains. */
  #bufferedBytes = 0;
  readonly #onLine = (line: Uint8Array): boolean => this.#takeLine(line);

  constructor(connection: Connection, limits: Limits, owner: ClientOwner) {
    this.#connection = connection;
    this.#limits = limits;
    this.#owner = owner;
    this.#splitter = new LineSplitter(limits.requestLineBytesMax);
    connection.onData = (bytes) => this.#onData(bytes);
    connection.onEnd = () => this.#onEnd();
    connection.onDrain = () => this.flush();
    connection.onClose = () => {
      this.#isGone = true;
      owner.onBuffered(-this.#bufferedBytes);
      owner.onGone();
    };
  }

  /** Reads on, if the client's share is not used up. */
  #resume(): void {
    this.#count();
    if (this.#isFull) return;
    this.#settle(this.#splitter.resume(this.#onLine));
    if (this.#isPaused && !this.#isFull) {
      this.#isPaused = false;
      this.#connection.resume();
    }
    if (this.#inputEnded && !this.#isFull) this.#finishInput();
  }

  /** Sends the replies that are next in order, as far as there is room; the rest when the client has read. */
  flush(): void {
    if (this.#isGone) return;
    let sent = 0, text = "";
    while (this.#hasRoom && sent < this.#slots.length) {
      const { line } = this.#slots[sent]!;
      if (line === null) break;
      text += typeof line === "string" ? line : line();
      sent++;
      if (text.length < pieceUnits && sent < this.#slots.length) continue;
      this.#send(text);
      text = "";
    }
    if (text.length > 0) this.#send(text);
    this.#slots.splice(0, sent);
    if (this.#isEnding && this.#slots.length === 0) this.close();
    else this.#resume();
  }

  /** Sends what is queued, then closes. */
  close(): void {
    this.#isEnding = true;
    this.#owner.close();
  }

  destroy(): void {
    this.#connection.destroy();
  }

  #send(text: string): void {
    this.#owner.send(encoder.encode(text));
    this.#count();
  }

  /** Keeps the node's sum of buffered bytes true. */
  #count(): void {
    if (this.#isGone) return;
    const bytes = this.#connection.bufferedBytes + this.#splitter.bufferedBytes;
    this.#owner.onBuffered(bytes - this.#bufferedBytes);
    this.#bufferedBytes = bytes;
  }

  /** Replies may be sent: the client reads them, and does not hold what others need. */
  get #hasRoom(): boolean {
    const { bufferedBytes } = this.#connection;
    return bufferedBytes === 0 || (bufferedBytes <= this.#limits.replyBytesMax && !this.#owner.isCrowded());
  }

  get #isFull(): boolean {
    return this.#slots.length >= this.#limits.requestsInFlightMax || !this.#hasRoom;
  }

  #onData(bytes: Uint8Array): void {
    if (this.#isEnding) return;
    this.#settle(this.#splitter.push(bytes, this.#onLine));
    this.#count();
    if (this.#splitter.bufferedBytes > shareBytes && this.#owner.isCrowded()) {
      this.#end(errorReply(undefined, busy("this node holds as many unfinished lines as it takes", 1000)));
    }
    if (this.#isFull && !this.#isPaused) {
      this.#isPaused = true;
      this.#connection.pause();
    }
  }

  /** The client sends no more. It still gets its replies. */
  #onEnd(): void {
    this.#inputEnded = true;
    if (!this.#isFull) this.#finishInput();
  }

  /** A last line without a newline counts, as `printf '{"op":"ping"}' | nc` leaves it. */
  #finishInput(): void {
    const { rest } = this.#splitter;
    if (rest.length > 0 && !this.#isEnding) this.#takeLine(rest.slice());
    this.#isEnding = true;
    if (this.#slots.length === 0) this.close();
  }

  /** Takes a line. False: the client's share is used up, the next one waits. */
  #takeLine(line: Uint8Array): boolean {
    if (this.#isEnding) return true;
    const isFirst = this.#isFirstLine;
    this.#isFirstLine = false;
    const slot: Slot = { line: null };
    this.#slots.push(slot);
    if (isFirst && isHttp(line)) {
      this.#isEnding = true;
      this.#answer(slot, httpAnswer());
      return true;
    }
    this.#owner.onRequest(parseRequest(line, this.#limits), (line) => this.#answer(slot, line), this.#order);
    return !this.#isFull;
  }

  #settle(state: "more" | "stopped" | "tooLong"): void {
    if (state !== "tooLong" || this.#isEnding) return;
    this.#end(errorReply(undefined, lineTooLong(this.#limits.requestLineBytesMax)));
  }

  /** Reads no more; a last reply, then the end. */
  #end(line: string): void {
    this.#isEnding = true;
    const slot: Slot = { line: null };
    this.#slots.push(slot);
    this.#answer(slot, line);
  }

  #answer(slot: Slot, line: string | (() => string)): void {
    slot.line = line;
    if (!this.#isGone) this.#owner.onAnswered();
  }
}
