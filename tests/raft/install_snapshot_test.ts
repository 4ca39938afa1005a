/**
 * The two halves of InstallSnapshot (paper figure 13), each by itself: a follower that is sent pieces, and a leader that
 * is told what came of them. Whole clusters: snapshots_test.ts.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { AssertionFailed } from "../../lib/assert.ts";
import { makeEntry } from "../../lib/raft/entry.ts";
import { Log } from "../../lib/raft/log.ts";
import type { InstallSnapshot, Message } from "../../lib/raft/messages.ts";
import type { Entry } from "../../lib/raft/types.ts";
import { encodeSnapshot } from "./disk.ts";
import {
  appendEntries,
  appendResponse,
  contactResponse,
  heartbeat,
  installResponse,
  installSnapshot,
  only,
} from "./messages.ts";
import {
  becomeCandidate,
  commandsOf,
  configurationOfSize,
  incarnationOf,
  logOf,
  lone,
  loneLeader,
  type Node,
  timeoutMax,
  timeoutMin,
} from "./node.ts";

/** A snapshot of the state after entry `index` of `log`, in pieces of 100 bytes. */
function piecesOf(
  log: readonly Entry[],
  index: number,
  fields: { term: number; from?: number },
): InstallSnapshot[] {
  const snapshot = new Log(log).snapshotAt(index);
  const bytes = encodeSnapshot(snapshot, commandsOf(log.slice(0, index)));
  return Array.from({ length: Math.ceil(bytes.length / 100) }, (_, i) => {
    const data = bytes.slice(i * 100, i * 100 + 100);
    return installSnapshot(snapshot, {
      ...fields,
      offset: i * 100,
      data,
      done: (i + 1) * 100 >= bytes.length,
    });
  });
}

/** What is answered, but for the contacts. */
const answersOf = (messages: Message[]) => messages.filter(({ type }) => type !== "contactResponse");
const wantedBy = (messages: Message[]) =>
  only(messages, "installSnapshotResponse").map(({ offset }) => offset);
const matchOf = (messages: Message[]) =>
  only(messages, "appendEntriesResponse").map(({ success, matchIndex }) => success ? matchIndex : null);

const long = logOf(3, [1, 1, 2, 2, 2]); // index 2 to 6

Deno.test("Raft.install() begins the log anew behind the snapshot, and acknowledges it (paper figure 13)", () => {
  const node = lone();
  const pieces = piecesOf(long, 5, { term: 2 });
  assertEquals(wantedBy(node.step(...pieces.slice(0, -1))), pieces.slice(1).map(({ offset }) => offset));
  assertEquals([node.raft.receivingIndex, node.raft.commitIndex], [5, 0]);
  assertEquals(matchOf(node.step(pieces.at(-1)!)), [5]);
  const { raft, restored, applied } = node;
  assertEquals([raft.baseIndex, raft.lastIndex, raft.lastTerm, raft.commitIndex], [5, 5, 2, 5]);
  assertEquals([restored, applied, node.disk.entries], [["2/1", "3/1", "4/2", "5/2"], [], []]);
  assertEquals([raft.configuration, raft.configurationIndex], [lone().raft.configuration, 1]);
  assertEquals(matchOf(node.step(appendEntries(long, { term: 2, prevLogIndex: 5, leaderCommit: 6 }))), [6]);
  assertEquals(node.commands.length, 5);
});

Deno.test("Raft.receive() ignores an older snapshot, and keeps its newer log (BN3, etcd-io/etcd #1763)", () => {
  const node = lone();
  node.step(appendEntries(long, { term: 2, prevLogIndex: 1, leaderCommit: 5 }));
  for (const index of [3, 5]) {
    assertEquals(matchOf(node.step(piecesOf(long, index, { term: 2 })[0]!)), [index], "it has all of that");
  }
  assertEquals([node.raft.lastIndex, node.raft.baseIndex, node.disk.incoming.length], [6, 0, 0]);
  node.takeSnapshot();
  assertEquals(matchOf(node.step(piecesOf(long, 3, { term: 2 })[0]!)), [3], "also below its own snapshot");
});

Deno.test("Raft.receive() keeps a log that has the snapshot's last entry, which is committed (figure 13, step 6)", () => {
  const node = lone({ log: long });
  assertEquals(matchOf(node.step(piecesOf(long, 4, { term: 2 })[0]!)), [4]);
  assertEquals([node.raft.lastIndex, node.raft.commitIndex, node.raft.baseIndex], [6, 4, 0]);
  assertEquals(node.commands, ["2/1", "3/1", "4/2"]);
});

Deno.test("Raft.install() discards a log that conflicts with the snapshot (hashicorp/raft #697, #704)", () => {
  const node = lone({ terms: [1, 1, 1, 1, 1, 1], term: 2 });
  node.step(...piecesOf(long, 5, { term: 2 }));
  assertEquals([node.raft.lastIndex, node.raft.lastTerm, node.disk.entries], [5, 2, []]);
  assertEquals(matchOf(node.step(heartbeat(long, { term: 2, prevLogIndex: 5 }))), [5], "it needs no other");
  node.restart();
  assertEquals([node.raft.lastIndex, node.raft.baseIndex, node.commands.length], [5, 5, 4]);
});

Deno.test("Raft.receive() says which piece it wants when another one comes", () => {
  const node = lone();
  const [first, second, third, fourth] = piecesOf(long, 5, { term: 2 });
  assertEquals(wantedBy(node.step(second!)), [0], "from the beginning");
  assertEquals(wantedBy(node.step(first!)), [100]);
  assertEquals(wantedBy(node.step(third!)), [100]);
  assertEquals(wantedBy(node.step(first!)), [100], "a second copy");
  assertEquals(wantedBy(node.step(second!, second!, third!, second!)), [200, 200, 300, 300]);
  assertEquals(node.disk.incoming.length, 300);
  assertEquals(matchOf(node.step(fourth!)), [5]);
});

Deno.test("Raft.receive() begins at 0 with another sender's snapshot, and with another snapshot", () => {
  const node = lone();
  const [, second] = piecesOf(long, 5, { term: 2 });
  node.step(...piecesOf(long, 5, { term: 2 }).slice(0, 2));
  assertEquals(wantedBy(node.step({ ...second!, from: 3, term: 3 })), [0]);
  assertEquals(node.raft.receivingIndex, 5);
  const other = piecesOf(long, 6, { term: 3, from: 3 });
  assertEquals(wantedBy(node.step(other[0]!)), [100]);
  assertEquals([node.raft.receivingIndex, node.disk.incoming.length], [6, 100]);
  assertEquals(matchOf(node.step(...other.slice(1))), [6]);
});

Deno.test("Raft.install() takes over a whole snapshot although another node leads by now", () => {
  const node = lone();
  node.checkHeld = true;
  node.step(...piecesOf(long, 5, { term: 2 }));
  assertEquals(
    node.step(...piecesOf(long, 5, { term: 2 }).slice(-1)).length,
    1,
    "no answer yet, but a contact",
  );
  node.step(heartbeat(long, { from: 3, term: 3, prevLogIndex: 5 }));
  node.checkHeld = false;
  const [acknowledgement] = only(node.run(), "appendEntriesResponse");
  assertEquals([acknowledgement?.to, acknowledgement?.term, acknowledgement?.matchIndex], [3, 3, 5]);
});

Deno.test("Raft.receive() changes nothing for any offer while a complete snapshot is looked at", () => {
  const node = lone();
  node.checkHeld = true;
  node.step(...piecesOf(long, 5, { term: 2 }));
  const { incoming } = node.disk;
  const offers = [
    piecesOf(long, 6, { term: 3, from: 3 })[0]!,
    piecesOf(long, 5, { term: 4, from: 2 })[0]!,
    piecesOf(long, 6, { term: 4, from: 2 })[1]!,
    piecesOf(long, 5, { term: 5, from: 3 })[0]!, // the same one, by another leader, from its beginning
    piecesOf(long, 4, { term: 5, from: 3 })[0]!,
  ];
  for (const offer of offers) assertEquals(answersOf(node.step(offer)), [], "it is not asked for more");
  assertEquals([node.raft.receivingIndex, node.disk.incoming === incoming], [5, true], "nothing is written");
  node.checkHeld = false;
  const [acknowledgement, ...rest] = only(node.run(), "appendEntriesResponse");
  assertEquals([acknowledgement?.to, acknowledgement?.term, acknowledgement?.matchIndex], [3, 5, 5]);
  assertEquals([rest, node.raft.baseIndex, node.commands.length], [[], 5, 4]);
});

Deno.test("Raft.isAsAnnounced() compares index, term and sum of what came with what its sender said", () => {
  const node = lone();
  node.checkHeld = true;
  node.step(...piecesOf(long, 5, { term: 2 }));
  const snapshot = new Log(long).snapshotAt(5);
  assertEquals(node.raft.isAsAnnounced(snapshot), true);
  for (const other of [{ lastIncludedIndex: 4 }, { lastIncludedTerm: 1 }, { lastIncludedCrc: 1 }]) {
    assertEquals(node.raft.isAsAnnounced({ ...snapshot, ...other }), false);
    assertThrows(() => node.raft.install({ ...snapshot, ...other }), AssertionFailed, "announced");
  }
});

Deno.test("Raft.tick() forgets a snapshot of which a part came when entries have made it needless", () => {
  const node = lone();
  node.step(...piecesOf(long, 5, { term: 2 }).slice(0, 2));
  node.step(appendEntries(long, { term: 2, prevLogIndex: 1, leaderCommit: 4 }));
  node.tick();
  assertEquals(node.raft.receivingIndex, 5, "not yet");
  node.step(heartbeat(long, { term: 2, leaderCommit: 5 }));
  node.tick();
  assertEquals(node.raft.receivingIndex, null);
});

Deno.test("Raft.receive() takes no piece of the same node's new folder for the next one of the old folder's", () => {
  const node = lone();
  const pieces = piecesOf(long, 5, { term: 2 });
  node.raft.peerStarted(2, incarnationOf(2, 0));
  assertEquals(wantedBy(node.step(...pieces.slice(0, 2))), [100, 200]);
  node.raft.peerStarted(2, incarnationOf(2, 1));
  assertEquals(wantedBy(node.step(pieces[2]!)), [0]);
});

/** `count` entries of `term` behind `before`; the one at `renamesAt` gives this node another folder. */
function renaming(
  before: Entry,
  { count, term, renamesAt }: { count: number; term: number; renamesAt: number },
): Entry[] {
  const members = configurationOfSize(3).members.map((member) =>
    member.id === 1 ? { ...member, incarnation: incarnationOf(1, 1) } : member
  );
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    const { index, crc: prevCrc } = entries.at(-1) ?? before;
    const isRenaming = index + 1 === renamesAt;
    const kind = isRenaming ? "configuration" : "command";
    const command = isRenaming ? { members } : `${index + 1}/${term}`;
    entries.push(makeEntry({ index: index + 1, term, kind, command, prevCrc }));
  }
  return entries;
}

Deno.test("Raft.install() forgets which configuration of the log before it was durable: the node waits for the new one", () => {
  const node = lone({ terms: [1] });
  node.damage(2);
  node.start(); // in another folder, which the log does not name yet
  const given = logOf(3, [1]);
  const theirs = renaming(given[1]!, { count: 8, term: 1, renamesAt: 10 });
  node.step(appendEntries([...given, ...theirs], { term: 1, prevLogIndex: 2, leaderCommit: 2 }));
  assertEquals([node.disk.entries.length, node.raft.admittedIndex], [10, 0], "it is not committed");
  const others = [...given, ...renaming(given[1]!, { count: 7, term: 2, renamesAt: 8 })];
  node.step(...piecesOf(others, 5, { term: 2, from: 3 }));
  assertEquals([node.raft.baseIndex, node.raft.admittedIndex], [5, 0]);
  node.diskHeld = true;
  node.step(appendEntries(others, { from: 3, term: 2, prevLogIndex: 5, leaderCommit: 9 }));
  const saved = node.pending.map(({ hardState, entries }) => [hardState?.admittedIndex, entries.length]);
  assert(saved.every(([admitted]) => !admitted), `${saved}: the entry that admits it comes first`);
  while (node.pending.length > 0) node.finishWrite();
  node.diskHeld = false;
  node.run();
  assertEquals(node.raft.admittedIndex, 8);
});

Deno.test("Raft.install() does nothing when the entries have come meanwhile", () => {
  const node = lone();
  node.checkHeld = true;
  node.step(...piecesOf(long, 5, { term: 2 }));
  node.step(appendEntries(long, { term: 2, prevLogIndex: 1, leaderCommit: 6 }));
  const { applied } = node;
  node.checkHeld = false;
  node.run();
  assertEquals([node.raft.baseIndex, node.raft.lastIndex, node.restoredIndex], [0, 6, 0]);
  assert(node.applied === applied && node.commands.length === 5);
  assertEquals(node.raft.receivingIndex, null);
});

Deno.test("Raft.install() makes a node that asks for pre-votes a follower again, which takes the snapshot over", () => {
  const node = lone();
  node.checkHeld = true;
  node.step(...piecesOf(long, 5, { term: 2 }));
  node.tick(timeoutMax);
  assertEquals(node.raft.role, "preCandidate");
  node.checkHeld = false;
  node.run();
  assertEquals([node.raft.baseIndex, node.raft.role, node.raft.currentTerm], [5, "follower", 2]);
  assertEquals(matchOf(node.step(heartbeat(long, { term: 2, prevLogIndex: 5 }))), [5]);
});

Deno.test("Raft.install() does nothing in a node that stands for election", () => {
  const node = lone();
  node.checkHeld = true;
  node.step(...piecesOf(long, 5, { term: 2 }));
  node.tick(timeoutMax);
  becomeCandidate(node);
  assertEquals(node.raft.role, "candidate");
  node.checkHeld = false;
  node.run();
  assertEquals([node.raft.baseIndex, node.raft.role], [0, "candidate"]);
  assertEquals(matchOf(node.step(...piecesOf(long, 5, { term: 3 }))), [5], "it can be sent again");
});

Deno.test("Raft.discard() tells the leader that what it sent is no snapshot", () => {
  const node = lone();
  const pieces = piecesOf(long, 5, { term: 2 });
  pieces[1]!.data[7]! ^= 1;
  const [last] = only(node.step(...pieces), "installSnapshotResponse").slice(-1);
  assertEquals([last?.isDamaged, last?.offset, last?.lastIncludedIndex], [true, 0, 5]);
  assertEquals([node.raft.lastIndex, node.restoredIndex, node.raft.receivingIndex], [1, 0, null]);
  assertEquals(matchOf(node.step(...piecesOf(long, 6, { term: 2 }))), [6]);
});

Deno.test("Raft.discard() does not blame the next leader for what the last one sent", () => {
  const node = lone();
  node.checkHeld = true;
  const pieces = piecesOf(long, 5, { term: 2 });
  pieces[1]!.data[7]! ^= 1;
  node.step(...pieces);
  const next = piecesOf(long, 6, { term: 3, from: 3 });
  assertEquals(answersOf(node.step(next[0]!)), [], "it asks again");
  node.checkHeld = false;
  assertEquals(answersOf(node.run()), []);
  assertEquals(matchOf(node.step(...next)), [6]);
});

Deno.test("Raft.receive() takes a piece of a snapshot for a leader's word (paper 5.2)", () => {
  const node = lone();
  const [first, second] = piecesOf(long, 5, { term: 2 });
  for (let i = 0; i < 5; i++) {
    node.tick(timeoutMin - 1);
    assertEquals(only(node.step(i === 0 ? first! : second!), "contactResponse").length, 1);
  }
  assertEquals([node.raft.role, node.raft.leaderId, node.raft.currentTerm], ["follower", 2, 2]);
});

Deno.test("Raft.receive() acknowledges a piece, and all of them, only when they are durable", () => {
  const node = lone();
  node.diskHeld = true;
  const pieces = piecesOf(long, 5, { term: 2 });
  assertEquals(answersOf(node.step(...pieces)), []);
  node.crash();
  node.start();
  assertEquals([node.raft.lastIndex, node.raft.snapshot], [1, null]);
  assertEquals(wantedBy(node.step(pieces[1]!)), [0]);
});

Deno.test("Raft.receive() refuses a snapshot that no honest leader sends, and stops at a diverged one", () => {
  const node = lone({ log: long });
  const [piece] = piecesOf(long, 5, { term: 2 });
  const refusal = (fields: Partial<InstallSnapshot>) => String(node.raft.receive({ ...piece!, ...fields }));
  assertStringIncludes(refusal({ lastIncludedIndex: 0 }), "at least one entry");
  assertStringIncludes(refusal({ lastIncludedTerm: 3 }), "of term 3 is offered in term 2");
  assertStringIncludes(
    String(node.raft.receive({ type: "snapshotReceived", from: 2, to: 1, term: 2, lastIncludedIndex: 5 })),
    "the node itself",
  );
  node.step(heartbeat(long, { term: 2 }));
  assertStringIncludes(refusal({ from: 3 }), "which node 2 leads");
  node.step(heartbeat(long, { from: 3, term: 3 }));
  assertEquals(
    node.step(piece!).map(({ type, term }) => [type, term]),
    [["contactResponse", 3]],
    "an old one",
  );
  assertThrows(() => refusal({ from: 3, term: 3, lastIncludedCrc: 1 }), AssertionFailed, "diverged");
});

/** A leader whose follower 2 needs a snapshot of index 6: it has sent the first piece. */
function sending(): Node {
  const node = loneLeader();
  node.pieceBytes = 100;
  for (let i = 0; i < 4; i++) node.raft.propose(i);
  node.run();
  node.step(appendResponse({ from: 3, term: 1, matchIndex: 6 }));
  node.takeSnapshot();
  const sent = node.step(appendResponse({ term: 1, success: false, prevLogIndex: 1, conflictIndex: 0 }));
  assertEquals(only(sent, "installSnapshot").map(({ to, offset, data }) => [to, offset, data.length]), [[
    2,
    0,
    100,
  ]]);
  return node;
}

const offsets = (messages: Message[]) => only(messages, "installSnapshot").map(({ offset }) => offset);

Deno.test("Raft.receive() sends the piece that is asked for, one at a time (paper figure 13)", () => {
  const node = sending();
  const wants = (offset: number) =>
    offsets(node.step(installResponse({ term: 1, lastIncludedIndex: 6, offset })));
  assertEquals(node.tick(3).filter(({ type }) => type === "installSnapshot"), []);
  assertEquals([wants(100), wants(100), wants(200), wants(0)], [[100], [], [200], [0]]);
  const other = installResponse({ term: 1, lastIncludedIndex: 5, offset: 50 });
  assertEquals(offsets(node.step(other)), [], "it is about another snapshot");
  node.raft.peerUnreachable(2);
  assertEquals(offsets(node.run()), [0]);
  node.tick(timeoutMin);
  node.step(contactResponse({ from: 3, term: 1 })); // or it would lead no more
  assertEquals(offsets(node.tick(timeoutMin)), [0], "sent again when nothing is heard of it");
});

Deno.test("Raft.receive() ends a transfer when the follower acknowledges as much (etcd snapshot_succeed_via_app_resp)", () => {
  const node = sending();
  node.step(appendResponse({ term: 1, matchIndex: 5 }));
  assertEquals(node.raft.progress()[0]?.mode, "snapshot", "not yet");
  node.raft.propose("next");
  assertEquals(only(node.run(), "appendEntries").filter(({ to }) => to === 2), []);
  const sent = only(node.step(appendResponse({ term: 1, matchIndex: 6 })), "appendEntries");
  const { mode, matchIndex, nextIndex } = node.raft.progress()[0]!;
  assertEquals([mode, matchIndex, nextIndex, node.raft.transfers], ["replicate", 6, 8, []]);
  assertEquals(sent.map(({ prevLogIndex, entries }) => [prevLogIndex, entries.length]), [[6, 1]]);
});

Deno.test("Raft.receive() is not moved by rejections while a snapshot is under way", () => {
  const node = sending();
  const sent = node.step(appendResponse({ term: 1, success: false, prevLogIndex: 1, conflictIndex: 0 }));
  assertEquals([offsets(sent), node.raft.progress()[0]?.mode, node.raft.transfers], [[], "snapshot", [6]]);
});

Deno.test("Raft.onSnapshotTaken() and compact() stop at what would lose entries (BN2)", () => {
  const node = sending();
  const old = node.raft.snapshotAt(6);
  node.raft.onSnapshotTaken(old); // it was looked at again
  const older = { ...old, lastIncludedIndex: 5 };
  assertThrows(() => node.raft.onSnapshotTaken(older), AssertionFailed, "snapshots never grow older");
  node.raft.propose("next");
  node.run();
  assertThrows(() => node.raft.onSnapshotTaken(node.raft.snapshotAt(7)), AssertionFailed, "applied");
  assertThrows(() => node.raft.compact(7), AssertionFailed, "the snapshot reaches to 6");
  node.raft.compact(3); // long gone
  assertEquals([node.raft.baseIndex, node.raft.termAt(5), node.raft.termAt(6)], [6, null, 1]);
});
