/**
 * Members whose disk lost something (DESIGN 4, ARCHITECTURE "Lost folders"). A folder that was wiped, or found damaged,
 * has a new *incarnation*, a name that no configuration knows. Its node may have voted, or acknowledged entries, and
 * not know it any more. So it *abstains*: it takes entries and snapshots, and applies them, but neither votes, nor
 * acknowledges, nor confirms reads, nor stands for election. The leader proposes a configuration with the new
 * incarnation; once that is committed, by a majority of all members of whom the abstaining ones do not count, and has
 * reached the node itself, it is a member like any other.
 *
 * ```text
 *    lost something           leader hears of it                     committed, and in its own log
 *    abstains  ------------>  configuration with the new incarnation  ------------------------>  admitted
 * ```
 *
 * Why that is safe: let the old incarnation have voted for a rival, or acknowledged an entry e. The configuration entry
 * c is on a majority M, this node not among them, and behind everything that the old incarnation acknowledged to
 * c's leader. A rival that won with the forgotten vote was voted for by a majority R, which shares a node other than
 * this one with M. That node either had c before it was asked, and refused the shorter log; or it voted first, and was
 * then in a later term, and could not acknowledge c. And e is lost only if a leader without it is elected; whoever
 * counts this node's new vote has c, or the node would refuse its shorter log, and so has e.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { proposeConfiguration } from "./membership.ts";
import type { ConfigurationDurable } from "./messages.ts";
import { newProgress } from "./progress.ts";
import { abstains, type Leader, type State } from "./state.ts";
import type { Configuration, NodeId } from "./types.ts";

/** Whether `configuration` names this very folder. */
export function namesThis(state: State, configuration: Configuration): boolean {
  const { id, incarnation } = state.options;
  return configuration.members.some((member) => member.id === id && member.incarnation === incarnation);
}

/**
 * Ends the abstaining once a configuration names this folder, is committed, and is durable here: a node that forgot the
 * entry and not the admission would vote for logs without it. The founding entry needs neither, because all have it.
 * Not the newest in the log: that may admit another member, and need this one's acknowledgement to be committed.
 */
export function noteAdmission(state: State): void {
  const { log } = state;
  if (!abstains(state) || log.lastIndex === 0) return;
  const { configuration, configurationIndex } = log.snapshotAt(Math.max(state.commitIndex, 1));
  if (configurationIndex === 0 || !namesThis(state, configuration)) return;
  const isDurable =
    configurationIndex <= Math.max(state.durableConfigurationIndex, log.base.configurationIndex);
  if (configurationIndex > 1 && !isDurable) return;
  state.admittedIndex = configurationIndex;
  state.hardStateChanged = true;
}

/** A configuration entry is durable; if it was cut again meanwhile, that says nothing. */
export function onConfigurationDurable(
  state: State,
  { configurationIndex, crc }: ConfigurationDurable,
): void {
  const isThere = configurationIndex > state.log.base.index && configurationIndex <= state.log.lastIndex;
  if (isThere && state.log.crcAt(configurationIndex) === crc) {
    state.durableConfigurationIndex = configurationIndex;
  }
}

/**
 * A process of another member was started, on the folder `incarnation`. What its predecessor said of its log counts no
 * more: if the folder lost its end, only the new process knows.
 */
export function onPeerStarted(state: State, id: NodeId, incarnation: string): void {
  state.peerIncarnations.set(id, incarnation);
  const { role: leader } = state;
  if (leader.name !== "leader" || !leader.progress.has(id)) return;
  const { lastContactTick } = leader.progress.get(id)!;
  leader.progress.set(id, newProgress(state.log.lastIndex, lastContactTick));
}

/** A leader proposes the new incarnation of a member that told it that it abstains; one at a time. */
export function admitAbstaining(state: State, leader: Leader): void {
  const { configuration } = state.log;
  for (const member of configuration.members) {
    const incarnation = state.peerIncarnations.get(member.id);
    const progress = leader.progress.get(member.id);
    assert(progress !== undefined, "a leader has a progress for each member");
    if (!progress.abstains || incarnation === undefined || incarnation === member.incarnation) continue;
    const members = configuration.members.map((one) => one === member ? { ...member, incarnation } : one);
    if (typeof proposeConfiguration(state, { ...configuration, members }) !== "string") return;
  }
}
