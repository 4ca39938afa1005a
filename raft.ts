/**
 * The Raft core, for people who bring their own state machine, disk and network. It is pure and synchronous: calls go
 * in, and all that they want done comes out of `takeReady` as one value. It opens no file and no connection, knows no
 * clock and starts no timer. Paper and thesis in these pages are Ongaro's: "In Search of an Understandable Consensus
 * Algorithm (Extended Version)", https://raft.github.io/raft.pdf, and "Consensus: Bridging Theory and Practice".
 *
 * Whoever drives it calls `tick` at equal intervals, `receive` for each message that arrives, `propose` and `read` for
 * callers, `peerStarted` and `peerUnreachable` for what happens to connections; and after any of these takes Readys
 * until there is none, and with each of them keeps these rules:
 *
 * 1. `messages` are sent at once, each to the node in its `to`. They may be lost, doubled and late.
 * 2. `write` becomes durable, fsync included, after all writes before it; several may share an fsync. Within it
 *    `hardState` comes first, then `chunks`, `snapshot`, and `entries`, which replace whatever the log has from the
 *    first one's index on.
 * 3. Only then `write.messages` are sent; those to the node itself go to its own `receive`. A failed write is never
 *    tried again, and nothing is sent any more: the node stops, and starts from what its disk has.
 * 4. `committed` entries of kind "command" are applied to the state machine, in order, on every node alike: the result
 *    may depend on the entries alone. This node's disk need not have them yet.
 * 5. A read of `reads` may be answered once the entry `readIndex` is applied.
 *
 * The log behind `baseIndex` is in memory. What of it is applied and durable need not be: `RaftOptions.oldEntries` says from
 * where it is read for a follower that needs it, and `forgetLines` up to where that can be done.
 *
 * @example Three nodes in memory agree on a command
 * ```ts
 * import { type Message, Raft } from "@kvapp/kvapp/raft";
 * import { assertEquals } from "@std/assert";
 *
 * const members = [1, 2, 3].map((id) => ({ id, address: `node${id}:8080`, incarnation: `${id}`.padStart(16, "0") }));
 * const options = {
 *   electionTimeoutTicks: { min: 10, max: 20 }, heartbeatTicks: 2,
 *   appendBytesMax: 1 << 18, inflightBytesMax: 1 << 20, uncommittedBytesMax: 1 << 26, committedEntriesMax: 4096,
 *   random: Math.random,
 * };
 * const newDisk = { hardState: { currentTerm: 0, votedFor: null, admittedIndex: 0 }, snapshot: null, entries: [] };
 * const nodes = members.map(({ id, incarnation }) => ({
 *   raft: new Raft({ id, incarnation, ...options }, newDisk),
 *   applied: [] as unknown[],
 * }));
 * const onTheWay: Message[] = [];
 *
 * function carryOut({ raft, applied }: typeof nodes[number]): void {
 *   for (let ready; (ready = raft.takeReady()) !== null;) {
 *     onTheWay.push(...ready.messages);
 *     // A real node writes `ready.write` to its disk here, with an fsync: examples/counter.ts does.
 *     onTheWay.push(...ready.write?.messages ?? []);
 *     for (const entry of ready.committed) if (entry.kind === "command") applied.push(entry.command);
 *   }
 * }
 *
 * function settle(): void {
 *   nodes.forEach(carryOut);
 *   for (let message; (message = onTheWay.shift()) !== undefined;) {
 *     const node = nodes[message.to - 1]!;
 *     node.raft.receive(message);
 *     carryOut(node);
 *   }
 * }
 *
 * for (const { raft } of nodes) raft.found({ members });
 * nodes[0]!.raft.campaign();
 * settle();
 * assertEquals(nodes.map(({ raft }) => raft.role), ["leader", "follower", "follower"]);
 *
 * nodes[0]!.raft.propose({ add: 1 });
 * settle();
 * nodes[0]!.raft.tick(); // the next heartbeat tells the others what is committed
 * nodes[0]!.raft.tick();
 * settle();
 * assertEquals(nodes.map(({ applied }) => applied), [[{ add: 1 }], [{ add: 1 }], [{ add: 1 }]]);
 * ```
 *
 * @module
 */

export { AssertionFailed } from "./lib/assert.ts";
export { decodeEntry } from "./lib/raft/entry.ts";
export type {
  AppendEntries,
  AppendEntriesResponse,
  ConfigurationDurable,
  ContactResponse,
  Envelope,
  InstallSnapshot,
  InstallSnapshotResponse,
  Message,
  ReadIndexRequest,
  ReadIndexResponse,
  RequestVote,
  RequestVoteResponse,
  SnapshotReceived,
  TermDurable,
  TimeoutNow,
} from "./lib/raft/messages.ts";
export {
  type OldEntries,
  OldEntryLost,
  Raft,
  type RaftOptions,
  type RecoveredState,
} from "./lib/raft/raft.ts";
export type {
  Configuration,
  Entry,
  EntryKind,
  HardState,
  Member,
  NodeId,
  PeerProgress,
  ProposalRefusal,
  ReadResult,
  Ready,
  SnapshotMetadata,
  Write,
} from "./lib/raft/types.ts";
