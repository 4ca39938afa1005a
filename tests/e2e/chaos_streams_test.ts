/**
 * What networks do to a stream of lines between nodes: it ends at any byte, comes byte by byte or many lines at once, or
 * with bits flipped. Only the connection that was cut or spoilt may end. `KVAPP_STREAM_CUTS=all KVAPP_STREAM_SECONDS=60`
 * cuts at every byte of each kind of line, and does each of the others for a minute.
 *
 * @module
 */

import { assertEquals, assertGreater } from "@std/assert";
import type { Direction, Filter, Link } from "../../lib/chaos/tcp_proxy.ts";
import { pause, type Trial, untilWrites, withTrial } from "./chaos_trial.ts";
import { until } from "./cluster.ts";
import { byLine } from "./tcp_proxy.ts";

/** Places of each kind of line at which connections are cut. */
const cuts = Deno.env.get("KVAPP_STREAM_CUTS") ?? "6";
const cutsMax = cuts === "all" ? Infinity : Number(cuts);
const seconds = Number(Deno.env.get("KVAPP_STREAM_SECONDS") ?? 1);

/** What a line on the raft port is; an entry's has no type. */
function kindOf(line: Uint8Array): string {
  const text = new TextDecoder().decode(line);
  return text.startsWith('{"crc"') ? "entry" : JSON.parse(text).type;
}

/** Puts a filter between the nodes while `body` runs; connections that ended meanwhile though nobody had touched them. */
async function filtered(
  { cluster: { network } }: Trial,
  filter: (link: Link, target: number, touch: () => void) => Filter,
  body: () => Promise<void>,
): Promise<number> {
  const links: Link[] = [];
  const touched = new Set<Link>();
  network.setFilter((link, target) => {
    links.push(link);
    return filter(link, target, () => touched.add(link));
  });
  await body();
  const ended = links.filter((link) => link.isEnded && !touched.has(link)).length;
  network.setFilter(null);
  return ended;
}

/** Cuts the connections of one node at some or all positions of lines of that kind; how many were cut. */
async function cutAtEach(trial: Trial, kind: string, victim: number): Promise<number> {
  const { random } = trial;
  let positions: number[] | null = null;
  let count = 0;
  const ended = await filtered(trial, (link, target, touch) =>
    byLine((direction, line) => {
      if (link.isEnded) return;
      const found = target === victim || link.dialler === victim ? kindOf(line) : "of others";
      // Who hears of no leader asks for votes.
      if (kind === "requestVote" && (found === "appendEntries" || found === "entry")) return;
      if (found === kind) positions ??= random.shuffled([...line.keys()]).slice(0, cutsMax);
      const at = found === kind ? positions!.pop() : undefined;
      if (at === undefined) return link.pass(direction, line);
      count++;
      touch();
      link.cut(direction, line.subarray(0, Math.min(at, line.length - 1)), random.chance(0.5));
    }), async () => {
    for (let left: number | null = null; left !== 0;) {
      const before: number | null = left;
      left = await until(`a ${kind} line is cut`, () => {
        return positions === null || positions.length === before ? null : positions.length;
      });
    }
  });
  assertEquals(ended, 0, "only what was cut has ended");
  return count;
}

/** Breaks what comes into single bytes, or pieces while much waits. Each leaves when the one before it has. */
function inPieces({ random }: Trial, link: Link): Filter {
  const waiting: Record<Direction, number[]> = { toTarget: [], toDialler: [] };
  const isBusy = { toTarget: false, toDialler: false };
  const pump = (direction: Direction): void => {
    const bytes = waiting[direction];
    isBusy[direction] = bytes.length > 0 && !link.isEnded;
    if (!isBusy[direction]) return;
    const size = bytes.length > 1000 ? 1 + random.below(bytes.length) : 1;
    link.pass(direction, Uint8Array.from(bytes.splice(0, size)), () => pump(direction));
  };
  return (direction, bytes) => {
    waiting[direction].push(...bytes);
    if (!isBusy[direction]) pump(direction);
  };
}

/** Gathers what comes and passes it on in pieces that end anywhere but at the end of a line. */
function joined({ random }: Trial, link: Link): Filter {
  const waiting: Record<Direction, number[]> = { toTarget: [], toDialler: [] };
  const isPlanned = { toTarget: false, toDialler: false };
  const flush = (direction: Direction): void => {
    const bytes = waiting[direction];
    isPlanned[direction] = false;
    if (bytes.length === 0 || link.isEnded) return;
    link.pass(direction, Uint8Array.from(bytes.splice(0, 1 + random.below(bytes.length))));
    plan(direction);
  };
  const plan = (direction: Direction): void => {
    if (isPlanned[direction]) return;
    isPlanned[direction] = true;
    setTimeout(() => flush(direction), random.between(0, 30));
  };
  return (direction, bytes) => {
    waiting[direction].push(...bytes);
    plan(direction);
  };
}

/** Flips a bit in some lines, and remembers in which connections. */
function spoilt({ random }: Trial, link: Link, touch: () => void): Filter {
  const chance = random.between(0.01, 0.1);
  return byLine((direction, line) => {
    if (random.chance(chance)) {
      line[random.below(line.length)]! ^= 1 << random.below(8);
      touch();
    }
    link.pass(direction, line);
  });
}

Deno.test("a connection between nodes that ends at any byte of a line ends alone, and the cluster goes on", async () => {
  await withTrial({ clients: 2 }, async (trial) => {
    await untilWrites(trial, 5);
    const leader = (await trial.cluster.leader()).id;
    const victim = leader % 3 + 1;
    const counts: Record<string, number> = {};
    for (const kind of ["hello", "appendEntries", "entry", "requestVote"]) {
      counts[kind] = await cutAtEach(trial, kind, victim);
      await untilWrites(trial, 5);
    }
    console.error(`cut in ${JSON.stringify(counts)}`);
    if (cuts !== "all") assertEquals(Object.values(counts), Array(4).fill(cutsMax));
  });
});

Deno.test("nodes understand lines that come byte by byte, or many at once and cut anywhere", async () => {
  await withTrial({ clients: 2 }, async (trial) => {
    for (const shape of [inPieces, joined]) {
      const ended = await filtered(trial, (link) => shape(trial, link), async () => {
        await untilWrites(trial, 10);
        await pause(seconds * 1000);
        await untilWrites(trial, 10);
      });
      assertEquals(ended, 0, "nothing was wrong with any of it");
    }
  });
});

Deno.test("a line with a flipped bit ends its own connection only, and never a node", async () => {
  await withTrial({ clients: 2 }, async (trial) => {
    let flips = 0;
    const ended = await filtered(
      trial,
      (link, _, touch) =>
        spoilt(trial, link, () => {
          flips++;
          touch();
        }),
      () => pause(seconds * 1000),
    );
    await untilWrites(trial, 20);
    console.error(`${flips} flipped bits`);
    assertGreater(flips, 0);
    assertEquals(ended, 0, "only what was spoilt has ended");
  });
});
