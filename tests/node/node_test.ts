import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { connect, type Node, NodeError, type NodeErrorCode, type NodeOptions, startNode } from "../../mod.ts";
import type { FolderLocked } from "../../lib/io/deno_io.ts";
import { freePorts, withFolder } from "../cli/processes.ts";

/** A node alone, on ports that are free. */
function startAlone(dataDir: string, options: NodeOptions = {}): Promise<Node> {
  return startNode({ dataDir, bind: "127.0.0.1:0", ...options });
}

async function assertRefused(code: NodeErrorCode, options: NodeOptions, part: string): Promise<NodeError> {
  const error = await assertRejects(() => startNode(options), NodeError, part);
  assertEquals(error.code, code);
  return error;
}

Deno.test("startNode() serves alone at once, and again with its data, on whatever ports are free", async () => {
  await withFolder(async (folder) => {
    for (const before of [undefined, "1", "2"]) {
      await using node = await startAlone(folder);
      await node.ready();
      await using client = await connect(node.clientAddress);
      assertEquals((await client.get("n"))?.value, before);
      await client.increment("n");
      const { role, term, leader, keys, abstains, lastLogIndex, durableIndex, ...rest } = node.status();
      assertEquals([role, leader, keys, abstains], ["leader", 1, 1, false]);
      assertEquals([durableIndex, rest.appliedIndex], [lastLogIndex, lastLogIndex]);
      assert(term > 0 && rest.commitIndex > 2 && rest.snapshotIndex === 0);
      assertEquals((await client.status()).node, node.id);
    }
  });
});

Deno.test("startNode() makes three nodes of one program a cluster that survives the end of its leader", async () => {
  await withFolder(async (folder) => {
    const base = freePorts(3);
    const cluster = [0, 1, 2].map((i) => `127.0.0.1:${base + i}`);
    const start = (nodeId: number) =>
      startNode({ nodeId, cluster, dataDir: `${folder}/${nodeId}`, secret: "0123456789abcdef" });
    const nodes = await Promise.all([1, 2, 3].map(start));
    assertEquals(nodes.map(({ id, raftAddress }) => [id, raftAddress]), cluster.map((it, i) => [i + 1, it]));
    await Promise.all(nodes.map((node) => node.ready()));
    await using client = await connect(cluster);
    await client.put("a", "1");
    const leader = nodes.find((node) => node.status().role === "leader")!;
    await leader.close();
    assertEquals(await leader.stopped, null);
    const { code } = await assertRejects(() => leader.ready(), NodeError);
    assertEquals(code, "closed");
    await client.put("b", "2");
    assertEquals((await client.get("a"))?.value, "1");
    const again = await start(leader.id);
    await again.ready();
    await Promise.all([again, ...nodes].map((node) => node.close()));
  });
});

Deno.test("startNode() says what is wrong with a folder or a port, and leaves nothing open", async () => {
  await withFolder(async (folder) => {
    const node = await startAlone(`${folder}/1`);
    await node.ready();
    const { raftAddress: bind, clientAddress } = node;
    const locked = await assertRefused(
      "folderLocked",
      { dataDir: node.dataDir, bind: "127.0.0.1:0" },
      "in use",
    );
    const other = `${folder}/2`;
    const free = `127.0.0.1:${freePorts(1)}`;
    const clientPort = Number(clientAddress.split(":")[1]);
    await assertRefused("portTaken", { dataDir: other, bind }, `cannot listen on ${bind}`);
    await assertRefused(
      "portTaken",
      { dataDir: other, bind: free, clientPort },
      `cannot listen on ${clientAddress}`,
    );
    await assertRefused("cannotListen", { dataDir: other, bind: "192.0.2.1:8080" }, "192.0.2.1:8080");
    await (await startAlone(other, { bind: free })).close(); // neither the folder nor the first port was kept
    await node.close();
    await (locked.cause as FolderLocked).over;

    const alone = { dataDir: node.dataDir, bind };
    await assertRefused("folderForeign", { ...alone, nodeId: 2 }, "belongs to node 1, not to node 2");
    await assertRefused(
      "folderForeign",
      { ...alone, nodeId: 1, cluster: [bind, free] },
      "of the nodes 1, but",
    );
    const state = `${node.dataDir}/state.json`;
    const text = await Deno.readTextFile(state);
    await Deno.writeTextFile(state, text.replace(/.{4}\n$/, "????\n"));
    await assertRefused("folderDamaged", alone, "state.json");
    assertStringIncludes(await Deno.readTextFile(state), "????", "nothing was changed");
    await assertRefused("folderUnavailable", { dataDir: state }, "cannot use the data folder");
  });
});

Deno.test("startNode() ends a node whose disk fails, tells why, and lets the program live", async () => {
  await withFolder(async (folder) => {
    await Deno.mkdir(`${folder}/state.json.tmp`); // the state file cannot be replaced
    const node = await startAlone(folder);
    const error = await node.stopped;
    assertEquals(error?.code, "diskFailed");
    assertStringIncludes(error!.message, "cannot replace");
    assertEquals(await assertRejects(() => node.ready(), NodeError), error);
    await node.close(); // nothing more to do
    await Deno.remove(`${folder}/state.json.tmp`);
    const again = await startAlone(folder, { bind: node.raftAddress }); // all was released
    await again.ready();
    await again.close();
  });
});

Deno.test("startNode() ends a node that meets a bug, tells which, and lets the program live", async () => {
  await withFolder(async (folder) => {
    const bug = new Error("a bug");
    const log = (_: string, message: string): void => {
      if (message.startsWith("leads")) throw bug;
    };
    const node = await startAlone(folder, { log });
    const error = await node.stopped;
    assertEquals([error?.code, error?.message, error?.cause], ["internalError", "Error: a bug", bug]);
    await (await startAlone(folder)).close();
  });
});

Deno.test("startNode() rejects with the reason of a signal that is aborted, and later ends by it", async () => {
  await withFolder(async (folder) => {
    const reason = new Error("enough");
    const aborted = AbortSignal.abort(reason);
    assertEquals(await assertRejects(() => startAlone(folder, { signal: aborted })), reason);
    const early = new AbortController();
    const starting = startAlone(folder, { signal: early.signal });
    early.abort(reason);
    assertEquals(await assertRejects(() => starting), reason);
    const controller = new AbortController();
    const node = await startAlone(folder, { signal: controller.signal });
    await node.ready();
    controller.abort();
    assertEquals(await node.stopped, null);
  });
});

Deno.test("Node.ready() waits for a leader, as long as its signal lets it", async () => {
  await withFolder(async (folder) => {
    const cluster = `127.0.0.1:${freePorts(1)},127.0.0.1:1`; // the second one never comes
    await using node = await startNode({ nodeId: 1, cluster, dataDir: folder });
    const controller = new AbortController();
    const ready = node.ready({ signal: controller.signal });
    controller.abort(new Error("no patience"));
    await assertRejects(() => ready, Error, "no patience");
    assertEquals(node.status().leader, null);
    const waiting = assertRejects(() => node.ready(), NodeError, "node 1 was closed");
    await node.close();
    await waiting;
  });
});

Deno.test("Node.close() delivers the answer to a write that is under way", async () => {
  await withFolder(async (folder) => {
    const node = await startAlone(folder, { timing: { clientDelayMs: 30 } });
    await node.ready();
    const client = await connect(node.clientAddress);
    const written = client.put("a", "1");
    while (node.status().keys === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    const closing = node.close();
    await written;
    await client.close();
    await closing;
  });
});
