/**
 * Plain `deno bench`, on a machine that never saw JSR.
 *
 * @module
 */

import { assertEquals, assertMatch } from "@std/assert";
import { fileURLToPath } from "node:url";

Deno.test("deno bench loads without JSR and without permissions, and says what it skips", async () => {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bench", "--no-check", "--filter", "none is called so"],
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    env: { NO_COLOR: "1", JSR_URL: "http://127.0.0.1:9/" }, // nobody is there
    stdin: "null",
  }).output();
  const text = new TextDecoder().decode(stdout);
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  assertMatch(text, /^\S+hot_path_bench\.ts$/m);
  assertEquals(text.split("\n").filter((line) => line.startsWith("skipped: ")), [
    "skipped: appends to a log, with fsync, which needs --allow-read --allow-write",
    "skipped: whole puts and gets over a connection, which needs --allow-read --allow-write --allow-net",
  ]);
});
