/**
 * What a node says about itself and its cluster when asked.
 *
 * @module
 */

import type { Raft } from "../raft/raft.ts";
import type { NodeId } from "../raft/types.ts";
import type { DiskState } from "./disk_watch.ts";
import type { NodeIdentity } from "./identity.ts";
import type { StateMachine } from "./state_machine.ts";
import { version } from "../version.ts";

/** What the status is made of. */
export interface StatusView {
  raft: Raft;
  nodeId: NodeId;
  machine: StateMachine;
  disk: StatusReply["disk"];
  clients: { connections: number; watches: number };
  identity: NodeIdentity;
  uptimeMs: number;
  isConnected(id: NodeId): boolean;
}

/** The reply to `status`. */
export interface StatusReply {
  ok: true;
  node: NodeId;
  role: string;
  term: number;
  /** null: none is known. */
  leader: NodeId | null;
  commitIndex: number;
  appliedIndex: number;
  lastLogIndex: number;
  /** Last index in the newest snapshot; 0: there is none. */
  snapshotIndex: number;
  /** The other nodes. What is known of their logs only the leader can say. */
  peers: { id: NodeId; address: string; connected: boolean; matchIndex?: number; lag?: number }[];
  /** The log is on this node's disk up to `durableIndex`. A disk may be full, or stuck in a write. */
  disk: { state: DiskState; durableIndex: number };
  /** The folder has lost something, so this node takes no part in decisions until it is admitted again. */
  abstains?: true;
  keys: number;
  /** Connected clients. */
  clients: number;
  /** Open watches of all clients. */
  watches: number;
  /** The cluster is not founded: these nodes have not been seen yet. */
  waitingFor?: NodeId[];
  uptimeMs: number;
  version: string;
}

/** Answers `status`. */
export function statusReply(view: StatusView): StatusReply {
  const { raft, identity } = view;
  const { waitingFor } = identity;
  const progress = new Map(raft.progress().map((one) => [one.id, one]));
  const peers = identity.nodes().filter(({ id }) => id !== view.nodeId).map(({ id, address }) => {
    const peer = { id, address, connected: view.isConnected(id) };
    const matchIndex = progress.get(id)?.matchIndex;
    return matchIndex === undefined ? peer : { ...peer, matchIndex, lag: raft.lastIndex - matchIndex };
  });
  return {
    ok: true,
    node: view.nodeId,
    role: raft.role === "preCandidate" ? "candidate" : raft.role,
    term: raft.currentTerm,
    leader: raft.leaderId,
    commitIndex: raft.commitIndex,
    appliedIndex: view.machine.appliedIndex,
    lastLogIndex: raft.lastIndex,
    snapshotIndex: raft.snapshot?.lastIncludedIndex ?? 0,
    peers,
    disk: view.disk,
    ...(raft.admittedIndex === 0 && raft.configuration.members.length > 0 ? { abstains: true } : {}),
    keys: view.machine.store.size,
    clients: view.clients.connections,
    watches: view.clients.watches,
    ...(waitingFor.length > 0 ? { waitingFor } : {}),
    uptimeMs: view.uptimeMs,
    version,
  };
}

/** Tells the journal who leads, when that has changed. */
export class RoleJournal {
  readonly #log: (text: string) => void;
  #told = "";

  constructor(log: (text: string) => void) {
    this.#log = log;
  }

  /** Something may have changed. */
  report(raft: Raft): void {
    const text = describeRole(raft);
    if (text === this.#told || raft.currentTerm === 0) return;
    this.#told = text;
    this.#log(text);
  }
}

/** Who leads, in words. */
function describeRole({ role, currentTerm, leaderId }: Raft): string {
  if (role === "leader") return `leads term ${currentTerm}`;
  if (role === "candidate") return `stands for election in term ${currentTerm}`;
  if (leaderId === null) return `knows no leader in term ${currentTerm}`;
  return `follows node ${leaderId} in term ${currentTerm}`;
}

/** The reply to `members`. */
export interface MembersReply {
  ok: true;
  /** `client` is null for a node that has never been heard. */
  members: { id: NodeId; raft: string; client: string | null }[];
}

/** Answers `members`. */
export function membersReply(
  nodes: readonly { id: NodeId; address: string }[],
  clientAddressOf: (id: NodeId) => string | null,
): MembersReply {
  return {
    ok: true,
    members: nodes.map(({ id, address }) => ({ id, raft: address, client: clientAddressOf(id) })),
  };
}
