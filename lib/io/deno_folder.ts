/**
 * A data folder on a real disk. Writes go into the page cache at once, which takes microseconds; only the fsync is
 * awaited, so the event loop stays free. A name counts as durable after an fsync of its folder: the first operation
 * of a process on a file does that too, because a file found at the start may be one that a crash left unfinished.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { FolderLocked, lockFile, shareLock, takeLock } from "./deno_lock.ts";
import { needingRoom, Reserve, reserveFile, writeAll, writeOrClose } from "./deno_room.ts";
import { type Disk, DiskFull, type Done } from "./io.ts";

export { FolderLocked };

/** A data folder that this process holds. */
export interface OpenFolder {
  /** Its files. The lock is not among them, nor are the reserve and the temporary files of `replace`. */
  disk: Disk;
  /** Waits for what is under way, then closes all files and gives the folder free. */
  close(): Promise<void>;
}

const temporarySuffix = ".tmp";

/**
 * Opens a data folder, made with its parents when missing, and locks it until `close` or the end of the process,
 * however it ends. Rejects with FolderLocked when another process holds it. With `readOnly` no file is made or
 * changed, so a folder on a read-only medium will do: what would change files throws, nodes stay away, other readers
 * do not.
 */
export async function openFolder(path: string, options: { readOnly?: boolean } = {}): Promise<OpenFolder> {
  const { readOnly = false } = options;
  try {
    if (!readOnly) await makeFolder(path);
    const lock = readOnly ? await shareLock(path) : await takeLock(path);
    const reserve = readOnly ? null : new Reserve(path);
    await reserve?.fill();
    const folder = new Folder(path, reserve);
    return {
      disk: folder,
      close: async () => {
        await folder.close();
        lock?.close();
      },
    };
  } catch (error) {
    throw error instanceof FolderLocked ? error : failure("open data folder", path, error);
  }
}

class Folder implements Disk {
  readonly #path: string;
  /** None: the folder is only read. */
  readonly #reserve: Reserve | null;
  /** Files kept open for `append` and `truncate`, and folders kept open for their fsync. */
  readonly #files = new Map<string, Deno.FsFile>();
  readonly #folders = new Map<string, Deno.FsFile>();
  /** Folders whose own names are durable. */
  readonly #durableFolders = new Set<string>();
  /** Operations under way, by file name. */
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(path: string, reserve: Reserve | null) {
    this.#path = path;
    this.#reserve = reserve;
  }

  list(): string[] {
    const names: string[] = [];
    const visit = (folder: string) => {
      const entries = naming("read", this.#at(folder), () => Array.from(Deno.readDirSync(this.#at(folder))));
      for (const { name, isFile, isDirectory } of entries) {
        if (isDirectory) visit(`${folder}${name}/`);
        else if (isFile && !ownFiles.has(folder + name) && !name.endsWith(temporarySuffix)) {
          names.push(folder + name);
        }
      }
    };
    visit("");
    return names.sort();
  }

  read(name: string): Uint8Array | null {
    return naming("read", this.#at(name), () => {
      try {
        return Deno.readFileSync(this.#at(name));
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return null;
        throw error;
      }
    });
  }

  readRange(name: string, offset: number, length: number): Uint8Array {
    return naming("read", this.#at(name), () => {
      using file = openIfThere(this.#at(name));
      if (file === null) return new Uint8Array();
      const left = Math.max(0, file.statSync().size - offset);
      const bytes = new Uint8Array(Math.min(length, left));
      file.seekSync(offset, Deno.SeekMode.Start);
      let filled = 0;
      while (filled < bytes.length) {
        const count = file.readSync(bytes.subarray(filled));
        if (count === null) break;
        filled += count;
      }
      return bytes.subarray(0, filled);
    });
  }

  append(name: string, bytes: Uint8Array, done: Done): void {
    this.#start("append to", name, done, async () => {
      const isNew = !this.#files.has(name);
      const isMade = isNew && !exists(this.#at(name));
      const file = needingRoom(() => this.#open(name, { append: true, create: true }));
      const before = file.seekSync(0, Deno.SeekMode.End); // a third of the time of a stat
      try {
        needingRoom(() => writeAll(file, bytes));
      } catch (error) {
        if (error instanceof DiskFull) await this.#undo(name, { file, before, isMade }, error);
        // Its folder has not been fsynced yet: the next operation is to see it as new again.
        if (isNew) this.#forget(name);
        throw error;
      }
      await file.syncData();
      if (isNew) await this.#syncFoldersOf(name);
    });
  }

  replace(name: string, bytes: Uint8Array, done: Done): void {
    this.#start("replace", name, done, async () => {
      this.#forget(name);
      const temporary = this.#at(name) + temporarySuffix;
      needingRoom(() => this.#makeFolderOf(name));
      {
        using file = this.#writeTemporary(temporary, bytes);
        await file.sync();
      }
      this.#orRemove(temporary, () => Deno.renameSync(temporary, this.#at(name)));
      // Now, not after the fsync: this is when the blocks of the old file go free.
      await this.#reserve?.fill();
      await this.#syncFoldersOf(name);
    });
  }

  truncate(name: string, size: number, done: Done): void {
    this.#start("truncate", name, done, async () => {
      const isNew = !this.#files.has(name);
      const file = this.#open(name, { append: true });
      const before = file.statSync().size;
      if (size > before) throw new Error(`it has ${before} bytes, fewer than the ${size} to keep`);
      await file.truncate(size); // of a large snapshot it takes 35 ms
      await file.sync();
      if (isNew) await this.#syncFoldersOf(name);
    });
  }

  remove(name: string, done: Done): void {
    this.#start("remove", name, done, async () => {
      this.#forget(name);
      Deno.removeSync(this.#at(name));
      await this.#syncFoldersOf(name);
    });
  }

  async close(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay.values()); // one may lead to the next
    for (const file of [...this.#files.values(), ...this.#folders.values()]) file.close();
    this.#files.clear();
    this.#folders.clear();
  }

  /** Takes back what an append wrote before the disk was full. What fails here is final, as any error but this. */
  async #undo(
    name: string,
    append: { file: Deno.FsFile; before: number; isMade: boolean },
    reason: DiskFull,
  ): Promise<void> {
    try {
      append.file.truncateSync(append.before);
      await append.file.sync();
      if (append.isMade) Deno.removeSync(this.#at(name)); // should the power bring it back, it is empty
    } catch (error) {
      const message = error instanceof Error ? error.message : error;
      throw new Error(`${reason.message}, and it cannot be cut back: ${message}`, { cause: error });
    }
  }

  /** Puts the bytes into a new file, on the reserve where there is no other room. The fsync is left to do. */
  #writeTemporary(path: string, bytes: Uint8Array): Deno.FsFile {
    try {
      return this.#orRemove(path, () => {
        const file = Deno.openSync(path, { write: true, create: true, truncate: true });
        return writeOrClose(file, () => writeAll(file, bytes));
      });
    } catch (error) {
      if (!(error instanceof DiskFull)) throw error;
      const file = this.#orRemove(path, () => this.#reserve!.spendOn(path, bytes));
      if (file === null) throw error;
      return file;
    }
  }

  /** Runs `f`; when it finds no room, what there is of the temporary file goes. */
  #orRemove<T>(path: string, f: () => T): T {
    try {
      return needingRoom(f);
    } catch (error) {
      if (error instanceof DiskFull && exists(path)) Deno.removeSync(path);
      throw error;
    }
  }

  /** Starts an operation; `done` is told from a promise, so never inside this call. */
  #start(verb: string, name: string, done: Done, operation: () => Promise<void>): void {
    if (this.#reserve === null) throw new Error(`${this.#at(name)} is only read`);
    assert(!this.#underWay.has(name), `one operation at a time on ${name}`);
    const outcome = operation().then(() => null, (error) => failure(verb, this.#at(name), error));
    this.#underWay.set(
      name,
      outcome.then((error) => {
        this.#underWay.delete(name);
        done(error);
      }),
    );
  }

  #at(name: string): string {
    return `${this.#path}/${name}`;
  }

  #open(name: string, options: Deno.OpenOptions): Deno.FsFile {
    let file = this.#files.get(name);
    if (file === undefined) {
      this.#makeFolderOf(name);
      file = Deno.openSync(this.#at(name), options);
      this.#files.set(name, file);
    }
    return file;
  }

  /** Closes a file whose name is about to mean another one, or none. */
  #forget(name: string): void {
    this.#files.get(name)?.close();
    this.#files.delete(name);
  }

  #makeFolderOf(name: string): void {
    const folder = foldersOf(name)[0]!;
    if (folder !== "" && !this.#folders.has(folder)) Deno.mkdirSync(this.#at(folder), { recursive: true });
  }

  /** Makes a name durable, and the names of the folders on the way to it. */
  async #syncFoldersOf(name: string): Promise<void> {
    if (!canSyncFolders) return;
    const folders = foldersOf(name);
    for (const folder of folders) {
      let handle = this.#folders.get(folder);
      if (handle === undefined) {
        handle = Deno.openSync(this.#at(folder));
        this.#folders.set(folder, handle);
      }
      await handle.sync();
      if (this.#durableFolders.has(folder)) break;
    }
    for (const folder of folders) this.#durableFolders.add(folder);
  }
}

/** Files of the folder that are none of the node's. */
const ownFiles = new Set([lockFile, reserveFile]);

/** Windows opens no folder as a file; its file system orders names by itself. */
const canSyncFolders = Deno.build.os !== "windows";

/** The folders that hold a name, innermost first: "a/b/c" is in "a/b/", "a/" and "". */
function foldersOf(name: string): string[] {
  const folders = [""];
  for (let at = name.indexOf("/"); at >= 0; at = name.indexOf("/", at + 1)) {
    folders.unshift(name.slice(0, at + 1));
  }
  return folders;
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Makes a folder with its parents, each durable before the next. */
async function makeFolder(path: string): Promise<void> {
  try {
    Deno.mkdirSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists && Deno.statSync(path).isDirectory) return;
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const parent = path.replace(/[\\/]+[^\\/]*[\\/]*$/, "");
    if (parent === path || parent === "") throw error;
    await makeFolder(parent);
    Deno.mkdirSync(path);
  }
  if (!canSyncFolders) return;
  using parent = Deno.openSync(`${path}/..`);
  await parent.sync();
}

/** Runs `f`; what it throws names the operation and the file. */
function naming<T>(verb: string, path: string, f: () => T): T {
  try {
    return f();
  } catch (error) {
    throw failure(verb, path, error);
  }
}

function failure(verb: string, path: string, cause: unknown): Error {
  const message = `cannot ${verb} ${path}: ${cause instanceof Error ? cause.message : cause}`;
  return cause instanceof DiskFull
    ? new DiskFull(message, { cause: cause.cause })
    : new Error(message, { cause });
}

function openIfThere(path: string): Deno.FsFile | null {
  try {
    return Deno.openSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
