import { assert, assertEquals, assertGreater, assertMatch, assertStringIncludes } from "@std/assert";
import { dirname } from "node:path";
import { Leaders } from "../../lib/chaos/leaders.ts";
import { type Link, TcpProxy } from "../../lib/chaos/tcp_proxy.ts";
import { judge } from "../../lib/cli/bench_verify_verdict.ts";
import { type Operation, parseHistory } from "../../lib/verify/operation.ts";
import { freePorts, kvapp, Running, withFolder, withNode } from "./processes.ts";

Deno.test("bench --verify finds a node linearizable, keeps the history and leaves no keys behind", async () => {
  await withFolder(async (folder) => {
    await withNode(async (cluster) => {
      const history = `${folder}/history.ndjson`;
      const args = ["--verify", "--seconds", "0.5", "--history", history, "--seed", "a"];
      const { code, stdout } = await kvapp(["bench", ...cluster, ...args]);
      assertEquals(code, 0, stdout);
      assertMatch(stdout, /^WHAT +HOW MUCH\noperations +[\d,]+\n/);
      assertMatch(stdout, /\nverdict +linearizable\nwritten: .*history\.ndjson\n$/);
      const operations = parseHistory(await Deno.readTextFile(history));
      assertGreater(operations.length, 50);
      assertEquals(new Set(operations.map(({ op }) => op)).size, 5, "all kinds");
      assertEquals(judge(operations).linearizable, true);
      assertEquals((await kvapp(["client", ...cluster, "list"])).stdout, "No keys found\n");
    });
  });
});

/** Answers now and then with the value of an earlier answer. */
function lie(link: Link): (direction: "toTarget" | "toDialler", bytes: Uint8Array) => void {
  let text = "";
  const values: string[] = [];
  return (direction, bytes) => {
    if (direction === "toTarget") return link.pass(direction, bytes);
    const lines = (text + new TextDecoder().decode(bytes)).split("\n");
    text = lines.pop()!;
    for (const line of lines) {
      const reply = JSON.parse(line);
      if (reply.found === true) values.push(reply.value);
      if (reply.found === true && values.length % 5 === 0) reply.value = values.at(-5);
      link.pass(direction, new TextEncoder().encode(JSON.stringify(reply) + "\n"));
    }
  };
}

Deno.test("bench --verify shows how a node that answers reads with old values is wrong", async () => {
  await withFolder(async (folder) => {
    const port = freePorts(1);
    await using proxy = await TcpProxy.open(`127.0.0.1:${port + 1000}`);
    proxy.filter = lie;
    const place = ["--bind", `127.0.0.1:${port}`, "--data-dir", folder, "--advertise-client", proxy.address];
    const node = new Running(["serve", ...place]);
    await node.until("leads term");
    const args = ["--verify", "--cluster", proxy.address, "--seconds", "0.5", "--json"];
    const { code, stdout } = await kvapp(["bench", ...args]);
    node.kill("SIGTERM");
    await node.end();
    const report = JSON.parse(stdout);
    assertEquals([code, report.verdict], [1, "not linearizable"]);
    assertMatch(report.problems[0], /^the operations on \S+ have no order that explains all answers$/);
    const [history, explanation, picture] = await Promise.all(
      report.files.slice(0, 3).map((path: string) => Deno.readTextFile(path)),
    );
    assertEquals(judge(parseHistory(history)).linearizable, false);
    assertStringIncludes(explanation, ">>>");
    assertStringIncludes(picture, "<svg");
    await Deno.remove(dirname(report.files[0]), { recursive: true });
  });
});

Deno.test("bench --verify says what options contradict each other", async () => {
  const cases: [string[], string][] = [
    [["--verify", "--chaos", "kil"], "Did you mean kill?"],
    [["--verify", "--chaos", "kill", "--cluster", "127.0.0.1:1"], "leave --cluster out"],
    [["--verify", "--nodes", "5"], "--nodes has a meaning only with --chaos"],
    [["--verify", "--pipeline", "2"], "--pipeline has no meaning with --verify"],
    [["--verify", "--history", "/nowhere/file"], "cannot write --history /nowhere/file: No such file"],
    [["--chaos", "kill"], "--chaos has a meaning only with --verify"],
  ];
  for (const [args, expected] of cases) {
    const { code, stderr } = await kvapp(["bench", ...args]);
    assertEquals(code, args.includes("--history") ? 1 : 2, args.join(" "));
    assertStringIncludes(stderr, expected);
  }
});

Deno.test("judge() takes a search that was given up for a failure, and finds what only the indexes show", () => {
  const span = (client: string, call: number, index: number) => ({
    client,
    key: "a",
    call,
    return: call + 1,
    index,
  });
  const overlapping = (i: number): Operation => ({ ...span(`c${i}`, 1, i), op: "put", value: `${i}` });
  const wide = [...Array.from({ length: 12 }, (_, i) => overlapping(i + 1)), {
    ...span("c0", 4, 12),
    op: "get" as const,
    value: "none of them",
  }];
  const givenUp = judge(wide, { stepsMax: 1000 });
  assertEquals([givenUp.linearizable, givenUp.problems.length], ["unknown", 1]);
  const late: Operation[] = [
    { ...span("c1", 1, 7), op: "put", value: "1" },
    { ...span("c2", 3, 5), op: "get", value: "1" },
  ];
  const { linearizable, problems, evidence } = judge(late);
  assertEquals(linearizable, false);
  assertMatch(problems.join(), /^the indexes contradict each other on a: /);
  assert("indexes.txt" in evidence);
});

Deno.test("Leaders counts who comes to lead and notices two of one term", () => {
  const leaders = new Leaders();
  for (const node of [1, 1, 2]) leaders.note({ node, term: node });
  assertEquals([leaders.changes, leaders.contradictions], [1, []]);
  leaders.note({ node: 3, term: 2 });
  assertEquals(leaders.contradictions, ["the nodes 2 and 3 both led in term 2"]);
});
