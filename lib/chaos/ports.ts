/**
 * Ports of loopback for clusters that come and go. They lie below those that systems give out themselves, so a node that
 * comes back finds its own free.
 *
 * @module
 */

/** Ports that no other caller of `claimPorts` has, in this process or another, until they are released. */
export interface ClaimedPorts {
  /** Each has its client port 1000 above. */
  ports: number[];
  /** Gives them back; once is enough. */
  release(): void;
}

/** For clusters of a program or a test each. */
const clusterBlocks: Blocks = { from: 10_000, size: 8 };

/** A part of all ports, in blocks: of every 2000 the lower half is for raft ports, the upper for client ports. */
export interface Blocks {
  from: number;
  /** Ports in a block. Who listens on the last one has the block. */
  size: number;
}

const stretches = 5;

/** Takes a block, at random. */
export function claimPorts({ from, size }: Blocks = clusterBlocks): ClaimedPorts {
  const blocksPerStretch = Math.floor(1000 / size);
  for (;;) {
    const block = Math.floor(Math.random() * stretches * blocksPerStretch);
    const first = from + 2000 * Math.floor(block / blocksPerStretch) + size * (block % blocksPerStretch);
    const claim = tryListen(first + size - 1);
    if (claim === null) continue;
    const ports = Array.from({ length: size - 1 }, (_, i) => first + i);
    let isHeld = true;
    const release = (): void => {
      if (isHeld) claim.close();
      isHeld = false;
    };
    if (ports.every((port) => isFree(port) && isFree(port + 1000))) return { ports, release };
    release();
  }
}

/** Whether nobody listens on that port of loopback. */
export function isFree(port: number): boolean {
  const listener = tryListen(port);
  listener?.close();
  return listener !== null;
}

function tryListen(port: number): Deno.TcpListener | null {
  try {
    return Deno.listen({ hostname: "127.0.0.1", port });
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return null;
    throw error;
  }
}
