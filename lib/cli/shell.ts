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
import { clientOperations, operationFor, operationOptions } from "./client_operations.ts";
import { CommandError, exitCodeOf, exitCodes, UsageError } from "./exit.ts";
import { interruptedText, type Operation } from "./operation.ts";
import { didYouMean, parseOptions } from "./options.ts";
import { note, paint, print, printError } from "./output.ts";
import { complete, localCommands } from "./shell_completion.ts";
import { splitWords } from "./words.ts";

/** What the shell remembers between two lines. */
interface Shell {
  client: Client;
  cluster: readonly string[];
  json: boolean;
  /** Set while an operation is under way: Ctrl-C ends the wait. */
  underWay: { abort: AbortController; operation: Operation } | null;
}

/** How to tell people what happens beside the shell. While it shows its prompt, it replaces `say` by its own way. */
export interface Notices {
  say(text: string): void;
}

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
    const { underWay } = shell;
    if (underWay?.operation.isEndless && error === underWay.abort.signal.reason) return exitCodes.done;
    const exitCode = exitCodeOf(error);
    if (exitCode === null) throw error;
    const { message } = error as Error;
    printError(error instanceof UsageError ? message : `Error: ${message}`);
    return exitCode;
  } finally {
    shell.underWay = null;
  }
}

async function runOperation(shell: Shell, name: string, rest: readonly string[]): Promise<void> {
  if (!Object.hasOwn(clientOperations, name)) {
    const near = didYouMean(name, [...Object.keys(clientOperations), ...localCommands]);
    throw new UsageError(`Unknown command: ${name}. Type 'help' for available commands.${near}`);
  }
  const { words, options } = clientOperations[name]!;
  const endsInText = words.max === Infinity;
  const parsed = parseOptions(rest, operationOptions, { optionsFirst: endsInText });
  if (endsInText && !rest.includes("--")) checkText(name, parsed.rest, options);
  const operation = operationFor(name, parsed);
  const { client, cluster, json } = shell;
  const abort = new AbortController();
  shell.underWay = { abort, operation };
  const [startedAt, address] = [performance.now(), client.address];
  const context = { client, cluster, json, signal: abort.signal, mayReadStdin: false };
  const { text, note: beside } = await operation.run(parsed.rest, parsed, context);
  if (text !== null) print(text);
  if (beside !== undefined) note(beside);
  if (!Deno.stdin.isTerminal()) return;
  const moved = client.address === address ? "" : `, now from ${client.address}`;
  print(paint("dim", `(${(performance.now() - startedAt).toFixed(1)} ms${moved})`));
}

/** Words of a text may begin with dashes, but an option among them was meant as one and must not be stored. */
function checkText(name: string, words: readonly string[], options: readonly string[]): void {
  const late = words.find((word) => options.some((it) => word === `--${it}` || word.startsWith(`--${it}=`)));
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
      complete(shell.client, line).then((result) => done(null, result));
    },
  });
  reader.on("history", writeHistory);
  reader.on("SIGINT", () => {
    if (shell.underWay !== null) return interrupt(shell.underWay);
    if (reader.line === "") return printAbovePrompt(reader, paint("dim", "Ctrl-D or 'quit' ends the shell"));
    for (const name of ["e", "u"]) reader.write(null, { ctrl: true, name }); // to its end, and all of it away
  });
  const { say } = notices;
  notices.say = (text) => shell.underWay === null ? printAbovePrompt(reader, text) : say(text);
  reader.on("close", () => {
    notices.say = say;
    if (shell.underWay?.operation.isEndless) interrupt(shell.underWay); // nobody could do it any more
  });
  for await (const line of promptedLines(reader)) {
    if (await runLine(shell, line) === "quit") return reader.close();
  }
  print("");
}

function interrupt({ abort, operation }: NonNullable<Shell["underWay"]>): void {
  abort.abort(new CommandError(interruptedText(operation)));
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
