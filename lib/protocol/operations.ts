/**
 * The operations of the client port as people see them: what each does, its fields, and an example that works. `help`
 * answers this table, errors quote it, and it decides which fields a request may have.
 *
 * @module
 */

/** One operation. */
export interface Operation {
  /** What it does, in a sentence. */
  readonly does: string;
  /** Its fields and what they mean, those aside that all have: `op`, `id` and `trace`. */
  readonly fields: Readonly<Record<string, string>>;
  /** A request that works as it stands. */
  readonly example: Readonly<Record<string, unknown>>;
}

const key = "text of 1 to 4096 bytes in UTF-8";
const once = {
  session: "with seq: however often this write is sent, it happens once; see the operation session",
  seq: "1, 2, 3, ...: the number of this write in its session",
};
const conditions = {
  ifVersion: "only if the key's version is this one; 0: only if the key does not exist",
  ifValue: "only if the key's value is this one",
  previous: "true: answer what was there before",
  ...once,
};
const consistency = `"linearizable" (default): no write that was answered before is missing; ` +
  `"stale": this node's present state, at once`;

/** All operations by name. */
export const operations = {
  put: {
    does: "Gives a key a value.",
    fields: {
      key,
      value: "text of at most 1 MiB in UTF-8",
      ttlMs: "the key goes by itself after so many milliseconds; without, it stays",
      ...conditions,
    },
    example: { op: "put", key: "color", value: "green" },
  },
  get: {
    does: "Answers the value of a key, and its version: the index of the write that made it.",
    fields: { key, consistency },
    example: { op: "get", key: "color" },
  },
  delete: {
    does: "Takes a key away.",
    fields: { key, ...conditions },
    example: { op: "delete", key: "color" },
  },
  list: {
    does: "Answers keys in the order of their UTF-8 bytes, and `next` when there are more.",
    fields: {
      prefix: "only keys that begin with this",
      start: "only this key and those after it",
      end: "only keys before this one",
      cursor: "`next` of the page before, sent to the same node: all pages show one moment",
      limit: "at most so many keys, 1 to 10000, default 1000",
      reverse: "true: greatest key first",
      keysOnly: "true: leave the values out",
      count: "true: answer only how many keys there are",
      consistency,
    },
    example: { op: "list", prefix: "user/", limit: 100 },
  },
  increment: {
    does: "Adds to a key's value, an integer as decimal text, and answers the sum; no such key counts as 0.",
    fields: { key, by: "an integer, or one of at most 1000 digits as a text; default 1", ...once },
    example: { op: "increment", key: "visits", by: "5" },
  },
  deleteRange: {
    does: "Takes all keys of a range away, at most 10000 at once; `more` then says to send the same again.",
    fields: {
      prefix: "only keys that begin with this; the empty text means all keys",
      start: "only this key and those after it",
      end: "only keys before this one",
      ...once,
    },
    example: { op: "deleteRange", prefix: "user/" },
  },
  txn: {
    does: "Carries out `then` if all of `if` holds, and `else` otherwise: all of it at once, or nothing.",
    fields: {
      if: "list of conditions, at most 128: a key with `version` (0: there is none), `value` or `exists`",
      then:
        "list of operations, at most 128: put, get, delete, increment, deleteRange, without id or conditions",
      else: "the same, for when a condition does not hold",
      ...once,
    },
    example: {
      op: "txn",
      if: [{ key: "color", exists: false }],
      then: [{ op: "put", key: "color", value: "green" }],
      else: [{ op: "get", key: "color" }],
    },
  },
  watch: {
    does:
      "Tells every change of a key, of all keys with a prefix, or of all, as lines that carry its number.",
    fields: {
      key: "only this key",
      prefix: "only keys that begin with this",
      after:
        "every change with an index above this one; without, those from now on. When nobody knows them any " +
        "more, `reset` and the present state come first",
    },
    example: { op: "watch", prefix: "user/" },
  },
  unwatch: {
    does: "Ends a watch of this connection.",
    fields: { watch: "the number that watch answered" },
    example: { op: "unwatch", watch: 1 },
  },
  session: {
    does: "Opens a session, in which numbered writes happen once however often they are sent.",
    fields: {},
    example: { op: "session" },
  },
  status: { does: "Answers how this node is doing.", fields: {}, example: { op: "status" } },
  members: { does: "Answers the nodes of the cluster.", fields: {}, example: { op: "members" } },
  ping: { does: "Answers at once.", fields: {}, example: { op: "ping" } },
  help: { does: "Answers this list.", fields: {}, example: { op: "help" } },
} satisfies Record<string, Operation>;

/** The name of an operation. */
export type OperationName = keyof typeof operations;

/** Whether there is an operation of that name. */
export function isOperation(name: unknown): name is OperationName {
  return typeof name === "string" && Object.hasOwn(operations, name);
}
