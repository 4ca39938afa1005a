/**
 * Plots as SVG that stands in a page by itself: lines over two axes, and bars. Colours come from the page's style.
 *
 * @module
 */

/** What an axis shows. "quantile" stretches towards 1: as much room for 0.9 to 0.99 as for 0.99 to 0.999. */
export interface Axis {
  /** With the unit. */
  label: string;
  scale: "linear" | "log" | "quantile";
}

/** Lines, each through its points from left to right. */
export interface LinePlot {
  kind: "lines";
  x: Axis;
  y: Axis;
  series: { name: string; points: (readonly [x: number, y: number])[] }[];
}

/** A bar for each name. */
export interface BarPlot {
  kind: "bars";
  /** What the bars' length is, with the unit. */
  label: string;
  bars: { name: string; value: number }[];
}

/** What can be drawn. */
export type Plot = LinePlot | BarPlot;

const width = 760;
const height = 320;
const left = 76;
const right = width - 24;
const bottom = height - 48;
const barHeight = 26;
const barLeft = 190;

/** The plot as an SVG element. */
export function svgOf(plot: Plot, title: string): string {
  return plot.kind === "lines" ? linesOf(plot, title) : barsOf(plot, title);
}

/** Text that may stand between tags and in attributes. */
export function escapeText(text: string): string {
  const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replace(/[&<>"]/g, (found) => entities[found]!);
}

/** A number for people: three digits that count, or all of a large one. */
export function formatNumber(value: number): string {
  if (Math.abs(value) >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

/** Values along an axis that are named: within, or just around, the least and the greatest value. */
export function ticksOf({ scale }: Pick<Axis, "scale">, least: number, greatest: number): number[] {
  if (scale === "quantile") {
    return [0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999].filter((tick) => tick <= greatest);
  }
  if (scale === "log") {
    const first = Math.floor(Math.log10(least)) - 1; // one more at each end, because logarithms are rounded
    const last = Math.ceil(Math.log10(greatest)) + 1;
    const digits = last - first > 5 ? [1] : [1, 2, 5];
    const all = Array.from({ length: last - first + 1 }, (_, i) => first + i)
      .flatMap((power) => digits.map((digit) => Number(`${digit}e${power}`)));
    const from = all.findLastIndex((tick) => tick <= least);
    const to = all.findIndex((tick) => tick >= greatest);
    return all.slice(from, Math.max(to, from + 1) + 1);
  }
  const span = greatest > 0 ? greatest : 1; // linear axes begin at 0
  const power = 10 ** Math.floor(Math.log10(span / 4));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power * 5 >= span)!;
  const count = Math.ceil(span / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(12)));
}

/** A value on its scale, such that equal distances look equal. */
function scaled({ scale }: Axis, value: number): number {
  if (scale === "log") return Math.log10(value);
  return scale === "quantile" ? -Math.log10(1 - value) : value;
}

/** Where the values of an axis are, in the picture. */
interface Placed {
  ticks: number[];
  at(value: number): number;
}

function place(axis: Axis, values: number[], [from, to]: [number, number]): Placed {
  const ticks = ticksOf(axis, Math.min(...values), Math.max(...values));
  const ends = [...ticks, ...values].map((value) => scaled(axis, value));
  const [least, greatest] = [Math.min(...ends), Math.max(...ends)];
  const at = (value: number): number =>
    from + (to - from) * (scaled(axis, value) - least) / (greatest - least);
  return { ticks, at };
}

function linesOf({ x, y, series }: LinePlot, title: string): string {
  const top = 16 + 20 * series.length;
  const points = series.flatMap((one) => one.points);
  const across = place(x, points.map((point) => point[0]), [left, right]);
  const up = place(y, points.map((point) => point[1]), [bottom, top]);
  const parts: string[] = [];
  for (const tick of up.ticks) {
    const at = round(up.at(tick));
    parts.push(`<line class="grid" x1="${left}" x2="${right}" y1="${at}" y2="${at}"/>`);
    parts.push(text(left - 8, at + 4, formatNumber(tick), "end"));
  }
  for (const tick of across.ticks) {
    const at = round(across.at(tick));
    parts.push(`<line class="grid" x1="${at}" x2="${at}" y1="${top}" y2="${bottom}"/>`);
    const name = x.scale === "quantile" ? `${Number((100 * tick).toPrecision(6))} %` : formatNumber(tick);
    parts.push(text(at, bottom + 18, name, "middle"));
  }
  parts.push(text((left + right) / 2, height - 8, x.label, "middle"));
  const middle = (top + bottom) / 2;
  parts.push(
    `<text x="14" y="${middle}" text-anchor="middle" transform="rotate(-90 14 ${middle})">` +
      `${escapeText(y.label)}</text>`,
  );
  for (const [i, one] of series.entries()) {
    const places = one.points.map(([a, b]) => `${round(across.at(a))},${round(up.at(b))}`);
    parts.push(`<polyline class="line color${i}" points="${places.join(" ")}"/>`);
    if (one.points.length <= 30) parts.push(...one.points.map((point, k) => dot(places[k]!, i, point)));
    parts.push(`<rect class="fill${i}" x="${left}" y="${8 + 20 * i}" width="14" height="4"/>`);
    parts.push(text(left + 20, 14 + 20 * i, one.name, "start"));
  }
  return element(height, title, parts);
}

function dot(position: string, color: number, [x, y]: readonly [number, number]): string {
  const [cx, cy] = position.split(",");
  const hint = `<title>${formatNumber(x)}: ${formatNumber(y)}</title>`;
  return `<circle class="fill${color}" cx="${cx}" cy="${cy}" r="3.5">${hint}</circle>`;
}

function barsOf({ label, bars }: BarPlot, title: string): string {
  const end = 8 + barHeight * bars.length;
  const axis: Axis = { label, scale: "linear" };
  const across = place(axis, bars.map(({ value }) => value), [barLeft, right - 60]); // room for the figures
  const parts: string[] = [];
  for (const tick of across.ticks) {
    const at = round(across.at(tick));
    parts.push(`<line class="grid" x1="${at}" x2="${at}" y1="8" y2="${end}"/>`);
    parts.push(text(at, end + 18, formatNumber(tick), "middle"));
  }
  for (const [i, { name, value }] of bars.entries()) {
    const y = 8 + barHeight * i;
    const to = round(across.at(value));
    parts.push(text(barLeft - 8, y + 17, name, "end"));
    parts.push(
      `<rect class="fill0" x="${barLeft}" y="${y + 4}" width="${round(to - barLeft)}" height="18"/>`,
    );
    parts.push(text(to + 6, y + 17, formatNumber(value), "start"));
  }
  parts.push(text((barLeft + right) / 2, end + 38, label, "middle"));
  return element(end + 46, title, parts);
}

function text(x: number, y: number, content: string, anchor: "start" | "middle" | "end"): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escapeText(content)}</text>`;
}

function element(heightOf: number, title: string, parts: string[]): string {
  return `<svg viewBox="0 0 ${width} ${heightOf}" role="img" aria-label="${escapeText(title)}">\n` +
    `${parts.join("\n")}\n</svg>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
