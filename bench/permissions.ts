/**
 * Plain `deno bench` grants nothing. What needs the disk or the network is skipped then, and says so.
 *
 * @module
 */

/** Whether all of this was granted. Nobody is asked. Otherwise tells that `what` is skipped. */
export function areGranted(what: string, names: readonly Deno.PermissionName[]): boolean {
  const missing = names.filter((name) => Deno.permissions.querySync({ name }).state !== "granted");
  if (missing.length === 0) return true;
  console.log(`skipped: ${what}, which needs ${missing.map((name) => `--allow-${name}`).join(" ")}`);
  return false;
}

/** A folder that is gone when the benchmarks of its file are over. */
export function benchFolder(): string {
  const path = Deno.makeTempDirSync({ prefix: "kvapp-bench-" });
  addEventListener("unload", () => Deno.removeSync(path, { recursive: true }));
  return path;
}
