/**
 * `kvapp status`: every node of a cluster asked about itself, as a table.
 *
 * @module
 */

import { connect } from "../client/client.ts";
import { clientAddressesOf } from "../client/addresses.ts";
import { Connection, type ReplyLine } from "../client/connection.ts";
import { untilAborted, within } from "../client/deadline.ts";
import type { MemberAddresses } from "../client/nodes.ts";
import type { NodeStatus } from "../client/types.ts";
import { parseClientCluster } from "./addresses.ts";
import { CommandError, exitCodes, UsageError } from "./exit.ts";
import type { Subcommand } from "./help.ts";
import { print, table } from "./output.ts";

const answerTimeoutMs = 2500;

/** What one node said, or why it did not. */
interface Answer {
  id: number | null;
  address: string;
  reply: ReplyLine;
}

/** `kvapp status`. */
export const statusCommand: Subcommand = {
  name: "status",
  summary: "shows every node of a cluster: role, term, indexes, disk, uptime, version",
  usage: ["status [--cluster HOST:PORT,...]"],
  options: [
    { name: "cluster", value: "LIST", text: "raft or client addresses of some nodes (127.0.0.1:8080)" },
    { name: "json", text: "print the reply lines themselves" },
  ],
  async run(parsed) {
    if (parsed.rest.length > 0) throw new UsageError(`status takes no word, and "${parsed.rest[0]}" is one`);
    const cluster = parseClientCluster(parsed.text("cluster"));
    await using client = await connect(cluster);
    const answers = await askAll(cluster, await client.members());
    print(parsed.flag("json") ? statusLines(answers) : statusTable(answers));
    if (!answers.some(({ reply }) => reply.ok)) {
      throw new CommandError("no node answers", exitCodes.unreachable);
    }
    return exitCodes.done;
  },
};

/** Asks every member; where its client address is not known, those that follow from its raft address. */
export async function askAll(
  cluster: readonly string[],
  members: readonly MemberAddresses[],
): Promise<Answer[]> {
  const nodes = members.length > 0 ? members : cluster.map((raft) => ({ id: null, raft, client: null }));
  return await Promise.all(nodes.map(async ({ id, raft, client }) => {
    const addresses = client === null ? clientAddressesOf(raft) : [client];
    let last = "";
    for (const address of addresses) {
      try {
        return { id, address, reply: await askOne(address) };
      } catch (error) {
        last = error instanceof Error ? error.message : String(error);
      }
    }
    const error = { code: "unreachable", message: last, definite: true };
    return { id, address: addresses[0]!, reply: { ok: false, error } };
  }));
}

/** The reply lines, one for each node. */
export function statusLines(answers: readonly Answer[]): string {
  return answers.map(({ reply }) => JSON.stringify(reply)).join("\n");
}

/** The answers as a table. */
export function statusTable(answers: readonly Answer[]): string {
  const headings = [
    "NODE",
    "ADDRESS",
    "ROLE",
    "TERM",
    "COMMIT",
    "APPLIED",
    "LAST",
    "LAG",
    "DISK",
    "UPTIME",
    "VERSION",
  ];
  const commit = Math.max(0, ...answers.map(({ reply }) => Number(reply.commitIndex ?? 0)));
  const rows = answers.map(({ id, address, reply }) => {
    if (!reply.ok) return [String(id ?? "?"), address, "unreachable", ...headings.slice(3).map(() => "-")];
    const status = reply as unknown as NodeStatus;
    return [
      String(status.node),
      address,
      status.abstains === true ? `${status.role}, abstains` : status.role,
      String(status.term),
      String(status.commitIndex),
      String(status.appliedIndex),
      String(status.lastLogIndex),
      String(commit - status.appliedIndex),
      diskStateOf(status),
      duration(status.uptimeMs),
      status.version,
    ];
  });
  return table([headings, ...rows]);
}

/** "-" for a node whose version does not tell. */
function diskStateOf({ disk }: NodeStatus): string {
  const state = (disk as { state?: unknown } | undefined)?.state;
  return typeof state === "string" ? state : "-";
}

async function askOne(address: string): Promise<ReplyLine> {
  return await within(
    answerTimeoutMs,
    "connected, but no answer",
    undefined,
    async (limit) => {
      const connection = await Connection.open(address, limit);
      try {
        return await untilAborted(connection.request({ op: "status" }), limit);
      } finally {
        await connection.close();
      }
    },
  );
}

/** In the two largest units: "3d 4h", "5m 6s". */
export function duration(ms: number): string {
  const units = [["d", 86_400], ["h", 3600], ["m", 60], ["s", 1]] as const;
  const seconds = Math.floor(ms / 1000);
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0s";
  const [[largest, size], next] = [units[first]!, units[first + 1]];
  const text = `${Math.floor(seconds / size)}${largest}`;
  return next === undefined ? text : `${text} ${Math.floor(seconds % size / next[1])}${next[0]}`;
}
