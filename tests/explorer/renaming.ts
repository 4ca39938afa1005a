/**
 * The three nodes are alike: a state in which they are exchanged is the same state under other names. All states
 * are told apart by what they look like under the one of the six renamings that gives the smallest numbers.
 *
 * @module
 */

import type { NodeId } from "../../lib/raft/types.ts";

/** The members of every explored cluster. */
export const ids: readonly NodeId[] = [1, 2, 3];

/** Where each node goes: `renaming[id]`. The first one leaves all as it is. */
export const renamings: readonly (readonly NodeId[])[] = [
  [0, 1, 2, 3],
  [0, 1, 3, 2],
  [0, 2, 1, 3],
  [0, 2, 3, 1],
  [0, 3, 1, 2],
  [0, 3, 2, 1],
];
