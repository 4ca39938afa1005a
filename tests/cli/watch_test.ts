import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { fileURLToPath } from "node:url";
import { eventText } from "../../lib/cli/watch.ts";
import { kvapp, Running, withNode } from "./processes.ts";

Deno.test("eventText() keeps an event on one line, whatever is in its key and value", () => {
  assertEquals(
    eventText({ type: "put", key: "a\tb", value: "1\n\u001b[2J", version: 7, index: 7 }),
    "put a\\tb\t1\\n\\u001b[2J",
  );
  assertEquals(eventText({ type: "delete", key: "a", index: 8 }), "delete a");
  assertEquals(eventText({ type: "expire", key: "\r", index: 9, more: true }), "expire \\r");
  assertStringIncludes(eventText({ type: "reset", index: 9, reason: "slow" }), "faster than they were read");
  assertStringIncludes(eventText({ type: "reset", index: 9, reason: "historyGone" }), "nobody remembers");
  assertStringIncludes(eventText({ type: "progress", index: 9 }), "as of index 9");
});

Deno.test("watch prints events as they come until a signal, and ends with its code", async () => {
  await withNode(async (cluster) => {
    const client = (...words: string[]): Promise<unknown> => kvapp(["client", ...cluster, ...words]);
    await client("put", "a/1", "one");
    const text = new Running(["client", ...cluster, "watch", "a/", "--after", "0"]);
    const json = new Running(["client", ...cluster, "watch", "--key", "a/2", "--after", "0", "--json"]);
    await text.until("put a/1\tone\n");
    await client("put", "a/2", "two");
    await client("put", "b", "no");
    await client("delete", "a/1");
    await text.until("delete a/1\n");
    await json.until("two");
    text.kill("SIGINT");
    json.kill("SIGTERM");
    assertEquals(await text.end(), {
      code: 130,
      stdout: "put a/1\tone\nput a/2\ttwo\ndelete a/1\n",
      stderr: "",
    });
    const { code, stdout, stderr } = await json.end();
    assertEquals([code, stderr], [143, ""]);
    assertMatch(stdout, /^\{"type":"put","key":"a\/2","value":"two","version":(\d+),"index":\1\}\n/);
  });
});

Deno.test("watch ends quietly when its reader goes away, and refuses a prefix beside a key", async () => {
  await withNode(async (cluster) => {
    const put = (): Promise<unknown> => kvapp(["client", ...cluster, "put", "a", "1"]);
    await put();
    const main = fileURLToPath(new URL("../../main.ts", import.meta.url));
    const command = `"${Deno.execPath()}" run -A "${main}" client ${cluster.join(" ")} watch --after 0`;
    const script = `set -o pipefail; ${command} | { read -r line; echo "$line"; }; echo $?`;
    let isOver = false;
    const bash = new Deno.Command("bash", { args: ["-c", script] }).output().finally(() => isOver = true);
    while (!isOver) await put(); // the next event finds nobody who reads
    const { stdout, stderr } = await bash;
    assertEquals(new TextDecoder().decode(stdout), "put a\t1\n0\n");
    assertEquals(new TextDecoder().decode(stderr), "");
    const both = await kvapp(["client", ...cluster, "watch", "a", "--key", "b"]);
    assertEquals(both.code, 2);
    assertStringIncludes(both.stderr, "watch takes a prefix, or one key with --key, not both");
  });
});
