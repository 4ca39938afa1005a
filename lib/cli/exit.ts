/**
 * What the exit codes mean, and the errors that end a command with one.
 *
 * @module
 */

import { ClientError } from "../client/errors.ts";
import { OptionError } from "../node/errors.ts";

/** The exit codes. Death by signal is 130 or 143, as the shell reports it. */
export const exitCodes = {
  /** Done. */
  done: 0,
  /** The operation failed: for `get`, the key was not found. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** No node answers, or there is no leader. */
  unreachable: 3,
  /** The data folder is foreign, locked or beyond self-repair. */
  folder: 4,
  /** The disk failed, or an assertion did. */
  broken: 5,
} as const;

/** The command line is wrong. The message says what was expected. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Runs `f`; what it says of a node's options it says of the flags that set them. */
export function namingFlags<T>(f: () => T): T {
  try {
    return f();
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    throw new UsageError(error.describe(flagOf), { cause: error });
  }
}

/** `electionTimeoutMinMs` is set by `--election-timeout-min`: a command line does without the unit. */
function flagOf(option: string): string {
  return "--" + option.replace(/Ms$/, "").replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The command cannot be done, for a reason that its user can understand; no stack trace is shown. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly exitCode: number;

  constructor(message: string, exitCode: number = exitCodes.failed) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** What to tell people of an error, with the way out that the library cannot know. */
export function messageOf(error: Error): string {
  if (!(error instanceof ClientError) || error.code !== "unreachable") return error.message;
  return `${error.message}\nIs it running? kvapp dev starts a cluster, kvapp serve one node; --cluster says where another one is.`;
}

const unreachableCodes: ReadonlySet<string> = new Set(["unreachable", "noLeader", "notLeader"]);

/** The exit code that an error stands for, or null for one that nobody foresaw. */
export function exitCodeOf(error: unknown): number | null {
  if (error instanceof UsageError) return exitCodes.usage;
  if (error instanceof CommandError) return error.exitCode;
  if (error instanceof ClientError) {
    return unreachableCodes.has(error.code) ? exitCodes.unreachable : exitCodes.failed;
  }
  return null;
}
