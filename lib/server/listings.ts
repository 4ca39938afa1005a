/**
 * Lists that are read in pages. All pages show the state of the first one, which is kept frozen for a while; a cursor
 * names the list and the key at which the next page begins, so the same cursor gives the same page again.
 *
 * @module
 */

import type { ListOptions, Page } from "../kv/list.ts";
import { cursorExpired, type RequestError } from "../protocol/errors.ts";
import { operations } from "../protocol/operations.ts";
import type { FrozenState, FrozenStates } from "./frozen_states.ts";
import type { StateMachine } from "./state_machine.ts";

interface Listing {
  readonly options: ListOptions;
  readonly state: FrozenState;
}

/** So many lists are kept in mind; one more, and the oldest goes. Those that cannot go on make room before. */
const listingsMax = 4096;

/** The lists of a node. */
export class Listings {
  readonly #states: FrozenStates;
  /** Tells cursors of this process from those of others. */
  readonly #process: string;
  readonly #listings = new Map<number, Listing>();
  #last = 0;

  /** `random`: from 0 to 1. */
  constructor(states: FrozenStates, random: () => number) {
    this.#states = states;
    this.#process = Math.floor(random() * 2 ** 32).toString(16).padStart(8, "0");
  }

  /** How many lists are kept in mind. */
  get size(): number {
    return this.#listings.size;
  }

  /** The first page of a list of the present state; `next` is a cursor. */
  begin(machine: StateMachine, options: ListOptions, now: number): Page {
    const { entries, next } = machine.store.list(options);
    if (next === null) return { entries, next };
    const state = this.#states.take(machine, now);
    const number = ++this.#last;
    this.#listings.set(number, { options, state });
    for (const [oldest, { state }] of this.#listings) {
      if (state.keys !== null && this.#listings.size <= listingsMax) break;
      this.#listings.delete(oldest);
    }
    return { entries, next: this.#cursor(number, next) };
  }

  /**
   * The page at a cursor, of the state at `index`. `repeated`: what its sender says of the list; only another limit is
   * taken.
   */
  next(
    cursor: string,
    repeated: Partial<ListOptions>,
    now: number,
  ): Page & { index: number } | RequestError {
    const parts = /^([0-9a-f]{8}):([1-9][0-9]{0,15}):(.+)$/s.exec(cursor);
    if (parts === null) return wrong("cursor must be a text that a list answered as next");
    const number = Number(parts[2]);
    if (parts[1] !== this.#process) {
      return cursorExpired("its cursor is of another node, or this one was restarted since");
    }
    const listing = this.#listings.get(number);
    const keys = listing?.state.keys ?? null;
    if (listing === undefined || keys === null) {
      this.#listings.delete(number);
      return cursorExpired("this node does not keep its state any more");
    }
    for (const [name, value] of Object.entries(repeated)) {
      if (name === "limit" || listing.options[name as keyof ListOptions] === value) continue;
      return wrong(`${name} is another than at the beginning of this list: leave it out beside cursor`);
    }
    listing.state.usedAt = now;
    const options = { ...listing.options, limit: repeated.limit ?? listing.options.limit };
    options[options.reverse ? "end" : "start"] = parts[3]!;
    const { entries, next } = keys.list(options);
    return {
      entries,
      next: next === null ? null : this.#cursor(number, next),
      index: listing.state.index,
    };
  }

  #cursor(number: number, key: string): string {
    return `${this.#process}:${number}:${key}`;
  }
}

function wrong(message: string): RequestError {
  return {
    code: "badRequest",
    message: `${message}; this works: ${JSON.stringify(operations.list.example)}`,
  };
}
