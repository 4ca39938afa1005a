/**
 * One end of a simulated TCP connection: what its process has queued, what is on the wire to the other end, and
 * what the process has not read yet.
 *
 * @module
 */

import type { Connection } from "../../lib/io/io.ts";
import type { FakeNetwork, Port } from "./fake_network.ts";
import type { Life } from "./scheduler.ts";

/**
 * What travels on a wire, in order: bytes, the answer to a request to connect, the end of the stream, the end of
 * everything, or bytes of a connection that is broken, which only make the other host say so.
 */
type Packet = { content: Uint8Array | "open" | "end" | "reset" | "lost"; arrivesAt: number };

/** A process that closes gives what it had queued this long. */
const closeMs = 3000;

const nothing = (): void => {};
/** Data handlers get this array, as they would get a real loop's one read buffer: it is overwritten afterwards. */
const readBuffer = new Uint8Array(64 << 10);

/** One end. */
export class Endpoint implements Connection {
  readonly life: Life;
  readonly host: string;
  readonly remoteHost: string;
  readonly remote: string;
  bufferedBytes = 0;
  onOpen: () => void = nothing;
  onData: (bytes: Uint8Array) => void = nothing;
  onEnd: () => void = nothing;
  onDrain: () => void = nothing;
  onClose: (error: Error | null) => void = nothing;
  /** For the network: the attempt to connect has an outcome. */
  onConnected: () => void = nothing;

  #network: FakeNetwork;
  #peer: Endpoint | null = null;
  #state: "connecting" | "open" | "closing" | "closed" = "connecting";
  /** Handed over by the process, not yet taken by its operating system. */
  #queue: Uint8Array[] = [];
  #flushing = false;
  /** On the way to the other end. */
  #wire: Packet[] = [];
  #wireBytes = 0;
  #travelling = false;
  #stalled = false;
  /** Some bytes were lost: nothing may follow them. */
  #broken = false;
  #paused = false;
  /** Arrived, but the process reads nothing now. */
  #unread: (Uint8Array | "end")[] = [];
  #unreadBytes = 0;

  constructor(network: FakeNetwork, place: { life: Life; host: string; remoteHost: string; remote: string }) {
    this.#network = network;
    this.life = place.life;
    this.host = place.host;
    this.remoteHost = place.remoteHost;
    this.remote = place.remote;
    network.endpoints.add(this);
  }

  /** Both ends are there and the process has not closed this one. */
  get isOpen(): boolean {
    return this.#state === "open" && this.#peer !== null;
  }

  send(bytes: Uint8Array): void {
    if (this.#state === "closing" || this.#state === "closed" || bytes.length === 0) return;
    this.#network.onSend(this, bytes);
    this.#queue.push(bytes);
    this.bufferedBytes += bytes.length;
    if (this.#state === "open") this.#flushSoon();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#unread.length > 0) this.#at(0, "resume reading", () => this.#readOn());
  }

  close(): void {
    if (this.#state === "closing" || this.#state === "closed") return;
    const connected = this.#state === "open";
    this.#state = "closing";
    if (!connected) {
      this.#put("reset");
      return this.#finish(null);
    }
    this.#flushSoon();
    this.#at(closeMs, "give up closing", () => {
      if (this.#state !== "closed") this.destroy();
    });
  }

  destroy(): void {
    if (this.#state === "closed") return;
    this.#put(this.#network.random.pick(["end", "reset"]));
    this.#finish(null);
  }

  /** Our request to connect has reached the host, where `port` listens or nobody does. */
  onKnock(port: Port | undefined): void {
    if (this.#state !== "connecting" || !this.life.alive) return;
    const back = this.#network.latency(this.remoteHost, this.host);
    if (port === undefined || !port.life.alive) {
      const refused = (): void => {
        if (!this.#network.reaches(this.remoteHost, this.host)) this.#network.whenChanged(refused);
        else {this.#network.scheduler.deliver(this.life, "refused", () =>
            this.giveUp(`${this.remote} refused`));}
      };
      this.#network.scheduler.schedule(back, null, "refuse", refused);
      return;
    }
    const far = new Endpoint(this.#network, {
      life: port.life,
      host: this.remoteHost,
      remoteHost: this.host,
      remote: `${this.host}:40000`,
    });
    far.#peer = this;
    far.#state = "open";
    this.#peer = far;
    far.#put("open");
    this.#network.scheduler.deliver(port.life, "accept", () => port.onConnection(far));
  }

  /** An attempt to connect failed. */
  giveUp(reason: string): void {
    if (this.#state !== "connecting") return;
    this.#put("reset");
    this.#finish(new Error(reason));
  }

  /** The connection breaks in the middle; an end that does not find out stays half-open. */
  breakOff(who: "both" | "near" | "far"): void {
    const peer = this.#peer!;
    for (const end of [this, peer]) {
      end.#loseTail();
      end.#broken = true;
    }
    if (who !== "far") peer.#put("reset");
    if (who !== "near") this.#put("reset");
  }

  /** The process that owned this end is no more. */
  onCrash(options: { power: boolean }): void {
    this.#network.endpoints.delete(this);
    const wasOpen = this.#state !== "closed";
    this.#state = "closed";
    this.#queue = [];
    if (options.power) {
      // What is on the wire goes on; what the operating system kept to send it again does not.
      if (this.#stalled) this.#wire = [];
    } else if (wasOpen) this.#put("reset");
  }

  #at(ms: number, what: string, run: () => void): void {
    this.#network.scheduler.schedule(ms, this.life, what, run);
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#at(0, "flush", () => this.#flush());
  }

  /** The operating system takes what the window has room for. */
  #flush(): void {
    this.#flushing = false;
    if (this.#state === "closed") return;
    const { windowBytes } = this.#network.faults;
    let room = windowBytes - this.#wireBytes - (this.#peer === null ? 0 : this.#peer.#unreadBytes);
    const taken: Uint8Array[] = [];
    while (this.#queue.length > 0 && room > 0) {
      let bytes = this.#queue.shift()!;
      if (bytes.length > room) {
        this.#queue.unshift(bytes.subarray(room));
        bytes = bytes.subarray(0, room);
      }
      room -= bytes.length;
      this.bufferedBytes -= bytes.length;
      taken.push(bytes);
    }
    if (taken.length > 0) this.#cutUp(taken.length === 1 ? taken[0]! : concatenate(taken));
    if (this.#queue.length > 0) return;
    if (this.#state === "closing") {
      this.#put("end");
      this.#finish(null);
    } else if (taken.length > 0) this.onDrain();
  }

  /** Puts bytes on the wire in one or several pieces. */
  #cutUp(bytes: Uint8Array): void {
    const { random, faults } = this.#network;
    while (bytes.length > readBuffer.length || bytes.length > 1 && random.chance(faults.splitChance)) {
      const at = 1 + random.below(Math.min(bytes.length - 1, readBuffer.length));
      this.#put(bytes.subarray(0, at));
      bytes = bytes.subarray(at);
    }
    this.#put(bytes);
  }

  #put(content: Packet["content"]): void {
    if (this.#peer === null) return;
    const { scheduler } = this.#network;
    if (this.#broken && content !== "open") content = typeof content === "string" ? "reset" : "lost";
    if (typeof content !== "string") this.#wireBytes += content.length;
    const previous = this.#wire[this.#wire.length - 1]?.arrivesAt ?? 0;
    const arrivesAt = Math.max(previous, scheduler.now + this.#network.latency(this.host, this.remoteHost));
    this.#wire.push({ content, arrivesAt });
    if (!this.#travelling) this.#travel();
  }

  #travel(): void {
    const { scheduler } = this.#network;
    this.#travelling = true;
    const ms = Math.max(0, this.#wire[0]!.arrivesAt - scheduler.now);
    scheduler.schedule(ms, null, `${this.host}>${this.remoteHost}`, () => this.#arrive());
  }

  #arrive(): void {
    this.#stalled = false;
    this.#travelling = false;
    if (this.#wire.length === 0) return;
    if (!this.#network.reaches(this.host, this.remoteHost)) {
      this.#stalled = true;
      this.#travelling = true;
      return this.#network.whenChanged(() => this.#arrive());
    }
    const peer = this.#peer!;
    const { content } = this.#wire.shift()!;
    if (typeof content !== "string") {
      this.#wireBytes -= content.length;
      peer.#unreadBytes += content.length;
    }
    // A host answers what belongs to no connection with a reset.
    if (peer.#state === "closed" && (typeof content !== "string" || content === "lost")) peer.#put("reset");
    if (this.#wire.length > 0) this.#travel();
    this.#network.scheduler.deliver(peer.life, "arrive", () => peer.#receive(content));
  }

  #receive(content: Packet["content"]): void {
    if (content === "reset") return this.#finish(new Error(`connection reset by ${this.remoteHost}`));
    if (content === "open") {
      if (this.#state !== "connecting") return;
      this.#state = "open";
      this.onConnected();
      if (this.#queue.length > 0) this.#flushSoon();
      return this.onOpen();
    }
    if (this.#state !== "open" || content === "lost") return;
    if (this.#paused || this.#unread.length > 0) this.#unread.push(content);
    else this.#hand(content);
  }

  #readOn(): void {
    while (this.#unread.length > 0 && !this.#paused && this.#state === "open") {
      this.#hand(this.#unread.shift()!);
    }
  }

  #hand(content: Uint8Array | "end"): void {
    if (content === "end") return this.onEnd();
    const peer = this.#peer!;
    this.#unreadBytes -= content.length;
    if (peer.life.alive && peer.#queue.length > 0) peer.#flushSoon();
    this.#network.onReceive(this, content);
    readBuffer.set(content);
    this.onData(readBuffer.subarray(0, content.length));
    readBuffer.fill(0x3f, 0, content.length);
  }

  /** Forgets a random part of what is on the wire, as a connection that breaks does. */
  #loseTail(): void {
    this.#wire = this.#wire.slice(0, this.#network.random.below(this.#wire.length + 1));
    this.#wireBytes = this.#wire.reduce((sum, { content }) => sum + bytesOf(content), 0);
  }

  /** This end is closed; its process hears of it in a moment. */
  #finish(error: Error | null): void {
    if (this.#state === "closed") return;
    this.onConnected();
    this.#state = "closed";
    this.#queue = [];
    this.bufferedBytes = 0;
    this.#network.endpoints.delete(this);
    this.#at(0, "closed", () => this.onClose(error));
  }
}

function bytesOf(content: Packet["content"]): number {
  return typeof content === "string" ? 0 : content.length;
}

function concatenate(parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
