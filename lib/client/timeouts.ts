/**
 * Timeouts that hardly ever come: thousands of requests have one each, and nearly all end long before. A timer of the
 * runtime for each would be a good part of what a request costs. Those of one length come in the order in which they
 * began, so they share one.
 *
 * @module
 */

/** No timer of the runtime takes longer. */
const timerMsMax = 2 ** 31 - 1;

interface Link {
  before: Link;
  after: Link;
}

/** Something that is to come. */
interface Timeout extends Link {
  /** When, on the clock of `performance.now`. */
  readonly at: number;
  readonly come: () => void;
}

/** Runs `come` after `ms` milliseconds, unless the returned function is called before. Keeps the process alive until then. */
export function startTimeout(ms: number, come: () => void): () => void {
  let line = lines.get(ms);
  if (line === undefined) lines.set(ms, line = new Line(ms));
  return line.add(come);
}

/** Those that something is in, by their length. */
const lines = new Map<number, Line>();

/** Timeouts of one length, in a ring with an end that is none of them. */
class Line {
  readonly #ms: number;
  readonly #end: Link;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(ms: number) {
    this.#ms = ms;
    const end = {} as Link;
    this.#end = end.before = end.after = end;
  }

  add(come: () => void): () => void {
    const end = this.#end, { before } = end;
    const timeout: Timeout = { at: performance.now() + this.#ms, come, before, after: end };
    before.after = end.before = timeout;
    if (before === end) this.#wait(this.#ms);
    return () => this.#remove(timeout);
  }

  #remove(timeout: Timeout): void {
    const { before, after } = timeout;
    before.after = after;
    after.before = before;
    timeout.before = timeout.after = timeout; // a second time does nothing
    if (this.#end.after !== this.#end) return;
    clearTimeout(this.#timer);
    if (lines.get(this.#ms) === this) lines.delete(this.#ms);
  }

  #wait(ms: number): void {
    this.#timer = setTimeout(() => this.#onTimer(), Math.min(ms, timerMsMax));
  }

  /** The first one that was there when the timer began may have been removed since. */
  #onTimer(): void {
    for (const end = this.#end; end.after !== end;) {
      const first = end.after as Timeout;
      const left = first.at - performance.now();
      if (left > 0) return this.#wait(Math.ceil(left));
      this.#remove(first);
      first.come();
    }
  }
}
