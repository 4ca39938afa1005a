/**
 * The options of a command: one table from which they are parsed, explained and completed.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { nearest } from "../protocol/nearest.ts";
import { UsageError } from "./exit.ts";

/** One option, `--name`. */
export interface Option {
  /** Without the dashes. */
  name: string;
  /** One letter, for `-v`. */
  short?: string;
  /** What its value is, in capitals; a switch has none. */
  value?: string;
  /** What it does, in a few words. */
  text: string;
  /** Left out of help and completions. */
  hidden?: true;
}

/** A command line, sorted. */
export interface Parsed {
  /** The value of an option, if it was given. */
  text(name: string): string | undefined;
  /** Whether a switch was given. */
  flag(name: string): boolean;
  /** The value of an option as an integer, if it was given. Throws UsageError when it is out of bounds. */
  integer(name: string, bounds: { min: number; max: number }): number | undefined;
  /** All that is no option, in order. What follows `--` is never one. */
  rest: string[];
}

/** Understood by every command. */
export const helpOption: Option = { name: "help", short: "h", text: "show this help" };

/**
 * Sorts arguments. With `optionsFirst` the first one that is no option ends the options. Throws UsageError for an
 * unknown option or one whose value is missing.
 */
export function parseOptions(
  args: readonly string[],
  options: readonly Option[],
  { optionsFirst = false } = {},
): Parsed {
  const known = [...options, helpOption];
  const withValue = known.filter((option) => option.value !== undefined).map((option) => option.name);
  const alias: Record<string, string> = {};
  for (const { name, short } of known) if (short !== undefined) alias[short] = name;
  const parsed: Record<string, unknown> = parseArgs(joinNegative(args, withValue, optionsFirst), {
    boolean: known.filter((option) => option.value === undefined).map((option) => option.name),
    string: [...withValue, "_"],
    alias,
    stopEarly: optionsFirst,
    unknown: (argument, name) => {
      if (name !== undefined) throw new UsageError(explainUnknown(argument, known));
      return true;
    },
  });
  const text = (name: string): string | undefined => parsed[name] as string | undefined;
  for (const { name, value } of known) {
    if (value !== undefined && text(name) === "") {
      throw new UsageError(`--${name} needs a value: --${name} ${value}`);
    }
  }
  return {
    text,
    flag: (name) => parsed[name] === true,
    integer: (name, bounds) => {
      const value = text(name);
      return value === undefined ? undefined : integerOf(`--${name}`, value, bounds);
    },
    rest: (parsed._ as (string | number)[]).map(String),
  };
}

/** The text as an integer. Throws UsageError with `name` when it is none or out of bounds. */
export function integerOf(name: string, text: string, { min, max }: { min: number; max: number }): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`${name} is a whole number from ${min} to ${max}, not "${text}"`);
}

/** " Did you mean ...?", when one of the names is near. */
export function didYouMean(word: string, names: Iterable<string>, prefix = ""): string {
  const near = nearest(word, names);
  return near === null ? "" : ` Did you mean ${prefix}${near}?`;
}

/** `--name -5` as `--name=-5`: the number is the option's value and no option, whether it is a good one or not. */
function joinNegative(args: readonly string[], withValue: string[], optionsFirst: boolean): string[] {
  const joined: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const [word, next] = [args[at]!, args[at + 1]];
    if (word === "--" || (optionsFirst && !word.startsWith("-"))) return [...joined, ...args.slice(at)];
    const isOption = next === undefined || /^-(?!\d)/.test(next);
    if (isOption || !withValue.some((name) => word === `--${name}`)) joined.push(word);
    else {
      joined.push(...(next.startsWith("-") ? [`${word}=${next}`] : [word, next]));
      at++;
    }
  }
  return joined;
}

function explainUnknown(argument: string, known: readonly Option[]): string {
  const names = known.filter((option) => !option.hidden).map((option) => option.name);
  const name = argument.replace(/^-+/, "").replace(/=.*$/s, "");
  const isWord = argument.startsWith("--") || name.length > 1;
  const near = isWord ? didYouMean(name, names, "--") : "";
  return `unknown option ${argument}.${near || ` To give it as a value, write "--" before it.`}`;
}
