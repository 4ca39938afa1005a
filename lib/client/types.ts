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

/** On what condition to set a key. */
export type PutOptions = DeleteOptions;

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
}

/** One key of a list. */
export interface ListedEntry {
  /** The key. */
  key: string;
  /** Its value. */
  value: string;
  /** Index of the write that made the value. */
  version: number;
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
  /** Milliseconds since it started. */
  uptimeMs: number;
  /** Version of the program that it runs. */
  version: string;
  /** More, by the version of the node. */
  [field: string]: unknown;
}
