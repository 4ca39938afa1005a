/**
 * What a history says of the cluster that it is of, and what is kept to show it.
 *
 * @module
 */

import { explain, picture } from "../verify/explain.ts";
import { checkIndexes } from "../verify/indexes.ts";
import { checkRegister } from "../verify/linearizability.ts";
import { byKey, describeOperation, formatOperation, type Operation } from "../verify/operation.ts";

/** What was found out. */
export interface Judgement {
  linearizable: boolean | "unknown";
  /** What is wrong, a sentence each; none: nothing. */
  problems: string[];
  /** What shows it: contents by the names of files. */
  evidence: Record<string, string>;
}

/** Checks each key by a search for an order, and all of them by the indexes that the answers name. */
export function judge(history: readonly Operation[], { stepsMax }: { stepsMax?: number } = {}): Judgement {
  const judgement: Judgement = { linearizable: true, problems: [], evidence: {} };
  for (const [key, operations] of byKey(history)) {
    const verdict = checkRegister(operations, stepsMax);
    if (verdict.linearizable === true) continue;
    if (verdict.linearizable === "unknown") {
      judgement.problems.push(`the search for an order of the operations on ${key} was given up`);
      if (judgement.linearizable === true) judgement.linearizable = "unknown";
      continue;
    }
    judgement.problems.push(`the operations on ${key} have no order that explains all answers`);
    judgement.evidence["explanation.txt"] ??= explain(operations, verdict);
    judgement.evidence["picture.html"] ??= picture(operations, verdict);
    judgement.linearizable = false;
  }
  const contradiction = checkIndexes(history);
  if (contradiction !== null) {
    const { key, message, operations } = contradiction;
    judgement.problems.push(`the indexes contradict each other on ${key}: ${message}`);
    judgement.linearizable = false;
    judgement.evidence["indexes.txt"] = [message, ...operations.map(describe)].join("\n") + "\n";
  }
  return judgement;
}

/** The lines of a history, in the order of the calls. */
export function historyText(history: readonly Operation[]): string {
  const byCall = [...history].sort((a, b) => a.call - b.call);
  return byCall.map((operation) => formatOperation(operation) + "\n").join("");
}

function describe(operation: Operation): string {
  const { client, call, return: end, index } = operation;
  const times = `${call.toFixed(3)} - ${end === null ? "?" : end.toFixed(3)} ms`;
  return `${times}  ${client}  ${describeOperation(operation)}  (index ${index ?? "?"})`;
}
