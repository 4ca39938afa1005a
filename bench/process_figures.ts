/**
 * What the operating system knows of a node's process. Where it does not tell, there is nothing to report.
 *
 * @module
 */

import type { TestNode } from "../tests/e2e/cluster.ts";

/** Memory of a node's process in MiB: what it holds and the most that it has held; null: only Linux tells. */
export async function mebibytesOf(node: TestNode): Promise<{ now: number; peak: number } | null> {
  if (Deno.build.os !== "linux") return null;
  const figure = await statusOf(node);
  return { now: Math.round(figure("VmRSS") / 1024), peak: Math.round(figure("VmHWM") / 1024) };
}

/** What Linux tells of a process by name; memory is in KiB. */
export async function statusOf({ pid }: { readonly pid: number }): Promise<(name: string) => number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]);
}

/** Memory, open files and threads of a node's process, where Linux tells. */
export async function processFigures(
  node: TestNode,
): Promise<{ rssMebibytes: number; descriptors: number; threads: number }> {
  const figure = await statusOf(node);
  const descriptors = Array.from(Deno.readDirSync(`/proc/${node.pid}/fd`)).length;
  return { rssMebibytes: figure("VmRSS") / 1024, descriptors, threads: figure("Threads") };
}

/** The processor time that a node's process has used so far, in milliseconds; null: only Linux tells. */
export async function processorMs(node: TestNode): Promise<number | null> {
  if (Deno.build.os !== "linux") return null;
  const text = await Deno.readTextFile(`/proc/${node.pid}/stat`);
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

/** Bytes that a node's process had written to disks so far, as the kernel counts, in pages; null: only Linux tells. */
export async function bytesWritten(node: TestNode): Promise<number | null> {
  if (Deno.build.os !== "linux") return null;
  return Number(/^write_bytes: (\d+)$/m.exec(await Deno.readTextFile(`/proc/${node.pid}/io`))?.[1]);
}
