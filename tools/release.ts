/**
 * Packs a release: for each target an archive of the executable with README, LICENSE and CHANGELOG, then SHA256SUMS and
 * the release notes, all in dist/release. Refuses a tag that is not the version in deno.json, and a version that the
 * changelog does not describe or still calls unreleased.
 *
 *     deno run -A tools/release.ts --tag v0.1.0
 *     deno run -A tools/release.ts --dry-run --target x86_64-unknown-linux-gnu
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { emptyDir, ensureDir } from "@std/fs";
import { engineFlags } from "../lib/cli/program.ts";

/** What Deno calls a platform, and what people call it. */
const targets: Record<string, string> = {
  "x86_64-unknown-linux-gnu": "linux-x64",
  "aarch64-unknown-linux-gnu": "linux-arm64",
  "x86_64-apple-darwin": "macos-x64",
  "aarch64-apple-darwin": "macos-arm64",
  "x86_64-pc-windows-msvc": "windows-x64",
};
const documents = ["README.md", "LICENSE", "CHANGELOG.md"];
const folder = "dist/release";

/** The changelog's section for a version, and whether it is still open. Null when there is none. */
export function sectionOf(changelog: string, version: string): { notes: string; unreleased: boolean } | null {
  for (const section of changelog.split(/^## /m).slice(1)) {
    const [title = "", ...lines] = section.split("\n");
    if (title.split(" ")[0] !== version) continue;
    return { notes: lines.join("\n").trim() + "\n", unreleased: title.includes("unreleased") };
  }
  return null;
}

/** Why this version must not be released under this tag, or null when it may. */
export function problemWith(tag: string, version: string, changelog: string): string | null {
  if (tag !== `v${version}`) {
    return `The tag is ${tag}, but deno.json says ${version}: tag v${version}, or change deno.json and lib/version.ts.`;
  }
  const section = sectionOf(changelog, version);
  if (section === null) return `CHANGELOG.md has no section "## ${version}": describe the release there.`;
  if (section.unreleased) return `CHANGELOG.md calls ${version} unreleased: put the date in its place.`;
  return null;
}

/** Makes the archive of one target and returns its name. */
async function pack(target: string, version: string): Promise<string> {
  const windows = target.includes("windows");
  const name = `kvapp-${version}-${targets[target]}`;
  const executable = `${folder}/${name}/${windows ? "kvapp.exe" : "kvapp"}`;
  await ensureDir(`${folder}/${name}`);
  for (const document of documents) await Deno.copyFile(document, `${folder}/${name}/${document}`);
  await run(
    Deno.execPath(),
    ["compile", engineFlags, "-A", "--no-check", "--target", target, "-o", executable, "main.ts"],
    ".",
  );
  if (target === Deno.build.target) await run(`${Deno.cwd()}/${executable}`, ["--version"], ".");
  const archive = windows ? `${name}.zip` : `${name}.tar.gz`;
  if (windows) await run("zip", ["-q", "-r", archive, name], folder);
  else await run("tar", ["-czf", archive, name], folder);
  await Deno.remove(`${folder}/${name}`, { recursive: true });
  return archive;
}

async function run(command: string, args: string[], cwd: string): Promise<void> {
  const { success, code } = await new Deno.Command(command, {
    args,
    cwd,
    stdout: "inherit",
    stderr: "inherit",
  })
    .spawn().status;
  if (!success) throw new Error(`${command} ${args.join(" ")} ended with exit code ${code}`);
}

/** A line as sha256sum prints and checks it. */
async function checksumLine(archive: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(`${folder}/${archive}`));
  const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex}  ${archive}\n`;
}

async function main(): Promise<number> {
  const options = parseArgs(Deno.args, {
    boolean: ["dry-run"],
    string: ["tag", "target"],
    collect: ["target"],
  });
  const version: string = JSON.parse(await Deno.readTextFile("deno.json")).version;
  const changelog = await Deno.readTextFile("CHANGELOG.md");
  const problem = problemWith(options.tag ?? "(none)", version, changelog);
  if (problem !== null && !options["dry-run"]) {
    console.error(problem);
    return 1;
  }
  const wanted = options.target.length > 0 ? options.target : Object.keys(targets);
  const unknown = wanted.filter((target) => !(target in targets));
  if (unknown.length > 0) {
    console.error(`Unknown target ${unknown.join(", ")}; there are ${Object.keys(targets).join(", ")}.`);
    return 2;
  }
  await emptyDir(folder);
  let sums = "";
  for (const target of wanted) sums += await checksumLine(await pack(target, version));
  await Deno.writeTextFile(`${folder}/SHA256SUMS`, sums);
  await Deno.writeTextFile(`${folder}/NOTES.md`, sectionOf(changelog, version)?.notes ?? "");
  console.log(
    `${wanted.length} archives in ${folder}${problem === null ? "" : `; a release would stop: ${problem}`}`,
  );
  return 0;
}

if (import.meta.main) Deno.exit(await main());
