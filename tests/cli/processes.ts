/**
 * The program as people run it: child processes of main.ts, with what they print, on ports that are free.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { claimPorts, isFree } from "../../lib/chaos/ports.ts";
import { engineFlags } from "../../lib/cli/program.ts";

const main = fileURLToPath(new URL("../../main.ts", import.meta.url));

/** The words that start `kvapp`; its arguments follow. */
export const kvappWords: readonly string[] = [Deno.execPath(), "run", engineFlags, "-A", main];

/** The words that run a module on `kvappWords` and what follows them; `flags` are more of the engine's. */
export function wrapperWords(url: string, ...flags: string[]): readonly [string, ...string[]] {
  return [Deno.execPath(), "run", [engineFlags, ...flags].join(","), "-A", fileURLToPath(url)];
}

/** In such a module: the arguments of `kvapp`. */
export function wrappedArguments(): string[] {
  return Deno.args.slice(kvappWords.length);
}

/** How a command ended. */
export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** A command that runs. */
export class Running {
  stdout = "";
  stderr = "";
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<unknown>;
  #onOutput: () => void = () => {};

  /** `wrapper` is a command that is given the real one as further arguments. */
  constructor(
    args: readonly string[],
    options: { cwd?: string; stdin?: string; wrapper?: readonly [string, ...string[]] } = {},
  ) {
    const words = [...options.wrapper ?? [], ...kvappWords, ...args];
    this.#child = new Deno.Command(words[0]!, {
      args: words.slice(1),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    }).spawn();
    this.#reading = Promise.all([
      this.#collect(this.#child.stdout, (text) => this.stdout += text),
      this.#collect(this.#child.stderr, (text) => this.stderr += text),
      this.#feed(options.stdin ?? ""),
    ]);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves once the text has been printed, to either output. */
  async until(text: string): Promise<void> {
    const ended = this.#reading.then(() => "ended" as const);
    while (!this.stdout.includes(text) && !this.stderr.includes(text)) {
      const printed = new Promise<void>((resolve) => this.#onOutput = resolve);
      if (await Promise.race([printed, ended]) === "ended") {
        throw new Error(`ended without "${text}": ${this.stdout}${this.stderr}`);
      }
    }
  }

  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  async end(): Promise<Ended> {
    const [{ code }] = await Promise.all([this.#child.status, this.#reading]);
    return { code, stdout: this.stdout, stderr: this.stderr };
  }

  async #collect(stream: ReadableStream<Uint8Array>, add: (text: string) => void): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      add(text);
      this.#onOutput();
    }
  }

  async #feed(text: string): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    if (text !== "") await writer.write(new TextEncoder().encode(text));
    await writer.close();
  }
}

/** Runs `kvapp` to its end. */
export function kvapp(
  args: readonly string[],
  options: { cwd?: string; stdin?: string } = {},
): Promise<Ended> {
  return new Running(args, options).end();
}

/** What this file of tests has for itself, however many run at the same time. */
const territory = claimPorts({ from: 20_000, size: 100 });

/** The first of `count` ports in a row that are free, and so are those 1000 above. */
export function freePorts(count: number): number {
  const { ports } = territory;
  for (;;) {
    const at = Math.floor(Math.random() * (ports.length - count));
    const found = ports.slice(at, at + count);
    if (found.every((port) => isFree(port) && isFree(port + 1000))) return found[0]!;
  }
}

/** A folder for one test, removed at its end. */
export async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "kvapp-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A single node on free ports, and the words that lead a client to it. */
export async function withNode(body: (cluster: string[], node: Running) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    const bind = `127.0.0.1:${freePorts(1)}`;
    const node = new Running(["serve", "--bind", bind, "--data-dir", `${folder}/data`]);
    try {
      await node.until("leads term");
      await body(["--cluster", bind], node);
    } finally {
      node.kill("SIGTERM");
      assertEquals((await node.end()).code, 0, node.stderr);
    }
  });
}
