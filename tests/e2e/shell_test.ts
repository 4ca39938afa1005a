/**
 * The commands for people on a cluster of three: the shell goes on when the leader dies under it, any node may be named
 * to it, and the table shows who is missing.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { TextLineStream } from "@std/streams/text-line-stream";
import { fileURLToPath } from "node:url";
import { type Ended, kvapp, Running } from "../cli/processes.ts";
import { steady, until, withCluster, within } from "./cluster.ts";

const main = fileURLToPath(new URL("../../main.ts", import.meta.url));

/** A shell that is fed line by line. */
class PipedShell {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: ReadableStreamDefaultReader<string>;

  constructor(cluster: string) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", main, "client", "--cluster", cluster],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    const lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
    this.#output = lines.getReader();
  }

  /** Types a line; resolves with the line that it prints. */
  async type(line: string): Promise<string | undefined> {
    await this.#input.write(new TextEncoder().encode(line + "\n"));
    return (await within(30_000, `an answer to ${line}`, this.#output.read())).value;
  }

  /** Ctrl-D; resolves with the exit code. */
  async end(): Promise<number> {
    await this.#input.close();
    const { code } = await this.#child.status;
    await this.#output.cancel();
    return code;
  }
}

Deno.test("the shell goes on with the next leader when the one that it talks to is killed", async () => {
  await withCluster({ nodes: 3 }, async (cluster) => {
    const first = await cluster.leader();
    const shell = new PipedShell(cluster.addresses);
    assertEquals(await shell.type('put color "dark  green"'), "OK");
    await first.kill();
    assertEquals(await shell.type("get color"), "dark  green");
    assertEquals(await shell.type("put color blue"), "OK");
    assertEquals(await shell.type("get color"), "blue");
    assertEquals(await shell.end(), 0);
  });
});

Deno.test("client works with the raft or client address of any one node", async () => {
  await withCluster({ nodes: 3, args: steady }, async (cluster) => {
    await cluster.leader();
    const client = (address: string, ...words: string[]): Promise<Ended> =>
      kvapp(["client", "--cluster", address, ...words]);
    for (const { id, raft, client: own } of cluster.nodes) {
      assertEquals(await client(raft, "put", `from ${id}`, "1"), { code: 0, stdout: "OK\n", stderr: "" });
      assertEquals((await client(own, "get", `from ${id}`)).stdout, "1\n");
    }
    assertEquals((await client(cluster.addresses, "list", "from")).stdout, "from 1\nfrom 2\nfrom 3\n");
    const rows = cluster.nodes.map(({ id, raft, client }) => `${id} +${raft} +${client}\n`);
    assertMatch(
      (await client(cluster.addresses, "members")).stdout,
      new RegExp(`^NODE .*\n${rows.join("")}$`),
    );
  });
});

Deno.test("status shows a dead node as unreachable, and a client of a minority exits 3", async () => {
  await withCluster({ nodes: 3, args: steady }, async (cluster) => {
    const leader = await cluster.leader();
    const [dead, left] = cluster.nodes.filter((node) => node !== leader) as [typeof leader, typeof leader];
    await dead.kill();
    const status = (): Promise<Ended> => kvapp(["status", "--cluster", cluster.addresses]);
    const { code, stdout } = await status();
    assertEquals(code, 0);
    const roles = stdout.trim().split("\n").slice(1).map((row) => row.split(/ +/)[2]);
    const expected = cluster.nodes.map((it) =>
      it === dead ? "unreachable" : it === leader ? "leader" : "follower"
    );
    assertEquals(roles, expected);
    await leader.kill();
    await until(
      "the last node gives its leader up",
      async () => (await left.status())!.leader === null || null,
    );
    for (const words of [["get", "a"], ["put", "a", "1"]]) {
      const ended = await kvapp(["client", "--cluster", cluster.addresses, "--timeout", "1500", ...words]);
      assertEquals(ended.code, 3, ended.stderr);
      assertStringIncludes(ended.stderr, "no answer within 1500 ms");
    }
    const watching = new Running(["client", "--cluster", cluster.addresses, "--timeout", "1500", "watch"]);
    const watched = await within(60_000, "the end of a watch that cannot be told anything", watching.end())
      .catch((error) => {
        watching.kill("SIGKILL");
        throw error;
      });
    assertEquals(watched.code, 3, watched.stderr);
    assertStringIncludes(watched.stderr, "cannot be told");
    assertEquals((await kvapp(["client", "--cluster", left.client, "get", "a", "--stale"])).code, 1);
  });
});

Deno.test("import and watch go on when the leader is killed: each key is written once and told once", async () => {
  await withCluster({ nodes: 3 }, async (cluster, folder) => {
    const leader = await cluster.leader();
    const keys = Array.from({ length: 20_000 }, (_, i) => `k${String(i).padStart(5, "0")}`);
    const lines = keys.map((key) => `{"key":"${key}","value":"1"}\n`).join("");
    await Deno.writeTextFile(`${folder}/keys`, lines);
    const client = ["client", "--cluster", cluster.addresses];
    const watching = new Running([...client, "watch", "--after", "0"]);
    const importing = new Running([...client, "import", `${folder}/keys`]);
    await watching.until("put k02000\t1\n");
    await leader.kill();
    const imported = await importing.end();
    assertEquals(imported, { code: 0, stdout: "20,000 keys written\n", stderr: "" });
    const exported = await kvapp([...client, "export"]);
    assert(exported.stdout.replace(/,"version":\d+/g, "") === lines, "not what was imported");
    const told = (): string[] => watching.stdout.split("\n").slice(0, -1);
    await until("all is told", () => told().length >= keys.length || null);
    assertEquals(told().sort(), keys.map((key) => `put ${key}\t1`));
    watching.kill("SIGINT");
    assertEquals((await watching.end()).code, 130);
  });
});
