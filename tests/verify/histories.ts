/**
 * Histories for the checkers: valid ones by chance, broken ones, a checker that tries every order, and readers for
 * recorded histories of other systems.
 *
 * @module
 */

import type { Operation } from "../../lib/verify/operation.ts";
import { type Register, step } from "../../lib/verify/register.ts";
import type { Random } from "../sim/random.ts";

/** A history that is linearizable by its making: each operation happens at one moment between its call and its return. */
export function validHistory(
  random: Random,
  options: { operations: number; clients: number; values: number },
): Operation[] {
  const { operations, clients, values } = options;
  const free = Array.from({ length: clients }, () => 0);
  const planned: { at: number; operation: Operation }[] = [];
  for (let i = 0; i < operations; i++) {
    const client = random.below(clients);
    const call = free[client]! + random.between(0, 3);
    const end = call + random.between(0.1, 10);
    const isOpen = random.chance(0.05);
    free[client] = end + 0.001;
    const at = isOpen ? random.between(call, call + 100) : random.between(call, end);
    const span = {
      client: `c${client}${isOpen ? `.${i}` : ""}`,
      key: "k",
      call,
      return: isOpen ? null : end,
    };
    planned.push({ at, operation: { ...span, ...drawOperation(random, values) } as Operation });
  }
  let state: Register = null;
  for (const { operation } of planned.sort((a, b) => a.at - b.at)) {
    answer(operation, state);
    if (operation.return === null && random.chance(0.5)) forget(operation); // it never happens
    else state = step(state, operation)!;
    if (operation.return === null) forget(operation);
  }
  return planned.map(({ operation }) => operation).sort((a, b) => a.call - b.call);
}

function drawOperation(random: Random, values: number): object {
  const value = () => String(random.below(values));
  switch (random.weighted({ get: 4, put: 3, cas: 2, delete: 1 })) {
    case "get":
      return { op: "get", value: null };
    case "put":
      return { op: "put", value: value() };
    case "cas":
      return { op: "cas", from: random.chance(0.2) ? null : value(), to: value() };
    default:
      return { op: "delete" };
  }
}

/** What it is told when it happens now. */
function answer(operation: Operation, state: Register): void {
  if (operation.op === "get") operation.value = state;
  else if (operation.op === "cas") operation.succeeded = operation.from === state;
  else if (operation.op === "delete") operation.deleted = state !== null;
}

/** Nobody was told. */
function forget(operation: Operation): void {
  if (operation.op === "cas") delete operation.succeeded;
  else if (operation.op === "delete") delete operation.deleted;
}

/** The same history with one thing changed, which may or may not make it impossible. */
export function mutated(random: Random, history: readonly Operation[], values: number): Operation[] {
  const changed = history.map((operation) => ({ ...operation }));
  const operation = random.pick(changed);
  switch (random.below(4)) {
    case 0:
      if (operation.op === "get") operation.value = random.chance(0.2) ? null : String(random.below(values));
      else if (operation.op === "cas" && operation.succeeded !== undefined) {
        operation.succeeded = !operation.succeeded;
      } else if (operation.op === "put") operation.value = String(random.below(values));
      return changed;
    case 1:
      return changed.filter((other) => other !== operation);
    case 2: {
      const other = random.pick(changed);
      if (operation.return === null || other.return === null) return changed;
      [operation.return, other.return] = [other.return, operation.return];
      return changed.filter(({ call, return: end }) => end === null || end >= call);
    }
    default:
      if (operation.return !== null) {
        operation.return = operation.call + (operation.return - operation.call) / 20;
      }
      return changed;
  }
}

/** Whether any order explains everything, by trying them all: for a few operations only. */
export function bruteForce(operations: readonly Operation[]): boolean {
  const search = (left: readonly Operation[], state: Register): boolean => {
    if (left.every((operation) => operation.return === null)) return true;
    const deadline = Math.min(...left.map((operation) => operation.return ?? Infinity));
    return left.some((operation) => {
      if (operation.call > deadline) return false; // something else was over before it began
      const after = step(state, operation);
      return after !== undefined && search(left.filter((other) => other !== operation), after);
    });
  };
  return search(operations.filter((operation) => operation.op !== "get" || operation.return !== null), null);
}

/** Puts calls and ends of clients together: lines as times. */
class Recording {
  readonly operations: Operation[] = [];
  readonly #open = new Map<string, Operation>();
  #time = 0;

  call(client: string, operation: object): void {
    this.#open.set(client, { client, call: ++this.#time, return: null, ...operation } as Operation);
  }

  /** How it ended; null: nobody knows. */
  end(client: string, outcome: object | null): void {
    const operation = this.#open.get(client)!;
    this.#open.delete(client);
    if (outcome !== null) Object.assign(operation, outcome, { return: ++this.#time });
    this.operations.push(operation);
  }

  /** It did not happen. */
  drop(client: string): void {
    this.#open.delete(client);
  }

  finish(): Operation[] {
    for (const client of [...this.#open.keys()]) this.end(client, null);
    return this.operations;
  }
}

/** A register that Jepsen recorded. */
export function readJepsen(text: string): Operation[] {
  const recording = new Recording();
  const pattern = /^INFO\s+jepsen\.util - (\d+)\s+:(invoke|ok|fail|info)\s+:(read|write|cas)\s+(.*)$/gm;
  for (const [, client, type, op, value] of text.matchAll(pattern)) {
    const [from, to] = value!.replace(/[[\]]/g, "").split(" ") as [string, string];
    const isRead = op === "read";
    if (type === "invoke") {
      const operation = isRead
        ? { op: "get", value: null }
        : op === "write"
        ? { op: "put", value: from }
        : { op: "cas", from, to };
      recording.call(client!, { key: "register", ...operation });
    } else if (type === "ok") {
      recording.end(
        client!,
        isRead ? { value: from === "nil" ? null : from } : op === "cas" ? { succeeded: true } : {},
      );
    } else if (type === "fail" && op === "cas") recording.end(client!, { succeeded: false });
    else if (type === "fail" || isRead) recording.drop(client!);
    else recording.end(client!, null);
  }
  return recording.finish();
}

/** Keys that are got, put and appended to; a key that is not there reads as the empty text. */
export function readKeys(text: string): Operation[] {
  const recording = new Recording();
  const pattern = /:process (\d+), :type :(\w+), :f :(\w+), :key "([^"]*)", :value (?:nil|"([^"]*)")/g;
  for (const [, client, type, op, key, value = ""] of text.matchAll(pattern)) {
    if (type === "invoke") recording.call(client!, { op, key, value: op === "get" ? null : value });
    else if (type === "ok") {
      recording.end(client!, op === "get" ? { value: value === "" ? null : value } : {});
    } else recording.end(client!, null);
  }
  return recording.finish();
}
