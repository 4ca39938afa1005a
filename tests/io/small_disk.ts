/**
 * Disks that are soon full: file systems in memory, for which Linux wants the rights of root.
 *
 * @module
 */

/** Whether a command can be run here, to its good end. */
export function succeeds(command: string, ...args: string[]): boolean {
  try {
    return new Deno.Command(command, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Mounts a disk of so many KiB at a folder; false: it cannot be. */
export function mount(path: string, kibibytes: number): boolean {
  return succeeds("mount", "-t", "tmpfs", "-o", `size=${kibibytes}k`, "tmpfs", path);
}

/** Takes it away, also while somebody has files open on it. */
export function unmount(path: string): boolean {
  return succeeds("umount", "--lazy", path);
}

/** Why no disk can be mounted here; null: it can. */
export const cannotMount: string | null = findObstacle();

function findObstacle(): string | null {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return "it takes root on Linux";
  const path = Deno.makeTempDirSync();
  try {
    return mount(path, 256) && unmount(path) ? null : "no file system may be mounted here";
  } finally {
    Deno.removeSync(path);
  }
}
