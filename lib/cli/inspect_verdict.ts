/**
 * What a start would do about a folder: the node's own recovery and the node's own judgement, asked without a start.
 * Nothing is changed here.
 *
 * @module
 */

import { denoIo } from "../io/deno_io.ts";
import type { Disk } from "../io/io.ts";
import { Store } from "../kv/store.ts";
import { Raft } from "../raft/raft.ts";
import type { Configuration, Member } from "../raft/types.ts";
import { describeHopeless, nextIdentity, NodeIdentity } from "../server/identity.ts";
import { defaultLimits, raftOptions, type ServerOptions } from "../server/options.ts";
import {
  decodeState,
  firstIndexIn,
  FolderError,
  type Identity,
  type State,
  stateFile,
  unseal,
} from "../storage/formats.ts";
import { type RecoveredFolder, recoverFolder } from "../storage/recovery.ts";
import { SnapshotFiles } from "../storage/snapshot_files.ts";
import { timingModes } from "./timing.ts";

/** What a start would make of a folder. */
export interface Verdict {
  /** What the state file holds; null: it is missing, damaged or of a newer version. */
  state: State | null;
  /** Whose folder it is, from what is whole in it; null: nothing whole tells. */
  nodeId: number | null;
  /** What a recovery finds; null: it refuses to. */
  found: RecoveredFolder | null;
  /** The configuration in force and the index of its entry, 0 before the cluster is founded. */
  configuration: Configuration;
  configurationIndex: number;
  /** With which name a start would go on; null: it would not. */
  identity: Identity | null;
  /** Index of the entry that admits the folder as a start would have it; 0: none does. */
  admittedIndex: number;
  /** What is whole can be used, so that an operator may decide to go on with it. */
  isUsable: boolean;
  /** Why a start would refuse the folder, or end soon because nobody can admit it; null: neither. */
  refusal: string | null;
}

const decoder = new TextDecoder();

/** Asks what a start would do. */
export function judge(disk: Disk): Verdict {
  const bytes = disk.read(stateFile);
  const nodeId = nodeIdIn(disk, bytes);
  const verdict: Verdict = {
    state: null,
    nodeId,
    found: null,
    configuration: { members: [] },
    configurationIndex: 0,
    identity: null,
    admittedIndex: 0,
    isUsable: false,
    refusal: null,
  };
  try {
    if (bytes !== null && nodeId !== null) verdict.state = decodeState(bytes, nodeId);
    verdict.found = recoverFolder(disk, nodeId ?? unknownNode, new SnapshotFiles(disk), () => new Store());
    judgeFound(verdict, verdict.found, disk);
  } catch (error) {
    if (!(error instanceof FolderError)) throw error;
    verdict.refusal = error.message;
  }
  return verdict;
}

/** No node's id: nothing that is whole names one then, so nothing can name another. */
const unknownNode = 0;

/** The node whose folder it is. A damaged state file is not asked: the flipped bit may be in the id. */
function nodeIdIn(disk: Disk, state: Uint8Array | null): number | null {
  const named = state === null ? undefined : unseal(state)?.nodeId;
  if (typeof named === "number") return named;
  for (const name of disk.list()) {
    if (firstIndexIn(name) === null) continue;
    const line = /^[^\n]*\n/.exec(decoder.decode(disk.readRange(name, 0, headerBytesMax)))?.[0] ?? "";
    const fields = unseal(new TextEncoder().encode(line));
    if (typeof fields?.nodeId === "number" && "format" in fields) return fields.nodeId;
  }
  return null;
}

const headerBytesMax = 4096;

/** Does what the constructor of Server does, up to where it would open the ports. */
function judgeFound(verdict: Verdict, found: RecoveredFolder, disk: Disk): void {
  const nodeId = verdict.nodeId ?? unknownNode;
  const raft = raftOn(found, optionsFor(nodeId, []), found.identity?.incarnation ?? "");
  verdict.configuration = raft.configuration;
  verdict.configurationIndex = raft.configurationIndex;
  verdict.isUsable = true;
  const { members } = raft.configuration;
  const cluster = members.length > 0 ? members : found.identity?.pinned ?? [];
  if (found.damage !== null && cluster.length === 0) {
    throw new FolderError(
      `${found.damage}. Nothing that is whole in the folder tells how many nodes its cluster has. If there are others, ` +
        "start this node: it gets back from them what it lacks. If there are none, put the latest copy of the folder back",
    );
  }
  const options = optionsFor(nodeId, cluster);
  const io = denoIo(disk);
  const identity = nextIdentity(options, io, found);
  const started = raftOn(found, options, identity.incarnation);
  started.takeReady(); // notes an admission that is certain, as the first turn of a node does
  const { admittedIndex } = started;
  verdict.admittedIndex = admittedIndex;
  const storage = { hardState: { ...found.hardState, admittedIndex } };
  const node = new NodeIdentity(options, io, { raft: started, identity, storage });
  verdict.identity = identity;
  const lost = node.lostMembers(new Map());
  const prefix = found.damage === null ? "" : `${found.damage}. A start would soon give up: `;
  if (lost.length > 0) throw new FolderError(prefix + describeHopeless(lost));
}

function raftOn(found: RecoveredFolder, options: ServerOptions, incarnation: string): Raft {
  return new Raft(raftOptions(options, { incarnation, random: () => 0 }), found);
}

/** What a start would be told, as far as it matters for its folder. */
function optionsFor(nodeId: number, members: readonly Member[]): ServerOptions {
  const address = members.find(({ id }) => id === nodeId)?.address ?? "";
  return {
    nodeId,
    bindAddress: address,
    clientBindAddress: address,
    clientAddress: address,
    cluster: members.map(({ id, address }) => ({ id, address })),
    timing: timingModes.fast,
    limits: defaultLimits,
    log: () => {},
    onStop: () => {},
  };
}

/** Whether the folder belongs to a founded cluster that has not admitted it. */
export function abstains({ admittedIndex, configurationIndex }: Verdict): boolean {
  return configurationIndex > 0 && admittedIndex === 0;
}

/** Whether a start would cut something off or take something away. */
export function isUntidy({ found }: Verdict): boolean {
  if (found === null || found.log === null) return false;
  const { tail, lost, empty, isObsolete, segments } = found.log;
  return tail !== null || lost.length > 0 || empty.length > 0 || (isObsolete && segments.length > 0);
}
