/**
 * The ledger: long runs of the simulator that were made, in lines of JSON for at most a thousand seeds each, in
 * `ledger.ndjson`. It says of which commit a run was, so it is made from a clean checkout.
 *
 * @module
 */

/** One run. */
export interface Run {
  commit: string;
  /** The seeds from `first` on. */
  first: number;
  seeds: number;
  failed: number;
  seconds: number;
  counters: Record<string, number>;
}

const file = new URL("ledger.ndjson", import.meta.url);

/** All runs, oldest first. */
export function readLedger(): Run[] {
  return Deno.readTextFileSync(file).split("\n").filter((line) => line !== "").map((line) =>
    JSON.parse(line)
  );
}

/** Adds a run. */
export function addToLedger(run: Run): void {
  Deno.writeTextFileSync(file, `${JSON.stringify(run)}\n`, { append: true });
}

/** The present commit. Throws when the checkout differs from it. */
export function commitOfCheckout(): string {
  if (git("status", "--porcelain") !== "") {
    throw new Error("--ledger names a commit, and the checkout differs from it: commit first");
  }
  return git("rev-parse", "HEAD");
}

function git(...args: string[]): string {
  const cwd = new URL(".", import.meta.url);
  const { success, stdout, stderr } = new Deno.Command("git", { args, cwd }).outputSync();
  if (!success) throw new Error(`git ${args.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
  return new TextDecoder().decode(stdout).trim();
}
