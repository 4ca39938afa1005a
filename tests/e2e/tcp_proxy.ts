/**
 * Cuts connections to a client port at a chosen moment of a request's life, in good order or by reset.
 *
 * @module
 */

import { concat } from "../../lib/bytes.ts";
import { type Direction, type Filter, type Link, TcpProxy } from "../../lib/chaos/tcp_proxy.ts";

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

const newline = "\n".charCodeAt(0);

/** A proxy before a target that answers each line with one line. */
export class RequestCutter {
  /** Chooses the fate of the connection of each request line, as it comes; null: none. */
  onRequest: (line: string) => Cut | null = () => null;
  /** Cuts so far. */
  readonly cuts: Record<Moment, number>;
  readonly #proxy: TcpProxy;

  private constructor(proxy: TcpProxy) {
    this.#proxy = proxy;
    this.cuts = Object.fromEntries(moments.map((moment) => [moment, 0])) as Record<Moment, number>;
    proxy.filter = (link) => this.#filter(link);
  }

  /** Starts before `target`, "host:port", which need not be there yet. */
  static async open(target: string): Promise<RequestCutter> {
    return new RequestCutter(await TcpProxy.open(target));
  }

  /** Where it listens, "host:port". */
  get address(): string {
    return this.#proxy.address;
  }

  /** Cuts all connections and listens no more. */
  close(): Promise<void> {
    return this.#proxy.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #filter(link: Link): Filter {
    /** The fates of the requests that were passed on and have no reply yet; the target answers in order. */
    const fates: (Cut | null)[] = [];
    let isOver = false;
    const cut = ({ moment, reset }: Cut, direction: Direction, last: Uint8Array): void => {
      isOver = true;
      this.cuts[moment]++;
      link.cut(direction, last, reset);
    };
    return byLine((direction, line) => {
      if (isOver) return;
      const isRequest = direction === "toTarget";
      const fate = isRequest ? this.onRequest(new TextDecoder().decode(line)) : fates.shift() ?? null;
      const part = fate === null ? null : momentParts[isRequest ? "request" : "reply"][fate.moment];
      if (fate !== null && part != null) return cut(fate, direction, part(line));
      if (isRequest) fates.push(fate);
      link.pass(direction, line);
    });
  }
}

/** Makes whole lines of what comes, with their newlines; a line that never ends is handed on by nobody. */
export function byLine(onLine: Filter): Filter {
  const partial: Record<Direction, Uint8Array> = { toTarget: new Uint8Array(), toDialler: new Uint8Array() };
  return (direction, bytes) => {
    let rest = concat([partial[direction], bytes]);
    for (let end = rest.indexOf(newline); end >= 0; end = rest.indexOf(newline)) {
      const line = rest.slice(0, end + 1);
      rest = rest.slice(end + 1);
      onLine(direction, line);
    }
    partial[direction] = rest;
  };
}

/** How much of the line still goes when the connection is cut at that moment. */
const momentParts: Record<"request" | "reply", Partial<Record<Moment, (line: Uint8Array) => Uint8Array>>> = {
  request: {
    beforeRequest: (line) => line.subarray(0, 0),
    inRequest: (line) => line.subarray(0, line.length >> 1),
    afterRequest: (line) => line,
  },
  reply: {
    beforeReply: (line) => line.subarray(0, 0),
    inReply: (line) => line.subarray(0, line.length >> 1),
    afterReply: (line) => line,
  },
};
