/**
 * A line of the shell into words, and back.
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
  const { words, last, openQuote } = readWords(line);
  if (openQuote !== null) {
    const { quote, at } = openQuote;
    const name = quote === '"' ? "double" : "single";
    throw new UsageError(`the ${name} quote at character ${at + 1} is not closed`);
  }
  return last === null ? words : [...words, last.text];
}

/** A word that the line ends in. */
interface LastWord {
  text: string;
  /** Where it begins in the line. */
  from: number;
}

/** The words of a line that somebody is still typing: the last one ends where the line does, not at a blank. */
export function readWords(
  line: string,
): { words: string[]; last: LastWord | null; openQuote: { quote: string; at: number } | null } {
  const words: string[] = [];
  let last: LastWord | null = null;
  for (let at = 0; at < line.length; at++) {
    const c = line[at]!;
    if (c === " " || c === "\t" || c === "\r") {
      if (last !== null) words.push(last.text);
      last = null;
      continue;
    }
    last ??= { text: "", from: at };
    if (c !== '"' && c !== "'") {
      last.text += c;
      continue;
    }
    const { text, end } = readQuoted(line, at);
    last.text += text;
    if (end === null) return { words, last, openQuote: { quote: c, at } };
    at = end;
  }
  return { words, last, openQuote: null };
}

/** The word as `splitWords` reads it back, in quotes if it needs them or must have them. */
export function quoteWord(word: string, quote: string | null = null): string {
  if (quote === null && /^[^\s"']+$/.test(word)) return word;
  if (quote === "'" && !word.includes("'")) return `'${word}'`;
  const escaped = word.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\t", "\\t");
  return `"${escaped}"`;
}

const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", '"': '"', "\\": "\\" };

/** The text behind the quote at `from`, and where its closing quote stands; null: there is none. */
function readQuoted(line: string, from: number): { text: string; end: number | null } {
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
  return { text, end: null };
}
