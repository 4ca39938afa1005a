/**
 * The real disk when it is full: a file system of 256 KiB in memory, for which Linux wants the rights of root, and
 * system calls that strace lets fail, or kills the process in.
 *
 * @module
 */

import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { FolderLocked, openFolder } from "../../lib/io/deno_io.ts";
import { type Disk, DiskFull, type Done, reserveBytesMax } from "../../lib/io/io.ts";
import { testFullDisk } from "./full_disk_conformance.ts";
import { cannotMount, mount, succeeds, unmount } from "./small_disk.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const smallKibibytes = 256;
const cannotTrace = succeeds("strace", "-o", "/dev/null", "true") ? null : "there is no strace";

/** Registers a test that needs something of the machine; `skip` says what it lacks. */
function test(name: string, skip: string | null, fn: () => Promise<void>): void {
  Deno.test({ name: `${name}${skip === null ? "" : ` (skipped: ${skip})`}`, ignore: skip !== null, fn });
}

async function withFolder(body: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    await body(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

function withSmallDisk(body: (path: string) => Promise<void>): Promise<void> {
  return withFolder(async (path) => {
    assert(mount(path, smallKibibytes));
    try {
      await body(path);
    } finally {
      assert(unmount(path));
    }
  });
}

/** Fills the disk at `path` with a file, then leaves so many bytes free. */
function fill(path: string, bytesLeft = 0): void {
  using file = Deno.openSync(`${path}/filler`, { append: true, create: true });
  const page = new Uint8Array(4096).fill(1);
  try {
    while (file.writeSync(page) > 0);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
  }
  file.truncateSync(Math.max(0, file.statSync().size - bytesLeft));
}

function outcome(start: (done: Done) => void): Promise<Error | null> {
  return new Promise((resolve) => {
    let hasReturned = false;
    start((error) => {
      assert(hasReturned, "done runs after the call");
      resolve(error);
    });
    hasReturned = true;
  });
}

testFullDisk("openFolder()", async () => {
  const path = await Deno.makeTempDir();
  assert(mount(path, smallKibibytes));
  const { disk, close } = await openFolder(`${path}/data`);
  return {
    disk,
    fill: (bytesLeft) => fill(path, bytesLeft),
    makeRoom: () => Deno.removeSync(`${path}/filler`),
    outcome,
    close: async () => {
      await close();
      assert(unmount(path));
      await Deno.remove(path);
    },
  };
}, cannotMount);

test(
  "openFolder() works on a full disk, and makes the reserve when there is room",
  cannotMount,
  () =>
    withSmallDisk(async (path) => {
      fill(path);
      Deno.mkdirSync(`${path}/data`);
      const full = await openFolder(`${path}/data`);
      const error = await outcome((done) => full.disk.replace("state", bytes("term 1"), done));
      assert(error instanceof DiskFull, "what was never reserved is not there");
      assertStringIncludes(error.message, `cannot replace ${path}/data/state: No space left on device`);
      assertEquals(full.disk.list(), []);
      Deno.removeSync(`${path}/filler`);
      assertEquals(await outcome((done) => full.disk.replace("state", bytes("term 1"), done)), null);
      assertEquals(Deno.statSync(`${path}/data/RESERVE`).size, reserveBytesMax);
      fill(path);
      assertEquals(await outcome((done) => full.disk.replace("state", bytes("term 2"), done)), null);
      await full.close();

      Deno.removeSync(`${path}/filler`);
      await (await openFolder(`${path}/data`)).close();
      const { size, blocks } = Deno.statSync(`${path}/data/RESERVE`);
      assertEquals([size, blocks! * 512], [reserveBytesMax, reserveBytesMax]);
      fill(path);
      const again = await openFolder(`${path}/data`);
      assertEquals(Deno.readTextFileSync(`${path}/data/LOCK`), `${Deno.pid}\n`);
      assertEquals(await outcome((done) => again.disk.replace("state", bytes("term 3"), done)), null);
      assertEquals(again.disk.list(), ["state"]);
      await again.close();
    }),
);

test(
  "replace() on a full disk keeps the part of the reserve that others leave it",
  cannotMount,
  () =>
    withSmallDisk(async (path) => {
      const { disk, close } = await openFolder(`${path}/data`);
      assertEquals(await outcome((done) => disk.replace("state", bytes("term 0"), done)), null);
      for (let term = 1; term <= 5; term++) {
        fill(path); // whatever goes free is taken by another process
        assertEquals(await outcome((done) => disk.replace("state", bytes(`term ${term}`), done)), null);
        assert(Deno.statSync(`${path}/data/RESERVE`).size >= 4096);
      }
      await close();
    }),
);

test(
  "replace() and append() that found no room hold none back",
  cannotMount,
  () =>
    withSmallDisk(async (path) => {
      const { disk, close } = await openFolder(`${path}/data`);
      const large = new Uint8Array(100_000).fill(1);
      for (let i = 0; i < 3; i++) {
        fill(path, 30_000);
        assert(await outcome((done) => disk.replace("large", large, done)) instanceof DiskFull);
        assert(await outcome((done) => disk.append("new", large, done)) instanceof DiskFull);
        assertEquals(await outcome((done) => disk.append("fits", large.subarray(0, 20_000), done)), null);
        Deno.removeSync(`${path}/filler`);
      }
      assertEquals(Array.from(Deno.readDirSync(`${path}/data`), ({ name }) => name).sort(), [
        "LOCK",
        "RESERVE",
        "fits",
      ]);
      await close();
    }),
);

Deno.test({
  name: "append() that cannot be cut back is an ordinary failure, and names both reasons",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    withFolder(async (path) => {
      const { disk, close } = await openFolder(path);
      await Deno.symlink("/dev/full", `${path}/log`);
      const error = await outcome((done) => disk.append("log", bytes("x"), done));
      assert(!(error instanceof DiskFull));
      assertStringIncludes(error!.message, `cannot append to ${path}/log: No space left on device`);
      assertStringIncludes(error!.message, "and it cannot be cut back: ");
      await close();
    }),
});

/** What a process prints that runs `code` on the folder at `path` while strace meddles with its system calls. */
async function traced(
  path: string,
  meddling: string[],
  code: string,
): Promise<{ out: string; trace: string }> {
  const module = import.meta.resolve("../../lib/io/deno_io.ts");
  const source = `import { openFolder } from ${JSON.stringify(module)};
    const { disk, close } = await openFolder(${JSON.stringify(path)});
    const tell = (start) => new Promise((resolve) => start((error) => {
      console.log(error === null ? "done" : error.name + " " + error.message);
      resolve();
    }));
    ${code}
    await close();`;
  const script = await Deno.makeTempFile({ suffix: ".js" });
  const log = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(script, source);
    const { stdout } = await new Deno.Command("strace", {
      args: ["-f", "-o", log, ...meddling, Deno.execPath(), "run", "-A", "--no-check", script],
      stdout: "piped",
      stderr: "piped",
    }).output();
    return { out: new TextDecoder().decode(stdout), trace: await Deno.readTextFile(log) };
  } finally {
    await Promise.all([script, log].map((file) => Deno.remove(file)));
  }
}

const appendTwice = `
  await tell((done) => disk.append("log", new Uint8Array(3), done));
  await tell((done) => disk.append("log", new Uint8Array(3), done));`;

test(
  "append() tells an fsync that finds no room as an ordinary failure",
  cannotTrace,
  () =>
    withFolder(async (path) => {
      for (const name of ["ENOSPC", "EDQUOT"]) {
        const folder = `${path}/${name}`;
        const meddling = ["-P", `${folder}/log`, `-einject=fdatasync:error=${name}`];
        const { out } = await traced(folder, meddling, appendTwice);
        assert(out.startsWith(`Error cannot append to ${folder}/log: `), out);
      }
    }),
);

test(
  "replace() tells an fsync that finds no room as an ordinary failure",
  cannotTrace,
  () =>
    withFolder(async (path) => {
      const meddling = ["-P", `${path}/state.tmp`, "-einject=fsync:error=ENOSPC"];
      const { out } = await traced(
        path,
        meddling,
        `
      await tell((done) => disk.replace("state", new Uint8Array(3), done));`,
      );
      assert(out.startsWith(`Error cannot replace ${path}/state: No space left on device`), out);
    }),
);

test(
  "append() is DiskFull only once the file is cut back and that is fsynced",
  cannotTrace,
  () =>
    withFolder(async (path) => {
      const second = ["-P", `${path}/log`, "-einject=write:error=EDQUOT:when=2"];
      const quota = await traced(path, second, appendTwice);
      assertStringIncludes(quota.out, `done\nDiskFull cannot append to ${path}/log: Disk quota exceeded`);
      const calls = quota.trace.split("\n").map((line) => /^\d+ +(?:<\.\.\. )?(\w+)/.exec(line)?.[1]);
      const ends = calls.filter((call) => ["write", "fdatasync", "ftruncate", "fsync"].includes(call!));
      assertEquals(ends.slice(-3), ["write", "ftruncate", "fsync"]);
      assertEquals(Deno.readFileSync(`${path}/log`).length, 3);

      for (const call of ["ftruncate", "fsync"]) {
        const { out } = await traced(path, [...second, `-einject=${call}:error=EIO`], appendTwice);
        assertStringIncludes(out, `done\nError cannot append to ${path}/log: Disk quota exceeded`);
        assertStringIncludes(out, "and it cannot be cut back: Input/output error");
      }
    }),
);

/** Replaces "state" by `next` in a process that is killed before the system call that `options` of strace name. */
async function replaceKilled(folder: string, options: string[], next: string): Promise<"killed" | "done"> {
  const { out } = await traced(
    folder,
    options,
    `await tell((done) => disk.replace("state", new TextEncoder().encode("${next}"), done));`,
  );
  assert(out === "" || out === "done\n", out);
  return out === "" ? "killed" : "done";
}

test(
  "replace() from the reserve leaves the old file or the new one, wherever the process is killed",
  cannotMount ?? cannotTrace,
  () =>
    withSmallDisk(async (path) => {
      const folder = `${path}/data`;
      const first = await openFolder(folder);
      assertEquals(await outcome((done) => first.disk.replace("state", bytes("0"), done)), null);
      await first.close();
      const seen = new Set<string>();
      let next = 0;
      // strace counts each kind of call in each thread by itself, so a call is named by its kind and its file.
      for (const call of ["openat", "write", "unlink", "rename", "ftruncate", "fsync"]) {
        for (const name of ["state.tmp", "RESERVE", "state", ""]) {
          for (let when = 1, isKilled = true; isKilled; when++) {
            fill(path);
            const before = Deno.readTextFileSync(`${folder}/state`);
            const kill = ["-P", `${folder}/${name}`, `-einject=${call}:signal=KILL:when=${when}`];
            isKilled = await replaceKilled(folder, kill, String(++next)) === "killed";
            const after = Deno.readTextFileSync(`${folder}/state`);
            assert(after === before || after === String(next), `"${after}" after ${call} ${when} of ${name}`);
            if (isKilled) seen.add(`${call} ${name}: ${after === before ? "old" : "new"}`);
            else assertEquals(after, String(next));
            // The next process finds the folder usable, though nothing has room.
            const again = await openFolder(folder);
            assertEquals(
              await outcome((done) => again.disk.replace("state", bytes(`after ${next}`), done)),
              null,
            );
            assertEquals(again.disk.list(), ["state"]);
            await again.close();
          }
        }
      }
      for (const call of ["write state.tmp", "rename RESERVE", "ftruncate state.tmp", "fsync state.tmp"]) {
        assert(seen.has(`${call}: old`), `${call} is among ${[...seen].join(", ")}`);
      }
      for (const call of ["write RESERVE", "fsync RESERVE"]) {
        assert(seen.has(`${call}: new`), `${call} is among ${[...seen].join(", ")}`);
      }
    }),
);

/** Names, sizes and times of all in a folder, and the time of the folder itself. */
function pictureOf(path: string): string[] {
  const one = (name: string): string => {
    const { size, mtime } = Deno.statSync(`${path}/${name}`);
    return `${name} ${size} ${mtime?.getTime()}`;
  };
  return [one(""), ...Array.from(Deno.readDirSync(path), ({ name }) => one(name))].sort();
}

Deno.test("openFolder() for reading only changes nothing and refuses to", () =>
  withFolder(async (path) => {
    Deno.mkdirSync(`${path}/log`);
    Deno.writeTextFileSync(`${path}/log/1`, "0123456789");
    const before = pictureOf(path);
    const { disk, close } = await openFolder(path, { readOnly: true });
    assertEquals(disk.list(), ["log/1"]);
    assertEquals(disk.read("log/1"), bytes("0123456789"));
    assertEquals(disk.readRange("log/1", 8, 5), bytes("89"));
    assertEquals(disk.read("missing"), null);
    const operations: ((disk: Disk, done: Done) => void)[] = [
      (disk, done) => disk.append("log/1", bytes("x"), done),
      (disk, done) => disk.replace("log/1", bytes("x"), done),
      (disk, done) => disk.truncate("log/1", 0, done),
      (disk, done) => disk.remove("log/1", done),
    ];
    for (const start of operations) {
      assertThrows(() => start(disk, () => {}), Error, `${path}/log/1 is only read`);
    }
    await close();
    assertEquals(pictureOf(path), before);
  }));

Deno.test("openFolder() for reading only is refused while a node holds the folder, not while others read", () =>
  withFolder(async (path) => {
    const node = await openFolder(path);
    const readOnly = () => openFolder(path, { readOnly: true });
    const refused = await assertRejects(readOnly, FolderLocked, `process ${Deno.pid}`);
    await node.close();
    const first = await readOnly();
    const second = await readOnly();
    const refusedToo = await assertRejects(() => openFolder(path), FolderLocked);
    await first.close();
    await second.close();
    await (await openFolder(path)).close();
    await Promise.all([refused.over, refusedToo.over]);
    await assertRejects(
      () => openFolder(`${path}/missing`, { readOnly: true }).then(({ disk }) => disk.list()),
      Error,
      `${path}/missing`,
    );
  }));
