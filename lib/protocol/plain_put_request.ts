/**
 * The request that most writes are: a put with a key and a value, maybe in a session and with a number as its `id`, in
 * this order and without a blank, as the client library and most programs write it. It is known by its bytes; every other
 * line, also a put that could be meant, is left to client_protocol.ts.
 *
 * @module
 */

import { endOfDigits, hasAt, readDecimal } from "../bytes.ts";
import { findPlainPut } from "../kv/plain_put.ts";
import type { WriteRequest } from "./client_protocol.ts";
import type { FieldLimits } from "./fields.ts";
import { trimLine } from "./lines.ts";

const idHead = new TextEncoder().encode(',"id":');
const brace = 0x7d;

/** The request of a line, if it is such a put that `limits` allow; else null. It borrows the line. */
export function readPlainPutRequest(line: Uint8Array, limits: FieldLimits): WriteRequest | null {
  const command = findPlainPut(line, 0);
  if (command === null) return null;
  const isAllowed = command.keyLength <= limits.keyBytesMax && command.valueLength <= limits.valueBytesMax;
  if (!isAllowed) return null;
  let at = command.length;
  let id: number | undefined;
  if (hasAt(line, at, idHead)) {
    const idAt = at + idHead.length;
    at = endOfDigits(line, idAt);
    if (at < 0) return null;
    id = readDecimal(line, idAt, at);
  }
  return line[at] === brace && trimLine(line).length === at + 1 ? { op: "put", id, command } : null;
}
