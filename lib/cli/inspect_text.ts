/**
 * The report of a folder, and its entries, as text for people.
 *
 * @module
 */

import type { Entry } from "../raft/types.ts";
import { describeDamage } from "../server/identity.ts";
import { stateFile } from "../storage/formats.ts";
import type { FileReport, LogFileReport, Range, Report } from "./inspect_report.ts";
import { count, type SnapshotFileReport } from "./inspect_snapshots.ts";
import { harmlessLine, print, printError, table } from "./output.ts";

/** The report for people. */
export function describe(report: Report): string {
  const { identity, currentTerm, votedFor, members, snapshot, log, vouched, files } = report;
  const hasState = files.some(({ name }) => name === stateFile);
  const unread = `${stateFile} ${hasState ? "cannot be read" : "is missing"}`;
  const facts = [
    ["folder", report.folder],
    ["node", identity === null ? unread : `${identity.nodeId}, incarnation ${identity.incarnation}`],
    ["starts", identity === null ? unread : String(identity.starts)],
    ["cluster", identity === null ? unread : identity.clusterId ?? "none yet"],
    ["members", members === null ? "none yet" : describeMembers(members)],
    ["admitted", report.admitted === null ? unread : describeAdmission(report)],
    ["term", currentTerm === null ? unread : `${currentTerm}, voted for ${votedFor ?? "nobody"}`],
    ["snapshot", snapshot === null ? "none" : describeSnapshot(snapshot)],
    ["log", log === null ? "no entry" : describeRange(log)],
    ["durable", vouched.index === 0 ? "nothing says so" : `up to entry ${vouched.index}, says ${vouched.by}`],
  ] as const;
  const fileRows = files.map((file) => {
    const isNewest = file.snapshot !== undefined && file.snapshot.index === snapshot?.index;
    return [harmlessLine(file.name), String(file.bytes), describeFile(file, isNewest)];
  });
  return [
    ...facts.map(([name, text]) => `${name.padEnd(9)}${harmlessLine(text)}`),
    "",
    table([["FILE", "BYTES", "HOLDS"], ...fileRows]),
    "",
    describeVerdict(report),
    ...report.start.map((note) => `  ${harmlessLine(note)}`),
  ].join("\n");
}

/** What deserves attention though a start would not refuse the folder; null: nothing. */
export function warningOf({ verdict, damage, abstains }: Report): string | null {
  if (verdict === "repairsItself" && damage !== null) return describeDamage(damage);
  return verdict === "starts" && abstains
    ? "the folder lost something earlier, or is new in a cluster that had another one: its node abstains until the " +
      "others have admitted it"
    : null;
}

function describeVerdict({ verdict }: Report): string {
  switch (verdict) {
    case "starts":
      return "The folder is whole. A start would say:";
    case "repairsItself":
      return "The folder is damaged. A start would repair it under a new name and wait for the others. It would say:";
    case "refuses":
      return "A start would refuse this folder.";
  }
}

function describeMembers({ from, list }: NonNullable<Report["members"]>): string {
  const nodes = list.map(({ id, address }) => `${id}=${address}`).join(", ");
  return `${nodes} (${from === "pinned" ? "agreed on, not founded yet" : `entry ${from}`})`;
}

function describeAdmission({ admitted, abstains, members }: Report): string {
  if (abstains) return "no: it abstains until the cluster admits it";
  if (admitted === 0 || admitted === null) {
    return members === null || members.from === "pinned" ? "the cluster is not founded yet" : "no";
  }
  return `a member since entry ${admitted}`;
}

function describeSnapshot(
  { index, term, keys, sessions, logBehind }: NonNullable<Report["snapshot"]>,
): string {
  const behind = logBehind === null
    ? "the log has nothing behind it"
    : `the log goes on behind it with ${describeRange(logBehind)}`;
  return `up to entry ${index}, term ${term}: ${describeContents(keys, sessions)}; ${behind}`;
}

function describeContents(keys: number, sessions: number): string {
  return `${count(keys, "key")}, ${count(sessions, "session")}`;
}

function describeFile({ name, log, snapshot }: FileReport, isNewest: boolean): string {
  if (name === stateFile) return "identity, term, vote";
  if (name.startsWith("torn/")) return "what a crash cut short and a start cut off";
  if (name.startsWith("damaged/")) return "what was damaged, or stood behind it, and was cut off";
  if (snapshot !== undefined) return describeSnapshotFile(snapshot, isNewest);
  if (log === undefined) return "";
  const { first, last, mark, bad } = log;
  const parts = [first === null || last === null ? "no entry" : describeRange({ first, last })];
  if (mark !== null) parts.push(`durable up to entry ${mark}`);
  if (bad !== null) parts.push(describeBad(bad));
  return parts.join("; ");
}

function describeSnapshotFile(
  { index, term, keys, sessions, bad }: SnapshotFileReport,
  isNewest: boolean,
): string {
  if (bad !== null) return `not whole, not used: ${harmlessLine(bad)}`;
  const use = isNewest ? "in use" : "kept in case that the newer one rots";
  return `the state up to entry ${index}, term ${term}: ${describeContents(keys!, sessions!)}; whole, ${use}`;
}

function describeRange({ first, last }: Range): string {
  const terms = first.term === last.term ? `term ${first.term}` : `terms ${first.term} to ${last.term}`;
  return `entries ${first.index} to ${last.index}, ${terms}`;
}

function describeBad({ offset, index, bytes, reason }: NonNullable<LogFileReport["bad"]>): string {
  return `bad from byte ${offset}, entry ${index}: ${reason} (${bytes} bytes)`;
}

const decoder = new TextDecoder();

/** Prints the entries of a log as they are read, many at a time. */
export class EntryPrinter {
  readonly #json: boolean;
  #lines: string[] = [];

  constructor(json: boolean) {
    this.#json = json;
  }

  /** Takes the next entry. */
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
