/**
 * `kvapp inspect`: what the folder of a stopped node holds, what a start would do about it, and with `--repair` the same
 * without a start. Without that option nothing in the folder is changed.
 *
 * @module
 */

import { CommandError, exitCodes, UsageError } from "./exit.ts";
import type { Subcommand } from "./help.ts";
import { readFolder } from "./inspect_folder.ts";
import { repairFolder } from "./inspect_repair.ts";
import { inspect, type Report } from "./inspect_report.ts";
import { printSnapshot } from "./inspect_snapshots.ts";
import { describe, EntryPrinter, warningOf } from "./inspect_text.ts";
import type { Parsed } from "./options.ts";
import { print, printError } from "./output.ts";

/** `kvapp inspect`. */
export const inspectCommand: Subcommand = {
  name: "inspect",
  summary: "reads the folder of a stopped node: files, indexes, terms, damage; and repairs it",
  usage: [
    "inspect DIR [--json]",
    "inspect DIR --log [--json]",
    "inspect DIR --snapshot [--json]",
    "inspect DIR --repair [--accept-loss] [--json]",
  ],
  options: [
    { name: "log", text: "print the entries instead, one a line: index, term, kind, command" },
    {
      name: "snapshot",
      text: "print the newest whole snapshot instead, one key a line: key, version, value",
    },
    { name: "repair", text: "do to the folder what a start would do, and tell what was done" },
    { name: "accept-loss", text: "with --repair: give up what is lost, and let the node take part as it is" },
    {
      name: "json",
      text: "the report as one line of JSON; with --log and --snapshot the lines of the files",
    },
  ],
  details:
    "Only --repair changes anything. What a crash cut short is told, and harmless: the next start cuts it off.\n" +
    "Damage is repaired by a start too, if the cluster has other nodes: the node then takes part again once they\n" +
    "have given it back what it lacks. Where there are none, or too few, --repair --accept-loss keeps what is good\n" +
    "up to the damage. What the node acknowledged behind that is gone then, and so are its votes: on a cluster of\n" +
    "several nodes, writes that clients were told are done may vanish. What is cut off is kept in torn/ and\n" +
    "damaged/. Exit code 4: a start would refuse the folder, a node runs on it, or it is no data folder; 1: there is\n" +
    "no snapshot, or no loss to accept.",
  async run(parsed) {
    const [path, ...others] = parsed.rest;
    if (path === undefined || others.length > 0) {
      throw new UsageError("name one data folder, such as ./data or ./kvapp-dev/1");
    }
    checkFlags(parsed);
    const json = parsed.flag("json");
    if (parsed.flag("repair")) {
      return await repairFolder(path, { acceptLoss: parsed.flag("accept-loss"), json });
    }
    const folder = await readFolder(path);
    try {
      const entries = parsed.flag("log") ? new EntryPrinter(json) : null;
      const report = inspect(path, folder, (entry) => entries?.add(entry));
      if (entries !== null) entries.end(report);
      else if (parsed.flag("snapshot")) printSnapshot(folder.disk, newestIn(report), { json });
      else print(json ? JSON.stringify(report) : describe(report));
      if (report.refusal !== null) throw new CommandError(report.refusal, exitCodes.folder);
      const warning = warningOf(report);
      if (warning !== null) printError(`kvapp: warning: ${warning}`);
      return exitCodes.done;
    } finally {
      await folder.close();
    }
  },
};

function checkFlags(parsed: Parsed): void {
  const given = ["log", "snapshot", "repair"].filter((name) => parsed.flag(name));
  if (given.length > 1) throw new UsageError(`give --${given[0]} or --${given[1]}, not both`);
  if (parsed.flag("accept-loss") && !parsed.flag("repair")) {
    throw new UsageError("--accept-loss goes with --repair: give both, once you know what is lost");
  }
}

function newestIn({ folder, snapshot, files }: Report): number {
  if (snapshot !== null) return snapshot.index;
  const isBroken = files.some((file) => file.snapshot !== undefined);
  throw new CommandError(`${folder} has no ${isBroken ? "whole " : ""}snapshot: see kvapp inspect ${folder}`);
}
