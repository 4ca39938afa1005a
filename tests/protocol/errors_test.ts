import { assert, assertEquals } from "@std/assert";
import {
  busy,
  errorMeanings,
  errorReply,
  lineTooLong,
  noLeader,
  notLeader,
  outcomeUnknown,
  refusedByStore,
} from "../../lib/protocol/errors.ts";

Deno.test("errorReply() is one line with ok, id, code, message, definite and the details, in this order", () => {
  assertEquals(
    errorReply(7, { code: "busy", message: "full", details: { retryAfterMs: 50 } }),
    '{"ok":false,"id":7,"error":{"code":"busy","message":"full","definite":true,"retryAfterMs":50}}\n',
  );
  assertEquals(
    errorReply(undefined, { code: "outcomeUnknown", message: "line\nbreak" }),
    '{"ok":false,"error":{"code":"outcomeUnknown","message":"line\\nbreak","definite":false}}\n',
  );
  assertEquals(JSON.parse(errorReply('a"\n', noLeader())).id, 'a"\n');
});

Deno.test("errorReply() calls only a write whose outcome nobody saw indefinite", () => {
  const indefinite = Object.entries(errorMeanings).filter(([, { definite }]) => !definite).map(([code]) =>
    code
  );
  assertEquals(indefinite, ["outcomeUnknown"]);
});

Deno.test("notLeader() and the other errors of a node name the thing and the way out", () => {
  const there = notLeader({ id: 2, address: "127.0.0.1:9081" });
  assertEquals(there.details, { leader: { id: 2, address: "127.0.0.1:9081" } });
  assert(there.message.includes("node 2 at 127.0.0.1:9081"));
  assertEquals(notLeader(null).details, { leader: null });
  assertEquals(busy("this node holds 1024 requests of this connection", 20), {
    code: "busy",
    message: "this node holds 1024 requests of this connection: send the request again in 20 ms",
    details: { retryAfterMs: 20 },
  });
  assertEquals(lineTooLong(100).details, { limit: 100 });
  assert(outcomeUnknown(true).message.includes("same session and seq"));
  assert(outcomeUnknown(false).message.includes("look with get"));
});

Deno.test("refusedByStore() says what the state machine found", () => {
  const failed = refusedByStore({ ok: false, code: "conditionFailed", version: 7 });
  assertEquals(failed.details, { version: 7 });
  assert(failed.message.includes("present version is 7"));
  const missing = refusedByStore({ ok: false, code: "conditionFailed", version: 0 });
  assert(missing.message.includes("does not exist"));
  const old = refusedByStore({ ok: false, code: "seqTooOld", session: "5", seq: 1, oldest: 3 });
  assertEquals(old.details, { oldest: 3 });
  assert(
    refusedByStore({ ok: false, code: "sessionExpired", session: "5" }).message.includes('{"op":"session"}'),
  );
});

Deno.test("errorReply() has no code that PROTOCOL.md does not explain, and none with another definite", async () => {
  const text = await Deno.readTextFile(new URL("../../PROTOCOL.md", import.meta.url));
  const rows = [...text.matchAll(/^\| `(\w+)` +\| (yes|no) +\|/gm)].map((
    [, code, definite],
  ) => [code, definite]);
  const expected = Object.entries(errorMeanings).map((
    [code, { definite }],
  ) => [code, definite ? "yes" : "no"]);
  assertEquals(rows, expected);
});

Deno.test("errorReply() has no code of which PROTOCOL.md gives no example, in the order of the table", async () => {
  const text = await Deno.readTextFile(new URL("../../PROTOCOL.md", import.meta.url));
  const examples = [...text.matchAll(/^> .+\n< \{"ok":false,.*?"error":\{"code":"(\w+)"/gm)].map(([, code]) =>
    code
  );
  assertEquals(examples, Object.keys(errorMeanings));
});
