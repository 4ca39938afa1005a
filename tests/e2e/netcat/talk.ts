/**
 * Carries out a conformance file against a cluster, through netcat where it is installed.
 *
 * @module
 */

import { type TestCluster, type TestNode, within } from "../cluster.ts";
import { exchange, LineConnection, Lines } from "../line_connection.ts";
import { bytesOf, matches, type Named, type Step } from "./script.ts";

/** More than the slowest answer takes, which is `outcomeUnknown`. */
const patienceMs = 30_000;

const ping = new TextEncoder().encode(`{"op":"ping","id":"last"}\n`);

/** Bytes out, lines in. */
interface Connection {
  send(bytes: Uint8Array): Promise<void>;
  /** The next line without its newline; null: the other end has closed. */
  line(): Promise<string | null>;
  /** Sends no more, and still reads. */
  closeWrite(): Promise<void>;
  close(): void | Promise<void>;
}

/** Whether there is a netcat here that ends its sending half at the end of its input, as the files want it. */
export const hasNetcat: boolean = findNetcat();

function findNetcat(): boolean {
  try {
    const { stdout, stderr } = new Deno.Command("nc", { args: ["-h"] }).outputSync();
    const help = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    return /^\s*-N\b.*EOF/m.test(help);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** A netcat that runs. */
class Netcat implements Connection {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: ReadableStreamDefaultReader<string>;
  readonly #lines = new Lines(async () => (await this.#output.read()).value ?? null);

  constructor(address: string) {
    const args = ["-N", ...address.split(":")];
    this.#child = new Deno.Command("nc", { args, stdin: "piped", stdout: "piped", stderr: "null" }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#output = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  async send(bytes: Uint8Array): Promise<void> {
    await this.#input.write(bytes);
  }

  line(): Promise<string | null> {
    return this.#lines.next();
  }

  async closeWrite(): Promise<void> {
    await this.#input.close();
  }

  async close(): Promise<void> {
    try {
      this.#child.kill();
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended by itself
    }
    await Promise.allSettled([this.#input.abort(), this.#output.cancel(), this.#child.status]);
  }
}

/** One run of one file. */
export class Talk {
  readonly #cluster: TestCluster;
  /** By the directive that opened it. */
  readonly #connections = new Map<string, Connection>();
  readonly #ended = new Set<Connection>();
  readonly #named: Named = new Map();
  #leader: TestNode | null = null;
  #current: Connection | null = null;

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
  }

  /** Carries out the file, which finds a cluster without keys. */
  async run(steps: readonly Step[]): Promise<void> {
    this.#leader = await this.#cluster.leader();
    await exchange(this.#leader.client, [{ op: "deleteRange", prefix: "" }]);
    try {
      for (const [i, step] of steps.entries()) {
        const before = `${JSON.stringify(step.text.slice(0, 300))}, line ${step.line}`;
        await within(patienceMs, before, this.#take(step, steps[i + 1]));
      }
      for (const [name, connection] of this.#connections) {
        if (!this.#ended.has(connection)) await this.#checkQuiet(name, connection);
      }
    } finally {
      for (const { pid } of this.#followers) Deno.kill(pid, "SIGCONT"); // whatever went wrong while they were paused
      await Promise.all([...this.#connections.values()].map((connection) => connection.close()));
    }
  }

  async #take({ kind, text, line }: Step, next: Step | undefined): Promise<void> {
    if (kind === "@") return await this.#obey(text);
    if (this.#current === null) throw new Error(`line ${line}: no connection is open here`);
    if (kind === ">") {
      const isLast = next?.kind === "@" && next.text === "end";
      return await this.#current.send(bytesOf(isLast ? text : `${text}\n`, this.#named));
    }
    const found = await this.#nextLine(this.#current, text.includes('"type":"progress"'));
    if (found !== null && matches(text, found, this.#named)) return;
    const names = [...this.#named].map(([name, value]) => `${name}=${value}`).join(" ");
    throw new Error(
      `line ${line}\nexpected ${text}\nfound    ${found ?? "the end of the connection"}\nnamed    ${names}`,
    );
  }

  /** A silent watch may be told at any time how far it is; that is only looked at where a file has it. */
  async #nextLine(connection: Connection, wantsProgress: boolean): Promise<string | null> {
    for (;;) {
      const line = await connection.line();
      if (wantsProgress || !line?.includes('"type":"progress"')) return line;
    }
  }

  async #obey(directive: string): Promise<void> {
    const [where, number] = directive.split(":", 1)[0]!.split(" ");
    switch (where) {
      case "leader":
        return await this.#goTo(directive, this.#leader!);
      case "follower":
        return await this.#goTo(directive, this.#followers[Number(number ?? 1) - 1]!);
      case "node":
        return await this.#goTo(directive, this.#cluster.nodes[Number(number) - 1]!);
      case "pause":
      case "resume":
        for (const { pid } of this.#followers) Deno.kill(pid, where === "pause" ? "SIGSTOP" : "SIGCONT");
        return;
      case "end":
        this.#ended.add(this.#current!);
        return await this.#current!.closeWrite();
      case "closed":
        return await this.#checkClosed();
      default:
        throw new Error(`there is no directive @${directive}`);
    }
  }

  async #goTo(directive: string, { client }: TestNode): Promise<void> {
    const open = (): Connection | Promise<Connection> =>
      hasNetcat ? new Netcat(client) : LineConnection.open(client);
    this.#current = this.#connections.get(directive) ?? await open();
    this.#connections.set(directive, this.#current);
  }

  /** Netcat learns that the other end has closed when it has something to send; a node that has not would answer it. */
  async #checkClosed(): Promise<void> {
    const connection = this.#current!;
    for (const [name, one] of this.#connections) if (one === connection) this.#connections.delete(name);
    this.#current = null;
    try {
      if (!this.#ended.has(connection)) {
        await connection.send(ping);
        await connection.closeWrite();
      }
      const line = await connection.line();
      if (line !== null) throw new Error(`the node was to close the connection and sent ${line}`);
    } catch (error) {
      const { BrokenPipe, ConnectionReset, NotConnected } = Deno.errors;
      if (![BrokenPipe, ConnectionReset, NotConnected].some((closed) => error instanceof closed)) throw error;
    } finally {
      await connection.close();
    }
  }

  /** Every line that was sent has been answered once. */
  async #checkQuiet(name: string, connection: Connection): Promise<void> {
    await connection.send(ping);
    const line = await this.#nextLine(connection, false);
    if (line !== `{"ok":true,"id":"last"}`) throw new Error(`after the last line @${name} says ${line}`);
  }

  get #followers(): TestNode[] {
    return this.#cluster.nodes.filter((node) => node !== this.#leader);
  }
}
