/**
 * `kvapp inspect`: what the folder of a stopped node holds, and what a start would do about it.
 *
 * @module
 */

import type { Entry } from "../raft/types.ts";
import { stateFile } from "../storage/formats.ts";
import { CommandError, exitCodes, UsageError } from "./exit.ts";
import type { Subcommand } from "./help.ts";
import { readFolder } from "./inspect_folder.ts";
import {
  type FileReport,
  inspect,
  type LogFileReport,
  type Position,
  type Report,
} from "./inspect_report.ts";
import { harmlessLine, print, printError, table } from "./output.ts";

/** `kvapp inspect`. */
export const inspectCommand: Subcommand = {
  name: "inspect",
  summary: "reads the folder of a stopped node: files, indexes, terms, damage",
  usage: ["inspect DIR [--json]", "inspect DIR --log [--json]"],
  options: [
    { name: "log", text: "print the entries instead, one a line: index, term, kind, command" },
    { name: "json", text: "the report as one line of JSON; with --log the lines as they stand in the files" },
  ],
  details:
    "Nothing in the folder is changed. What a crash cut short is told, and harmless: the next start cuts\n" +
    "it off. Exit code 4: a start would refuse the folder, a node runs on it, or it is no data folder.",
  async run(parsed) {
    const [path, ...others] = parsed.rest;
    if (path === undefined || others.length > 0) {
      throw new UsageError("name one data folder, such as ./data or ./kvapp-dev/1");
    }
    const folder = await readFolder(path);
    try {
      const entries = parsed.flag("log") ? new EntryPrinter(parsed.flag("json")) : null;
      const report = inspect(path, folder, (entry) => entries?.add(entry));
      if (entries !== null) entries.end(report);
      else print(parsed.flag("json") ? JSON.stringify(report) : describe(report));
      if (report.damage !== null) throw new CommandError(report.damage, exitCodes.folder);
      return exitCodes.done;
    } finally {
      folder.close();
    }
  },
};

const decoder = new TextDecoder();

/** The report for people. */
function describe(report: Report): string {
  const { identity, currentTerm, votedFor, members, log, vouched, files, start, damage } = report;
  const hasState = files.some(({ name }) => name === stateFile);
  const unread = `${stateFile} ${hasState ? "cannot be read" : "is missing"}`;
  const facts = [
    ["folder", report.folder],
    ["node", identity === null ? unread : `${identity.nodeId}, incarnation ${identity.incarnation}`],
    ["starts", identity === null ? unread : String(identity.starts)],
    ["cluster", identity === null ? unread : identity.clusterId ?? "none yet"],
    ["members", members === null ? "none yet" : describeMembers(members)],
    ["term", currentTerm === null ? unread : `${currentTerm}, voted for ${votedFor ?? "nobody"}`],
    ["log", log === null ? "no entry" : describeRange(log.first, log.last)],
    ["durable", vouched.index === 0 ? "nothing says so" : `up to entry ${vouched.index}, says ${vouched.by}`],
  ] as const;
  const fileRows = files.map((file) => [harmlessLine(file.name), String(file.bytes), describeFile(file)]);
  return [
    ...facts.map(([name, text]) => `${name.padEnd(9)}${harmlessLine(text)}`),
    "",
    table([["FILE", "BYTES", "HOLDS"], ...fileRows]),
    "",
    damage === null ? "The folder is whole. A start would say:" : "A start would refuse this folder.",
    ...start.map((note) => `  ${harmlessLine(note)}`),
  ].join("\n");
}

function describeMembers({ from, list }: NonNullable<Report["members"]>): string {
  const nodes = list.map(({ id, address }) => `${id}=${address}`).join(", ");
  return `${nodes} (${from === "pinned" ? "agreed on, not founded yet" : `entry ${from}`})`;
}

function describeFile({ name, log }: FileReport): string {
  if (name === stateFile) return "identity, term, vote";
  if (name.startsWith("torn/")) return "what a crash cut short and a start cut off";
  if (log === undefined) return "";
  const { first, last, mark, bad } = log;
  const parts = [first === null || last === null ? "no entry" : describeRange(first, last)];
  if (mark !== null) parts.push(`durable up to entry ${mark}`);
  if (bad !== null) parts.push(describeBad(bad));
  return parts.join("; ");
}

function describeRange(first: Position, last: Position): string {
  const terms = first.term === last.term ? `term ${first.term}` : `terms ${first.term} to ${last.term}`;
  return `entries ${first.index} to ${last.index}, ${terms}`;
}

function describeBad({ offset, index, bytes, reason }: NonNullable<LogFileReport["bad"]>): string {
  return `bad from byte ${offset}, entry ${index}: ${reason} (${bytes} bytes)`;
}

/** Prints the entries of a log as they are read, many at a time. */
class EntryPrinter {
  readonly #json: boolean;
  #lines: string[] = [];

  constructor(json: boolean) {
    this.#json = json;
  }

  add({ index, term, kind, command, line }: Entry): void {
    const text = command === null ? "" : JSON.stringify(command);
    this.#lines.push(
      this.#json
        ? decoder.decode(line.subarray(0, -1))
        : `${index}\t${term}\t${kind}\t${harmlessLine(text)}`.trimEnd(),
    );
    if (this.#lines.length === 1000) this.#flush();
  }

  /** Prints what is left, and on stderr what of the log could not be read. */
  end({ files }: Report): void {
    this.#flush();
    for (const { name, log } of files) {
      if (log?.bad) printError(`kvapp: ${name} is ${describeBad(log.bad)}`);
    }
  }

  #flush(): void {
    if (this.#lines.length > 0) print(this.#lines.join("\n"));
    this.#lines = [];
  }
}
