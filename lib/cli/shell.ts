/**
 * The shell: one operation a line, from a terminal with history and completion, or from a pipe without any decoration,
 * so that scripts get answers and nothing else.
 *
 * @module
 */

import { TextLineStream } from "@std/streams/text-line-stream";
import { stdin, stdout } from "node:process";
import { createInterface, type Interface } from "node:readline";
import type { Client } from "../client/client.ts";
import type { ListedEntry } from "../client/types.ts";
import { clientOperations, operationFor, operationOptions } from "./client_operations.ts";
import { exitCodeOf, exitCodes, UsageError } from "./exit.ts";
import { didYouMean, parseOptions } from "./options.ts";
import { escapeControls, paint, print, printError } from "./output.ts";
import { splitWords } from "./words.ts";

/** What the shell remembers between two lines. */
interface Shell {
  client: Client;
  cluster: readonly string[];
  json: boolean;
  /** Set while an operation is under way: Ctrl-C ends the wait. */
  underWay: { abort: AbortController; isWrite: boolean } | null;
}

/** How to tell people what happens beside the shell. While it shows its prompt, it replaces `say` by its own way. */
export interface Notices {
  say(text: string): void;
}

const localCommands = ["help", "quit", "exit", "\\json"];

/**
 * Runs until the input ends or somebody quits. From a pipe the exit code is that of the first line that failed; on a
 * terminal people have seen it.
 */
export async function runShell(
  client: Client,
  options: { cluster: readonly string[]; json?: boolean; notices?: Notices },
): Promise<number> {
  const shell: Shell = { client, cluster: options.cluster, json: options.json ?? false, underWay: null };
  if (Deno.stdin.isTerminal()) {
    await runOnTerminal(shell, options.notices ?? { say: printError });
    return exitCodes.done;
  }
  let worst: number = exitCodes.done;
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  for await (const line of lines) {
    const result = await runLine(shell, line);
    if (result === "quit") break;
    if (worst === exitCodes.done) worst = result;
  }
  return worst;
}

/** Carries out one line; resolves with its exit code. A key that is not found is an answer here, not a failure. */
async function runLine(shell: Shell, line: string): Promise<number | "quit"> {
  try {
    const [name, ...rest] = splitWords(line);
    if (name === undefined) return exitCodes.done;
    if (name === "quit" || name === "exit") {
      print("Goodbye!");
      return "quit";
    }
    if (name === "help") print(helpText());
    else if (name === "\\json") {
      shell.json = !shell.json;
      print(shell.json ? "Showing reply lines" : "Showing text");
    } else await runOperation(shell, name, rest);
    return exitCodes.done;
  } catch (error) {
    const exitCode = exitCodeOf(error);
    if (exitCode === null && error !== shell.underWay?.abort.signal.reason) throw error;
    const message = (error as Error).message;
    printError(error instanceof UsageError ? message : `Error: ${message}`);
    return exitCode ?? exitCodes.failed;
  } finally {
    shell.underWay = null;
  }
}

async function runOperation(shell: Shell, name: string, rest: readonly string[]): Promise<void> {
  if (!Object.hasOwn(clientOperations, name)) {
    const near = didYouMean(name, [...Object.keys(clientOperations), ...localCommands]);
    throw new UsageError(`Unknown command: ${name}. Type 'help' for available commands.${near}`);
  }
  const endsInText = clientOperations[name]!.words.max === Infinity;
  const parsed = parseOptions(rest, operationOptions, { optionsFirst: endsInText });
  if (endsInText && !rest.includes("--")) checkText(name, parsed.rest);
  const operation = operationFor(name, parsed.rest);
  const { client, cluster, json } = shell;
  const abort = new AbortController();
  shell.underWay = { abort, isWrite: operation.isWrite ?? false };
  const [startedAt, address] = [performance.now(), client.address];
  const { text } = await operation.run(parsed.rest, parsed, { client, cluster, json, signal: abort.signal });
  print(text);
  if (!Deno.stdin.isTerminal()) return;
  const moved = client.address === address ? "" : `, now from ${client.address}`;
  print(paint("dim", `(${(performance.now() - startedAt).toFixed(1)} ms${moved})`));
}

/** Words of a text may begin with dashes, but a condition among them was meant as one and must not be stored. */
function checkText(name: string, words: readonly string[]): void {
  const late = words.find((word) => /^--if-(version|value)(=|$)/.test(word));
  if (late === undefined) return;
  throw new UsageError(
    `${name} takes ${late} before the key. If it is a part of the value, write -- first: ${name} -- <key> <value>`,
  );
}

function helpText(): string {
  const rows = [
    ...Object.entries(clientOperations).map(([name, { usage, summary }]) => [`${name} ${usage}`, summary]),
    ["\\json", "Show reply lines instead of text, or text again"],
    ["help", "Show this help"],
    ["quit", "Exit client"],
  ];
  const options = operationOptions.map(({ name, value, text }) => [`--${name} ${value ?? ""}`.trim(), text]);
  const lines = (pairs: string[][]): string =>
    pairs.map(([left, right]) => `  ${left!.padEnd(20)} ${right}`).join("\n");
  return `Available commands:\n${lines(rows)}\nOptions, for put before the key:\n${lines(options)}\n` +
    `Quotes keep blanks: put greeting "two  spaces"`;
}

async function runOnTerminal(shell: Shell, notices: Notices): Promise<void> {
  print(`Connected to kvapp cluster at ${shell.client.address}`);
  print("Type 'help' for available commands, 'quit' to exit");
  const reader = createInterface({
    input: stdin,
    output: stdout,
    prompt: "kvapp> ",
    history: readHistory(),
    historySize: historyLinesMax,
    removeHistoryDuplicates: true,
    completer: (line: string, done: (error: null, result: [string[], string]) => void) => {
      complete(shell, line).then((result) => done(null, result));
    },
  });
  reader.on("history", writeHistory);
  reader.on("SIGINT", () => {
    if (shell.underWay === null) return reader.write(null, { ctrl: true, name: "u" });
    const { abort, isWrite } = shell.underWay;
    abort.abort(new Error(isWrite ? "interrupted; the write may still happen" : "interrupted"));
  });
  const { say } = notices;
  notices.say = (text) => shell.underWay === null ? printAbovePrompt(reader, text) : say(text);
  reader.on("close", () => notices.say = say);
  for await (const line of promptedLines(reader)) {
    if (await runLine(shell, line) === "quit") return reader.close();
  }
  print("");
}

/** The prompt, with what was typed so far, moves down and makes room. */
function printAbovePrompt(reader: Interface, text: string): void {
  const { rows } = reader.getCursorPos(); // a long line takes several rows, and readline goes up as many to draw it
  const toPrompt = rows === 0 ? "\r" : `\r\x1b[${rows}A`;
  print(`${toPrompt}\x1b[J${text}${"\n".repeat(rows)}`);
  reader.prompt(true);
}

/** Shows the prompt and waits for a line, again and again, until Ctrl-D. */
async function* promptedLines(reader: Interface): AsyncGenerator<string, void, void> {
  const waiting: string[] = [];
  let wake = Promise.withResolvers<void>();
  let ended = false;
  reader.on("line", (line: string) => {
    waiting.push(line);
    wake.resolve();
  });
  reader.on("close", () => {
    ended = true;
    wake.resolve();
  });
  for (;;) {
    const line = waiting.shift();
    if (line !== undefined) yield line;
    else if (ended) return;
    else {
      reader.prompt(true); // what was typed ahead stays, and the cursor behind it
      await wake.promise;
      wake = Promise.withResolvers();
    }
  }
}

/** What the last word of the line may become: a command, then a key. */
async function complete(shell: Shell, line: string): Promise<[string[], string]> {
  const word = /\S*$/.exec(line)![0];
  const before = line.slice(0, line.length - word.length).trim();
  if (before === "") {
    const names = [...Object.keys(clientOperations), ...localCommands];
    return [names.filter((name) => name.startsWith(word)).map((name) => `${name} `), word];
  }
  if (!["get", "put", "delete", "list", "increment", "deleteRange"].includes(before)) return [[], word];
  try {
    const request = { op: "list", prefix: word, keysOnly: true, limit: 50, consistency: "stale" };
    const reply = await shell.client.request(request, { signal: AbortSignal.timeout(500) });
    const keys = (reply.entries as ListedEntry[]).map(({ key }) => key);
    return [keys.filter((key) => key === escapeControls(key)), word];
  } catch (error) {
    if (error instanceof Error) return [[], word]; // no completion is better than a complaint in mid-line
    throw error;
  }
}

const historyLinesMax = 1000;

function historyPath(): string | null {
  const chosen = Deno.env.get("KVAPP_HISTORY");
  if (chosen !== undefined) return chosen === "" ? null : chosen;
  const home = Deno.env.get("HOME") ?? Deno.env.get("USERPROFILE");
  return home === undefined ? null : `${home}/.kvapp_history`;
}

/** Newest first, as readline wants it. */
function readHistory(): string[] {
  const path = historyPath();
  try {
    return path === null ? [] : Deno.readTextFileSync(path).split("\n").filter((line) => line !== "");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** The file is for its owner only: values may be secrets. */
function writeHistory(lines: string[]): void {
  const path = historyPath();
  if (path !== null) Deno.writeTextFileSync(path, lines.join("\n") + "\n", { mode: 0o600 });
}
