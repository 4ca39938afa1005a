/**
 * A yardstick: what this machine could do if a node had nothing to do but read lines and answer. It takes the client
 * port's puts and gets, parses each line, and answers with lines of the same size, one write for all of a read; it keeps
 * nothing. Prints its address.
 *
 * @module
 */

const newline = 10;
const value = "x".repeat(256);

/** Answers one connection until it ends. */
export async function echo(conn: Deno.TcpConn): Promise<void> {
  conn.setNoDelay(true);
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  let input = new Uint8Array(64 << 10);
  let length = 0;
  let index = 1_000_000; // as wide as the indexes of a node that has run for a while
  for (let read; (read = await conn.read(input.subarray(length))) !== null;) {
    const bytes = input.subarray(0, length + read);
    let from = 0;
    let replies = "";
    for (let end; (end = bytes.indexOf(newline, from)) >= 0; from = end + 1) {
      const { op } = JSON.parse(decoder.decode(bytes.subarray(from, end)));
      index++;
      const reply = op === "get"
        ? { ok: true, found: true, value, version: index, index }
        : { ok: true, index, version: index };
      replies += JSON.stringify(reply) + "\n";
    }
    length = bytes.length - from;
    input.copyWithin(0, from, bytes.length);
    if (length === input.length) {
      const larger = new Uint8Array(2 * length);
      larger.set(input);
      input = larger;
    }
    const output = encoder.encode(replies);
    for (let at = 0; at < output.length;) at += await conn.write(output.subarray(at));
  }
}

if (import.meta.main) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  console.log(`127.0.0.1:${listener.addr.port}`);
  for await (const conn of listener) echo(conn).finally(() => conn.close());
}
