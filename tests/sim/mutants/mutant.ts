/**
 * A known bug as a change of the source's text, and the classes of bugs that are known from other implementations.
 *
 * @module
 */

/** A bug: in `file`, `from` becomes `to`. */
export interface Mutant {
  /** What is wrong with it. */
  bug: string;
  /**
   * Classes of bugs that it is one of: S bugs of the program that this project replaces, BE elections, BR replication, BQ
   * reads, BN snapshots, BM membership, BS storage, BC clients. None: it breaks a promise of this program's own.
   */
  classes: string[];
  changes: { file: string; from: string; to: string }[];
}

/** How many classes there are under each letter; of those with `mustCover` each needs a mutant. */
export const classes: Record<string, { count: number; mustCover: boolean }> = {
  S: { count: 16, mustCover: true },
  BE: { count: 7, mustCover: true },
  BR: { count: 9, mustCover: true },
  BQ: { count: 5, mustCover: true },
  BN: { count: 8, mustCover: true },
  BM: { count: 6, mustCover: false },
  BS: { count: 10, mustCover: false },
  BC: { count: 8, mustCover: false },
};
