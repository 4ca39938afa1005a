/**
 * What the operations of a client take and give.
 *
 * @module
 */

/** How a client behaves. */
export interface ConnectOptions {
  /** Bound on each operation, retries included, in milliseconds. 10,000 unless told otherwise. */
  timeoutMs?: number;
  /**
   * Whether writes go with a session, so that a retry happens once. True unless told otherwise. Without, a write whose
   * reply was lost throws `outcomeUnknown` at once.
   */
  sessions?: boolean;
  /** Ends the attempt to connect. */
  signal?: AbortSignal;
}

/** What every operation takes. */
export interface OperationOptions {
  /** Ends the wait for the answer; a write may still happen. */
  signal?: AbortSignal | undefined;
}

/** How to read a key. */
export interface GetOptions extends OperationOptions {
  /** "linearizable" sees every write that was answered before the read; "stale" answers at once, from any node. */
  consistency?: "linearizable" | "stale";
}

/** A key's value. */
export interface Found {
  /** The value. */
  value: string;
  /** Index of the write that made the value. */
  version: number;
  /** Log index that the answer reflects. */
  index: number;
  /** Milliseconds until the key goes by itself, as far as the node knows. Absent: it stays. */
  ttlMs?: number;
}

/** On what condition to remove a key. */
export interface DeleteOptions extends OperationOptions {
  /** Only if this is the key's version; 0: only if there is no such key. */
  ifVersion?: number;
  /** Only if this is the key's value. */
  ifValue?: string;
  /** Give the value before. */
  previous?: boolean;
}

/** On what condition to set a key, and for how long. */
export interface PutOptions extends DeleteOptions {
  /** The key goes by itself after so many milliseconds, from 1; without, it stays. Without loss at changes of the leader. */
  ttlMs?: number;
}

/** A key was set. */
export interface Written {
  /** Log index of the write. */
  index: number;
  /** The key's version from now on: equal to `index`, unless a retry got its first answer. */
  version: number;
  /** The value before, when asked for; null: there was none. */
  previous?: { value: string; version: number } | null;
}

/** A key is gone. */
export interface Deleted {
  /** Whether there was one. */
  deleted: boolean;
  /** Log index of the deletion. */
  index: number;
  /** The value before, when asked for; null: there was none. */
  previous?: { value: string; version: number } | null;
}

/** A key was added to. */
export interface Incremented {
  /** The sum, which is the key's value now. */
  value: bigint;
  /** The key's version from now on. */
  version: number;
  /** Log index of the write. */
  index: number;
}

/** Which keys to remove: those that meet every condition given, of which there must be one. */
export interface DeleteRangeOptions extends OperationOptions {
  /** Keys that begin with this; the empty text means all. */
  prefix?: string;
  /** This key and those after it. */
  start?: string;
  /** Keys before this one. */
  end?: string;
}

/** Keys are gone. */
export interface RangeDeleted {
  /** How many there were. */
  deleted: number;
  /** Log index of the last deletion. */
  index: number;
}

/** What to do at one moment, and on what condition. Each list has at most 128 items. */
export interface Transaction {
  /** What must hold; nothing unless told otherwise. */
  if?: readonly TransactionCondition[];
  /** What is done when it holds. */
  then: readonly TransactionOperation[];
  /** What is done when it does not; nothing unless told otherwise. */
  else?: readonly TransactionOperation[];
}

/** Holds when everything that it names does. */
export interface TransactionCondition {
  /** The key that it is about. */
  key: string;
  /** The key's version is this one; 0: there is no such key. */
  version?: number;
  /** The key's value is this one. */
  value?: string;
  /** Whether there is such a key. */
  exists?: boolean;
}

/** A part of a transaction. It sees what those before it did. `by` is an integer as decimal text. */
export type TransactionOperation =
  | { op: "put"; key: string; value: string; ttlMs?: number }
  | { op: "get"; key: string }
  | { op: "delete"; key: string }
  | { op: "increment"; key: string; by: string }
  | { op: "deleteRange"; prefix?: string; start?: string; end?: string };

/** A transaction was carried out. */
export interface Transacted {
  /** Whether the condition held, so that `then` was carried out; else `else` was. */
  succeeded: boolean;
  /** One for each operation that was carried out, in order. */
  results: TransactionResult[];
  /** Log index of the transaction. */
  index: number;
}

/** What an operation of a transaction answers, by its kind. */
export interface TransactionResult {
  /** Always true: had it failed, so would have the transaction. */
  ok: true;
  /** Of `get`: whether there is such a key. */
  found?: boolean;
  /** Of `get` and `increment`: the key's value. */
  value?: string;
  /** Of `put`, `get` and `increment`: the key's version. */
  version?: number;
  /** Of `delete`: whether there was such a key. Of `deleteRange`: how many there were. */
  deleted?: boolean | number;
}

/** Which keys to list: those that meet every condition given. */
export interface ListOptions extends OperationOptions {
  /** Keys that begin with this. */
  prefix?: string;
  /** This key and those after it. */
  start?: string;
  /** Keys before this one. */
  end?: string;
  /** Greatest key first. */
  reverse?: boolean;
  /** At most so many keys; all unless told otherwise. */
  limit?: number;
  /** "stale": the state at hand of any node, at once. */
  consistency?: "linearizable" | "stale";
}

/** Which keys to watch, and from when on: all, unless a key or a prefix is given. */
export interface WatchOptions extends OperationOptions {
  /** Only this key. */
  key?: string;
  /** Only keys that begin with this. Not beside `key`. */
  prefix?: string;
  /** Every change with an index above this one; those from now on unless told otherwise. */
  after?: number;
}

/**
 * What became of a watched key. `index` is that of the log entry that did it; all events of one entry but the last have
 * `more`. Between two events nothing is left out, except where a `reset` says so.
 */
export type WatchEvent =
  | { type: "put"; key: string; value: string; version: number; index: number; more?: true }
  | { type: "delete" | "expire"; key: string; index: number; more?: true }
  /**
   * Forget what was told: the present state follows, a `put` for each key, then `progress`. Nobody knew any more what
   * had changed ("historyGone"), or the events were taken too slowly ("slow").
   */
  | { type: "reset"; index: number; reason: "historyGone" | "slow" }
  /** Everything up to `index` was told. */
  | { type: "progress"; index: number };

/** One key of a list. */
export interface ListedEntry {
  /** The key. */
  key: string;
  /** Its value. */
  value: string;
  /** Index of the write that made the value. */
  version: number;
  /** Milliseconds until the key goes by itself, as far as the node knows. Absent: it stays. */
  ttlMs?: number;
}

/** A node about itself. */
export interface NodeStatus {
  /** Its id. */
  node: number;
  /** "follower", "candidate" or "leader". */
  role: string;
  /** Its current term. */
  term: number;
  /** Id of the leader that it knows, or null. */
  leader: number | null;
  /** Entries up to here are committed. */
  commitIndex: number;
  /** Entries up to here are applied. */
  appliedIndex: number;
  /** Entries up to here are in its log. */
  lastLogIndex: number;
  /** The last index in its newest snapshot; 0 before the first. */
  snapshotIndex: number;
  /** Whether its disk takes writes ("ok"), has no room ("full") or hangs ("stuck"), and up to where the log is on it. */
  disk: { state: string; durableIndex: number };
  /** Its folder lost something: it takes no part in decisions until it is admitted again. Absent otherwise. */
  abstains?: true;
  /** Milliseconds since it started. */
  uptimeMs: number;
  /** Version of the program that it runs. */
  version: string;
  /** More, by the version of the node. */
  [field: string]: unknown;
}
