/**
 * A node inside your own program: no process to start beforehand, no server to install. Its data outlives the program;
 * other programs can use it too, at the address that it prints.
 *
 *     deno run -A examples/embed.ts
 *
 * @module
 */

import { connect, NodeError, startNode } from "@kvapp/kvapp";

const dataDir = await Deno.makeTempDir({ prefix: "embed-" });

/** Runs a node while `work` does. */
async function withNode(work: (address: string) => Promise<void>): Promise<void> {
  // Port 0: any free one. A node with a fixed address says `bind: "127.0.0.1:8080"`, one of several `cluster: [...]`.
  await using node = await startNode({ dataDir, bind: "127.0.0.1:0" });
  // What ends a node, a failed disk for example, does not end the program. It is told here.
  node.stopped.then((error) => console.log(error === null ? "closed" : `stopped: ${error.message}`));
  await work(node.clientAddress);
}

await withNode(async (address) => {
  await using client = await connect(address);
  const { version } = await client.put("color", "green");
  await client.put("color", "blue", { ifVersion: version });
  console.log("visits:", (await client.increment("visits")).value);
  try {
    await startNode({ dataDir }); // one node at a time has a folder
  } catch (error) {
    console.log(error instanceof NodeError ? error.code : error);
  }
});

await withNode(async (address) => { // as when the program is run again
  await using client = await connect(address);
  console.log("color:", (await client.get("color"))?.value);
  console.log("visits:", (await client.increment("visits")).value);
});

await Deno.remove(dataDir, { recursive: true });
