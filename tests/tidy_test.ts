/**
 * Holds the whole source to the rules of tools/tidy.ts, and each rule to samples that it must and must not reject.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { blankOut, checkFile, functionsOf } from "../tools/tidy.ts";

const root = new URL("../", import.meta.url);
const comment = "/** What and why. @module */\n";

async function* sources(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(new URL(folder || ".", root))) {
    const path = `${folder}${name}`;
    if (isDirectory && !/^(\.|node_modules$|dist$|coverage$|offline$|kvapp-dev$|data$)/.test(name)) {
      yield* sources(`${path}/`);
    } else if (name.endsWith(".ts")) yield path;
  }
}

/** The messages for a sample that begins as a file should. */
function messages(path: string, code: string): string[] {
  return checkFile(path, comment + code).map(({ message }) => message);
}

function assertAllowed(path: string, code: string): void {
  assertEquals(messages(path, code), [], `${path}: ${code}`);
}

function assertRefused(path: string, code: string, part: string): void {
  const found = messages(path, code);
  assertEquals(found.length, 1, `${path}: ${code}: ${found.join("; ")}`);
  assertStringIncludes(found[0]!, part);
}

Deno.test("checkFile() finds nothing wrong in the whole project", async () => {
  const violations: string[] = [];
  let files = 0;
  for await (const path of sources("")) {
    files++;
    for (const { line, message } of checkFile(path, await Deno.readTextFile(new URL(path, root)))) {
      violations.push(`${path}:${line}: ${message}`);
    }
  }
  assertEquals(violations, []);
  assertGreater(files, 30, "the walk must have found the project");
});

Deno.test("checkFile() lets imports point inward only", () => {
  assertAllowed("lib/raft/raft.ts", 'import { assert } from "../assert.ts";\nexport * from "./log.ts";');
  assertAllowed("lib/server/server.ts", 'import type { Io } from "../io/io.ts";');
  assertAllowed("lib/server/server.ts", 'import { Raft } from "../raft/raft.ts";');
  assertAllowed("lib/io/deno_io.ts", 'import type { Io } from "./io.ts";');
  assertAllowed("lib/client/client.ts", 'import { splitLines } from "../protocol/lines.ts";');
  assertAllowed("lib/crc32.ts", 'import { crc32 } from "node:zlib";');
  assertAllowed("lib/hmac.ts", 'import { createHmac } from "node:crypto";');
  assertAllowed("lib/node/node.ts", 'import { Server } from "../server/server.ts";');
  assertAllowed("lib/cli/serve.ts", 'import { startNode } from "../node/node.ts";');
  const refused: [string, string, string][] = [
    ["lib/raft/raft.ts", 'import { Store } from "../kv/store.ts";', "lib/kv/store.ts"],
    ["lib/raft/raft.ts", 'import { crc32 } from "node:zlib";', "node:zlib"],
    ["lib/server/handshake.ts", 'import { createHmac } from "node:crypto";', "node:crypto"],
    ["lib/raft/raft.ts", "import x from 'fast-check';", "npm:fast-check"],
    ["lib/raft/raft.ts", 'import "../server/server.ts";', "lib/server/server.ts"],
    ["lib/raft/raft.ts", 'export type X = import("../io/io.ts").Io;', "lib/io/io.ts"],
    ["lib/kv/store.ts", 'export * from "../raft/raft.ts";', "lib/raft/raft.ts"],
    ["lib/protocol/lines.ts", 'import type { Server } from "../server/server.ts";', "lib/server/server.ts"],
    ["lib/protocol/lines.ts", 'import type { Io } from "../io/io.ts";', "lib/io/io.ts"],
    ["lib/storage/storage.ts", 'import { x } from "../protocol/lines.ts";', "lib/protocol/lines.ts"],
    ["lib/server/server.ts", 'import { x } from "../io/deno_io.ts";', "lib/io/deno_io.ts"],
    ["lib/server/server.ts", 'import { delay } from "@std/async";', "@std/async"],
    ["lib/server/server.ts", 'import { startNode } from "../node/node.ts";', "lib/node/node.ts"],
    ["lib/node/node.ts", 'import { UsageError } from "../cli/exit.ts";', "lib/cli/exit.ts"],
    ["lib/io/io.ts", 'import { x } from "./deno_io.ts";', "lib/io/deno_io.ts"],
    ["lib/io/deno_io.ts", 'import { x } from "../server/server.ts";', "lib/server/server.ts"],
    ["lib/client/client.ts", 'import { Raft } from "../raft/raft.ts";', "lib/raft/raft.ts"],
    ["lib/cli/serve.ts", 'import { main } from "../../main.ts";', "main.ts"],
    ["lib/assert.ts", 'import { x } from "./raft/raft.ts";', "lib/raft/raft.ts"],
  ];
  for (const [path, code, target] of refused) assertRefused(path, code, `must not import ${target}`);
});

Deno.test("checkFile() keeps time, chance, waiting and Deno out of the pure folders", () => {
  const impure = [
    "new Date()",
    "Math.random()",
    "Math . random()",
    "performance.now()",
    "crypto.randomUUID()",
    "setTimeout(f, 1)",
    "setInterval(f, 1)",
    "setImmediate(f)",
    "queueMicrotask(f)",
    "Deno.exit()",
    "[...Deno.args]",
    "globalThis.x",
    "process.exit()",
    "fetch(x)",
    "console.log(x)",
    "new Promise(f)",
    "await x",
    "`${Date}`",
    'f({ "a": /"/, b: Date.now() })',
  ];
  for (const folder of ["raft", "kv", "protocol", "storage", "server"]) {
    for (const code of impure) assertRefused(`lib/${folder}/x.ts`, `x(${code});`, "has no place here");
    assertRefused(`lib/${folder}/x.ts`, "async function x() {}", "async has no place here");
  }
  assertRefused("lib/version.ts", "Deno.exit();", "Deno has no place here");
  assertRefused("mod.ts", "Deno.exit();", "Deno has no place here");
  const outer = ["lib/cli/x.ts", "lib/client/x.ts", "lib/node/x.ts", "lib/io/deno_io.ts", "examples/x.ts"];
  for (const path of [...outer, "main.ts", "tests/x_test.ts"]) {
    assertAllowed(path, "await Deno.stat(`${Date.now()}`);");
  }
});

Deno.test("checkFile() is not misled by comments, strings, templates, patterns and properties", () => {
  const path = "lib/raft/x.ts";
  assertAllowed(path, "// new Date() await\n/* Deno\n Deno */ x();");
  assertAllowed(path, "x('await', \"\\\"Deno\", `Date ${'Deno'} \\` \\${Date} ${`Date ${x} Date`}`);");
  assertAllowed(path, 'x(/Deno["]/g, /[/"]Date/, a / b, c / "Date".length);');
  assertAllowed(path, "x.await.Date; y({ Date: 1 }); interface Z { async?: number }");
  assertAllowed(path, "myDate(); Dated(); $Deno; #Date;");
});

Deno.test("checkFile() refuses any, an empty catch, work left undone and a missing @module", () => {
  assertRefused("lib/cli/x.ts", "let x: any;", "any switches the types off");
  assertRefused("lib/cli/x.ts", "f(x as Array<any>);", "any switches the types off");
  assertAllowed("lib/cli/x.ts", 'Promise.any("any");');
  assertRefused("lib/cli/x.ts", "try { x(); } catch { /* never mind */ }", "an empty catch");
  assertRefused("lib/cli/x.ts", "try { x(); } catch (error) {\n}", "an empty catch");
  assertAllowed("lib/cli/x.ts", "try { x(); } catch { y(); }");
  for (const word of ["TO" + "DO", "FIX" + "ME", "X" + "XX"]) {
    assertRefused("lib/cli/x.ts", `// ${word}: later`, "work left undone");
  }
  assertEquals(checkFile("lib/cli/x.ts", "x();").map(({ message }) => message), [
    "the file does not start with a @module comment",
  ]);
});

Deno.test("checkFile() measures files and functions", () => {
  const lines = (count: number) => "  x();\n".repeat(count);
  assertAllowed("lib/cli/x.ts", lines(349));
  assertRefused("lib/cli/x.ts", lines(350), "enough for a file");
  assertAllowed("tests/x_test.ts", lines(499));
  assertRefused("tests/x_test.ts", lines(500), "enough for a file");
  const heads = [
    ["function f() {\n", "}"],
    ["function f(a: { b: number }, c = () => {}): { d: number } | null {\n", "}"],
    ["const f = (a: number): void => {\n", "};"],
    ["class A {\n  override #f<T>(a: T): Map<string, { b: T }> {\n", "  }\n}"],
    ["class A {\n  constructor(a = {}) {\n", "  }\n}"],
    ["const a = {\n  get f() {\n", "  },\n};"],
    ['Deno.test("f() works", async () => {\n', "});"],
  ] as const;
  for (const [head, tail] of heads) {
    assertAllowed("lib/cli/x.ts", head + lines(68) + tail);
    assertRefused("lib/cli/x.ts", head + lines(69) + tail, "enough for a function");
  }
});

Deno.test("functionsOf() takes neither loops nor calls nor types for functions", () => {
  const code =
    "  for (const a of b) {\n  }\n  if (x) {\n  }\n  f(a);\n  interface A {\n  m(): { a: 1 };\n  }\n";
  assertEquals(functionsOf(code), []);
});

Deno.test("checkFile() wants tests named after what they test", () => {
  const path = "tests/raft/election_test.ts";
  assertAllowed(path, 'Deno.test("becomeLeader() appends a no-op (paper 8)", () => {});');
  assertAllowed(path, 'Deno.test("Raft.tick() starts an election", () => {});');
  assertAllowed(path, "Deno.test(`${name} gives what the script says`, () => {});");
  assertAllowed(path, 'new Sessions();\nDeno.test("Sessions keep the last answers", () => {});');
  for (
    const name of [
      "works",
      "Sessions keep the last answers",
      "becomeLeader()",
      "test that becomeLeader() works",
      "",
    ]
  ) {
    assertRefused(path, `Deno.test("${name}", () => {});`, "does not read");
    assertRefused(path, `Deno.test({\n  name: "${name}",\n  fn() {},\n});`, "does not read");
  }
  assertAllowed("tests/e2e/cluster_test.ts", 'Deno.test("a cluster survives", () => {});');
});

Deno.test("blankOut() keeps every position", async () => {
  for (const path of ["tools/tidy.ts", "tests/tidy_test.ts"]) {
    const source = await Deno.readTextFile(new URL(path, root));
    const code = blankOut(source);
    assertEquals(code.length, source.length);
    assertEquals(code.split("\n").length, source.split("\n").length);
    assert(!code.includes("samples"), "comments must be blank");
    for (const pair of ["()", "[]", "{}"]) {
      assertEquals(code.split(pair[0]!).length, code.split(pair[1]!).length, `${path}: ${pair} must match`);
    }
  }
});
