/**
 * What an entry says by its bytes. A node may know its command by another form, which is then part of what is checked.
 *
 * @module
 */

import type { Command } from "../../lib/kv/command.ts";
import type { Entry } from "../../lib/raft/types.ts";

const decoder = new TextDecoder();

/** The command in the line of an entry. */
export function loggedCommand({ line }: Entry): Command {
  return JSON.parse(decoder.decode(line)).command;
}
