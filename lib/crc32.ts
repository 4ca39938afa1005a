/**
 * CRC-32 as in zlib and gzip, over one contiguous range of bytes. It is never chained: the seed argument
 * of the runtime's function was wrong in older versions, and nothing here needs it.
 *
 * @module
 */

import { crc32 as crc32OfZlib } from "node:zlib";

/** The CRC-32 of `bytes`, an integer from 0 to 2^32 - 1. */
export function crc32(bytes: Uint8Array): number {
  return crc32OfZlib(bytes);
}

/** A CRC-32 as the 8 lower-case hex digits that stand in every line of the log. */
export function crcToHex(crc: number): string {
  return crc.toString(16).padStart(8, "0");
}

const hexDigits = new TextEncoder().encode("0123456789abcdef");

/** Writes those digits at `from`. Making a text of them would take nearly as long as all the rest of an entry's line. */
export function writeCrc(bytes: Uint8Array, from: number, crc: number): void {
  for (let i = from + 7; i >= from; i--) {
    bytes[i] = hexDigits[crc & 15]!;
    crc >>>= 4;
  }
}
