/**
 * Nodes that die at random moments, with the power or without it: then what was written stays visible, is still not
 * durable, and may go with the power of the next life.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Done } from "../../lib/io/io.ts";
import type { Entry } from "../../lib/raft/types.ts";
import { type Recovered, Storage } from "../../lib/storage/storage.ts";
import { entriesAfter, Folder, identity, inTerm, nextIdentity, write } from "./folder.ts";
import { chunkWrites, install, metadataAt, snapshotAt, stateLines } from "./snapshots.ts";
import { type Allowed, isAllowed } from "./story.ts";

/** What happened in all lives of all nodes. */
const counts = { starts: 0, crashes: 0, inOpen: 0, conflicts: 0, taken: 0, installed: 0, compacted: 0 };

/** One node through all its lives. */
class Node {
  readonly folder: Folder;
  /** What it may find when it starts. */
  allowed: Allowed[] = [{ log: [], min: 0 }];
  log: Entry[] = [];
  term = 1;
  /** Entries up to here are in a snapshot: no conflict cuts them. */
  committed = 0;
  #snapshots: number[] = [];
  #storage!: Storage;
  readonly #segmentBytesMax: number;

  constructor(seed: number) {
    this.folder = new Folder(`crashes ${seed}`);
    this.#segmentBytesMax = this.folder.random.pick([300, 1500, 5000]);
  }

  /** Starts, unless it dies on the way. */
  start(): boolean {
    const { random } = this.folder;
    counts.starts++;
    const storage = new Storage(this.folder.disk, { segmentBytesMax: this.#segmentBytesMax });
    const found = storage.recover(identity.nodeId);
    assertEquals(found.damage, null);
    assert(isAllowed(found, this.allowed), describe(found));
    this.#storage = storage;
    if (!this.#runs((done) => storage.open(nextIdentity(found), done), random.chance(0.2))) {
      counts.inOpen++;
      return false;
    }
    const { log } = this.allowed.find((one) => isAllowed(found, [one]))!;
    const base = found.snapshot?.lastIncludedIndex ?? 0;
    this.log = log.slice(0, base + found.entries.length);
    this.term = Math.max(this.term, found.hardState.currentTerm);
    this.committed = Math.max(this.committed, base);
    this.#snapshots = storage.snapshots.whole;
    this.allowed = [{ log: this.log, min: this.log.length }];
    return true;
  }

  /** Lives for some operations, in the last of which it dies. */
  live(): void {
    const { random } = this.folder;
    const last = random.below(8);
    for (let at = 0; at <= last; at++) {
      const dies = at === last;
      const isAlive = random.chance(0.25)
        ? this.#take(dies)
        : random.chance(0.15)
        ? this.#install(dies)
        : this.#append(dies);
      if (!isAlive) return;
    }
  }

  die(): void {
    counts.crashes++;
    this.folder.crash({ power: this.folder.random.chance(0.6) });
  }

  /** Runs an operation to its end, or only a little; false: it was not finished. */
  #runs(start: (done: Done) => void, dies: boolean): boolean {
    let isDone = false;
    start((error) => {
      assertEquals(error, null);
      isDone = true;
    });
    for (let steps = dies ? this.folder.random.below(5) : 1e6; steps > 0 && !isDone; steps--) {
      this.folder.step();
    }
    return isDone && !dies;
  }

  #append(dies: boolean): boolean {
    const { random } = this.folder;
    const isConflict = random.chance(0.25);
    const keep = isConflict ? random.between(this.committed, this.log.length + 1) | 0 : this.log.length;
    if (keep < this.log.length) counts.conflicts++;
    if (isConflict) this.term++;
    const added = this.#entriesBehind(this.log.slice(0, keep), 1 + random.below(8));
    const next = [...this.log.slice(0, keep), ...added];
    this.allowed = [{ log: next, min: keep }, { log: this.log, min: keep }];
    if (!this.#runs((done) => this.#storage.append([write(added, inTerm(this.term))], done), dies)) {
      return false;
    }
    this.#settle(next);
    return !random.chance(0.2) || this.#runs((done) => this.#storage.flushMark(done), false);
  }

  /** Something of `log` was done and is durable. */
  #settle(log: Entry[]): void {
    this.log = log;
    this.allowed = [{ log, min: log.length }];
  }

  #entriesBehind(log: Entry[], count: number): Entry[] {
    return entriesAfter(log.at(-1) ?? null, { count, term: this.term, size: this.folder.random.below(300) });
  }

  #take(dies: boolean): boolean {
    const index = this.log.length - this.folder.random.below(3);
    if (index <= this.committed) return this.#append(dies);
    const bytes = snapshotAt(this.log, index, { lines: stateLines(20, 100) });
    const half = bytes.length >> 1;
    const { snapshots } = this.#storage;
    const diesNow = dies && this.folder.random.chance(0.5);
    if (!this.#runs((done) => snapshots.write(index, 0, bytes.slice(0, half), done), diesNow)) return false;
    if (!this.#runs((done) => snapshots.write(index, half, bytes.slice(half), done), dies)) return false;
    snapshots.confirm(index);
    counts.taken++;
    return this.#tidy(index);
  }

  /** Keeps two snapshots, and the log back to the older one. It may die on the way. */
  #tidy(index: number): boolean {
    const { random } = this.folder;
    this.committed = index;
    this.#snapshots = [...this.#snapshots.filter((one) => one < index).slice(-1), index];
    const isKept = (one: number) => this.#snapshots.includes(one);
    const { snapshots } = this.#storage;
    if (!this.#runs((done) => snapshots.keepOnly(isKept, done), random.chance(0.1))) return false;
    if (this.#snapshots.length < 2) return true;
    counts.compacted++;
    return this.#runs((done) => this.#storage.compact(this.#snapshots[0]!, done), random.chance(0.2));
  }

  #install(dies: boolean): boolean {
    const { random } = this.folder;
    this.term++;
    const keep = random.between(this.committed, this.log.length + 1) | 0;
    const common = this.log.slice(0, keep);
    const index = keep + 1 + random.below(12);
    const theirs = [...common, ...this.#entriesBehind(common, index - keep + random.below(3))];
    const metadata = metadataAt(theirs, index);
    const writes = chunkWrites(snapshotAt(theirs, index, { lines: stateLines(20, 100) }), metadata, 1000);
    writes[0]!.hardState = inTerm(this.term);
    this.allowed = [...this.allowed, { log: theirs.slice(0, index), min: index }];
    const diesNow = dies && random.chance(0.5);
    if (!this.#runs((done) => this.#storage.append(writes, done), diesNow)) return false;
    this.#storage.snapshots.confirm(index);
    this.allowed = [{ log: theirs, min: index }];
    const all = install(metadata, theirs.slice(index));
    if (!this.#runs((done) => this.#storage.append([all], done), dies)) return false;
    counts.installed++;
    this.#settle(theirs);
    return this.#tidy(index);
  }
}

function describe({ snapshot, entries }: Recovered): string {
  return `found the snapshot ${snapshot?.lastIncludedIndex} and ${entries.length} entries`;
}

Deno.test("recover() starts after crashes at any moment, of a start too, and finds all that was durable", () => {
  for (let seed = 0; seed < 600; seed++) {
    const node = new Node(seed);
    try {
      for (let life = 0; life < 8; life++) {
        if (node.start()) node.live();
        node.die();
      }
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
  const { conflicts, taken, installed, compacted, inOpen } = counts;
  assert(Math.min(conflicts, taken, installed, compacted, inOpen) > 500, JSON.stringify(counts));
});
