/**
 * What Tab makes of a line in the shell: commands, their options, keys of the cluster, files.
 *
 * @module
 */

import type { Client } from "../client/client.ts";
import type { ListedEntry } from "../client/types.ts";
import { clientOperations, operationOptions } from "./client_operations.ts";
import { escapeControls } from "./output.ts";
import { quoteWord, readWords } from "./words.ts";

/** Commands of the shell itself. */
export const localCommands: readonly string[] = ["help", "quit", "exit", "\\json"];

/** Commands whose first word is a key or begins one. */
const takeKeys = ["get", "put", "delete", "increment", "deleteRange", "list", "watch"];
const takeFiles = ["import", "export"];
const keyOptions = ["--key", "--start", "--end", "--prefix"];
const keysMax = 50;

/** What the last word of the line may become, and what of the line it would replace. */
export async function complete(client: Client, line: string): Promise<[string[], string]> {
  const { words, last, openQuote } = readWords(line);
  const [text, typed] = last === null ? ["", ""] : [last.text, line.slice(last.from)];
  const [name] = words;
  const plain = (candidates: readonly string[]): [string[], string] => [
    candidates.filter((it) => it.startsWith(typed)).map((it) => `${it} `),
    typed,
  ];
  if (name === undefined) return plain([...Object.keys(clientOperations), ...localCommands]);
  const operation = Object.hasOwn(clientOperations, name) ? clientOperations[name]! : null;
  if (operation === null) return [[], typed];
  if (typed.startsWith("--")) return plain(operation.options.map((option) => `--${option}`));
  const quoted = (candidates: readonly string[]): [string[], string] => {
    const begun = openQuote?.quote ?? (/^["']/.test(typed) ? typed[0]! : null);
    const isBlankSeen = candidates.some((it) => quoteWord(it) !== it);
    // what all share is inserted, so they must share the quote too
    const needed = isBlankSeen && haveMoreInCommon(candidates, text.length) ? '"' : null;
    return [candidates.map((it) => quoteWord(it, begun ?? needed)), typed];
  };
  if (keyOptions.includes(words.at(-1)!)) return quoted(await keysWith(client, text));
  if (positionOf(words) > 0) return [[], typed];
  if (takeKeys.includes(name)) return quoted(await keysWith(client, text));
  return takeFiles.includes(name) ? quoted(await filesWith(text)) : [[], typed];
}

/** Whether sorted candidates go on alike behind so many characters. */
function haveMoreInCommon(candidates: readonly string[], length: number): boolean {
  const next = candidates[0]?.charAt(length) ?? "";
  return next !== "" && candidates.at(-1)!.charAt(length) === next;
}

/** How many of the words behind the command are neither options nor their values. */
function positionOf([_, ...words]: readonly string[]): number {
  const isValue = (at: number): boolean =>
    operationOptions.some(({ name, value }) => value !== undefined && words[at - 1] === `--${name}`);
  return words.filter((word, at) => !word.startsWith("--") && !isValue(at)).length;
}

/**
 * The first keys, and the last one: what all of these begin with, all the keys between begin with. None when the
 * cluster does not answer at once: no completion is better than a complaint in mid-line.
 */
async function keysWith(client: Client, prefix: string): Promise<string[]> {
  const signal = AbortSignal.timeout(500);
  const request = { op: "list", prefix, keysOnly: true, consistency: "stale" };
  try {
    const [first, last] = await Promise.all([
      client.request({ ...request, limit: keysMax }, { signal }),
      client.request({ ...request, limit: 1, reverse: true }, { signal }),
    ]);
    const keys = [first, last].flatMap(({ entries }) => (entries as ListedEntry[]).map(({ key }) => key));
    return [...new Set(keys)].filter((key) => key === escapeControls(key, { keep: "\n\t" }));
  } catch (error) {
    if (error instanceof Error) return [];
    throw error;
  }
}

async function filesWith(start: string): Promise<string[]> {
  const nameAt = start.lastIndexOf("/") + 1;
  const [folder, prefix] = [start.slice(0, nameAt), start.slice(nameAt)];
  const found: string[] = [];
  try {
    for await (const { name, isDirectory } of Deno.readDir(folder === "" ? "." : folder)) {
      if (name.startsWith(prefix) && (prefix !== "" || !name.startsWith("."))) {
        found.push(`${folder}${name}${isDirectory ? "/" : ""}`);
      }
    }
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return []; // it cannot be read
  }
  return found.sort().slice(0, keysMax);
}
