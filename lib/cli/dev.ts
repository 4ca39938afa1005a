/**
 * `kvapp dev`: a whole cluster on this machine, each node a process with a folder of its own, as in production. The
 * nodes read their stdin and stop when it ends, which the operating system sees to however this process ends.
 *
 * @module
 */

import { resolve } from "node:path";
import { connect } from "../client/client.ts";
import { clientPortOffset } from "../client/addresses.ts";
import { ClientError } from "../client/errors.ts";
import { limitsFor } from "../node/options.ts";
import { devFolder, prepareDevFolder } from "./dev_folder.ts";
import { CommandError, exitCodes, UsageError } from "./exit.ts";
import type { Subcommand } from "./help.ts";
import type { Parsed } from "./options.ts";
import { print, printError } from "./output.ts";
import { programWords } from "./program.ts";
import { secretOf, secretOption } from "./secret.ts";
import { type Notices, runShell } from "./shell.ts";
import { timingArguments, timingOf, timingOptions } from "./timing.ts";

const nodesMax = 31;
/** A node that was told to stop and did not is killed after this time. */
const stopTimeoutMs = 12_000;
/** Whoever waits longer than this is told for what. */
const patienceMs = 1000;

/** One node that runs or ran. */
interface Node {
  process: Deno.ChildProcess;
  /** Resolves when the process and its journal have ended. */
  ended: Promise<unknown>;
}

/** `kvapp dev`. */
export const devCommand: Subcommand = {
  name: "dev",
  summary: "runs a whole local cluster and, on a terminal, opens the shell",
  usage: ["dev [--nodes N] [--base-port PORT] [--fresh]"],
  options: [
    { name: "nodes", value: "N", text: "how many nodes (3)" },
    { name: "base-port", value: "PORT", text: "raft port of the first node; the others follow (8080)" },
    { name: "fresh", text: `forget the data of earlier runs in ${devFolder}` },
    { name: "verbose", short: "v", text: "the nodes write all that they can into their journals" },
    secretOption,
    ...timingOptions,
  ],
  details:
    `Each node keeps its data in ${devFolder}/ID and its journal in ${devFolder}/ID.log. A node that you kill stays dead;
start it again with the serve line that was printed for it.`,
  async run(parsed) {
    if (parsed.rest.length > 0) throw new UsageError(`dev takes no word, and "${parsed.rest[0]}" is one`);
    const { requestTimeoutMs } = limitsFor(timingOf(parsed));
    await secretOf(parsed); // better to hear it here, once, what is wrong with it
    const nodes = parsed.integer("nodes", { min: 1, max: nodesMax }) ?? 3;
    const basePort = parsed.integer("base-port", { min: 1, max: 65535 - clientPortOffset - nodes + 1 }) ??
      8080;
    const ports = Array.from({ length: nodes }, (_, i) => basePort + i);
    checkPorts(ports);
    await prepareDevFolder(nodes, { fresh: parsed.flag("fresh") });
    const stop = stopRequest();
    const cluster = ports.map((port) => `127.0.0.1:${port}`);
    const notices: Notices = { say: printError };
    const running = ports.map((port, i) =>
      startNode({ id: i + 1, port, cluster, parsed, notices, isStopping: () => stop.asked })
    );
    print(`journals: tail -f ${quoted(resolve(devFolder))}/*.log`);
    try {
      const timeoutMs = 2 * requestTimeoutMs;
      return await runCluster(running, cluster, { stop: stop.signal, timeoutMs, notices });
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
  { stop, timeoutMs, notices }: { stop: AbortSignal; timeoutMs: number; notices: Notices },
): Promise<number> {
  const stopped = new Promise<"stopped">((resolve) =>
    stop.addEventListener("abort", () => resolve("stopped"))
  );
  const allEnded = Promise.all(running.map((node) => node.ended)).then(() => "ended" as const);
  const timer = setTimeout(() => printError("waiting for a leader"), patienceMs);
  const first = await Promise.race([untilReady(cluster, stop), stopped, allEnded])
    .finally(() => clearTimeout(timer));
  if (first === "stopped") return exitCodes.done;
  if (first === "ended") throw new CommandError(`no node stayed up: see the journals, ${devFolder}/ID.log`);
  if (!Deno.stdin.isTerminal()) {
    print("ready");
    await stopped;
    return exitCodes.done;
  }
  await using client = await connect(cluster, { timeoutMs });
  return await Promise.race([runShell(client, { cluster, notices }), stopped.then(() => exitCodes.done)]);
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
  { id, port, cluster, parsed, notices, isStopping }: {
    id: number;
    port: number;
    cluster: readonly string[];
    parsed: Parsed;
    notices: Notices;
    isStopping: () => boolean;
  },
): Node {
  const serve = ["serve", "--node-id", `${id}`, "--bind", cluster[id - 1]!, "--cluster", cluster.join(",")];
  const verbose = parsed.flag("verbose") ? ["--verbose"] : [];
  const place = ["--data-dir", resolve(devFolder, `${id}`), ...secretArguments(parsed)];
  const words = [...programWords(), ...serve, ...place, ...timingArguments(parsed), ...verbose];
  const process = new Deno.Command(words[0]!, {
    args: [...words.slice(1), "--stop-with-stdin"],
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const command = [...environment(), ...words.map(quoted)].join(" ");
  const journal = `${devFolder}/${id}.log`;
  print(
    `node ${id}: pid ${process.pid}, raft 127.0.0.1:${port}, clients 127.0.0.1:${port + clientPortOffset}`,
  );
  print(`  ${command}`);
  const ended = Promise.all([process.status, keepJournal(process, journal)]).then(
    ([status]) => {
      if (isStopping()) return;
      const how = status.signal === null ? `exit code ${status.code}` : status.signal;
      notices.say(`node ${id} ended (${how}): see ${journal}; start it again with\n  ${command}`);
    },
  );
  return { process, ended };
}

/** A line that is pasted in another folder must find the file. */
function secretArguments(parsed: Parsed): string[] {
  const path = parsed.text("secret-file");
  return path === undefined ? [] : ["--secret-file", resolve(path)];
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

/** What the program needs of this terminal's variables: where Deno finds JSR, if the tasks lead it to files. */
function environment(): string[] {
  const jsr = Deno.build.standalone ? undefined : Deno.env.get("JSR_URL");
  return jsr?.startsWith("file:") ? [`JSR_URL=${quoted(jsr)}`] : [];
}

/** A word as a POSIX shell reads it back. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
