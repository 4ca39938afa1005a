/**
 * Visits every state that three nodes can get into within given bounds, the nearest first, and checks each. So the way
 * to a violation is one of the shortest there are.
 *
 * @module
 */

import type { NodeId } from "../../lib/raft/types.ts";
import type { Bounds } from "./bounds.ts";
import { checkCluster } from "./checks.ts";
import {
  budgetNames,
  type Budgets,
  type Cluster,
  isSpent,
  keyLengthMax,
  oneOf,
  usedOf,
  writeKey,
} from "./cluster.ts";
import { Histories, type History } from "./history.ts";
import { holds } from "./logs.ts";
import { receiverOf, senderOf } from "./packets.ts";
import { type Core, type Input, type NodeState, Processes } from "./processes.ts";
import { ids, renamings } from "./renaming.ts";
import { type SafetyPromise, type Violation, violation } from "./violation.ts";
import { KeySet, Visited } from "./visited.ts";

/** What to explore. */
export interface Exploration {
  core: Core;
  bounds: Bounds;
  /** Look for breaches of this one only; null: of all. */
  only?: SafetyPromise | null;
  /**
   * False: states that are the same but for names, or for packets that can have no effect any more, are all visited.
   * It takes much longer and must come to the same.
   */
  isReduced?: boolean;
  /** Told after each depth. */
  onDepth?(outcome: Outcome): void;
}

/** What happens between two states: an input of a node, and what becomes of the packet on the network. */
export interface Action {
  readonly id: NodeId;
  readonly input: Input;
  /** What is on the network no more; null: all stays, also what was delivered. */
  readonly taken: number | null;
  readonly budget: keyof Budgets | null;
}

/** What an exploration came to. */
export interface Outcome {
  states: number;
  /** States that differ in more than in how much of the budgets was used. */
  situations: number;
  transitions: number;
  /** Steps of the longest of the shortest ways to a state. */
  depth: number;
  /** There is no state within the bounds that it has not seen. */
  isComplete: boolean;
  /** How many states had what. */
  withLeader: number;
  withCommit: number;
  withTwoLeaders: number;
  /** States in which a log has just been cut because it conflicted. */
  withCut: number;
  /** Different states of single nodes, and steps that the real Raft took between them. */
  nodeStates: number;
  nodeSteps: number;
  violation: Violation | null;
  /** The way to the violation: what was done, and what it led to. */
  way: { action: Action; before: Cluster; after: Cluster }[];
}

/** One exploration. */
export class Explorer {
  readonly processes: Processes;
  readonly #bounds: Bounds;
  readonly #only: SafetyPromise | null;
  readonly #isReduced: boolean;
  readonly #onDepth: (outcome: Outcome) => void;
  readonly #histories = new Histories();
  readonly #visited = new Visited();
  readonly #keys = new KeySet();
  readonly #situations = new KeySet();
  readonly #key = new Int32Array(keyLengthMax);
  readonly #outcome: Outcome = {
    states: 0,
    situations: 0,
    transitions: 0,
    depth: 0,
    isComplete: false,
    withLeader: 0,
    withCommit: 0,
    withTwoLeaders: 0,
    withCut: 0,
    nodeStates: 0,
    nodeSteps: 0,
    violation: null,
    way: [],
  };

  constructor({ core, bounds, only = null, isReduced = true, onDepth = () => {} }: Exploration) {
    this.processes = new Processes(core);
    this.#bounds = bounds;
    this.#only = only;
    this.#isReduced = isReduced;
    this.#onDepth = onDepth;
  }

  /** Explores until all is seen, or as much as is allowed, or something does not hold. */
  run(): Outcome {
    const outcome = this.#outcome;
    const nodes = ids.map((id) => this.processes.first(id));
    this.#visit({ nodes, network: [], history: this.#histories.none, used: 0 }, -1, false);
    for (let from = 0; from < this.#visited.size; outcome.depth++) {
      const end = this.#visited.size;
      for (let index = from; index < end; index++) {
        this.#expand(index);
        if (outcome.violation !== null || this.#visited.size >= this.#bounds.states) return this.#result();
      }
      from = end;
      this.#onDepth(this.#result());
    }
    outcome.depth--; // the last depth had nothing new
    outcome.isComplete = true;
    return this.#result();
  }

  #result(): Outcome {
    const { size: nodeStates, stepsTaken: nodeSteps } = this.processes;
    const [states, situations] = [this.#visited.size, this.#situations.size];
    return Object.assign(this.#outcome, { states, situations, nodeStates, nodeSteps });
  }

  #expand(index: number): void {
    const cluster = this.#clusterAt(index);
    for (const action of this.#actions(cluster)) {
      for (const { after, violations } of this.#act(cluster, action)) {
        this.#outcome.transitions++;
        const isCut = action.input.kind !== "crash" && isCutBy(cluster, after);
        const found = this.#worst(violations) ?? this.#visit(after, index, isCut);
        if (found === null) continue;
        this.#outcome.violation = found;
        this.#outcome.way = [...this.#wayTo(index), { action, before: cluster, after }];
        return;
      }
    }
  }

  /** The first of some violations that was looked for. */
  #worst(violations: readonly Violation[]): Violation | null {
    return violations.find(({ promise }) => this.#only === null || promise === this.#only) ?? null;
  }

  /** Takes a state in if it is new, and checks it. */
  #visit(cluster: Cluster, parent: number, isCut: boolean): Violation | null {
    const length = writeKey(cluster, this.#key, this.#isReduced ? renamings.length : 1);
    if (!this.#keys.isNew(this.#key, length)) return null;
    this.#situations.isNew(this.#key, length - 1);
    const { nodes, network, history, used } = cluster;
    this.#visited.push([...nodes.map(({ number }) => number), history.number, used, ...network], parent);
    const outcome = this.#outcome;
    const leaders = nodes.filter(({ role }) => role === "leader").length;
    if (leaders > 0) outcome.withLeader++;
    if (leaders > 1) outcome.withTwoLeaders++;
    if (history.committed.length > 0) outcome.withCommit++;
    if (isCut) outcome.withCut++;
    return checkCluster(cluster, this.processes.logs, this.#only);
  }

  #clusterAt(index: number): Cluster {
    const numbers = this.#visited.at(index);
    return {
      nodes: [0, 1, 2].map((at) => this.processes.at(numbers[at]!)),
      history: this.#histories.at(numbers[3]!),
      used: numbers[4]!,
      network: [...numbers.subarray(5)],
    };
  }

  /** All that can happen in a state. */
  *#actions(cluster: Cluster): Generator<Action> {
    const { nodes, network } = cluster;
    const budgets = budgetNames.filter((name) => usedOf(cluster, name) < this.#bounds[name]);
    const has = (name: keyof Budgets) => budgets.includes(name);
    for (const [at, packet] of network.entries()) {
      if (network.indexOf(packet) !== at) continue;
      const receiver = nodes[receiverOf(packet) - 1]!;
      const { id, isLed } = receiver;
      const asks = isLed && this.processes.packets.contentOf(packet).type === "requestVote";
      for (const isUnled of asks ? [false, true] : [false]) {
        const input = { kind: "receive", packet, isUnled } as const;
        yield { id, input, taken: packet, budget: null };
        if (has("duplicates")) yield { id, input, taken: null, budget: "duplicates" };
      }
      const sender = senderOf(packet);
      if (has("losses")) {
        yield { id: sender, input: { kind: "unreachable", peer: id }, taken: packet, budget: "losses" };
      }
    }
    for (const node of nodes) yield* this.#actionsOf(node, cluster, has);
  }

  *#actionsOf(node: NodeState, cluster: Cluster, has: (name: keyof Budgets) => boolean): Generator<Action> {
    const { id, role, term, left, pending } = node;
    const leads = role === "leader";
    if (pending.length > 0) yield { id, input: { kind: "write" }, taken: null, budget: null };
    if (has("timeouts") && (leads || term < this.#bounds.terms)) {
      yield { id, input: { kind: "timeout" }, taken: null, budget: "timeouts" };
    }
    if (has("crashes")) {
      for (const which of left.keys()) {
        yield { id, input: { kind: "crash", left: which }, taken: null, budget: "crashes" };
      }
    }
    if (!leads) return;
    if (has("heartbeats")) yield { id, input: { kind: "heartbeat" }, taken: null, budget: "heartbeats" };
    if (has("proposals")) {
      const command = usedOf(cluster, "proposals") + 1;
      yield { id, input: { kind: "propose", command }, taken: null, budget: "proposals" };
    }
  }

  /** What an action may lead to within the bounds. */
  #act(cluster: Cluster, action: Action): { after: Cluster; violations: readonly Violation[] }[] {
    const { id, input, taken, budget } = action;
    const before = cluster.nodes[id - 1]!;
    const { next, sent, violations } = this.processes.step(before, input);
    if (next.term > this.#bounds.terms || next.log.entries.length - 1 > this.#bounds.entries) return [];
    const nodes = cluster.nodes.map((node) => node === before ? next : node);
    const network = [...cluster.network, ...sent];
    if (taken !== null) network.splice(network.indexOf(taken), 1);
    if (input.kind === "crash") {
      for (const to of ids) {
        if (to !== id) network.push(this.processes.packets.numberOf({ type: "started", from: id, to }));
      }
    }
    const { history, breach } = this.#remember(cluster.history, before, next);
    const used = cluster.used + (budget === null ? 0 : oneOf(budget));
    const alive = network.filter((packet) => !this.#isReduced || !isSpent(this.processes, nodes, packet))
      .sort((a, b) => a - b);
    return choices(alive, this.#bounds.packets).map((network) => ({
      after: { nodes, network, history, used },
      violations: breach === null ? violations : [...violations, breach],
    }));
  }

  /** What a step of a node adds to the past, or how it contradicts it. */
  #remember(
    past: History,
    before: NodeState,
    after: NodeState,
  ): { history: History; breach: Violation | null } {
    const { id, role, term, commitIndex, log } = after;
    let history = past;
    if (role === "leader" && (before.role !== "leader" || before.term !== term)) {
      const rival = history.leaders[term] ?? 0;
      if (rival !== 0) {
        const words = `it leads term ${term}, which node ${rival} led`;
        return { history, breach: violation("one leader a term", id, words) };
      }
      history = this.#histories.lead(history, { term, id });
    }
    const known = history.committed.length;
    if (commitIndex > known) {
      history = this.#histories.commit(history, { entries: log.entries.slice(known, commitIndex), term });
    }
    return { history, breach: null };
  }

  /** How a state was reached. Only its predecessors were kept: the actions between them are found again. */
  #wayTo(index: number): Outcome["way"] {
    const indexes = this.#visited.wayTo(index);
    return indexes.slice(1).map((to, at) => {
      const before = this.#clusterAt(indexes[at]!), wanted = this.#clusterAt(to);
      for (const action of this.#actions(before)) {
        const found = this.#act(before, action).find(({ after }) => isSame(after, wanted));
        if (found !== undefined) return { action, before, after: found.after };
      }
      throw new Error(`no action leads from state ${indexes[at]} to ${to}`);
    });
  }
}

/** All ways to keep `count` of some packets, which are sorted. */
function choices(packets: readonly number[], count: number): (readonly number[])[] {
  if (packets.length <= count) return [packets];
  if (count === 0) return [[]];
  const found: (readonly number[])[] = [];
  for (let first = 0; first <= packets.length - count; first++) {
    if (first > 0 && packets[first] === packets[first - 1]) continue;
    for (const rest of choices(packets.slice(first + 1), count - 1)) found.push([packets[first]!, ...rest]);
  }
  return found;
}

function isSame(a: Cluster, b: Cluster): boolean {
  return a.used === b.used && a.history === b.history &&
    a.nodes.every((node, at) => node === b.nodes[at]) && `${a.network}` === `${b.network}`;
}

/** Whether a log in memory lost its end between two states. */
function isCutBy(before: Cluster, after: Cluster): boolean {
  return before.nodes.some(({ log }, at) => !holds(after.nodes[at]!.log, log.entries.at(-1)!));
}
