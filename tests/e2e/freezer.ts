/**
 * Processes that stand still all at once: by the freezer of control groups (version 1) where it is there and this user
 * may, else by SIGSTOP one after another.
 *
 * @module
 */

const freezer = "/sys/fs/cgroup/freezer";

/** What is frozen until it is disposed. */
export interface Frozen {
  /** By what. */
  by: "cgroup" | "SIGSTOP";
  [Symbol.dispose](): void;
}

/** Freezes these processes with all their threads. */
export async function freeze(pids: readonly number[]): Promise<Frozen> {
  const group = `${freezer}/kvapp-${crypto.randomUUID()}`;
  try {
    Deno.mkdirSync(group);
    Deno.writeTextFileSync(`${group}/freezer.state`, "THAWED"); // may this user?
  } catch (error) {
    if (!(error instanceof Error)) throw error; // there is no such thing here, or it is not for us
    for (const pid of pids) Deno.kill(pid, "SIGSTOP");
    return { by: "SIGSTOP", [Symbol.dispose]: () => pids.forEach((pid) => Deno.kill(pid, "SIGCONT")) };
  }
  for (const pid of pids) Deno.writeTextFileSync(`${group}/cgroup.procs`, `${pid}`);
  const thaw = (): void => {
    Deno.writeTextFileSync(`${group}/freezer.state`, "THAWED");
    for (const pid of pids) Deno.writeTextFileSync(`${freezer}/cgroup.procs`, `${pid}`);
    Deno.removeSync(group);
  };
  Deno.writeTextFileSync(`${group}/freezer.state`, "FROZEN");
  for (let i = 0; Deno.readTextFileSync(`${group}/freezer.state`).trim() !== "FROZEN"; i++) {
    if (i === 5000) {
      thaw();
      throw new Error("the freezer does not freeze within 5 s");
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return { by: "cgroup", [Symbol.dispose]: thaw };
}
