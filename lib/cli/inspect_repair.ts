/**
 * `kvapp inspect --repair`: what a start would do to a folder, without a start. With `--accept-loss` an operator decides
 * what no node may decide: that the good prefix is all there is, and that the node takes part with it.
 *
 * @module
 */

import { FolderLocked, openFolder } from "../io/deno_io.ts";
import type { Disk, Done } from "../io/io.ts";
import { describeDamage } from "../server/identity.ts";
import { type Identity, stateFile } from "../storage/formats.ts";
import type { RecoveredFolder } from "../storage/recovery.ts";
import { Storage } from "../storage/storage.ts";
import { CommandError, exitCodes } from "./exit.ts";
import { readFolder } from "./inspect_folder.ts";
import { abstains, isUntidy, judge, type Verdict } from "./inspect_verdict.ts";
import { harmlessLine, print } from "./output.ts";

/** How a folder is to be repaired. */
interface RepairOptions {
  /** What is lost is given up, and the node takes part as it is. */
  acceptLoss: boolean;
  /** Tell it as one line of JSON. */
  json: boolean;
}

/** What is to be done. */
interface Plan {
  nodeId: number;
  found: RecoveredFolder;
  /** With which name and count of starts the folder goes on. */
  identity: Identity;
  /** The entry that is to count as its admission; null: as it was found. */
  admittedIndex: number | null;
  /** What an operator has to know of it. */
  warnings: string[];
}

/** What was done, for programs. */
interface Repaired {
  folder: string;
  /** False: there was nothing to do, and nothing was done. */
  repaired: boolean;
  acceptedLoss: boolean;
  incarnation: string | null;
  starts: number | null;
  admitted: number | null;
  damage: string | null;
  notes: string[];
  warnings: string[];
  /** The files that hold what was cut off. */
  kept: string[];
}

/** Repairs a folder and says what was done; resolves with the exit code. Throws CommandError when a start would refuse it. */
export async function repairFolder(path: string, options: RepairOptions): Promise<number> {
  if (await lookFirst(path, options) === null) return exitCodes.done;
  const folder = await lock(path);
  try {
    const plan = planFor(judge(folder.disk), folder.disk, options.acceptLoss); // a node may have run in between
    if (plan === null) return exitCodes.done;
    const before = new Set(folder.disk.list());
    const admitted = await carryOut(plan, folder.disk);
    const kept = folder.disk.list().filter((name) => /^(torn|damaged)\//.test(name) && !before.has(name));
    report({
      folder: path,
      repaired: true,
      acceptedLoss: options.acceptLoss,
      incarnation: plan.identity.incarnation,
      starts: plan.identity.starts,
      admitted,
      damage: plan.found.damage,
      notes: plan.found.notes,
      warnings: plan.warnings,
      kept: kept.map((name) => `${path}/${name}`),
    }, options);
    return exitCodes.done;
  } finally {
    await folder.close();
  }
}

/** Looks without changing anything, not even the lock; reports it when there is nothing to do. */
async function lookFirst(path: string, options: RepairOptions): Promise<Plan | null> {
  const { disk, close } = await readFolder(path);
  try {
    const verdict = judge(disk);
    const plan = planFor(verdict, disk, options.acceptLoss);
    if (plan === null) {
      report({
        folder: path,
        repaired: false,
        acceptedLoss: false,
        incarnation: verdict.identity?.incarnation ?? null,
        starts: verdict.state?.identity.starts ?? null,
        admitted: verdict.admittedIndex,
        damage: null,
        notes: verdict.found?.notes ?? [],
        warnings: abstains(verdict) ? [waits] : [],
        kept: [],
      }, options);
    }
    return plan;
  } finally {
    await close();
  }
}

const waits =
  "the node abstains until the others have given it what it lacks and admitted it: start it with them";

async function lock(path: string): ReturnType<typeof openFolder> {
  try {
    return await openFolder(path);
  } catch (error) {
    if (error instanceof FolderLocked) throw new CommandError(error.message, exitCodes.folder);
    if (!(error instanceof Error)) throw error;
    throw new CommandError(`cannot change ${path}: ${error.message}`, exitCodes.folder);
  }
}

/** What to do about a folder; null: nothing. Throws CommandError when it cannot or must not be done. */
function planFor(verdict: Verdict, disk: Disk, acceptLoss: boolean): Plan | null {
  const { found, refusal, nodeId, identity } = verdict;
  if (acceptLoss) return planOfLoss(verdict, disk);
  if (refusal !== null) throw new CommandError(refusal, exitCodes.folder);
  if (found === null || (found.damage === null && !isUntidy(verdict))) return null;
  if (nodeId === null || identity === null) throw nameless(found);
  const warnings = found.damage !== null ? [describeDamage(found.damage)] : abstains(verdict) ? [waits] : [];
  return { nodeId, found, identity, admittedIndex: null, warnings };
}

function nameless({ damage }: RecoveredFolder): CommandError {
  return new CommandError(
    `${damage}. Nothing that is whole in the folder names its node and its cluster: ` +
      "start the node on it, with its --node-id and --cluster",
    exitCodes.folder,
  );
}

/** What to do so that the folder goes on with what is whole, as the member that its own configuration names. */
function planOfLoss(verdict: Verdict, disk: Disk): Plan {
  const { found, refusal, configuration, configurationIndex } = verdict;
  if (found === null || !verdict.isUsable || found.identity === null) {
    throw new CommandError(refusal ?? "the folder is new: there is no loss to accept", exitCodes.folder);
  }
  if (found.damage === null && !abstains(verdict)) {
    if (refusal !== null) throw new CommandError(refusal, exitCodes.folder);
    const state = configurationIndex > 0
      ? `the node is a member since entry ${verdict.admittedIndex}`
      : "the node is not yet a member of a cluster";
    throw new CommandError(
      `there is no loss to accept: nothing is damaged, and ${state}. Leave out --accept-loss`,
    );
  }
  const [first, second] = configuration.members;
  const nodeId = verdict.nodeId ?? (second === undefined ? first?.id : undefined);
  if (nodeId === undefined) throw nameless(found);
  const own = configuration.members.find(({ id }) => id === nodeId);
  const identity = { ...found.identity, starts: startsSoFar(verdict, disk) + 1 };
  if (own !== undefined) {
    return {
      nodeId,
      found,
      identity: { ...identity, incarnation: own.incarnation },
      admittedIndex: configurationIndex,
      warnings: warningsOf(verdict, own.incarnation),
    };
  }
  const { pinned, incarnation } = identity;
  const isFounder = pinned?.some((one) => one.id === nodeId && one.incarnation === incarnation) ?? false;
  if (configurationIndex > 0 || !isFounder) {
    throw new CommandError(
      `${
        found.damage ?? "the folder abstains"
      }. Nothing that is whole in it says which folder node ${nodeId} has in its ` +
        "cluster, so it cannot take part: put the latest copy of the folder back",
      exitCodes.folder,
    );
  }
  return { nodeId, found, identity, admittedIndex: null, warnings: warningsOf(verdict, incarnation) };
}

/** The other nodes remember it: where the state file is damaged, the best that can be known. */
function startsSoFar({ state }: Verdict, disk: Disk): number {
  if (state !== null) return state.identity.starts;
  const text = new TextDecoder().decode(disk.read(stateFile) ?? new Uint8Array());
  const inNames = disk.list().map((name) => /^(?:torn|damaged)\/start-(\d+)-/.exec(name)?.[1]);
  return [/"starts":(\d+)/.exec(text)?.[1], ...inNames].map((digits) => Number(digits ?? 0))
    .filter((starts) => starts < startsMax).reduce((a, b) => Math.max(a, b), 0);
}

/** More is a flipped bit and no count. */
const startsMax = 1e9;

/** What may be lost when the folder goes on as it is, said plainly. */
function warningsOf({ state, found, configuration, configurationIndex }: Verdict, name: string): string[] {
  const { log, entries, base, damage, identity, hardState } = found!;
  const last = entries.at(-1)?.index ?? base.index;
  const isKnown = log !== null && log.damage !== null;
  const warnings = [
    `entries from index ${last + 1} on are lost${
      isKnown ? "" : ", if there were any: nothing tells any more"
    }`,
  ];
  if (state === null || damage === null || !isKnown) {
    warnings.push(
      `votes are forgotten: the node may vote a second time in term ${hardState.currentTerm} or one that it does not know of`,
    );
  }
  warnings.push(
    configuration.members.length > 1
      ? "this is a cluster of several nodes: with a member that forgot something, writes that clients were told are " +
        "done may vanish on all of them"
      : "writes that clients were told are done may be among them",
  );
  if (last === 0) warnings.push("nothing is left: the next start founds the cluster again, without data");
  const before = identity?.incarnation ?? "";
  if (before !== "" && before !== name) {
    warnings.push(
      `the folder, ${before}, takes over the name ${name}, which entry ${configurationIndex} gives the node`,
    );
  }
  if (state === null && configuration.members.length > 1) {
    warnings.push(
      "its starts may be counted too low: restart the nodes that take the folder for an older copy",
    );
  }
  return warnings;
}

/** Does it; resolves with the index of the entry that admits the folder. */
async function carryOut({ nodeId, identity, admittedIndex }: Plan, disk: Disk): Promise<number> {
  const storage = new Storage(disk);
  storage.recover(nodeId);
  await finish((done) => storage.open(identity, done));
  if (admittedIndex !== null) {
    // After the cut: until then the folder is found damaged again.
    const hardState = { ...storage.hardState, admittedIndex };
    const write = { hardState, chunks: [], snapshot: null, entries: [], messages: [] };
    await finish((done) => storage.append([write], done));
  }
  await finish((done) => storage.close(done));
  return storage.hardState.admittedIndex;
}

async function finish(start: (done: Done) => void): Promise<void> {
  const error = await new Promise<Error | null>((resolve) => start(resolve));
  if (error !== null) throw new CommandError(error.message, exitCodes.broken);
}

function report(done: Repaired, { json }: RepairOptions): void {
  if (json) return print(JSON.stringify(done));
  const { folder, repaired, acceptedLoss, incarnation, starts, admitted, notes, warnings, kept } = done;
  if (!repaired) {
    print([`${folder}: there is nothing to repair`, ...warnings].map(harmlessLine).join("\n"));
    return;
  }
  const lines = [
    acceptedLoss
      ? `${folder}: what was lost is given up, and the node takes part with the rest`
      : `${folder}: repaired as a start does it`,
    ...notes.map((note) => `  ${note}`),
    `incarnation ${incarnation}, start ${starts}, ${
      admitted === 0 ? "not admitted" : `a member since entry ${admitted}`
    }`,
    ...warnings.map((warning) => `warning: ${warning}`),
    ...(kept.length > 0 ? ["what was cut off is kept in:", ...kept.map((name) => `  ${name}`)] : []),
  ];
  print(lines.map(harmlessLine).join("\n"));
}
