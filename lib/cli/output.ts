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

/** Writes to stderr as it is, without a newline. */
export function writeToStderr(text: string): void {
  try {
    writeAll(Deno.stderr, encoder.encode(text));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

function writeAll(to: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += to.writeSync(bytes.subarray(at));
}

const styles = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;

/** The text in a style, if stdout is a terminal and its owner did not set NO_COLOR. */
export function paint(style: keyof typeof styles, text: string): string {
  return Deno.stdout.isTerminal() && !Deno.noColor ? `\x1b[${styles[style]}m${text}\x1b[0m` : text;
}

/** Rows as columns, each as wide as its widest cell. The first row holds the headings. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd()
  );
  return [paint("bold", lines[0]!), ...lines.slice(1)].join("\n");
}
