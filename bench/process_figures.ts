/**
 * What the operating system knows of a node's process. Where it does not tell, there is nothing to report.
 *
 * @module
 */

import type { TestNode } from "../tests/e2e/cluster.ts";

/** The process that holds a node's folder. */
export async function pidOf({ folder }: TestNode): Promise<number> {
  return Number(await Deno.readTextFile(`${folder}/LOCK`));
}

/** The most memory that a node's process has held so far, in MiB; null: only Linux tells. */
export async function peakMebibytes(node: TestNode): Promise<number | null> {
  if (Deno.build.os !== "linux") return null;
  const status = await Deno.readTextFile(`/proc/${await pidOf(node)}/status`);
  const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  return kibibytes === undefined ? null : Math.round(Number(kibibytes) / 1024);
}

/** The processor time that a node's process has used so far, in milliseconds; null: only Linux tells. */
export async function processorMs(node: TestNode): Promise<number | null> {
  if (Deno.build.os !== "linux") return null;
  const text = await Deno.readTextFile(`/proc/${await pidOf(node)}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" "); // the name before may hold spaces
  return (Number(fields[11]) + Number(fields[12])) * msPerClockTick;
}

/** Linux tells programs of 100 ticks a second, whatever it uses itself. */
const msPerClockTick = 10;

/** What so many of the samples, a fraction, do not exceed. */
export function quantile(samples: readonly number[], fraction: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(fraction * sorted.length))]!;
}
