/**
 * `kvapp client`: one operation, or the shell when none is named.
 *
 * @module
 */

import { connect } from "../client/client.ts";
import { ClientError } from "../client/errors.ts";
import { parseClientCluster } from "./addresses.ts";
import { clientOperations, operationFor, operationOptions } from "./client_operations.ts";
import { CommandError, exitCodeOf, exitCodes } from "./exit.ts";
import type { Subcommand } from "./help.ts";
import { interruptedText, type Operation } from "./operation.ts";
import { note, print, printError } from "./output.ts";
import { runShell } from "./shell.ts";

/** `kvapp client`. */
export const clientCommand: Subcommand = {
  name: "client",
  summary: "opens a shell on a cluster, or carries out one operation",
  usage: [
    "client [--cluster HOST:PORT,...]",
    ...Object.entries(clientOperations).map(([name, { usage }]) => `client ${name} ${usage}`),
    "client put <key> -     the value comes from stdin",
    "client txn -           the transaction comes from stdin",
    "client import -        the lines come from stdin",
  ],
  options: [
    { name: "cluster", value: "LIST", text: "raft or client addresses of some nodes (127.0.0.1:8080)" },
    { name: "timeout", value: "MS", text: "bound on each operation, retries included (10000)" },
    { name: "json", text: "print the reply lines themselves" },
    ...operationOptions,
  ],
  words: Object.keys(clientOperations),
  details: `What follows "--" is no option: kvapp client put temperature -- -5`,
  async run(parsed) {
    const cluster = parseClientCluster(parsed.text("cluster"));
    const timeoutMs = parsed.integer("timeout", { min: 1, max: 86_400_000 });
    const [name, ...words] = parsed.rest;
    const operation = name === undefined ? null : operationFor(name, parsed, words);
    await using client = await connect(cluster, timeoutMs === undefined ? {} : { timeoutMs });
    if (operation === null) return await runShell(client, { cluster, json: parsed.flag("json") });
    const takesStdin = (name === "put" && words.length === 2) || name === "txn";
    if (takesStdin && words.at(-1) === "-") words[words.length - 1] = await readStdin();
    const json = parsed.flag("json");
    const signal = interruption(operation);
    try {
      const context = { client, cluster, json, signal, mayReadStdin: true };
      const { text, exitCode, note: beside } = await operation.run(words, parsed, context);
      if (text !== null && (json || exitCode === exitCodes.done)) print(text);
      else if (text !== null) printError(text);
      if (beside !== undefined) note(beside);
      return exitCode;
    } catch (error) {
      if (operation.isEndless && error === signal.reason) return exitCodeOf(error)!;
      if (!json || !(error instanceof ClientError)) throw error;
      print(JSON.stringify({ ok: false, error: error.details }));
      return exitCodeOf(error)!;
    }
  },
};

const signals: readonly [Deno.Signal, number][] = Deno.build.os === "windows"
  ? [["SIGINT", 130]]
  : [["SIGINT", 130], ["SIGTERM", 143]];

/** The first signal ends the operation, which may say how far it came; the second one ends the process. */
function interruption(operation: Operation): AbortSignal {
  const abort = new AbortController();
  for (const [name, exitCode] of signals) {
    Deno.addSignalListener(name, () => {
      if (abort.signal.aborted) Deno.exit(exitCode);
      abort.abort(new CommandError(interruptedText(operation), exitCode));
    });
  }
  return abort.signal;
}

/** All of stdin as text. Bytes that are no UTF-8 are refused, since a value could not give them back. */
async function readStdin(): Promise<string> {
  const bytes = new Uint8Array(await new Response(Deno.stdin.readable).arrayBuffer());
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}
