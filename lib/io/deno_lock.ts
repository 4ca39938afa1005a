/**
 * The lock of a data folder, held by the operating system until the process ends, however it ends. A node takes it
 * for itself; those who only read share it, and keep nodes away meanwhile.
 *
 * @module
 */

import { isNoRoom, writeAll } from "./deno_room.ts";

/** The folder belongs to another process that still runs. */
export class FolderLocked extends Error {
  override name = "FolderLocked";

  /** `over`: the attempt, which cannot be taken back, has ended, because the holder let go. */
  constructor(message: string, readonly over: Promise<void>) {
    super(message);
  }
}

/** The file that is locked; it holds the number of the process. */
export const lockFile = "LOCK";
/** Long enough for the lock of a process that was just killed to go free. */
const lockTimeoutMs = 1000;

/** Takes the lock of a node, until the file is closed. Rejects with FolderLocked when another process holds it. */
export async function takeLock(path: string): Promise<Deno.FsFile> {
  const file = Deno.openSync(`${path}/${lockFile}`, { read: true, write: true, create: true });
  await lock(file, { path, exclusive: true });
  // In place and cut afterwards, which needs no room where a process was here before.
  const text = new TextEncoder().encode(`${Deno.pid}\n`);
  try {
    writeAll(file, text);
  } catch (error) {
    if (!isNoRoom(error)) throw error;
    file.truncateSync(0); // the number serves people only
    return file;
  }
  file.truncateSync(text.length);
  return file;
}

/**
 * Shares the lock with others who read, changing nothing. There may be none to take, in a copy of a folder for
 * example: then null. Rejects with FolderLocked when a node runs.
 */
export async function shareLock(path: string): Promise<Deno.FsFile | null> {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(`${path}/${lockFile}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  await lock(file, { path, exclusive: false });
  return file;
}

async function lock(file: Deno.FsFile, options: { path: string; exclusive: boolean }): Promise<void> {
  // This call waits as long as it takes and cannot be taken back: should it succeed too late, the lock goes free
  // at once.
  const locked = file.lock(options.exclusive);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLate = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(true), lockTimeoutMs));
  const isTooLate = await Promise.race([locked.then(() => false), tooLate]).finally(() =>
    clearTimeout(timer)
  );
  if (!isTooLate) return;
  const over = locked.then(() => file.close(), () => file.close());
  const { path } = options;
  throw new FolderLocked(
    `data folder ${path} is in use by ${holderOf(path)}: stop that process or choose another folder`,
    over,
  );
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
