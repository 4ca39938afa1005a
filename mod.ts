/**
 * kvapp, a key-value store replicated with Raft, as a library. Three things, each of use without the others:
 *
 * - a **client** for a cluster: `connect`. It finds the leader, follows it when it moves, and makes each write happen
 *   once however often it has to be sent;
 * - a **node** inside your own program: `startNode`. Alone it is a store that survives a crash, with others a cluster;
 * - the **Raft core**, `Raft`, for a state machine of your own. It is pure: no file, no socket, no clock. It is also a
 *   module of its own, `@kvapp/kvapp/raft`, whose head tells how to drive it.
 *
 * @example A store in this program, and its client
 * ```ts
 * import { connect, startNode } from "@kvapp/kvapp";
 * import { assertEquals } from "@std/assert";
 *
 * const dataDir = await Deno.makeTempDir();
 * {
 *   await using node = await startNode({ dataDir, bind: "127.0.0.1:0" }); // any free port
 *   await using client = await connect(node.clientAddress);
 *   const { version } = await client.put("color", "green");
 *   await client.put("color", "blue", { ifVersion: version });
 *   assertEquals((await client.get("color"))?.value, "blue");
 * }
 * await Deno.remove(dataDir, { recursive: true });
 * ```
 *
 * @example The client of a cluster
 * ```ts no-assert
 * import { connect } from "@kvapp/kvapp";
 *
 * async function main(): Promise<void> {
 *   await using client = await connect("127.0.0.1:8080,127.0.0.1:8081,127.0.0.1:8082");
 *   const { version } = await client.put("color", "green");
 *   await client.put("color", "blue", { ifVersion: version });
 *   console.log(await client.get("color"));
 *   for await (const { key, value } of client.list({ prefix: "user/" })) console.log(key, value);
 * }
 * ```
 *
 * @module
 */

export { type Client, connect } from "./lib/client/client.ts";
export type { ErrorFields, ReplyLine } from "./lib/client/connection.ts";
export { ClientError } from "./lib/client/errors.ts";
export type { MemberAddresses } from "./lib/client/nodes.ts";
export type {
  ConnectOptions,
  Deleted,
  DeleteOptions,
  DeleteRangeOptions,
  Found,
  GetOptions,
  Incremented,
  ListedEntry,
  ListOptions,
  NodeStatus,
  OperationOptions,
  PutOptions,
  RangeDeleted,
  Transacted,
  Transaction,
  TransactionCondition,
  TransactionOperation,
  TransactionResult,
  WatchEvent,
  WatchOptions,
  Written,
} from "./lib/client/types.ts";
export type { Watch } from "./lib/client/watch.ts";
export { NodeError, type NodeErrorCode, OptionError } from "./lib/node/errors.ts";
export { type LocalStatus, type Node, startNode } from "./lib/node/node.ts";
export type { NodeOptions } from "./lib/node/options.ts";
export { type TimingMode, timingModes } from "./lib/node/timing.ts";
export { defaultLimits, type Limits, type LogLevel, type Timing } from "./lib/server/options.ts";
export * from "./raft.ts";
export { version } from "./lib/version.ts";
