/**
 * Stands in for `@std/streams` where JSR cannot be reached: the one stream that this project uses.
 *
 * @module
 */

/** Options of {@linkcode TextLineStream}. */
export interface TextLineStreamOptions {
  /** Whether a lone "\r" ends a line too. */
  allowCR?: boolean;
}

/** Text in any pieces in, lines without their "\n" or "\r\n" out; a last line needs no end. */
export class TextLineStream extends TransformStream<string, string> {
  constructor(options: TextLineStreamOptions = {}) {
    const end = options.allowCR ? /\r\n|\n|\r(?!$)/ : /\r?\n/;
    let pieces: string[] = [];
    super({
      transform(chunk, controller) {
        if (chunk === "") return;
        pieces.push(chunk);
        if (!options.allowCR && !chunk.includes("\n")) return; // a long line stays linear
        const lines = pieces.join("").split(end);
        pieces = [lines.pop()!].filter((piece) => piece !== "");
        for (const line of lines) controller.enqueue(line);
      },
      flush(controller) {
        const rest = pieces.join("");
        if (rest !== "") {
          controller.enqueue(options.allowCR && rest.endsWith("\r") ? rest.slice(0, -1) : rest);
        }
      },
    });
  }
}
