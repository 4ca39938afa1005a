/**
 * Why a node cannot be started, or has ended: options that make no sense, and everything else.
 *
 * @module
 */

import { FolderError } from "../storage/storage.ts";

/** Says what an option is called where it was given. */
type NameOf = (option: string) => string;

/**
 * Options of a node that are wrong, or that contradict each other. Nothing was opened or changed.
 *
 * @example
 * ```ts
 * import { OptionError, startNode } from "@kvapp/kvapp";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const error = await assertRejects(() => startNode({ nodeId: 4, cluster: "a:1,b:1,c:1" }), OptionError);
 * assertEquals(error.message, "nodeId 4 is not in cluster, whose ids are 1, 2, 3");
 * assertEquals(error.describe((name) => `my-${name}`), "my-nodeId 4 is not in my-cluster, whose ids are 1, 2, 3");
 * ```
 */
export class OptionError extends TypeError {
  /** Always "OptionError". */
  override readonly name = "OptionError";
  readonly #text: (nameOf: NameOf) => string;

  /** `text` makes the message, given what each option is called. */
  constructor(text: (nameOf: NameOf) => string) {
    super(text((option) => option));
    this.#text = text;
  }

  /** The message with other names for the options: those of a command line, or of a file. */
  describe(nameOf: (option: string) => string): string {
    return this.#text(nameOf);
  }
}

/**
 * What went wrong. Before a node runs, or while it does:
 *
 * - `folderForeign`: the data folder is another node's or another cluster's. Nothing in it was changed.
 * - `folderNewer`: a newer version wrote it. Nothing in it was changed.
 * - `folderDamaged`: it has lost what nobody can make up for; the message says what a person can do.
 * - `diskFailed`: a file cannot be read or written, or an fsync failed. Nothing was acknowledged since. A full disk is
 *   none of this: the node waits for room.
 * - `internalError`: an assertion failed, as it does when two logs contradict each other, or the program has another
 *   bug; `cause` has the stack.
 *
 * At the start only:
 *
 * - `folderLocked`: another node has the folder, in this process or in another one. The wait for it cannot be called
 *   back: until that node lets go, this process ends by `Deno.exit` only.
 * - `folderUnavailable`: the folder cannot be made or opened.
 * - `portTaken`: something listens on one of the two ports.
 * - `cannotListen`: a port cannot be bound for another reason; the address is not this machine's, for example.
 *
 * From `ready` only:
 *
 * - `closed`: the node was closed.
 */
export type NodeErrorCode =
  | "folderForeign"
  | "folderNewer"
  | "folderDamaged"
  | "diskFailed"
  | "internalError"
  | "folderLocked"
  | "folderUnavailable"
  | "portTaken"
  | "cannotListen"
  | "closed";

/**
 * A node cannot be started, or has ended by itself.
 *
 * @example
 * ```ts
 * import { NodeError, startNode } from "@kvapp/kvapp";
 * import { assertEquals } from "@std/assert";
 *
 * const dataDir = await Deno.makeTempDir();
 * const node = await startNode({ dataDir: `${dataDir}/1`, bind: "127.0.0.1:0" });
 * try {
 *   await startNode({ dataDir: `${dataDir}/2`, bind: node.raftAddress });
 * } catch (error) {
 *   assertEquals(error instanceof NodeError && error.code, "portTaken");
 * }
 * await node.close();
 * await Deno.remove(dataDir, { recursive: true });
 * ```
 */
export class NodeError extends Error {
  /** Always "NodeError". */
  override readonly name = "NodeError";
  /** What went wrong. */
  readonly code: NodeErrorCode;

  /** Usually made by the node itself. */
  constructor(code: NodeErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const folderCodes = { foreign: "folderForeign", newer: "folderNewer", damaged: "folderDamaged" } as const;

/** What the folder or the disk did to a node. */
export function diskErrorOf(cause: Error): NodeError {
  const code = cause instanceof FolderError ? folderCodes[cause.reason] : "diskFailed";
  return new NodeError(code, cause.message, { cause });
}

/** What a node threw that it never should. */
export function internalErrorOf(cause: unknown): NodeError {
  const message = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
  return new NodeError("internalError", message, { cause });
}
