/**
 * The proof of the secret, between two ends as such and between nodes: what is wrong, old, thrown back or passed on is
 * refused, and before the right one nothing happens to a node.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { hmacSha256 } from "../../lib/hmac.ts";
import type { Connection, Io } from "../../lib/io/io.ts";
import type { Hello } from "../../lib/protocol/peer_protocol.ts";
import { Handshake } from "../../lib/server/handshake.ts";
import { requestVote, timeoutNow } from "../raft/messages.ts";
import { type Client, type Node, SmallCluster } from "./cluster.ts";

const secret = "sixteen bytes or more";
const encoder = new TextEncoder();
const decoder = new TextDecoder();

function helloOf(nodeId: number): Hello {
  return {
    type: "hello",
    versions: { min: 1, max: 1 },
    nodeId,
    incarnation: `${nodeId}`.repeat(16),
    starts: 1,
    nonce: `${nodeId}${nodeId}`.repeat(8),
    clientAddress: `n${nodeId}:9080`,
    cluster: [1, 2, 3].map((id) => ({ id, address: `n${id}:8080` })),
    clusterId: null,
    members: null,
    founded: false,
    admitted: 0,
    hasRoom: true,
  };
}

/** Node 1 dials node 2, and both have said hello; `tamper` changes what node 1 says on its way. */
function meet(
  { secrets = [secret, secret], challenges = ["1", "2"], tamper = (line: string) => line }: {
    secrets?: (string | null)[];
    challenges?: string[];
    tamper?: (line: string) => string;
  } = {},
): { dialler: Handshake; acceptor: Handshake; lines: string[]; refusals: (string | null)[] } {
  const [dialler, acceptor] = [0, 1].map((i) =>
    new Handshake({
      nodeId: i + 1,
      secret: secrets[i] == null ? null : encoder.encode(secrets[i]),
      isDialler: i === 0,
      challenge: challenges[i]!.repeat(32),
    })
  ) as [Handshake, Handshake];
  const lines = [
    decoder.decode(dialler.encodeHello(helloOf(1))),
    decoder.decode(acceptor.encodeHello(helloOf(2))),
  ];
  const hear = (end: Handshake, line: string) => end.onHello(JSON.parse(line), encoder.encode(line));
  return {
    dialler,
    acceptor,
    lines,
    refusals: [hear(acceptor, tamper(lines[0]!)), hear(dialler, lines[1]!)],
  };
}

Deno.test("Handshake.onProof() takes the proof of the same secret, at both ends", () => {
  const { dialler, acceptor, lines, refusals } = meet();
  assertEquals(refusals, [null, null]);
  assertEquals([dialler.isDone, acceptor.isDone], [false, false], "hellos prove nothing");
  // As PROTOCOL.md has it, so that others can do it too.
  const proof = (end: string) =>
    hmacSha256(encoder.encode(secret), [
      encoder.encode(`kvapp raft port, ${end}\n`),
      encoder.encode(lines.join("")),
    ]);
  assertEquals([dialler.proof(), acceptor.proof()], [proof("dialler"), proof("acceptor")]);
  assertEquals(acceptor.onProof(dialler.proof()), null);
  assertEquals([dialler.isDone, acceptor.isDone], [false, true]);
  assertEquals(dialler.onProof(acceptor.proof()), null);
  assertEquals(dialler.isDone, true);
});

Deno.test("Handshake.onProof() refuses another secret, an old proof, and one that is thrown back", () => {
  const { dialler, acceptor } = meet();
  const bad = {
    "another secret": meet({ secrets: [`${secret}!`, `${secret}!`] }),
    "an earlier connection, the other end's challenge": meet({ challenges: ["1", "3"] }),
    "an earlier connection, this end's challenge": meet({ challenges: ["3", "2"] }),
  };
  const expected = "nodes 1 and 2 have different secrets: start all nodes with the same --secret-file";
  for (const [what, other] of Object.entries(bad)) {
    assertEquals(acceptor.onProof(other.dialler.proof()), expected, what);
    assertEquals(dialler.onProof(other.acceptor.proof()), expected, what);
  }
  assertEquals(acceptor.onProof(acceptor.proof()), expected, "its own");
  assertEquals(dialler.onProof(dialler.proof()), expected, "its own");
  assertEquals([dialler.isDone, acceptor.isDone], [false, false]);
  assertEquals(acceptor.onProof(dialler.proof()), null, "the right one");
});

Deno.test("Handshake.onProof() refuses a hello in which anything was changed on its way", () => {
  for (const name of [...Object.keys(helloOf(1)), "challenge"]) {
    const { dialler, acceptor } = meet({
      tamper: (line) => {
        const hello = JSON.parse(line);
        const value = hello[name];
        return JSON.stringify({ ...hello, [name]: typeof value === "string" ? `${value}0` : [value] }) + "\n";
      },
    });
    assertNotEquals(acceptor.onProof(dialler.proof()), null, name);
  }
  const spaced = meet({ tamper: (line) => ` ${line}` });
  assertNotEquals(spaced.acceptor.onProof(spaced.dialler.proof()), null, "bytes count, not their meaning");
});

Deno.test("Handshake.onHello() is enough where nobody has a secret, and refuses where only one end has", () => {
  const { dialler, acceptor, refusals } = meet({ secrets: [null, null] });
  assertEquals([dialler.isDone, acceptor.isDone, ...refusals], [true, true, null, null]);
  const one = meet({ secrets: [secret, null] });
  const expected = "node 1 has a secret and node 2 has none: start all nodes with the same --secret-file";
  assertEquals([one.dialler.isDone, one.acceptor.isDone, ...one.refusals], [
    false,
    false,
    expected,
    expected,
  ]);
  const other = meet({ secrets: [null, secret] });
  assertMatch(other.refusals.join(), /^(node 2 has a secret and node 1 has none: [^,]*,?){2}$/);
  const twice = meet();
  const again = (end: Handshake) => end.onHello(helloOf(2), encoder.encode("{}\n"));
  assertEquals(
    twice.dialler.onHello({ ...helloOf(2), challenge: "4" }, encoder.encode("{}\n")),
    "a proof comes after the first hello",
  );
  assertMatch(again(twice.dialler)!, /has none/);
});

/** All that a stranger must not change, of all nodes. */
function stateOf({ nodes }: SmallCluster): unknown {
  return nodes.map(({ server, journal }) => {
    const { currentTerm, role, leaderId, lastIndex, configurationIndex } = server!.raft;
    return { currentTerm, role, leaderId, lastIndex, configurationIndex, journal: journal.length };
  });
}

/** Three nodes with one secret, and what node 2 has sent to node 1 on one connection. */
function listenedTo(name: string): { cluster: SmallCluster; heard: string; hello: Hello } {
  const cluster = new SmallCluster(name, { wait: false, secrets: [secret, secret, secret] });
  const heard = new Map<unknown, string>();
  cluster.world.network.onSend = (from, bytes) => {
    if (from.host === "n2" && from.remoteHost === "n1") {
      heard.set(from, (heard.get(from) ?? "") + decoder.decode(bytes));
    }
  };
  cluster.until(() => cluster.leader !== null, "a leader");
  cluster.run(500);
  const dialled = [...heard.values()].find((text) => /^.*\n\{"type":"proof"[^]*"to":1/.test(text));
  assert(dialled !== undefined, "node 2 has dialled node 1, proved that it has the secret, and spoken");
  const { crc: _, ...hello } = JSON.parse(dialled.split("\n")[0]!); // one that is told differently has no checksum
  return { cluster, heard: dialled, hello };
}

const asText = (replies: Client["replies"]): string =>
  replies.map((reply) => JSON.stringify(reply)).join("\n");

Deno.test("PeerLinks.onHello() makes nothing of a stranger before its proof, whatever it says (reliability.md G1)", () => {
  const { cluster, heard, hello } = listenedTo("strangers");
  const node = cluster.nodes[0]!;
  const vote = requestVote({ from: 2, to: 1, term: 900, lastLogIndex: 900, lastLogTerm: 900 });
  const proof = { type: "proof", proof: "0".repeat(64) };
  const { challenge: _, ...silent } = hello;
  const wiped = { ...hello, incarnation: "f".repeat(16), nonce: "f".repeat(16), admitted: 0 };
  const different = /"nodes 1 and 2 have different secrets: /;
  const cases: [string, object[], RegExp][] = [
    ["no hello", [vote], /a hello comes first/],
    ["a proof alone", [proof], /there is nothing to prove now/],
    ["no secret", [silent], /node 1 has a secret and node 2 has none/],
    ["no proof", [hello, { ...vote, leadershipTransfer: true }], /a hello comes first/],
    ["an order", [hello, timeoutNow({ from: 2, to: 1, term: 1 })], /a hello comes first/],
    ["another hello", [hello, hello], /a proof comes after the first hello/],
    ["a guess", [hello, proof, vote], different],
    ["a wiped folder", [wiped, proof], different],
    ["a later start", [{ ...hello, starts: 99, nonce: "f".repeat(16) }, proof], different],
    ["this node's id", [{ ...hello, nodeId: 1 }], /it calls itself node 1, as this node does/],
    ["an unknown id", [{ ...hello, nodeId: 4 }], /node 4 is not in this node's --cluster/],
    ["a recording", heard.trimEnd().split("\n").map((line) => JSON.parse(line)), different],
  ];
  const before = stateOf(cluster);
  const told = node.journal.length;
  for (const [what, lines, refusal] of cases) {
    const stranger = cluster.client(node, 8080);
    stranger.send(...lines);
    cluster.until(() => stranger.isClosed, what);
    assertMatch(asText(stranger.replies), refusal, what);
    assertEquals(asText(stranger.replies).includes('"proof"'), false, "nothing that is made with the secret");
    assertEquals(
      node.journal.slice(told).filter((line) => !/^warn: node 2 at \S+ is refused: /.test(line)),
      [],
    );
    node.journal.length = told;
    assertEquals(stateOf(cluster), before, what);
  }
  const mute = cluster.client(node, 8080);
  mute.send(hello);
  cluster.run(3500);
  assert(mute.isClosed, "whoever never proves anything does not stay");
  assertEquals(asText(mute.replies).replace(/,"challenge":"[0-9a-f]{32}"\}$/, "}").split("\n").length, 1);
});

/** One end of a connection: hands on each line that comes, and returns what sends one. */
function speak(connection: Connection, onLine: (line: string) => void): (line: string) => void {
  let text = "";
  connection.onEnd = () => connection.close();
  connection.onData = (bytes) => {
    const lines = (text + decoder.decode(bytes)).split("\n");
    text = lines.pop()!;
    for (const line of lines) onLine(line);
  };
  return (line) => connection.send(encoder.encode(`${line}\n`));
}

/** The line as if node 3 had said it, without the checksum that does not fit any more. */
function asNode3(line: string): string {
  return line.replace(/"nodeId":\d/, '"nodeId":3').replace(/,"crc":"[0-9a-f]{8}"\}$/, "}");
}

/** Takes the place of node 3: does as it likes with whoever dials it. */
function thief(cluster: SmallCluster, onConnection: (connection: Connection, io: Io) => void): void {
  cluster.kill(cluster.nodes[2]!);
  const boot = (io: Io) => void io.network.listen("n3:8080", (connection) => onConnection(connection, io));
  cluster.world.machine("thief", boot).restart();
}

/** Each of the two true nodes knows the other one only, and said why. */
function assertNotDeceived(cluster: SmallCluster): void {
  for (const node of cluster.nodes.slice(0, 2)) {
    const { peers } = cluster.client(node).ask({ op: "status" }) as {
      peers: { id: number; connected: boolean }[];
    };
    assertEquals(peers.filter(({ connected }) => connected).map(({ id }) => id), [3 - node.id]);
    const told = node.journal.filter((line) => line.includes("different secrets"));
    assert(told.length > 0);
    assertEquals(told, [...new Set(told)], "each once");
  }
}

Deno.test("PeerLinks.onProof() refuses who sits at a member's address and throws hello and proof back", () => {
  const { cluster } = listenedTo("reflected");
  const said: string[] = [];
  let count = 0;
  thief(cluster, (connection) => {
    const isChanged = count++ % 2 === 1; // else the hello goes back as it came
    const send = speak(connection, (line) => {
      said.push(line);
      if (line.includes('"hello"')) send(isChanged ? asNode3(line) : line);
      if (line.includes('"proof"')) send(line);
    });
  });
  cluster.run(3000);
  assertMatch(said.join("\n"), /as this node does/);
  assertMatch(said.join("\n"), /"proof":"[^]*different secrets/);
  assertNotDeceived(cluster);
});

Deno.test("PeerLinks.onProof() refuses a hello that was passed on in another node's name", () => {
  const { cluster } = listenedTo("passed on");
  let passed = "";
  // What nodes 1 and 2 say to node 3 goes to the other one of them, and the answer comes back as if it were node 3's.
  thief(cluster, (connection, io) => {
    let send: ((line: string) => void) | null = null;
    const back = speak(connection, (line) => {
      const from = /"nodeId":(\d)/.exec(line)?.[1];
      if (send === null) {
        const other = io.network.connect(`n${3 - Number(from)}:8080`);
        send = speak(other, (answer) => {
          passed += `${answer}\n`;
          back(asNode3(answer));
        });
      }
      send(line);
    });
  });
  cluster.run(3000);
  assertMatch(passed, /"challenge"[^]*"nodes 1 and 2 have different secrets/);
  assertEquals(passed.includes('"proof"'), false, "nothing that is made with the secret");
  assertNotDeceived(cluster);
});

Deno.test("PeerLinks.onProof() refuses a proof that nobody asked for", () => {
  const cluster = new SmallCluster("no secret");
  const [node, two] = cluster.nodes as [Node, Node, Node];
  cluster.kill(two);
  const { incarnation, clusterId } = JSON.parse(decoder.decode(two.machine.disk.durable("state.json")!));
  const stranger = cluster.client(node, 8080);
  stranger.send({ ...helloOf(2), incarnation, clusterId, starts: 2, founded: true, admitted: 1 });
  stranger.send({ type: "proof", proof: "0".repeat(64) });
  cluster.until(() => stranger.isClosed, "the refusal");
  assertMatch(asText(stranger.replies), /"hello"[^]*there is nothing to prove now/);
});

Deno.test("PeerLinks.announce() loses nothing that changes during a handshake, and disturbs none", () => {
  for (let run = 0; run < 40; run++) {
    const cluster = new SmallCluster(`announced ${run}`, { wait: false, secrets: [secret, secret, secret] });
    const { random, network } = cluster.world;
    let refusals = 0;
    network.onSend = (_, bytes) => refusals += decoder.decode(bytes).includes('"refused"') ? 1 : 0;
    // A founder is told of twice, when it is pinned and when it is founded; links break and are made anew meanwhile.
    for (let i = 0; i < 5; i++) {
      cluster.run(random.between(0.2, 3));
      cluster.crash(cluster.nodes[2]!, "kill");
      cluster.nodes[2]!.machine.restart();
    }
    cluster.until(() => cluster.leader !== null, "a leader");
    cluster.until(() => cluster.nodes.every(({ server }) => server!.raft.lastIndex >= 2), "all have the log");
    assertEquals(refusals, 0, cluster.nodes.map(({ journal }) => journal.join("\n")).join("\n"));
  }
});

Deno.test("Server.constructor() founds nothing with a node that has another secret or none, and both say why once", () => {
  const rows: [string[], string][] = [
    [
      [secret, secret, "another secret than theirs"],
      "different secrets: start all nodes with the same --secret-file",
    ],
    [[secret, secret], "has a secret and node 3 has none: start all nodes with the same --secret-file"],
  ];
  for (const [secrets, cause] of rows) {
    const cluster = new SmallCluster(`secrets ${secrets.length}`, { wait: false, secrets });
    cluster.run(10_000);
    for (const { id, journal, server } of cluster.nodes) {
      assertEquals([server!.raft.currentTerm, server!.raft.configuration.members], [0, []]);
      const told = journal.filter((line) => line.includes(cause));
      assertEquals(told.length, id === 3 ? 2 : 1, `once for each peer: ${journal.join("\n")}`);
      assertEquals(journal.filter((line) => line.includes("closed it")), [], "it said why");
      assert(journal.length < 15, `not a line every retry: ${journal.join("\n")}`);
    }
    // The way out that the journal names.
    const [one, , three] = cluster.nodes as [Node, Node, Node];
    three.secret = one.secret;
    cluster.kill(three);
    three.machine.restart();
    cluster.until(() => cluster.leader !== null, "a leader once all have the same");
  }
});
