/**
 * `--secret-file`: what the members of a cluster have in common, and by which they know each other.
 *
 * @module
 */

import { trimLine } from "../protocol/lines.ts";
import { UsageError } from "./exit.ts";
import type { Option, Parsed } from "./options.ts";

const bytesMin = 16;
const bytesMax = 64 << 10;

/** The option that `secretOf` reads. */
export const secretOption: Option = {
  name: "secret-file",
  value: "FILE",
  text: "the nodes' secret, the same on all: only who has it is let in on the raft port",
};

/**
 * The secret that a command line names, without the newline at the end of its file, and what is wrong with how the file
 * is kept; null: none, nothing. Throws UsageError.
 */
export async function secretOf(
  parsed: Parsed,
): Promise<{ secret: Uint8Array | null; warning: string | null }> {
  const path = parsed.text("secret-file");
  if (path === undefined) return { secret: null, warning: null };
  const { content, mode } = await readStart(path);
  const secret = trimLine(content);
  if (secret.length < bytesMin || content.length > bytesMax) {
    const count = content.length > bytesMax ? `more than ${bytesMax}` : `${secret.length}`;
    throw new UsageError(
      `the secret in ${path} has ${count} bytes and must have ${bytesMin} to ${bytesMax}: make one with ` +
        `openssl rand -hex 32 > ${path}`,
    );
  }
  const isOpen = mode !== null && (mode & 0o006) !== 0;
  return {
    secret,
    warning: isOpen ? `every user of this machine can open ${path}: chmod 600 ${path}` : null,
  };
}

/** No more than is needed to see that it is too long: it may be a device without an end. */
async function readStart(path: string): Promise<{ content: Uint8Array; mode: number | null }> {
  try {
    using file = await Deno.open(path);
    const buffer = new Uint8Array(bytesMax + 1);
    let length = 0;
    while (length < buffer.length) {
      const count = await file.read(buffer.subarray(length));
      if (count === null) break;
      length += count;
    }
    return { content: buffer.subarray(0, length), mode: (await file.stat()).mode };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new UsageError(`cannot read --secret-file ${path}: ${error.message}`);
  }
}
