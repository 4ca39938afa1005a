/**
 * Where something was measured: figures mean nothing without it.
 *
 * @module
 */

import { cpus, release, totalmem, type } from "node:os";
import { version } from "../lib/version.ts";
import { quantile } from "./process_figures.ts";

/** What to tell of a machine, each for people. */
export interface Machine {
  date: string;
  kvapp: string;
  deno: string;
  processor: string;
  memory: string;
  system: string;
  fsync: string;
}

const fsyncs = 200;

/** Tells of this machine, and measures its disk in `folder`. */
export async function describeMachine(folder: string): Promise<Machine> {
  const processors = cpus();
  return {
    date: new Date().toISOString().slice(0, 16).replace("T", " ") + " UTC",
    kvapp: `${version}, commit ${await commit()}`,
    deno: Deno.version.deno,
    processor: `${processors.length} x ${processors[0]?.model ?? "unknown"}`,
    memory: `${(totalmem() / 2 ** 30).toFixed(1)} GiB`,
    system: `${type()} ${release()}`,
    fsync: await fsyncLatency(folder),
  };
}

/** Of small appends, one after the other, as a quiet log has them. */
async function fsyncLatency(folder: string): Promise<string> {
  const path = `${folder}/fsync`;
  const samples: number[] = [];
  {
    using file = await Deno.open(path, { create: true, append: true });
    for (let i = 0; i < fsyncs; i++) {
      const startedAt = performance.now();
      file.writeSync(new Uint8Array(400));
      await file.syncData();
      samples.push(performance.now() - startedAt);
    }
  }
  await Deno.remove(path);
  const [p50, p99] = [0.5, 0.99].map((share) => quantile(samples, share).toFixed(2));
  return `p50 ${p50} ms, p99 ${p99} ms: 400 bytes appended, in ${folder.slice(0, folder.lastIndexOf("/"))}`;
}

async function commit(): Promise<string> {
  const git = async (...args: string[]): Promise<string> => {
    const { stdout } = await new Deno.Command("git", { args, stderr: "null" }).output();
    return new TextDecoder().decode(stdout).trim();
  };
  try {
    const name = await git("rev-parse", "--short", "HEAD");
    if (name === "") return "unknown";
    return await git("status", "--porcelain") === "" ? name : `${name} with changes`;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return "unknown"; // there is no git here
  }
}
