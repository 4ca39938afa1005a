/**
 * Where a node stands in its cluster: from `--cluster`, `--bind`, `--node-id`, `--client-port` and
 * `--advertise-client` to addresses.
 *
 * @module
 */

import * as node from "../node/place.ts";
import { namingFlags } from "./exit.ts";

export { defaultAddress, type PlaceOptions } from "../node/place.ts";

/** Works out ids and addresses. Throws UsageError when something is missing, doubled or impossible. */
export function placeOf(options: node.PlaceOptions): node.Place {
  return namingFlags(() => node.placeOf(options));
}

/** Reads the value of `--cluster`, sorted by id: ids as given or, when none is, positions from 1. */
export function parseCluster(text: string): { id: number; address: string }[] {
  return namingFlags(() => node.parseCluster(text));
}

/** The addresses in the value of a client's `--cluster`; ids are allowed and ignored. */
export function parseClientCluster(text: string | undefined): string[] {
  return parseCluster(text ?? node.defaultAddress).map(({ address }) => address);
}
