import { assert, assertAlmostEquals, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { escapeControls } from "../../lib/cli/output.ts";
import { version } from "../../lib/version.ts";
import { type Ended, freePorts, kvapp, Running, withFolder, withNode } from "./processes.ts";

const timeout = ["--timeout", "2000"];

Deno.test("version is the one of deno.json", async () => {
  const config = JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url)));
  assertEquals(version, config.version);
  assertEquals((await kvapp(["--version"])).stdout, `kvapp ${version}\n`);
});

Deno.test("kvapp alone prints the help and exits 2; --help prints it and exits 0", async () => {
  const [alone, asked] = await Promise.all([kvapp([]), kvapp(["--help"])]);
  assertEquals(alone.code, 2);
  assertEquals(asked.code, 0);
  assertEquals(alone.stdout, asked.stdout);
  for (const name of ["serve", "dev", "client", "bench", "status", "completions"]) {
    assertMatch(asked.stdout, new RegExp(`^  ${name} `, "m"));
    const { code, stdout } = await kvapp([name, "--help"]);
    assertEquals(code, 0);
    assertStringIncludes(stdout, `kvapp ${name}: `);
  }
});

Deno.test("wrong usage is named with the nearest name and exits 2", async () => {
  const cases: [string[], string][] = [
    [["sevre"], "unknown command sevre. Did you mean serve?"],
    [["get", "a"], "Did you mean kvapp client get?"],
    [["--verison"], "unknown option --verison. Did you mean --version?"],
    [["serve", "--bnid", "x"], "unknown option --bnid. Did you mean --bind?"],
    [["serve", "now"], `"now" is one`],
    [["serve", "--bind", "127.0.0.1:65000"], "ports end at 65535"],
    [["serve", "--cluster", "a:1,b:1"], "give --node-id"],
    [["serve", "--heartbeat-interval", "500"], "--election-timeout-min"],
    [["serve", "--log-level", "loud"], "--log-level is error, warn, info, debug"],
    [["client", "wacth"], "Unknown command: wacth. Did you mean watch?"],
    [["client", "get"], "Usage: get <key>"],
    [["client", "get", "a", "b"], "Usage: get <key>"],
    [["client", "get", "a", "--ttl", "5"], "get has no use for --ttl: it takes --stale --trace"],
    [["client", "status", "--stale"], "status has no use for --stale: it takes no option"],
    [["client", "--cluster", "nowhere", "get", "a"], "expected host:port"],
    [["bench", "--workload", "putt"], "Did you mean put?"],
    [["bench", "--seconds", "0"], "--seconds is a number of seconds"],
    [["dev", "--nodes", "0"], "--nodes is a whole number from 1 to"],
    [["completions", "bsh"], "Did you mean bash?"],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await kvapp(args);
    assertStringIncludes(stderr, message, args.join(" "));
    assertStringIncludes(stderr, "--help", args.join(" "));
    assertEquals(code, 2, args.join(" "));
  }
});

Deno.test("completions name every command and option, and bash accepts them", async () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const { code, stdout } = await kvapp(["completions", shell]);
    assertEquals(code, 0);
    for (const word of ["serve", "completions", "delete", "import", "if-new", "election-timeout-min"]) {
      assertStringIncludes(stdout, word);
    }
    assertEquals(stdout.includes("stop-with-stdin"), false, "hidden");
  }
  const { stdout } = await kvapp(["completions", "bash"]);
  const complete = `${stdout}\nCOMP_WORDS=(kvapp client ge) COMP_CWORD=2; _kvapp; echo "\${COMPREPLY[@]}"`;
  const bash = await new Deno.Command("bash", { args: ["-c", complete] }).output();
  assertEquals(new TextDecoder().decode(bash.stdout), "get\n");
});

Deno.test("client, bench and status exit 3 when no node answers", async () => {
  const cluster = ["--cluster", `127.0.0.1:${freePorts(1)}`];
  for (const args of [["client", "get", "a"], ["client"], ["bench"], ["status"]]) {
    const { code, stderr } = await kvapp([...args, ...cluster]);
    assertEquals(code, 3, args.join(" "));
    assertStringIncludes(stderr, "no node of the cluster answers: 127.0.0.1:");
    assertStringIncludes(stderr, "Is it running? kvapp dev starts a cluster,");
  }
});

Deno.test("client carries out one operation, with the texts and exit codes of the manual", async () => {
  await withNode(async (cluster) => {
    const client = (...args: string[]): Promise<Ended> => kvapp(["client", ...cluster, ...timeout, ...args]);
    assertEquals(await client("get", "a"), { code: 1, stdout: "", stderr: "Key not found\n" });
    assertEquals(await client("list"), { code: 0, stdout: "No keys found\n", stderr: "" });
    assertEquals(await client("put", "a", "two", "words"), { code: 0, stdout: "OK\n", stderr: "" });
    assertEquals((await client("get", "a")).stdout, "two words\n");
    assertEquals((await client("put", "b", "--", "-5")).stdout, "OK\n");
    assertEquals((await client("put", "empty", "")).stdout, "OK\n");
    assertEquals((await client("list", "--values")).stdout, "a\ttwo words\nb\t-5\nempty\t\n");
    assertEquals((await client("list", "--reverse", "--limit", "2")).stdout, "empty\nb\n");
    assertEquals((await client("list", "--count")).stdout, "3\n");
    const failed = await client("put", "a", "x", "--if-version", "0");
    assertEquals(failed.code, 1);
    assertStringIncludes(failed.stderr, "kvapp: the condition does not hold");
    assertMatch(
      (await client("put", "b", "6", "--previous", "--ttl", "600000")).stdout,
      /^OK\nBefore, from version \d+: -5\n$/,
    );
    const traced = await client("get", "b", "--trace");
    assertEquals(traced.stdout, "6\n");
    assertMatch(traced.stderr, /^trace in ms: queue [\d.]+, .*total [\d.]+\n$/);
    const { ttlMs, trace } = JSON.parse((await client("get", "b", "--json", "--trace")).stdout);
    assert(ttlMs > 500_000 && ttlMs <= 600_000 && trace.totalMs >= 0, `${ttlMs} ${trace.totalMs}`);
    assertEquals(
      (await client("delete", "a", "--previous")).stdout.replace(/\d+/, "N"),
      "OK\nBefore, from version N: two words\n",
    );
    assertEquals((await client("delete", "a")).stdout, "Key not found\n");
    assertMatch((await client("ping")).stdout, /^127\.0\.0\.1:\d+ answered in [\d.]+ ms\n$/);
  });
});

Deno.test("client --json prints the reply lines, errors included", async () => {
  await withNode(async (cluster) => {
    const client = (...args: string[]): Promise<Ended> => kvapp(["client", ...cluster, "--json", ...args]);
    const put = JSON.parse((await client("put", "a", "1")).stdout);
    assertEquals(put, { ok: true, index: put.version, version: put.version });
    const got = await client("get", "missing");
    assertEquals(got.code, 1);
    assertEquals(JSON.parse(got.stdout).found, false);
    const failed = await client("put", "a", "2", "--if-version", "99");
    assertEquals(failed.code, 1);
    assertEquals(failed.stderr, "");
    const { ok, error } = JSON.parse(failed.stdout);
    assertEquals([ok, error.code, error.version], [false, "conditionFailed", put.version]);
    assertEquals(JSON.parse((await client("status")).stdout).role, "leader");
  });
});

Deno.test("client put takes a value from stdin to the last byte", async () => {
  await withNode(async (cluster) => {
    const value = "line 1\r\nline 2 \u{1F642}\n".repeat(5000);
    assertEquals((await kvapp(["client", ...cluster, "put", "a", "-"], { stdin: value })).code, 0);
    assertEquals((await kvapp(["client", ...cluster, "get", "a"])).stdout, value + "\n");
  });
});

Deno.test("the shell works from a pipe: answers only, and the exit code of the first line that failed", async () => {
  await withNode(async (cluster) => {
    const shell = (stdin: string): Promise<Ended> => kvapp(["client", ...cluster], { stdin });
    assertEquals(await shell('put a 1\nget a\n\n  put k "two  spaces"\nget k\ndelete k\nget k\nlist'), {
      code: 0,
      stdout: "OK\n1\nOK\ntwo  spaces\nOK\nKey not found\na\n",
      stderr: "",
    });
    assertEquals(
      (await shell("put a -5 --json\nget a\nquit\nput a 2\n")).stdout,
      "OK\n-5 --json\nGoodbye!\n",
    );
    assertEquals(
      (await shell("get a --stale\nlist --limit 1 a --values\n")).stdout,
      "-5 --json\na\t-5 --json\n",
    );
    const late = await shell("put a x --if-version 0\nput a x --ttl=5\nput -- b --if-version 0\nget b\n");
    assertStringIncludes(late.stderr, "put takes --if-version before the key");
    assertStringIncludes(late.stderr, "put takes --ttl=5 before the key");
    assertEquals([late.code, late.stdout], [2, "OK\n--if-version 0\n"]);
    const failed = await shell("gte a\nput a\nput --if-value no a 3\nget a\n");
    assertEquals(failed.code, 2);
    assertEquals(failed.stdout, "-5 --json\n");
    assertStringIncludes(
      failed.stderr,
      "Unknown command: gte. Type 'help' for available commands. Did you mean get?",
    );
    assertStringIncludes(failed.stderr, "Usage: put <key> <value>");
    assertStringIncludes(failed.stderr, "Error: the condition does not hold");
    assertMatch((await shell("\\json\nget a\n")).stdout, /^Showing reply lines\n\{"ok":true,"found":true,/);
    const help = (await shell("help\n")).stdout;
    assertStringIncludes(help, "Available commands:\n  get <key>            Get value for key\n");
    assertStringIncludes(help, "\n  quit                 Exit client\n");
  });
});

Deno.test("increment, deleteRange and txn work as commands, from stdin and in the shell", async () => {
  await withNode(async (cluster) => {
    const client = (words: string[], stdin?: string): Promise<Ended> =>
      kvapp(["client", ...cluster, ...words], stdin === undefined ? {} : { stdin });
    const done = (stdout: string): Ended => ({ code: 0, stdout, stderr: "" });
    assertEquals(await client(["increment", "n"]), done("1\n"));
    assertEquals(await client(["increment", "n", "--", "-9007199254740994"]), done("-9007199254740993\n"));
    const refused = await client(["increment", "n", "x"]);
    assertEquals([refused.code, refused.stdout], [1, ""]);
    assertStringIncludes(refused.stderr, "by must be an integer");
    const transaction = JSON.stringify({
      if: [{ key: "n", exists: true }],
      then: [{ op: "put", key: "user/1", value: "a" }, { op: "put", key: "user/2", value: "b" }],
    });
    assertMatch(
      (await client(["txn", transaction])).stdout,
      /^Done: then\n(\{"ok":true,"version":\d+\}\n){2}$/,
    );
    assertMatch(
      (await client(["--json", "txn", "-"], transaction.replace("true", "false"))).stdout,
      /^\{"ok":true,.*"succeeded":false,"results":\[\],"index":\d+\}\n$/,
    );
    for (const json of ["{", "[]", "1"]) {
      const wrong = await client(["txn", json]);
      assertEquals(wrong.code, 2);
      assertStringIncludes(wrong.stderr, "a transaction is a JSON object, in single quotes: txn '{");
    }
    assertEquals(await client(["deleteRange", "user/"]), done("Deleted 2 keys\n"));
    assertStringIncludes((await client(["deleteRange"])).stderr, "prefix, start or end is missing");
    const lines =
      `increment n -1\nincrement n -- -1\ntxn '{"then":[{"op":"get","key":"n"}]}'\ndeleteRange --start n\n`;
    const shell = await client([], lines);
    assertMatch(
      shell.stdout,
      /^-9007199254740994\nDone: then\n\{"ok":true,"found":true,.*\}\nDeleted 1 key\n$/,
    );
    assertStringIncludes(shell.stderr, "unknown option -1");
  });
});

Deno.test("get and list print what was stored through a pipe as it is, and on a terminal without its control characters", async () => {
  const stored = "\0\x1b[2J\u009b1m\x7f";
  await withNode(async (cluster) => {
    const put = JSON.stringify({ op: "put", key: "k", value: stored });
    const conn = await Deno.connect({
      hostname: "127.0.0.1",
      port: Number(cluster[1]!.split(":")[1]) + 1000,
    });
    await conn.write(new TextEncoder().encode(put + "\n"));
    await conn.read(new Uint8Array(512));
    conn.close();
    assertEquals((await kvapp(["client", ...cluster, "get", "k"])).stdout, stored + "\n");
    assertEquals((await kvapp(["client", ...cluster, "list", "--values"])).stdout, `k\t${stored}\n`);
  });
  assertEquals(escapeControls(stored), "\\u0000\\u001b[2J\\u009b1m\\u007f");
  assertEquals(escapeControls("a\n\tb\r", { keep: "\n\t" }), "a\n\tb\\r");
  assertEquals(escapeControls("a\n\u{1F642} \\n"), "a\\n\u{1F642} \\n");
});

Deno.test("a reader that goes away ends the client quietly", async () => {
  await withNode(async (cluster) => {
    const lines = Array.from({ length: 300 }, (_, i) => `put key${i} ${"x".repeat(1000)}`).join("\n");
    assertEquals((await kvapp(["client", ...cluster], { stdin: lines })).code, 0);
    const main = new URL("../../main.ts", import.meta.url).pathname;
    const command = `"${Deno.execPath()}" run -A "${main}" client ${
      cluster.join(" ")
    } list --values | head -n 1`;
    const { stdout, stderr } = await new Deno.Command("sh", { args: ["-c", command] }).output();
    assertEquals(stdout.length, "key0\t".length + 1000 + 1);
    assertEquals(new TextDecoder().decode(stderr), "");
  });
});

Deno.test("status shows every node as a table", async () => {
  await withNode(async (cluster) => {
    const { code, stdout } = await kvapp(["status", ...cluster]);
    assertEquals(code, 0);
    assertMatch(stdout, /^NODE +ADDRESS +ROLE .*\n1 +127\.0\.0\.1:\d+ +leader +1 .* 0\.1\.0\n$/);
  });
});

Deno.test("bench prints its figures as one JSON line", async () => {
  await withNode(async (cluster) => {
    for (const workload of ["put", "get", "mixed"]) {
      const args = [
        "--workload",
        workload,
        "--clients",
        "4",
        "--pipeline",
        "8",
        "--seconds",
        "0.3",
        "--warmup",
        "0.1",
      ];
      const { code, stdout, stderr } = await kvapp(["bench", ...cluster, ...args, "--json"]);
      assertEquals([code, stderr], [0, ""]);
      const figures = JSON.parse(stdout);
      assertEquals(figures.errors, 0);
      assert(figures.operations > 50, stdout);
      assertEquals(figures.operationsPerSecond, figures.operations / 0.3);
      const { p50, p90, p99, p999, max } = figures.latencyMilliseconds;
      assert(0 < p50 && p50 <= p90 && p90 <= p99 && p99 <= p999 && p999 <= max && max < 1000, stdout);
      assertEquals([figures.perSecond, figures.rate, figures.unsent], [[figures.operations], null, 0]);
      const counts = figures.histogram.map(([, count]: [number, number]) => count);
      assertEquals(counts.reduce((sum: number, count: number) => sum + count), figures.operations);
    }
    const args = ["--rate", "500", "--clients", "4", "--pipeline", "64", "--seconds", "0.4", "--json"];
    const paced = JSON.parse((await kvapp(["bench", ...cluster, ...args])).stdout);
    assertAlmostEquals(
      paced.operations + paced.unsent,
      200,
      8,
      "on a fast machine there would be many more without --rate",
    );
    assertEquals([paced.rate, paced.errors], [500, 0]);
    const keys = (await kvapp(["client", ...cluster, "list"])).stdout.split("\n");
    assert(keys.includes("key00000999"), "get reads 1,000 keys, written first");
  });
});

Deno.test("serve says who it is, recovers its data, and exits 0 at SIGTERM and SIGINT", async () => {
  await withFolder(async (folder) => {
    const port = freePorts(1);
    const args = ["serve", "--bind", `127.0.0.1:${port}`, "--data-dir", folder];
    const first = new Running(args);
    await first.until("leads term");
    assertStringIncludes(
      first.stderr,
      `node 1: raft 127.0.0.1:${port}, clients 127.0.0.1:${port + 1000}, folder ${folder}`,
    );
    assertStringIncludes(first.stderr, `nc 127.0.0.1 ${port + 1000}`);
    assertEquals((await kvapp(["client", "--cluster", `127.0.0.1:${port}`, "put", "a", "1"])).code, 0);
    first.kill("SIGINT");
    assertEquals((await first.end()).code, 0);
    const second = new Running([...args, "--log-format", "json"]);
    await second.until("leads term");
    assertEquals((await kvapp(["client", "--cluster", `127.0.0.1:${port}`, "get", "a"])).stdout, "1\n");
    second.kill("SIGTERM");
    assertEquals((await second.end()).code, 0);
    const lines = second.stderr.trim().split("\n").map((line) => JSON.parse(line));
    assertEquals(new Set(lines.map(({ level, node }) => `${level} ${node}`)), new Set(["info 1"]));
  });
});

Deno.test("serve exits 4 for a folder that is locked or another node's, 1 for a port in use", async () => {
  await withNode(async ([_, bind], node) => {
    const folder = /folder (\S+)/.exec(node.stderr)![1]!;
    const locked = await kvapp(["serve", "--bind", `127.0.0.1:${freePorts(1)}`, "--data-dir", folder]);
    assertEquals(locked.code, 4);
    assertStringIncludes(locked.stderr, `process ${node.pid}`);
    const other = await Deno.makeTempDir({ prefix: "kvapp-" });
    const inUse = await kvapp(["serve", "--bind", bind!, "--data-dir", other]);
    assertEquals(inUse.code, 1);
    assertStringIncludes(inUse.stderr, `cannot listen on ${bind}: Address already in use`);
    assertStringIncludes(inUse.stderr, "Stop it, or choose another port with --bind");
    const elsewhere = await kvapp(["serve", "--bind", "192.0.2.1:8080", "--data-dir", other]);
    assertEquals(elsewhere.code, 1);
    assertStringIncludes(elsewhere.stderr, "this machine does not have that address. --bind one that it has");
    await Deno.remove(other, { recursive: true });
  });
  await withFolder(async (folder) => {
    const cluster = `127.0.0.1:${freePorts(1)}`;
    const first = new Running(["serve", "--bind", cluster, "--data-dir", folder]);
    await first.until("leads term");
    first.kill("SIGTERM");
    assertEquals((await first.end()).code, 0);
    const foreign = await kvapp(["serve", "--cluster", `2=${cluster}`, "--data-dir", folder]);
    assertEquals(foreign.code, 4, foreign.stderr);
  });
});

Deno.test("serve ends at once at a second signal, with the code of that signal", async () => {
  await withFolder(async (folder) => {
    const args = ["serve", "--demo-mode", "--bind", `127.0.0.1:${freePorts(1)}`, "--data-dir", folder];
    const node = new Running(args);
    await node.until("leads term");
    node.kill("SIGTERM");
    await node.until("SIGTERM: closing"); // in demo mode the loop takes a second to come round
    node.kill("SIGINT");
    assertEquals((await node.end()).code, 130);
  });
});

Deno.test({
  name: "serve exits 5 when its disk fails, and the write that met it is not acknowledged",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await withFolder(async (folder) => {
      const bind = `127.0.0.1:${freePorts(1)}`;
      const limited = `trap "" XFSZ; ulimit -f 20; exec "$0" "$@"`; // files end at 10 or 20 KiB, and the write says so
      const node = new Running(["serve", "--bind", bind, "--data-dir", folder], {
        wrapper: ["sh", "-c", limited],
      });
      await node.until("leads term");
      const put = await kvapp(["client", "--cluster", bind, ...timeout, "put", "a", "-"], {
        stdin: "x".repeat(30_000),
      });
      assertEquals(put.code, 1);
      assertStringIncludes(put.stderr, "may or may not have happened");
      assertEquals((await node.end()).code, 5);
      assertStringIncludes(node.stderr, "ERROR stopped: cannot append to");
    });
  },
});
