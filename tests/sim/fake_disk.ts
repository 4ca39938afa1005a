/**
 * A data folder that behaves as badly as io.ts allows. It keeps two pictures: what the file system shows, and
 * what would be left if the power went now. Only a finished operation moves the second one; a power cut mixes the
 * two, page by page. The end of a process alone loses nothing, but makes nothing durable either.
 *
 * @module
 */

import { type Disk, DiskFull, type Done, reserveBytesMax } from "../../lib/io/io.ts";
import { assert } from "../../lib/assert.ts";
import type { Random } from "./random.ts";
import type { Life, Scheduler } from "./scheduler.ts";
import { Violation } from "./violation.ts";

/** How a disk behaves when nothing in particular is wrong. */
export interface DiskFaults {
  /** An operation takes at least this long ... */
  latencyMsMin: number;
  /** ... and on average this much longer. */
  latencyMsMean: number;
  /** The part of operations that hang ... */
  stallChance: number;
  /** ... for up to this long. */
  stallMsMax: number;
  /** What is written or lost as one: 512 or 4096. */
  pageBytes: number;
}

/** Some bytes; the array may have room behind them for more of the same file. */
interface Contents {
  buffer: Uint8Array;
  length: number;
}

/** All durable files of a disk at one moment. */
export type DiskCopy = ReadonlyMap<string, Uint8Array>;

/** What a disk can be asked to do. */
export type Kind = "append" | "replace" | "truncate" | "remove";

/** Whether an operation that writes `size` bytes needs room that is not reserved. */
export function needsRoom(kind: Kind, size: number): boolean {
  return size > (kind === "replace" ? reserveBytesMax : 0);
}

/** The disk of one machine. It outlives the processes. */
export class FakeDisk {
  /** Operations take this many times longer: an episode of a slow disk. */
  slowness = 1;
  /** The next operation fails, and what it leaves behind is anybody's guess. */
  failNext = false;
  /** Now and then an operation hangs, if that is among the faults. */
  mayStall = true;
  /** There is no room: what needs some ends with DiskFull, after its time, and leaves the file as it was. */
  full = false;
  /** Called when an operation starts, with the time it will take. Here crashes are timed. */
  onStart: (ms: number, kind: Kind) => void = () => {};
  /** Called when the durable contents of a file have changed; `grown`: bytes were added, nothing else. */
  onDurable: (name: string, grown: boolean) => void = () => {};
  /** When what is under way will have ended. */
  busyUntil = 0;
  /** Files that a power cut left neither old nor new. */
  tornFiles = 0;
  /** Power cuts that lost or tore something that was under way. */
  lossyCrashes = 0;
  /** Operations that failed, and those that found no room. */
  failed = 0;
  refused = 0;

  #visible = new Map<string, Contents>();
  #durable = new Map<string, Contents>();
  /** What was done to each file since it was last durable. */
  #unsynced = new Map<string, Kind[]>();
  #busy = new Set<string>();
  /** Files of which an operation failed in this life: what they hold, nobody knows. */
  #unknown = new Set<string>();

  constructor(readonly scheduler: Scheduler, readonly random: Random, readonly faults: DiskFaults) {}

  /** The disk as one life of the machine uses it. */
  of(life: Life): Disk {
    return {
      list: () => [...this.#visible.keys()].sort(),
      read: (name) => {
        const file = this.#visible.get(name);
        return file === undefined ? null : file.buffer.slice(0, file.length);
      },
      readRange: (name, offset, length) => {
        const file = this.#visible.get(name) ?? { buffer: new Uint8Array(), length: 0 };
        return file.buffer.slice(Math.min(offset, file.length), Math.min(offset + length, file.length));
      },
      append: (name, bytes, done) => {
        const file = this.#visible.get(name) ?? { buffer: new Uint8Array(), length: 0 };
        if (this.full && needsRoom("append", bytes.length)) {
          this.#refuse(life, { kind: "append", name, done });
        } else this.#start(life, { kind: "append", name, contents: appended(file, bytes), done });
      },
      replace: (name, bytes, done) => {
        if (this.full && needsRoom("replace", bytes.length)) {
          this.#refuse(life, { kind: "replace", name, done });
        } else this.#start(life, { kind: "replace", name, contents: contentsOf(bytes), done });
      },
      truncate: (name, size, done) => {
        const file = this.#visible.get(name);
        assert(file !== undefined && size <= file.length, `${name} is cut to ${size} bytes, which it has`);
        this.#start(life, {
          kind: "truncate",
          name,
          contents: contentsOf(file.buffer.subarray(0, size)),
          done,
        });
      },
      remove: (name, done) => this.#start(life, { kind: "remove", name, contents: null, done }),
    };
  }

  /** What a power cut would certainly leave of a file; null: no file. */
  durable(name: string): Uint8Array | null {
    const file = this.#durable.get(name);
    return file === undefined ? null : file.buffer.subarray(0, file.length);
  }

  /** Names of the files that a power cut would certainly leave, sorted. */
  durableNames(): string[] {
    return [...this.#durable.keys()].sort();
  }

  /** The process is gone. With the power gone too, what was not durable is settled by chance. */
  onCrash(options: { power: boolean }): void {
    this.#busy.clear();
    this.busyUntil = 0;
    this.#unknown.clear();
    this.failNext = false;
    if (!options.power) return;
    let isLossy = false;
    for (const name of [...this.#unsynced.keys()].sort()) isLossy = this.#settle(name) || isLossy;
    if (isLossy) this.lossyCrashes++;
    this.#visible = new Map(this.#durable);
  }

  /** What a power cut would certainly leave now. */
  copy(): DiskCopy {
    return new Map(this.durableNames().map((name) => [name, this.durable(name)!.slice()]));
  }

  /** An earlier copy takes the place of this disk. Its machine is down. */
  putBack(copy: DiskCopy): void {
    this.wipe();
    for (const [name, bytes] of copy) {
      const contents = contentsOf(bytes);
      this.#visible.set(name, contents);
      this.#durable.set(name, contents);
    }
  }

  /** Another, empty disk takes the place of this one. Its machine is down. */
  wipe(): void {
    this.#visible.clear();
    this.#durable.clear();
    this.#unsynced.clear();
  }

  /** Turns one bit of a durable file around, as rot does: nobody is told. */
  rot(name: string, bit: number): void {
    for (const files of [this.#visible, this.#durable]) {
      const file = files.get(name);
      if (file === undefined || bit >= file.length * 8) continue;
      const contents = contentsOf(file.buffer.subarray(0, file.length)); // the array may be shared
      contents.buffer[bit >> 3]! ^= 1 << (bit & 7);
      files.set(name, contents);
    }
  }

  /** Each of two durable files has the other's contents from now on. */
  swap(a: string, b: string): void {
    for (const files of [this.#visible, this.#durable]) {
      const [ofA, ofB] = [files.get(a) ?? null, files.get(b) ?? null];
      set(files, a, ofB);
      set(files, b, ofA);
    }
  }

  #start(
    life: Life,
    operation: { kind: Kind; name: string; contents: Contents | null; done: Done },
  ): void {
    const { kind, name, contents, done } = operation;
    if (this.#unknown.has(name)) {
      throw new Violation(
        "running",
        `${life.name} goes on with ${kind} ${name}, of which an operation failed`,
      );
    }
    assert(!this.#busy.has(name), `one operation at a time is under way on ${name}`);
    this.#busy.add(name);
    const kinds = this.#unsynced.get(name);
    const wasUnsettled = kinds !== undefined;
    if (kinds === undefined) this.#unsynced.set(name, [kind]);
    else kinds.push(kind);
    set(this.#visible, name, contents);
    const fails = this.failNext;
    this.failNext = false;
    const ms = this.#begin(kind);
    this.scheduler.schedule(ms, life, `${fails ? "failed " : ""}${kind} ${name}`, () => {
      this.#busy.delete(name);
      if (fails) {
        this.failed++;
        this.#unknown.add(name);
        this.#settle(name);
        return done(new Error(`${kind} ${name}: input/output error`));
      }
      set(this.#durable, name, contents);
      this.#unsynced.delete(name);
      this.onDurable(name, kind === "append" && !wasUnsettled);
      done(null);
    });
  }

  /** As much of an operation as a full disk lets come about: its time. A failure that was to come still waits. */
  #refuse(life: Life, { kind, name, done }: { kind: Kind; name: string; done: Done }): void {
    assert(!this.#busy.has(name), `one operation at a time is under way on ${name}`);
    this.#busy.add(name);
    const ms = this.#begin(kind);
    this.scheduler.schedule(ms, life, `full ${kind} ${name}`, () => {
      this.#busy.delete(name);
      this.refused++;
      done(new DiskFull(`${kind} ${name}: no space left on device`));
    });
  }

  /** Draws how long an operation takes that begins now. */
  #begin(kind: Kind): number {
    const ms = this.#latency();
    this.busyUntil = Math.max(this.busyUntil, this.scheduler.now + ms);
    this.onStart(ms, kind);
    return ms;
  }

  #latency(): number {
    const { latencyMsMin, latencyMsMean, stallChance, stallMsMax } = this.faults;
    const hangs = this.random.chance(stallChance) && this.mayStall;
    const stall = hangs ? this.random.between(0, stallMsMax) : 0;
    return (latencyMsMin + this.random.exponential(latencyMsMean)) * this.slowness + stall;
  }

  /** Decides what of a file's unfinished operations became durable. Returns whether some of it did not. */
  #settle(name: string): boolean {
    const kinds = this.#unsynced.get(name) ?? [];
    this.#unsynced.delete(name);
    const old = this.#durable.get(name) ?? null;
    const next = this.#visible.get(name) ?? null;
    const inPlace = next !== null && kinds.includes("append") && !kinds.includes("replace");
    if (inPlace && (old !== null || this.random.chance(0.8))) set(this.#durable, name, this.#mix(old, next));
    else if (!inPlace && this.random.chance(0.5)) set(this.#durable, name, next);
    this.onDurable(name, false);
    return (this.#durable.get(name) ?? null) !== next;
  }

  /**
   * Every page is old, zero or new; what was durable never becomes zero. The length follows one of the pages, or ends
   * anywhere in what is new.
   */
  #mix(old: Contents | null, next: Contents): Contents {
    const oldLength = old?.length ?? 0;
    const { pageBytes } = this.faults;
    const fateOf = this.random.pick(fates)(this.random, Math.ceil(next.length / pageBytes));
    const bytes = new Uint8Array(Math.max(oldLength, next.length));
    if (old !== null) bytes.set(old.buffer.subarray(0, oldLength));
    const seen = new Set<string>();
    let length = oldLength;
    for (let from = 0; from < next.length; from += pageBytes) {
      const end = Math.min(from + pageBytes, next.length);
      // Where an array is shared, nothing below the old length has changed.
      if (end <= oldLength && old?.buffer === next.buffer) continue;
      const fate = fateOf(from / pageBytes);
      seen.add(fate);
      if (fate === "new") bytes.set(next.buffer.subarray(from, end), from);
      if (fate !== "old") length = Math.max(length, end);
    }
    if (this.random.chance(0.2)) length = oldLength + this.random.below(Math.max(1, length - oldLength));
    else if (seen.size === 1 && seen.has("new")) return next;
    if (length > oldLength) this.tornFiles++;
    return { buffer: bytes.subarray(0, length), length };
  }
}

type Fate = "old" | "zero" | "new";

/** The ways in which a power cut may leave the pages of a file: all, none, the first ones, or any mixture. */
const fates: ((random: Random, pages: number) => (page: number) => Fate)[] = [
  () => () => "new",
  () => () => "old",
  (random, pages) => {
    const kept = random.below(pages + 1);
    return (page) => page < kept ? "new" : "old";
  },
  (random) => () => random.pick<Fate>(["old", "zero", "new"]),
  (random) => () => random.pick<Fate>(["old", "new", "new"]),
];

function contentsOf(bytes: Uint8Array): Contents {
  return { buffer: bytes.slice(), length: bytes.length };
}

function set(files: Map<string, Contents>, name: string, contents: Contents | null): void {
  if (contents === null) files.delete(name);
  else files.set(name, contents);
}

/** Shares the array of `file` where there is room: bytes behind its length belong to nobody else. */
function appended(file: Contents, bytes: Uint8Array): Contents {
  const length = file.length + bytes.length;
  let { buffer } = file;
  if (length > buffer.length) {
    buffer = new Uint8Array(Math.max(4096, length * 2));
    buffer.set(file.buffer.subarray(0, file.length));
  }
  buffer.set(bytes, file.length);
  return { buffer, length };
}
