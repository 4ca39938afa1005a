/**
 * `watch`: what becomes of keys, as it happens.
 *
 * @module
 */

import type { WatchEvent, WatchOptions } from "../client/types.ts";
import { exitCodes, UsageError } from "./exit.ts";
import type { Context, Outcome } from "./operation.ts";
import type { Parsed } from "./options.ts";
import { escapeControls, harmlessLine, note, print } from "./output.ts";

/** Prints one line an event until the signal, whose reason it throws. */
export async function watch(
  [prefix]: readonly string[],
  parsed: Parsed,
  { client, json, signal }: Context,
): Promise<Outcome> {
  const key = parsed.text("key");
  const after = parsed.integer("after", { min: 0, max: 1e15 - 1 });
  if (key !== undefined && prefix !== undefined) {
    throw new UsageError("watch takes a prefix, or one key with --key, not both");
  }
  const options: WatchOptions = { signal };
  if (key !== undefined) options.key = key;
  if (prefix !== undefined) options.prefix = prefix;
  if (after !== undefined) options.after = after;
  const events = client.watch(options);
  const index = await events.open();
  if (Deno.stdout.isTerminal() && !json) note(`watching from index ${index} on; Ctrl-C ends it`);
  let isReset = false;
  for await (const event of events) {
    isReset ||= event.type === "reset";
    if (json) print(harmlessLine(JSON.stringify(event)));
    else if (event.type !== "progress" || isReset) print(eventText(event)); // news only behind a reset
    if (event.type === "progress") isReset = false;
  }
  return { text: null, exitCode: exitCodes.done };
}

/** On one line, whatever the key and the value hold; --json has them exactly. */
export function eventText(event: WatchEvent): string {
  switch (event.type) {
    case "put":
      return `put ${escapeControls(event.key)}\t${escapeControls(event.value)}`;
    case "reset": {
      const why = event.reason === "slow"
        ? "the changes came faster than they were read"
        : "nobody remembers the changes since then";
      return `reset: ${why}; all that is there follows`;
    }
    case "progress":
      return `progress: that was all, as of index ${event.index}; changes follow`;
    default:
      return `${event.type} ${escapeControls(event.key)}`;
  }
}
