/**
 * Every error that says `definite` means that its line did nothing and never will. Here each is brought about on real
 * Servers; then all troubles end, the power fails, and no node may hold anything of the line: its entry is in no log,
 * or, when the state machine refused it, the state is the one that the log without it makes.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Command } from "../../lib/kv/command.ts";
import { Store } from "../../lib/kv/store.ts";
import { type ErrorCode, errorMeanings } from "../../lib/protocol/errors.ts";
import type { Limits } from "../../lib/server/options.ts";
import { type Client, type Node, SmallCluster } from "./cluster.ts";

type Json = Record<string, unknown>;

/** Every line that is to be refused says this somewhere, and no other one does. */
const mark = "424242";
const put: Json = { op: "put", key: "a", value: mark };
const other: Json = { op: "put", key: "b", value: "x".repeat(200) };

/** A way to an error. */
interface Case {
  code: ErrorCode;
  /** Why it comes. */
  why: string;
  limits?: Partial<Limits>;
  /** The state machine refuses it: its entry is in the log and did nothing. */
  isInLog?: true;
  /** Returns the reply that must be the error. Whatever it does to nodes is healed afterwards. */
  provoke(cluster: SmallCluster, client: Client, leader: Node): Json;
}

/** Says these lines one after another; the last reply. */
function say(client: Client, ...requests: Json[]): Json {
  return requests.map((request) => client.ask(request)).at(-1)!;
}

function followersOf(cluster: SmallCluster, leader: Node): Node[] {
  return cluster.nodes.filter((node) => node !== leader);
}

/** From now on the leader hears nobody but its client. */
function pauseFollowers(cluster: SmallCluster, client: Client, leader: Node): void {
  say(client, { op: "ping" }); // it is connected
  for (const { machine } of followersOf(cluster, leader)) machine.pause();
}

const cases: Case[] = [
  {
    code: "badRequest",
    why: "a field is missing",
    provoke: (_, client) => say(client, { op: "put", key: mark }),
  },
  {
    code: "badRequest",
    why: "a field is unknown",
    provoke: (_, client) => say(client, { ...put, ifVresion: 0 }),
  },
  {
    code: "tooLarge",
    why: "the line is",
    limits: { requestLineBytesMax: 1000 },
    provoke: (_, client) => say(client, { ...put, value: mark.repeat(1000) }),
  },
  {
    code: "tooLarge",
    why: "the key is",
    provoke: (_, client) => say(client, { ...put, key: mark.repeat(1000) }),
  },
  {
    code: "tooLarge",
    why: "the value is",
    limits: { valueBytesMax: 5 },
    provoke: (_, client) => say(client, put),
  },
  {
    code: "tooLarge",
    why: "the sum has too many digits",
    isInLog: true,
    provoke: (_, client) =>
      say(client, { op: "put", key: "n", value: "9".repeat(1000) }, { op: "increment", key: "n", by: mark }),
  },
  {
    code: "tooLarge",
    why: "a transaction answers too much",
    isInLog: true,
    provoke: (_, client) =>
      say(client, { op: "put", key: "b", value: "x".repeat(1 << 20) }, {
        op: "txn",
        then: [put, ...Array.from({ length: 3 }, () => ({ op: "get", key: "b" }))],
      }),
  },
  {
    code: "tooLarge",
    why: "a transaction deletes too many keys",
    isInLog: true,
    provoke(_, client) {
      for (let i = 0; i <= 10_000; i += 100) {
        const then = Array.from({ length: 100 }, (_, j) => ({ op: "put", key: `k${i + j}`, value: "" }));
        say(client, { op: "txn", then });
      }
      return say(client, { op: "txn", then: [put, { op: "deleteRange", prefix: "k" }] });
    },
  },
  {
    code: "unknownOperation",
    why: "there is none of that name",
    provoke: (_, client) => say(client, { op: mark }),
  },
  {
    code: "notLeader",
    why: "a follower is asked",
    provoke: (cluster) => cluster.client(cluster.follower).ask(put),
  },
  {
    code: "noLeader",
    why: "too few nodes are up to elect one",
    provoke(cluster, _, leader) {
      const [gone, left] = followersOf(cluster, leader);
      for (const node of [leader, gone!]) cluster.kill(node);
      cluster.until(() => left!.server!.raft.leaderId === null, "it knows that nobody leads");
      return cluster.client(left!).ask(put);
    },
  },
  {
    code: "noLeader",
    why: "another leader's entry took the place of the write's",
    provoke(cluster, client, leader) {
      const heal = cluster.isolate(leader);
      const { lastIndex } = leader.server!.raft;
      client.send(put);
      cluster.until(() => leader.server!.raft.lastIndex > lastIndex, "it is in the log");
      assertEquals(marked(leader).length, 1);
      cluster.until(() => cluster.leader !== null && cluster.leader !== leader, "another leader");
      heal();
      cluster.until(() => client.replies.length > 0, "the answer");
      return client.replies[0]!;
    },
  },
  {
    code: "busy",
    why: "leadership is being handed over",
    provoke(cluster, client, leader) {
      pauseFollowers(cluster, client, leader);
      assertEquals(leader.server!.raft.transferLeadership(), null);
      return client.ask(put);
    },
  },
  {
    code: "busy",
    why: "too much is uncommitted",
    limits: { uncommittedBytesMax: 100 },
    provoke(cluster, client, leader) {
      pauseFollowers(cluster, client, leader);
      client.send(other);
      cluster.run(5);
      return cluster.client(leader).ask(put); // it waits for no other answer
    },
  },
  {
    code: "busy",
    why: "the disk is too far behind",
    limits: { uncommittedBytesMax: 100 },
    provoke(cluster, client, leader) {
      cluster.hangDisk(leader);
      say(client, other); // the other nodes' disks are enough
      return say(client, put);
    },
  },
  {
    code: "busy",
    why: "the node is stopping",
    provoke(cluster, client, leader) {
      pauseFollowers(cluster, client, leader);
      leader.server!.close(() => leader.server = null);
      const reply = say(client, put);
      cluster.until(() => leader.server === null, "it has stopped");
      return reply;
    },
  },
  {
    code: "busy",
    why: "there are too many connections",
    limits: { clientConnectionsMax: 1 },
    provoke(cluster, client, leader) {
      say(client, { op: "ping" });
      return cluster.client(leader).ask(put);
    },
  },
  {
    code: "busy",
    why: "all clients together hold too much",
    limits: { clientBytesMax: 1000 },
    provoke: (_, client) => say(client, { ...put, value: mark + "x".repeat(200_000) }),
  },
  {
    code: "diskFull",
    why: "no disk has room",
    provoke(cluster) {
      for (const { machine } of cluster.nodes) machine.disk.full = true;
      cluster.client(cluster.leader!).send(other); // waits until there is room
      cluster.run(1000);
      return cluster.client(cluster.leader!).ask(put);
    },
  },
  {
    code: "conditionFailed",
    why: "the version is another one",
    isInLog: true,
    provoke: (_, client) => say(client, { ...put, value: "1" }, { ...put, ifVersion: 0 }),
  },
  {
    code: "conditionFailed",
    why: "the value is another one",
    isInLog: true,
    provoke: (_, client) => say(client, { ...put, value: "1" }, { op: "delete", key: "a", ifValue: mark }),
  },
  {
    code: "notInteger",
    why: "the value is a word",
    isInLog: true,
    provoke: (_, client) => say(client, { ...put, value: "one" }, { op: "increment", key: "a", by: mark }),
  },
  {
    code: "notInteger",
    why: "a part of a transaction fails",
    isInLog: true,
    provoke: (_, client) =>
      say(client, { ...put, value: "one" }, {
        op: "txn",
        then: [{ op: "put", key: "b", value: mark }, { op: "delete", key: "c" }, {
          op: "increment",
          key: "a",
          by: "1",
        }],
      }),
  },
  {
    code: "cursorExpired",
    why: "another node gave the cursor",
    provoke: (_, client) => say(client, { op: "list", cursor: `00000000:1:${mark}` }),
  },
  {
    code: "sessionExpired",
    why: "there is no such session",
    isInLog: true,
    provoke: (_, client) => say(client, { ...put, session: "1", seq: 1 }),
  },
  {
    code: "seqTooOld",
    why: "the session has forgotten that number",
    isInLog: true,
    provoke(_, client) {
      const { session } = client.ask({ op: "session" });
      return say(client, { ...other, session, seq: 200 }, { ...put, session, seq: 72 });
    },
  },
];

/** Indexes of the entries in a node's log that say the mark. */
function marked({ server }: Node): number[] {
  return entriesOf(server!).filter(({ command }) => JSON.stringify(command).includes(mark)).map(({ index }) =>
    index
  );
}

function isIdle({ raft, appliedIndex, durableIndex }: NonNullable<Node["server"]>): boolean {
  return raft.lastIndex > 0 && appliedIndex === raft.lastIndex && durableIndex === raft.lastIndex;
}

function entriesOf({ raft }: NonNullable<Node["server"]>): { index: number; command: Command }[] {
  assertEquals(raft.baseIndex, 0, "the whole log is there");
  return Array.from({ length: raft.lastIndex }, (_, i) => raft.entryAt(i + 1)!)
    .filter(({ kind }) => kind === "command") as { index: number; command: Command }[];
}

/** All troubles end. */
function heal(cluster: SmallCluster): void {
  for (const node of cluster.nodes) {
    node.machine.disk.full = false;
    node.machine.resume();
    if (node.machine.disk.slowness > 1 || node.server === null) {
      cluster.kill(node);
      node.machine.disk.slowness = 1;
      node.machine.restart();
    }
  }
}

/** On every node the line left nothing behind. */
function assertNothingHappened(cluster: SmallCluster, isInLog: boolean): void {
  cluster.until(() => {
    const lastIndex = cluster.leader?.server?.raft.lastIndex;
    return cluster.nodes.every(({ server }) => server?.appliedIndex === lastIndex);
  }, "all nodes have the same and have applied it");
  for (const node of cluster.nodes) {
    const indexes = marked(node);
    assertEquals(indexes.length, isInLog ? 1 : 0, `entries of the line in the log of node ${node.id}`);
    const without = new Store();
    for (const { index, command } of entriesOf(node.server!)) {
      if (!indexes.includes(index)) without.apply(command, index);
    }
    assertEquals(node.server!.store.digest(), without.digest(), `the state of node ${node.id}`);
  }
}

for (const { code, why, limits = {}, isInLog = false, provoke } of cases) {
  Deno.test(`answerRequest() answers ${code} because ${why}, and the line does nothing, then or later`, () => {
    const cluster = new SmallCluster(`${code} ${why}`, { limits });
    const leader = cluster.leader!;
    cluster.until(() => cluster.nodes.every(({ server }) => isIdle(server!)), "nothing is under way");
    const reply = provoke(cluster, cluster.client(leader), leader);
    const { code: given, definite } = (reply.error ?? {}) as { code?: string; definite?: boolean };
    assertEquals([given, definite], [code, true], JSON.stringify(reply).slice(0, 300));
    heal(cluster);
    cluster.run(1000);
    assertNothingHappened(cluster, isInLog);
    cluster.powerCut();
    assertNothingHappened(cluster, isInLog);
  });
}

Deno.test("PendingRequests.addWrite() leaves the outcome of a write open that lost its place: it may still happen (paper figure 8)", () => {
  const cluster = new SmallCluster("figure 8", { size: 5, limits: { requestTimeoutMs: 60_000 } });
  const raftOf = (node: Node) => node.server!.raft;
  let heal = () => {};
  const regroup = (...groups: Node[][]): void => {
    const next = cluster.world.partition(groups.map((group) => group.map(({ machine }) => machine.name)));
    heal();
    heal = next;
  };
  const one = cluster.leader!;
  const [two, ...others] = followersOf(cluster, one) as [Node, ...Node[]];
  const ask = (value: string): Client => {
    const client = cluster.client(one);
    const { lastIndex } = raftOf(one);
    client.send({ ...other, key: value, value });
    cluster.until(() => raftOf(one).lastIndex > lastIndex, `${value} is in the log`);
    return client;
  };
  // The first leader and another node have three writes, which is no majority.
  regroup([one, two], others);
  const clients = ["first", "second", "third"].map(ask);
  cluster.until(() => raftOf(two).lastIndex === raftOf(one).lastIndex, "two nodes have them");
  // The second leader's first entry reaches the first leader alone, where it takes their places.
  cluster.until(() => others.some((node) => raftOf(node).role === "leader"), "a second leader");
  const next = others.find((node) => raftOf(node).role === "leader")!;
  const rest = others.filter((node) => node !== next);
  regroup([one, next], [two], rest);
  cluster.until(() => raftOf(one).lastTerm === raftOf(next).currentTerm, "the writes are cut");
  // The first leader leads again, and has a new entry and a new write in the places of the last two of them.
  regroup([one, ...rest], [next], [two]);
  cluster.until(() => raftOf(one).role === "leader", "the first one leads again");
  regroup([one], [next], [two, ...rest]);
  clients.push(ask("fourth"));
  // But the node that still has them is elected by those that have nothing newer, and commits them.
  cluster.until(() => raftOf(two).role === "leader", "a last leader");
  regroup(cluster.nodes);
  cluster.until(() => clients.every(({ replies }) => replies.length > 0), "all answers");
  const outcomes = clients.map(({ replies: [reply] }) =>
    (reply!.error as { code: string } | undefined)?.code ?? "ok"
  );
  assertEquals(outcomes, ["ok", "ok", "outcomeUnknown", "noLeader"]);
  const there = ["first", "second", "third", "fourth"].filter((key) => two.server!.store.get(key));
  assertEquals(there, ["first", "second", "third"], "the third happened, the fourth did not");
});

Deno.test("answerRequest() answers no definite error that is not brought about here", () => {
  const definite = Object.entries(errorMeanings).filter(([, meaning]) => meaning.definite).map(([code]) =>
    code
  );
  assertEquals([...new Set<string>(cases.map(({ code }) => code))].sort(), definite.sort());
  assert(definite.length > 10);
});
