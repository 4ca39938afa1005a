/**
 * The conformance files: what a person with netcat types and reads. README.md beside this file has the notation.
 *
 * @module
 */

import { concat } from "../../../lib/bytes.ts";

/** A line of a file that means something. */
export interface Step {
  /** Sent, expected, or a directive. */
  kind: ">" | "<" | "@";
  text: string;
  /** Of the file, from 1. */
  line: number;
}

/** Reads a file. `@again N` is carried out here: the exchange before it stands there N times more. */
export function parseScript(text: string): Step[] {
  const steps: Step[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    if (line === "" || line.startsWith("#")) continue;
    const [, kind, rest] = /^([<>@]) ?(.*)$/.exec(line) ?? [];
    if (kind === undefined) throw new Error(`line ${i + 1} is none of "> ", "< ", "@" and "#": ${line}`);
    const [, times] = /^again (\d+)$/.exec(kind === "@" ? rest! : "") ?? [];
    if (times === undefined) steps.push({ kind: kind as Step["kind"], text: rest!, line: i + 1 });
    else steps.push(...Array.from({ length: Number(times) }, () => lastExchange(steps)).flat());
  }
  return steps;
}

/** The lines that were sent together last, and all behind them. */
function lastExchange(steps: readonly Step[]): Step[] {
  let start = steps.findLastIndex(({ kind }) => kind === ">");
  while (steps[start - 1]?.kind === ">") start--;
  return steps.slice(start);
}

/** What a name between < and > stands for in lines that are expected. */
const kinds: Readonly<Record<string, string>> = {
  CR: "\\r",
  index: "\\d+",
  version: "\\d+",
  session: "\\d+",
  count: "\\d+",
  node: "\\d",
  ms: "\\d+(?:\\.\\d+)?",
  address: "127\\.0\\.0\\.1:\\d+",
  release: "\\d+\\.\\d+\\.\\d+",
  cursor: '[0-9a-f]{8}:\\d+:[^"]*',
  fsync: '(?:"fsyncMs":[\\d.]+,)?',
  peers: '(?:"\\d":[\\d.]+)(?:,"\\d":[\\d.]+)*',
  rest: ".*",
};

const placeholder = /<(\w+)(?::(\w+))?>/g;

/** What the names of a file stand for, so far. */
export type Named = Map<string, string>;

/** Whether a line is the expected one. What is named for the first time is remembered, if it is. */
export function matches(expected: string, line: string, named: Named): boolean {
  const groups = new Set<string>();
  let source = "", end = 0;
  for (const { 0: whole, 1: kind, 2: name, index } of expected.matchAll(placeholder)) {
    const pattern = kinds[kind!];
    if (pattern === undefined) {
      throw new Error(`${whole} stands for nothing: it must be one of ${Object.keys(kinds)}`);
    }
    source += escape(expected.slice(end, index));
    end = index + whole.length;
    if (name === undefined) source += `(?:${pattern})`;
    else if (named.has(name)) source += escape(named.get(name)!);
    else if (groups.has(name)) source += `\\k<${name}>`;
    else source += `(?<${name}>${pattern})`;
    if (name !== undefined) groups.add(name);
  }
  const match = new RegExp(`^${source}${escape(expected.slice(end))}$`, "s").exec(line);
  for (const [name, value] of Object.entries(match?.groups ?? {})) named.set(name, value);
  return match !== null;
}

/** The bytes of a line that is sent, without its newline. */
export function bytesOf(text: string, named: Named): Uint8Array {
  return concat(
    text.split(/(<byte [0-9a-f]{2}>)/).map((piece) => {
      const [, byte] = /^<byte (..)>$/.exec(piece) ?? [];
      return byte === undefined
        ? new TextEncoder().encode(fillIn(piece, named))
        : Uint8Array.of(parseInt(byte, 16));
    }),
  );
}

function fillIn(text: string, named: Named): string {
  return text.replaceAll("<CR>", "\r")
    .replace(/<(.) times (\d+)>/g, (_, unit: string, times: string) => unit.repeat(Number(times)))
    .replace(placeholder, (whole, _, name: string) => {
      const value = named.get(name);
      if (value === undefined) throw new Error(`${whole} was not named in a line that came before`);
      return value;
    });
}

function escape(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

/** What a page shows of a session: lines that are sent, then the lines that they are answered with. */
export interface Quote {
  sent: string[];
  received: string[];
}

/**
 * The sessions in a page: a block of shell commands, whose requests stand in single quotes, with the block of output
 * behind it; or a block in the notation of the files.
 */
export function quotesOf(page: string): Quote[] {
  const quotes: Quote[] = [];
  for (const [, language, block] of page.matchAll(/^```(\w+)\n(.*?)\n```$/gms)) {
    const lines = block!.split("\n");
    if (language === "sh") {
      const sent = [...block!.matchAll(/'(\{"(?:[^']|'\$\w+')*)'/g)].map(([, text]) => text!);
      quotes.push({ sent: sent.map((text) => text.replace(/'\$(\w+)'/g, "<$1>")), received: [] });
    } else if (!lines[0]!.startsWith("> ")) quotes.at(-1)!.received.push(...lines);
    else {
      for (const line of lines) {
        const isNew = line.startsWith("> ") && quotes.at(-1)!.received.length > 0;
        if (isNew || line === lines[0]) quotes.push({ sent: [], received: [] });
        quotes.at(-1)![line.startsWith("> ") ? "sent" : "received"].push(line.slice(2));
      }
    }
  }
  return quotes;
}

/** Whether a file says the same, all that varies aside, without other lines between those that are shown. */
export function says(steps: readonly Step[], { sent, received }: Quote): boolean {
  return hasRun(steps, ">", sent) && hasRun(steps, "<", received);
}

function hasRun(steps: readonly Step[], kind: ">" | "<", lines: readonly string[]): boolean {
  const texts = steps.filter((step) => step.kind === kind).map(({ text }) => text);
  return texts.some((_, start) => {
    const named: Named = new Map();
    return lines.every((line, i) => {
      const text = texts[start + i];
      if (text === undefined) return false;
      return text.replace(placeholder, "<$1>") === line || matches(text, line, named);
    });
  });
}
