/**
 * kvapp, a key-value store replicated with Raft. This is its client for programs: it finds the leader, follows it when
 * it moves, and makes each write happen once however often it has to be sent.
 *
 * @example
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
  Written,
} from "./lib/client/types.ts";
export { version } from "./lib/version.ts";
