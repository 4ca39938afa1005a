/**
 * Real clusters for tests: each node a process of its own, on loopback ports and a temporary folder, asked over its
 * client port as any client would ask. Nothing here waits for a time to pass, only for answers.
 *
 * @module
 */

import { claimPorts } from "../../lib/chaos/ports.ts";
import type { ListedEntry, NodeStatus } from "../../mod.ts";
import { type Ended, Running, withFolder } from "../cli/processes.ts";
import { exchange } from "./line_connection.ts";

/** Long enough for a machine that does ten other things; a condition that holds is found at once. */
export const patienceMs = 60_000;
const pollMs = 10;

/** A command that is given a node's own command as further arguments; none: that one runs by itself. */
type Wrapper = readonly [string, ...string[]] | null;

/** One node. It may run or not. */
export class TestNode {
  readonly id: number;
  readonly folder: string;
  /** "host:port". */
  readonly raft: string;
  readonly client: string;
  /** What its processes so far wrote to stderr, the last one included. */
  #journals: string[] = [];
  #process: Running | null = null;
  /** How its process ended, once it has; nobody has asked yet. */
  #ended: Ended | null = null;
  readonly #args: readonly string[];
  readonly #wrapper: Wrapper;

  constructor(
    { id, folder, port, args, wrapper }: {
      id: number;
      folder: string;
      port: number;
      args: readonly string[];
      wrapper: Wrapper;
    },
  ) {
    this.#wrapper = wrapper;
    this.id = id;
    this.folder = folder;
    this.raft = `127.0.0.1:${port}`;
    this.client = `127.0.0.1:${port + 1000}`;
    this.#args = ["serve", "--node-id", `${id}`, "--bind", this.raft, "--data-dir", folder, ...args];
  }

  /** The number of its process. */
  get pid(): number {
    return this.#running.pid;
  }

  get journal(): string {
    return [...this.#journals, this.#process?.stderr ?? ""].join("");
  }

  /** Starts its process; `more` are further words of its command line. */
  start(...more: string[]): void {
    if (this.#process !== null) throw new Error(`node ${this.id} runs already`);
    const options = this.#wrapper === null ? {} : { wrapper: this.#wrapper };
    const process = new Running([...this.#args, ...more], options);
    this.#process = process;
    process.end().then((ended) => {
      if (this.#process === process) this.#ended = ended;
    });
  }

  /** SIGKILL: the node learns nothing of it. */
  kill(): Promise<Ended> {
    return this.signal("SIGKILL");
  }

  /** Sends a signal and waits for the end. */
  signal(name: Deno.Signal): Promise<Ended> {
    this.#running.kill(name);
    return this.end();
  }

  /** Waits for the end of its process. */
  async end(): Promise<Ended> {
    const ended = await within(patienceMs, `the end of node ${this.id}`, this.#running.end());
    this.#journals.push(ended.stderr);
    this.#process = this.#ended = null;
    return ended;
  }

  /** Resolves when its present process has written that. */
  async says(text: string): Promise<void> {
    await within(patienceMs, `node ${this.id} says "${text}"`, this.#running.until(text));
  }

  /** What it says of itself, or null when it does not answer. Fails when it has ended by itself. */
  async status(): Promise<NodeStatus | null> {
    if (this.#process === null) return null;
    if (this.#ended !== null) {
      throw new Error(`node ${this.id} ended by itself, exit code ${this.#ended.code}`);
    }
    try {
      const [status] = await exchange(this.client, [{ op: "status" }]);
      return status as unknown as NodeStatus;
    } catch (error) {
      if (error instanceof Deno.errors.ConnectionRefused || error instanceof Deno.errors.ConnectionReset) {
        return null;
      }
      throw error;
    }
  }

  /** "ok", "full" or "stuck", or null when it does not answer. */
  async diskState(): Promise<string | null> {
    const status = await this.status();
    return status === null ? null : (status.disk as { state: string }).state;
  }

  /** All keys that it holds with their values and versions, asked of it alone. */
  async keys(): Promise<ListedEntry[]> {
    const all: ListedEntry[] = [];
    for (let cursor: unknown = null;;) {
      const request = {
        op: "list",
        limit: 10_000,
        consistency: "stale",
        ...(cursor === null ? {} : { cursor }),
      };
      const [page] = await exchange(this.client, [request]);
      for (const entry of page!.entries as ListedEntry[]) all.push(entry);
      if (page!.next === null) return all;
      cursor = page!.next;
    }
  }

  /** Ends its process, whatever state it is in. */
  async destroy(): Promise<void> {
    if (this.#process === null) return;
    try {
      this.#process.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended by itself
    }
    await this.end();
  }

  get #running(): Running {
    if (this.#process === null) throw new Error(`node ${this.id} does not run`);
    return this.#process;
  }
}

/** Several nodes that were told the same `--cluster`. */
export class TestCluster {
  readonly nodes: TestNode[];

  constructor(
    folder: string,
    ports: readonly number[],
    { args, wrapper }: { args: readonly string[]; wrapper: Wrapper },
  ) {
    const cluster = ports.map((port) => `127.0.0.1:${port}`).join(",");
    const all = { args: ["--cluster", cluster, ...args], wrapper };
    this.nodes = ports.map((port, i) =>
      new TestNode({ id: i + 1, folder: `${folder}/${i + 1}`, port, ...all })
    );
  }

  /** Raft addresses, as in `--cluster`. */
  get addresses(): string {
    return this.nodes.map((node) => node.raft).join(",");
  }

  /** Starts all nodes. */
  start(): void {
    for (const node of this.nodes) node.start();
  }

  /** The node that leads and that all nodes that run follow. */
  leader(): Promise<TestNode> {
    return until("one leader, known to all nodes that run", async () => {
      const all = (await Promise.all(this.nodes.map((node) => node.status()))).filter((it) => it !== null);
      const leader = all.find((status) => status.role === "leader");
      const isAgreed = leader !== undefined &&
        all.every((status) => status.leader === leader.node && status.term === leader.term);
      return isAgreed ? this.nodes[leader.node - 1]! : null;
    });
  }

  /** The index that all nodes, none missing or abstaining, have applied, with nothing left to do. */
  settled(): Promise<number> {
    return until("all nodes have applied the whole log", async () => {
      const all = await Promise.all(this.nodes.map((node) => node.status()));
      const indexes = all.flatMap((it) =>
        it === null || it.abstains ? [-1] : [it.appliedIndex, it.lastLogIndex, it.commitIndex]
      );
      const isSame = indexes.every((index) => index === indexes[0]);
      return isSame && all.some((it) => it?.role === "leader") ? indexes[0]! : null;
    });
  }
}

/** Keeps a leader in office on a machine that stalls now and then, for tests that are not about elections. */
export const steady: string[] = ["--election-timeout-min", "1000", "--election-timeout-max", "1500"];

/**
 * Runs a test with so many nodes, not yet started unless `start` says so. Ends them all afterwards and, when the test
 * failed, prints what they wrote.
 */
export async function withCluster(
  options: { nodes: number; start?: boolean; args?: string[]; wrapper?: Wrapper },
  body: (cluster: TestCluster, folder: string) => Promise<void>,
): Promise<void> {
  const { ports, release } = claimPorts();
  try {
    await withFolder(async (folder) => {
      const { nodes, args = [], wrapper = null } = options;
      const cluster = new TestCluster(folder, ports.slice(0, nodes), { args, wrapper });
      try {
        if (options.start ?? true) cluster.start();
        await body(cluster, folder);
      } catch (error) {
        for (const { id, journal } of cluster.nodes) {
          console.error(`--- node ${id}\n${journal.split("\n").slice(-60).join("\n")}`);
        }
        throw error;
      } finally {
        await Promise.all(cluster.nodes.map((node) => node.destroy()));
      }
    });
  } finally {
    release();
  }
}

/** Asks again and again until there is an answer. Fails, naming what was waited for, when there is none. */
export async function until<T>(what: string, ask: () => Promise<T | null> | T | null): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const answer = await ask();
    if (answer !== null && answer !== false) return answer;
    if (performance.now() > deadline) throw new Error(`not within ${patienceMs / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** Fails when the promise takes longer. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`not within ${ms / 1000} s: ${what}`)), ms);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
