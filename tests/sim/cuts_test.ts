import { assertEquals, assertGreater } from "@std/assert";
import { drawCut, fitting } from "./cuts.ts";
import { Random } from "./random.ts";
import type { FaultKind } from "./scenario.ts";

function cut(kind: FaultKind, nodes: readonly string[], seed: number): Set<string> {
  const place = {
    nodes,
    clients: ["c1", "c2"],
    target: nodes[0]!,
    leader: nodes[1]!,
    random: new Random(`${seed}`),
  };
  return new Set(drawCut(kind, place).map(([from, to]) => `${from}>${to}`));
}

/** Whom a node still hears, itself included. */
function heardBy(node: string, nodes: readonly string[], ways: Set<string>): string[] {
  return nodes.filter((other) => other === node || !ways.has(`${other}>${node}`));
}

const nodes = ["n1", "n2", "n3", "n4", "n5"];

Deno.test("drawCut() of a ring leaves each node a majority to hear, and no two the same one", () => {
  for (const size of [4, 5, 7]) {
    const names = Array.from({ length: size }, (_, i) => `n${i + 1}`);
    const ways = cut("ring", names, size);
    const heard = names.map((node) => heardBy(node, names, ways));
    for (const majority of heard) assertGreater(majority.length * 2, size);
    assertEquals(new Set(heard.map((majority) => majority.join())).size, size);
  }
});

Deno.test("drawCut() of a bridge leaves two halves that only one node can talk to, both ways", () => {
  for (let seed = 0; seed < 20; seed++) {
    const some = nodes.slice(0, 3 + seed % 3);
    const ways = cut("bridge", some, seed);
    const whole = some.filter((node) => heardBy(node, some, ways).length === some.length);
    assertEquals(whole, ["n1"]);
    for (const way of ways) assertEquals(ways.has(way.split(">").reverse().join(">")), true);
  }
});

Deno.test("drawCut() isolates the node or the leader, and leaves it its clients", () => {
  for (const [kind, alone] of [["isolate", "n1"], ["isolateLeader", "n2"]] as const) {
    const ways = cut(kind, nodes, 1);
    assertEquals(heardBy(alone, nodes, ways), [alone]);
    assertEquals([...ways].filter((way) => !way.includes(alone)), []);
    assertEquals([...ways].filter((way) => way.includes("c")), []);
  }
});

Deno.test("drawCut() cuts one way only when it says so", () => {
  for (let seed = 0; seed < 50; seed++) {
    const ways = cut("oneWay", nodes, seed);
    assertGreater(ways.size, 0);
    for (const way of ways) assertEquals(ways.has(way.split(">").reverse().join(">")), false, way);
  }
});

Deno.test("fitting() gives a shape that cuts something between as many nodes as there are", () => {
  for (const kind of ["ring", "bridge"] as const) {
    for (let size = 2; size <= 5; size++) {
      const some = nodes.slice(0, size);
      assertGreater(cut(fitting(kind, size), some, size).size, 0, `${kind} of ${size}`);
    }
  }
});
