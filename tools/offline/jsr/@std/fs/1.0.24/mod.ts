/**
 * Stands in for `@std/fs` where JSR cannot be reached: the few functions that this project uses.
 *
 * @module
 */

/** Makes sure that a folder exists, parents included; throws when something else has its name. */
export async function ensureDir(dir: string | URL): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
}

/** Removes all that a folder holds; makes the folder when there is none. */
export async function emptyDir(dir: string | URL): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
  const names = await Array.fromAsync(Deno.readDir(dir), (item) => item.name);
  await Promise.all(names.map((name) => Deno.remove(inside(dir, name), { recursive: true })));
}

/** What {@linkcode exists} asks for beyond existence. */
export interface ExistsOptions {
  /** It must be a folder, or a link to one. */
  isDirectory?: boolean;
  /** It must be a file, or a link to one. */
  isFile?: boolean;
}

/** Whether there is a file or folder of that name, of the kind asked for. */
export async function exists(path: string | URL, options: ExistsOptions = {}): Promise<boolean> {
  let stat: Deno.FileInfo;
  try {
    stat = await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
  if (options.isDirectory && options.isFile) {
    throw new TypeError("isDirectory and isFile must not both be true");
  }
  return !(options.isDirectory && !stat.isDirectory) && !(options.isFile && !stat.isFile);
}

function inside(dir: string | URL, name: string): string | URL {
  if (typeof dir === "string") return `${dir}/${name}`;
  return new URL(encodeURIComponent(name), dir.href.endsWith("/") ? dir : `${dir.href}/`);
}
