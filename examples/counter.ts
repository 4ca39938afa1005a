/**
 * Bring your own state machine: a counter on three nodes, on kvapp's Raft core. The core decides; the state machine, the
 * disk (counter_disk.ts) and the network are yours, and here they are as small as they can be and still keep every rule.
 * Read from the top to the bottom. The nodes live in one process, so that one run can show it all; their disks are real.
 *
 *     deno run -A examples/counter.ts
 *
 * @module
 */

import { type Message, Raft } from "@kvapp/kvapp/raft";
import { Disk } from "./counter_disk.ts";

/** What clients ask for. Any plain JSON will do. */
interface Command {
  add: number;
}

/** 1. The state machine. All nodes apply the same commands in the same order, so all have the same value. */
class Counter {
  value = 0;

  /** May use the command and the state, nothing else: no clock, no randomness, or the nodes would differ. */
  apply({ add }: Command): void {
    this.value += add;
  }
}

/** 2. The node: does what the core wants done, in the one order that is safe. */
class Node {
  readonly counter = new Counter();
  readonly disk: Disk;
  readonly raft: Raft;
  /** The counter has seen the entries up to this one. After a restart it sees all of them again. */
  appliedIndex = 0;
  /** Reads that were answered: with the entry that must be applied first, or null: ask again. */
  readonly reads = new Map<number, number | null>();

  constructor(readonly id: number) {
    this.disk = new Disk(`${folder}/${id}`);
    this.raft = new Raft({
      id,
      incarnation: this.disk.incarnation,
      electionTimeoutTicks: { min: 10, max: 20 }, // with a tick each 15 ms: 150 to 300 ms
      heartbeatTicks: 3,
      appendBytesMax: 256 << 10,
      inflightBytesMax: 1 << 20,
      uncommittedBytesMax: 64 << 20,
      committedEntriesMax: 4096,
      random: Math.random,
    }, this.disk.recover());
  }

  work(): void {
    for (let ready; (ready = this.raft.takeReady()) !== null;) {
      network.push(...ready.messages); // at once: they claim nothing that the disk must have
      if (ready.write !== null) {
        this.disk.save(ready.write); // the disk first ...
        for (const message of ready.write.messages) { // ... and only then what relies on it
          if (message.to === this.id) this.raft.receive(message);
          else network.push(message);
        }
      }
      for (const entry of ready.committed) { // a majority has it: it is certain for ever
        if (entry.kind === "command") this.counter.apply(entry.command as Command);
        this.appliedIndex = entry.index;
      }
      for (const { id, readIndex } of ready.reads) this.reads.set(id, readIndex);
    }
  }
}

/** 3. The network: a queue. It may lose, double and delay messages. On a wire, send the `line` of each entry. */
const network: Message[] = [];
const folder = Deno.makeTempDirSync({ prefix: "counter-" });
/** Those that run. */
const nodes = new Map<number, Node>();
let lastRead = 0;

function start(id: number): void {
  const node = new Node(id);
  for (const other of nodes.values()) { // with sockets: the first line that each tells the other
    other.raft.peerStarted(id, node.disk.incarnation);
    node.raft.peerStarted(other.id, other.disk.incarnation);
  }
  nodes.set(id, node);
}

/** Lets time pass until the condition holds. With real time, an interval calls `tick`, and events call `work`. */
function until(condition: () => boolean): void {
  while (!condition()) {
    for (const { raft } of nodes.values()) raft.tick();
    do {
      for (const node of nodes.values()) node.work();
      for (const message of network.splice(0)) nodes.get(message.to)?.raft.receive(message);
    } while (network.length > 0);
    for (const node of nodes.values()) node.work();
  }
}

function leader(): Node | undefined {
  return [...nodes.values()].find(({ raft }) => raft.role === "leader");
}

function add(amount: number): void {
  until(() => leader() !== undefined);
  const { id, raft } = leader()!;
  const place = raft.propose({ add: amount } satisfies Command);
  if (typeof place === "string") throw new Error(`node ${id} takes no command now: ${place}`);
  until(() => nodes.get(id)!.appliedIndex >= place.index);
  // Had another leader come meanwhile, this could be another's entry. Then nobody knows yet what became of ours.
  if (raft.termAt(place.index) !== place.term) throw new Error("outcome unknown");
  console.log(`added ${amount} through node ${id}`);
}

/** Sees all that was done before it was asked for, on any node, and writes nothing to the log. */
function read(node: Node): number {
  for (;;) {
    const id = ++lastRead;
    until(() => node.raft.read(id)); // false while it knows no leader
    until(() => node.reads.has(id));
    const index = node.reads.get(id)!;
    if (index === null) continue; // the leader changed
    until(() => node.appliedIndex >= index);
    return node.counter.value;
  }
}

for (const id of [1, 2, 3]) start(id);
const members = [...nodes.values()].map(({ id, disk: { incarnation } }) => ({
  id,
  address: `${id}`,
  incarnation,
}));
for (const { raft } of nodes.values()) raft.found({ members }); // once in the life of a cluster, the same on all
add(5);
add(7);

const killed = leader()!.id;
nodes.delete(killed); // and with it all that was in its memory
console.log(`node ${killed}, which led, is dead`);
add(30);

start(killed);
console.log(`node ${killed} is back, with ${nodes.get(killed)!.raft.lastIndex} entries on its disk`);
for (const node of nodes.values()) console.log(`node ${node.id} reads ${read(node)}`);
Deno.removeSync(folder, { recursive: true });
