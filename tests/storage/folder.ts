/**
 * A data folder on the simulator's disk, for tests of what is stored in it: everything that is done to the disk is
 * written down, and the process or the power can end at any moment.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Disk, Done } from "../../lib/io/io.ts";
import { makeEntry } from "../../lib/raft/entry.ts";
import type { Entry, HardState, Write } from "../../lib/raft/types.ts";
import { FolderError, type Identity, type Recovered, Storage } from "../../lib/storage/storage.ts";
import { FakeDisk } from "../sim/fake_disk.ts";
import { Random } from "../sim/random.ts";
import { Life, Scheduler } from "../sim/scheduler.ts";
import { calm } from "../sim/world.ts";

export const stateName = "state.json";
export const logName = "log/00000000000000000001.log";

/** Where a node keeps its files. */
export class Folder {
  /** What was started on the disk, such as "append log/00000000000000000001.log". */
  operations: string[] = [];
  readonly random: Random;
  readonly fake: FakeDisk;
  #life = new Life("node");
  #scheduler: Scheduler;

  constructor(seed = "folder", pageBytes = 512) {
    this.random = new Random(seed);
    this.#scheduler = new Scheduler(this.random.fork("time"), { grainMicroseconds: 1 });
    this.fake = new FakeDisk(this.#scheduler, this.random.fork("disk"), { ...calm.disk, pageBytes });
  }

  /** The disk as the present process sees it. */
  get disk(): Disk {
    const disk = this.fake.of(this.#life);
    return {
      ...disk,
      append: (name, bytes, done) => this.#note(`append ${name}`, () => disk.append(name, bytes, done)),
      replace: (name, bytes, done) => this.#note(`replace ${name}`, () => disk.replace(name, bytes, done)),
      truncate: (name, size, done) => this.#note(`truncate ${name}`, () => disk.truncate(name, size, done)),
      remove: (name, done) => this.#note(`remove ${name}`, () => disk.remove(name, done)),
    };
  }

  /** Runs an operation to its end and returns its outcome. */
  finish(start: (done: Done) => void): Error | null {
    let outcome: Error | null | undefined;
    start((error) => outcome = error);
    while (outcome === undefined && this.step());
    if (outcome === undefined) throw new Error("the operation never ends");
    return outcome;
  }

  /** Runs an operation that must succeed. */
  do(start: (done: Done) => void): void {
    assertEquals(this.finish(start), null);
  }

  /** Lets one thing happen on the disk; false: nothing is under way. */
  step(): boolean {
    const event = this.#scheduler.next();
    event?.run?.();
    return event !== null;
  }

  /** Ends the process, and with `power` everything that is not durable. */
  crash(options: { power: boolean }): void {
    this.#life.alive = false;
    this.#life = new Life("node");
    this.fake.onCrash(options);
  }

  /** Puts a file there, durably; null removes it. */
  put(name: string, bytes: Uint8Array | null): void {
    if (bytes !== null) return this.do((done) => this.disk.replace(name, bytes, done));
    if (this.disk.read(name) !== null) this.do((done) => this.disk.remove(name, done));
  }

  #note(operation: string, run: () => void): void {
    this.operations.push(operation);
    run();
  }
}

/** The identity of node 1 in these tests. */
export const identity: Identity = {
  nodeId: 1,
  incarnation: "0123456789abcdef",
  starts: 1,
  clusterId: "00000000c1a55e75",
  pinned: null,
};

/** Another incarnation, for a folder that was found damaged. */
export const newIncarnation = "fedcba9876543210";

/** The identity with which a node starts: one more start, and another name when something was lost. */
export function nextIdentity({ identity: before, damage }: Recovered): Identity {
  const incarnation = damage === null ? before?.incarnation ?? identity.incarnation : newIncarnation;
  return { ...identity, ...before, incarnation, starts: (before?.starts ?? 0) + 1 };
}

/** Starts a node on a folder: what it finds, and its storage, ready for use. */
export function open(
  folder: Folder,
  options: { segmentBytesMax?: number } = {},
): { storage: Storage; found: Recovered } {
  const storage = new Storage(folder.disk, options);
  const found = storage.recover(identity.nodeId);
  folder.do((done) => storage.open(nextIdentity(found), done));
  return { storage, found };
}

/** Recovers a folder, or returns what it says against that. In no case may it have changed anything. */
export function recover(folder: Folder): Recovered | FolderError {
  try {
    return new Storage(folder.disk).recover(identity.nodeId);
  } catch (error) {
    if (error instanceof FolderError) return error;
    throw error;
  } finally {
    assertEquals(folder.operations, []);
  }
}

/** Checks that a folder is refused with these words, and left as it was. */
export function refused(folder: Folder, ...said: string[]): void {
  const outcome = recover(folder);
  assert(outcome instanceof FolderError, "the folder is refused");
  for (const words of said) assertStringIncludes(outcome.message, words);
}

/** Checks that a folder is found damaged, in these words, and not admitted any more; returns what is left of it. */
export function damaged(folder: Folder, ...said: string[]): Recovered {
  const found = recover(folder);
  if (found instanceof FolderError) throw found;
  assert(found.damage !== null, "the folder is found damaged");
  for (const words of said) assertStringIncludes(found.damage, words);
  assertEquals(found.hardState.admittedIndex, 0);
  return found;
}

/** `count` entries of one term behind `before`; `size` is about the length of each line. */
export function entriesAfter(
  before: Entry | null,
  options: { count: number; term: number; size?: number },
): Entry[] {
  const entries: Entry[] = [];
  for (let i = 0; i < options.count; i++) {
    const last = entries.at(-1) ?? before;
    const index = (last?.index ?? 0) + 1;
    entries.push(makeEntry({
      index,
      term: options.term,
      kind: "command",
      command: { op: "put", key: `key ${index}`, value: "v".repeat(options.size ?? 10) },
      prevCrc: last?.crc ?? 0,
    }));
  }
  return entries;
}

/** A write of entries, of a new term or vote, or both. */
export function write(entries: Entry[], hardState: HardState | null = null): Write {
  return { hardState, chunks: [], snapshot: null, entries, messages: [] };
}

/** Term and vote of a node that is not admitted. */
export function inTerm(currentTerm: number, votedFor: number | null = null): HardState {
  return { currentTerm, votedFor, admittedIndex: 0 };
}

/** What must be equal for two logs to be equal. */
export function lines(entries: readonly Entry[]): string {
  return entries.map(({ line }) => new TextDecoder().decode(line)).join("");
}

/** Bytes behind one another. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
