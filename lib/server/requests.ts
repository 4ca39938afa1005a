/**
 * What each request of a client asks of the node: writes go to the log, reads wait until they may look at the store,
 * and questions about the node itself are answered at once.
 *
 * @module
 */

import type { Clock } from "../io/io.ts";
import type { ClientCommand, Numbered, Result, TxnOperation } from "../kv/command.ts";
import { largeUnits } from "../kv/value_heap.ts";
import type {
  GetRequest,
  ListRequest,
  NextPageRequest,
  NodeRequest,
  Request,
  UnwatchRequest,
  WatchRequest,
  WriteRequest,
} from "../protocol/client_protocol.ts";
import { encodeReply, getReply, helpReply, listReply, type Reply } from "../protocol/client_replies.ts";
import { busy, diskFull, errorReply, noLeader, notLeader, type RequestError } from "../protocol/errors.ts";
import { operations } from "../protocol/operations.ts";
import type { ProposalRefusal, Raft } from "../raft/raft.ts";
import type { NodeId } from "../raft/types.ts";
import type { Answer, Caller } from "./caller.ts";
import type { Expiry } from "./expiry.ts";
import type { Listings } from "./listings.ts";
import type { OnWritten, PendingRequests } from "./pending_requests.ts";
import type { StateMachine } from "./state_machine.ts";
import { type MembersReply, membersReply, type StatusReply } from "./status.ts";
import { Trace, type WriteTraces } from "./trace.ts";
import type { Watches } from "./watches.ts";

/** The parts of a node that requests have to do with. */
export interface RequestContext {
  raft: Raft;
  machine: StateMachine;
  pending: PendingRequests;
  listings: Listings;
  watches: Watches;
  traces: WriteTraces;
  expiry: Expiry;
  clock: Clock;
  /** What the clock said when the connection's turn to work came, or later. */
  now(): number;
  nodes(): { id: NodeId; address: string }[];
  clientAddressOf(id: NodeId): string | null;
  /** Milliseconds since this node last had all that a leader had committed; null: not since its start. */
  ageMs(): number | null;
  /** The disk has no room: no new writes. */
  isDiskFull(): boolean;
  /** The disk, or the cluster, is as far behind as it may be, or the node is stopping: no new writes. */
  isOverloaded(): boolean;
  status(): StatusReply;
}

/** In whose name a request is carried out, and how it is answered. */
interface RequestCall {
  context: RequestContext;
  caller: Caller;
  answer: Answer;
  /** null: nobody asked where the time goes. */
  trace: Trace | null;
}

/**
 * Looks at the store, and gives the reply line, or what makes it when it can be sent: a value that was seen is only
 * referred to until then, unless it is small, and a list, which may be long, is looked up only then.
 */
type Look = (at: () => Moment) => Parameters<Answer>[0];

/** A value of so many UTF-16 units is small: its reply is sent however much others have not read. */
const smallUnits = 8 << 10;

/** Which state an answer reflects. */
interface Moment {
  index: number;
  ageMs?: number | null;
}

/** Carries out a request of a connection; `answer` is called once, now or later. */
export function answerRequest(
  request: Request,
  answer: Answer,
  { context, caller }: { context: RequestContext; caller: Caller },
): void {
  const trace = request.trace ? new Trace(() => context.clock.now()) : null;
  const call: RequestCall = { context, caller, answer, trace };
  if ("command" in request) return write(request, call);
  switch (request.op) {
    case "refused":
      return answer(errorReply(request.id, request.error));
    case "get":
      return get(request, call);
    case "list":
      return "cursor" in request ? nextPage(request, call) : list(request, call);
    case "watch":
      return watch(request, call);
    case "unwatch":
      return unwatch(request, call);
    default:
      return answer(encodeReply(request.id, describe(request, context), trace?.report()));
  }
}

function write({ id, command }: WriteRequest, { context, caller, answer, trace }: RequestCall): void {
  const { raft, machine, traces } = context;
  if (raft.role !== "leader") return answer(errorReply(id, refusal("notLeader", context), trace?.report()));
  const copied = copiedBytes(command);
  if (copied > 0 && !caller.mayHold) {
    const error = busy("the clients of this node have as many answers to read as it holds", 50);
    return answer(errorReply(id, error, trace?.report()));
  }
  let index = 0;
  // It refers to nothing of the command, whose values may be megabytes and would wait with it.
  const onWritten = (outcome: Result | RequestError): void => {
    if (trace !== null) traces.delete(index, trace);
    // A write that is given up is waited for by no read any more: its place may never be filled.
    if (!("ok" in outcome) && caller.lastWriteIndex === index) caller.lastWriteIndex = 0;
    const report = trace?.report();
    const line = (): string => {
      caller.hold(-copied);
      return "ok" in outcome ? encodeReply(id, outcome, report) : errorReply(id, outcome, report);
    };
    answer("ok" in outcome && hasLongValues(outcome) ? line : line());
  };
  const numbered = numberOf(command);
  // The answer of a committed entry is true, although another node may lead by now.
  const known = numbered === null ? null : machine.store.answerTo(numbered);
  const place = known === null ? placeOf(command, { context, numbered, trace, onWritten }) : 0;
  if (typeof place !== "number") return answer(errorReply(id, place, trace?.report()));
  index = place;
  caller.lastWriteIndex = Math.max(caller.lastWriteIndex, index);
  caller.hold(copied);
  if (known !== null) onWritten(known);
}

/** A result's text may be megabytes: it is made when it can be sent. */
function hasLongValues(result: Result): boolean {
  if ("results" in result) return true;
  return "previous" in result && (result.previous?.value.length ?? 0) > smallUnits;
}

/**
 * Puts a command into the leader's log, and returns its index, or why it was not taken. A session's write that waits already gets
 * no second entry: where answers take longer than clients wait, the log would else fill with what was sent again, and
 * then no answer comes in time any more.
 */
function placeOf(
  command: ClientCommand,
  { context, numbered, trace, onWritten }: Pick<RequestCall, "context" | "trace"> & {
    numbered: Numbered | null;
    onWritten: OnWritten;
  },
): number | RequestError {
  const { raft, pending, traces } = context;
  const joined = numbered === null ? null : pending.joinWrite(numbered, raft.currentTerm, onWritten);
  if (joined !== null) return joined;
  if (context.isDiskFull()) return diskFull();
  if (needsLogTime(command)) command.logTime = context.expiry.logTime();
  const place = context.isOverloaded() ? "busy" : raft.propose(command);
  if (typeof place === "string") return refusal(place, context);
  if (trace !== null) traces.add(place.index, trace);
  pending.addWrite(place, { now: context.now(), numbered }, onWritten);
  return place.index;
}

/** What a session knows a write by. */
function numberOf(command: ClientCommand): Numbered | null {
  if (command.op === "session") return null;
  const { session, seq } = command;
  return session === undefined || seq === undefined ? null : { session, seq };
}

/** Bytes of the copies of values that a transaction may answer, and that wait until they can be sent; at most. */
function copiedBytes(command: ClientCommand): number {
  if (command.op !== "txn") return 0;
  const gets = (parts: TxnOperation[]): number => parts.filter(({ op }) => op === "get").length;
  return bytesPerUnit * largeUnits * Math.max(gets(command.then), gets(command.else));
}

/** A text takes at most so many bytes of memory for a UTF-16 unit. */
const bytesPerUnit = 2;

/** Only a command that says how long something lasts is stamped with the time. */
function needsLogTime(
  command: ClientCommand,
): command is Extract<ClientCommand, { op: "put" | "txn" }> {
  if (command.op === "put") return command.ttlMs !== undefined;
  if (command.op !== "txn") return false;
  return [...command.then, ...command.else].some((part) => part.op === "put" && part.ttlMs !== undefined);
}

function refusal(reason: ProposalRefusal, { raft, clientAddressOf }: RequestContext): RequestError {
  if (reason === "transferring") return busy("leadership is being handed to another node", 50);
  if (reason === "busy") return busy("this node has as many unfinished writes as it takes", 50);
  const { leaderId } = raft;
  const address = leaderId === null ? null : clientAddressOf(leaderId);
  return leaderId === null || address === null ? noLeader() : notLeader({ id: leaderId, address });
}

function get(request: GetRequest, call: RequestCall): void {
  const { machine, expiry } = call.context;
  const { id, key } = request;
  const look: Look = (at) => {
    const found = machine.store.get(key);
    const { index, ageMs } = at();
    const logTime = found?.expiresAt === undefined ? 0 : expiry.logTime();
    const line = (): string =>
      encodeReply(id, getReply(found, { index, ageMs, logTime }), call.trace?.report());
    return found === undefined || found.value.length <= smallUnits ? line() : line;
  };
  read(request, call, (at) => call.caller.waitsForTooMuch ? () => textOf(look(at)) : look(at));
}

/** The line itself. */
function textOf(line: Parameters<Answer>[0]): string {
  return typeof line === "string" ? line : line();
}

function list(request: ListRequest, call: RequestCall): void {
  const { machine, listings, clock, expiry } = call.context;
  const { id, options, count } = request;
  const line = <R extends Reply>(reply: R): string => encodeReply(id, reply, call.trace?.report());
  if (count) {
    return read(
      request,
      call,
      (at) => () => line({ ok: true, count: machine.store.count(options), ...at() }),
    );
  }
  read(request, call, (at) => () => {
    const page = listings.begin(machine, options, clock.now());
    return line(listReply(page, { ...at(), logTime: expiry.logTime() }));
  });
}

/** What a cursor names was looked at before: nothing needs to be waited for. */
function nextPage({ id, cursor, repeated }: NextPageRequest, { context, answer, trace }: RequestCall): void {
  answer(() => {
    const page = context.listings.next(cursor, repeated, context.clock.now());
    if ("code" in page) return errorReply(id, page, trace?.report());
    const { index, ...listed } = page;
    return encodeReply(id, listReply(listed, { index, logTime: context.expiry.logTime() }), trace?.report());
  });
}

function watch(request: WatchRequest, { context, caller, answer, trace }: RequestCall): void {
  const opened = context.watches.open(request, caller, context.clock.now());
  if ("code" in opened) return answer(errorReply(request.id, opened, trace?.report()));
  answer(() => {
    opened.start(); // no event may leave before the reply
    return encodeReply(request.id, opened.reply, trace?.report());
  });
}

function unwatch({ id, watch }: UnwatchRequest, { context, caller, answer, trace }: RequestCall): void {
  if (context.watches.close(caller, watch)) return answer(encodeReply(id, { ok: true }, trace?.report()));
  const message =
    `this connection has no watch ${watch}, but ${caller.watches} of the ${caller.lastWatch} that it ` +
    `opened; this works: ${JSON.stringify(operations.watch.example)}`;
  answer(errorReply(id, { code: "badRequest", message }, trace?.report()));
}

function read(
  { id, consistency }: { id: Request["id"]; consistency: "linearizable" | "stale" },
  { context, caller, answer, trace }: RequestCall,
  look: Look,
): void {
  if (consistency === "stale") {
    return answer(look(() => ({ index: context.machine.appliedIndex, ageMs: context.ageMs() })));
  }
  const order = { afterIndex: caller.lastWriteIndex, trace };
  context.pending.addRead(context.now(), order, (error) => {
    if (error !== null) return answer(errorReply(id, error, trace?.report()));
    answer(look(() => ({ index: context.machine.appliedIndex })));
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
