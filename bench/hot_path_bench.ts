/**
 * What a write costs a node, step by step and without disk or network: its entry made and checked, its line cut out of
 * a stream, its way through the protocol of three nodes, its change of the store. Run with `deno task bench`.
 *
 * @module
 */

import { findPlainPut } from "../lib/kv/plain_put.ts";
import { Store } from "../lib/kv/store.ts";
import { parseAny, parseRequest } from "../lib/protocol/client_protocol.ts";
import { LineSplitter } from "../lib/protocol/lines.ts";
import { decodeEntry, isSealed, makeEntry, readEntry } from "../lib/raft/entry.ts";
import { Raft } from "../lib/raft/raft.ts";
import { defaultLimits } from "../lib/server/options.ts";

const value = "x".repeat(256);
const command = { op: "put", key: "key00000000", value } as const;
const encoder = new TextEncoder();

const entry = makeEntry({ index: 7, term: 3, kind: "command", command, prevCrc: 0 });

Deno.bench("makeEntry() of a put of 256 bytes", () => {
  makeEntry({ index: 7, term: 3, kind: "command", command, prevCrc: 0 });
});

const text = encoder.encode(JSON.stringify(command));

/** The same as a leader has it: by its bytes, borrowed from the request. */
function plainPut() {
  const put = findPlainPut(text, 0);
  if (put === null) throw new Error("it is a plain put");
  return put;
}

Deno.bench("findPlainPut() and makeEntry() of the same by its bytes", () => {
  makeEntry({ index: 7, term: 3, kind: "command", command: plainPut(), prevCrc: 0 });
});

Deno.bench("isSealed(), its checksum", () => {
  if (!isSealed(entry.line)) throw new Error("the line is whole");
});

Deno.bench("readEntry(), as a follower does", () => {
  if (typeof readEntry(entry.line, findPlainPut) === "string") throw new Error("the line is whole");
});

Deno.bench("decodeEntry(), as a follower does when it is no plain put", () => {
  if (typeof decodeEntry(entry.line) === "string") throw new Error("the line is whole");
});

const request = encoder.encode(JSON.stringify({ ...command, id: 1 }) + "\n");
const lines = 100;
const chunk = new Uint8Array(request.length * lines);
for (let i = 0; i < lines; i++) chunk.set(request, i * request.length);

Deno.bench("LineSplitter.push() of 100 requests in one piece", () => {
  let count = 0;
  new LineSplitter(8 << 20).push(chunk, () => void count++);
  if (count !== lines) throw new Error("a line is missing");
});

Deno.bench("LineSplitter.push() of 100 requests in pieces of 1,000 bytes", () => {
  const splitter = new LineSplitter(8 << 20);
  let count = 0;
  for (let at = 0; at < chunk.length; at += 1000) {
    splitter.push(chunk.subarray(at, at + 1000), () => void count++);
  }
  if (count !== lines) throw new Error("a line is missing");
});

Deno.bench("parseRequest() of one", () => {
  if (parseRequest(request, defaultLimits).op !== "put") throw new Error("it is a put");
});

Deno.bench("parseAny(), the same when it is no plain put", () => {
  if (parseAny(request, defaultLimits).op !== "put") throw new Error("it is a put");
});

/** Three nodes whose disks and network take no time. */
class InstantCluster {
  readonly nodes: Raft[];
  committed = 0;

  constructor() {
    const ids = [1, 2, 3];
    const members = ids.map((id) => ({ id, address: `127.0.0.1:${id}`, incarnation: "0123456789abcdef" }));
    const { appendBytesMax, inflightBytesMax, uncommittedBytesMax, committedEntriesMax } = defaultLimits;
    this.nodes = ids.map((id) => {
      const raft = new Raft({
        id,
        incarnation: "0123456789abcdef",
        electionTimeoutTicks: { min: 10, max: 20 },
        heartbeatTicks: 2,
        appendBytesMax,
        inflightBytesMax,
        uncommittedBytesMax,
        committedEntriesMax,
        random: () => 0,
      }, { hardState: { currentTerm: 0, votedFor: null, admittedIndex: 0 }, snapshot: null, entries: [] });
      raft.found({ members });
      return raft;
    });
    this.nodes[0]!.campaign();
    this.run();
  }

  /** Carries everything out until nobody wants anything more. */
  run(): void {
    for (let isBusy = true; isBusy;) {
      isBusy = false;
      for (const node of this.nodes) {
        const ready = node.takeReady();
        if (ready === null) continue;
        isBusy = true;
        this.committed += ready.committed.length;
        for (const message of [...ready.messages, ...ready.write?.messages ?? []]) {
          this.nodes[message.to - 1]!.receive(message);
        }
      }
    }
  }
}

for (const count of [1, 64]) {
  let cluster = new InstantCluster();
  Deno.bench(`Raft: ${count} proposed, replicated and committed by three nodes`, (b) => {
    if (cluster.nodes[0]!.lastIndex > 100_000) cluster = new InstantCluster(); // the log is kept in memory
    const before = cluster.committed;
    b.start();
    for (let i = 0; i < count; i++) cluster.nodes[0]!.propose(command);
    cluster.run();
    b.end();
    if (cluster.committed - before < count) throw new Error("a command is not committed");
  });
}

const keys = 100_000;
const store = new Store();
let index = 0;
for (; index < keys; index++) store.apply({ ...command, key: `key${index}` }, index + 1);

Deno.bench("Store.apply() of a put over 100,000 keys", () => {
  store.apply({ op: "put", key: `key${index % keys}`, value }, ++index);
});

const texts = Array.from(
  { length: keys },
  (_, i) => encoder.encode(JSON.stringify({ ...command, key: `key${i}` })),
);

Deno.bench("findPlainPut() and Store.apply() of a put over 100,000 keys", () => {
  store.apply(findPlainPut(texts[index % keys]!, 0)!, ++index);
});

const session = store.apply({ op: "session" }, ++index) as { session: string };
let seq = 0;

Deno.bench("Store.apply() of a put in a session", () => {
  store.apply({ op: "put", key: `key${index % keys}`, value, session: session.session, seq: ++seq }, ++index);
});

Deno.bench("Store.get()", () => {
  if (store.get("key77777") === undefined) throw new Error("the key is there");
});
