/**
 * A well-behaved client that is served beside the hostile ones, 20 requests a second: when it has to wait, others would.
 *
 * @module
 */

/** One answered request. */
export interface CanarySample {
  /** From the moment at which it was due. */
  readonly ms: number;
  /** Its index in the log, when it was a write. */
  readonly writtenAt: number | null;
}

/** Asks one node, writes and reads in turn, from a thread of its own: this one is busy with being hostile. */
export class Canary {
  readonly #worker = new Worker(new URL("./canary_worker.ts", import.meta.url), { type: "module" });
  #samples: CanarySample[] = [];
  #failure: string | null = null;

  constructor(address: string) {
    this.#worker.onmessage = ({ data }: MessageEvent<{ sample?: CanarySample; failed?: string }>) => {
      if (data.sample !== undefined) this.#samples.push(data.sample);
      this.#failure ??= data.failed ?? null;
    };
    this.#worker.postMessage({ address });
  }

  /** How many answers there are that nobody has taken. */
  get size(): number {
    if (this.#failure !== null) throw new Error(this.#failure);
    return this.#samples.length;
  }

  /** The answers since the last call. */
  take(): CanarySample[] {
    const count = this.size;
    return this.#samples.splice(0, count);
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}
