/**
 * `kvapp serve`: one node on real files and sockets, until a signal, a failed disk or a broken assertion ends it.
 *
 * @module
 */

import { formatAddress, parseAddress } from "../client/addresses.ts";
import { NodeError, type NodeErrorCode } from "../node/errors.ts";
import { type Node, startNode } from "../node/node.ts";
import type { NodeOptions } from "../node/options.ts";
import type { LogLevel } from "../server/options.ts";
import { defaultAddress, placeOf } from "./addresses.ts";
import { CommandError, exitCodes, UsageError } from "./exit.ts";
import type { Subcommand } from "./help.ts";
import { journalOf, logLevelOf, logOptions } from "./log.ts";
import { secretOf, secretOption } from "./secret.ts";
import { timingOf, timingOptions } from "./timing.ts";

/** `kvapp serve`. */
export const serveCommand: Subcommand = {
  name: "serve",
  summary: "runs one node",
  usage: ["serve [--node-id N] [--bind HOST:PORT] [--cluster HOST:PORT,...] [--data-dir DIR]"],
  options: [
    {
      name: "node-id",
      value: "N",
      text: "which of the cluster this is; may be left out when --bind is in the list",
    },
    {
      name: "bind",
      value: "HOST:PORT",
      text: `raft port; the client port is 1000 above (${defaultAddress})`,
    },
    {
      name: "cluster",
      value: "LIST",
      text: "all nodes: host:port (ids 1, 2, ...) or id=host:port; none: this one alone",
    },
    { name: "client-port", value: "PORT", text: "another client port" },
    {
      name: "advertise-client",
      value: "HOST:PORT",
      text: "where clients reach the client port, if elsewhere: behind NAT, in a container",
    },
    { name: "data-dir", value: "DIR", text: "where the node keeps its files (./data)" },
    secretOption,
    ...timingOptions,
    ...logOptions,
    { name: "stop-with-stdin", text: "stop when stdin ends", hidden: true },
  ],
  details: `Modes (ms)   loop  heartbeat  election    network  client
  fast          0     50         150-300     0        0
  debug         100   500        1000-2000   50       25
  demo          1000  3000       5000-8000   500      200

A first start waits until every listed node has been seen once. SIGTERM and SIGINT end a node in good order, a
second one at once. Exit code 1: a port cannot be bound.`,
  async run(parsed) {
    if (parsed.rest.length > 0) throw new UsageError(`serve takes no word, and "${parsed.rest[0]}" is one`);
    const words = {
      cluster: parsed.text("cluster"),
      bind: parsed.text("bind"),
      nodeId: parsed.integer("node-id", { min: 1, max: Number.MAX_SAFE_INTEGER }),
      clientPort: parsed.integer("client-port", { min: 1, max: 65535 }),
      advertiseClient: parsed.text("advertise-client"),
    };
    const { nodeId, clientBindAddress } = placeOf(words); // before anything is opened
    const timing = timingOf(parsed);
    const { secret, warning } = await secretOf(parsed);
    const log = journalOf(parsed, nodeId);
    failLoudly(log);
    if (warning !== null) log("warn", warning);
    const dataDir = parsed.text("data-dir");
    const verbose = logLevelOf(parsed) === "debug";
    const node = await startOrExplain({ ...words, dataDir, timing, secret, verbose, log });
    log("info", `connect with: nc ${netcatArguments(clientBindAddress)}`);
    closeOnRequest(node, parsed.flag("stop-with-stdin"), log);
    const error = await node.stopped;
    if (error === null) return exitCodes.done;
    log("error", error.code === "internalError" ? describeBug(error.cause) : `stopped: ${error.message}`);
    return exitCodeFor(error.code);
  },
};

/** An error that nobody handles leaves a node in a state that nobody knows. */
function failLoudly(log: (level: LogLevel, message: string) => void): void {
  const fail = (error: unknown): void => {
    log("error", describeBug(error));
    Deno.exit(exitCodes.broken);
  };
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    fail(event.error);
  });
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    fail(event.reason);
  });
}

function describeBug(error: unknown): string {
  return `stopped by a bug: ${error instanceof Error ? error.stack : error}`;
}

async function startOrExplain(options: NodeOptions): Promise<Node> {
  try {
    return await startNode(options);
  } catch (error) {
    if (!(error instanceof NodeError)) throw error;
    const message = error.code === "internalError" ? describeBug(error.cause) : error.message;
    throw new CommandError(message + wayOutOf(error.cause), exitCodeFor(error.code));
  }
}

function exitCodeFor(code: NodeErrorCode): number {
  if (code === "portTaken" || code === "cannotListen") return exitCodes.failed;
  return code.startsWith("folder") ? exitCodes.folder : exitCodes.broken;
}

function wayOutOf(cause: unknown): string {
  if (cause instanceof Deno.errors.AddrInUse) {
    return ": another process, perhaps a node, listens there. Stop it, or choose another port with --bind or --client-port";
  }
  if (cause instanceof Deno.errors.AddrNotAvailable) {
    return ": this machine does not have that address. --bind one that it has, such as 0.0.0.0, with the same port";
  }
  return "";
}

/** Closes the node at the first signal, or when stdin ends if that was asked for; ends at once at the second signal. */
function closeOnRequest(
  node: Node,
  withStdin: boolean,
  log: (level: LogLevel, message: string) => void,
): void {
  let asked = false;
  const stop = (why: string): void => {
    if (asked) Deno.exit(why === "SIGINT" ? 130 : 143);
    asked = true;
    log("info", `${why}: closing`);
    node.close();
  };
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
  for (const signal of signals) Deno.addSignalListener(signal, () => stop(signal));
  if (withStdin) untilStdinEnds().then(() => asked || stop("stdin ended"));
}

async function untilStdinEnds(): Promise<void> {
  const buffer = new Uint8Array(256);
  while (await Deno.stdin.read(buffer) !== null);
}

/** "host port", for a person who listens everywhere the local machine. */
function netcatArguments(address: string): string {
  const { host, port } = parseAddress(address);
  const isAnywhere = host === "0.0.0.0" || host === "::";
  return formatAddress({ host: isAnywhere ? "127.0.0.1" : host, port }).replace(
    /^\[?(.*?)\]?:(\d+)$/,
    "$1 $2",
  );
}
