/**
 * Exactly-once writes (thesis 6.3): the cluster keeps the answers of a session's latest sequence numbers, so a write
 * that is sent again under its number is answered again and not done again.
 *
 * @module
 */

/** So many answers of a session are kept; a number that falls out of them cannot be sent again. */
const answersKept = 128;

/** A session and the numbers in use. */
export class Session {
  /** The session's name; rejected when it could not be opened. */
  readonly name: Promise<string>;
  #lastSeq = 0;
  /** Numbers without an outcome, oldest first. */
  readonly #open = new Set<number>();
  /** Writes that wait for a number, in order. */
  readonly #waiting = new Set<(seq: number) => void>();

  constructor(name: Promise<string>) {
    this.name = name;
  }

  /** The next sequence number, as soon as the oldest one in use lies within the window. */
  next(signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    if (this.#waiting.size === 0 && this.#hasRoom()) return Promise.resolve(this.#take());
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.delete(give);
        reject(signal.reason);
      };
      const give = (seq: number): void => {
        signal.removeEventListener("abort", abort);
        resolve(seq);
      };
      signal.addEventListener("abort", abort);
      this.#waiting.add(give);
    });
  }

  /** The number has its outcome, or nobody waits for it any more. */
  end(seq: number): void {
    this.#open.delete(seq);
    for (const give of this.#waiting) {
      if (!this.#hasRoom()) return;
      this.#waiting.delete(give);
      give(this.#take());
    }
  }

  #hasRoom(): boolean {
    const oldest = this.#open.keys().next().value;
    return oldest === undefined || this.#lastSeq + 1 - oldest < answersKept;
  }

  #take(): number {
    this.#open.add(++this.#lastSeq);
    return this.#lastSeq;
  }
}
