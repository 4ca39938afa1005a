/**
 * A cluster that exists to be ill-treated: each node a real process with a folder of its own, and between them a network
 * whose every way can be spoilt. Clients connect past that, directly or through proxies of their own.
 *
 * @module
 */

import { Connection } from "../client/connection.ts";
import { untilAborted, within } from "../client/deadline.ts";
import type { NodeStatus } from "../client/types.ts";
import { PeerNetwork } from "./peer_network.ts";
import { type ClaimedPorts, claimPorts } from "./ports.ts";
import { TcpProxy } from "./tcp_proxy.ts";

/** How a cluster is to be. */
export interface ClusterOptions {
  /** At most 7. */
  nodes: number;
  /** Gets a folder and a journal for each node. */
  folder: string;
  /** The words that start `kvapp`. */
  program: readonly string[];
  /** Further words for each node, such as its timing. */
  args?: readonly string[];
  /** Clients reach each node through a proxy. */
  clientProxies?: boolean;
  /** Decides which bits are spoilt, when some are. */
  random?: () => number;
}

const statusTimeoutMs = 500;
const readyTimeoutMs = 60_000;
const stopTimeoutMs = 12_000;
const pollMs = 20;

/** The nodes and what is between them. */
export class ChaosCluster {
  readonly nodes: ChaosNode[];
  readonly network: PeerNetwork;
  /** Those before the client ports, if that was asked for. */
  readonly clientProxies: TcpProxy[];

  readonly #claimed: ClaimedPorts;

  private constructor(
    nodes: ChaosNode[],
    { network, clientProxies, claimed }: {
      network: PeerNetwork;
      clientProxies: TcpProxy[];
      claimed: ClaimedPorts;
    },
  ) {
    this.nodes = nodes;
    this.network = network;
    this.clientProxies = clientProxies;
    this.#claimed = claimed;
  }

  /** Starts all nodes; resolves when one leads that can write. */
  static async start(options: ClusterOptions): Promise<ChaosCluster> {
    const { nodes: count, folder, program, args = [], random = Math.random } = options;
    const claimed = claimPorts();
    const ports = claimed.ports.slice(0, count);
    const network = await PeerNetwork.open(ports, random);
    const cluster = network.addresses.map((address, i) => `${i + 1}=${address}`).join(",");
    const direct = ports.map((port) => `127.0.0.1:${port + 1000}`);
    const clientProxies = options.clientProxies
      ? await Promise.all(direct.map((to) => TcpProxy.open(to)))
      : [];
    const nodes = ports.map((port, i) => {
      const client = clientProxies[i]?.address ?? direct[i]!;
      const place = ["--bind", `127.0.0.1:${port}`, "--client-port", `${port + 1000}`];
      const words = ["serve", "--node-id", `${i + 1}`, "--cluster", cluster, ...place];
      words.push("--advertise-client", client);
      return new ChaosNode({
        id: i + 1,
        client,
        journal: `${folder}/${i + 1}.log`,
        words: [...program, ...words, "--data-dir", `${folder}/${i + 1}`, "--stop-with-stdin", ...args],
      });
    });
    const all = new ChaosCluster(nodes, { network, clientProxies, claimed });
    try {
      for (const node of nodes) node.start();
      await all.leader();
      return all;
    } catch (error) {
      await all.close();
      throw error;
    }
  }

  /** The node that leads, in the highest term that is known. Throws when there is none for a minute. */
  async leader(): Promise<ChaosNode> {
    for (const deadline = performance.now() + readyTimeoutMs; performance.now() < deadline;) {
      const leading = (await this.statuses()).filter((it) => it?.role === "leader").map((it) => it!);
      const { node } = leading.sort((a, b) => b.term - a.term)[0] ?? {};
      if (node !== undefined) return this.nodes[node - 1]!;
      this.#throwIfEnded();
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
    throw new Error("no node has become leader within a minute");
  }

  /** What each node says of itself; null: nothing. */
  statuses(): Promise<(NodeStatus | null)[]> {
    return Promise.all(this.nodes.map((node) => node.status()));
  }

  /** Why nodes ended that were not told to. */
  get ends(): string[] {
    return this.nodes.flatMap((node) => node.ends);
  }

  /** Ends everything. */
  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()));
    await Promise.all([this.network, ...this.clientProxies].map((one) => one.close()));
    this.#claimed.release();
  }

  #throwIfEnded(): void {
    if (this.ends.length > 0) throw new Error(this.ends.join("; "));
  }
}

/** One node. */
export class ChaosNode {
  readonly id: number;
  /** Where clients reach it. */
  readonly client: string;
  /** Why its processes ended that were not told to. */
  readonly ends: string[] = [];
  readonly #words: readonly string[];
  readonly #journal: string;
  #process: Deno.ChildProcess | null = null;
  #ended: Promise<unknown> = Promise.resolve();
  #isPaused = false;
  #connection: Connection | null = null;

  constructor(
    { id, client, journal, words }: { id: number; client: string; journal: string; words: readonly string[] },
  ) {
    this.id = id;
    this.client = client;
    this.#journal = journal;
    this.#words = words;
  }

  /** Whether its process is there and not paused. */
  get isWell(): boolean {
    return this.#process !== null && !this.#isPaused;
  }

  /** The number of its process; null: it has none. */
  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  /** Starts its process, unless it runs. */
  start(): void {
    if (this.#process !== null) return;
    const process = new Deno.Command(this.#words[0]!, {
      args: this.#words.slice(1),
      stdin: "piped",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#process = process;
    const journal = Deno.openSync(this.#journal, { create: true, append: true }).writable;
    this.#ended = Promise.all([process.status, process.stderr.pipeTo(journal)]).then(async ([status]) => {
      await process.stdin.close().catch(() => null); // null: it broke with the process
      if (this.#process !== process) return;
      this.#process = null;
      const how = status.signal === null ? `exit code ${status.code}` : status.signal;
      this.ends.push(`node ${this.id} ended by itself, ${how}: see ${this.#journal}`);
    });
  }

  /** SIGKILL; it learns nothing of it. */
  async kill(): Promise<void> {
    const process = this.#process;
    this.#process = null;
    this.#isPaused = false;
    if (process !== null && !signal(process, "SIGKILL")) {
      this.ends.push(`node ${this.id} ended by itself: see ${this.#journal}`);
    }
    await this.#ended;
    const connection = this.#connection;
    this.#connection = null;
    await connection?.close();
  }

  /** SIGTERM; resolves when it has ended in good order. */
  async stop(): Promise<void> {
    const process = this.#process;
    if (process === null) return;
    this.#process = null;
    signal(process, "SIGTERM");
    const timer = setTimeout(() => {
      this.ends.push(`node ${this.id} did not end within ${stopTimeoutMs / 1000} s of SIGTERM`);
      signal(process, "SIGKILL");
    }, stopTimeoutMs);
    const { code } = await process.status;
    clearTimeout(timer);
    if (code !== 0) this.ends.push(`node ${this.id} ended with exit code ${code} after SIGTERM`);
    await this.kill();
  }

  /** SIGSTOP: its connections stand, and nothing happens on them. */
  pause(): void {
    if (this.#process === null) return;
    signal(this.#process, "SIGSTOP");
    this.#isPaused = true;
  }

  /** SIGCONT, if it was paused. */
  resume(): void {
    if (this.#isPaused && this.#process !== null) signal(this.#process, "SIGCONT");
    this.#isPaused = false;
  }

  /** What it says of itself; null: nothing, for it is down, paused or slow. */
  async status(): Promise<NodeStatus | null> {
    if (!this.isWell) return null;
    try {
      return await within(statusTimeoutMs, "no answer", undefined, async (limit) => {
        if (!this.#connection?.isOpen) this.#connection = await Connection.open(this.client, limit);
        return await untilAborted(this.#connection.request({ op: "status" }), limit) as unknown as NodeStatus;
      });
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const connection = this.#connection;
      this.#connection = null;
      await connection?.close();
      return null;
    }
  }
}

/** False: the process has ended. */
function signal(process: Deno.ChildProcess, name: Deno.Signal): boolean {
  try {
    process.kill(name);
    return true;
  } catch (error) {
    if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
    return false;
  }
}
