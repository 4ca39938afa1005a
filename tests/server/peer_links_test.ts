/**
 * Who may speak to a node, and for how long: a folder that was replaced speaks no more, though its process still runs.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Io } from "../../lib/io/io.ts";
import { encodeLinkLine, encodeMessage, type Hello } from "../../lib/protocol/peer_protocol.ts";
import { SmallCluster } from "./cluster.ts";

Deno.test("PeerLinks.onInput() refuses the old folder's process as soon as this log holds the entry that replaces it", () => {
  const cluster = new SmallCluster("ghost");
  cluster.run(200);
  const three = cluster.follower;
  const lost = cluster.nodes.find((node) => node !== three && node !== cluster.leader)!;
  const old = JSON.parse(new TextDecoder().decode(lost.machine.disk.durable("state.json")!));
  cluster.kill(lost);
  // Its process is not dead: it still reaches node three, over a connection that was there before.
  let io: Io;
  cluster.world.machine("old process", (its) => io = its).restart();
  const connection = io!.network.connect(`n${three.id}:8080`);
  let text = "";
  let isClosed = false;
  connection.onData = (bytes) => text += new TextDecoder().decode(bytes);
  connection.onEnd = connection.onClose = () => isClosed = true;
  const hello: Hello = {
    type: "hello",
    versions: { min: 1, max: 1 },
    nodeId: lost.id,
    incarnation: old.incarnation,
    starts: old.starts + 1,
    nonce: "0".repeat(16),
    clientAddress: "x:1",
    cluster: cluster.listed.map((id) => ({ id, address: `n${id}:8080` })),
    clusterId: old.clusterId,
    members: old.pinned,
    founded: true,
    admitted: 1,
    hasRoom: true,
  };
  connection.onOpen = () => connection.send(encodeLinkLine(hello));
  const say = (): void => {
    const { currentTerm: term } = three.server!.raft;
    const grant = { type: "requestVoteResponse", voteGranted: true, preVote: false } as const;
    connection.send(encodeMessage({ ...grant, from: lost.id, to: three.id, term }));
    cluster.run(50);
  };
  cluster.run(50);
  say();
  assertEquals([isClosed, text.includes("refused")], [false, false], "it is a member");

  // A new folder takes its place; node three hears of that by its log alone.
  cluster.world.partition([[three.machine.name], [lost.machine.name]]);
  lost.machine.replaceDisk();
  lost.machine.restart();
  const named = () => three.server!.raft.configuration.members.find(({ id }) => id === lost.id)!.incarnation;
  cluster.until(() => named() !== old.incarnation, "the log of node three names the new folder");
  assert(!isClosed);
  say();
  assertMatch(text, /"refused".*replaced by another one, which the cluster has admitted/);
  assertEquals(isClosed, true);
});
