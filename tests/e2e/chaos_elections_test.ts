/**
 * Nodes that are killed at the worst moments: while they vote, and between a write and its answer.
 * `KVAPP_ELECTION_KILLS=100 KVAPP_ANSWER_KILLS=100` does it so often.
 *
 * @module
 */

import { assert, assertGreater } from "@std/assert";
import type { ChaosNode } from "../../lib/chaos/cluster.ts";
import { clear } from "../../lib/chaos/tcp_proxy.ts";
import { pause, type Trial, untilWrites, withTrial } from "./chaos_trial.ts";
import { patienceMs, within } from "./cluster.ts";
import { byLine } from "./tcp_proxy.ts";

const electionKills = Number(Deno.env.get("KVAPP_ELECTION_KILLS") ?? 3);
const answerKills = Number(Deno.env.get("KVAPP_ANSWER_KILLS") ?? 3);
/** Kills come so soon after what was waited for, and answers to clients are so late. */
const windowMs = 50;

/** Kills nodes and starts them again after a moment. */
async function killAndStart(nodes: readonly ChaosNode[], { random }: Trial): Promise<void> {
  await Promise.all(nodes.map((node) => node.kill()));
  await pause(random.between(0, 300));
  for (const node of nodes) node.start();
}

/** A request for a vote or its answer. */
interface Vote {
  from: number;
  to: number;
  preVote: boolean;
}

/** Tells of each vote that is on its way. */
function watchVotes({ cluster: { network } }: Trial, onVote: (vote: Vote) => void): void {
  network.setFilter((link) =>
    byLine((direction, line) => {
      const text = new TextDecoder().decode(line);
      if (text.includes('"type":"requestVote')) onVote(JSON.parse(text));
      link.pass(direction, line);
    })
  );
}

Deno.test("nodes killed within 50 ms of a vote elect one leader a term, and lose no acknowledged write (paper 5.2)", async () => {
  await withTrial({}, async (trial) => {
    const { cluster, random } = trial;
    const seen = { pre: 0, real: 0 };
    let next: ((vote: Vote) => void) | null = null;
    watchVotes(trial, (vote) => {
      seen[vote.preVote ? "pre" : "real"]++;
      next?.(vote);
    });
    for (let round = 0; round < electionKills; round++) {
      await untilWrites(trial, 10);
      const leader = await cluster.leader();
      const vote = new Promise<Vote>((resolve) => {
        let ignored = random.below(2); // a request or an answer
        next = (vote) => {
          if (vote.preVote === (round % 4 === 3) && ignored-- === 0) resolve(vote);
        };
      });
      await leader.kill();
      leader.start();
      const { from, to } = await within(patienceMs, "a vote", vote);
      next = null;
      await pause(random.between(0, windowMs));
      const ids = random.pick([[from], [to], [from, to]]);
      await killAndStart(ids.map((id) => cluster.nodes[id - 1]!), trial);
    }
    console.error(`${electionKills} kills near votes; seen: ${seen.pre} pre-votes, ${seen.real} votes`);
    assert(seen.pre > 0 && seen.real > 0);
  });
});

Deno.test("a write whose answer is lost with the leader has happened or has not, and never both in turn", async () => {
  await withTrial({ clientProxies: true }, async (trial) => {
    const { cluster, clients, random } = trial;
    /** Proxies whose answers are lost. */
    const mute = new Set<unknown>();
    let onWrite: ((id: number) => void) | null = null;
    for (const [i, proxy] of cluster.clientProxies.entries()) {
      proxy.conditions = (_, direction) =>
        direction === "toTarget"
          ? clear
          : { ...clear, delayMs: windowMs, fate: mute.has(proxy) ? "reset" : "pass" };
      proxy.filter = (link) => (direction, bytes) => {
        const isWrite = direction === "toTarget" && /"op":"[pdi]/.test(new TextDecoder().decode(bytes));
        if (isWrite) onWrite?.(i + 1);
        link.pass(direction, bytes);
      };
      proxy.cutAll(true);
    }
    let wereUnknown = 0;
    for (let round = 0; round < answerKills; round++) {
      await untilWrites(trial, 10);
      const write = new Promise<number>((resolve) => onWrite = resolve);
      const id = await within(patienceMs, "a write", write);
      onWrite = null;
      await pause(random.between(0, windowMs));
      const proxy = cluster.clientProxies[id - 1]!;
      const before = clients.counts.unknown;
      if (round % 2 === 0) mute.add(proxy); // else the answers that are on their way arrive
      proxy.changed();
      await killAndStart(random.chance(0.5) ? cluster.nodes : [cluster.nodes[id - 1]!], trial);
      mute.clear();
      proxy.changed();
      if (clients.counts.unknown > before) wereUnknown++;
    }
    const { acknowledgedWrites, unknown } = clients.counts;
    console.error(`${answerKills} kills before answers, ${acknowledgedWrites} writes, ${unknown} unanswered`);
    assertGreater(wereUnknown, 0);
  });
});
