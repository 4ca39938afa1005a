/**
 * What a person with netcat does: bytes out, lines in.
 *
 * @module
 */

/** A node that says nothing for so long will say nothing any more. */
const answerTimeoutMs = 30_000;

/** A reply line. */
export type ReplyLine = {
  ok: boolean;
  id?: string | number;
  error?: { code: string; message: string; definite: boolean; [field: string]: unknown };
  [field: string]: unknown;
};

/** Cuts lines out of text that comes in pieces. */
export class Lines {
  readonly #more: () => Promise<string | null>;
  #text = "";

  /** `more` gives the next piece; null: none comes any more. */
  constructor(more: () => Promise<string | null>) {
    this.#more = more;
  }

  /** The next line without its newline; null: none comes any more. */
  async next(): Promise<string | null> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      if (!await this.#readMore()) return null;
    }
  }

  /** All that still comes. */
  async rest(): Promise<string> {
    while (await this.#readMore());
    return this.#text;
  }

  async #readMore(): Promise<boolean> {
    const piece = await this.#more();
    this.#text += piece ?? "";
    return piece !== null;
  }
}

/** A connection to any port. */
export class LineConnection {
  readonly #conn: Deno.TcpConn;
  readonly #decoder = new TextDecoder();
  readonly #buffer = new Uint8Array(1 << 16);
  readonly #lines = new Lines(() => this.#readMore());
  #isOpen = true;

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  static async open(address: string): Promise<LineConnection> {
    const [hostname, port] = address.split(":");
    return new LineConnection(await Deno.connect({ hostname: hostname!, port: Number(port) }));
  }

  /** Sends bytes, or text, or requests as lines. */
  async send(what: Uint8Array | string | readonly object[]): Promise<void> {
    const text = typeof what === "string" || what instanceof Uint8Array
      ? what
      : what.map((request) => JSON.stringify(request) + "\n").join("");
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  /** The next line without its newline; null: the other end has closed. */
  line(): Promise<string | null> {
    return this.#lines.next();
  }

  /** The next line as a reply. */
  async reply(): Promise<ReplyLine> {
    const line = await this.line();
    if (line === null) throw new Error("the node closed the connection instead of answering");
    return JSON.parse(line);
  }

  /** All that still comes until the other end closes. */
  rest(): Promise<string> {
    return this.#lines.rest();
  }

  /** Sends no more, and still reads. */
  async closeWrite(): Promise<void> {
    await this.#conn.closeWrite();
  }

  close(): void {
    if (this.#isOpen) this.#conn.close();
    this.#isOpen = false;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #readMore(): Promise<string | null> {
    const timer = setTimeout(() => this.close(), answerTimeoutMs);
    try {
      const count = await this.#conn.read(this.#buffer);
      return count === null ? null : this.#decoder.decode(this.#buffer.subarray(0, count), { stream: true });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Sends requests over a connection of their own and reads as many replies. */
export async function exchange(address: string, requests: readonly object[]): Promise<ReplyLine[]> {
  using connection = await LineConnection.open(address);
  await connection.send(requests);
  const replies: ReplyLine[] = [];
  for (const _ of requests) replies.push(await connection.reply());
  return replies;
}
