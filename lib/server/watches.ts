/**
 * Watches: clients that are told every change of some keys. A watch is a position in the history of changes and has no
 * queue: what its connection has no room for stays in the history. One that falls behind what the history keeps, because
 * its client reads too slowly or was away for too long, begins anew with the present state, and is told so.
 *
 * @module
 */

import type { ListOptions } from "../kv/list.ts";
import type { WatchRequest } from "../protocol/client_protocol.ts";
import {
  changeTail,
  eventHead,
  presentTail,
  progressTail,
  type ResetReason,
  resetTail,
  type WatchReply,
} from "../protocol/client_replies.ts";
import { busy, type RequestError } from "../protocol/errors.ts";
import type { Caller } from "./caller.ts";
import type { FrozenState, FrozenStates } from "./frozen_states.ts";
import type { StateMachine } from "./state_machine.ts";

/** A connection has at most so many watches. */
export const watchesPerCallerMax = 128;
/** Events leave in pieces of about this many characters. */
const pieceUnits = 64 << 10;
/** In one round of work so many are told to all together; looking at a change counts like so many. */
const roundUnits = 512 << 10;
const lookUnits = 64;
/** Changes that are looked at in one go. */
const looksMax = 256;
/** Keys of the present state that are looked up at once. */
const pageKeys = 256;
/** After so much silence a watch is told how far it is, when there is something new ... */
const progressMs = 5000;
/** ... and after so much anyhow. One whose client sends nothing any more must soon hear that it is gone, if it is. */
const silenceMs = 30_000;

interface Watch {
  readonly caller: Caller;
  readonly number: number;
  readonly head: string;
  readonly range: Pick<WatchRequest, "key" | "prefix">;
  /** That key or prefix in UTF-8. */
  readonly bytes: Uint8Array;
  /** Its reply has left: events may. */
  isStarted: boolean;
  /** Changes up to this index were told, or are not wanted. Only grows. */
  told: number;
  /** The greatest index that its client has read. */
  said: number;
  /** Of the next change in the history; null: changes are missing, and it begins anew. */
  position: number | null;
  /** It was told something, so whatever it misses from now on it missed because it was slow. */
  hasBegun: boolean;
  /** Position of the next change to tell, while it is not clear whether another one of its entry follows. */
  held: number | null;
  /** It begins anew: which state it is told, and the next key. */
  present: { state: FrozenState; start: string | null } | null;
  spokeAt: number;
}

/** All watches of a node. */
export class Watches {
  readonly #machine: StateMachine;
  readonly #states: FrozenStates;
  readonly #watchesMax: number;
  readonly #watches = new Map<Caller, Map<number, Watch>>();
  /** All of them; the one that was told something the longest ago comes first when there is much to tell. */
  readonly #queue = new Set<Watch>();
  /** Encoded changes by their positions, for the other watches of the same round. */
  readonly #tails = new Map<number, string>();

  constructor(machine: StateMachine, states: FrozenStates, watchesMax: number) {
    this.#machine = machine;
    this.#states = states;
    this.#watchesMax = watchesMax;
  }

  /** How many watches there are. */
  get size(): number {
    return this.#queue.size;
  }

  /** Opens a watch. To be called with the result: `start`, once the reply leaves. */
  open({ key, prefix, after }: WatchRequest, caller: Caller, now: number): Opened | RequestError {
    const { appliedIndex, history } = this.#machine;
    const own = this.#watches.get(caller) ?? new Map<number, Watch>();
    if (own.size >= watchesPerCallerMax) {
      return busy(`this connection has ${own.size} watches, as many as it may`, 1000);
    }
    if (this.size >= this.#watchesMax) {
      return busy(`this node has ${this.size} watches, as many as it takes`, 1000);
    }
    const number = ++caller.lastWatch;
    const told = after ?? appliedIndex;
    const watch: Watch = {
      caller,
      number,
      head: eventHead(number),
      range: key !== undefined ? { key } : prefix !== undefined ? { prefix } : {},
      bytes: encoder.encode(key ?? prefix ?? ""),
      isStarted: false,
      told,
      said: told,
      position: history.seek(told),
      hasBegun: false,
      held: null,
      present: null,
      spokeAt: now,
    };
    own.set(number, watch);
    this.#watches.set(caller, own);
    caller.watches = own.size;
    this.#queue.add(watch);
    return {
      reply: {
        ok: true,
        watch: number,
        index: appliedIndex,
        ...(watch.position === null ? { reset: true } : {}),
      },
      start: () => watch.isStarted = true,
    };
  }

  /** Ends a watch of that connection. False: it has no such watch. */
  close(caller: Caller, number: number): boolean {
    const own = this.#watches.get(caller);
    const watch = own?.get(number);
    if (own === undefined || watch === undefined) return false;
    this.#queue.delete(watch);
    own.delete(number);
    caller.watches = own.size;
    if (own.size === 0) this.#watches.delete(caller);
    return true;
  }

  /** The connection is gone. */
  drop(caller: Caller): void {
    for (const watch of this.#watches.get(caller)?.values() ?? []) this.#queue.delete(watch);
    this.#watches.delete(caller);
  }

  /**
   * Tells what is new, as far as there is room; the rest when clients have read. True: there is more that could be told
   * now, but others must get their turn first.
   */
  flush(now: number): boolean {
    let left = roundUnits;
    for (const watch of this.#queue) {
      if (!watch.isStarted) continue;
      left -= this.#advance(watch, now, left);
      if (left > 0) continue;
      this.#queue.delete(watch);
      this.#queue.add(watch);
      break;
    }
    this.#tails.clear();
    return left <= 0;
  }

  /** Time passes: the silent ones are told how far they are, so that they can go on from there on another node. */
  onTick(now: number): void {
    const { appliedIndex, history } = this.#machine;
    for (const watch of this.#queue) {
      const silence = now - watch.spokeAt;
      const isEager = appliedIndex > watch.said || watch.caller.inputEnded;
      const isDue = silence >= (isEager ? progressMs : silenceMs);
      const isUpToDate = watch.isStarted && watch.position === history.end && watch.present === null;
      if (!isDue || !isUpToDate || !watch.caller.hasRoom) continue;
      watch.told = Math.max(watch.told, appliedIndex);
      watch.said = appliedIndex; // also to one that is only interested in what comes much later
      this.#say(watch, watch.head + progressTail(appliedIndex), now);
    }
  }

  /** Tells one watch about `units` characters. Returns how many it were, with something for each change looked at. */
  #advance(watch: Watch, now: number, units: number): number {
    const { history } = this.#machine;
    let text = "", cost = 0;
    while (watch.caller.hasRoom && cost < units) {
      const before = text.length;
      cost += lookUnits;
      if (watch.present !== null) text += this.#nextPresent(watch, now);
      else if (watch.position === history.end) break;
      else {
        const { position } = watch;
        text += this.#nextChanges(watch, now);
        if (position !== null && watch.position !== null) cost += lookUnits * (watch.position - position);
      }
      cost += text.length - before;
      if (text.length < pieceUnits) continue;
      this.#say(watch, text, now);
      text = "";
    }
    if (text.length > 0) this.#say(watch, text, now);
    return cost;
  }

  /** The next changes, as many as are looked at in one go or go into a piece. */
  #nextChanges(watch: Watch, now: number): string {
    const { history } = this.#machine;
    const oldest = watch.held ?? watch.position;
    if (oldest === null || oldest < history.first) {
      // Also when this node takes over a state that is older than what the watch was told elsewhere: nothing is missing.
      watch.position = history.seek(watch.told);
      watch.held = null;
      if (watch.position === null) return this.#beginAnew(watch, now);
    }
    let text = "";
    const end = Math.min(history.end, watch.position! + looksMax);
    for (; watch.position! < end && text.length < pieceUnits; watch.position!++) {
      text += this.#nextChange(watch, watch.position!);
      watch.hasBegun = true;
    }
    return text;
  }

  /** What a watch is told when it comes to a change. */
  #nextChange(watch: Watch, position: number): string {
    const { history } = this.#machine;
    const index = history.indexAt(position);
    if (index <= watch.told) return "";
    let text = "";
    if (matches(watch, history.keyAt(position))) {
      if (watch.held !== null) text = watch.head + this.#tailOf(watch.held, true);
      watch.held = position;
    }
    const isLast = position + 1 === history.end || history.indexAt(position + 1) !== index;
    if (!isLast) return text;
    if (watch.held !== null) {
      text += watch.head + this.#tailOf(watch.held, false);
      watch.said = index;
    }
    watch.told = index;
    watch.held = null;
    return text;
  }

  #beginAnew(watch: Watch, now: number): string {
    const isSlow = watch.hasBegun && watch.told >= this.#machine.history.beganAt;
    const reason: ResetReason = isSlow ? "slow" : "historyGone";
    const state = this.#states.take(this.#machine, now);
    watch.present = { state, start: "" };
    return watch.head + resetTail(state.index, reason);
  }

  /** Some keys of the present state; behind the last one, what changed since. */
  #nextPresent(watch: Watch, now: number): string {
    const { state, start } = watch.present!;
    const { history } = this.#machine;
    if (state.keys === null) { // taken away meanwhile
      watch.hasBegun = true;
      return this.#beginAnew(watch, now);
    }
    state.usedAt = now;
    if (start === null) {
      watch.hasBegun = true;
      watch.told = watch.said = Math.max(watch.told, state.index);
      watch.position = history.seek(state.index);
      watch.present = null;
      return watch.head + progressTail(state.index);
    }
    const { entries, next } = state.keys.list(rangeFrom(watch.range, start));
    watch.present!.start = next;
    return entries.map((entry) => watch.head + presentTail(entry, state.index)).join("");
  }

  /** The change at a position, encoded. */
  #tailOf(position: number, more: boolean): string {
    const { history } = this.#machine;
    const encoded = () => changeTail(history.changeAt(position), history.indexAt(position), more);
    if (more || this.size === 1) return encoded();
    const known = this.#tails.get(position);
    if (known !== undefined) return known;
    const tail = encoded();
    if (this.#tails.size >= tailsMax) this.#tails.clear();
    this.#tails.set(position, tail);
    return tail;
  }

  #say(watch: Watch, text: string, now: number): void {
    watch.spokeAt = now;
    watch.caller.push(text);
  }
}

/** A watch that was opened. */
export interface Opened {
  reply: WatchReply;
  start(): void;
}

const tailsMax = 1000;

const encoder = new TextEncoder();

/** Whether a watch is for that key, given in UTF-8. */
function matches({ range, bytes }: Watch, key: Uint8Array): boolean {
  if (range.key === undefined ? key.length < bytes.length : key.length !== bytes.length) return false;
  for (let i = 0; i < bytes.length; i++) if (key[i] !== bytes[i]) return false;
  return true;
}

function rangeFrom({ key, prefix }: Watch["range"], start: string): ListOptions {
  if (key !== undefined) return { start: key, end: `${key}\u0000`, limit: 1 };
  return prefix === undefined ? { start, limit: pageKeys } : { prefix, start, limit: pageKeys };
}
