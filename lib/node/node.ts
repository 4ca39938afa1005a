/**
 * A node inside another program: opens the folder, binds the ports, runs the server, and tells how it ended. What goes
 * wrong in it ends the node, never the program. `kvapp serve` is such a program.
 *
 * @module
 */

import { denoIo, FolderLocked, type OpenFolder, openFolder } from "../io/deno_io.ts";
import type { Io } from "../io/io.ts";
import type { ServerOptions } from "../server/options.ts";
import { Server } from "../server/server.ts";
import { FolderError } from "../storage/storage.ts";
import { diskErrorOf, internalErrorOf, NodeError } from "./errors.ts";
import { Fuse } from "./fuse.ts";
import { type NodeOptions, serverOptionsOf } from "./options.ts";

/** What is in flight when a node is closed has so long to finish. */
const closeTimeoutMs = 10_000;
/** So long may clients then read their last replies. */
const lingerMs = 1000;
const readyPollMs = 5;

/** What a node in this process says of itself. */
export interface LocalStatus {
  /** "leader" of the present term, "candidate" for the next, or "follower". */
  role: "follower" | "candidate" | "leader";
  /** Its current term. */
  term: number;
  /** Id of the leader that it knows; null: none. */
  leader: number | null;
  /** Entries up to this index are known to be committed. */
  commitIndex: number;
  /** Entries up to this index are applied: reads of this node see them. */
  appliedIndex: number;
  /** Entries up to this index are in its log, in memory. */
  lastLogIndex: number;
  /** Entries up to this index are on its disk, fsynced. */
  durableIndex: number;
  /** The last index in its newest snapshot; 0: there is none. */
  snapshotIndex: number;
  /** Its folder has lost something, and it takes no part in decisions until the others have admitted it again. */
  abstains: boolean;
  /** How many keys it holds. */
  keys: number;
}

/** A node that runs in this process, made by `startNode`. It keeps the process alive until it has ended. */
export interface Node extends AsyncDisposable {
  /** Its id. */
  readonly id: number;
  /** Where its raft port listens, "host:port". */
  readonly raftAddress: string;
  /** Where clients reach it, "host:port": for `connect`. */
  readonly clientAddress: string;
  /** The folder of its files. */
  readonly dataDir: string;
  /** Resolves once the node has ended, with why; null: it was closed. All is released then. It never rejects. */
  readonly stopped: Promise<NodeError | null>;
  /** What it says of itself now; after its end: what it said last. */
  status(): LocalStatus;
  /**
   * Resolves once a leader is known, so that requests find someone to answer them. That takes all nodes at the first
   * start of a cluster, a majority later. Rejects with the NodeError that ended the node, with `closed` when it was
   * closed, with the signal's reason when that is aborted.
   */
  ready(options?: { signal?: AbortSignal }): Promise<void>;
  /**
   * Ends the node in good order: hands leadership over, finishes what is in flight, closes files and ports. Takes a few
   * milliseconds; up to 10 s when others do not answer, and as long as the disk takes for what it has begun. Also
   * resolves when the node has ended by itself; `stopped` says why.
   */
  close(): Promise<void>;
  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Runs a node in this process. Resolves when its folder is open and its ports are bound; `ready` tells when there is a
 * leader. In the process it needs nothing else: the clients of the cluster, in this process too, `connect` to its
 * `clientAddress`.
 *
 * Throws OptionError when the options make no sense, and NodeError when the folder cannot be used or a port cannot be
 * bound; nothing of the node is left then.
 *
 * @example A store inside this program
 * ```ts
 * import { connect, startNode } from "@kvapp/kvapp";
 * import { assertEquals } from "@std/assert";
 *
 * const dataDir = await Deno.makeTempDir();
 * {
 *   await using node = await startNode({ dataDir, bind: "127.0.0.1:0" }); // any free port
 *   await using client = await connect(node.clientAddress);
 *   await client.put("color", "green");
 *   assertEquals((await client.get("color"))?.value, "green");
 *   assertEquals(node.status().role, "leader");
 * }
 * await Deno.remove(dataDir, { recursive: true }); // or start the next node on it, and find "color"
 * ```
 *
 * @example One of three
 * ```ts no-assert
 * import { startNode } from "@kvapp/kvapp";
 *
 * async function serve(nodeId: number): Promise<void> {
 *   const node = await startNode({
 *     nodeId,
 *     cluster: ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"],
 *     dataDir: "/var/lib/my-program",
 *     log: (level, message) => console.error(level, message),
 *   });
 *   await node.ready();
 *   const error = await node.stopped; // a failed disk ends the node, not this program
 *   if (error !== null) console.error(error.code, error.message);
 * }
 * ```
 */
export async function startNode(options: NodeOptions = {}): Promise<Node> {
  const { dataDir = "./data", signal } = options;
  signal?.throwIfAborted();
  const serverOptions = serverOptionsOf(options);
  const folder = await openFolderOrExplain(dataDir);
  const { nodeId, bindAddress, clientBindAddress, log } = serverOptions;
  try {
    signal?.throwIfAborted();
    log("info", `node ${nodeId}: raft ${bindAddress}, clients ${clientBindAddress}, folder ${dataDir}`);
    return new LocalNode(serverOptions, { folder, dataDir, signal });
  } catch (error) {
    await release(folder);
    throw error;
  }
}

class LocalNode implements Node {
  readonly id: number;
  readonly raftAddress: string;
  readonly clientAddress: string;
  readonly dataDir: string;
  readonly stopped: Promise<NodeError | null>;
  readonly #server: Server;
  readonly #fuse: Fuse;
  readonly #end = Promise.withResolvers<NodeError | null>();
  /** Why it has ended or is about to; undefined: it runs. */
  #reason: NodeError | null | undefined;

  /** Throws NodeError; all but the folder is released then. */
  constructor(
    options: Omit<ServerOptions, "onStop">,
    place: { folder: OpenFolder; dataDir: string; signal: AbortSignal | undefined },
  ) {
    const { folder, dataDir, signal } = place;
    this.id = options.nodeId;
    this.raftAddress = options.bindAddress;
    this.clientAddress = options.clientAddress;
    this.dataDir = dataDir;
    const io = explainPorts(denoIo(folder.disk, (error) => options.log("warn", error.message)));
    this.#fuse = new Fuse(io, (error) => this.#stop(internalErrorOf(error)));
    try {
      const onStop = (error: Error): void => this.#stop(diskErrorOf(error));
      this.#server = new Server({ ...options, onStop }, this.#fuse.io);
    } catch (error) {
      this.#fuse.blow();
      throw error instanceof NodeError ? error : startErrorOf(error);
    }
    const close = (): Promise<void> => this.close();
    signal?.addEventListener("abort", close);
    this.stopped = this.#end.promise.then(async (error) => {
      signal?.removeEventListener("abort", close);
      this.#fuse.blow();
      await release(folder);
      return error;
    });
  }

  status(): LocalStatus {
    const { raft, store, appliedIndex, durableIndex } = this.#server;
    return {
      role: raft.role === "preCandidate" ? "candidate" : raft.role,
      term: raft.currentTerm,
      leader: raft.leaderId,
      commitIndex: raft.commitIndex,
      appliedIndex,
      lastLogIndex: raft.lastIndex,
      durableIndex,
      snapshotIndex: raft.snapshot?.lastIncludedIndex ?? 0,
      abstains: raft.admittedIndex === 0 && raft.configuration.members.length > 0,
      keys: store.size,
    };
  }

  async ready({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    for (;;) {
      signal?.throwIfAborted();
      if (this.#reason !== undefined) {
        throw this.#reason ?? new NodeError("closed", `node ${this.id} was closed`);
      }
      if (this.#server.raft.leaderId !== null) return;
      await new Promise((resolve) => setTimeout(resolve, readyPollMs));
    }
  }

  async close(): Promise<void> {
    if (this.#reason === undefined) {
      this.#reason = null;
      const timer = setTimeout(() => this.#end.resolve(null), closeTimeoutMs);
      this.#end.promise.finally(() => clearTimeout(timer));
      this.#fuse.run(() => this.#server.close(() => this.#endAfterLastReplies()));
    }
    await this.stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #stop(error: NodeError): void {
    this.#reason = error;
    this.#end.resolve(error);
  }

  async #endAfterLastReplies(): Promise<void> {
    const timer = setTimeout(() => this.#end.resolve(null), lingerMs);
    await this.#fuse.whenIdle();
    clearTimeout(timer);
    this.#end.resolve(null);
  }
}

/** The folder goes free, and so do the ports: they do one turn after their listeners were closed. */
async function release(folder: OpenFolder): Promise<void> {
  await folder.close();
  await new Promise((resolve) => setTimeout(resolve, 0));
}

async function openFolderOrExplain(path: string): Promise<OpenFolder> {
  try {
    return await openFolder(path);
  } catch (cause) {
    if (cause instanceof FolderLocked) throw new NodeError("folderLocked", cause.message, { cause });
    if (!(cause instanceof Error)) throw cause;
    throw new NodeError("folderUnavailable", `cannot use the data folder ${path}: ${cause.message}`, {
      cause,
    });
  }
}

/** Has a port that cannot be bound throw NodeError. */
function explainPorts(io: Io): Io {
  const { network } = io;
  return {
    ...io,
    network: {
      connect: (address) => network.connect(address),
      listen: (address, onConnection) => {
        try {
          return network.listen(address, onConnection);
        } catch (cause) {
          if (!(cause instanceof Error)) throw cause;
          const code = cause.cause instanceof Deno.errors.AddrInUse ? "portTaken" : "cannotListen";
          throw new NodeError(code, cause.message, { cause: cause.cause });
        }
      },
    },
  };
}

/** What a server threw that could not start: its folder told so, or reading it failed, or it has a bug. */
function startErrorOf(error: unknown): NodeError {
  const isOfDisk = error instanceof FolderError || (error instanceof Error && error.cause !== undefined);
  return isOfDisk ? diskErrorOf(error) : internalErrorOf(error);
}
