/**
 * Runs the simulator on every mutant, several times from different first seeds, and says how many seeds each took until
 * it was found. A mutant that is not found shows what the simulator does not see.
 *
 * @module
 */

import { Copy } from "./mutants.ts";
import type { Mutant } from "./mutants/mutant.ts";

/** How to run them. */
export interface Mutation {
  /** A mutant must be found within so many seeds. */
  seedsMax: number;
  /** Each is looked for so many times. */
  repeat: number;
  /** So many mutants at a time. */
  jobs: number;
  onVerdict(verdict: Verdict): void;
}

/** What became of a mutant. */
export interface Verdict {
  name: string;
  mutant: Mutant;
  /** Of each time: which seed found it, counted from 1; null: none did. */
  seeds: (number | null)[];
  /** What was found not to hold, each once. */
  invariants: string[];
}

/** The first seeds of two times are so far apart. */
const stride = 10_000;

/** Looks for all of them. The verdicts come in the order of the names. */
export async function runMutants(
  mutants: Record<string, Mutant>,
  { seedsMax, repeat, jobs, onVerdict }: Mutation,
): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  const left = Object.entries(mutants).entries();
  const work = async (): Promise<void> => {
    for (const [i, [name, mutant]] of left) {
      verdicts[i] = await lookFor(name, mutant, { seedsMax, repeat });
      onVerdict(verdicts[i]);
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return verdicts;
}

async function lookFor(
  name: string,
  mutant: Mutant,
  { seedsMax, repeat }: Pick<Mutation, "seedsMax" | "repeat">,
): Promise<Verdict> {
  await using copy = await Copy.with(mutant);
  const seeds: (number | null)[] = [];
  const invariants = new Set<string>();
  for (let time = 0; time < repeat; time++) {
    const first = 1 + time * stride;
    const args = ["--seed", `${first}`, "--seeds", `${seedsMax}`, "--jobs", "1", "--stop"];
    const { output } = await copy.run(args);
    const seed = /^SEED (\d+) FAILED/m.exec(output)?.[1];
    const isWhole = /^\d+ seeds passed, \d+ failed$/m.test(output);
    if (!isWhole) throw new Error(`the simulator broke with the mutant ${name}:\n${output}`);
    seeds.push(seed === undefined ? null : Number(seed) - first + 1);
    const [, invariant] = /^what must hold: (?:(\w+): )?/m.exec(output) ?? [];
    const other = output.includes("what must hold: an assertion") ? "assertion" : "thrown";
    if (seed !== undefined) invariants.add(invariant ?? other);
  }
  return { name, mutant, seeds, invariants: [...invariants] };
}

/** Whether it was found each time. */
export function isFound({ seeds }: Verdict): boolean {
  return !seeds.includes(null);
}

/** The verdicts for people. */
export function tableOf(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(({ name, mutant, seeds, invariants }) => {
    const sorted = seeds.map((seed) => seed ?? Infinity).sort((a, b) => a - b);
    const numbers = [sorted[sorted.length >> 1]!, sorted.at(-1)!];
    const [median, most] = numbers.map((number) => number === Infinity ? "not found" : `${number}`);
    return [
      name,
      mutant.classes.join(" "),
      mutant.bug,
      invariants.join(" "),
      `${seeds.length}`,
      median!,
      most!,
    ];
  });
  const lines = [["name", "classes", "what is wrong", "found by", "times", "seeds, median", "most"], ...rows];
  const widths = lines[0]!.map((_, i) => Math.max(...lines.map((cells) => cells[i]!.length)));
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`;
  return [line(lines[0]!), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}
