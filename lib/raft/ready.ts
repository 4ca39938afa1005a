/**
 * What goes out: all that the steps since the last time want written, and what they committed.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { abstains, type State } from "./state.ts";
import type { Entry, Write } from "./types.ts";

/** One unit of work for the disk, or null. */
export function takeWrite(state: State): Write | null {
  const { log, options, currentTerm: term } = state;
  const entries = log.slice(state.unwrittenIndex, log.lastIndex);
  const { outboxAfterWrite: messages, chunks, installed: snapshot } = state;
  const isNothing = !state.hardStateChanged && entries.length + messages.length + chunks.length === 0;
  if (isNothing && snapshot === null) return null;
  const { id } = options;
  const { votedFor, admittedIndex } = state;
  const hardState = state.hardStateChanged ? { currentTerm: term, votedFor, admittedIndex } : null;
  if (hardState !== null) messages.unshift({ type: "termDurable", from: id, to: id, term });
  if (entries.length > 0 && state.role.name === "leader") {
    // The leader acknowledges through its own disk, like a follower (etcd-io/etcd #14370).
    const answer = {
      success: true,
      prevLogIndex: 0,
      matchIndex: log.lastIndex,
      conflictIndex: 0,
      conflictTerm: 0,
      abstains: abstains(state),
    };
    messages.push({ type: "appendEntriesResponse", from: id, to: id, term, ...answer });
  }
  const configurations = abstains(state) ? entries.filter(({ kind }) => kind === "configuration") : [];
  for (const { index: configurationIndex, crc } of configurations) {
    messages.push({ type: "configurationDurable", from: id, to: id, term, configurationIndex, crc });
  }
  state.hardStateChanged = false;
  state.unwrittenIndex = log.lastIndex + 1;
  state.outboxAfterWrite = [];
  state.chunks = [];
  state.installed = null;
  return { hardState, chunks, snapshot, entries, messages };
}

/** Newly committed entries, each exactly once; not too many at a time. */
export function takeCommitted(state: State): Entry[] {
  assert(state.commitIndex <= state.log.lastIndex, "what is committed is in the log");
  state.log.pack(state.handedOutIndex); // what was handed out before is applied
  const last = Math.min(state.commitIndex, state.handedOutIndex + state.options.committedEntriesMax);
  if (last === state.handedOutIndex) return [];
  const committed = state.log.slice(state.handedOutIndex + 1, last);
  state.handedOutIndex = last;
  return committed;
}
