/**
 * What can be asked of a cluster, by one-shot commands and in the shell alike: words into a request, its reply into
 * text for people.
 *
 * @module
 */

import type { ReplyLine } from "../client/connection.ts";
import type { ListedEntry } from "../client/types.ts";
import { exitCodes, UsageError } from "./exit.ts";
import { exportKeys } from "./export.ts";
import { importFile } from "./import.ts";
import {
  ask,
  consistencyOf,
  type Context,
  type Operation,
  type Outcome,
  rangeOf,
  show,
  traceOf,
  traceText,
} from "./operation.ts";
import { didYouMean, integerOf, type Option, type Parsed } from "./options.ts";
import { harmless, harmlessLine, note, print, table } from "./output.ts";
import { askAll, statusLines, statusTable } from "./status.ts";
import { watch } from "./watch.ts";

const conditions = ["if-version", "if-value", "previous"];

/** The operations by name, in the order of the help. */
export const clientOperations: Readonly<Record<string, Operation>> = {
  get: {
    usage: "<key>",
    summary: "Get value for key",
    words: { min: 1, max: 1 },
    options: ["stale", "trace"],
    run: get,
  },
  put: {
    usage: "<key> <value>",
    summary: "Set key to value",
    words: { min: 2, max: Infinity },
    options: [...conditions, "ttl", "trace"],
    isWrite: true,
    run: put,
  },
  delete: {
    usage: "<key>",
    summary: "Delete key",
    words: { min: 1, max: 1 },
    options: [...conditions, "trace"],
    isWrite: true,
    run: remove,
  },
  increment: {
    usage: "<key> [by]",
    summary: "Add to integer, 1 by default",
    words: { min: 1, max: 2 },
    options: ["trace"],
    isWrite: true,
    run: increment,
  },
  deleteRange: {
    usage: "[prefix]",
    summary: "Delete all keys of a range",
    words: { min: 0, max: 1 },
    options: ["start", "end", "trace"],
    isWrite: true,
    run: deleteRange,
  },
  txn: {
    usage: "<json>",
    summary: "Do several things at once",
    words: { min: 1, max: 1 },
    options: ["trace"],
    isWrite: true,
    run: txn,
  },
  list: {
    usage: "[prefix]",
    summary: "List all keys",
    words: { min: 0, max: 1 },
    options: ["values", "count", "start", "end", "limit", "reverse", "stale", "trace"],
    run: list,
  },
  watch: {
    usage: "[prefix]",
    summary: "Show changes until Ctrl-C",
    words: { min: 0, max: 1 },
    options: ["key", "after"],
    isEndless: true,
    run: watch,
  },
  import: {
    usage: "<file>",
    summary: 'Set keys from lines {"key":...,"value":...}',
    words: { min: 1, max: 1 },
    options: ["prefix", "if-new"],
    isWrite: true,
    run: importFile,
  },
  export: {
    usage: "[file]",
    summary: "Write all keys as such lines",
    words: { min: 0, max: 1 },
    options: ["prefix", "start", "end", "stale", "force"],
    run: exportKeys,
  },
  status: {
    usage: "",
    summary: "Show every node",
    words: { min: 0, max: 0 },
    options: [],
    run: status,
  },
  members: {
    usage: "",
    summary: "Show the nodes' addresses",
    words: { min: 0, max: 0 },
    options: ["trace"],
    run: members,
  },
  ping: {
    usage: "",
    summary: "See whether a node answers",
    words: { min: 0, max: 0 },
    options: ["trace"],
    run: ping,
  },
};

/** The options of all operations. */
export const operationOptions: readonly Option[] = [
  { name: "if-version", value: "N", text: "only if this is the key's version; 0: only if it is new" },
  { name: "if-value", value: "TEXT", text: "only if this is the key's value" },
  { name: "previous", text: "show what was there before" },
  { name: "ttl", value: "MS", text: "the key goes by itself after so many milliseconds" },
  { name: "stale", text: "answer at once from the node at hand" },
  { name: "values", text: "the values too, behind a tab" },
  { name: "count", text: "only how many keys there are" },
  { name: "start", value: "KEY", text: "this key and those after it" },
  { name: "end", value: "KEY", text: "keys before this one" },
  { name: "limit", value: "N", text: "at most so many keys" },
  { name: "reverse", text: "greatest key first" },
  { name: "key", value: "KEY", text: "only this key" },
  { name: "after", value: "N", text: "every change with an index above this one" },
  { name: "prefix", value: "TEXT", text: "only keys that begin with this" },
  { name: "if-new", text: "leave keys alone that exist" },
  { name: "force", text: "replace the file" },
  { name: "trace", text: "tell where the time of the request went" },
].map((option) => {
  const users = Object.entries(clientOperations).filter(([, { options }]) => options.includes(option.name));
  const isCommon = users.length > 5;
  return isCommon ? option : { ...option, text: `${users.map(([name]) => name).join(", ")}: ${option.text}` };
});

/** The operation of that name, its number of words and its options checked. Throws UsageError. */
export function operationFor(
  name: string,
  parsed: Parsed,
  words: readonly string[] = parsed.rest,
): Operation {
  const operation = Object.hasOwn(clientOperations, name) ? clientOperations[name] : undefined;
  if (operation === undefined) {
    const names = Object.keys(clientOperations);
    throw new UsageError(`Unknown command: ${name}.${didYouMean(name, names)}`);
  }
  const { min, max } = operation.words;
  if (words.length < min || words.length > max) {
    throw new UsageError(`Usage: ${name} ${operation.usage}`.trimEnd());
  }
  for (const option of operationOptions) {
    const isGiven = option.value === undefined
      ? parsed.flag(option.name)
      : parsed.text(option.name) !== undefined;
    if (!isGiven || operation.options.includes(option.name)) continue;
    const takes = operation.options.map((it) => `--${it}`).join(" ") || "no option";
    throw new UsageError(`${name} has no use for --${option.name}: it takes ${takes}`);
  }
  return operation;
}

async function get([key]: readonly string[], parsed: Parsed, context: Context): Promise<Outcome> {
  const reply = await ask({ op: "get", key, ...consistencyOf(parsed) }, parsed, context);
  const exitCode = reply.found ? exitCodes.done : exitCodes.failed;
  return show(reply, exitCode, context, () => reply.found ? harmless(String(reply.value)) : "Key not found");
}

async function put([key, ...value]: readonly string[], parsed: Parsed, context: Context): Promise<Outcome> {
  const ttlMs = parsed.integer("ttl", { min: 1, max: 1e15 - 1 });
  const request = { op: "put", key, value: value.join(" "), ttlMs, ...conditionsOf(parsed) };
  const reply = await ask(request, parsed, context);
  return show(reply, exitCodes.done, context, () => "OK" + previousText(reply));
}

async function remove([key]: readonly string[], parsed: Parsed, context: Context): Promise<Outcome> {
  const reply = await ask({ op: "delete", key, ...conditionsOf(parsed) }, parsed, context);
  return show(
    reply,
    exitCodes.done,
    context,
    () => reply.deleted ? "OK" + previousText(reply) : "Key not found",
  );
}

/** A further line, when what was there before was asked for. */
function previousText({ previous }: ReplyLine): string {
  if (previous === undefined) return "";
  if (previous === null) return "\nThere was no such key before";
  const { value, version } = previous as { value: string; version: number };
  return `\nBefore, from version ${version}: ${harmless(value)}`;
}

async function increment([key, by]: readonly string[], parsed: Parsed, context: Context): Promise<Outcome> {
  const reply = await ask({ op: "increment", key, by }, parsed, context);
  return show(reply, exitCodes.done, context, () => String(reply.value));
}

/** One entry deletes a bounded number of keys: goes on until none is left. */
async function deleteRange([prefix]: readonly string[], parsed: Parsed, context: Context): Promise<Outcome> {
  let deleted = 0;
  for (;;) {
    const reply = await ask({ op: "deleteRange", ...rangeOf(parsed, prefix) }, parsed, context);
    deleted += reply.deleted as number;
    const text = (): string => `Deleted ${deleted} ${deleted === 1 ? "key" : "keys"}`;
    const outcome = show(reply, exitCodes.done, context, text);
    if (reply.more !== true) return outcome;
    if (context.json) print(outcome.text!);
  }
}

/** The transaction is written as in the protocol. Its results are shown as they are, one a line. */
async function txn([json]: readonly string[], parsed: Parsed, context: Context): Promise<Outcome> {
  const reply = await ask({ ...parseTransaction(json!), op: "txn" }, parsed, context);
  return show(reply, exitCodes.done, context, () => {
    const results = (reply.results as object[]).map((result) => harmlessLine(JSON.stringify(result)));
    return [reply.succeeded ? "Done: then" : "Done: else", ...results].join("\n");
  });
}

function parseTransaction(json: string): object {
  const advice = `a transaction is a JSON object, in single quotes: ` +
    `txn '{"if":[{"key":"a","exists":false}],"then":[{"op":"put","key":"a","value":"1"}]}'`;
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new UsageError(`${(error as Error).message}; ${advice}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new UsageError(advice);
  return value;
}

const pageEntries = 1000;

/** All keys of one moment, printed page by page: they need not fit into memory. */
async function list([prefix]: readonly string[], parsed: Parsed, context: Context): Promise<Outcome> {
  const range = { ...rangeOf(parsed, prefix), ...consistencyOf(parsed) };
  if (parsed.flag("count")) {
    const reply = await ask({ op: "list", ...range, count: true }, parsed, context);
    return show(reply, exitCodes.done, context, () => String(reply.count));
  }
  const keysOnly = !parsed.flag("values");
  let left = parsed.integer("limit", { min: 1, max: 1e9 }) ?? Infinity;
  const request = { ...range, reverse: parsed.flag("reverse"), keysOnly, ...traceOf(parsed) };
  const { client, json, signal } = context;
  let isEmpty = true;
  for await (const page of client.listPages({ ...request, limit: Math.min(left, pageEntries), signal })) {
    const all = page.entries as ListedEntry[];
    const entries = all.slice(0, left);
    left -= entries.length;
    const isCut = entries.length < all.length;
    if (json) print(harmlessLine(JSON.stringify(isCut ? { ...page, entries, next: null } : page)));
    else if (entries.length > 0) print(entries.map((entry) => listLine(entry, keysOnly)).join("\n"));
    if (!json && page.trace !== undefined) note(traceText(page.trace as object));
    isEmpty &&= entries.length === 0;
    if (left === 0) break;
  }
  return { text: isEmpty && !json ? "No keys found" : null, exitCode: exitCodes.done };
}

function listLine({ key, value }: ListedEntry, keysOnly: boolean): string {
  return keysOnly ? harmlessLine(key) : `${harmlessLine(key)}\t${harmlessLine(value)}`;
}

async function status(_: readonly string[], _parsed: Parsed, context: Context): Promise<Outcome> {
  const answers = await askAll(context.cluster, await context.client.members(context));
  return { text: context.json ? statusLines(answers) : statusTable(answers), exitCode: exitCodes.done };
}

async function members(_: readonly string[], parsed: Parsed, context: Context): Promise<Outcome> {
  const reply = await ask({ op: "members" }, parsed, context);
  return show(reply, exitCodes.done, context, () => {
    const nodes = reply.members as { id: number; raft: string; client: string | null }[];
    return table([
      ["NODE", "RAFT", "CLIENT"],
      ...nodes.map((it) => [String(it.id), it.raft, it.client ?? "-"]),
    ]);
  });
}

async function ping(_: readonly string[], parsed: Parsed, context: Context): Promise<Outcome> {
  const startedAt = performance.now();
  const reply = await ask({ op: "ping" }, parsed, context);
  const ms = (performance.now() - startedAt).toFixed(1);
  return show(reply, exitCodes.done, context, () => `${context.client.address} answered in ${ms} ms`);
}

function conditionsOf(parsed: Parsed): Record<string, unknown> {
  const version = parsed.text("if-version");
  return {
    ifVersion: version === undefined ? undefined : integerOf("--if-version", version, { min: 0, max: 1e15 }),
    ifValue: parsed.text("if-value"),
    previous: parsed.flag("previous") || undefined,
  };
}
