/**
 * Runs the command that it is given, `kvapp` with its arguments, in this process, and collects garbage when it gets
 * SIGUSR2: what a node then has is what it holds, not what the runtime has not come around to.
 *
 * @module
 */

import { main } from "../../lib/cli/cli.ts";
import { wrappedArguments, wrapperWords } from "../cli/processes.ts";

/** What a test cluster takes before its arguments, so that its nodes can be told to collect garbage. */
export const collectable: readonly [string, ...string[]] = wrapperWords(import.meta.url, "--expose-gc");

if (import.meta.main) {
  const { gc } = globalThis as unknown as { gc(): void };
  if (Deno.build.os === "linux") Deno.addSignalListener("SIGUSR2", () => gc());
  Deno.exit(await main(wrappedArguments()));
}
