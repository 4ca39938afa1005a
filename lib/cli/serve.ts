/**
 * `kvapp serve`: one node on real files and sockets, until a signal, a failed disk or a broken assertion ends it.
 *
 * @module
 */

import { formatAddress, parseAddress } from "../client/addresses.ts";
import { denoIo, FolderLocked, openFolder } from "../io/deno_io.ts";
import { defaultLimits, type Limits, type LogLevel, type Timing } from "../server/options.ts";
import { Server } from "../server/server.ts";
import { FolderError } from "../storage/storage.ts";
import { defaultAddress, placeOf } from "./addresses.ts";
import { CommandError, exitCodes, UsageError } from "./exit.ts";
import type { Subcommand } from "./help.ts";
import { journalOf, logLevelOf, logOptions } from "./log.ts";
import { timingOf, timingOptions } from "./timing.ts";

/** What is in flight when a node is told to stop has so long to finish. */
const closeTimeoutMs = 10_000;

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
    { name: "data-dir", value: "DIR", text: "where the node keeps its files (./data)" },
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
    const place = placeOf({
      cluster: parsed.text("cluster"),
      bind: parsed.text("bind"),
      nodeId: parsed.integer("node-id", { min: 1, max: Number.MAX_SAFE_INTEGER }),
      clientPort: parsed.integer("client-port", { min: 1, max: 65535 }),
    });
    const timing = timingOf(parsed);
    const log = journalOf(parsed, place.nodeId);
    const path = parsed.text("data-dir") ?? "./data";
    failLoudly(log);
    const folder = await openFolderOrExplain(path);
    log(
      "info",
      `node ${place.nodeId}: raft ${place.bindAddress}, clients ${place.clientBindAddress}, folder ${path}`,
    );
    const ended = Promise.withResolvers<number>();
    const onStop = (error: Error): void => {
      log("error", `stopped: ${error.message}`);
      ended.resolve(error instanceof FolderError ? exitCodes.folder : exitCodes.broken);
    };
    const io = denoIo(folder.disk, (error) => log("warn", error.message));
    const verbose = logLevelOf(parsed) === "debug";
    const options = { ...place, timing, limits: limitsFor(timing), verbose, log, onStop };
    const server = startOrExplain(() => new Server(options, io));
    log("info", `connect with: nc ${netcatArguments(place.clientBindAddress)}`);
    closeOnRequest(parsed.flag("stop-with-stdin"), log, (done) => server.close(done), ended.resolve);
    const exitCode = await ended.promise;
    await folder.close();
    return exitCode;
  },
};

/** Slow clocks need long waits: a request may have to outlast an election. */
export function limitsFor(timing: Timing): Limits {
  const requestTimeoutMs = Math.max(defaultLimits.requestTimeoutMs, 3 * timing.electionTimeoutMaxMs);
  return { ...defaultLimits, requestTimeoutMs };
}

/** An error that nobody handles leaves a node in a state that nobody knows. */
function failLoudly(log: (level: LogLevel, message: string) => void): void {
  const fail = (error: unknown): void => {
    log("error", `stopped by a bug: ${error instanceof Error ? error.stack : error}`);
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

async function openFolderOrExplain(path: string): ReturnType<typeof openFolder> {
  try {
    return await openFolder(path);
  } catch (error) {
    if (error instanceof FolderLocked) throw new CommandError(error.message, exitCodes.folder);
    if (!(error instanceof Error)) throw error;
    throw new CommandError(`cannot use the data folder ${path}: ${error.message}`, exitCodes.folder);
  }
}

function startOrExplain(start: () => Server): Server {
  try {
    return start();
  } catch (error) {
    if (error instanceof FolderError) throw new CommandError(error.message, exitCodes.folder);
    if (!(error instanceof Error) || error.cause === undefined) throw error; // not a port that cannot be bound
    throw new CommandError(`${error.message}${wayOutOf(error.cause)}`, exitCodes.failed);
  }
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
  withStdin: boolean,
  log: (level: LogLevel, message: string) => void,
  close: (done: () => void) => void,
  end: (exitCode: number) => void,
): void {
  let asked = false;
  const stop = (why: string): void => {
    if (asked) Deno.exit(why === "SIGINT" ? 130 : 143);
    asked = true;
    log("info", `${why}: closing`);
    setTimeout(() => end(exitCodes.done), closeTimeoutMs);
    close(() => end(exitCodes.done));
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
