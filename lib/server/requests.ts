/**
 * What each request of a client asks of the node: writes go to the log, reads wait until they may look at the store,
 * and questions about the node itself are answered at once.
 *
 * @module
 */

import type { Clock } from "../io/io.ts";
import type { Store } from "../kv/store.ts";
import {
  encodeReply,
  getReply,
  helpReply,
  listReply,
  type NodeRequest,
  type Request,
  type WriteRequest,
} from "../protocol/client_protocol.ts";
import { busy, errorReply, noLeader, notLeader, type RequestError } from "../protocol/errors.ts";
import type { ProposalRefusal, Raft } from "../raft/raft.ts";
import type { NodeId } from "../raft/types.ts";
import type { Reply, RequestOrder } from "./client_connections.ts";
import type { PendingRequests } from "./pending_requests.ts";
import { type MembersReply, membersReply, type StatusReply } from "./status.ts";

/** The parts of a node that requests have to do with. */
export interface RequestContext {
  raft: Raft;
  store: Store;
  pending: PendingRequests;
  clock: Clock;
  nodes(): { id: NodeId; address: string }[];
  clientAddressOf(id: NodeId): string | null;
  appliedIndex(): number;
  /** Milliseconds since this node last had all that a leader had committed; null: not since its start. */
  ageMs(): number | null;
  /** The disk is as far behind as it may be, or the node is stopping: no new writes. */
  isOverloaded(): boolean;
  status(): StatusReply;
}

/** In whose name, and after what, a request is carried out. */
interface RequestCall {
  context: RequestContext;
  order: RequestOrder;
}

/** Where and how an answer looks at the store. */
type Look = (at: { index: number; ageMs?: number | null }) => { readonly ok: true };

/** Carries out a request in the `order` of its connection; `reply` is called once, now or later. */
export function carryOut(request: Request, reply: Reply, call: RequestCall): void {
  const { store } = call.context;
  switch (request.op) {
    case "refused":
      return reply(errorReply(request.id, request.error));
    case "put":
    case "delete":
    case "session":
      return write(request, reply, call);
    case "get":
      return read(request, reply, call, (at) => getReply(store.get(request.key), at));
    case "list": {
      const { options, count } = request;
      if (count) {
        return read(request, reply, call, (at) => ({ ok: true, count: store.count(options), ...at }));
      }
      return read(request, reply, call, (at) => listReply(store.list(options), at));
    }
    default:
      return reply(encodeReply(request.id, describe(request, call.context)));
  }
}

function write({ id, command }: WriteRequest, reply: Reply, { context, order }: RequestCall): void {
  const isLeader = context.raft.role === "leader";
  const place = isLeader && context.isOverloaded() ? "busy" : context.raft.propose(command);
  if (typeof place === "string") return reply(errorReply(id, refusal(place, context)));
  order.lastWriteIndex = place.index;
  const hasSession = command.op !== "session" && command.session !== undefined;
  context.pending.addWrite(place, context.clock.now(), hasSession, (outcome) => {
    reply("ok" in outcome ? encodeReply(id, outcome) : errorReply(id, outcome));
  });
}

function refusal(reason: ProposalRefusal, { raft, clientAddressOf }: RequestContext): RequestError {
  if (reason === "transferring") return busy("leadership is being handed to another node", 50);
  if (reason === "busy") return busy("this node has as many unfinished writes as it takes", 50);
  const { leaderId } = raft;
  const address = leaderId === null ? null : clientAddressOf(leaderId);
  return leaderId === null || address === null ? noLeader() : notLeader({ id: leaderId, address });
}

function read(
  { id, consistency }: { id: Request["id"]; consistency: "linearizable" | "stale" },
  reply: Reply,
  { context, order }: RequestCall,
  look: Look,
): void {
  if (consistency === "stale") {
    return reply(encodeReply(id, look({ index: context.appliedIndex(), ageMs: context.ageMs() })));
  }
  context.pending.addRead(context.clock.now(), order.lastWriteIndex, (error) => {
    reply(error === null ? encodeReply(id, look({ index: context.appliedIndex() })) : errorReply(id, error));
  });
}

function describe(
  { op }: NodeRequest,
  context: RequestContext,
): StatusReply | MembersReply | { readonly ok: true } {
  switch (op) {
    case "help":
      return helpReply();
    case "ping":
      return { ok: true };
    case "members":
      return membersReply(context.nodes(), context.clientAddressOf);
    case "status":
      return context.status();
  }
}
