/**
 * The folder of a stopped node, for reading only: no file is made or changed, not even the lock, so a folder on a
 * read-only medium or a copy of one will do. While it is read no node starts on it.
 *
 * @module
 */

import type { Disk } from "../io/io.ts";
import { stateFile } from "../storage/formats.ts";
import { CommandError, exitCodes } from "./exit.ts";

/** A data folder that is being read. */
export interface ReadFolder {
  /** Its files, without the lock and the temporary files. What would change them throws. */
  disk: Disk;
  /** Size of a file in bytes. */
  size(name: string): number;
  /** Lets a node start again. */
  close(): void;
}

/** Long enough for the lock of a process that was just killed to go free. */
const lockTimeoutMs = 1000;

/**
 * Opens a data folder for reading. Rejects with CommandError when a node runs on it, when it cannot be read, or when
 * it is no data folder.
 */
export async function readFolder(path: string): Promise<ReadFolder> {
  const names = naming(path, () => Array.from(Deno.readDirSync(path), ({ name }) => name));
  if (!names.includes(stateFile) && !names.includes("log")) {
    throw new CommandError(
      `${path} is no data folder: it has neither ${stateFile} nor log/.${pointBelow(path, names)}`,
      exitCodes.folder,
    );
  }
  const lock = names.includes("LOCK") ? await takeLock(path) : null;
  return {
    disk: readOnlyDisk(path),
    size: (name) => naming(`${path}/${name}`, () => Deno.statSync(`${path}/${name}`).size),
    close: () => lock?.close(),
  };
}

function readOnlyDisk(path: string): Disk {
  const refuse = (name: string): never => {
    throw new Error(`${path}/${name} is only read`);
  };
  const list = (folder: string): string[] =>
    naming(`${path}/${folder}`, () => Array.from(Deno.readDirSync(`${path}/${folder}`))).flatMap((entry) => {
      const name = folder + entry.name;
      if (entry.isDirectory) return list(`${name}/`);
      return entry.isFile && name !== "LOCK" && !name.endsWith(".tmp") ? [name] : [];
    });
  return {
    list: () => list("").sort(),
    read: (name) =>
      naming(`${path}/${name}`, () => {
        try {
          return Deno.readFileSync(`${path}/${name}`);
        } catch (error) {
          if (error instanceof Deno.errors.NotFound) return null;
          throw error;
        }
      }),
    readRange: (name, offset, length) =>
      naming(`${path}/${name}`, () => {
        using file = Deno.openSync(`${path}/${name}`);
        file.seekSync(offset, Deno.SeekMode.Start);
        const bytes = new Uint8Array(Math.max(0, Math.min(length, file.statSync().size - offset)));
        let filled = 0;
        while (filled < bytes.length) {
          const count = file.readSync(bytes.subarray(filled));
          if (count === null) break;
          filled += count;
        }
        return bytes.subarray(0, filled);
      }),
    append: refuse,
    replace: refuse,
    truncate: refuse,
    remove: refuse,
  };
}

/** Shares the lock with other readers; a node that runs, or starts meanwhile, wants it for itself. */
async function takeLock(path: string): Promise<Deno.FsFile> {
  const file = naming(`${path}/LOCK`, () => Deno.openSync(`${path}/LOCK`));
  const locked = file.lock(false).then(() => true);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLate = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), lockTimeoutMs));
  const isLocked = await Promise.race([locked, tooLate]).finally(() => clearTimeout(timer));
  if (isLocked) return file;
  locked.then(() => file.close(), () => file.close()); // the wait cannot be taken back
  throw new CommandError(
    `a node runs on ${path} and changes it: stop the node first, or ask it with kvapp status`,
    exitCodes.folder,
  );
}

/** " There are ...", when the data folders are one level below, as those of `kvapp dev` are. */
function pointBelow(path: string, names: string[]): string {
  const below = names.sort().map((name) => `${path.replace(/\/+$/, "")}/${name}`).filter((folder) => {
    try {
      return Deno.statSync(`${folder}/${stateFile}`).isFile;
    } catch (error) {
      if (error instanceof Error) return false; // what cannot be looked at is not recommended
      throw error;
    }
  });
  return below.length === 0 ? "" : ` There ${below.length === 1 ? "is" : "are"} ${below.join(", ")}`;
}

/** Runs `f`; what the system throws becomes an error that names the file and ends the command. */
function naming<T>(path: string, f: () => T): T {
  try {
    return f();
  } catch (error) {
    if (!(error instanceof Error) || error instanceof CommandError) throw error;
    const isPlace = [Deno.errors.NotFound, Deno.errors.NotADirectory, Deno.errors.PermissionDenied]
      .some((kind) => error instanceof kind);
    throw new CommandError(
      `cannot read ${path}: ${error.message}`,
      isPlace ? exitCodes.folder : exitCodes.broken,
    );
  }
}
