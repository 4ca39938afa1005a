/**
 * The folder of `kvapp dev`: one data folder a node, and whether those that an earlier run left can be used again.
 *
 * @module
 */

import { ensureDir } from "@std/fs";
import { FolderLocked, openFolder } from "../io/deno_io.ts";
import { decodeState, FolderError, stateFile } from "../storage/formats.ts";
import { CommandError, exitCodes } from "./exit.ts";

/** Where `dev` keeps everything, below the folder that it is started in. */
export const devFolder = "./kvapp-dev";

/** What a data folder tells. */
interface Found {
  /** A node was started on it. */
  isUsed: boolean;
  /** Ids of all nodes of its cluster, once it belongs to one. */
  members: number[] | null;
}

/**
 * Sees to a folder that is empty or that an earlier run with as many nodes left. Throws CommandError when a node still
 * runs there, or when the data belongs to a cluster of another size or is not all there, unless `fresh` gives it up.
 */
export async function prepareDevFolder(nodes: number, { fresh }: { fresh: boolean }): Promise<void> {
  await ensureDir(devFolder);
  const names = Array.from(Deno.readDirSync(devFolder), (entry) => entry.name);
  const used = new Set<number>();
  let members: number[] | null = null;
  for (const id of names.filter((name) => /^\d+$/.test(name)).map(Number)) {
    const found = await look(id);
    if (found.isUsed) used.add(id);
    members ??= found.members;
  }
  if (fresh) {
    for (const name of names.filter((it) => /^\d+(\.log)?$/.test(it))) {
      await Deno.remove(`${devFolder}/${name}`, { recursive: true });
    }
  } else if (members !== null) checkMembers(members, { used, nodes });
}

function checkMembers(members: number[], { used, nodes }: { used: Set<number>; nodes: number }): void {
  const cluster = `${devFolder} holds a cluster of ${members.length} nodes`;
  const missing = members.find((id) => !used.has(id));
  if (missing !== undefined) {
    throw new CommandError(
      `${cluster}, but no data of node ${missing}: put ${devFolder}/${missing} back, ` +
        "or give --fresh to forget the data of all",
      exitCodes.folder,
    );
  }
  if (members.length === nodes) return;
  throw new CommandError(
    `${cluster}, not ${nodes}: give --nodes ${members.length}, or --fresh to forget its data`,
    exitCodes.folder,
  );
}

async function look(id: number): Promise<Found> {
  try {
    const folder = await openFolder(`${devFolder}/${id}`); // refused while a node runs on it
    const state = folder.disk.read(stateFile);
    await folder.close();
    if (state === null) return { isUsed: false, members: null };
    const pinned = decodeState(state, id)?.identity.pinned; // none: it is damaged, as its node will say
    return { isUsed: true, members: pinned?.map((member) => member.id) ?? null };
  } catch (error) {
    if (error instanceof FolderLocked) throw new CommandError(error.message, exitCodes.folder);
    if (error instanceof FolderError) return { isUsed: true, members: null }; // its node will say it
    throw error;
  }
}
