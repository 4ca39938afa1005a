import { assertEquals, assertThrows } from "@std/assert";
import { type NodeOptions, OptionError } from "../../mod.ts";
import { serverOptionsOf } from "../../lib/node/options.ts";
import { defaultLimits } from "../../lib/server/options.ts";

Deno.test("serverOptionsOf() makes a node that is alone of no options at all", () => {
  const { log: _, ...options } = serverOptionsOf({});
  assertEquals(options, {
    nodeId: 1,
    bindAddress: "127.0.0.1:8080",
    clientBindAddress: "127.0.0.1:9080",
    clientAddress: "127.0.0.1:9080",
    cluster: [{ id: 1, address: "127.0.0.1:8080" }],
    timing: {
      eventLoopDelayMs: 0,
      heartbeatIntervalMs: 50,
      electionTimeoutMinMs: 150,
      electionTimeoutMaxMs: 300,
      networkDelayMs: 0,
      clientDelayMs: 0,
    },
    limits: defaultLimits,
    secret: null,
    verbose: false,
  });
});

Deno.test("serverOptionsOf() takes a cluster as a list, numbers on top of those of the fast mode, and some limits", () => {
  const options = serverOptionsOf({
    cluster: ["2=b:1", "1=a:1"],
    bind: "b:1",
    timing: { electionTimeoutMaxMs: 4000 },
    limits: { valueBytesMax: 10 },
    secret: "sechzehn Zeichen ß",
  });
  assertEquals([options.nodeId, options.cluster], [2, [{ id: 1, address: "a:1" }, {
    id: 2,
    address: "b:1",
  }]]);
  assertEquals([options.timing.heartbeatIntervalMs, options.timing.electionTimeoutMaxMs], [50, 4000]);
  const { valueBytesMax, keyBytesMax, requestTimeoutMs } = options.limits;
  assertEquals([valueBytesMax, keyBytesMax], [10, defaultLimits.keyBytesMax]);
  assertEquals(requestTimeoutMs, 12_000, "a request may outlast an election");
  assertEquals(options.secret?.length, 19);
  assertEquals(serverOptionsOf({ timing: "demo" }).timing.heartbeatIntervalMs, 3000);
});

Deno.test("serverOptionsOf() finds free ports for a node that is alone and asks for port 0", () => {
  for (
    const [host, bind] of [["127.0.0.1", "127.0.0.1:0"], ["localhost", "localhost:0"], ["[::1]", "[::1]:0"]]
  ) {
    const { bindAddress, clientAddress, cluster } = serverOptionsOf({ bind });
    const [raft, client] = [bindAddress, clientAddress].map((it) => /^(.*):([1-9]\d*)$/.exec(it)!.slice(1));
    assertEquals([raft![0], client![0]], [host, host]);
    assertEquals([raft![1] === client![1], cluster[0]!.address], [false, bindAddress]);
  }
  assertEquals(serverOptionsOf({ bind: "127.0.0.1:0", clientPort: 9 }).clientAddress, "127.0.0.1:9");
});

Deno.test("serverOptionsOf() refuses what cannot be, with the options by their names", () => {
  const cluster = "a:1,b:1,c:1";
  const cases: [NodeOptions, string][] = [
    [{ nodeId: 0 }, "nodeId is a positive whole number, not 0"],
    [{ nodeId: 1.5 }, "nodeId is a positive whole number, not 1.5"],
    [{ cluster, nodeId: 4 }, "nodeId 4 is not in cluster, whose ids are 1, 2, 3"],
    [{ cluster }, "give nodeId: cluster has the ids 1, 2, 3"],
    [{ cluster: [] }, "cluster lists host:port addresses"],
    [{ cluster: ["a:0"] }, `cluster: "a:0" is not an address: a port is from 1 to 65535`],
    [
      { cluster, bind: "a:0" },
      "bind has port 0, any free one, which the other nodes of cluster could not know",
    ],
    [{ bind: "a" }, `bind: "a" is not an address`],
    [{ bind: "a:65000" }, "or give clientPort"],
    [{ clientPort: 0 }, "clientPort is a port from 1 to 65535, not 0"],
    [{ bind: "a:1", clientPort: 1 }, "clientPort 1 is the raft port"],
    [{ advertiseClient: "a" }, `advertiseClient: "a" is not an address`],
    [{ timing: "slow" as "fast" }, `timing is fast, debug, demo, not "slow"`],
    [{ timing: { heartbeatIntervalMs: 0 } }, "heartbeatIntervalMs is from 1 to 3600000 ms, not 0"],
    [{ timing: { clientDelayMs: NaN } }, "clientDelayMs is from 0 to 3600000 ms, not NaN"],
    [{ timing: { heartbeatIntervalMs: 150 } }, "must be less than electionTimeoutMinMs (150 ms)"],
    [{ limits: { keyBytesMax: 0 } }, "keyBytesMax is a positive whole number, not 0"],
    [{ limits: { keyBytesMax: 0.5 } }, "keyBytesMax is a positive whole number, not 0.5"],
    [{ secret: "too short" }, "secret has 9 bytes and must have 16 to 65536"],
  ];
  for (const [options, message] of cases) assertThrows(() => serverOptionsOf(options), OptionError, message);
});
