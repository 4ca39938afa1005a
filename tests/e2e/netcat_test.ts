/**
 * Real nodes answer as the conformance files in netcat/ say, line by line; nothing of the protocol is missing there;
 * and PROTOCOL.md shows nothing that they do not say.
 *
 * @module
 */

import { assertEquals, assertGreater } from "@std/assert";
import { errorMeanings } from "../../lib/protocol/errors.ts";
import { type Operation, operations } from "../../lib/protocol/operations.ts";
import { cannotMount, mount, unmount } from "../io/small_disk.ts";
import { steady, until, withCluster } from "./cluster.ts";
import { LineConnection } from "./line_connection.ts";
import { parseScript, type Quote, quotesOf, says, type Step } from "./netcat/script.ts";
import { hasNetcat, Talk } from "./netcat/talk.ts";

const folder = new URL("netcat/", import.meta.url);
/** This one is for a node that has no room. */
const fullDisk = "full_disk.txt";

const files = new Map<string, Step[]>();
for (const { name } of [...Deno.readDirSync(folder)].sort((a, b) => a.name < b.name ? -1 : 1)) {
  if (name.endsWith(".txt")) files.set(name, parseScript(Deno.readTextFileSync(new URL(name, folder))));
}

const through = hasNetcat ? "netcat" : "a plain connection, there being no nc with -N";

Deno.test(`a cluster answers through ${through} what the conformance files say`, async (test) => {
  await withCluster({ nodes: 3, args: steady }, async (cluster) => {
    const failed: string[] = [];
    for (const [name, steps] of files) {
      if (name === fullDisk) continue;
      if (!await test.step(name, () => new Talk(cluster).run(steps))) failed.push(name);
    }
    assertEquals(failed, []);
  });
});

Deno.test({
  name: `a node with a full disk answers what ${fullDisk} says` +
    (cannotMount === null ? "" : ` (skipped: ${cannotMount})`),
  ignore: cannotMount !== null,
  async fn() {
    await withCluster({ nodes: 1, start: false }, async (cluster) => {
      const [node] = cluster.nodes;
      await Deno.mkdir(node!.folder);
      if (!mount(node!.folder, 8 << 10)) throw new Error(`cannot mount ${node!.folder}`);
      try {
        node!.start();
        await cluster.leader();
        using connection = await LineConnection.open(node!.client);
        const value = "x".repeat(1 << 20);
        await connection.send(Array.from({ length: 10 }, () => ({ op: "put", key: "large", value })));
        await until("the disk is full", async () => await node!.diskState() === "full" || null);
        await new Talk(cluster).run(files.get(fullDisk)!);
      } finally {
        await node!.destroy();
        unmount(node!.folder);
      }
    });
  },
});

/** All lines of a kind. */
function linesOf(kind: Step["kind"]): string[] {
  return [...files.values()].flat().filter((step) => step.kind === kind).map(({ text }) => text);
}

Deno.test("the conformance files have every operation with every field, every error and every kind of event", () => {
  const missing: string[] = [];
  const [sent, expected] = [linesOf(">"), linesOf("<")];
  for (const [name, { fields }] of Object.entries<Operation>(operations)) {
    const requests = sent.filter((line) => line.startsWith(`{"op":"${name}"`));
    for (const field of [...Object.keys(fields), "op", "trace"]) {
      if (!requests.some((line) => line.includes(`"${field}":`))) missing.push(`${name} with ${field}`);
    }
  }
  for (const code of Object.keys(errorMeanings)) {
    if (!expected.some((line) => line.includes(`"error":{"code":"${code}"`))) missing.push(code);
  }
  for (const type of ["put", "delete", "expire", "reset", "progress"]) {
    if (!expected.some((line) => line.includes(`,"type":"${type}"`))) missing.push(`event ${type}`);
  }
  assertEquals(missing, []);
});

Deno.test("PROTOCOL.md shows only sessions that the conformance files have", () => {
  const page = Deno.readTextFileSync(new URL("../../PROTOCOL.md", import.meta.url));
  const quotes = quotesOf(page.split("\n## The raft port\n")[0]!);
  const found = (quote: Quote) => [...files.values()].some((steps) => says(steps, quote));
  assertEquals(quotes.filter((quote) => !found(quote)), []);
  assertGreater(quotes.length, 20, "the sessions must have been found");
});
