/**
 * A disk in memory that writes down every call, so that the power can be cut in each of them afterwards, and that can
 * be out of room at any one of them.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { type Disk, DiskFull, type Done } from "../../lib/io/io.ts";
import { concat } from "./folder.ts";

/** The files of a folder by name. */
export type Files = ReadonlyMap<string, Uint8Array>;

/** A call to the disk: what was durable before, and what it was to do. */
export interface Call {
  kind: "append" | "replace" | "truncate" | "remove";
  name: string;
  before: Files;
  /** Contents of the file afterwards; null: it is gone. */
  after: Uint8Array | null;
}

/** Whether a call needs room. */
export function needsRoom({ kind }: Call): boolean {
  return kind === "append" || kind === "replace";
}

/** The disk. */
export class RecordingDisk {
  readonly calls: Call[] = [];
  /** The call of this number, from 0, finds no room; when it was to make a file, that is there then, and empty, or not. */
  fullAt: { call: number; leavesEmptyFile: boolean } | null = null;
  #waiting: (() => void)[] = [];

  constructor(public files: Files) {}

  get disk(): Disk {
    const file = (name: string) => this.files.get(name) ?? new Uint8Array();
    return {
      list: () => [...this.files.keys()].sort(),
      read: (name) => this.files.get(name)?.slice() ?? null,
      readRange: (name, offset, length) => file(name).slice(offset, offset + length),
      append: (name, bytes, done) => this.#call("append", name, concat(file(name), bytes), done),
      replace: (name, bytes, done) => this.#call("replace", name, bytes, done),
      truncate: (name, size, done) => this.#call("truncate", name, file(name).slice(0, size), done),
      remove: (name, done) => this.#call("remove", name, null, done),
    };
  }

  /** Runs an operation to its end and returns its outcome. */
  finish(start: (done: Done) => void): Error | null {
    let outcome: Error | null | undefined;
    start((error) => outcome = error);
    while (this.#waiting.length > 0) this.#waiting.shift()!();
    if (outcome === undefined) throw new Error("the operation never ends");
    return outcome;
  }

  /** Runs an operation that must succeed. */
  do(start: (done: Done) => void): void {
    assertEquals(this.finish(start), null);
  }

  #call(kind: Call["kind"], name: string, after: Uint8Array | null, done: Done): void {
    const { fullAt } = this;
    const call: Call = { kind, name, before: this.files, after };
    const isFull = fullAt?.call === this.calls.length && needsRoom(call);
    this.calls.push(call);
    if (!isFull) this.files = withFile(this.files, name, after);
    else if (fullAt!.leavesEmptyFile && kind === "append" && !this.files.has(name)) {
      this.files = withFile(this.files, name, new Uint8Array());
    }
    this.#waiting.push(() => done(isFull ? new DiskFull(`${kind} ${name}: no room`) : null));
  }
}

/** What a power cut within a call may leave. */
export function* leftBy({ kind, name, before, after }: Call): Generator<Files> {
  yield before;
  yield withFile(before, name, after);
  if (kind !== "append" || after === null) return;
  const old = before.get(name)?.length ?? 0;
  const half = old + ((after.length - old) >> 1);
  yield withFile(before, name, after.slice(0, old)); // a new file has its name then, and no bytes
  yield withFile(before, name, after.slice(0, half));
  yield withFile(before, name, after.slice().fill(0, half));
  yield withFile(before, name, after.slice().fill(0, old));
  yield withFile(before, name, after.slice().fill(0, old, half));
  yield withFile(before, name, after.slice(0, Math.max(old, after.length - 512)));
}

function withFile(files: Files, name: string, bytes: Uint8Array | null): Files {
  const next = new Map(files);
  if (bytes === null) next.delete(name);
  else next.set(name, bytes);
  return next;
}
