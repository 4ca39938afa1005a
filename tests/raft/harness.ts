/**
 * A cluster of real Raft nodes in memory, joined by a network that a test can cut, hold, drop and reorder. Nothing
 * here waits: `settle` runs until nothing is left to do, `tick` lets time pass. After every step the invariants of
 * the paper are checked, so that each test checks them all.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Message } from "../../lib/raft/messages.ts";
import type { Raft } from "../../lib/raft/raft.ts";
import type { NodeId } from "../../lib/raft/types.ts";
import { Invariants } from "./invariants.ts";
import { Node, type Setup, timeoutMax } from "./node.ts";

/** A cluster of real nodes. */
export class Network {
  readonly nodes: Node[];
  /** Sent and not yet arrived, in order. A test may take from it what it likes. */
  inFlight: Message[] = [];
  /** Every message that left a node, lost ones included. */
  readonly sent: Message[] = [];
  /** Set by a test: true loses the message. */
  drop: (message: Message) => boolean = () => false;
  /** Set by a test: true puts the message aside into `held`. */
  hold: (message: Message) => boolean = () => false;
  held: Message[] = [];
  readonly invariants: Invariants;
  #cut = new Set<string>();

  /** One set-up for all nodes, or one for each. */
  constructor(setup: Setup | Setup[] = {}) {
    const list = Array.isArray(setup) ? setup : [];
    const size = Array.isArray(setup) ? setup.length : setup.size ?? 3;
    this.nodes = Array.from(
      { length: size },
      (_, i) => new Node(i + 1, { ...(Array.isArray(setup) ? list[i] : setup), size }),
    );
    for (const node of this.nodes) for (const other of this.nodes) this.#meet(node, other);
    this.invariants = new Invariants(this.nodes);
  }

  /** A process hears of another one before any of its messages. */
  #meet(node: Node, other: Node): void {
    if (node === other || node.met.get(other.id) === other.starts) return;
    node.met.set(other.id, other.starts);
    node.raft.peerStarted(other.id, other.options.incarnation);
    this.invariants?.onMet(node, other.id);
  }

  node(id: NodeId): Node {
    return this.nodes[id - 1]!;
  }

  raft(id: NodeId): Raft {
    return this.node(id).raft;
  }

  /** The nodes that lead. */
  get leaders(): NodeId[] {
    return this.nodes.filter(({ isUp, raft }) => isUp && raft.role === "leader").map(({ id }) => id);
  }

  /** No message passes between these two, in either direction. */
  cut(a: NodeId, b: NodeId): void {
    this.#cut.add(`${a}>${b}`).add(`${b}>${a}`);
  }

  /** No message passes from `from` to `to`. */
  cutOneWay(from: NodeId, to: NodeId): void {
    this.#cut.add(`${from}>${to}`);
  }

  isolate(id: NodeId): void {
    for (const other of this.nodes) if (other.id !== id) this.cut(id, other.id);
  }

  /** Only pairs inside one group, or listed links, are connected. */
  connectOnly(...groups: NodeId[][]): void {
    const together = (a: NodeId, b: NodeId) => groups.some((group) => group.includes(a) && group.includes(b));
    this.heal();
    for (const { id: a } of this.nodes) {
      for (const { id: b } of this.nodes) if (a < b && !together(a, b)) this.cut(a, b);
    }
  }

  heal(): void {
    this.#cut.clear();
  }

  isCut({ from, to }: Pick<Message, "from" | "to">): boolean {
    return this.#cut.has(`${from}>${to}`);
  }

  /** Lets every node do what it can, and puts what they send on the way. */
  run(): void {
    for (const node of this.nodes) {
      if (!node.isUp) continue;
      this.send(node.run());
      this.invariants.check(node);
    }
  }

  send(messages: Message[]): void {
    for (const message of messages) {
      this.invariants.checkSent(this.node(message.from), message);
      this.sent.push(message);
      if (this.isCut(message) || this.drop(message)) continue;
      (this.hold(message) ? this.held : this.inFlight).push(message);
    }
  }

  /** One message arrives, unless its receiver is down. */
  deliver(message: Message): void {
    const node = this.node(message.to);
    if (!node.isUp) return;
    this.#meet(node, this.node(message.from));
    assertEquals(node.raft.receive(message), null);
    this.invariants.check(node);
  }

  /** Runs until nothing is left to do without time passing. */
  settle(): void {
    for (let steps = 0;; steps++) {
      assert(steps < 100_000, "a cluster comes to rest when no time passes");
      this.run();
      const message = this.inFlight.shift();
      if (message === undefined) return;
      this.deliver(message);
    }
  }

  /** Puts what was held on the way, oldest first, and settles. */
  release(): void {
    this.hold = () => false;
    this.inFlight.push(...this.held.splice(0));
    this.settle();
  }

  /** Time passes for all nodes that are up, or for those named; everything settles after each tick. */
  tick(count = 1, ids: NodeId[] = this.nodes.map(({ id }) => id)): void {
    for (let i = 0; i < count; i++) {
      for (const id of ids) if (this.node(id).isUp) this.raft(id).tick();
      this.settle();
    }
  }

  /** Lets time pass until the condition holds. */
  tickUntil(condition: () => boolean, ticksMax = 20 * timeoutMax): number {
    for (let ticks = 0; ticks <= ticksMax; ticks++) {
      if (condition()) return ticks;
      this.tick();
    }
    throw new Error(`it did not happen within ${ticksMax} ticks`);
  }

  /** What is sent while `action` runs and everything settles. */
  during(action: () => void): Message[] {
    const from = this.sent.length;
    action();
    this.settle();
    return this.sent.slice(from);
  }

  /** The node stands for election now; everything settles. */
  campaign(id: NodeId): void {
    this.raft(id).campaign();
    this.settle();
  }

  /** As `campaign`, for a test that needs it to win. */
  elect(id: NodeId): void {
    this.campaign(id);
    assertEquals(this.raft(id).role, "leader", `node ${id} wins the election`);
  }

  /** A command for a leader; everything settles. */
  propose(id: NodeId, command: unknown): { index: number; term: number } {
    const place = this.raft(id).propose(command);
    assert(typeof place !== "string", `node ${id} takes the command: ${place}`);
    this.settle();
    return place;
  }

  crash(id: NodeId): void {
    this.node(id).crash();
    this.inFlight = this.inFlight.filter((message) => message.to !== id && message.from !== id);
  }

  restart(id: NodeId): void {
    this.crash(id);
    this.node(id).start();
    this.invariants.onRestart(this.node(id));
    this.#connect(id);
  }

  /** Whoever is reached at once hears of a new process at once, others with its first message. */
  #connect(id: NodeId): void {
    const node = this.node(id);
    for (const other of this.nodes) {
      if (!other.isUp || this.isCut({ from: id, to: other.id }) || this.isCut({ from: other.id, to: id })) {
        continue;
      }
      this.#meet(node, other);
      this.#meet(other, node);
    }
  }

  /** A node loses its folder and starts with an empty one. */
  wipe(id: NodeId): void {
    this.#lose(id, (node) => node.wipe());
  }

  /** A node finds that the entries behind `lastKept` are damaged, and starts with those before. */
  damage(id: NodeId, lastKept: number, how: { losesState?: boolean } = {}): void {
    this.#lose(id, (node) => node.damage(lastKept, how));
  }

  #lose(id: NodeId, how: (node: Node) => void): void {
    const node = this.node(id);
    const { options: { incarnation }, disk } = node;
    this.crash(id);
    how(node);
    node.start();
    this.invariants.onLoss(node, incarnation, disk);
    this.#connect(id);
  }
}
