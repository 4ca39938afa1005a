/**
 * Every message comes in here: it is looked at, a later term is entered, and the part of the protocol that it belongs
 * to handles it.
 *
 * @module
 */

import { hasLiveLeader, onRequestVote, onRequestVoteResponse } from "./election.ts";
import { onConfigurationDurable } from "./incarnations.ts";
import { inspect } from "./inspection.ts";
import type { Message } from "./messages.ts";
import { onReadIndexRequest, onReadIndexResponse } from "./reads.ts";
import { onAppendEntries, onAppendEntriesResponse, onContactResponse } from "./replication.ts";
import { onInstallSnapshot, onInstallSnapshotResponse } from "./snapshotting.ts";
import { becomeFollower, type State } from "./state.ts";
import { onTimeoutNow } from "./transfer.ts";

/** Handles a message; a text says why it was refused, and then nothing has changed. */
export function receive(state: State, message: Message): string | null {
  const refusal = inspect(state, message);
  if (refusal !== null) return refusal;
  if (message.type === "termDurable") {
    state.durableTerm = Math.max(state.durableTerm, message.term);
    return null;
  }
  if (message.type === "configurationDurable") {
    onConfigurationDurable(state, message);
    return null;
  }
  if (message.term > state.currentTerm && !meetTerm(state, message)) return null;
  const isOld = message.term < state.currentTerm;
  switch (message.type) {
    case "requestVote":
      onRequestVote(state, message);
      break;
    case "requestVoteResponse":
      onRequestVoteResponse(state, message);
      break;
    case "appendEntries":
      return onAppendEntries(state, message);
    case "appendEntriesResponse":
      if (!isOld) onAppendEntriesResponse(state, message);
      break;
    case "contactResponse":
      if (!isOld) onContactResponse(state, message);
      break;
    case "installSnapshot":
      return onInstallSnapshot(state, message);
    case "installSnapshotResponse":
      if (!isOld) onInstallSnapshotResponse(state, message);
      break;
    case "readIndexRequest":
      onReadIndexRequest(state, message);
      break;
    case "readIndexResponse":
      if (!isOld) onReadIndexResponse(state, message);
      break;
    case "timeoutNow":
      onTimeoutNow(state, message);
      break;
  }
  return null;
}

/** A later term: this node enters it, unless the message only asks or must not disturb. False: drop the message. */
function meetTerm(state: State, message: Message): boolean {
  if (message.type === "requestVote") {
    if (message.preVote) return true;
    if (!message.leadershipTransfer && hasLiveLeader(state, message.from)) return false;
  }
  if (message.type === "requestVoteResponse" && message.preVote && message.voteGranted) return true;
  const isOfLeader = message.type === "appendEntries" || message.type === "installSnapshot";
  becomeFollower(state, message.term, isOfLeader ? message.from : null);
  return true;
}
