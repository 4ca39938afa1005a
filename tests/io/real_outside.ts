/**
 * What tests of the real network need: an address that is free, and to wait for what the system does in its own time.
 *
 * @module
 */

/** "host:port" on loopback, where nobody listens. */
export function freeAddress(): string {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return `127.0.0.1:${listener.addr.port}`;
}

/** Waits until something holds. Fails, naming it, when it does not. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`it did not happen within 10 s that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
