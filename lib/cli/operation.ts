/**
 * What an operation of the client is: words and options in, an answer for people or programs out.
 *
 * @module
 */

import type { Client } from "../client/client.ts";
import type { ReplyLine } from "../client/connection.ts";
import type { ListOptions } from "../client/types.ts";
import type { Parsed } from "./options.ts";
import { harmlessLine } from "./output.ts";

/** Whom to ask and how to show it. */
export interface Context {
  client: Client;
  /** Addresses as the user gave them. */
  cluster: readonly string[];
  /** Show the reply lines themselves. */
  json: boolean;
  /** Ends the wait for an answer. */
  signal: AbortSignal;
  /** Nobody else reads stdin. */
  mayReadStdin: boolean;
}

/** What came of it. */
export interface Outcome {
  /** Without a newline at its end; null: all was printed. */
  text: string | null;
  /** What a one-shot command ends with. */
  exitCode: number;
  /** What is told beside the answer. */
  note?: string;
}

/** One operation. */
export interface Operation {
  /** Its words after the name; brackets mark what may be left out. */
  usage: string;
  summary: string;
  /** How many words it takes. Without an upper bound the last ones are a text that may hold anything. */
  words: { min: number; max: number };
  /** Names of the options that it takes. */
  options: readonly string[];
  /** It changes something, so giving up on its answer does not mean that it did not happen. */
  isWrite?: true;
  /** It goes on until somebody interrupts it, which is its good end. */
  isEndless?: true;
  run(words: readonly string[], parsed: Parsed, context: Context): Promise<Outcome>;
}

/** Sends the request, traced if that is wanted. */
export function ask(
  fields: Readonly<Record<string, unknown>>,
  parsed: Parsed,
  { client, signal }: Context,
): Promise<ReplyLine> {
  return client.request({ ...fields, ...traceOf(parsed) }, { signal });
}

/** The outcome of one reply: its line, or `text` with what the trace says beside it. */
export function show(reply: ReplyLine, exitCode: number, context: Context, text: () => string): Outcome {
  if (context.json) return { text: harmlessLine(JSON.stringify(reply)), exitCode };
  const outcome: Outcome = { text: text(), exitCode };
  if (reply.trace !== undefined) outcome.note = traceText(reply.trace as object);
  return outcome;
}

/** The field that `--trace` stands for. */
export function traceOf(parsed: Parsed): { trace?: true } {
  return parsed.flag("trace") ? { trace: true } : {};
}

/** Where the time went, in milliseconds, on one line. */
export function traceText(trace: object): string {
  const steps = Object.entries(trace).flatMap(([name, value]) =>
    name === "peers"
      ? Object.entries(value as object).map(([id, ms]) => `node ${id} ${ms}`)
      : `${name.replace(/Ms$/, "")} ${value}`
  );
  return `trace in ms: ${steps.join(", ")}`;
}

/** The fields that `--start` and `--end` stand for, beside a prefix. */
export function rangeOf(parsed: Parsed, prefix: string | undefined): ListOptions {
  const range = { prefix, start: parsed.text("start"), end: parsed.text("end") };
  return Object.fromEntries(Object.entries(range).filter(([, value]) => value !== undefined));
}

/** The field that `--stale` stands for. */
export function consistencyOf(parsed: Parsed): { consistency?: "stale" } {
  return parsed.flag("stale") ? { consistency: "stale" } : {};
}

/** What to tell whoever did not wait for the end of it. */
export function interruptedText({ isWrite }: Operation): string {
  return isWrite ? "interrupted; the write may still happen" : "interrupted";
}
