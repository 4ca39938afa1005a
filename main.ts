/**
 * The program `kvapp`: `serve`, `dev`, `client`, `bench`, `status` and `completions`.
 *
 * @example
 * ```sh
 * kvapp dev                      # three nodes on this machine, and a shell
 * kvapp client put color green
 * kvapp client get color
 * ```
 *
 * @module
 */

import { main } from "./lib/cli/cli.ts";

if (import.meta.main) Deno.exit(await main(Deno.args));
