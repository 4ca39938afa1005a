/**
 * Runs the command that it is given, `kvapp` with its arguments, in this process, with bounds so small that a test
 * gets to see snapshots and several segments: the program has no option for that, because nobody else needs one.
 *
 * @module
 */

import { main } from "../../lib/cli/cli.ts";
import { defaultLimits } from "../../lib/server/options.ts";
import { wrappedArguments, wrapperWords } from "../cli/processes.ts";

/** What a test cluster takes before its arguments, to run with these bounds. */
export const smallSnapshots: readonly [string, ...string[]] = wrapperWords(import.meta.url);

/** Entries after which a snapshot is due; each node waits up to a quarter longer. */
export const snapshotEntries = 400;

if (import.meta.main) {
  const log = { snapshotLogBytes: 256 << 10, segmentBytesMax: 64 << 10, trailingBytes: 16 << 10 };
  Object.assign(defaultLimits, { snapshotEntries, ...log });
  Deno.exit(await main(wrappedArguments()));
}
