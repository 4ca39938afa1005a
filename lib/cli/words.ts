/**
 * A line of the shell into words.
 *
 * @module
 */

import { UsageError } from "./exit.ts";

/**
 * Splits at blanks. Quotes keep blanks together: inside double quotes a backslash makes n, t, a quote or a backslash,
 * inside single quotes everything stands for itself. Elsewhere a backslash is a character like any other, so that
 * keys like `a\b` need no care. Throws UsageError when a quote is not closed.
 */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  for (let at = 0; at < line.length; at++) {
    const c = line[at]!;
    if (c === '"' || c === "'") {
      const { text, end } = readQuoted(line, at);
      word = (word ?? "") + text;
      at = end;
    } else if (c === " " || c === "\t" || c === "\r") {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? "") + c;
  }
  if (word !== null) words.push(word);
  return words;
}

const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", '"': '"', "\\": "\\" };

/** The text behind the quote at `from`, and where its closing quote stands. */
function readQuoted(line: string, from: number): { text: string; end: number } {
  const quote = line[from]!;
  let text = "";
  for (let at = from + 1; at < line.length; at++) {
    const c = line[at]!;
    if (c === quote) return { text, end: at };
    const escaped = quote === '"' && c === "\\" ? escapes[line[at + 1] ?? ""] : undefined;
    if (escaped === undefined) text += c;
    else {
      text += escaped;
      at++;
    }
  }
  throw new UsageError(
    `the ${quote === '"' ? "double" : "single"} quote at character ${from + 1} is not closed`,
  );
}
