/**
 * What a state must know of its past so that the promises can be checked in it: who led each term, and what was
 * ever committed.
 *
 * @module
 */

import type { Entry, NodeId } from "../../lib/raft/types.ts";
import { renamings } from "./renaming.ts";

/** A committed entry, and the term of the node that was the first to commit it. */
export interface Committed {
  readonly entry: Entry;
  readonly term: number;
}

/** A past. */
export interface History {
  readonly number: number;
  /** By term; 0: nobody led it. */
  readonly leaders: readonly NodeId[];
  /** By index, from 1. */
  readonly committed: readonly Committed[];
  /** For each renaming a number; pasts with the same one are the same. */
  readonly shapes: readonly number[];
}

/** The pasts that occur, each numbered once. */
export class Histories {
  readonly #histories = new Map<string, History>();
  readonly #byNumber: History[] = [];
  readonly #shapes = new Map<string, number>();
  /** Nothing has happened yet. */
  readonly none: History = this.#known([], []);

  at(number: number): History {
    return this.#byNumber[number]!;
  }

  /** A node became the leader of a term that nobody led. */
  lead({ leaders, committed }: History, leader: { term: number; id: NodeId }): History {
    const after = [...leaders];
    while (after.length <= leader.term) after.push(0);
    after[leader.term] = leader.id;
    return this.#known(after, committed);
  }

  /** A node in `term` was the first to commit the `entries` behind those that are committed. */
  commit({ leaders, committed }: History, more: { entries: readonly Entry[]; term: number }): History {
    return this.#known(leaders, [...committed, ...more.entries.map((entry) => ({ entry, term: more.term }))]);
  }

  #known(leaders: readonly NodeId[], committed: readonly Committed[]): History {
    const commits = committed.map(({ entry: { crc }, term }) => `${crc}/${term}`).join(" ");
    const [key, ...others] = renamings.map((renaming) =>
      `${leaders.map((id) => renaming[id]).join(" ")}, ${commits}`
    );
    const known = this.#histories.get(key!);
    if (known !== undefined) return known;
    const shapes = [key!, ...others].map((text) => {
      if (!this.#shapes.has(text)) this.#shapes.set(text, this.#shapes.size);
      return this.#shapes.get(text)!;
    });
    const history = { number: this.#byNumber.length, leaders, committed, shapes };
    this.#histories.set(key!, history);
    this.#byNumber.push(history);
    return history;
  }
}
