/**
 * This program, as commands start more of it.
 *
 * @module
 */

import { fileURLToPath } from "node:url";

/** The words of a command line that start this program; its arguments follow. */
export function programWords(): string[] {
  const main = Deno.mainModule.startsWith("file:") ? fileURLToPath(Deno.mainModule) : Deno.mainModule;
  return Deno.build.standalone ? [Deno.execPath()] : [Deno.execPath(), "run", "-A", main];
}
