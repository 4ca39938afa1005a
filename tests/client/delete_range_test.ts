import { assertEquals, assertRejects } from "@std/assert";
import { ClientError, connect } from "../../mod.ts";
import { FaultyCluster } from "./nodes_with_faults.ts";

Deno.test("deleteRange() that has deleted a part does not end with a definite error", async () => {
  const cluster = new FaultyCluster(1);
  try {
    await using client = await connect(cluster.cluster);
    let last = (await client.put("a", "1")).index;
    for (let i = 0; i < 10_001; i++) cluster.store.apply({ op: "put", key: `m${i}`, value: "" }, ++last);
    cluster.index = last;
    let sent = 0;
    cluster.spoil((_, { op }) => op === "deleteRange" && ++sent > 1 ? { error: "unknownOperation" } : null);
    const error = await assertRejects(() => client.deleteRange({ prefix: "m" }), ClientError);
    assertEquals(cluster.store.size, 2, "10,000 keys are gone");
    assertEquals(error.definite, false, error.message);
  } finally {
    await cluster.close();
  }
});
