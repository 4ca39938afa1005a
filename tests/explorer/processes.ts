/**
 * All states of single nodes that occur: the real Raft, its disk, and the writes under way. A node is a function of its
 * state and of what happens to it, so each such step is taken once, by the real class, and then remembered; millions
 * of states of the cluster are combinations of some ten thousand of these. An object that cannot be copied is made again
 * for each step: from its disk, by all that has happened since.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { foundingEntry } from "../../lib/raft/membership.ts";
import type { Message } from "../../lib/raft/messages.ts";
import type { Raft, RaftOptions } from "../../lib/raft/raft.ts";
import type { Configuration, Entry, NodeId, Write } from "../../lib/raft/types.ts";
import { afterCrash, type DiskState, needsNoDisk, save } from "./disk.ts";
import { type KnownLog, Logs } from "./logs.ts";
import { type Packet, Packets } from "./packets.ts";
import { ids, renamings } from "./renaming.ts";
import { checkStep } from "./step_checks.ts";
import { type Violation, violation } from "./violation.ts";

/** The Raft core that is explored: that of lib/raft, or a copy with a bug in it. */
export type Core = Pick<typeof import("../../lib/raft/raft.ts"), "Raft" | "stateOf">;

/** What may happen to a node. */
export type Input =
  /** A packet arrives; `isUnled`: after the receiver has heard no leader for the shortest election timeout. */
  | { readonly kind: "receive"; readonly packet: number; readonly isUnled: boolean }
  /** The connection to a node breaks. */
  | { readonly kind: "unreachable"; readonly peer: NodeId }
  /** An election timeout passes; for a leader, without an answer from a majority. */
  | { readonly kind: "timeout" }
  | { readonly kind: "heartbeat" }
  | { readonly kind: "propose"; readonly command: number }
  /** The oldest write under way becomes durable. */
  | { readonly kind: "write" }
  /** It ends, and starts again from one of the disks that the crash may have left. */
  | { readonly kind: "crash"; readonly left: number };

type Origin = { readonly before: NodeState; readonly input: Input } | null;

/** What a node is at some moment. */
export interface NodeState {
  readonly id: NodeId;
  readonly number: number;
  /** What led here first; null: the process has just been started. */
  readonly origin: Origin;
  /** Another way that led here, if there was one. */
  otherOrigin: Origin;
  readonly disk: DiskState;
  readonly diskLog: KnownLog;
  readonly pending: readonly Write[];
  /** The disks that a crash may leave. */
  readonly left: readonly DiskState[];
  readonly role: Raft["role"];
  readonly term: number;
  readonly votedFor: NodeId | null;
  readonly commitIndex: number;
  readonly log: KnownLog;
  /** It has heard its leader within the shortest election timeout, and would not vote for another one. */
  readonly isLed: boolean;
  /** A leader's matchIndex of each node. */
  readonly matchIndexes: readonly { id: NodeId; matchIndex: number }[];
  /** For each renaming a number; states with the same one are the same. */
  readonly shapes: readonly number[];
  readonly steps: Map<number, Step>;
}

/** What came of an input. */
export interface Step {
  readonly input: Input;
  readonly next: NodeState;
  readonly sent: readonly number[];
  readonly violations: readonly Violation[];
}

/** What a step brought to the outside. */
export interface Output {
  /** What left for other nodes. */
  sent: Packet[];
  committed: Entry[];
  /** Why a message was not taken. */
  refusal: string | null;
}

/** A Raft, and what its driver holds. */
interface Driven extends Output {
  raft: Raft;
  disk: DiskState;
  pending: Write[];
}

/** A follower is unled after 2 ticks, and campaigns after 3. A leader's heartbeats are fewer than what ends it. */
const timeouts = { min: 2, max: 32 };
const configuration: Configuration = {
  members: ids.map((id) => ({ id, address: `node${id}:8080`, incarnation: `${id}`.padStart(16, "0") })),
};

/** The states of all nodes. */
export class Processes {
  readonly packets = new Packets();
  readonly logs = new Logs();
  readonly #states = new Map<string, NodeState>();
  readonly #byNumber: NodeState[] = [];
  readonly #shapes = new Map<string, number>();
  /** Steps that the real Raft has taken. */
  stepsTaken = 0;

  constructor(readonly core: Core) {}

  /** How many different states of nodes there are. */
  get size(): number {
    return this.#byNumber.length;
  }

  /** How many there are when those that differ in the names of nodes only count once. */
  get kinds(): number {
    const kindOf = ({ id, shapes }: NodeState) =>
      renamings.map((renaming, at) => `${renaming[id]} ${shapes[at]}`).sort()[0]!;
    return new Set(this.#byNumber.map(kindOf)).size;
  }

  at(number: number): NodeState {
    return this.#byNumber[number]!;
  }

  /** A node of a cluster that was just founded. */
  first(id: NodeId): NodeState {
    const hardState = { currentTerm: 0, votedFor: null, admittedIndex: 1 };
    return this.#start(id, { hardState, entries: [foundingEntry(configuration)] });
  }

  /** What comes of an input. */
  step(state: NodeState, input: Input): Step {
    const code = codeOf(input);
    let step = state.steps.get(code);
    if (step === undefined) state.steps.set(code, step = this.#take(state, input));
    return step;
  }

  /**
   * Takes all steps again from every state that was reached in two ways, by the other way, and returns how many. It
   * throws when something else comes of one: then states were taken for the same that are not.
   */
  takeAgain(): number {
    let count = 0;
    for (const state of this.#byNumber.filter(({ otherOrigin }) => otherOrigin !== null)) {
      for (const step of state.steps.values()) {
        const { next, sent } = this.#take({ ...state, origin: state.otherOrigin }, step.input);
        if (next !== step.next || `${sent.toSorted()}` !== `${step.sent.toSorted()}`) {
          throw new Error(
            `node ${state.id}: what comes of an input depends on the way to state ${state.number}`,
          );
        }
        count++;
      }
    }
    return count;
  }

  #take(state: NodeState, input: Input): Step {
    this.stepsTaken++;
    if (input.kind === "crash") {
      return { input, next: this.#start(state.id, state.left[input.left]!), sent: [], violations: [] };
    }
    const driven = this.#revive(state);
    driven.sent = [];
    try {
      this.#feed(driven, state, input);
    } catch (error) {
      const words = error instanceof Error ? error.message : `${error}`;
      return {
        input,
        next: state,
        sent: [],
        violations: [violation("no node stops itself", state.id, words)],
      };
    }
    const next = this.#known(state.id, driven, { before: state, input });
    return {
      input,
      next,
      sent: driven.sent.map((packet) => this.packets.numberOf(packet)),
      violations: checkStep(state, next, driven),
    };
  }

  /** The process as it was in a state: started from its disk, and then told again what it was told. */
  #revive(state: NodeState): Driven {
    const path: NodeState[] = [];
    let at = state;
    for (; at.origin !== null; at = at.origin.before) path.push(at);
    const driven = this.#load(at.id, at.disk);
    for (const { origin } of path.reverse()) this.#feed(driven, origin!.before, origin!.input);
    return driven;
  }

  #load(id: NodeId, disk: DiskState): Driven {
    const options: RaftOptions = {
      id,
      incarnation: configuration.members[id - 1]!.incarnation,
      electionTimeoutTicks: timeouts,
      heartbeatTicks: 1,
      appendBytesMax: 1, // each entry travels alone, so that there are more orders
      inflightBytesMax: 1 << 20,
      uncommittedBytesMax: 1 << 20,
      committedEntriesMax: 1000,
      random: () => 0.05,
    };
    const raft = new this.core.Raft(options, { ...disk, snapshot: null });
    for (const { id: peer, incarnation } of configuration.members) {
      if (peer !== id) raft.peerStarted(peer, incarnation);
    }
    return { raft, disk, pending: [], sent: [], committed: [], refusal: null };
  }

  #start(id: NodeId, disk: DiskState): NodeState {
    return this.#known(id, this.#load(id, disk), null);
  }

  /** Does to a Raft what is to happen, and carries out what it wants done, as the server does. */
  #feed(driven: Driven, before: NodeState, input: Input): void {
    const { raft } = driven;
    driven.pending = [...before.pending];
    driven.committed = [];
    driven.refusal = null;
    switch (input.kind) {
      case "receive":
        if (input.isUnled) { for (let i = 0; i < timeouts.min; i++) raft.tick(); }
        this.#deliver(driven, before.id, this.packets.at(input.packet));
        break;
      case "unreachable":
        raft.peerUnreachable(input.peer);
        break;
      case "timeout":
        waitInVain(raft);
        break;
      case "heartbeat":
        raft.tick();
        break;
      case "propose":
        raft.propose(input.command);
        break;
      case "write":
        do this.#finishWrite(driven, before.id, driven.pending.shift()!); while (
          driven.pending.length > 0 && needsNoDisk(driven.pending[0]!)
        );
        break;
    }
    for (let ready; (ready = raft.takeReady()) !== null;) {
      driven.sent.push(...ready.messages);
      driven.committed.push(...ready.committed);
      if (ready.write === null) continue;
      if (driven.pending.length === 0 && needsNoDisk(ready.write)) {
        this.#finishWrite(driven, before.id, ready.write);
      } else driven.pending.push(ready.write);
    }
  }

  #finishWrite(driven: Driven, id: NodeId, write: Write): void {
    driven.disk = save(driven.disk, write);
    for (const message of write.messages) {
      if (message.to === id) this.#deliver(driven, id, message);
      else driven.sent.push(message);
    }
  }

  #deliver(driven: Driven, id: NodeId, packet: Packet): void {
    if (packet.type === "started") {
      driven.raft.peerStarted(packet.from, configuration.members[packet.from - 1]!.incarnation);
      return;
    }
    const refusal = driven.raft.receive(packet);
    if (refusal !== null) driven.refusal = `node ${id} refuses ${packet.type}: ${refusal}`;
  }

  /** The one object for a state. */
  #known(id: NodeId, { raft, disk, pending }: Driven, origin: Origin): NodeState {
    const describe = (renaming: readonly NodeId[]) => this.#describe(raft, { disk, pending }, renaming);
    const key = `${id}${describe(renamings[0]!)}`;
    const known = this.#states.get(key);
    if (known !== undefined) {
      if (origin !== null && known.origin?.before !== origin.before) known.otherOrigin = origin;
      return known;
    }
    const state: NodeState = {
      id,
      number: this.#byNumber.length,
      origin,
      otherOrigin: null,
      disk,
      diskLog: this.logs.known(disk.entries),
      pending,
      left: afterCrash(disk, pending),
      role: raft.role,
      term: raft.currentTerm,
      votedFor: raft.votedFor,
      commitIndex: raft.commitIndex,
      log: this.logs.known(entriesOf(raft)),
      isLed: raft.role === "follower" && raft.leaderId !== null &&
        this.core.stateOf(raft).electionElapsed < timeouts.min,
      matchIndexes: raft.progress(),
      shapes: renamings.map((renaming) => this.#shapeOf(describe(renaming))),
      steps: new Map(),
    };
    this.#states.set(key, state);
    this.#byNumber.push(state);
    return state;
  }

  #shapeOf(description: string): number {
    let shape = this.#shapes.get(description);
    if (shape === undefined) this.#shapes.set(description, shape = this.#shapes.size);
    return shape;
  }

  /** All that a node remembers but what no step depends on, as a short text. */
  #describe(
    raft: Raft,
    { disk, pending }: Pick<Driven, "disk" | "pending">,
    renaming: readonly NodeId[],
  ): string {
    const { options: _options, log: _log, peerIncarnations: _alwaysTheSame, tick: _tick, ...rest } = this.core
      .stateOf(raft);
    const logs = [entriesOf(raft), disk.entries].map((entries) => this.logs.known(entries).number);
    const text = JSON.stringify([rest, logs, disk.hardState, pending], (name, value) => {
      if (value instanceof Map) return [...value].map(([id, one]) => [renaming[id], one]).sort();
      if (name === "lastContactTick") return undefined; // "timeout" says how that ends
      if (name === "entries") return value.map(({ crc }: Entry) => crc);
      if (name === "messages") { // to whom first does not matter
        return [...value].sort((a: Message, b: Message) => renaming[a.to]! - renaming[b.to]!);
      }
      const isId = typeof value === "number" && /^(from|to|votedFor|leaderId)$/.test(name);
      return isId ? renaming[value] : value;
    });
    return createHash("md5").update(text).digest("binary");
  }
}

function entriesOf(raft: Raft): Entry[] {
  return Array.from({ length: raft.lastIndex }, (_, at) => raft.entryAt(at + 1)!);
}

/** Time passes until a follower or candidate campaigns, or a leader that hears nobody leads no more. */
function waitInVain(raft: Raft): void {
  const { role, currentTerm } = raft;
  const isSame = () => raft.role === role && raft.currentTerm === currentTerm;
  const isAnew = role === "preCandidate"; // it campaigns in the same term and role
  for (let ticks = 0; isAnew ? ticks < 3 : isSame() && ticks < timeouts.max; ticks++) raft.tick();
}

/** Unlike for unlike inputs of a node. */
function codeOf(input: Input): number {
  switch (input.kind) {
    case "receive":
      return input.packet * 16 + (input.isUnled ? 1 : 0);
    case "unreachable":
      return input.peer * 16 + 2;
    case "timeout":
      return 3;
    case "heartbeat":
      return 4;
    case "propose":
      return input.command * 16 + 5;
    case "write":
      return 6;
    case "crash":
      return input.left * 16 + 7;
  }
}
