/**
 * `export`: all keys of one moment, one JSON object a line, as `import` reads them.
 *
 * @module
 */

import type { ListedEntry } from "../client/types.ts";
import { CommandError, exitCodes, UsageError } from "./exit.ts";
import { consistencyOf, type Context, type Outcome, rangeOf } from "./operation.ts";
import type { Parsed } from "./options.ts";
import { bar, harmlessLine, print, reasonOf, showProgress, writeAll } from "./output.ts";

const pageEntries = 1000;

/** Where the lines go. */
interface Target {
  /** Takes lines without the newline of the last one. */
  write(text: string): Promise<void>;
  /** Everything was written. */
  finish(): Promise<void>;
  /** What is unfinished goes away. */
  abandon(): Promise<void>;
}

/** Writes the keys to a file or, without one, to stdout. */
export async function exportKeys(
  [path = "-"]: readonly string[],
  parsed: Parsed,
  { client, json, signal }: Context,
): Promise<Outcome> {
  const toFile = path !== "-";
  if (!toFile && parsed.flag("force")) throw new UsageError("--force replaces a file: name one");
  const range = { ...rangeOf(parsed, parsed.text("prefix")), ...consistencyOf(parsed) };
  let keys = 0;
  let index: unknown = 0;
  const target = toFile ? await openFile(path, parsed.flag("force")) : stdout;
  const isSeen = Deno.stderr.isTerminal() && (toFile || !Deno.stdout.isTerminal());
  let stopProgress = (): void => {};
  try {
    if (isSeen) {
      const { count } = await client.request({ op: "list", ...range, count: true }, { signal });
      stopProgress = showCount(() => keys, count as number);
    }
    for await (const page of client.listPages({ ...range, limit: pageEntries, signal })) {
      const entries = page.entries as ListedEntry[];
      if (entries.length > 0) await target.write(entries.map(lineOf).join("\n"));
      keys += entries.length;
      index = page.index;
    }
    await target.finish();
  } catch (error) {
    await target.abandon();
    throw error;
  } finally {
    stopProgress();
  }
  if (!toFile) return { text: null, exitCode: exitCodes.done };
  const text = json
    ? JSON.stringify({ ok: true, keys, index })
    : `${keys.toLocaleString("en")} ${keys === 1 ? "key" : "keys"} as of index ${index} in ${path}`;
  return { text, exitCode: exitCodes.done };
}

/** A key that is about to go has a last millisecond, so that `import` takes its line. */
function lineOf({ key, value, version, ttlMs }: ListedEntry): string {
  const ttl = ttlMs === undefined ? {} : { ttlMs: Math.max(1, ttlMs) };
  return JSON.stringify({ key, value, version, ...ttl });
}

/** Others write meanwhile, so there may be more or fewer at the end than there were at the beginning. */
function showCount(keys: () => number, expected: number): () => void {
  const startedAt = performance.now();
  return showProgress(200, () => {
    const rate = Math.round(keys() / (performance.now() - startedAt) * 1000);
    const part = Math.min(1, keys() / Math.max(1, expected));
    return `export ${bar(part)}  ${keys().toLocaleString("en")} keys, ${rate.toLocaleString("en")}/s`;
  });
}

const stdout: Target = {
  write: (text) => Promise.resolve(print(harmlessLines(text))),
  finish: () => Promise.resolve(),
  abandon: () => Promise.resolve(),
};

/** Escaped as JSON has it, so a terminal shows lines that mean the same. */
function harmlessLines(text: string): string {
  return Deno.stdout.isTerminal() ? text.split("\n").map(harmlessLine).join("\n") : text;
}

/** The file appears under its name when it is complete. */
async function openFile(path: string, mayReplace: boolean): Promise<Target> {
  await checkPath(path, mayReplace);
  const unfinished = `${path}.tmp`;
  const file = await explained(path, () =>
    Deno.open(unfinished, {
      write: true,
      ...mayReplace ? { create: true, truncate: true } : { createNew: true },
    }));
  return {
    write: (text) =>
      explained(path, () => Promise.resolve(writeAll(file, new TextEncoder().encode(text + "\n")))),
    finish: () =>
      explained(path, async () => {
        await file.sync();
        file.close();
        await Deno.rename(unfinished, path);
      }),
    abandon: async () => {
      file[Symbol.dispose]();
      await Deno.remove(unfinished);
    },
  };
}

/** Never to be replaced is what is no plain file: renaming over a device would break it. */
async function checkPath(path: string, mayReplace: boolean): Promise<void> {
  try {
    const { isFile } = await Deno.lstat(path);
    if (!isFile) throw new CommandError(`${path} is no file; export without a name writes to stdout`);
    if (!mayReplace) throw new CommandError(`${path} exists: --force replaces it`);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

async function explained<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) {
      throw new CommandError(
        `${path}.tmp exists: another export is writing it, or one was killed. Remove it, or use --force`,
      );
    }
    if (!(error instanceof Error)) throw error;
    throw new CommandError(`cannot write ${path}: ${reasonOf(error)}`);
  }
}
