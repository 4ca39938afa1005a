/**
 * One connection of a client: a stream of request lines and, in the same order, reply lines. What it can make the node
 * hold is bounded: a client that does not read its replies is not read any more either. What it can make the node do
 * before others get their turn is bounded too.
 *
 * @module
 */

import { Arena } from "../bytes.ts";
import type { Connection } from "../io/io.ts";
import { httpAnswer, isHttp, parseRequest } from "../protocol/client_protocol.ts";
import { busy, errorReply, idleTooLong, lineTooLong, lineTooSlow } from "../protocol/errors.ts";
import { LineSplitter, type Splitting } from "../protocol/lines.ts";
import { Queue } from "../queue.ts";
import type { Caller, OnRequest } from "./caller.ts";
import type { Limits } from "./options.ts";
import type { Turns, Worker } from "./turns.ts";

const encoder = new TextEncoder();
/** Replies that leave at once. If they do not, what waits of them keeps no more than this in memory. */
const replies = new Arena(4 << 10, 1 << 10);

/** Replies leave in pieces of about this many characters. */
const pieceUnits = 256 << 10;
/** What any client may have buffered, however much all others have. */
const shareBytes = 64 << 10;
/** A line of so many bytes takes a while. */
const longLineBytes = 4 << 10;
/** When the node holds too much, a client that has taken nothing of what it was sent for so long is let go. */
const deafMs = 5000;
/** Lines beside the replies are sent while no more than this waits to be read. */
const pushedBytesMax = 256 << 10;

/** What a client has to do with all others. */
export interface ClientOwner {
  onRequest: OnRequest;
  onAnswered(): void;
  onRoom(): void;
  onGone(): void;
  /** Of this client the node holds so many bytes more, or less, than before, and so many more that it was sent and has not read. */
  onBuffered(bytes: number, unread: number): void;
  /** The node holds as much for all clients together as it should. */
  isCrowded(): boolean;
  /** So much more that it promises to hold nothing for anybody. */
  isPacked(): boolean;
  /**
   * So much that was sent is unread that not even a client that has read all gets a large reply. What waits to be sent does
   * not count: it would wait for itself.
   */
  isOverfull(): boolean;
  /** A reply is there that may be sent when clients together hold less. */
  onDeferred(): void;
  now(): number;
  readonly turns: Turns;
  send(bytes: Uint8Array): void;
  close(): void;
}

/** The place of one reply in its connection's order. */
interface Slot {
  /** null: not there yet. */
  line: string | (() => string) | null;
}

/** One client. */
export class Client implements Caller, Worker {
  lastWriteIndex = 0;
  lastWatch = 0;
  watches = 0;
  inputEnded = false;
  turn = 0;
  usedMs = 0;
  worksUntil = 0;
  readonly #connection: Connection;
  readonly #limits: Limits;
  readonly #owner: ClientOwner;
  readonly #splitter: LineSplitter;
  /** Replies in the order of their requests; the first ones may be missing still. */
  readonly #slots = new Queue<Slot>();
  /** Characters of the replies that are lines and wait, most often for one before them. */
  #waitingUnits = 0;
  #linesTaken = 0;
  /** Nothing more is read; the connection closes when the last reply is sent. */
  #isEnding = false;
  #isPaused = false;
  #isGone = false;
  /** What it had not read when that was last looked at, and since when that has not become less. */
  #unreadBytes = 0;
  #unreadSince = 0;
  /** What of this client the node's sums contain. */
  #counted = { bytes: 0, unread: 0 };
  /** Bytes of answers that are not lines yet, at most. */
  #heldBytes = 0;
  /** When it last sent something, was sent something, or took all that it was sent. */
  #activeAt: number;
  /** When the first byte of the line came that is not whole yet; null: there is none, or it is not being read on. */
  #lineBeganAt: number | null = null;
  readonly #onLine = (line: Uint8Array): boolean => this.#takeLine(line);

  constructor(connection: Connection, limits: Limits, owner: ClientOwner) {
    this.#connection = connection;
    this.#limits = limits;
    this.#owner = owner;
    this.#splitter = new LineSplitter(limits.requestLineBytesMax);
    this.#activeAt = owner.now();
    connection.onData = (bytes) => this.#owner.turns.run(this, () => this.#onData(bytes));
    connection.onEnd = () => this.#owner.turns.run(this, () => this.#onEnd());
    connection.onDrain = () => {
      this.#activeAt = owner.now();
      if (this.#isIdle) this.#count();
      else this.flush();
      if (this.watches > 0) owner.onRoom();
    };
    connection.onClose = () => {
      this.#letGo();
      owner.onGone();
    };
  }

  /** Time passes: a client that leaves its line unfinished, or has nothing more to say, makes room for others. */
  onTick(now: number): void {
    const { partialLineMs, idleMs } = this.#limits;
    if (this.#lineBeganAt !== null && now - this.#lineBeganAt >= partialLineMs) {
      return this.#end(errorReply(undefined, lineTooSlow(partialLineMs)));
    }
    if (now - this.#activeAt < idleMs) return;
    if (this.#connection.bufferedBytes > 0) this.destroy(); // it does not read
    else if (this.watches > 0) return;
    else if (this.#slots.size === 0 && !this.#isEnding) {
      this.#end(errorReply(undefined, idleTooLong(idleMs)));
    }
  }

  /** Reads on, if the client's share is not used up. */
  #resume(): void {
    this.#count();
    if (this.#isFull) return;
    this.#read(() => this.#splitter.resume(this.#onLine));
    if (this.#isPaused && !this.#isFull) {
      this.#isPaused = false;
      this.#connection.resume();
    }
    if (this.inputEnded && !this.#isFull) this.#finishInput();
  }

  /** Sends the replies that are next in order, as far as there is room; the rest when the client has read. */
  flush(): void {
    if (!this.#isGone) this.#owner.turns.run(this, () => this.#flush());
  }

  goOn(): void {
    this.flush();
  }

  get weight(): number {
    return this.#splitter.bufferedBytes;
  }

  #flush(): void {
    let text = "";
    while (!this.#owner.turns.isOver(this) && this.#hasRoom) {
      const line = this.#slots.first?.line ?? null;
      if (line === null) break;
      if (typeof line !== "string" && this.#owner.isOverfull()) {
        this.#owner.onDeferred();
        break;
      }
      this.#slots.shift();
      if (typeof line === "string") {
        this.#waitingUnits -= line.length;
        text += line;
      } else {
        text += line();
        this.#owner.turns.look();
      }
      if (text.length < pieceUnits) continue;
      this.#send(text);
      text = "";
    }
    if (text.length > 0) this.#send(text);
    if (this.#isDone) this.close();
    else this.#resume();
  }

  /** All that came is answered, and more may come. */
  get #isIdle(): boolean {
    const isOpen = !this.#isEnding && !this.inputEnded && !this.#isPaused;
    return isOpen && this.#slots.size === 0 && this.#splitter.isAtRest;
  }

  /** Nothing more comes from the client, and nothing more goes to it. */
  get #isDone(): boolean {
    return this.#isEnding && this.#slots.size === 0 && (this.watches === 0 || !this.inputEnded);
  }

  get hasRoom(): boolean {
    if (this.#isGone || this.#owner.isOverfull()) return false;
    return this.#hasRoom && this.#connection.bufferedBytes <= pushedBytesMax;
  }

  push(lines: string): void {
    if (!this.#isGone) this.#send(lines);
  }

  get mayHold(): boolean {
    const bytes = this.#heldBytes + this.#connection.bufferedBytes;
    return bytes === 0 ? !this.#owner.isPacked() : !this.#owner.isCrowded();
  }

  get waitsForTooMuch(): boolean {
    return this.#waitingUnits > shareBytes && this.#owner.isCrowded();
  }

  hold(bytes: number): void {
    this.#heldBytes += bytes;
    if (bytes !== 0) this.#count();
  }

  /** Sends what is queued, then closes. */
  close(): void {
    this.#isEnding = true;
    this.#owner.close();
  }

  destroy(): void {
    this.#letGo();
    this.#connection.destroy();
  }

  /** When the node holds too much: whether this client has had more than its share unread for long. */
  isDeaf(now: number): boolean {
    const { bufferedBytes } = this.#connection;
    if (bufferedBytes <= shareBytes || bufferedBytes < this.#unreadBytes) this.#unreadSince = now; // it reads
    this.#unreadBytes = bufferedBytes;
    return now - this.#unreadSince >= deafMs;
  }

  #letGo(): void {
    this.#isGone = true;
    this.#splitter.clear();
    this.#owner.onBuffered(-this.#counted.bytes, -this.#counted.unread);
    this.#counted = { bytes: 0, unread: 0 };
  }

  #send(text: string): void {
    this.#activeAt = this.#owner.now();
    const mustWait = this.#connection.bufferedBytes > 0;
    this.#owner.send(mustWait ? encoder.encode(text) : replies.encode(text));
    this.#count();
  }

  /** Keeps the node's sums true. */
  #count(): void {
    if (this.#isGone) return;
    const { bufferedBytes: unread } = this.#connection;
    const bytes = unread + this.#splitter.bufferedBytes + this.#heldBytes + this.#waitingUnits;
    this.#owner.onBuffered(bytes - this.#counted.bytes, unread - this.#counted.unread);
    this.#counted.bytes = bytes;
    this.#counted.unread = unread;
  }

  /** Replies may be sent: the client reads them, and does not hold what others need. */
  get #hasRoom(): boolean {
    const { bufferedBytes } = this.#connection;
    return bufferedBytes === 0 || (bufferedBytes <= this.#limits.replyBytesMax && !this.#owner.isCrowded());
  }

  get #isFull(): boolean {
    if (this.#slots.size >= this.#limits.requestsInFlightMax || !this.#hasRoom) return true;
    return this.waitsForTooMuch || this.#owner.turns.isOver(this);
  }

  #onData(bytes: Uint8Array): void {
    if (this.#isEnding) return;
    this.#activeAt = this.#owner.now();
    if (this.#owner.turns.isOver(this)) this.#splitter.stop();
    this.#read(() => this.#splitter.push(bytes, this.#onLine));
    this.#count();
    if (this.#splitter.bufferedBytes > shareBytes && this.#owner.isCrowded()) {
      this.#end(errorReply(undefined, busy("this node holds as many unfinished lines as it takes", 1000)));
    }
    if (this.#isFull && !this.#isPaused) {
      this.#isPaused = true;
      if (!this.#owner.turns.isOver(this)) this.#lineBeganAt = null; // it cannot go on with its line, maybe for long
      this.#connection.pause();
    }
  }

  /** The client sends no more. It still gets its replies. */
  #onEnd(): void {
    this.inputEnded = true;
    if (!this.#isFull) this.#finishInput();
  }

  /** A last line without a newline counts, as `printf '{"op":"ping"}' | nc` leaves it. */
  #finishInput(): void {
    const { rest } = this.#splitter;
    if (rest.length > 0 && !this.#isEnding) this.#takeLine(rest);
    this.#isEnding = true;
    if (this.#isDone) this.close();
  }

  /** Takes a line. False: the client's share is used up, the next one waits. */
  #takeLine(line: Uint8Array): boolean {
    if (this.#isEnding) return true;
    const isFirst = this.#linesTaken === 0;
    this.#linesTaken++;
    const slot: Slot = { line: null };
    this.#slots.push(slot);
    if (isFirst && isHttp(line)) {
      this.#isEnding = true;
      this.#answer(slot, httpAnswer());
      return true;
    }
    this.#owner.onRequest(parseRequest(line, this.#limits), (line) => this.#answer(slot, line), this);
    if (line.length > longLineBytes) this.#owner.turns.look();
    return !this.#isFull;
  }

  /** Takes the lines that there are, and keeps in mind since when the last one is unfinished. */
  #read(split: () => Splitting): void {
    const linesBefore = this.#linesTaken;
    const state = split();
    if (state === "tooLong" && !this.#isEnding) {
      this.#end(errorReply(undefined, lineTooLong(this.#limits.requestLineBytesMax)));
    }
    const isUnfinished = state === "more" && this.#splitter.bufferedBytes > 0 && !this.inputEnded;
    const isNew = this.#linesTaken > linesBefore || this.#lineBeganAt === null;
    if (!isUnfinished) this.#lineBeganAt = null;
    else if (isNew) this.#lineBeganAt = this.#owner.now();
  }

  /** Reads no more; a last reply, then the end. */
  #end(line: string): void {
    this.#isEnding = true;
    this.#lineBeganAt = null;
    this.#splitter.clear();
    this.#count();
    const slot: Slot = { line: null };
    this.#slots.push(slot);
    this.#answer(slot, line);
  }

  #answer(slot: Slot, line: string | (() => string)): void {
    slot.line = line;
    if (typeof line === "string") this.#waitingUnits += line.length;
    if (this.#waitingUnits > shareBytes) this.#count();
    if (!this.#isGone) this.#owner.onAnswered();
  }
}
