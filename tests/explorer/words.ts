/**
 * What an exploration came to, in words.
 *
 * @module
 */

import type { Cluster } from "./cluster.ts";
import type { KnownLog } from "./logs.ts";
import type { Action, Outcome } from "./explorer.ts";
import type { Packet, Packets } from "./packets.ts";
import type { NodeState } from "./processes.ts";

/** The way to a violation, a line for each step, and the violation. */
export function describeWay({ way, violation }: Outcome, packets: Packets): string {
  const lines = way.map(({ action, before, after }, at) => {
    const [was, is] = [before, after].map(({ nodes }) => nodes[action.id - 1]!) as [NodeState, NodeState];
    const news = describeChange(was, is);
    return `${`${at + 1}`.padStart(4)}. ${describeAction(action, before, packets)}${news && `: ${news}`}`;
  });
  return [
    `VIOLATION after ${way.length} steps; no way is shorter`,
    `what must hold: ${violation!.promise}`,
    `what happened:  ${violation!.words}`,
    "how (logs as the terms of their entries, behind the founding one):",
    ...lines,
  ].join("\n");
}

function describeAction({ id, input, taken }: Action, { nodes }: Cluster, packets: Packets): string {
  const { role } = nodes[id - 1]!;
  switch (input.kind) {
    case "receive": {
      const extra = (input.isUnled ? ", having heard no leader for a while" : "") +
        (taken === null ? ", which will arrive once more" : "");
      return `node ${id} gets ${describePacket(packets.at(input.packet))}${extra}`;
    }
    case "unreachable":
      return `lost on the way to node ${input.peer}, and node ${id} notices: ${
        describePacket(packets.at(taken!))
      }`;
    case "timeout":
      return role === "leader"
        ? `node ${id} hears no majority`
        : `node ${id} waits in vain and asks for pre-votes`;
    case "heartbeat":
      return `node ${id} sends heartbeats`;
    case "propose":
      return `node ${id} is given command ${input.command}`;
    case "write":
      return `node ${id}'s oldest write is durable`;
    case "crash":
      return `node ${id} crashes and starts again`;
  }
}

function describePacket(packet: Packet): string {
  const { type, from, to: _to, ...fields } = packet;
  const shown = Object.entries(fields).flatMap(([name, value]) => {
    if (name === "entries") return value.length > 0 ? `entry ${value[0].index}/${value[0].term}` : [];
    const isNeedless = /Crc$|^(readRound|abstains|leadershipTransfer)$/.test(name) || value === false ||
      (value === 0 && /^(match|conflict)/.test(name));
    return isNeedless ? [] : value === true ? name : `${name} ${value}`;
  });
  return `${type}${shown.length > 0 ? ` (${shown.join(", ")})` : ""} from node ${from}`;
}

/** What is other in a node after a step. */
function describeChange(was: NodeState, is: NodeState): string {
  const facts = ({ role, term, votedFor, log, commitIndex, disk: { hardState }, diskLog }: NodeState) => [
    `${role} in term ${term}`,
    votedFor === null ? "no vote" : `votes for node ${votedFor}`,
    `log [${termsOf(log)}]`,
    `commitIndex ${commitIndex}`,
    `disk: term ${hardState.currentTerm}, vote ${hardState.votedFor ?? "none"}, log [${termsOf(diskLog)}]`,
  ];
  const before = facts(was);
  return facts(is).filter((fact, at) => fact !== before[at]).join(", ");
}

function termsOf({ entries }: KnownLog): string {
  return entries.slice(1).map(({ term }) => term).join(" ");
}

/** Figures of an exploration, in a line each. */
export function describeOutcome(outcome: Outcome, seconds: number): string {
  const { states, situations, transitions, depth, isComplete, nodeStates, nodeSteps } = outcome;
  const { withLeader, withCommit, withTwoLeaders, withCut } = outcome;
  const figures: [number, string][] = [
    [states, isComplete ? "distinct states: all there are" : "distinct states, and then it stopped"],
    [situations, "of them differ in more than in what may still happen within the bounds"],
    [transitions, "transitions"],
    [depth, "steps to the farthest state"],
    [nodeStates, "distinct states of single nodes"],
    [nodeSteps, "steps that the real Raft took between them"],
    [withLeader, "states had a leader"],
    [withTwoLeaders, "two leaders, of different terms"],
    [withCommit, "a committed entry"],
    [withCut, "a log that had just been cut because it conflicted"],
  ];
  const lines = figures.map(([value, name]) => `${value.toLocaleString("en").padStart(12)}  ${name}`);
  return [...lines, `${seconds.toFixed(1).padStart(12)}  seconds`].join("\n");
}
