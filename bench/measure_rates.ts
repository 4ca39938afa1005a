/**
 * How many operations a second a cluster of three does, by how many clients ask at once, beside the yardstick.
 *
 * @module
 */

import { withCluster } from "../tests/e2e/cluster.ts";
import { type Load, loadCluster, loadEcho, partsOf, type Plan, say, type Shape } from "./cluster_load.ts";
import { quantile } from "./process_figures.ts";
import type { Section } from "./report_page.ts";
import { formatNumber } from "./report_plot.ts";

/** The rates of one load, a number for each round. */
interface Rates {
  system: "kvapp" | "echo";
  workload: "put" | "get";
  shape: Shape;
  rates: number[];
}

/** The yardstick is measured with these. */
const yardsticks: { workload: "put" | "get"; shape: Shape }[] = [
  { workload: "put", shape: "16x64" },
  { workload: "get", shape: "256x1" },
];

/** Puts a second, and on which connections. */
export interface Offer {
  shape: Shape;
  rate: number;
}

/** Measures them all, round by round, so that what befalls the machine befalls all. */
export async function measureRates(plan: Plan): Promise<{ section: Section; greatest: Offer }> {
  const { seconds, warmup, rounds } = plan;
  const make = (system: Rates["system"], workload: Rates["workload"]) => (shape: Shape): Rates => ({
    system,
    workload,
    shape,
    rates: [],
  });
  const all = [
    ...plan.puts.map(make("kvapp", "put")),
    ...plan.gets.map(make("kvapp", "get")),
    ...yardsticks.map(({ workload, shape }) => make("echo", workload)(shape)),
  ];
  await withCluster({ nodes: 3 }, async (cluster) => {
    await cluster.leader();
    for (let round = 1; round <= rounds; round++) {
      for (const one of all) {
        const load: Load = { workload: one.workload, shape: one.shape, seconds, warmup };
        const rate = one.system === "echo"
          ? await loadEcho(load)
          : (await loadCluster(cluster, load)).operationsPerSecond;
        one.rates.push(rate);
        say(`round ${round} of ${rounds}: ${nameOf(one)} ${formatNumber(rate)}/s`);
      }
    }
  });
  const greatest = putsOf(all).map((one) => ({ shape: one.shape, rate: median(one) }))
    .reduce((most, one) => one.rate > most.rate ? one : most);
  return { section: sectionOf(all, plan), greatest };
}

function sectionOf(all: Rates[], { rounds, seconds }: Plan): Section {
  const shareOf = (one: Rates): string => {
    const echo = all.find((other) =>
      other.system === "echo" && other.workload === one.workload && other.shape === one.shape
    );
    return one.system === "echo" || echo === undefined
      ? "-"
      : `${Math.round(100 * median(one) / median(echo))} %`;
  };
  const rows = all.map((one) => [
    nameOf(one),
    formatNumber(median(one)),
    formatNumber(Math.min(...one.rates)),
    formatNumber(Math.max(...one.rates)),
    shareOf(one),
  ]);
  const points = putsOf(all).filter(({ shape }) => partsOf(shape)[1] === 1)
    .map((one) => [partsOf(one.shape)[0], median(one)] as const);
  const bars = all.map((one) => ({ name: nameOf(one), value: median(one) }));
  return {
    title: "Throughput against clients",
    note:
      `Three nodes, closed loop, ${seconds} s each, median of ${rounds}. Puts go to the leader, gets to all ` +
      "nodes in turn. The echo server is the yardstick: one process that parses the same lines and answers with " +
      "lines of the same size, without disk, log or other nodes; the last column is the share of its rate.",
    plots: [
      {
        kind: "lines",
        x: { label: "clients, one put in flight each", scale: "log" },
        y: { label: "puts a second", scale: "linear" },
        series: [{ name: "puts", points }],
      },
      { kind: "bars", label: "operations a second", bars },
    ],
    rows: [["load", "per second", "least", "greatest", "of echo"], ...rows],
  };
}

function putsOf(all: Rates[]): Rates[] {
  return all.filter(({ system, workload }) => system === "kvapp" && workload === "put");
}

function nameOf({ system, workload, shape }: Rates): string {
  return `${system} ${workload} ${shape}`;
}

function median({ rates }: Rates): number {
  return quantile(rates, 0.5);
}
