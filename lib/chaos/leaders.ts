/**
 * Who led when, as far as the nodes say it when they are asked again and again.
 *
 * @module
 */

/** As much of a node's status as counts here. */
interface Status {
  node: number;
  role: string;
  term: number;
}

const pollMs = 100;

/** Leaders by their terms. */
export class Leaders {
  readonly #byTerm = new Map<number, number>();
  /** Two leaders of one term: what must never be. */
  readonly contradictions: string[] = [];

  /** How often another one came. */
  get changes(): number {
    return Math.max(0, this.#byTerm.size - 1);
  }

  /** Asks until the signal aborts. */
  async watch(statuses: () => Promise<(Status | null)[]>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      for (const status of await statuses()) if (status?.role === "leader") this.note(status);
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  }

  /** That node says that it leads. */
  note({ node, term }: Pick<Status, "node" | "term">): void {
    const known = this.#byTerm.get(term) ?? node;
    this.#byTerm.set(term, known);
    if (known !== node) this.contradictions.push(`the nodes ${known} and ${node} both led in term ${term}`);
  }
}
