/**
 * The shapes of a broken network: which ways between hosts are cut.
 *
 * @module
 */

import type { Random } from "./random.ts";
import type { FaultKind } from "./scenario.ts";

/** From one host to another; the way back is a way of its own. */
export type Way = [from: string, to: string];

/** Some shapes need more nodes than there are; this one comes in their place. */
export function fitting(kind: FaultKind, nodes: number): FaultKind {
  const fit = kind === "ring" && nodes < 4 ? "bridge" : kind;
  return fit === "bridge" && nodes < 3 ? "isolate" : fit;
}

/** The ways that a fault of the network cuts. Its kind fits the number of nodes. */
export function drawCut(
  kind: FaultKind,
  { nodes, clients, target, leader, random }: {
    nodes: readonly string[];
    clients: readonly string[];
    /** The node that it is about, and the one that leads. */
    target: string;
    leader: string;
    random: Random;
  },
): Way[] {
  const names = random.shuffled(nodes);
  const everyone = [...names, ...clients];
  const one = kind === "isolateLeader" ? leader : target;
  const others = names.filter((name) => name !== one);
  switch (kind) {
    case "isolate":
    case "isolateLeader":
      return bothWays([one], nodes.length === 1 ? clients : others);
    case "cutClients":
      return random.chance(0.5) ? bothWays([one], clients) : clients.map((client): Way => [one, client]);
    case "oneWay": {
      const from = random.shuffled(everyone).slice(0, 1 + random.below(everyone.length - 1));
      const to = everyone.filter((name) => !from.includes(name));
      return random.chance(0.5)
        ? from.flatMap((a) => to.map((b): Way => [a, b]))
        : everyone.filter((name) => name !== one).map((a): Way => from.includes(one) ? [a, one] : [one, a]);
    }
    case "bridge": {
      // Two halves that only one node can talk to.
      const half = Math.ceil(others.length / 2);
      return bothWays(others.slice(0, half), others.slice(half));
    }
    case "ring":
      return ring(names);
    default: {
      const cut = 1 + random.below(everyone.length - 1);
      const mixed = random.shuffled(everyone);
      return bothWays(mixed.slice(0, cut), mixed.slice(cut));
    }
  }
}

/** Each node hears a majority, and no two hear the same one. */
function ring(names: readonly string[]): Way[] {
  const reach = Math.ceil((names.length - 1) / 4);
  const isFar = (i: number, j: number): boolean => {
    const apart = Math.abs(i - j);
    return Math.min(apart, names.length - apart) > reach;
  };
  return names.flatMap((a, i) => names.filter((_, j) => isFar(i, j)).map((b): Way => [a, b]));
}

/** Both ways between each of some hosts and each of the others. */
export function bothWays(left: readonly string[], right: readonly string[]): Way[] {
  return left.flatMap((a) => right.flatMap((b): Way[] => [[a, b], [b, a]]));
}
