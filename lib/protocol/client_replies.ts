/**
 * What the client port answers: replies, which begin with `ok`, and the events of watches, which do not.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { Change, Result, Stored } from "../kv/command.ts";
import type { ListedEntry, Page } from "../kv/list.ts";
import { errorMeanings, errorReply, refusedByStore, type RequestId } from "./errors.ts";
import { type Operation, operations } from "./operations.ts";

/** The answer to `get`. */
export interface GetReply {
  ok: true;
  found: boolean;
  value?: string;
  version?: number;
  /** Index of the last entry that the answer reflects. */
  index: number;
  /** Only for a key that goes by itself: milliseconds until then, as far as this node knows. */
  ttlMs?: number;
  /** Only for `stale`: how long ago this node last was up to date; null: not since its start. */
  ageMs?: number | null;
}

/** The answer to `list`. */
export interface ListReply {
  ok: true;
  /** As `get` would answer each, without what all have in common. */
  entries: { key: string; value?: string; version: number; ttlMs?: number }[];
  /** The cursor of the next page, or null. */
  next: string | null;
  index: number;
  ageMs?: number | null;
}

/** A good answer; `ok` comes first. */
export type Reply = { readonly ok: true };

/** What `get` answers for a key, present or not. */
export function getReply(
  found: Stored | undefined,
  { index, ageMs, logTime = 0 }: { index: number; ageMs?: number | null | undefined; logTime?: number },
): GetReply {
  const reply: GetReply = found === undefined
    ? { ok: true, found: false, index }
    : { ok: true, found: true, value: found.value, version: found.version, index };
  if (ageMs !== undefined) reply.ageMs = ageMs;
  if (found?.expiresAt !== undefined) reply.ttlMs = Math.max(0, found.expiresAt - logTime);
  return reply;
}

/** What `list` answers for a page. */
export function listReply(
  { entries, next }: Page,
  at: { index: number; ageMs?: number | null; logTime?: number },
): ListReply {
  const { logTime = 0, ...moment } = at;
  const told = entries.map(({ key, value, version, expiresAt }) => {
    const entry = value === undefined ? { key, version } : { key, value, version };
    return expiresAt === undefined ? entry : { ...entry, ttlMs: Math.max(0, expiresAt - logTime) };
  });
  return { ok: true, entries: told, next, ...moment };
}

/** What `watch` answers. The events come after it. */
export interface WatchReply {
  ok: true;
  /** The number of the watch on its connection. */
  watch: number;
  /** The node has applied the log up to here. */
  index: number;
  /** This node does not know all changes that were asked for: `reset` comes first. Another one may know them. */
  reset?: true;
}

/** Why a watch begins anew with the present state: nobody knows any more what changed, or its client reads too slowly. */
export type ResetReason = "historyGone" | "slow";

/** The beginning of each event of a watch; behind it goes one of the tails that follow. */
export function eventHead(watch: number): string {
  return `{"watch":${watch},`;
}

/** A change, in the entry at `index`. `more`: other events of the same entry follow. */
export function changeTail(change: Change, index: number, more: boolean): string {
  const { type, key } = change;
  const value = change.type === "put" ? `"value":${JSON.stringify(change.value)},"version":${index},` : "";
  return `"type":"${type}","key":${JSON.stringify(key)},${value}"index":${index}${
    more ? ',"more":true' : ""
  }}\n`;
}

/** The state as it was at `index` follows, a `put` for each key, then `progress`, then what changed since. */
export function resetTail(index: number, reason: ResetReason): string {
  return `"type":"reset","index":${index},"reason":"${reason}"}\n`;
}

/** A key of the state that a reset announced. */
export function presentTail({ key, value, version }: ListedEntry, index: number): string {
  return `"type":"put","key":${JSON.stringify(key)},"value":${JSON.stringify(value)},` +
    `"version":${version},"index":${index},"more":true}\n`;
}

/** Everything up to `index` was told. */
export function progressTail(index: number): string {
  return `"type":"progress","index":${index}}\n`;
}

/** What `help` answers: all operations with examples, and what the error codes mean. */
export function helpReply(): Reply & { operations: Readonly<Record<string, Operation>>; errors: object } {
  const errors = Object.fromEntries(
    Object.entries(errorMeanings).map(([code, { meaning }]) => [code, meaning]),
  );
  return { ok: true, operations, errors };
}

/** The reply line of a good answer or of what the state machine answered. The server encodes many at once. */
export function encodeReply<R extends Reply>(
  id: RequestId,
  reply: R | Result,
  trace: object | null = null,
): string {
  if (!reply.ok) return errorReply(id, refusedByStore(reply as Result & { ok: false }), trace);
  const text = JSON.stringify(trace === null ? reply : { ...reply, trace });
  assert(text.startsWith(okField), "ok is the first field of a reply");
  if (id === undefined) return text + "\n";
  return `${okField},"id":${typeof id === "number" ? id : JSON.stringify(id)}${text.slice(okField.length)}\n`;
}

const okField = `{"ok":true`;
