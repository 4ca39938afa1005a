/**
 * Text for people and programs: stdout for what was asked for, stderr for everything else. A reader who goes away,
 * as `head` does, ends the program quietly.
 *
 * @module
 */

import { exitCodes } from "./exit.ts";

const encoder = new TextEncoder();

/** Writes a line, or several, to stdout. */
export function print(text: string): void {
  try {
    writeAll(Deno.stdout, encoder.encode(text + "\n"));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) Deno.exit(exitCodes.done);
    throw error;
  }
}

/** Writes to stderr. Never fails: when nobody can be told, the exit code still says it. */
export function printError(text: string): void {
  writeToStderr(text + "\n");
}

/** Writes to stderr what is told beside an answer. */
export function note(text: string): void {
  printError(paint("dim", text, Deno.stderr));
}

/** Writes to stderr as it is, without a newline. */
export function writeToStderr(text: string): void {
  try {
    writeAll(Deno.stderr, encoder.encode(text));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** Writes all bytes, however few are taken at once. */
export function writeAll(to: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += to.writeSync(bytes.subarray(at));
}

/**
 * Text that somebody else stored. On a terminal its control characters, newlines and tabs aside, are shown instead of
 * obeyed: a key must not move the cursor or rewrite the screen. Through a pipe it stays as it is.
 */
export function harmless(text: string): string {
  return Deno.stdout.isTerminal() ? escapeControls(text, { keep: "\n\t" }) : text;
}

/** The same for what has to stay on one line. */
export function harmlessLine(text: string): string {
  return Deno.stdout.isTerminal() ? escapeControls(text) : text;
}

/** Control characters as JSON writes them, save those to `keep`. */
export function escapeControls(text: string, { keep = "" } = {}): string {
  return text.replace(/\p{Cc}/gu, (c) => {
    if (keep.includes(c)) return c;
    const short = JSON.stringify(c).slice(1, -1); // leaves those from 0x7f on as they are
    return short !== c ? short : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** What the operating system says was wrong, without numbers for programmers. */
export function reasonOf(error: Error): string {
  return error.message.replace(/ \(os error \d+\).*$/s, "");
}

const styles = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;

/** The text in a style, if it goes to a terminal and its owner did not set NO_COLOR. */
export function paint(
  style: keyof typeof styles,
  text: string,
  to: { isTerminal(): boolean } = Deno.stdout,
): string {
  return to.isTerminal() && !Deno.noColor ? `\x1b[${styles[style]}m${text}\x1b[0m` : text;
}

/**
 * Shows a line on stderr and renews it, while something takes its time; nothing when that is no terminal. The function
 * that it gives takes the line away.
 */
export function showProgress(everyMs: number, line: () => string): () => void {
  if (!Deno.stderr.isTerminal()) return () => {};
  const timer = setInterval(() => writeToStderr(`\r${line()}\x1b[K`), everyMs);
  return () => {
    clearInterval(timer);
    writeToStderr("\r\x1b[K");
  };
}

/** A bar of twenty characters with a percentage; `part` is from 0 to 1. */
export function bar(part: number): string {
  const filled = Math.floor(20 * part);
  return `[${"#".repeat(filled)}${"-".repeat(20 - filled)}] ${String(Math.floor(100 * part)).padStart(3)}%`;
}

/** Rows as columns, each as wide as its widest cell. The first row holds the headings. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd()
  );
  return [paint("bold", lines[0]!), ...lines.slice(1)].join("\n");
}
