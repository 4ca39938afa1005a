/**
 * The command line: finds the command, parses its options, and turns errors into a sentence and an exit code.
 *
 * @module
 */

import { version } from "../version.ts";
import { benchCommand } from "./bench.ts";
import { clientCommand } from "./client_command.ts";
import { clientOperations } from "./client_operations.ts";
import { completionsCommand } from "./completions.ts";
import { devCommand } from "./dev.ts";
import { exitCodeOf, exitCodes, messageOf, UsageError } from "./exit.ts";
import { commandHelp, generalHelp, type Subcommand } from "./help.ts";
import { inspectCommand } from "./inspect.ts";
import { didYouMean, parseOptions } from "./options.ts";
import { print, printError } from "./output.ts";
import { serveCommand } from "./serve.ts";
import { statusCommand } from "./status.ts";

const commands: Subcommand[] = [
  serveCommand,
  devCommand,
  clientCommand,
  benchCommand,
  statusCommand,
  inspectCommand,
];
commands.push(completionsCommand(commands));

/** Runs the program with its arguments; resolves with the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    return showHelp(rest[0], name);
  }
  if (name === "--version" || name === "-V") {
    print(`kvapp ${version}`);
    return exitCodes.done;
  }
  try {
    return await run(findCommand(name), rest);
  } catch (error) {
    const exitCode = exitCodeOf(error);
    if (exitCode === null) throw error;
    printError(`kvapp: ${messageOf(error as Error)}`);
    const topic = commands.some((command) => command.name === name) ? `${name} ` : "";
    if (error instanceof UsageError) printError(`See kvapp ${topic}--help.`);
    return exitCode;
  }
}

async function run(command: Subcommand, args: readonly string[]): Promise<number> {
  const beforeEnd = args.includes("--") ? args.slice(0, args.indexOf("--")) : args;
  if (beforeEnd.includes("--help") || beforeEnd.includes("-h")) {
    print(commandHelp(command));
    return exitCodes.done;
  }
  return await command.run(parseOptions(args, command.options));
}

/** Without any argument it is help that nobody asked for: wrong usage. */
function showHelp(topic: string | undefined, asked: string | undefined): number {
  const command = commands.find((it) => it.name === topic);
  print(command === undefined ? generalHelp(commands) : commandHelp(command));
  return asked === undefined ? exitCodes.usage : exitCodes.done;
}

function findCommand(name: string): Subcommand {
  const found = commands.find((command) => command.name === name);
  if (found !== undefined) return found;
  if (name.startsWith("-")) {
    const near = didYouMean(name.replace(/^-+/, ""), ["help", "version"], "--");
    throw new UsageError(`unknown option ${name}.${near}`);
  }
  if (Object.hasOwn(clientOperations, name)) {
    throw new UsageError(`unknown command ${name}. Did you mean kvapp client ${name}?`);
  }
  throw new UsageError(
    `unknown command ${name}.${didYouMean(name, commands.map((command) => command.name))}`,
  );
}
