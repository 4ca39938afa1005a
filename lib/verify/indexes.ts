/**
 * A second check, without a search and of another kind: every answer names the index of the log that it reflects, so
 * indexes are an order. It must keep to real time, over all keys, and every read must show the newest write up to its
 * index (Jepsen's check of etcd by revisions is of this kind).
 *
 * @module
 */

import { byKey, describeOperation, type Operation } from "./operation.ts";

/** What cannot be, in words, with the operations that show it; null: nothing is wrong. */
export interface Contradiction {
  key: string;
  message: string;
  operations: Operation[];
}

/** Checks what names an index; what does not is not looked at. */
export function checkIndexes(operations: readonly Operation[]): Contradiction | null {
  const indexed = operations.filter(({ index, return: end }) => index !== undefined && end !== null);
  const late = checkRealTime(indexed);
  if (late !== null) return late;
  for (const own of byKey(indexed).values()) {
    const wrong = checkKey(own);
    if (wrong !== null) return wrong;
  }
  return null;
}

/** Nothing may reflect less than what anybody had been told before it was called. */
function checkRealTime(operations: readonly Operation[]): Contradiction | null {
  const byCall = [...operations].sort((a, b) => a.call - b.call);
  const byReturn = [...operations].sort((a, b) => a.return! - b.return!);
  let newest: Operation | null = null;
  let returned = 0;
  for (const operation of byCall) {
    while (returned < byReturn.length && byReturn[returned]!.return! < operation.call) {
      const before = byReturn[returned++]!;
      if (newest === null || before.index! > newest.index!) newest = before;
    }
    if (newest === null) continue;
    const least = isWrite(operation) ? newest.index! + 1 : newest.index!;
    if (operation.index! >= least) continue;
    const message =
      `"${describeOperation(operation)}" of ${operation.client} reflects index ${operation.index}, but ` +
      `before it was called ${newest.client} had been told of index ${newest.index}`;
    return { key: operation.key, message, operations: [newest, operation] };
  }
  return null;
}

function isWrite(operation: Operation): boolean {
  return operation.op !== "get" && !(operation.op === "cas" && operation.succeeded === false);
}

function checkKey(operations: readonly Operation[]): Contradiction | null {
  const writes = operations.filter(isWrite).sort((a, b) => a.index! - b.index!);
  for (let i = 1; i < writes.length; i++) {
    if (writes[i]!.index !== writes[i - 1]!.index) continue;
    const message = `two writes were told the same index ${writes[i]!.index}`;
    return { key: writes[i]!.key, message, operations: [writes[i - 1]!, writes[i]!] };
  }
  for (const read of operations) {
    const wrong = read.op === "get" ? checkRead(read, writes) : null;
    if (wrong !== null) return wrong;
  }
  return null;
}

/** A read shows the newest write up to its index, or a newer one than all that are known. */
function checkRead(
  read: Operation & { op: "get" },
  writes: readonly Operation[],
): Contradiction | null {
  const newest = writes.findLast(({ index }) => index! <= read.index!);
  const contradiction = (message: string, ...others: Operation[]): Contradiction => ({
    key: read.key,
    message: `"${describeOperation(read)}" of ${read.client} at index ${read.index}: ${message}`,
    operations: [...others, read],
  });
  if (read.version !== undefined && read.version > read.index!) {
    return contradiction(`it names version ${read.version}, which is newer`);
  }
  if (newest === undefined || read.version === undefined) return null;
  if (read.version < newest.index!) {
    return contradiction(`it shows version ${read.version}, but there is a write at ${newest.index}`, newest);
  }
  const expected = read.version === newest.index ? valueOf(newest) : undefined;
  if (expected === undefined || expected === read.value) return null;
  return contradiction(`the write of that version was "${describeOperation(newest)}"`, newest);
}

/** What the key is after a write; undefined: that depends on what it was. */
function valueOf(write: Operation): string | null | undefined {
  if (write.op === "put") return write.value;
  if (write.op === "delete") return null;
  if (write.op === "cas") return write.to;
  return write.op === "increment" ? write.sum : undefined;
}
