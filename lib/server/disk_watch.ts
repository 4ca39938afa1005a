/**
 * What a node does about a disk that is quiet, full or stuck. Quiet: the state file vouches for the log, so that rot of
 * its end is found out. Full: a leader hands over to a node that has room; without one it stays and serves reads, and
 * all goes on by itself when there is room. Stuck: a leader leads no more, because its followers would never miss it.
 *
 * @module
 */

import { DiskFull } from "../io/io.ts";
import type { Raft } from "../raft/raft.ts";
import type { Storage } from "../storage/storage.ts";
import type { LogWriter } from "./log_writer.ts";
import { type ServerOptions, tickMs } from "./options.ts";
import type { PeerLinks } from "./peer_links.ts";

/** How the disk does. */
export type DiskState = "ok" | "full" | "stuck";

/** What the watch looks at. */
export interface WatchedDisk {
  readonly raft: Raft;
  readonly storage: Storage;
  readonly writer: LogWriter;
  /** null until the folder is ready. */
  links(): PeerLinks | null;
}

/** Without writes for so long, the state file is brought up to date. */
const quietMs = 1000;

/** Looks at the disk once a tick. */
export class DiskWatch {
  /** As of the last tick. */
  state: DiskState = "ok";
  readonly #options: ServerOptions;
  readonly #disk: WatchedDisk;

  constructor(options: ServerOptions, disk: WatchedDisk) {
    this.#options = options;
    this.#disk = disk;
  }

  /** Time passes. */
  onTick(): void {
    const { raft, writer, storage } = this.#disk;
    const tick = tickMs(this.#options);
    const { isIdle } = writer;
    const stillTicks = writer.onTick();
    if (isIdle && stillTicks === Math.ceil(quietMs / tick)) {
      const unlessFull = (done: (error: Error | null) => void) => (error: Error | null) =>
        done(error instanceof DiskFull ? null : error); // it was only worth a try
      writer.whenIdle((done) => storage.flushMark(unlessFull(done)), () => {});
    }
    const isStuck = !isIdle && stillTicks * tick >= 2 * this.#options.timing.electionTimeoutMaxMs;
    this.#enter(isStuck ? "stuck" : writer.isFull ? "full" : "ok");
    if (raft.role !== "leader" || this.state === "ok") return;
    if (this.state === "stuck") raft.abdicate();
    else if (!raft.isTransferring) this.#handOver();
  }

  #enter(state: DiskState): void {
    if (state === this.state) return;
    this.state = state;
    const { log, timing } = this.#options;
    if (state === "ok") log("info", "the disk works again");
    if (state === "full") log("error", "the disk is full: nothing more is acknowledged until there is room");
    if (state === "stuck") {
      log(
        "error",
        `the disk has not finished a write for ${
          2 * timing.electionTimeoutMaxMs
        } ms: this node does not lead`,
      );
    }
  }

  /** To the node that has room and the longest log. */
  #handOver(): void {
    const { raft, links } = this.#disk;
    const hellos = links()?.liveHellos();
    const [best] = raft.progress().filter(({ id, abstains }) => hellos?.get(id)?.hasRoom && !abstains)
      .sort((a, b) => b.matchIndex - a.matchIndex);
    if (best !== undefined) raft.transferLeadership(best.id);
  }
}
