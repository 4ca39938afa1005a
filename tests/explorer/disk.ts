/**
 * What survives a crash in the explorer: values that never change, so that a state can be shared by many others.
 *
 * @module
 */

import type { Entry, HardState, Write } from "../../lib/raft/types.ts";

/** The contents of a disk. */
export interface DiskState {
  readonly hardState: HardState;
  readonly entries: readonly Entry[];
}

/** The disk once a write is durable; of its entries only the first `count`. */
export function save(disk: DiskState, { hardState, entries }: Write, count = entries.length): DiskState {
  const [first] = entries;
  return {
    hardState: hardState ?? disk.hardState,
    entries: first === undefined
      ? disk.entries
      : [...disk.entries.slice(0, first.index - 1), ...entries.slice(0, count)],
  };
}

/** Whether a write only carries messages. It goes past the disk when nothing is before it (log_writer.ts). */
export function needsNoDisk({ hardState, entries }: Write): boolean {
  return hardState === null && entries.length === 0;
}

/**
 * All that a crash may leave of a disk with writes under way, the least first: each write lost, cut short after any
 * of its entries, or kept. Writes may share an fsync, and then term and vote of the last come before the entries of the first.
 */
export function afterCrash(disk: DiskState, pending: readonly Write[]): DiskState[] {
  const found = new Map<string, DiskState>();
  const add = (entries: readonly Entry[], hardStates: readonly HardState[]): void => {
    for (const hardState of hardStates) {
      const key = `${hardState.currentTerm} ${hardState.votedFor} ${entries.length} ${entries.at(-1)!.crc}`;
      if (!found.has(key)) found.set(key, { hardState, entries });
    }
  };
  let saved = disk;
  const hardStates = [disk.hardState];
  for (const { hardState } of pending) hardStates.push(hardState ?? hardStates.at(-1)!);
  add(disk.entries, hardStates);
  pending.forEach((write, at) => {
    for (let count = 0; write.entries.length > 0 && count <= write.entries.length; count++) {
      add(save(saved, write, count).entries, hardStates.slice(at + 1));
    }
    saved = save(saved, write);
  });
  return [...found.values()];
}
