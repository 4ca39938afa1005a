/**
 * The folder of a stopped node, for reading only: no file is made or changed, not even the lock, so a folder on a
 * read-only medium or a copy of one will do. While it is read no node starts on it.
 *
 * @module
 */

import { FolderLocked, type OpenFolder, openFolder } from "../io/deno_io.ts";
import type { Disk } from "../io/io.ts";
import { stateFile } from "../storage/formats.ts";
import { CommandError, exitCodes } from "./exit.ts";

/** A data folder that is being read. */
export interface ReadFolder {
  /** Its files, as a node sees them. What would change them throws. */
  disk: Disk;
  /** Size of a file in bytes. */
  size(name: string): number;
  /** Lets a node start again. */
  close(): Promise<void>;
}

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
  const { disk, close } = await open(path);
  return {
    disk: {
      list: () => naming(path, () => disk.list()),
      read: (name) => naming(`${path}/${name}`, () => disk.read(name)),
      readRange: (name, offset, length) =>
        naming(`${path}/${name}`, () => disk.readRange(name, offset, length)),
      append: disk.append.bind(disk),
      replace: disk.replace.bind(disk),
      truncate: disk.truncate.bind(disk),
      remove: disk.remove.bind(disk),
    },
    size: (name) => naming(`${path}/${name}`, () => Deno.statSync(`${path}/${name}`).size),
    close,
  };
}

/** Opens it without changing it; the lock is shared with other readers. */
async function open(path: string): Promise<OpenFolder> {
  try {
    return await openFolder(path, { readOnly: true });
  } catch (error) {
    if (!(error instanceof FolderLocked)) {
      return naming(`${path}/LOCK`, () => {
        throw error instanceof Error ? error.cause : error;
      });
    }
    throw new CommandError(
      `a node runs on ${path} and changes it: stop the node first, or ask it with kvapp status`,
      exitCodes.folder,
    );
  }
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
    const { cause } = error; // there is one where the disk has named the file already
    const isPlace = [Deno.errors.NotFound, Deno.errors.NotADirectory, Deno.errors.PermissionDenied]
      .some((kind) => (cause ?? error) instanceof kind);
    throw new CommandError(
      cause instanceof Error ? error.message : `cannot read ${path}: ${error.message}`,
      isPlace ? exitCodes.folder : exitCodes.broken,
    );
  }
}
