/**
 * A few real Servers on simulated machines where nothing goes wrong by itself: a test says when a node dies, a link is
 * cut or a disk fails, and speaks to the nodes as netcat does. Time is simulated, so nothing here waits.
 *
 * @module
 */

import { assert } from "@std/assert";
import { timingModes } from "../../lib/cli/timing.ts";
import type { Connection } from "../../lib/io/io.ts";
import { defaultLimits, type Limits } from "../../lib/server/options.ts";
import { Server } from "../../lib/server/server.ts";
import { FolderError } from "../../lib/storage/storage.ts";
import { Random } from "../sim/random.ts";
import { calm, type Machine, World } from "../sim/world.ts";

/** One node. */
export interface Node {
  readonly id: number;
  readonly machine: Machine;
  /** null: it is down. */
  server: Server | null;
  /** Why it stopped by itself. */
  stopped: Error | null;
  /** What it told, in all its lives. */
  readonly journal: string[];
  /** With which it starts the next time. */
  secret: Uint8Array | null;
}

type Json = Record<string, unknown>;

/** A client with one connection. */
export class Client {
  readonly replies: Json[] = [];
  isClosed = false;
  #connection!: Connection;

  constructor(readonly cluster: SmallCluster, name: string, address: string) {
    cluster.world.machine(name, (io) => {
      this.#connection = io.network.connect(address);
      let text = "";
      const decoder = new TextDecoder();
      this.#connection.onData = (bytes) => {
        const lines = (text + decoder.decode(bytes, { stream: true })).split("\n");
        text = lines.pop()!;
        for (const line of lines) this.replies.push(JSON.parse(line));
      };
      this.#connection.onEnd = () => this.close();
      this.#connection.onClose = () => this.isClosed = true;
    }).restart();
  }

  /** Sends requests, in one piece. */
  send(...requests: object[]): void {
    this.write(requests.map((request) => JSON.stringify(request) + "\n").join(""));
  }

  /** Sends text as it is. */
  write(text: string): void {
    this.#connection.send(new TextEncoder().encode(text));
  }

  close(): void {
    this.isClosed = true;
    this.#connection.close();
  }

  /** Reads nothing until `resume`. */
  pause(): void {
    this.#connection.pause();
  }

  resume(): void {
    this.#connection.resume();
  }

  /** Sends a request and runs until its reply is there. */
  ask(request: Json): Json {
    const count = this.replies.length;
    this.send(request);
    this.cluster.until(() => this.replies.length > count, `an answer to ${JSON.stringify(request)}`);
    return this.replies[count]!;
  }
}

/** The cluster. */
export class SmallCluster {
  readonly world: World;
  readonly nodes: Node[] = [];
  readonly limits: Limits;
  #clients = 0;

  /** What `--cluster` names, by id. */
  listed: number[];

  /** Starts `size` nodes and waits for a leader. */
  constructor(
    name: string,
    { size = 3, limits = {}, wait = true, secrets = [] }: {
      size?: number;
      limits?: Partial<Limits>;
      wait?: boolean;
      /** By node; those for which there is none have none. */
      secrets?: readonly string[];
    } = {},
  ) {
    this.listed = Array.from({ length: size }, (_, i) => i + 1);
    this.world = new World(new Random(name), calm);
    this.limits = { ...defaultLimits, ...limits };
    for (let id = 1; id <= size; id++) {
      const machine = this.world.machine(`n${id}`, (io) => this.#start(node, io));
      const secret = secrets[id - 1] === undefined ? null : new TextEncoder().encode(secrets[id - 1]);
      const node: Node = { id, machine, server: null, stopped: null, journal: [], secret };
      this.nodes.push(node);
    }
    for (const { machine } of this.nodes) machine.restart();
    if (wait) this.until(() => this.leader !== null, "a leader");
  }

  /** A node that refuses to start says so like one that stops later. */
  #start(node: Node, io: ConstructorParameters<typeof Server>[1]): void {
    try {
      node.server = this.#serve(node, io);
    } catch (error) {
      if (!(error instanceof FolderError)) throw error;
      node.stopped = error;
    }
  }

  #serve(node: Node, io: ConstructorParameters<typeof Server>[1]): Server {
    const { id } = node;
    node.stopped = null;
    return new Server({
      nodeId: id,
      bindAddress: `n${id}:8080`,
      clientBindAddress: `n${id}:9080`,
      clientAddress: `n${id}:9080`,
      cluster: this.listed.map((other) => ({ id: other, address: `n${other}:8080` })),
      timing: timingModes.fast,
      limits: this.limits,
      secret: node.secret,
      log: (level, message) => {
        node.journal.push(`${level}: ${message}`);
        this.world.note(node.machine.name, `${level}: ${message}`);
      },
      onStop: (error) => {
        node.stopped = error;
        node.server = null;
      },
    }, io);
  }

  /** The leader of the latest term among the nodes that are up, when a majority follows it. */
  get leader(): Node | null {
    const up = this.nodes.filter((node) => node.server !== null);
    const leader = up.filter((node) => node.server!.raft.role === "leader")
      .sort((a, b) => b.server!.raft.currentTerm - a.server!.raft.currentTerm)[0];
    const followers = up.filter(({ server }) => server!.raft.leaderId === leader?.id).length;
    return leader !== undefined && followers * 2 > this.nodes.length ? leader : null;
  }

  /** A node that does not lead. */
  get follower(): Node {
    return this.nodes.find((node) => node.server !== null && node !== this.leader)!;
  }

  client(node: Node, port = 9080): Client {
    return new Client(this, `client${++this.#clients}`, `n${node.id}:${port}`);
  }

  /** Runs until something holds, for at most 20 simulated seconds. */
  until(condition: () => boolean, what: string): void {
    const deadline = this.world.scheduler.now + 20_000;
    while (!condition()) {
      assert(this.world.scheduler.now < deadline, `it took too long: ${what}`);
      assert(this.world.step() !== null, `nothing will ever happen: ${what}`);
    }
  }

  /** Bytes that a node has handed to its connections and that nobody has taken yet. */
  bufferedBytes(node: Node): number {
    const own = [...this.world.network.endpoints].filter(({ host }) => host === node.machine.name);
    return own.reduce((sum, { bufferedBytes }) => sum + bufferedBytes, 0);
  }

  /** Lets time pass. */
  run(ms: number): void {
    const end = this.world.scheduler.now + ms;
    while (this.world.scheduler.now < end) assert(this.world.step() !== null, "clocks go on ticking");
  }

  kill(node: Node): void {
    this.crash(node, "kill");
  }

  crash(node: Node, kind: "power" | "kill"): void {
    node.server = null;
    node.machine.crash(kind);
  }

  /** From now on no operation of a node's disk ends. */
  hangDisk(node: Node): void {
    node.machine.disk.slowness = 1e9;
  }

  /** Kills a node and starts it again on an empty folder. */
  wipe(node: Node): void {
    this.kill(node);
    node.machine.replaceDisk();
    node.machine.restart();
  }

  /** All nodes lose power at once, which takes all that is not durable, and start again. */
  powerCut(): void {
    for (const node of this.nodes) {
      node.server = null;
      node.machine.crash("power");
    }
    for (const { machine } of this.nodes) machine.restart();
    this.until(() => this.leader !== null, "a leader after the power cut");
  }

  /** Cuts a node off from the other nodes; returns what takes the cut back. */
  isolate(node: Node): () => void {
    const others = this.nodes.filter((other) => other !== node).map(({ machine }) => machine.name);
    return this.world.partition([[node.machine.name], others]);
  }
}
