/**
 * Liveness: a majority of the nodes, the core, is well and can hear each other; what is wrong with the others then
 * stays so for good. Safety says that nothing bad happens; this says that something good does: the core must go on serving,
 * whatever those outside of it say, half say or do not hear.
 *
 * @module
 */

import type { Cluster, Node } from "./cluster.ts";
import type { Random } from "./random.ts";

/** What is wrong with a node outside of the core. */
const fates = ["down", "paused", "isolated", "deaf", "mute", "half connected", "slow", "left alone"] as const;

/** How often each fate came about. */
export type Fates = Record<typeof fates[number], number>;

/** A majority that can vote, at random, and some more. Null: the cluster has no majority without all of its nodes. */
export function drawCore(cluster: Cluster, random: Random): Node[] | null {
  const { nodes } = cluster;
  const majority = Math.floor(nodes.length / 2) + 1;
  if (majority === nodes.length || !cluster.isFounded) return null;
  const whole = random.shuffled(nodes.filter((node) => !node.hasLost));
  const rest = [...whole.slice(majority), ...nodes.filter((node) => node.hasLost)];
  const more = random.shuffled(rest).slice(0, random.below(rest.length));
  return [...whole.slice(0, majority), ...more];
}

/** Draws what is wrong with those outside of the core, and sees to it. Returns what mends it. */
export function breakForGood(
  cluster: Cluster,
  { core, random, fates: count }: { core: readonly Node[]; random: Random; fates: Fates },
): () => void {
  const undo = cluster.nodes.filter((node) => !core.includes(node)).map((node) => {
    const fate = random.pick(fates);
    count[fate]++;
    cluster.world.note(node.machine.name, `is outside of the core: ${fate}`);
    const [one, ...others] = random.shuffled(core.map(({ machine }) => machine.name));
    const { name, disk } = node.machine;
    const into = [one!, ...others].map((other): [string, string] => [other, name]);
    const outOf = [one!, ...others].map((other): [string, string] => [name, other]);
    switch (fate) {
      case "down":
        cluster.crash(node, random.pick(["kill", "power"]));
        return () => {};
      case "paused":
        node.machine.pause();
        return () => node.machine.resume();
      case "isolated":
        return cluster.world.cut([...into, ...outOf]);
      case "deaf":
        return cluster.world.cut(into);
      case "mute":
        return cluster.world.cut(outOf);
      case "half connected":
        return cluster.world.cut([[one!, name], [name, one!]]);
      case "slow":
        disk.slowness = 200;
        return () => {
          disk.slowness = 1;
        };
      case "left alone":
        return () => {};
    }
  });
  return () => {
    for (const mend of undo) mend();
  };
}

/** A count of each fate, for `breakForGood`. */
export function noFates(): Fates {
  return Object.fromEntries(fates.map((fate) => [fate, 0])) as Fates;
}

/**
 * Whether the core agrees under a leader of its own. With `mayFollow` a leader from outside serves as well, which a
 * majority follows; not all of the core may reach it.
 */
export function isSettled(cluster: Cluster, core: readonly Node[], mayFollow: boolean): boolean {
  const { leader, nodes } = cluster;
  if (leader === null) return false;
  if (core.includes(leader)) return cluster.agree(core);
  const { currentTerm } = leader.server!.raft;
  const followers = nodes.filter(({ server, machine }) =>
    !machine.life?.paused && server?.raft.leaderId === leader.id && server.raft.currentTerm === currentTerm
  );
  return mayFollow && followers.length * 2 > nodes.length;
}
