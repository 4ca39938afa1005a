/**
 * Two looks at the text of a line, beside JSON.parse: whether parsing it can take long, before; and where it stops
 * being JSON, after, because the runtime's own message does not always say.
 *
 * @module
 */

/**
 * Whether `text` has more than `piecesMax` brackets, commas and colons outside its strings. Time and memory of parsing
 * grow with those, and not much with long strings: a few megabytes of "[" or of "0," would hold up a node for long.
 */
export function isIntricate(text: string, piecesMax: number): boolean {
  let pieces = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '"':
        at = endOfString(text, at);
        break;
      case "[":
      case "{":
      case ",":
      case ":":
        if (++pieces > piecesMax) return true;
    }
  }
  return false;
}

/** Where the string that opens at `at` closes; the end of the text when it does not. */
function endOfString(text: string, at: number): number {
  let from = at + 1;
  for (;;) {
    const quote = text.indexOf('"', from);
    if (quote === -1) return text.length;
    let backslashes = 0;
    while (quote - backslashes > from && text[quote - backslashes - 1] === "\\") backslashes++;
    if (backslashes % 2 === 0) return quote;
    from = quote + 1;
  }
}

// Blanks and then one piece of JSON, or nothing where there is none.
const piece = new RegExp(
  String.raw`[ \t\r\n]*([{}[\],:]|` +
    String.raw`"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"|` +
    String.raw`-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|)`,
  "y",
);

/**
 * Where `text` stops being JSON, from 0: at the first piece that cannot stand there, or at the end when more is
 * missing. Null when it is JSON, and for a text of more than 64 Ki characters, which no person is going to look at.
 */
export function findJsonError(text: string): number | null {
  if (text.length > 64 << 10) return null;
  const open: string[] = []; // the brackets around this place
  let expected: "value" | "firstItem" | "key" | "firstKey" | "colon" | "next" = "value";
  piece.lastIndex = 0;
  for (;;) {
    const found = piece.exec(text)![1]!;
    const at = piece.lastIndex - found.length;
    const isBracketClosed =
      (expected === "firstItem" || expected === "next") && found === "]" && open.at(-1) === "[" ||
      (expected === "firstKey" || expected === "next") && found === "}" && open.at(-1) === "{";
    if (isBracketClosed) {
      open.pop();
      expected = "next";
    } else if (expected === "next") {
      if (open.length === 0) return at === text.length ? null : at;
      if (found !== ",") return at;
      expected = open.at(-1) === "{" ? "key" : "value";
    } else if (expected === "colon") {
      if (found !== ":") return at;
      expected = "value";
    } else if (expected === "key" || expected === "firstKey") {
      if (!found.startsWith('"')) return at;
      expected = "colon";
    } else {
      if (found === "" || "}],:".includes(found)) return at;
      const isOpening = found === "{" || found === "[";
      if (isOpening) open.push(found);
      expected = found === "{" ? "firstKey" : found === "[" ? "firstItem" : "next";
    }
  }
}
