/**
 * A client's connection, as those see it who answer its requests.
 *
 * @module
 */

import type { Request } from "../protocol/client_protocol.ts";

/** Gives the reply line of a request, once, or what makes it when there is room to send it. */
export type Answer = (line: string | (() => string)) => void;

/** A connection, as those see it who answer its requests. */
export interface Caller {
  /** Index of its latest write, which its next reads see; 0: none. */
  lastWriteIndex: number;
  /** Number of its latest watch. */
  lastWatch: number;
  /** How many watches it has. While it has one it stays open, also when it says nothing or will say nothing more. */
  watches: number;
  /** It sends nothing any more. Whether it still reads will only be seen when it is sent something. */
  readonly inputEnded: boolean;
  /** Lines beside the replies may be sent: it reads them. */
  readonly hasRoom: boolean;
  /** Sends lines beside the replies, at once. */
  push(lines: string): void;
  /** More may wait for it in answers that are not lines yet. */
  readonly mayHold: boolean;
  /** It has more than its share of lines that wait, most often for one before them, and clients together hold too much. */
  readonly waitsForTooMuch: boolean;
  /** So many bytes more wait for it in answers that are not lines yet; fewer, when negative. */
  hold(bytes: number): void;
}

/** Takes a request. */
export type OnRequest = (request: Request, answer: Answer, caller: Caller) => void;
