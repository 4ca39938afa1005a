/**
 * What one key is supposed to do: the sequential behaviour that a linearizable history must have an order for.
 *
 * @module
 */

import type { Operation } from "./operation.ts";

/** The value of a key; null: there is none. */
export type Register = string | null;

/** What the key becomes when the operation happens now; undefined: it was not told what it would have been told then. */
export function step(state: Register, operation: Operation): Register | undefined {
  switch (operation.op) {
    case "get":
      return operation.value === state ? state : undefined;
    case "put":
      return operation.value;
    case "delete":
      return operation.deleted === undefined || operation.deleted === (state !== null) ? null : undefined;
    case "cas": {
      const holds = operation.from === state;
      if (operation.succeeded !== undefined && operation.succeeded !== holds) return undefined;
      return holds ? operation.to : state;
    }
    case "append":
      return (state ?? "") + operation.value;
    case "increment": {
      const sum = String(BigInt(state ?? "0") + BigInt(operation.by));
      return operation.sum === undefined || operation.sum === sum ? sum : undefined;
    }
  }
}
