/**
 * `kvapp dev`: a whole cluster on this machine, each node a process with a folder of its own, as in production. The
 * nodes read their stdin and stop when it ends, which the operating system sees to however this process ends.
 *
 * @module
 */

import { ensureDir } from "@std/fs";
import { fileURLToPath } from "node:url";
import { connect } from "../client/client.ts";
import { clientPortOffset } from "../client/addresses.ts";
import { ClientError } from "../client/errors.ts";
import { FolderLocked, openFolder } from "../io/deno_io.ts";
import { CommandError, exitCodes, UsageError } from "./exit.ts";
import type { Command } from "./help.ts";
import type { Parsed } from "./options.ts";
import { print, printError } from "./output.ts";
import { runShell } from "./shell.ts";
import { limitsFor } from "./serve.ts";
import { timingArguments, timingOf, timingOptions } from "./timing.ts";

const folder = "./kvapp-dev";
const nodesMax = 31;
/** A node that was told to stop and did not is killed after this time. */
const stopTimeoutMs = 12_000;

/** One node that runs or ran. */
interface Node {
  process: Deno.ChildProcess;
  /** Resolves when the process and its journal have ended. */
  ended: Promise<unknown>;
}

/** `kvapp dev`. */
export const devCommand: Command = {
  name: "dev",
  summary: "runs a whole local cluster and, on a terminal, opens the shell",
  usage: ["dev [--nodes N] [--base-port PORT] [--fresh]"],
  options: [
    { name: "nodes", value: "N", text: "how many nodes (3)" },
    { name: "base-port", value: "PORT", text: "raft port of the first node; the others follow (8080)" },
    { name: "fresh", text: `forget the data of earlier runs in ${folder}` },
    ...timingOptions,
  ],
  details:
    `Each node keeps its data in ${folder}/ID and its journal in ${folder}/ID.log. A node that you kill stays dead;
start it again with the serve line that was printed for it.`,
  async run(parsed) {
    if (parsed.rest.length > 0) throw new UsageError(`dev takes no word, and "${parsed.rest[0]}" is one`);
    const { requestTimeoutMs } = limitsFor(timingOf(parsed));
    const nodes = parsed.integer("nodes", { min: 1, max: nodesMax }) ?? 3;
    const basePort = parsed.integer("base-port", { min: 1, max: 65535 - clientPortOffset - nodes + 1 }) ??
      8080;
    const ports = Array.from({ length: nodes }, (_, i) => basePort + i);
    checkPorts(ports);
    await prepareFolder(nodes, parsed.flag("fresh"));
    const stop = stopRequest();
    const cluster = ports.map((port) => `127.0.0.1:${port}`);
    const running = ports.map((port, i) =>
      startNode({ id: i + 1, port, cluster, parsed, isStopping: () => stop.asked })
    );
    try {
      return await runCluster(running, cluster, { stop: stop.signal, timeoutMs: 2 * requestTimeoutMs });
    } finally {
      stop.asked = true;
      await stopAll(running);
    }
  },
};

/** Set by the first SIGINT or SIGTERM. A second one needs no handling: nodes end with this process in any case. */
interface StopRequest {
  asked: boolean;
  signal: AbortSignal;
}

async function runCluster(
  running: readonly Node[],
  cluster: readonly string[],
  { stop, timeoutMs }: { stop: AbortSignal; timeoutMs: number },
): Promise<number> {
  const stopped = new Promise<"stopped">((resolve) =>
    stop.addEventListener("abort", () => resolve("stopped"))
  );
  const allEnded = Promise.all(running.map((node) => node.ended)).then(() => "ended" as const);
  const first = await Promise.race([untilReady(cluster, stop), stopped, allEnded]);
  if (first === "stopped") return exitCodes.done;
  if (first === "ended") throw new CommandError(`no node stayed up: see the journals, ${folder}/ID.log`);
  if (!Deno.stdin.isTerminal()) {
    print("ready");
    await stopped;
    return exitCodes.done;
  }
  await using client = await connect(cluster, { timeoutMs });
  return await Promise.race([runShell(client, { cluster }), stopped.then(() => exitCodes.done)]);
}

/** Sees to a folder that is empty or that an earlier run with as many nodes left. */
async function prepareFolder(nodes: number, fresh: boolean): Promise<void> {
  await ensureDir(folder);
  const names = Array.from(Deno.readDirSync(folder), (entry) => entry.name);
  const old = names.filter((name) => /^\d+$/.test(name));
  for (const name of old) await checkUnused(`${folder}/${name}`);
  if (fresh) {
    for (const name of names.filter((it) => /^\d+(\.log)?$/.test(it))) {
      await Deno.remove(`${folder}/${name}`, { recursive: true });
    }
  } else if (old.length > 0 && old.length !== nodes) {
    throw new CommandError(
      `${folder} holds a cluster of ${old.length} nodes, not ${nodes}: ` +
        `give --nodes ${old.length}, or --fresh to forget its data`,
      exitCodes.folder,
    );
  }
}

/** A running node keeps its folder locked. */
async function checkUnused(path: string): Promise<void> {
  try {
    await (await openFolder(path)).close();
  } catch (error) {
    if (error instanceof FolderLocked) throw new CommandError(error.message, exitCodes.folder);
    throw error;
  }
}

/** Better to say it here, once, than in the journals of nodes that could not start. */
function checkPorts(ports: readonly number[]): void {
  for (const port of ports.flatMap((raft) => [raft, raft + clientPortOffset])) {
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
      throw new CommandError(
        `port ${port} is in use, perhaps by another cluster: stop that, or choose other ports with --base-port`,
      );
    }
  }
}

function startNode(
  { id, port, cluster, parsed, isStopping }: {
    id: number;
    port: number;
    cluster: readonly string[];
    parsed: Parsed;
    isStopping: () => boolean;
  },
): Node {
  const main = Deno.mainModule.startsWith("file:") ? fileURLToPath(Deno.mainModule) : Deno.mainModule;
  const program = Deno.build.standalone ? [Deno.execPath()] : [Deno.execPath(), "run", "-A", main];
  const serve = ["serve", "--node-id", `${id}`, "--bind", cluster[id - 1]!, "--cluster", cluster.join(",")];
  const words = [...program, ...serve, "--data-dir", `${folder}/${id}`, ...timingArguments(parsed)];
  const process = new Deno.Command(words[0]!, {
    args: [...words.slice(1), "--stop-with-stdin"],
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const command = words.map(quoted).join(" ");
  print(
    `node ${id}: pid ${process.pid}, raft 127.0.0.1:${port}, clients 127.0.0.1:${port + clientPortOffset}`,
  );
  print(`  ${command}`);
  const ended = Promise.all([process.status, keepJournal(process, `${folder}/${id}.log`)]).then(
    ([status]) => {
      if (isStopping()) return;
      const how = status.signal === null ? `exit code ${status.code}` : status.signal;
      printError(`node ${id} ended (${how}): see ${folder}/${id}.log; start it again with\n  ${command}`);
    },
  );
  return { process, ended };
}

/** Written at once, so that the end of a node that was killed with this process can be read too. */
async function keepJournal(process: Deno.ChildProcess, path: string): Promise<void> {
  using file = Deno.openSync(path, { write: true, create: true, append: true });
  for await (const chunk of process.stderr) {
    for (let at = 0; at < chunk.length;) at += file.writeSync(chunk.subarray(at));
  }
}

/** Resolves when a leader has answered a linearizable read. */
async function untilReady(cluster: readonly string[], stop: AbortSignal): Promise<"ready" | "stopped"> {
  while (!stop.aborted) {
    try {
      await using client = await connect(cluster, { timeoutMs: 60_000, signal: stop });
      await client.get("ready", { signal: stop });
      return "ready";
    } catch (error) {
      if (!(error instanceof ClientError) && error !== stop.reason) throw error;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
  return "stopped";
}

function stopRequest(): StopRequest {
  const abort = new AbortController();
  const request: StopRequest = { asked: false, signal: abort.signal };
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM", "SIGHUP"];
  const stop = (): void => {
    if (request.asked) Deno.exit(130);
    request.asked = true;
    abort.abort();
  };
  for (const signal of signals) Deno.addSignalListener(signal, stop);
  return request;
}

async function stopAll(running: readonly Node[]): Promise<void> {
  const timer = setTimeout(() => running.forEach(kill), stopTimeoutMs);
  // not by SIGTERM: after a Ctrl-C that reached the nodes too it would be the second signal, which ends them at once
  await Promise.all(running.map((node) => node.process.stdin.close().catch(() => null))); // null: it has ended
  await Promise.all(running.map((node) => node.ended));
  clearTimeout(timer);
}

function kill(node: Node): void {
  try {
    node.process.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error; // it has ended
  }
}

/** A word as a POSIX shell reads it back. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
