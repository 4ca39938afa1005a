/**
 * `import`: keys from lines of JSON. Many puts are under way at once, enough to keep a cluster busy and few enough
 * that memory does not grow with the file.
 *
 * @module
 */

import type { Client } from "../client/client.ts";
import { ClientError } from "../client/errors.ts";
import type { PutOptions } from "../client/types.ts";
import { CommandError, exitCodeOf, exitCodes, UsageError } from "./exit.ts";
import { entriesOf, type ImportEntry, type Source } from "./import_lines.ts";
import type { Context, Outcome } from "./operation.ts";
import type { Parsed } from "./options.ts";
import { bar, reasonOf, showProgress } from "./output.ts";

/** Twice as many as a session sends, so that the next ones wait at hand. */
const underWayMax = 256;
/** Characters of values; one value is always taken. */
const underWayLengthMax = 8 << 20;

/** Where the lines come from. */
interface Input extends Source {
  /** How long it is, if that is known. */
  bytes: number | null;
  bytesRead: number;
  close(): void;
}

/** Sets the keys of a file, or of stdin, in the order of their lines. */
export async function importFile(
  [path]: readonly string[],
  parsed: Parsed,
  { client, json, signal, mayReadStdin }: Context,
): Promise<Outcome> {
  if (path === "-" && !mayReadStdin) {
    throw new UsageError("the shell reads stdin itself: name a file here, or use kvapp client import -");
  }
  const input = await openInput(path!);
  const options = { prefix: parsed.text("prefix") ?? "", onlyNew: parsed.flag("if-new") };
  const importing = new Import(client, signal, options);
  const stopProgress = showRate(importing, input);
  try {
    await importing.run(input);
  } finally {
    stopProgress();
    input.close();
  }
  const { written, skipped } = importing;
  if (json) return { text: JSON.stringify({ ok: true, written, skipped }), exitCode: exitCodes.done };
  const others = skipped === 0 ? "" : `, ${skipped.toLocaleString("en")} left alone`;
  return { text: keysWritten(written) + others, exitCode: exitCodes.done };
}

function keysWritten(count: number): string {
  return `${count.toLocaleString("en")} ${count === 1 ? "key" : "keys"} written`;
}

/** One file on its way into a cluster. */
class Import {
  written = 0;
  /** Lines that were not to be written. */
  skipped = 0;
  readonly #client: Client;
  readonly #signal: AbortSignal;
  readonly #prefix: string;
  readonly #onlyNew: boolean;
  /** Keys whose puts have no answer yet: two of one key could change places when they are sent again. */
  readonly #underWay = new Set<string>();
  #underWayLength = 0;
  #answered = Promise.withResolvers<void>();
  /** The first line that cannot be written, and why. */
  #failure: { line: number; error: unknown } | null = null;
  /** Lines that may or may not have been written when the signal came. */
  readonly #unsure: number[] = [];

  constructor(client: Client, signal: AbortSignal, options: { prefix: string; onlyNew: boolean }) {
    this.#client = client;
    this.#signal = signal;
    this.#prefix = options.prefix;
    this.#onlyNew = options.onlyNew;
  }

  /** Stops at the first line that cannot be written. Throws CommandError that says how far it came. */
  async run(source: Source): Promise<void> {
    let line = 0;
    try {
      for await (const entry of entriesOf(source, this.#signal)) {
        if (!entry.key.startsWith(this.#prefix)) this.skipped++;
        else {
          while (!this.#hasRoomFor(entry)) await this.#answered.promise;
          if (this.#failure !== null || this.#signal.aborted) break;
          this.#put(entry);
        }
        line = entry.line;
      }
    } catch (error) {
      if (!this.#signal.aborted) this.#fail(Infinity, error);
    }
    while (this.#underWay.size > 0) await this.#answered.promise;
    if (this.#failure !== null) throw this.#explained(this.#failure.error);
    if (this.#signal.aborted) throw this.#interrupted(line);
  }

  #hasRoomFor({ key, value }: ImportEntry): boolean {
    if (this.#underWay.size === 0) return true;
    if (this.#underWay.has(key) || this.#underWay.size >= underWayMax) return false;
    return this.#underWayLength + value.length <= underWayLengthMax;
  }

  async #put({ line, key, value, ttlMs }: ImportEntry): Promise<void> {
    const options: PutOptions = { signal: this.#signal };
    if (ttlMs !== undefined) options.ttlMs = ttlMs;
    if (this.#onlyNew) options.ifVersion = 0;
    this.#underWay.add(key);
    this.#underWayLength += value.length;
    try {
      await this.#client.put(key, value, options);
      this.written++;
    } catch (error) {
      if (error instanceof ClientError && error.code === "conditionFailed") this.skipped++;
      else if (this.#signal.aborted) this.#unsure.push(line);
      else if (error instanceof ClientError) {
        this.#fail(line, new CommandError(`line ${line}: ${error.message}`, exitCodeOf(error)!));
      } else this.#fail(line, error);
    }
    this.#underWay.delete(key);
    this.#underWayLength -= value.length;
    this.#answered.resolve();
    this.#answered = Promise.withResolvers();
  }

  #fail(line: number, error: unknown): void {
    if (this.#failure === null || line < this.#failure.line) this.#failure = { line, error };
  }

  #explained(error: unknown): unknown {
    if (!(error instanceof CommandError)) return error;
    return new CommandError(`${error.message}; ${keysWritten(this.written)}, then stopped`, error.exitCode);
  }

  /** `line` was the last to be taken up. */
  #interrupted(line: number): CommandError {
    const done = Math.min(line, ...this.#unsure.map((it) => it - 1));
    const more = this.#unsure.length === 0 ? "" : `, up to ${this.#unsure.length} more may be`;
    const message = `interrupted: ${keysWritten(this.written)}${more}; every line up to ${
      done.toLocaleString("en")
    } is done`;
    return new CommandError(message, exitCodeOf(this.#signal.reason) ?? exitCodes.failed);
  }
}

async function openInput(path: string): Promise<Input> {
  const file = path === "-" ? null : await readable(path, () => Deno.open(path));
  const from = file ?? Deno.stdin;
  const input: Input = {
    bytes: file === null ? null : await fileSize(file),
    bytesRead: 0,
    read: async (buffer) => {
      const length = await readable(path, () => from.read(buffer));
      input.bytesRead += length ?? 0;
      return length;
    },
    close: () => file?.close(),
  };
  return input;
}

async function readable<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new CommandError(`cannot read ${path}: ${reasonOf(error)}`);
  }
}

/** Null for what is no file, such as a pipe. */
async function fileSize(file: Deno.FsFile): Promise<number | null> {
  const { isFile, size } = await file.stat();
  return isFile ? size : null;
}

function showRate(importing: Import, input: Input): () => void {
  const startedAt = performance.now();
  return showProgress(200, () => {
    const { written } = importing;
    const rate = Math.round(written / (performance.now() - startedAt) * 1000);
    const part = input.bytes === null
      ? ""
      : `${bar(Math.min(1, input.bytesRead / Math.max(1, input.bytes)))}  `;
    return `import ${part}${written.toLocaleString("en")} keys, ${rate.toLocaleString("en")}/s`;
  });
}
