/**
 * The lines of a file that may be larger than memory.
 *
 * @module
 */

import type { Disk } from "../io/io.ts";

const newline = 10;

/** The lines of a file, newline included; the last one may lack it. Each may be kept: its bytes are not reused. */
export function* linesOf(disk: Disk, name: string): Generator<Uint8Array, undefined> {
  let chunkBytes = 1 << 20;
  for (let offset = 0;;) {
    const chunk = disk.readRange(name, offset, chunkBytes);
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      yield chunk.subarray(start, end + 1);
      start = end + 1;
    }
    const isLast = chunk.length < chunkBytes;
    if (isLast && start < chunk.length) yield chunk.subarray(start);
    if (isLast) return;
    if (start === 0) chunkBytes *= 2; // a line longer than the chunk
    offset += start; // a line that the chunk cut is read again, whole
  }
}
