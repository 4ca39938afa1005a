/**
 * A node's journal on stderr, for people or as JSON lines.
 *
 * @module
 */

import type { LogLevel } from "../server/options.ts";
import { UsageError } from "./exit.ts";
import { didYouMean, type Option, type Parsed } from "./options.ts";
import { printError } from "./output.ts";

const levels: readonly LogLevel[] = ["error", "warn", "info", "debug"];
const formats = ["text", "json"] as const;

/** The options that `journalOf` reads. */
export const logOptions: readonly Option[] = [
  { name: "verbose", short: "v", text: "every message between the nodes too; same as --log-level debug" },
  { name: "log-level", value: "LEVEL", text: "error, warn, info (default) or debug" },
  { name: "log-format", value: "FORMAT", text: "text (default) or json, one object a line" },
];

/** How much of the journal is wanted. Throws UsageError. */
export function logLevelOf(parsed: Parsed): LogLevel {
  return choiceOf(parsed, "log-level", levels) ?? (parsed.flag("verbose") ? "debug" : "info");
}

/** Where a node's journal goes, as the command line wants it. Throws UsageError. */
export function journalOf(parsed: Parsed, nodeId: number): (level: LogLevel, message: string) => void {
  const format = choiceOf(parsed, "log-format", formats) ?? "text";
  const most = levels.indexOf(logLevelOf(parsed));
  return (level, message) => {
    if (levels.indexOf(level) > most) return;
    const time = new Date().toISOString();
    if (format === "json") printError(JSON.stringify({ time, level, node: nodeId, message }));
    else printError(`${time.slice(11, 23)} ${level.toUpperCase().padEnd(5)} ${message}`);
  };
}

function choiceOf<T extends string>(parsed: Parsed, name: string, choices: readonly T[]): T | undefined {
  const text = parsed.text(name);
  const choice = choices.find((it) => it === text);
  if (text === undefined || choice !== undefined) return choice;
  throw new UsageError(`--${name} is ${choices.join(", ")}, not "${text}".${didYouMean(text, choices)}`);
}
