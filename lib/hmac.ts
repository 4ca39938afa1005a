/**
 * HMAC-SHA-256, of Node's module because the Web's answers later and the server never waits.
 *
 * @module
 */

import { createHmac, timingSafeEqual } from "node:crypto";

/** The HMAC-SHA-256 of `parts` one behind the other: 32 bytes as 64 lower-case hex digits. */
export function hmacSha256(key: Uint8Array, parts: readonly Uint8Array[]): string {
  const hmac = createHmac("sha256", key);
  for (const part of parts) hmac.update(part);
  return hmac.digest("hex");
}

/** Whether two texts are the same. How long that takes does not tell where they differ. */
export function isSameProof(a: string, b: string): boolean {
  const [x, y] = [encoder.encode(a), encoder.encode(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

const encoder = new TextEncoder();
