import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { checkIndexes } from "../../lib/verify/indexes.ts";
import { formatOperation, type Operation, parseHistory } from "../../lib/verify/operation.ts";
import { Random } from "../sim/random.ts";

function put(
  client: string,
  [call, end]: [number, number],
  value: string,
  index: number,
  key = "k",
): Operation {
  return { client, key, call, return: end, op: "put", value, index };
}

function get(
  client: string,
  [call, end]: [number, number],
  value: string | null,
  at: { index: number; version?: number },
): Operation {
  return { client, key: "k", call, return: end, op: "get", value, ...at };
}

Deno.test("checkIndexes() accepts a history whose indexes are an order, and finds what is not, over keys too", () => {
  const write = put("a", [0, 1], "1", 5);
  assertEquals(checkIndexes([write, get("b", [2, 3], "1", { index: 5, version: 5 })]), null);
  const cases: [Operation[], string][] = [
    [[write, get("b", [2, 3], null, { index: 4 })], "had been told of index 5"],
    [[write, put("b", [2, 3], "2", 5)], "had been told of index 5"],
    [[write, put("b", [2, 3], "2", 3, "other")], "had been told of index 5"],
    [[write, put("b", [0, 3], "2", 5)], "two writes were told the same index 5"],
    [[write, get("b", [0, 3], "1", { index: 5, version: 6 })], "names version 6, which is newer"],
    [[write, get("b", [0, 3], "0", { index: 7, version: 2 })], "shows version 2, but there is a write at 5"],
    [[write, get("b", [0, 3], "2", { index: 7, version: 5 })], 'the write of that version was "put "1""'],
  ];
  for (const [history, message] of cases) {
    const found = checkIndexes(history);
    assert(found !== null, message);
    assertStringIncludes(found.message, message);
  }
});

Deno.test("checkIndexes() looks at nothing that names no index or has no known outcome", () => {
  const open: Operation = { client: "a", key: "k", call: 0, return: null, op: "put", value: "1", index: 9 };
  assertEquals(
    checkIndexes([
      open,
      put("b", [1.5, 2], "2", 3),
      { ...open, return: 1, op: "get", value: null } as Operation,
    ]),
    {
      key: "k",
      message: '"put "2"" of b reflects index 3, but before it was called a had been told of index 9',
      operations: [{ ...open, return: 1, op: "get", value: null } as Operation, put("b", [1.5, 2], "2", 3)],
    },
  );
  const { index: _, ...unnamed } = put("a", [0, 1], "1", 5);
  assertEquals(checkIndexes([unnamed as Operation, open]), null);
});

Deno.test("checkIndexes() finds one wrong index or version in a long history of a log, wherever it is", () => {
  const random = new Random("indexes");
  for (let round = 0; round < 200; round++) {
    const history: Operation[] = [];
    let index = 0, version = 0, value: string | null = null, time = 0;
    for (let i = 0; i < 60; i++) {
      const span: [number, number] = [time += 1, time += random.between(0.1, 0.9)];
      if (random.chance(0.5)) {
        history.push(get("r", span, value, { index, ...(version > 0 ? { version } : {}) }));
      } else {
        version = ++index;
        value = `v${i}`;
        history.push(put("w", span, value, index));
      }
    }
    assertEquals(checkIndexes(history), null);
    const at = 1 + random.below(history.length - 1);
    const broken = history.map((operation, i) =>
      i === at ? { ...operation, index: operation.index! - 1 } : operation
    );
    if (history[at - 1]!.index! >= history[at]!.index! || history[at]!.op === "put") {
      assert(checkIndexes(broken) !== null, `round ${round}`);
    }
  }
});

Deno.test("parseHistory() reads what formatOperation() writes, and names the line and field of what is none", () => {
  const history: Operation[] = [
    put("a", [0.5, 1], "two\nlines", 5),
    get("b", [2, 3], null, { index: 5 }),
    { client: "c", key: "k", call: 1, return: null, op: "cas", from: null, to: "x" },
    { client: "c", key: "k", call: 1, return: 2, op: "delete", deleted: false },
    { client: "c", key: "k", call: 1, return: 2, op: "increment", by: "-5", sum: "0" },
    { client: "c", key: "k", call: 1, return: 2, op: "append", value: "x" },
  ];
  assertEquals(parseHistory(history.map((it) => formatOperation(it) + "\n").join("")), history);
  const good = { client: "a", key: "k", call: 1, return: 2, op: "put", value: "1" };
  const cases: [unknown, string][] = [
    ["{", "line 2 is not JSON"],
    [7, "an operation is a JSON object"],
    [{ ...good, op: "sleep" }, "op must be one of get, put"],
    [{ ...good, value: 1 }, "value must be string, not number"],
    [{ ...good, client: undefined }, "client must be string, not undefined"],
    [{ ...good, return: "2" }, "return must be number or null, not string"],
    [{ ...good, return: 0 }, "return must not be before call"],
  ];
  for (const [line, message] of cases) {
    const text = `${JSON.stringify(good)}\n${typeof line === "string" ? line : JSON.stringify(line)}\n`;
    try {
      parseHistory(text);
    } catch (error) {
      assert(error instanceof SyntaxError);
      assertStringIncludes(error.message, message);
      assertStringIncludes(error.message, "line 2");
      continue;
    }
    assert(false, `must be refused: ${message}`);
  }
});
