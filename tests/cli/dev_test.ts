import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { ClientError, connect } from "../../mod.ts";
import { freePorts, kvapp, Running, withFolder } from "./processes.ts";

/** Process ids and client addresses, as `dev` prints them. */
function nodesOf(dev: Running): { pid: number; client: string }[] {
  const lines = dev.stdout.matchAll(/^node \d+: pid (\d+), raft \S+, clients (\S+)$/gm);
  return Array.from(lines, ([_, pid, client]) => ({ pid: Number(pid), client: client! }));
}

function isAlive(pid: number): boolean {
  try {
    Deno.kill(pid, "SIGCONT"); // harmless to a process that runs
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof TypeError) return false;
    throw error;
  }
}

async function untilDead(pids: number[]): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (pids.some(isAlive)) {
    if (performance.now() > deadline) throw new Error(`still alive: ${pids.filter(isAlive)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

Deno.test("dev starts a cluster of processes; a killed node stays dead until its serve line is run again", async () => {
  await withFolder(async (folder) => {
    const cwd = `${folder}/it's here`; // a name that a shell must be given in quotes
    await Deno.mkdir(cwd);
    const base = freePorts(3);
    const dev = new Running(["dev", "--base-port", `${base}`], { cwd });
    await dev.until("ready\n");
    const nodes = nodesOf(dev);
    assertEquals(nodes.map(({ client }) => client), [1000, 1001, 1002].map((n) => `127.0.0.1:${base + n}`));
    await using client = await connect(nodes.map((node) => node.client));
    await client.put("a", "1");
    const victim = nodes.findIndex((node) => node.client === client.address);
    Deno.kill(nodes[victim]!.pid, "SIGKILL");
    await client.put("a", "2", { ifValue: "1" });
    await dev.until(`node ${victim + 1} ended (SIGKILL)`);
    const serveLine = new RegExp(`^node ${victim + 1}:.*\n  (.*)$`, "m").exec(dev.stdout)![1]!;
    const again = await pasted(serveLine);
    await using reborn = await connectWhenUp(nodes[victim]!.client);
    assertEquals((await reborn.get("a"))?.value, "2");
    dev.kill("SIGTERM");
    assertEquals((await dev.end()).code, 0);
    await untilDead(nodes.map(({ pid }) => pid));
    Deno.kill(again.pid, "SIGKILL");
    await again.ended;
    assertMatch(dev.stdout, /^journals: tail -f '\/.*\/it'\\''s here\/kvapp-dev'\/\*\.log$/m);
    assertMatch(await Deno.readTextFile(`${cwd}/kvapp-dev/1.log`), /node 1: raft/);
  });
});

/** Runs a line as another terminal would, in another folder and without the variables that the tasks set. */
async function pasted(line: string): Promise<{ pid: number; ended: Promise<unknown> }> {
  const script = `unset JSR_URL; cd /; ${line} & echo $!; wait`;
  const shell = new Deno.Command("sh", { args: ["-c", script], stdout: "piped", stderr: "null" }).spawn();
  const reader = shell.stdout.getReader();
  const { value } = await reader.read();
  return {
    pid: Number(new TextDecoder().decode(value)),
    ended: reader.read().then(() => shell.status),
  };
}

async function connectWhenUp(address: string): ReturnType<typeof connect> {
  for (const deadline = performance.now() + 60_000;;) {
    try {
      return await connect(address);
    } catch (error) {
      if (!(error instanceof ClientError) || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

Deno.test("dev takes its nodes with it even when it is killed, and its folders guard themselves", async () => {
  await withFolder(async (cwd) => {
    const base = freePorts(2);
    const dev = new Running(["dev", "--nodes", "2", "--base-port", `${base}`], { cwd });
    await dev.until("ready\n");
    const inUse = await kvapp(["dev", "--base-port", `${base}`], { cwd });
    assertEquals(inUse.code, 1);
    assertStringIncludes(inUse.stderr, `port ${base} is in use`);
    const locked = await kvapp(["dev", "--fresh", "--base-port", `${freePorts(3)}`], { cwd });
    assertEquals(locked.code, 4);
    assertStringIncludes(locked.stderr, "is in use by process");
    const nodes = nodesOf(dev);
    dev.kill("SIGKILL");
    await dev.end();
    await untilDead(nodes.map(({ pid }) => pid));
    const other = await kvapp(["dev", "--base-port", `${base}`], { cwd });
    assertEquals(other.code, 4);
    assertStringIncludes(other.stderr, "holds a cluster of 2 nodes, not 3: give --nodes 2, or --fresh");
    await Deno.remove(`${cwd}/kvapp-dev/1`, { recursive: true });
    for (const count of ["1", "2", "3"]) {
      const incomplete = await kvapp(["dev", "--nodes", count, "--base-port", `${base}`], { cwd });
      assertEquals(incomplete.code, 4);
      assertStringIncludes(
        incomplete.stderr,
        "holds a cluster of 2 nodes, but no data of node 1: put ./kvapp-dev/1 back, or give --fresh",
      );
    }
    await Deno.writeTextFile(`${cwd}/kvapp-dev/notes.txt`, "mine");
    const fresh = new Running(["dev", "--fresh", "--nodes", "1", "--base-port", `${base}`], { cwd });
    await fresh.until("ready\n");
    fresh.kill("SIGTERM");
    assertEquals((await fresh.end()).code, 0);
    const left = Array.from(Deno.readDirSync(`${cwd}/kvapp-dev`), ({ name }) => name).sort();
    assertEquals(left, ["1", "1.log", "notes.txt"]);
  });
});

Deno.test("dev says that it waits for a leader when that takes long, and hands timing and -v on to its nodes", async () => {
  await withFolder(async (cwd) => {
    const slow = [
      "--election-timeout-min",
      "1000",
      "--election-timeout-max",
      "1500",
      "--network-delay",
      "400",
    ];
    const dev = new Running(["dev", "-v", ...slow, "--nodes", "2", "--base-port", `${freePorts(2)}`], {
      cwd,
    });
    await dev.until("ready\n");
    assertEquals(dev.stderr, "waiting for a leader\n");
    const serveLines = dev.stdout.match(/^ +\S.* serve .*$/gm)!;
    for (const line of serveLines) assertStringIncludes(line, `${slow.join(" ")} --verbose`);
    assertEquals(serveLines.length, 2);
    dev.kill("SIGTERM");
    assertEquals((await dev.end()).code, 0);
  });
});
