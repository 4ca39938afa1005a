/**
 * Why a history is impossible, so that a person can see it: the operations around the one that fits nowhere, in the
 * order of their calls, as text and as a picture that needs nothing but a browser.
 *
 * @module
 */

import type { Verdict } from "./linearizability.ts";
import { describeOperation, type Operation } from "./operation.ts";

/** What was found not to have an order. */
type Failure = Extract<Verdict, { linearizable: false }>;

/** Operations before the one that fits nowhere that are shown. */
const shownBefore = 12;
const shownAfter = 6;

/** What to look at: operations that overlap the impossible one or come shortly before or after it. */
function shownOf(operations: readonly Operation[], { order, stuck }: Failure): Operation[] {
  const byCall = [...operations].sort((a, b) => a.call - b.call);
  const at = byCall.indexOf(stuck);
  const last = order.slice(-shownBefore);
  return byCall.filter((operation, i) => {
    const overlaps = operation.call <= stuck.return! && (operation.return ?? Infinity) >= stuck.call;
    const isNear = i > at - shownBefore && i < at + shownAfter;
    return operation === stuck || last.includes(operation) || (isNear && overlaps);
  });
}

/** The failure in words, a line for each operation. */
export function explain(operations: readonly Operation[], failure: Failure): string {
  const { order, state, stuck } = failure;
  const shown = shownOf(operations, failure);
  const place = new Map(order.map((operation, i) => [operation, i + 1]));
  const lines = shown.map((operation) => {
    const { call, return: end, client } = operation;
    const number = operation === stuck ? ">>>" : `${place.get(operation) ?? "-"}`;
    const times = `${call.toFixed(3)} - ${end === null ? "?" : end.toFixed(3)} ms`;
    return `  ${number.padStart(6)}  ${times.padEnd(28)}  ${client.padEnd(8)}  ${
      describeOperation(operation)
    }`;
  });
  return [
    `The operations on key ${JSON.stringify(stuck.key)} have no order that explains all answers.`,
    `An order of ${order.length} of ${operations.length} operations is possible; the key is then ` +
    `${state === null ? "not there" : JSON.stringify(state)}.`,
    `What ${stuck.client} did from ${stuck.call.toFixed(3)} to ${stuck.return!.toFixed(3)} ms ` +
    `(${describeOperation(stuck)}) cannot come next, nor can anything that would make it possible:`,
    ...lines,
    `The numbers are the places in that order; "-" comes later, or never; ">>>" fits nowhere.`,
  ].join("\n") + "\n";
}

/** The same as a page with a picture: a row for each client, a box for each operation. */
export function picture(operations: readonly Operation[], failure: Failure): string {
  const shown = shownOf(operations, failure);
  const place = new Map(failure.order.map((operation, i) => [operation, i + 1]));
  const clients = [...new Set(shown.map(({ client }) => client))].sort();
  const from = Math.min(...shown.map(({ call }) => call));
  const to = Math.max(...shown.map(({ call, return: end }) => end ?? call));
  const width = 1100, row = 46, left = 90;
  const x = (at: number): number => left + (at - from) / Math.max(to - from, 1e-6) * (width - left - 20);
  const boxes = shown.map((operation) => {
    const { call, return: end, client } = operation;
    const [start, stop] = [x(call), end === null ? width : Math.max(x(end), x(call) + 4)];
    const y = 30 + clients.indexOf(client) * row;
    const kind = operation === failure.stuck ? "stuck" : place.has(operation) ? "placed" : "later";
    const label = `${place.get(operation) ?? ""} ${describeOperation(operation)}`.trim();
    const times = `${call.toFixed(3)} - ${end === null ? "?" : end.toFixed(3)} ms`;
    return `<g class="${kind}"><title>${
      escaped(`${client}: ${describeOperation(operation)}, ${times}`)
    }</title>` +
      `<rect x="${start.toFixed(1)}" y="${y}" width="${(stop - start).toFixed(1)}" height="26" rx="3"/>` +
      `<text x="${(start + 4).toFixed(1)}" y="${y + 17}">${escaped(label)}</text></g>`;
  });
  const names = clients.map((client, i) => `<text x="4" y="${47 + i * row}">${escaped(client)}</text>`);
  return `<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Not linearizable: ${escaped(failure.stuck.key)}</title>
<style>
body { font: 14px sans-serif; margin: 2em } pre { background: #f4f4f4; padding: 1em; overflow-x: auto }
svg text { font: 12px monospace } rect { fill: #cfe3ff; stroke: #5b8bd0 } .later rect { fill: #eee; stroke: #999 }
.stuck rect { fill: #ffc9c9; stroke: #c00; stroke-width: 2 }
</style>
<h1>Not linearizable: key ${escaped(JSON.stringify(failure.stuck.key))}</h1>
<svg width="${width}" height="${40 + clients.length * row}">${names.join("")}${boxes.join("")}</svg>
<pre>${escaped(explain(operations, failure))}</pre>
</html>
`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
