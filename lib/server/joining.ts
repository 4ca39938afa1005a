/**
 * A node's way into its cluster: the steps of the founding, and of a folder that lost something the wait to be admitted
 * again; and what the other nodes are told of it.
 *
 * @module
 */

import type { Raft } from "../raft/raft.ts";
import { FolderError, type Storage } from "../storage/storage.ts";
import { describeHopeless, type NodeIdentity } from "./identity.ts";
import type { LogWriter } from "./log_writer.ts";
import type { ServerOptions } from "./options.ts";
import type { PeerLinks } from "./peer_links.ts";

/** What the server lends. */
export interface JoiningNode {
  readonly raft: Raft;
  readonly identity: NodeIdentity;
  readonly storage: Storage;
  readonly writer: LogWriter;
  readonly links: PeerLinks;
  /** The core has something to say. */
  wake(): void;
  stop(error: Error): void;
}

/** Nothing may have changed for so long, and for so many election timeouts, before a node gives up. */
const hopeless = { ms: 10_000, timeouts: 20 };

/** Brings the node on, and tells the others. */
export class Joining {
  readonly #options: ServerOptions;
  readonly #node: JoiningNode;
  /** What the others were told last. */
  #announced: { admitted: number; hasRoom: boolean };
  /** Since when too many members are known to abstain; null: they are not. */
  #lostSince: number | null = null;

  constructor(options: ServerOptions, node: JoiningNode) {
    this.#options = options;
    this.#node = node;
    this.#announced = { admitted: node.storage.hardState.admittedIndex, hasRoom: true };
  }

  /** Brings the founding of the cluster on as far as it goes. Each durable step is announced and leads to the next. */
  takeFoundingStep(): void {
    const { raft, identity, storage, writer, links, wake, stop } = this.#node;
    const step = identity.nextStep(links.liveHellos());
    if (step === null) return;
    switch (step.do) {
      case "stop":
        return stop(step.error);
      case "save":
        return writer.whenIdle((done) => storage.saveIdentity(identity.record, done), () => {
          identity.isSaved();
          links.announce();
          this.takeFoundingStep();
        });
      case "founded":
        links.announce();
        wake();
        return this.takeFoundingStep();
      case "campaign":
        raft.campaign();
        return wake();
    }
  }

  /**
   * When so many members have lost something that nobody can be admitted again any more, those that have stop. The
   * others stay, for what they have.
   */
  onTick(now: number): void {
    // Of all that were heard: the first one that stops must not keep the others waiting for it.
    const lost = this.#node.identity.lostMembers(this.#node.links.lastHellos());
    if (lost.length === 0) this.#lostSince = null;
    else this.#lostSince ??= now;
    const patienceMs = Math.max(hopeless.ms, hopeless.timeouts * this.#options.timing.electionTimeoutMaxMs);
    if (this.#lostSince === null || now - this.#lostSince < patienceMs) return;
    this.#lostSince = Infinity; // said once
    if (lost.includes(this.#options.nodeId)) this.#node.stop(new FolderError(describeHopeless(lost)));
    else this.#options.log("error", describeHopeless(lost));
  }

  /** Tells the others that this node was admitted, or that its disk has room or none, when that has changed. */
  announceChanges(): void {
    const { storage, writer, links } = this.#node;
    const { admittedIndex: admitted } = storage.hardState;
    const hasRoom = !writer.isFull;
    const before = this.#announced;
    if (admitted === before.admitted && hasRoom === before.hasRoom) return;
    if (admitted > 1 && before.admitted === 0) {
      this.#options.log("info", `admitted again by entry ${admitted}: this node takes part`);
    }
    this.#announced = { admitted, hasRoom };
    links.announce();
  }
}
