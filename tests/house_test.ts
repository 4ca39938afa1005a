/**
 * Facts that stand in two places, and the tools of the house.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { engineFlags } from "../lib/cli/program.ts";
import { version } from "../lib/version.ts";
import { problemWith, sectionOf } from "../tools/release.ts";

const root = new URL("../", import.meta.url);
const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
const changelog = await Deno.readTextFile(new URL("CHANGELOG.md", root));

Deno.test("version is the same in deno.json and the program, and the changelog describes it", () => {
  assertEquals(version, config.version);
  assert(sectionOf(changelog, version), `CHANGELOG.md has no section ## ${version}`);
});

Deno.test("deno.json describes each task, and each finds out for itself where JSR is", () => {
  assertEquals(Object.keys(config.tasks).sort(), [
    "bench",
    "bench:catchup",
    "bench:cluster",
    "bench:kills",
    "bench:restart",
    "bench:stall",
    "bench:timings",
    "chaos",
    "check",
    "compile",
    "dev",
    "explore",
    "kvapp",
    "ok",
    "sim",
    "soak",
    "test",
  ]);
  for (const [name, task] of Object.entries<{ description: string; command: string }>(config.tasks)) {
    assertMatch(task.description, /^[A-Z].{10,}/, name);
    assertStringIncludes(task.command, "JSR_URL=$(deno run -A tools/jsr_url.ts)", name);
  }
});

Deno.test("engineFlags are those of every way to start the program", async () => {
  for (const task of ["dev", "kvapp", "compile"]) {
    assertStringIncludes(config.tasks[task].command, engineFlags);
  }
  assertStringIncludes(await Deno.readTextFile(new URL("bench/vs_etcd.sh", root)), engineFlags);
});

Deno.test("tools/offline has the version of each JSR package that deno.json asks for", async () => {
  for (const target of Object.values<string>(config.imports).filter((target) => target.startsWith("jsr:"))) {
    const [, name, least] = /^jsr:(@std\/\w+)@\^(\S+)$/.exec(target)!;
    const folder = new URL(`tools/offline/jsr/${name}/`, root);
    const meta = JSON.parse(await Deno.readTextFile(new URL("meta.json", folder)));
    assertEquals(Object.keys(meta.versions), [least!]);
    const { exports } = JSON.parse(await Deno.readTextFile(new URL(`${least}_meta.json`, folder)));
    for (const path of Object.values<string>(exports)) {
      assert((await Deno.stat(new URL(`${least}/${path}`, folder))).isFile);
    }
  }
});

async function jsrUrl(env: Record<string, string>): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "tools/jsr_url.ts"],
    cwd: root,
    env,
    stderr: "null",
  }).output();
  return new TextDecoder().decode(stdout).trim();
}

Deno.test("jsr_url.ts keeps what is set and otherwise names the stand-ins or nothing", async () => {
  assertEquals(await jsrUrl({ JSR_URL: "file:///elsewhere" }), "file:///elsewhere");
  const standIns = new URL("tools/offline/jsr", root).href;
  assert(["", standIns].includes(await jsrUrl({ JSR_URL: "" })));
  // An empty folder of packages and a proxy that refuses: JSR is certainly not to be had.
  const unreachable = { JSR_URL: "", DENO_DIR: await Deno.makeTempDir(), HTTPS_PROXY: "http://127.0.0.1:9" };
  assertEquals(await jsrUrl(unreachable), standIns);
  await Deno.remove(unreachable.DENO_DIR, { recursive: true });
});

Deno.test("problemWith() lets only a described and dated version out under its own tag", () => {
  const dated = "# Changelog\n\n## 0.2.0 (2026-12-01)\n\n- New.\n\n## 0.1.0 (2026-11-01)\n\n- First.\n";
  assertEquals(problemWith("v0.2.0", "0.2.0", dated), null);
  assertMatch(problemWith("v0.2.1", "0.2.0", dated)!, /tag is v0\.2\.1, but deno\.json says 0\.2\.0/);
  assertMatch(problemWith("v0.3.0", "0.3.0", dated)!, /no section "## 0\.3\.0"/);
  assertMatch(
    problemWith("v0.2.0", "0.2.0", dated.replace("2026-12-01", "unreleased"))!,
    /calls 0\.2\.0 unreleased/,
  );
});

Deno.test("sectionOf() cuts the notes of one version out of the changelog", () => {
  const text = "# Changelog\n\n## 0.2.0 (unreleased)\n\n- New.\n\n## 0.1.0 (2026-11-01)\n\n- First.\n";
  assertEquals(sectionOf(text, "0.2.0"), { notes: "- New.\n", unreleased: true });
  assertEquals(sectionOf(text, "0.1.0"), { notes: "- First.\n", unreleased: false });
  assertEquals(sectionOf(text, "0.1"), null);
});
