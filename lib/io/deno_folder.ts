/**
 * A data folder on a real disk. Writes go into the page cache at once, which takes microseconds; only the fsync is
 * awaited, so the event loop stays free. A name counts as durable after an fsync of its folder: the first operation
 * of a process on a file does that too, because a file found at the start may be one that a crash left unfinished.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { Disk, Done } from "./io.ts";

/** The folder belongs to another process that still runs. */
export class FolderLocked extends Error {
  override name = "FolderLocked";
}

/** A data folder that this process holds. */
export interface OpenFolder {
  /** Its files. The lock is not among them, nor are the temporary files of `replace`. */
  disk: Disk;
  /** Waits for what is under way, then closes all files and gives the folder free. */
  close(): Promise<void>;
}

const lockFile = "LOCK";
const temporarySuffix = ".tmp";
/** Long enough for the lock of a process that was just killed to go free. */
const lockTimeoutMs = 1000;

/**
 * Opens a data folder, made with its parents when missing, and locks it until `close` or the end of the process,
 * however it ends. Rejects with FolderLocked when another process holds it.
 */
export async function openFolder(path: string): Promise<OpenFolder> {
  try {
    await makeFolder(path);
    const lock = await takeLock(path);
    const folder = new Folder(path);
    return {
      disk: folder,
      close: async () => {
        await folder.close();
        lock.close();
      },
    };
  } catch (error) {
    throw error instanceof FolderLocked ? error : failure("open data folder", path, error);
  }
}

class Folder implements Disk {
  readonly #path: string;
  /** Files kept open for `append` and `truncate`, and folders kept open for their fsync. */
  readonly #files = new Map<string, Deno.FsFile>();
  readonly #folders = new Map<string, Deno.FsFile>();
  /** Folders whose own names are durable. */
  readonly #durableFolders = new Set<string>();
  /** Operations under way, by file name. */
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(path: string) {
    this.#path = path;
  }

  list(): string[] {
    const names: string[] = [];
    const visit = (folder: string) => {
      for (const { name, isFile, isDirectory } of Deno.readDirSync(this.#at(folder))) {
        if (isDirectory) visit(`${folder}${name}/`);
        else if (isFile && name !== lockFile && !name.endsWith(temporarySuffix)) names.push(folder + name);
      }
    };
    naming("list", this.#path, () => visit(""));
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
      using file = Deno.openSync(this.#at(name));
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
      const file = this.#open(name, { append: true, create: true });
      writeAll(file, bytes);
      await file.syncData();
      if (isNew) await this.#syncFoldersOf(name);
    });
  }

  replace(name: string, bytes: Uint8Array, done: Done): void {
    this.#start("replace", name, done, async () => {
      this.#forget(name);
      const temporary = this.#at(name) + temporarySuffix;
      this.#makeFolderOf(name);
      {
        using file = Deno.openSync(temporary, { write: true, create: true, truncate: true });
        writeAll(file, bytes);
        await file.sync();
      }
      Deno.renameSync(temporary, this.#at(name));
      await this.#syncFoldersOf(name);
    });
  }

  truncate(name: string, size: number, done: Done): void {
    this.#start("truncate", name, done, async () => {
      const isNew = !this.#files.has(name);
      const file = this.#open(name, { append: true });
      const before = file.statSync().size;
      if (size > before) throw new Error(`it has ${before} bytes, fewer than the ${size} to keep`);
      file.truncateSync(size);
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
    await Promise.all(this.#underWay.values());
    for (const file of [...this.#files.values(), ...this.#folders.values()]) file.close();
    this.#files.clear();
    this.#folders.clear();
  }

  /** Starts an operation; `done` is told from a promise, so never inside this call. */
  #start(verb: string, name: string, done: Done, operation: () => Promise<void>): void {
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

async function takeLock(path: string): Promise<Deno.FsFile> {
  const file = Deno.openSync(`${path}/${lockFile}`, { read: true, write: true, create: true });
  // This call waits as long as it takes and cannot be taken back: should it succeed too late, the lock goes free
  // at once.
  const locked = file.lock(true);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLate = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(true), lockTimeoutMs));
  const isTooLate = await Promise.race([locked.then(() => false), tooLate]).finally(() =>
    clearTimeout(timer)
  );
  if (isTooLate) {
    locked.then(() => file.close(), () => file.close());
    throw new FolderLocked(
      `data folder ${path} is in use by ${holderOf(path)}: stop that process or choose another folder`,
    );
  }
  file.truncateSync(0);
  writeAll(file, new TextEncoder().encode(`${Deno.pid}\n`));
  return file;
}

function holderOf(path: string): string {
  try {
    const pid = Deno.readTextFileSync(`${path}/${lockFile}`).trim();
    if (/^\d+$/.test(pid)) return `process ${pid}`;
  } catch (error) {
    // Some systems let nobody read a locked file; the message then does without the number.
    if (!(error instanceof Error)) throw error;
  }
  return "another process";
}

function writeAll(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length;) written += file.writeSync(bytes.subarray(written));
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
  return new Error(`cannot ${verb} ${path}: ${cause instanceof Error ? cause.message : cause}`, { cause });
}
