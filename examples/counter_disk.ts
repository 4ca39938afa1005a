/**
 * The disk of a node of counter.ts: term and vote in one file, the log in another, a line for each entry. A real store
 * would also tell a torn write from a rotten one, keep snapshots, and not block while it waits for the disk:
 * lib/storage and lib/io do.
 *
 * @module
 */

import { decodeEntry, type Entry, type HardState, type RecoveredState, type Write } from "@kvapp/kvapp/raft";

/** One node's folder. Each method is done when it returns. */
export class Disk {
  /** Names the folder. A folder that loses something must get another name, and be admitted anew by the others. */
  readonly incarnation: string;
  readonly #folder: string;
  #hardState: HardState = { currentTerm: 0, votedFor: null, admittedIndex: 0 };
  readonly #recovered: Entry[] = [];
  /** Bytes of the log up to and with each entry, by its index. */
  readonly #ends = [0];

  constructor(folder: string) {
    this.#folder = folder;
    Deno.mkdirSync(folder, { recursive: true });
    if (![...Deno.readDirSync(folder)].some(({ name }) => name === "state")) {
      this.incarnation = crypto.randomUUID().replaceAll("-", "").slice(0, 16);
      Deno.writeFileSync(`${folder}/log`, new Uint8Array());
      this.#saveState();
      return;
    }
    const state = JSON.parse(Deno.readTextFileSync(`${folder}/state`));
    this.incarnation = state.incarnation;
    this.#hardState = state.hardState;
    const bytes = Deno.readFileSync(`${folder}/log`);
    for (let at = 0; at < bytes.length; at = this.#ends.at(-1)!) {
      const entry = decodeEntry(bytes.slice(at, bytes.indexOf(10, at) + 1));
      if (typeof entry === "string") break; // a write that a crash tore: nobody was told that it is here
      this.#recovered.push(entry);
      this.#ends.push(at + entry.line.length);
    }
  }

  /** What the core needs when it starts again. */
  recover(): RecoveredState {
    return { hardState: this.#hardState, snapshot: null, entries: this.#recovered };
  }

  /** When it returns, a power cut changes nothing any more. When it throws, the node must stop: never try again. */
  save({ hardState, entries }: Write): void {
    if (hardState !== null) {
      this.#hardState = hardState;
      this.#saveState(); // before the entries
    }
    const [first] = entries;
    if (first === undefined) return;
    const log = `${this.#folder}/log`;
    Deno.truncateSync(log, this.#ends[first.index - 1]!); // a new leader may replace what was never committed
    this.#ends.length = first.index;
    for (const { line } of entries) {
      Deno.writeFileSync(log, line, { append: true });
      this.#ends.push(this.#ends.at(-1)! + line.length);
    }
    sync(log, { write: true });
  }

  /** Atomically: a crash leaves the old file or the new one. */
  #saveState(): void {
    const file = `${this.#folder}/state`;
    Deno.writeTextFileSync(
      `${file}.new`,
      JSON.stringify({ incarnation: this.incarnation, hardState: this.#hardState }),
    );
    sync(`${file}.new`, { write: true });
    Deno.renameSync(`${file}.new`, file);
    if (Deno.build.os !== "windows") sync(this.#folder);
  }
}

/** Waits until the disk has it. */
function sync(path: string, options: Deno.OpenOptions = { read: true }): void {
  using file = Deno.openSync(path, options);
  file.syncSync();
}
