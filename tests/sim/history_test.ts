import { assertEquals, assertThrows } from "@std/assert";
import type { Command } from "../../lib/kv/command.ts";
import type { Entry } from "../../lib/raft/types.ts";
import { chain } from "./chain.ts";
import { type Attempt, History, type Reply, type Request } from "./history.ts";
import { Violation } from "./violation.ts";

function assertViolates(invariant: Violation["invariant"], run: () => void): void {
  const error = assertThrows(run, Violation);
  assertEquals(error.invariant, invariant, error.message);
}

const put = (key: string, value: string, more: Partial<Request> = {}): Command =>
  ({ op: "put", key, value, ...more }) as Command;

/** A history in which `commands` were committed, and what a client asked and was told. */
function history(...commands: Command[]): {
  tell(request: Request, reply: Partial<Reply>, floor?: number): void;
  commit(entry: Entry): void;
} {
  const history = new History(() => true);
  const sent: Attempt[] = [];
  const send = (request: Request): Attempt => {
    const fixed = { id: 1, client: "c1", calledAt: 0, floor: 0, returnedAt: null, index: 0 };
    const attempt: Attempt = { ...fixed, request, outcome: "open" };
    history.onCall(attempt);
    sent.push(attempt);
    return attempt;
  };
  for (const command of commands) send(command as Request);
  for (const entry of chain(...commands)) history.onCommitted(entry);
  return {
    tell(request, reply, floor = 0) {
      const text = JSON.stringify(request);
      const attempt = sent.find((one) => JSON.stringify(one.request) === text) ?? send(request);
      attempt.floor = floor;
      history.onReply(attempt, { ok: true, ...reply } as Reply, 1);
    },
    commit: (entry) => history.onCommitted(entry),
  };
}

function refusal(code: string, version?: number): Partial<Reply> {
  return { ok: false, error: { code, definite: true, ...(version === undefined ? {} : { version }) } };
}

const two = [put("a", "1"), put("a", "2")] as const;
const get: Request = { op: "get", key: "a" };

Deno.test("History.onReply() accepts a read of the newest value, and of an older one only with an older index", () => {
  const { tell } = history(...two);
  tell(get, { found: true, value: "2", version: 2, index: 2 });
  tell(get, { found: true, value: "1", version: 1, index: 1 });
  tell({ op: "get", key: "b" }, { found: false, index: 2 });
});

Deno.test("History.onReply() finds a read that is older than what was known before it (I11)", () => {
  const { tell } = history(...two);
  assertViolates("I11", () => tell(get, { found: true, value: "1", version: 1, index: 1 }, 2));
  tell({ ...get, consistency: "stale" }, { found: true, value: "1", version: 1, index: 1 }, 2);
});

Deno.test("History.onReply() finds a value that was not there, a wrong version, and what is not committed (I11)", () => {
  const { tell } = history(...two);
  assertViolates("I11", () => tell(get, { found: true, value: "1", version: 1, index: 2 }));
  assertViolates("I11", () => tell(get, { found: true, value: "2", version: 1, index: 2 }));
  assertViolates("I11", () => tell(get, { found: false, index: 2 }));
  assertViolates("I11", () => tell(get, { found: true, value: "3", version: 3, index: 3 }));
});

Deno.test("History.onReply() finds an acknowledged write that is not the committed entry (I9)", () => {
  const { tell } = history(...two);
  tell({ op: "put", key: "a", value: "2" }, { index: 2, version: 2 });
  assertViolates("I9", () => tell({ op: "put", key: "a", value: "2" }, { index: 1, version: 1 }));
  assertViolates("I11", () => tell({ op: "put", key: "a", value: "3" }, { index: 3, version: 3 }));
});

Deno.test("History.onReply() finds a session write that was acknowledged as its second entry (I10)", () => {
  const write = put("a", "1", { session: "1", seq: 1 });
  const { tell } = history({ op: "session" }, write, write);
  const request: Request = { op: "put", key: "a", value: "1", session: "1", seq: 1 };
  tell(request, { index: 2, version: 2 });
  assertViolates("I10", () => tell(request, { index: 3, version: 3 }));
});

Deno.test("History.onReply() finds a failed condition that held, and a version that was not there", () => {
  const { tell } = history(put("a", "1"), put("a", "2", { ifVersion: 7 }));
  const request: Request = { op: "put", key: "a", value: "2", ifVersion: 7 };
  const failed = (version: number): Partial<Reply> => refusal("conditionFailed", version);
  tell(request, failed(1));
  assertViolates("I11", () => tell(request, failed(2)));
  assertViolates("replies", () => tell(request, failed(7)));
  assertViolates("I9", () => tell(request, { index: 2, version: 2 }));
});

Deno.test("History finds a write that was refused for certain and happened all the same, before or after", () => {
  const refused = refusal("notLeader");
  const { tell, commit } = history(...two);
  assertViolates("replies", () => tell({ op: "put", key: "a", value: "2" }, refused));
  tell({ op: "put", key: "a", value: "3" }, refused);
  assertViolates("replies", () => commit(chain(...two, put("a", "3"))[2]!));
});

Deno.test("History finds more entries of a session's write than lines that may have made one", () => {
  const write: Request = { op: "increment", key: "n", by: "1", session: "1", seq: 1 };
  const command = write as Command;
  const { tell, commit } = history({ op: "session" }, command, command);
  tell({ ...write, session: "9" }, refusal("busy"));
  tell(write, refusal("seqTooOld"));
  assertViolates("replies", () => commit(chain({ op: "session" }, command, command, command)[3]!));
  const { tell: tellOther } = history({ op: "session" }, command, command);
  assertViolates("replies", () => tellOther(write, refusal("noLeader")));
});

Deno.test("History.onReply() finds a condition that failed before its entry was committed", () => {
  const { tell } = history(put("a", "1"));
  const request: Request = { op: "put", key: "a", value: "2", ifVersion: 7 };
  assertViolates("replies", () => tell(request, refusal("conditionFailed", 1)));
});

Deno.test("History.onReply() finds a list with a key too many, too few or out of order (I11)", () => {
  const { tell } = history(put("\u{1f511}", "1"), put("\uffee", "2"));
  const entry = (key: string, value: string, version: number): NonNullable<Reply["entries"]>[0] => ({
    key,
    value,
    version,
  });
  const [last, first] = [entry("\u{1f511}", "1", 1), entry("\uffee", "2", 2)];
  const list = (entries: Reply["entries"], limit = 5, next: string | null = null): void =>
    tell({ op: "list", prefix: "", limit }, { entries: entries!, index: 2, next });
  list([first, last]);
  list([first], 1, "\u{1f511}");
  assertViolates("I11", () => list([last, first]));
  assertViolates("I11", () => list([first]));
  assertViolates("I11", () => list([first], 1));
  assertViolates("I11", () => list([first, last, last]));
});
