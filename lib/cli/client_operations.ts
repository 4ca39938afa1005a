/**
 * What can be asked of a cluster, by one-shot commands and in the shell alike: words into a request, its reply into
 * text for people.
 *
 * @module
 */

import type { Client } from "../client/client.ts";
import type { ReplyLine } from "../client/connection.ts";
import type { ListedEntry } from "../client/types.ts";
import { exitCodes, UsageError } from "./exit.ts";
import { didYouMean, integerOf, type Option, type Parsed } from "./options.ts";
import { harmless, harmlessLine, table } from "./output.ts";
import { askAll, statusLines, statusTable } from "./status.ts";

/** Whom to ask and how to show it. */
interface Context {
  client: Client;
  /** Addresses as the user gave them. */
  cluster: readonly string[];
  /** Show the reply lines themselves. */
  json: boolean;
  /** Ends the wait for an answer. */
  signal?: AbortSignal;
}

/** What came of it. */
interface Outcome {
  /** Without a newline at its end. */
  text: string;
  /** What a one-shot command ends with. */
  exitCode: number;
}

/** One operation. */
interface Operation {
  /** Its words after the name; brackets mark what may be left out. */
  usage: string;
  summary: string;
  /** How many words it takes. Without an upper bound the last ones are a text that may hold anything. */
  words: { min: number; max: number };
  /** It changes something, so giving up on its answer does not mean that it did not happen. */
  isWrite?: true;
  run(words: readonly string[], parsed: Parsed, context: Context): Promise<Outcome>;
}

/** Options of operations; each works where it has a meaning. */
export const operationOptions: readonly Option[] = [
  {
    name: "if-version",
    value: "N",
    text: "put, delete: only if this is the key's version; 0: only if it is new",
  },
  { name: "if-value", value: "TEXT", text: "put, delete: only if this is the key's value" },
  { name: "stale", text: "get, list: answer at once from the node at hand" },
  { name: "values", text: "list: the values too, behind a tab" },
  { name: "start", value: "KEY", text: "list, deleteRange: this key and those after it" },
  { name: "end", value: "KEY", text: "list, deleteRange: keys before this one" },
  { name: "limit", value: "N", text: "list: at most so many keys" },
  { name: "reverse", text: "list: greatest key first" },
];

/** The operations by name, in the order of the help. */
export const clientOperations: Readonly<Record<string, Operation>> = {
  get: { usage: "<key>", summary: "Get value for key", words: { min: 1, max: 1 }, run: get },
  put: {
    usage: "<key> <value>",
    summary: "Set key to value",
    words: { min: 2, max: Infinity },
    isWrite: true,
    run: put,
  },
  delete: { usage: "<key>", summary: "Delete key", words: { min: 1, max: 1 }, isWrite: true, run: remove },
  increment: {
    usage: "<key> [by]",
    summary: "Add to integer, 1 by default",
    words: { min: 1, max: 2 },
    isWrite: true,
    run: increment,
  },
  deleteRange: {
    usage: "[prefix]",
    summary: "Delete all keys of a range",
    words: { min: 0, max: 1 },
    isWrite: true,
    run: deleteRange,
  },
  txn: {
    usage: "<json>",
    summary: "Do several things at once",
    words: { min: 1, max: 1 },
    isWrite: true,
    run: txn,
  },
  list: { usage: "[prefix]", summary: "List all keys", words: { min: 0, max: 1 }, run: list },
  status: { usage: "", summary: "Show every node", words: { min: 0, max: 0 }, run: status },
  members: { usage: "", summary: "Show the nodes' addresses", words: { min: 0, max: 0 }, run: members },
  ping: { usage: "", summary: "See whether a node answers", words: { min: 0, max: 0 }, run: ping },
};

/** The operation of that name, its number of words checked. Throws UsageError. */
export function operationFor(name: string, words: readonly string[]): Operation {
  const operation = Object.hasOwn(clientOperations, name) ? clientOperations[name] : undefined;
  if (operation === undefined) {
    const names = Object.keys(clientOperations);
    throw new UsageError(`Unknown command: ${name}.${didYouMean(name, names)}`);
  }
  const { min, max } = operation.words;
  if (words.length < min || words.length > max) {
    throw new UsageError(`Usage: ${name} ${operation.usage}`.trimEnd());
  }
  return operation;
}

async function get([key]: readonly string[], parsed: Parsed, context: Context): Promise<Outcome> {
  const reply = await context.client.request({ op: "get", key, ...consistencyOf(parsed) }, context);
  const exitCode = reply.found ? exitCodes.done : exitCodes.failed;
  return show(reply, exitCode, context, () => reply.found ? harmless(String(reply.value)) : "Key not found");
}

async function put([key, ...value]: readonly string[], parsed: Parsed, context: Context): Promise<Outcome> {
  const request = { op: "put", key, value: value.join(" "), ...conditionsOf(parsed) };
  return show(await context.client.request(request, context), exitCodes.done, context, () => "OK");
}

async function remove([key]: readonly string[], parsed: Parsed, context: Context): Promise<Outcome> {
  const reply = await context.client.request({ op: "delete", key, ...conditionsOf(parsed) }, context);
  return show(reply, exitCodes.done, context, () => reply.deleted ? "OK" : "Key not found");
}

async function increment([key, by]: readonly string[], _: Parsed, context: Context): Promise<Outcome> {
  const reply = await context.client.request({ op: "increment", key, by }, context);
  return show(reply, exitCodes.done, context, () => String(reply.value));
}

/** One entry deletes a bounded number of keys: goes on until none is left. */
async function deleteRange([prefix]: readonly string[], parsed: Parsed, context: Context): Promise<Outcome> {
  const range = { prefix, start: parsed.text("start"), end: parsed.text("end") };
  let deleted = 0;
  const lines: string[] = [];
  for (;;) {
    const reply = await context.client.request({ op: "deleteRange", ...range }, context);
    deleted += reply.deleted as number;
    lines.push(harmlessLine(JSON.stringify(reply)));
    if (reply.more !== true) break;
  }
  const text = context.json ? lines.join("\n") : `Deleted ${deleted} ${deleted === 1 ? "key" : "keys"}`;
  return { text, exitCode: exitCodes.done };
}

/** The transaction is written as in the protocol. Its results are shown as they are, one a line. */
async function txn([json]: readonly string[], _: Parsed, context: Context): Promise<Outcome> {
  const reply = await context.client.request({ ...parseTransaction(json!), op: "txn" }, context);
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

/** Asks for page after page, so that a long list is neither cut off nor one huge reply. */
async function list([prefix]: readonly string[], parsed: Parsed, context: Context): Promise<Outcome> {
  const keysOnly = !parsed.flag("values");
  const reverse = parsed.flag("reverse");
  const range = { prefix, start: parsed.text("start"), end: parsed.text("end") };
  let left = parsed.integer("limit", { min: 1, max: 1e9 }) ?? Infinity;
  const lines: string[] = [];
  for (;;) {
    const limit = Math.min(left, 1000);
    const request = { op: "list", ...range, reverse, keysOnly, limit, ...consistencyOf(parsed) };
    const reply = await context.client.request(request, context);
    const entries = reply.entries as ListedEntry[];
    if (context.json) lines.push(harmlessLine(JSON.stringify(reply)));
    else for (const entry of entries) lines.push(listLine(entry, keysOnly));
    left -= entries.length;
    if (typeof reply.next !== "string" || left === 0) break;
    range[reverse ? "end" : "start"] = reply.next;
  }
  return { text: lines.length === 0 ? "No keys found" : lines.join("\n"), exitCode: exitCodes.done };
}

function listLine({ key, value }: ListedEntry, keysOnly: boolean): string {
  return keysOnly ? harmlessLine(key) : `${harmlessLine(key)}\t${harmlessLine(value)}`;
}

async function status(_: readonly string[], _parsed: Parsed, context: Context): Promise<Outcome> {
  const answers = await askAll(context.cluster, await context.client.members(context));
  return { text: context.json ? statusLines(answers) : statusTable(answers), exitCode: exitCodes.done };
}

async function members(_: readonly string[], _parsed: Parsed, context: Context): Promise<Outcome> {
  const reply = await context.client.request({ op: "members" }, context);
  return show(reply, exitCodes.done, context, () => {
    const nodes = reply.members as { id: number; raft: string; client: string | null }[];
    return table([
      ["NODE", "RAFT", "CLIENT"],
      ...nodes.map((it) => [String(it.id), it.raft, it.client ?? "-"]),
    ]);
  });
}

async function ping(_: readonly string[], _parsed: Parsed, context: Context): Promise<Outcome> {
  const startedAt = performance.now();
  const reply = await context.client.request({ op: "ping" }, context);
  const ms = (performance.now() - startedAt).toFixed(1);
  return show(reply, exitCodes.done, context, () => `${context.client.address} answered in ${ms} ms`);
}

function show(reply: ReplyLine, exitCode: number, context: Context, text: () => string): Outcome {
  return { text: context.json ? harmlessLine(JSON.stringify(reply)) : text(), exitCode };
}

function consistencyOf(parsed: Parsed): { consistency?: "stale" } {
  return parsed.flag("stale") ? { consistency: "stale" } : {};
}

function conditionsOf(parsed: Parsed): { ifVersion?: number; ifValue?: string } {
  const version = parsed.text("if-version");
  const value = parsed.text("if-value");
  return {
    ...(version === undefined
      ? {}
      : { ifVersion: integerOf("--if-version", version, { min: 0, max: 1e15 }) }),
    ...(value === undefined ? {} : { ifValue: value }),
  };
}
