/**
 * Known bugs, put on purpose into a copy of the source, to see that the simulator finds them. The program itself has
 * no trace of them: each is a change of its text, which must fit exactly once or the mutant is out of date.
 *
 * @module
 */

import { clients } from "./mutants/clients.ts";
import { elections } from "./mutants/elections.ts";
import type { Mutant } from "./mutants/mutant.ts";
import { reads } from "./mutants/reads.ts";
import { replication } from "./mutants/replication.ts";
import { snapshots } from "./mutants/snapshots.ts";
import { storage } from "./mutants/storage.ts";

/** All bugs by name. */
export const mutants: Record<string, Mutant> = {
  ...elections,
  ...replication,
  ...reads,
  ...snapshots,
  ...storage,
  ...clients,
};

const root = new URL("../../", import.meta.url);

/** The text of `file` with the bug in it. Throws when the bug does not fit. */
export function plant({ changes }: Mutant, file: string, text: string): string {
  for (const change of changes) {
    if (change.file !== file) continue;
    const parts = text.split(change.from);
    if (parts.length !== 2) {
      throw new Error(
        `a bug fits ${parts.length - 1} times into ${file}, not once; bring it up to date: ${change.from}`,
      );
    }
    text = parts.join(change.to);
  }
  return text;
}

/** The source with a bug in it, in a folder of its own. */
export class Copy implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async with(mutant: Mutant): Promise<Copy> {
    const folder = await Deno.makeTempDir({ prefix: "kvapp-mutant-" });
    for (const part of ["lib", "tests/sim"]) await copy(part, folder);
    await Deno.copyFile(new URL("deno.json", root), `${folder}/deno.json`);
    for (const file of new Set(mutant.changes.map(({ file }) => file))) {
      const path = `${folder}/${file}`;
      await Deno.writeTextFile(path, plant(mutant, file, await Deno.readTextFile(path)));
    }
    return new Copy(folder);
  }

  /** Runs the simulator with `args`; the code is 1 when the bug was found. */
  async run(args: string[]): Promise<{ code: number; output: string }> {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "tests/sim/main.ts", ...args],
      cwd: this.#folder,
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#folder, { recursive: true });
  }
}

async function copy(part: string, folder: string): Promise<void> {
  await Deno.mkdir(`${folder}/${part}`, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(new URL(`${part}/`, root))) {
    if (isDirectory) await copy(`${part}/${name}`, folder);
    else await Deno.copyFile(new URL(`${part}/${name}`, root), `${folder}/${part}/${name}`);
  }
}

/** Runs the simulator with `args` on a copy of the source that has a bug. */
export async function runMutant(name: string, args: string[]): Promise<{ code: number; output: string }> {
  await using copy = await Copy.with(mutants[name]!);
  return await copy.run([...args, "--planted", name]);
}
