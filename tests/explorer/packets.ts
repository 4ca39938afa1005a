/**
 * What is on its way between nodes, each numbered once, so that a network in a state is a list of numbers.
 *
 * @module
 */

import type { Message } from "../../lib/raft/messages.ts";
import type { NodeId } from "../../lib/raft/types.ts";
import { renamings } from "./renaming.ts";

/** A message, or the news that the process of `from` was started anew. */
export type Packet = Message | { type: "started"; from: NodeId; to: NodeId };

/** A packet without its sender and receiver. */
export type Content = DistributiveOmit<Packet>;
type DistributiveOmit<T> = T extends Packet ? Omit<T, "from" | "to"> : never;

/** A pair of nodes as a number below 16. */
const pairOf = (from: NodeId, to: NodeId): number => from * 4 + to;

/** For each renaming what becomes of each pair. */
const renamedPairs = renamings.map((renaming) =>
  Array.from({ length: 16 }, (_, pair) => pairOf(renaming[pair >> 2]!, renaming[pair & 3]!))
);

/** Gives packets their numbers. */
export class Packets {
  readonly #contents: Content[] = [];
  readonly #numbers = new Map<string, number>();

  /** The number of a packet. Its lowest bits are sender and receiver. */
  numberOf({ from, to, ...content }: Packet): number {
    const key = JSON.stringify(content, (name, value) => name === "entries" ? value.map(crcOf) : value);
    let number = this.#numbers.get(key);
    if (number === undefined) {
      this.#numbers.set(key, number = this.#contents.length);
      this.#contents.push(content);
    }
    return number * 16 + pairOf(from, to);
  }

  /** What a packet says. */
  contentOf(number: number): Content {
    return this.#contents[number >> 4]!;
  }

  /** The packet with a number. */
  at(number: number): Packet {
    return { ...this.contentOf(number), from: senderOf(number), to: receiverOf(number) } as Packet;
  }
}

/** Who sent it. */
export function senderOf(packet: number): NodeId {
  return (packet >> 2) & 3;
}

/** Whom it is for. */
export function receiverOf(packet: number): NodeId {
  return packet & 3;
}

/** The same packet after the nodes were exchanged. */
export function renamed(packet: number, renaming: number): number {
  return (packet & ~15) | renamedPairs[renaming]![packet & 15]!;
}

function crcOf({ crc }: { crc: number }): number {
  return crc;
}
