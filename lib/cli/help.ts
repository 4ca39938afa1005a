/**
 * Help, made from the same tables that the command line is parsed with.
 *
 * @module
 */

import { version } from "../version.ts";
import { helpOption, type Option, type Parsed } from "./options.ts";

/** One subcommand. */
export interface Subcommand {
  name: string;
  /** In the list of commands. */
  summary: string;
  /** Lines that show how it is written, without "kvapp". */
  usage: readonly string[];
  options: readonly Option[];
  /** First words of what is no option, for completion. */
  words?: readonly string[];
  /** What else there is to say. */
  details?: string;
  /** Does it; resolves with the exit code. */
  run(parsed: Parsed): Promise<number>;
}

/** The help of the whole program. */
export function generalHelp(commands: readonly Subcommand[]): string {
  const width = Math.max(...commands.map((command) => command.name.length));
  const list = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return `kvapp ${version}: a key-value store, replicated with Raft

Usage: kvapp <command> [options]

Commands:
${list.join("\n")}

Options:
  --help      this text, and after a command its own
  --version   the version

A first try:
  kvapp dev                               three nodes on this machine, and a shell
  kvapp serve                             one node that works at once
  printf '{"op":"help"}\\n' | nc 127.0.0.1 9080

Exit codes: 0 done, 1 the operation failed (get: key not found), 2 wrong usage, 3 cluster unreachable or no leader,
  4 data folder foreign, locked or beyond self-repair, 5 disk error or failed assertion, 130 and 143 by signal`;
}

/** The help of one command. */
export function commandHelp(command: Subcommand): string {
  const options = [...command.options.filter((option) => !option.hidden), helpOption];
  const left = options.map(({ name, short, value }) =>
    `${short === undefined ? "    " : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`
  );
  const width = Math.max(...left.map((text) => text.length));
  const lines = options.map(({ text }, i) => `  ${left[i]!.padEnd(width)}  ${text}`);
  const usage = command.usage.map((line) => `  kvapp ${line}`.trimEnd());
  const details = command.details === undefined ? "" : `\n\n${command.details}`;
  return `kvapp ${command.name}: ${command.summary}\n\nUsage:\n${usage.join("\n")}\n\nOptions:\n${
    lines.join("\n")
  }${details}`;
}
