/**
 * The main job on real input: a long word list is stored while nodes die with SIGKILL, and afterwards every node holds
 * the same, with each acknowledged word as it was acknowledged.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { type Client, connect } from "../../mod.ts";
import { type TestCluster, until, withCluster } from "./cluster.ts";
import { wordList } from "./word_list.ts";

const writers = 128;
/** More than a cluster may take to come back; with it, no write may fail. */
const client = { timeoutMs: 90_000 };

/** A load under way. */
interface Load {
  /** Words that were acknowledged, with the version that the reply told. */
  acknowledged: Map<string, number>;
  /** Resolves when every word is stored. */
  done: Promise<unknown>;
}

function valueOf(word: string): string {
  return `${word.length} letters: ${word.toUpperCase()}`;
}

/** Stores the words, many at a time. Each must be new, so a write that happened twice would be refused and noticed. */
function startLoad(client: Client, words: readonly string[]): Load {
  const acknowledged = new Map<string, number>();
  let next = 0;
  const write = async (): Promise<void> => {
    for (let word; (word = words[next++]) !== undefined;) {
      acknowledged.set(word, (await client.put(word, valueOf(word), { ifVersion: 0 })).version);
    }
  };
  return { acknowledged, done: Promise.all(Array.from({ length: writers }, write)) };
}

async function untilHalfDone({ acknowledged, done }: Load, words: readonly string[]): Promise<void> {
  const half = until("half of the words are stored", () => acknowledged.size >= words.length / 2 || null);
  await Promise.race([half, done]);
  assertLess(acknowledged.size, words.length * 0.9, "the load must go on when the nodes die");
}

/** All nodes hold exactly the words, each as it was acknowledged: once, and none lost. */
async function checkEverything(cluster: TestCluster, { acknowledged }: Load): Promise<void> {
  await cluster.settled();
  const lines = await Promise.all(
    cluster.nodes.map(async (node) =>
      (await node.keys()).map(({ key, value, version }) => `${key}\t${value}\t${version}`)
    ),
  );
  const expected = [...acknowledged].map(([word, version]) => `${word}\t${valueOf(word)}\t${version}`).sort();
  for (const [i, found] of lines.entries()) {
    const differs = found.findIndex((line, at) => line !== expected[at]);
    assertEquals(differs < 0 ? null : [found[differs], expected[differs]], null, `on node ${i + 1}`);
    assertEquals(found.length, expected.length, `number of keys on node ${i + 1}`);
  }
  const versions = new Set(acknowledged.values());
  assertEquals(versions.size, acknowledged.size, "each word has an entry of its own in the log");
}

Deno.test("a word list is stored while the leader is killed half-way: nothing is lost, all nodes are equal", async () => {
  const words = await wordList();
  await withCluster({ nodes: 3 }, async (cluster) => {
    const first = await cluster.leader();
    const { term } = (await first.status())!;
    await using writer = await connect(cluster.addresses, client);
    const load = startLoad(writer, words);
    await untilHalfDone(load, words);
    await first.kill();
    const second = await cluster.leader();
    assert(second !== first);
    assertGreater((await second.status())!.term, term);
    await load.done;
    assertEquals(load.acknowledged.size, words.length);
    first.start();
    await checkEverything(cluster, load);
  });
});

Deno.test("a word list is stored while all nodes are killed at once: what was acknowledged is on their disks", async () => {
  const words = await wordList();
  await withCluster({ nodes: 3 }, async (cluster) => {
    await cluster.leader();
    await using writer = await connect(cluster.addresses, client);
    const load = startLoad(writer, words);
    await untilHalfDone(load, words);
    await Promise.all(cluster.nodes.map((node) => node.kill()));
    const before = load.acknowledged.size; // nobody sends these again
    cluster.start();
    await cluster.leader();
    await load.done;
    assertGreater(load.acknowledged.size, before);
    assertEquals(load.acknowledged.size, words.length);
    await checkEverything(cluster, load);
  });
});
