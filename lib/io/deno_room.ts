/**
 * Room on a real disk: how its lack is told from other errors, and a reserve for the small files that must be
 * written even so. The reserve is a file of real bytes: writing over them in place takes no new blocks.
 *
 * @module
 */

import { DiskFull, reserveBytesMax } from "./io.ts";

/** The file of the reserve, in the data folder. */
export const reserveFile = "RESERVE";

/** The errors that mean "no room" and to which Deno gives no code of their own: quotas, and Windows' full disks. */
const noRoomNumbers: Partial<Record<typeof Deno.build.os, number[]>> = {
  linux: [122],
  darwin: [69],
  windows: [39, 112, 1295],
};

/** EFBIG: the process may not make files so large. For anything but the reserve that is an error like any other. */
const fileTooLarge = 27;

/** Whether what a call threw means that the disk is full, or the user's part of it. */
export function isNoRoom(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  if ("code" in error && error.code === "ENOSPC") return true;
  return (noRoomNumbers[Deno.build.os] ?? []).includes(numberOf(error));
}

/** The system's number of an error, which Deno puts into the message only; NaN when there is none. */
function numberOf(error: Error): number {
  return Number(/\(os error (\d+)\)$/.exec(error.message)?.[1]);
}

/** Runs `f`, turning an error for lack of room into DiskFull. No fsync may be inside: its errors are final. */
export function needingRoom<T>(f: () => T): T {
  try {
    return f();
  } catch (error) {
    throw isNoRoom(error) ? new DiskFull(error.message, { cause: error }) : error;
  }
}

/** Writes all of the bytes, however little each call takes. */
export function writeAll(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length;) written += file.writeSync(bytes.subarray(written));
}

/** Runs `write` and gives the file, or closes it where that fails. */
export function writeOrClose(file: Deno.FsFile, write: () => void): Deno.FsFile {
  try {
    write();
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Some blocks of the disk, kept by filling a file with them. Where they were used they are got back later. */
export class Reserve {
  readonly #path: string;
  /** What the file holds; 0 while there is none. Less than all of it is kept too, for what fits. */
  #size: number;
  #isFilling = false;

  constructor(folder: string) {
    this.#path = `${folder}/${reserveFile}`;
    try {
      this.#size = Deno.statSync(this.#path).size;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      this.#size = 0;
    }
  }

  /**
   * Gives the file another name and writes the bytes over what it holds, leaving no others; the fsync is left to do.
   * Gives null, having done nothing, when the reserve does not hold that many bytes.
   */
  spendOn(path: string, bytes: Uint8Array): Deno.FsFile | null {
    if (this.#size < bytes.length || this.#size === 0) return null;
    Deno.renameSync(this.#path, path);
    this.#size = 0;
    const file = Deno.openSync(path, { write: true });
    return writeOrClose(file, () => {
      writeAll(file, bytes);
      file.truncateSync(bytes.length);
    });
  }

  /**
   * Takes what is missing of the reserve, as far as there is room. It writes before it returns, so that nothing
   * else of this process gets the blocks that were just given free.
   */
  async fill(): Promise<void> {
    if (this.#size >= reserveBytesMax || this.#isFilling) return;
    this.#isFilling = true;
    try {
      using file = this.#open();
      if (file === null) return;
      const before = this.#size;
      this.#grow(file);
      if (this.#size > before) await file.sync();
    } finally {
      this.#isFilling = false;
    }
  }

  /** The file, or null when there is not even room for its name. */
  #open(): Deno.FsFile | null {
    try {
      return Deno.openSync(this.#path, { append: true, create: true });
    } catch (error) {
      if (isNoRoom(error)) return null;
      throw error;
    }
  }

  #grow(file: Deno.FsFile): void {
    // Bytes that no file system compresses, leaves out as zeroes or shares with another file.
    const bytes = crypto.getRandomValues(new Uint8Array(reserveBytesMax - this.#size));
    try {
      writeAll(file, bytes);
    } catch (error) {
      // Where files are kept small by a limit, the reserve is too.
      const isLimit = error instanceof Error && numberOf(error) === fileTooLarge;
      if (!isLimit && !isNoRoom(error)) throw error;
    }
    this.#size = file.statSync().size;
  }
}
