/**
 * Lets system calls of a running process fail or hang, with strace. Where that cannot be, tests that need it are
 * skipped and say why.
 *
 * @module
 */

/** What strace does to a process: `trace` names the calls, `inject` what becomes of them, `paths` on which files. */
export interface Injection {
  trace: string;
  inject: string;
  /** All files when left out. They need not exist yet. */
  paths?: readonly string[];
}

/** A strace at work. */
export interface Tracer {
  /** Resolves when the process has ended, and strace with it. */
  ended: Promise<unknown>;
  /** Ends strace, also where it is busy with a delay; calls that it held go on. */
  stop(): void;
}

/** From the time when it resolves, the calls of the process fail as told. Rejects where that cannot be. */
export async function injectInto(pid: number, injection: Injection): Promise<Tracer> {
  const tracer = await tryInject(pid, injection);
  if (typeof tracer === "string") throw new Error(tracer);
  return tracer;
}

async function tryInject(pid: number, { trace, inject, paths = [] }: Injection): Promise<Tracer | string> {
  const onlyPaths = paths.flatMap((path) => ["-P", path]);
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command("strace", {
      args: ["-f", "-p", `${pid}`, "-e", `trace=${trace}`, "-e", `inject=${trace}:${inject}`, ...onlyPaths],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "strace is missing, the package of that name has it";
    throw error;
  }
  const { promise: attached, resolve } = Promise.withResolvers<boolean>();
  let said = "";
  const read = async (): Promise<void> => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      said += text;
      if (/Process \d+ attached/.test(said)) resolve(true);
    }
    resolve(false);
  };
  const ended = Promise.all([read(), child.status]);
  if (await attached) return { ended, stop: () => child.kill("SIGKILL") };
  await ended;
  return `strace cannot trace a process: ${said.trim()}`;
}

/** Every fsync fails. */
export const failedFsyncs: Injection = { trace: "fsync,fdatasync", inject: "error=EIO" };

async function findObstacle(): Promise<string | null> {
  if (Deno.build.os !== "linux") return "strace is a Linux program";
  const sleeper = new Deno.Command("sleep", { args: ["60"] }).spawn();
  const tracer = await tryInject(sleeper.pid, failedFsyncs);
  sleeper.kill("SIGKILL");
  await sleeper.status;
  if (typeof tracer === "string") return tracer;
  await tracer.ended;
  return null;
}

/** Why system calls cannot be made to fail here, or null when they can. */
const obstacle = await findObstacle();

/** Registers a test that needs strace. */
export function testWithStrace(name: string, fn: () => Promise<void>): void {
  const suffix = obstacle === null ? "" : ` (skipped: ${obstacle})`;
  Deno.test({ name: name + suffix, ignore: obstacle !== null, fn });
}
