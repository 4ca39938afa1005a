/**
 * This program, as commands start more of it.
 *
 * @module
 */

import { fileURLToPath } from "node:url";

/**
 * How memory is managed, for `deno run` and `deno compile`. What a request needs lives a little longer than most young
 * objects: V8 takes it for old and makes it old from the start, and it then keeps alive whatever it refers to until
 * the next collection of everything. And a collection of everything comes when there is not much more than after the
 * last one: most of what a node keeps is bytes beside the engine's heap. ARCHITECTURE.md has the figures.
 */
export const engineFlags = "--v8-flags=--no-allocation-site-pretenuring,--heap-growing-percent=60";

/** The words of a command line that start this program; its arguments follow. The executable has the flags in itself. */
export function programWords(): string[] {
  const main = Deno.mainModule.startsWith("file:") ? fileURLToPath(Deno.mainModule) : Deno.mainModule;
  return Deno.build.standalone ? [Deno.execPath()] : [Deno.execPath(), "run", engineFlags, "-A", main];
}
