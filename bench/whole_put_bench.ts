/**
 * A whole put in one process: a client sends it over a loopback connection to a node, a cluster of one, which puts it in
 * its log, fsyncs, applies and answers. Beside it a get, which needs no disk.
 *
 * @module
 */

import { connect } from "../lib/client/client.ts";
import { startNode } from "../lib/node/node.ts";
import { areGranted, benchFolder } from "./permissions.ts";

const ignore = !areGranted("whole puts and gets over a connection", ["read", "write", "net"]);
const value = "x".repeat(256);
const node = ignore ? null : await startNode({ dataDir: `${benchFolder()}/node`, bind: "127.0.0.1:0" });
await node?.ready();
const client = node === null ? null : await connect(node.clientAddress, { sessions: false });

for (const count of [1, 64]) {
  Deno.bench({ name: `client.put(), ${count} at once`, ignore }, async () => {
    await Promise.all(Array.from({ length: count }, (_, i) => client!.put(`key${i}`, value)));
  });
}

for (const count of [1, 64]) {
  Deno.bench({ name: `client.get(), ${count} at once`, ignore }, async () => {
    await Promise.all(Array.from({ length: count }, (_, i) => client!.get(`key${i}`)));
  });
}
