/**
 * The page of the cluster benchmark: that its plots say what the figures say, and that it stands by itself.
 *
 * @module
 */

import { assert, assertAlmostEquals, assertEquals, assertNotMatch, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { echo } from "../../bench/echo_server.ts";
import { quantilesOf } from "../../bench/measure_steady.ts";
import { pageOf, textOf } from "../../bench/report_page.ts";
import { type Axis, formatNumber, type Plot, svgOf, ticksOf } from "../../bench/report_plot.ts";
import { startNode } from "../../mod.ts";
import { withFolder } from "../cli/processes.ts";
import { exchange } from "../e2e/line_connection.ts";

const machine = {
  date: "2026-11-26 18:00 UTC",
  kvapp: "0.1.0, commit abcdef0",
  deno: "2.9.6",
  processor: "2 x some <processor>",
  memory: "4.0 GiB",
  system: "Linux 6",
  fsync: "p50 0.50 ms",
};

/** Where a plot of one line has its points. */
function pointsIn(svg: string): [x: number, y: number][] {
  const text = /<polyline [^>]*points="([^"]*)"/.exec(svg)![1]!;
  return text.split(" ").map((pair) => pair.split(",").map(Number) as [number, number]);
}

function plotOf(points: [number, number][], x: Axis["scale"], y: Axis["scale"]): Plot {
  const series = [{ name: "puts", points }];
  return { kind: "lines", x: { label: "clients", scale: x }, y: { label: "rate", scale: y }, series };
}

Deno.test("ticksOf() names round values around all that is drawn", () => {
  assertEquals(ticksOf({ scale: "linear" }, 3, 37), [0, 10, 20, 30, 40]);
  assertEquals(ticksOf({ scale: "linear" }, 0, 0.7), [0, 0.2, 0.4, 0.6, 0.8]);
  assertEquals(ticksOf({ scale: "linear" }, 0, 0), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assertEquals(ticksOf({ scale: "log" }, 1, 256), [1, 2, 5, 10, 20, 50, 100, 200, 500]);
  assertEquals(
    ticksOf({ scale: "log" }, 1000, 1_000_000),
    [1000, 10_000, 100_000, 1_000_000].flatMap((power) =>
      power === 1_000_000 ? [power] : [power, 2 * power, 5 * power]
    ),
  );
  assertEquals(ticksOf({ scale: "log" }, 7, 7), [5, 10]);
  assertEquals(ticksOf({ scale: "log" }, 9999999.99999999, 9999999.99999999), [5e6, 1e7]);
  assertEquals(ticksOf({ scale: "quantile" }, 0, 0.999), [0, 0.5, 0.9, 0.99, 0.999]);
});

Deno.test("svgOf() draws every point inside, further right and higher where there is more", () => {
  const value = fc.double({ min: 0.001, max: 1e7, noNaN: true });
  const scale = fc.constantFrom("linear" as const, "log" as const);
  fc.assert(fc.property(fc.array(fc.tuple(value, value), { minLength: 1 }), scale, scale, (points, x, y) => {
    const drawn = pointsIn(svgOf(plotOf(points, x, y), "title"));
    assertEquals(drawn.length, points.length);
    for (const [i, [left, top]] of drawn.entries()) {
      assert(left >= 70 && left <= 740 && top >= 30 && top <= 280, `${points[i]} is at ${left}, ${top}`);
      const [next, other] = [points[i + 1], drawn[i + 1]];
      if (next === undefined) continue;
      if (next[0] > points[i]![0]) assert(other![0] >= left);
      if (next[1] > points[i]![1]) assert(other![1] <= top);
    }
  }));
});

Deno.test("svgOf() gives each nine of a quantile, and each power of a logarithm, as much room", () => {
  const points: [number, number][] = [[0, 1], [0.9, 10], [0.99, 100], [0.999, 1000]];
  const drawn = pointsIn(svgOf(plotOf(points, "quantile", "log"), "title"));
  for (const axis of [0, 1] as const) {
    const steps = [1, 2, 3].map((i) => drawn[i]![axis] - drawn[i - 1]![axis]);
    assertAlmostEquals(steps[1]!, steps[0]!, 0.3);
    assertAlmostEquals(steps[2]!, steps[0]!, 0.3);
  }
});

Deno.test("svgOf() makes bars as long as their values", () => {
  const bars = [{ name: "a", value: 50 }, { name: "b", value: 100 }, { name: "none", value: 0 }];
  const svg = svgOf({ kind: "bars", label: "rate", bars }, "title");
  const widths = [...svg.matchAll(/<rect [^>]*width="([^"]*)"/g)].map((found) => Number(found[1]));
  assertAlmostEquals(widths[1]! / widths[0]!, 2, 0.01);
  assertEquals(widths[2], 0);
});

Deno.test("pageOf() needs nothing from outside and has all figures, and so has textOf()", () => {
  const plots = [plotOf([[1, 2], [2, 40]], "linear", "linear")];
  const section = {
    title: "Puts & gets",
    note: "p < q",
    plots,
    rows: [["load", "rate"], ["put 1x1", "12,345"]],
  };
  const report = { machine, run: "the full run", sections: [section] };
  const page = pageOf(report);
  assertNotMatch(page, /https?:|src=|<script|<link|@import|url\(/);
  for (const part of ["Puts &amp; gets", "p &lt; q", "<svg", "<td>12,345</td>", "some &lt;processor&gt;"]) {
    assertStringIncludes(page, part);
  }
  for (const part of ["put 1x1", "12,345", "some <processor>"]) assertStringIncludes(textOf(report), part);
});

Deno.test("formatNumber() keeps what counts", () => {
  assertEquals([0, 7, 0.12345, 12.345, 1234.5, 1_000_000].map(formatNumber), [
    "0",
    "7",
    "0.123",
    "12.3",
    "1,235",
    "1,000,000",
  ]);
});

Deno.test("quantilesOf() finds the latency of each share, and no share that too few stand for", () => {
  const found = quantilesOf([[1000, 500], [2000, 400], [9000, 100]]);
  assertEquals(found, [[0, 1], [0.5, 1], [0.75, 2], [0.9, 2], [0.95, 9], [0.99, 9]]);
});

Deno.test("echo() answers in lines like those of a node", async () => {
  const requests = [
    { op: "put", key: "key00000000", value: "x".repeat(256) },
    { op: "get", key: "key00000000" },
  ];
  const likeness = (replies: unknown[]): string => JSON.stringify(replies).replaceAll(/\d+/g, "9");
  await withFolder(async (dataDir) => {
    await using node = await startNode({ dataDir, bind: "127.0.0.1:0" });
    await node.ready();
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const serving = listener.accept().then(async (conn) => {
      await echo(conn);
      conn.close();
    });
    const replies = await exchange(`127.0.0.1:${listener.addr.port}`, requests);
    assertEquals(likeness(replies), likeness(await exchange(node.clientAddress, requests)));
    await serving;
  });
});
