/**
 * What each request of a client asks of the node: writes go to the log, reads wait until they may look at the store,
 * and questions about the node itself are answered at once.
 *
 * @module
 */

import type { Clock } from "../io/io.ts";
import {
  encodeReply,
  getReply,
  helpReply,
  listReply,
  type NodeRequest,
  type Request,
  type WriteRequest,
} from "../protocol/client_protocol.ts";
import { busy, diskFull, errorReply, noLeader, notLeader, type RequestError } from "../protocol/errors.ts";
import type { ProposalRefusal, Raft } from "../raft/raft.ts";
import type { NodeId } from "../raft/types.ts";
import type { Answer, RequestOrder } from "./client_connections.ts";
import type { PendingRequests } from "./pending_requests.ts";
import type { StateMachine } from "./state_machine.ts";
import { type MembersReply, membersReply, type StatusReply } from "./status.ts";

/** The parts of a node that requests have to do with. */
export interface RequestContext {
  raft: Raft;
  machine: StateMachine;
  pending: PendingRequests;
  clock: Clock;
  nodes(): { id: NodeId; address: string }[];
  clientAddressOf(id: NodeId): string | null;
  /** Milliseconds since this node last had all that a leader had committed; null: not since its start. */
  ageMs(): number | null;
  /** The disk has no room: no new writes. */
  isDiskFull(): boolean;
  /** The disk is as far behind as it may be, or the node is stopping: no new writes. */
  isOverloaded(): boolean;
  status(): StatusReply;
}

/** In whose name, and after what, a request is carried out. */
interface RequestCall {
  context: RequestContext;
  order: RequestOrder;
}

/**
 * Looks at the store, and gives the reply that says what was seen there. A value that was seen is only referred to:
 * its text is made when it can be sent. A list, which may be long, is looked up only then.
 */
type Look = (at: () => Moment) => () => { readonly ok: true };

/** Which state an answer reflects. */
interface Moment {
  index: number;
  ageMs?: number | null;
}

/** Carries out a request in the `order` of its connection; `answer` is called once, now or later. */
export function answerRequest(request: Request, answer: Answer, call: RequestCall): void {
  if ("command" in request) return write(request, answer, call);
  switch (request.op) {
    case "refused":
      return answer(errorReply(request.id, request.error));
    case "get":
      return read(request, answer, call, (at) => {
        const found = call.context.machine.store.get(request.key);
        const moment = at();
        return () => getReply(found, moment);
      });
    case "list": {
      const { options, count } = request;
      if (count) {
        return read(
          request,
          answer,
          call,
          (at) => () => ({ ok: true, count: call.context.machine.store.count(options), ...at() }),
        );
      }
      return read(
        request,
        answer,
        call,
        (at) => () => listReply(call.context.machine.store.list(options), at()),
      );
    }
    default:
      return answer(encodeReply(request.id, describe(request, call.context)));
  }
}

function write({ id, command }: WriteRequest, answer: Answer, { context, order }: RequestCall): void {
  const isLeader = context.raft.role === "leader";
  if (isLeader && context.isDiskFull()) return answer(errorReply(id, diskFull()));
  const place = isLeader && context.isOverloaded() ? "busy" : context.raft.propose(command);
  if (typeof place === "string") return answer(errorReply(id, refusal(place, context)));
  order.lastWriteIndex = place.index;
  const hasSession = command.op !== "session" && command.session !== undefined;
  context.pending.addWrite(place, context.clock.now(), hasSession, (outcome) => {
    // A write that is given up is waited for by no read any more: its place may never be filled.
    if (!("ok" in outcome) && order.lastWriteIndex === place.index) order.lastWriteIndex = 0;
    if (!("ok" in outcome)) return answer(errorReply(id, outcome));
    // The values that a transaction got may be megabytes: their text is made when it can be sent.
    answer(command.op === "txn" ? () => encodeReply(id, outcome) : encodeReply(id, outcome));
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
  answer: Answer,
  { context, order }: RequestCall,
  look: Look,
): void {
  if (consistency === "stale") {
    const seen = look(() => ({ index: context.machine.appliedIndex, ageMs: context.ageMs() }));
    return answer(() => encodeReply(id, seen()));
  }
  context.pending.addRead(context.clock.now(), order.lastWriteIndex, (error) => {
    if (error !== null) return answer(errorReply(id, error));
    const seen = look(() => ({ index: context.machine.appliedIndex }));
    answer(() => encodeReply(id, seen()));
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
