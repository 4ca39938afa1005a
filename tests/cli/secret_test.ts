import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { UsageError } from "../../lib/cli/exit.ts";
import { parseOptions } from "../../lib/cli/options.ts";
import { secretOf, secretOption } from "../../lib/cli/secret.ts";
import { freePorts, kvapp, Running, withFolder } from "./processes.ts";

const secret = "sixteen bytes...";

/** What is read of a file with this content. */
async function read(content: string, mode = 0o600): Promise<Awaited<ReturnType<typeof secretOf>>> {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, content);
    if (Deno.build.os !== "windows") await Deno.chmod(path, mode);
    return await secretOf(parseOptions(["--secret-file", path], [secretOption]));
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("secretOf() cuts one newline at the end, whatever the editor, and nothing else", async () => {
  const bytesOf = async (content: string) => new TextDecoder().decode((await read(content)).secret!);
  for (const end of ["", "\n", "\r\n"]) assertEquals(await bytesOf(secret + end), secret);
  assertEquals(await bytesOf(`  ${secret} \n\n`), `  ${secret} \n`);
  assertEquals(await secretOf(parseOptions([], [secretOption])), { secret: null, warning: null });
});

Deno.test("secretOf() refuses what is no secret, and says how to make one", async () => {
  const message = async (content: string) => (await assertRejects(() => read(content), UsageError)).message;
  assertMatch(
    await message("fifteen bytes..\n"),
    /has 15 bytes and must have 16 to 65536: .*openssl rand -hex 32 > /,
  );
  assertMatch(await message(""), /has 0 bytes/);
  assertMatch(await message("x".repeat(70_000)), /has more than 65536 bytes/);
  const pathless = () => secretOf(parseOptions(["--secret-file", "/nowhere/secret"], [secretOption]));
  const { message: missing } = await assertRejects(pathless, UsageError);
  assertStringIncludes(missing, "cannot read --secret-file /nowhere/secret: ");
});

Deno.test({
  name: "secretOf() warns of a file that others can open",
  ignore: Deno.build.os === "windows",
  async fn() {
    for (const mode of [0o600, 0o640]) assertEquals((await read(secret, mode)).warning, null);
    for (const mode of [0o644, 0o602]) {
      assertMatch((await read(secret, mode)).warning!, /^every user of this machine can open .*: chmod 600 /);
    }
  },
});

Deno.test("serve and dev with --secret-file refuse a short one at once, and dev hands it on by its whole path", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/short`, "short\n");
    for (const command of ["serve", "dev"]) {
      const { code, stderr } = await kvapp([command, "--secret-file", "short"], { cwd: folder });
      assertEquals(code, 2, stderr);
      assertStringIncludes(stderr, "has 5 bytes and must have 16");
    }
    await Deno.writeTextFile(`${folder}/secret`, `${secret}\n`, { mode: 0o644 });
    const base = `${freePorts(3)}`;
    const dev = new Running(["dev", "--secret-file", "secret", "--base-port", base], { cwd: folder });
    await dev.until("ready\n");
    dev.kill("SIGTERM");
    assertEquals((await dev.end()).code, 0);
    const paths = Array.from(dev.stdout.matchAll(/serve .* --secret-file (\S+)/g), ([, path]) => path);
    assertEquals(paths, Array(3).fill(`${await Deno.realPath(folder)}/secret`));
    const journal = await Deno.readTextFile(`${folder}/kvapp-dev/1.log`);
    assert(
      Deno.build.os === "windows" || journal.includes("WARN  every user of this machine can open"),
      journal,
    );
  });
});
