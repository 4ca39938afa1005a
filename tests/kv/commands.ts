/**
 * Commands for the tests of the state machine: some by hand, and any at random.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { ClientCommand, TxnOperation } from "../../lib/kv/command.ts";
import type { StoreSnapshot } from "../../lib/kv/store.ts";

/** The lines of a state, without their ends. */
export function* linesOf({ blocks }: Pick<StoreSnapshot, "blocks">): Generator<string> {
  for (const { bytes, lines } of blocks()) {
    const texts = new TextDecoder().decode(bytes).split("\n");
    assertEquals([texts.pop(), texts.length], ["", lines]);
    yield* texts;
  }
}

/** Puts a key. */
export function put(key: string, value: string, options: object = {}): ClientCommand {
  return { op: "put", key, value, ...options };
}

/** Deletes a key. */
export function remove(key: string, options: object = {}): ClientCommand {
  return { op: "delete", key, ...options };
}

const name = fc.constantFrom("a", "b", "c", "\u{1f600}", "\ue000");
const writeOptions = fc.record({
  ifVersion: fc.nat(20),
  ifValue: fc.constantFrom("x", "y"),
  previous: fc.constant(true),
}, { requiredKeys: [] });
const numbered = fc.oneof(
  fc.constant({}),
  fc.record({ session: fc.constantFrom("1", "2", "3"), seq: fc.integer({ min: 1, max: 8 }) }),
);
const value = fc.constantFrom("x", "y", "-9007199254740993", "41");
const by = fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }).map(String);
const range = fc.record({
  prefix: fc.oneof(name, fc.constant("")),
  start: name,
  end: name,
}, { requiredKeys: [] });
const txnOperation: fc.Arbitrary<TxnOperation> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ op: fc.constant("put"), key: name, value }) },
  fc.record({ op: fc.constant("get"), key: name }),
  fc.record({ op: fc.constant("delete"), key: name }),
  fc.record({ op: fc.constant("increment"), key: name, by }),
  range.map((range) => ({ op: "deleteRange", ...range } as const)),
);
const txnCondition = fc.tuple(
  name,
  fc.record({ version: fc.nat(20), value, exists: fc.boolean() }, { requiredKeys: [] }),
).map(([key, wanted]) => ({ key, ...wanted }));
/** Any command of a client, on few keys and sessions, so that they meet. */
export const command: fc.Arbitrary<ClientCommand> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.tuple(name, by, numbered)
      .map(([key, by, numbered]) => ({ op: "increment", key, by, ...numbered } as const)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(range, numbered)
      .map(([range, numbered]) => ({ op: "deleteRange", ...range, ...numbered } as const)),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(
      fc.array(txnCondition, { maxLength: 2 }),
      fc.array(txnOperation, { maxLength: 5 }),
      fc.array(txnOperation, { maxLength: 5 }),
      numbered,
    ).map(([conditions, then, otherwise, numbered]) => (
      { op: "txn", if: conditions, then, else: otherwise, ...numbered } as const
    )),
  },
  { weight: 1, arbitrary: fc.constant<ClientCommand>({ op: "session" }) },
  {
    weight: 4,
    arbitrary: fc.tuple(name, value, writeOptions, numbered)
      .map(([key, value, options, numbered]) => put(key, value, { ...options, ...numbered })),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(name, writeOptions, numbered)
      .map(([key, options, numbered]) => remove(key, { ...options, ...numbered })),
  },
);
