/**
 * A disk that numbers what it is asked for, and takes the machine's power, or kills its process, at a chosen number
 * and moment. What is then left of the bytes that were not fsynced is chosen too, not drawn, so that every way to die
 * can be tried in turn.
 *
 * @module
 */

import { type Disk, DiskFull, type Done } from "../../lib/io/io.ts";
import { assert } from "../../lib/assert.ts";
import { type DiskCopy, FakeDisk, type Kind, needsRoom } from "./fake_disk.ts";
import type { Life } from "./scheduler.ts";

/**
 * When it happens. "asked": the call was made, nothing else has happened since; with "nothing" kept that is a death
 * before the call. "late": others have gone on while the
 * disk was busy, and the very next thing would be its end. "done": it is durable, but nobody has been told.
 */
export type Moment = "asked" | "late" | "done";

/**
 * What is left of bytes that were being appended. "cached": only the process is killed; the bytes stay visible and are
 * still not durable. Other operations are atomic: they happened, unless "nothing" is left of them.
 */
export const keeps = ["nothing", "everything", "half", "zeroes", "allButLast512", "cached"] as const;

/** One of the ways in which un-fsynced bytes end. */
export type Keeps = typeof keeps[number];

/** One call to a disk. */
export interface Call {
  /** From 1, over all lives of the machine. */
  number: number;
  kind: Kind;
}

/** Where and how a machine dies. */
export interface Trap {
  matches: (call: Call) => boolean;
  moment: Moment;
  keeps: Keeps;
}

type Files = Map<string, Uint8Array>;

/** What is to become of a file, and how many bytes are written for it. */
interface Operation {
  kind: Kind;
  name: string;
  next: Uint8Array | null;
  size: number;
  done: Done;
}

/** The disk of one machine. */
export class CrashPointDisk extends FakeDisk {
  /** All calls so far. */
  readonly calls: Call[] = [];
  /** Each goes off once. */
  traps: Trap[] = [];
  /** Called where a trap goes off; the machine is to crash now. */
  onTrap: (life: Life, crash: "power" | "kill") => void = () => {};
  /** Nothing that starts before this moment ends before it, in milliseconds. */
  stalledUntil = 0;
  /** What the next power cut leaves. */
  #keeps: Keeps = "nothing";
  #visible: Files = new Map();
  #durable: Files = new Map();
  #busy = new Set<string>();

  override of(life: Life): Disk {
    const bytesOf = (name: string): Uint8Array => this.#visible.get(name) ?? new Uint8Array();
    const start = (call: Omit<Operation, "size">, size = 0): void => this.#start(life, { ...call, size });
    return {
      list: () => [...this.#visible.keys()].sort(),
      read: (name) => this.#visible.get(name)?.slice() ?? null,
      readRange: (name, offset, length) => bytesOf(name).slice(offset, offset + length),
      append: (name, bytes, done) =>
        start({ kind: "append", name, next: concat(bytesOf(name), bytes), done }, bytes.length),
      replace: (name, bytes, done) =>
        start({ kind: "replace", name, next: bytes.slice(), done }, bytes.length),
      truncate: (name, size, done) => {
        assert(size <= bytesOf(name).length, `${name} is cut to ${size} bytes, which it has`);
        start({ kind: "truncate", name, next: bytesOf(name).slice(0, size), done });
      },
      remove: (name, done) => start({ kind: "remove", name, next: null, done }),
    };
  }

  override durable(name: string): Uint8Array | null {
    return this.#durable.get(name) ?? null;
  }

  override durableNames(): string[] {
    return [...this.#durable.keys()].sort();
  }

  override onCrash({ power }: { power: boolean }): void {
    this.#busy.clear();
    if (!power) return;
    for (const name of new Set([...this.#visible.keys(), ...this.#durable.keys()])) {
      const old = this.#durable.get(name) ?? null;
      const next = this.#visible.get(name) ?? null;
      if (old === next) continue;
      const left = leftOf(old, next, this.#keeps);
      set(this.#durable, name, left);
      set(this.#visible, name, left);
      this.onDurable(name, false);
    }
    this.#keeps = "nothing";
  }

  override wipe(): void {
    this.#visible.clear();
    this.#durable.clear();
  }

  override putBack(copy: DiskCopy): void {
    this.#visible = new Map(copy);
    this.#durable = new Map(copy);
  }

  override rot(name: string, bit: number): void {
    const bytes = this.#durable.get(name)!.slice();
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    this.#visible.set(name, bytes);
    this.#durable.set(name, bytes);
  }

  #start(life: Life, { kind, name, next, done, size }: Operation): void {
    assert(!this.#busy.has(name), `one operation at a time is under way on ${name}`);
    this.#busy.add(name);
    const call = { number: this.calls.length + 1, kind };
    this.calls.push(call);
    const trap = this.#takeTrap(call);
    const old = this.#durable.get(name) ?? null;
    const isRefused = this.full && needsRoom(kind, size);
    if (!isRefused) set(this.#visible, name, next);
    const { latencyMsMin, latencyMsMean } = this.faults;
    const latencyMs = (latencyMsMin + this.random.exponential(latencyMsMean)) * this.slowness;
    const ms = Math.max(latencyMs, this.stalledUntil - this.scheduler.now);
    if (trap?.moment === "asked") {
      life.paused = true; // what is ready at this moment comes too late
      this.scheduler.schedule(0, null, `trap at ${kind} ${name}`, () => this.#goOff(life, trap));
    }
    this.scheduler.schedule(ms, life, `${kind} ${name}`, () => {
      if (trap?.moment === "late") return this.#goOff(life, trap);
      this.#busy.delete(name);
      if (!isRefused) {
        set(this.#durable, name, next);
        this.onDurable(name, kind === "append" && old !== null && next !== null && isLonger(old, next));
      }
      if (trap !== null) this.#goOff(life, trap);
      else done(isRefused ? new DiskFull(`${kind} ${name}: no space left on device`) : null);
    });
  }

  #takeTrap(call: Call): Trap | null {
    const trap = this.traps.find((one) => one.matches(call)) ?? null;
    this.traps = this.traps.filter((one) => one !== trap);
    return trap;
  }

  #goOff(life: Life, trap: Trap): void {
    this.#keeps = trap.keeps;
    this.onTrap(life, trap.keeps === "cached" ? "kill" : "power");
  }
}

/** What a power cut leaves of a file that was `old` when it was last durable and reads as `next`. */
export function leftOf(old: Uint8Array | null, next: Uint8Array | null, kept: Keeps): Uint8Array | null {
  if (kept === "nothing") return old;
  const from = old?.length ?? 0;
  const isAppended = next !== null && (old === null || isLonger(old, next));
  if (!isAppended || kept === "everything") return next;
  if (kept === "half") return next.slice(0, from + Math.ceil((next.length - from) / 2));
  if (kept === "zeroes") return concat(next.subarray(0, from), new Uint8Array(next.length - from));
  return next.slice(0, Math.max(from, next.length - 512));
}

/** Whether `next` is `old` with something behind it. */
function isLonger(old: Uint8Array, next: Uint8Array): boolean {
  return next.length > old.length && old.every((byte, at) => byte === next[at]);
}

function set(files: Files, name: string, bytes: Uint8Array | null): void {
  if (bytes === null) files.delete(name);
  else files.set(name, bytes);
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}
