/**
 * What was measured, as one HTML file that needs nothing else, light or dark as the reader has it, and as text.
 *
 * @module
 */

import { table } from "../lib/cli/output.ts";
import type { Machine } from "./machine.ts";
import { escapeText, type Plot, svgOf } from "./report_plot.ts";

/** One thing that was measured. */
export interface Section {
  title: string;
  /** What was done, and how to read it. */
  note: string;
  plots: Plot[];
  /** The figures: the headings, then a row each. */
  rows: string[][];
}

/** All that there is to tell. */
export interface Report {
  machine: Machine;
  /** How long it took, and whether it was the quick run. */
  run: string;
  sections: Section[];
}

const style = `
:root { color-scheme: light dark; --text: #1c1c1e; --back: #fff; --grid: #ddd; --faint: #666;
  --0: #0b62c4; --1: #c2410c; --2: #15803d; --3: #7e22ce; --4: #a16207; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8ea; --back: #17181a; --grid: #3a3b3e; --faint: #a0a0a5;
  --0: #6fb1ff; --1: #ff9a62; --2: #6ddc92; --3: #cf9bff; --4: #e5c04b; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 800px;
  margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; }
svg { width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--text); }
.grid { stroke: var(--grid); }
.line { fill: none; stroke-width: 2; }
${
  [0, 1, 2, 3, 4].map((i) => `.color${i} { stroke: var(--${i}); } .fill${i} { fill: var(--${i}); }`).join(
    "\n",
  )
}
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--grid); text-align: right; }
th:first-child, td:first-child { text-align: left; }
.scroll { overflow-x: auto; }
.note { color: var(--faint); }
`;

const howToRead =
  `Real processes on one machine, over loopback: nodes, load generator and system share its cores, so
this says little of clusters on several machines. Every write is fsynced on a majority before it is answered, and
every get is linearizable. Where the question is "how many", the load is a closed loop: each request follows an
answer. Where it is "how long", the load is an open loop: requests fall due at fixed times, whether or not answers
come, and their latency counts from then; a closed loop would ask less while a node stalls and so hide the waiting
(coordinated omission). Values have 256 bytes, keys 11. "16x64" is 16 connections with 64 requests in flight on each.`;

/** The page. */
export function pageOf({ machine, run, sections }: Report): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>kvapp: what was measured</title>
<style>${style}</style>
</head>
<body>
<h1>kvapp: what was measured</h1>
${tableOf([["What", "Value"], ...machineRows(machine), ["run", run]])}
<p>${howToRead}</p>
${sections.map(sectionOf).join("\n")}
</body>
</html>
`;
}

/** The same for a terminal. */
export function textOf({ machine, run, sections }: Report): string {
  const parts = sections.map(({ title, rows }) => `${title}\n\n${table(rows)}\n`);
  return [table([["WHAT", "VALUE"], ...machineRows(machine), ["run", run]]) + "\n", ...parts].join("\n");
}

function sectionOf({ title, note, plots, rows }: Section): string {
  const figures = plots.map((plot) => `<figure>${svgOf(plot, title)}</figure>`);
  return `<h2>${escapeText(title)}</h2>
<p class="note">${escapeText(note)}</p>
${figures.join("\n")}
${tableOf(rows)}`;
}

function tableOf([head, ...rows]: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[], tag: string): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeText(cell)}</${tag}>`).join("")}</tr>`;
  return `<div class="scroll"><table>\n${row(head!, "th")}\n${
    rows.map((cells) => row(cells, "td")).join("\n")
  }\n</table></div>`;
}

function machineRows(machine: Machine): string[][] {
  return Object.entries(machine).map(([name, value]) => [name, value]);
}
