/**
 * `deno task explore`: visits every state that three nodes can get into within bounds, and says what it saw.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import * as realCore from "../../lib/raft/raft.ts";
import { type Bounds, elections, scopes } from "./bounds.ts";
import { bugs, coreWith } from "./bugs.ts";
import { Explorer, type Outcome } from "./explorer.ts";
import type { Core } from "./processes.ts";
import { promises, type SafetyPromise } from "./violation.ts";
import { describeOutcome, describeWay } from "./words.ts";

const boundNames = Object.keys(elections) as (keyof Bounds)[];

const usage = `Usage: deno task explore [BOUNDS] [--only PROMISE] [--plant BUG] [--verbose]

Three nodes, from their founding on, in every order of: an election timeout, a message that arrives, arrives twice
or is lost, a write that becomes durable, a crash that loses any part of what was not, a restart, a heartbeat, a
client's command. Not explored: several inputs before one takeReady, reads, transfers, snapshots, lost folders.

Without bounds: ${Object.keys(scopes).join(", ")}, one after the other.
With some, one exploration; those that are not given are as shown.

  --terms ${elections.terms}       latest term
  --entries ${elections.entries}     longest log, the founding entry aside
  --packets ${elections.packets}     messages on the way at one moment; of more, any may be lost
  --timeouts ${elections.timeouts}    election timeouts on one path, at most 15; so with the next ones:
  --heartbeats ${elections.heartbeats} --proposals ${elections.proposals} --crashes ${elections.crashes} --losses ${elections.losses} --duplicates ${elections.duplicates}
  --states ${elections.states}   stop there
  --only         look for breaches of one promise only:
                 ${promises.map((promise) => `"${promise}"`).join("\n                 ")}
  --plant        put a known bug into a copy of the core first, within bounds that find it; it must be found:
                 ${Object.keys(bugs).join(", ")}
  --verbose      tell each depth
`;

async function main(args: string[]): Promise<number> {
  const options = parseArgs(args, {
    string: [...boundNames, "only", "plant"],
    boolean: ["verbose", "help"],
    unknown: (name) => refuse(`unknown option ${name}`),
  });
  if (options.help) {
    console.log(usage);
    return 0;
  }
  const only = promises.find((promise) => promise === options.only) ?? null;
  if (options.only !== undefined && only === null) {
    refuse(`there is no promise ${JSON.stringify(options.only)}`);
  }
  const given = boundNames.flatMap((name) => {
    const text = options[name] as string | undefined;
    if (text === undefined) return [];
    const most = name === "states" ? 50_000_000 : 15;
    if (!/^\d+$/.test(text) || Number(text) > most) refuse(`--${name} must be a number up to ${most}`);
    return [[name, Number(text)]];
  });
  const { verbose } = options;
  if (options.plant !== undefined) {
    const bug = bugs[options.plant] ?? refuse(`there is no bug ${JSON.stringify(options.plant)} to plant`);
    console.log(`planted in a copy of the core: ${bug.bug}`);
    const bounds = { ...elections, ...bug.bounds, ...Object.fromEntries(given) };
    const { violation } = explore(await coreWith(bug), bounds, { only: only ?? bug.only ?? null, verbose });
    console.log(violation ? "the planted bug was found" : "the planted bug was NOT found");
    return violation ? 0 : 1;
  }
  const asked = given.length > 0 ? { "as asked": { ...elections, ...Object.fromEntries(given) } } : scopes;
  let states = 0;
  for (const [name, bounds] of Object.entries<Bounds>(asked)) {
    console.log(`${name}: ${boundNames.map((bound) => `${bounds[bound]} ${bound}`).join(", ")}`);
    const outcome = explore(realCore, bounds, { only, verbose });
    if (outcome.violation !== null) return 1;
    states += outcome.states;
  }
  console.log(`${states.toLocaleString("en")} states, no violation`);
  return 0;
}

function explore(core: Core, bounds: Bounds, how: { only: SafetyPromise | null; verbose: boolean }): Outcome {
  const startedAt = performance.now();
  const onDepth = ({ depth, states }: Outcome) => {
    if (how.verbose) console.log(`depth ${depth}: ${states} states`);
  };
  const explorer = new Explorer({ core, bounds, only: how.only, onDepth });
  const outcome = explorer.run();
  console.log(describeOutcome(outcome, (performance.now() - startedAt) / 1000));
  console.log(
    outcome.violation ? `\n${describeWay(outcome, explorer.processes.packets)}\n` : "no violation\n",
  );
  return outcome;
}

function refuse(problem: string): never {
  console.error(`${problem}\n\n${usage}`);
  Deno.exit(2);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
