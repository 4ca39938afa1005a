/**
 * The rules of ARCHITECTURE.md that no linter knows: who may import whom, what pure code must not name, how long a file and a
 * function may be. They read the text of the source, not its syntax tree, so they are a few regular expressions over
 * code whose comments and strings have been blanked out. `tests/tidy_test.ts` runs them over the whole project.
 *
 * @module
 */

/** A rule that a file breaks, and where. */
export interface Violation {
  path: string;
  /** Counted from 1. */
  line: number;
  message: string;
}

/** The folders and files that a part of lib/ may import from, itself and the files directly in lib/ aside. */
const layers: Record<string, string[]> = {
  "lib/raft/": [],
  "lib/kv/": [],
  "lib/protocol/": ["lib/raft/", "lib/kv/"],
  "lib/storage/": ["lib/raft/", "lib/kv/", "lib/io/io.ts"],
  "lib/server/": ["lib/raft/", "lib/kv/", "lib/protocol/", "lib/storage/", "lib/io/io.ts"],
  "lib/io/io.ts": [],
  "lib/io/": ["node:", "@std/"],
  "lib/client/": ["lib/protocol/", "lib/kv/", "@std/"],
  "lib/node/": ["lib/server/", "lib/storage/", "lib/io/", "lib/client/"],
  "lib/verify/": [],
  "lib/chaos/": ["lib/client/", "lib/verify/", "node:"],
  "lib/cli/": ["lib/", "node:", "@std/"],
  "lib/": ["node:zlib", "node:crypto"],
};

const pureFolders = /^lib\/(raft|kv|protocol|storage|server)\//;
const denoFolders =
  /^(lib\/(io\/deno_\w+\.ts$|cli\/|chaos\/|client\/|node\/)|main\.ts$|examples\/|tests\/|bench\/|tools\/)/;
const namedTests = /^tests\/(raft|kv|protocol|storage|server)\/.*_test\.ts$/;

/** What pure code must get from its caller or from Io instead: time, chance, waiting, the outside. */
const impure = [
  "Date Math.random performance crypto setTimeout setInterval setImmediate queueMicrotask Promise async await",
  "Deno process globalThis fetch console",
].join(" ").split(" ");

const fileLinesMax = 350;
/** A conformance suite or a chapter of the paper may be worth one longer file of tests. */
const testFileLinesMax = 500;
const functionLinesMax = 70;

/** All that is wrong with one file. `path` is relative to the project and uses "/". */
export function checkFile(path: string, source: string): Violation[] {
  const code = blankOut(source);
  const found: { at: number; message: string }[] = [
    ...checkImports(path, source, code),
    ...checkWords(path, source, code),
    ...checkLengths(path, source, code),
    ...checkTestNames(path, source, code),
  ];
  return found.map(({ at, message }) => ({ path, line: lineAt(source, at), message }))
    .sort((a, b) => a.line - b.line);
}

type Found = Generator<{ at: number; message: string }>;

function* checkImports(path: string, source: string, code: string): Found {
  const layer = Object.keys(layers).find((prefix) => path.startsWith(prefix));
  if (layer === undefined) return;
  const own = layer.endsWith("/") ? layer : null;
  for (const match of code.matchAll(/\b(?:from|import)\s*\(?\s*("|')( *)\1/g)) {
    const at = match.index + match[0].length - 1 - match[2]!.length;
    const target = resolve(path, source.slice(at, at + match[2]!.length));
    const inBase = /^lib\/[^/]+$/.test(target);
    const allowed = inBase || (own !== null && own !== "lib/" && target.startsWith(own)) ||
      layers[layer]!.some((prefix) => target.startsWith(prefix));
    if (!allowed) yield { at, message: `${layer} must not import ${target}` };
  }
}

/** A module name as seen from the project: relative ones become paths, bare ones of npm get their "npm:". */
function resolve(from: string, name: string): string {
  if (name.startsWith(".")) return new URL(name, `file:///${from}`).pathname.slice(1);
  return /^(@std\/|\w+:)/.test(name) ? name : `npm:${name}`;
}

function* checkWords(path: string, source: string, code: string): Found {
  for (const word of pureFolders.test(path) ? impure : denoFolders.test(path) ? [] : ["Deno"]) {
    for (const at of positions(code, word)) yield { at, message: `${word} has no place here` };
  }
  for (const at of positions(code, "any")) yield { at, message: "any switches the types off" };
  for (const match of code.matchAll(/\bcatch\s*(\([^)]*\)\s*)?\{\s*\}/g)) {
    yield { at: match.index, message: "an empty catch hides the error" };
  }
  for (const match of source.matchAll(/\b(TO[D]O|FIX[M]E|XX[X])\b/g)) {
    yield { at: match.index, message: `${match[1]} is work left undone` };
  }
}

/** Where a word stands as a name of its own: not as a part of another or as a property. */
function positions(code: string, word: string): number[] {
  const pattern = new RegExp(
    `(?<![\\w$#]|(?<!\\.\\.)\\.)${word.replace(".", "\\s*\\.\\s*")}(?![\\w$])(?!\\??:)`,
    "g",
  );
  return [...code.matchAll(pattern)].map((match) => match.index);
}

function* checkLengths(path: string, source: string, code: string): Found {
  const lines = lineAt(source, source.trimEnd().length);
  const linesMax = path.startsWith("tests/") ? testFileLinesMax : fileLinesMax;
  if (lines > linesMax) yield { at: 0, message: `${lines} lines; ${linesMax} are enough for a file` };
  for (const { at, end } of functionsOf(code)) {
    const length = lineAt(source, end) - lineAt(source, at) + 1;
    if (length > functionLinesMax) {
      yield { at, message: `${length} lines; ${functionLinesMax} are enough for a function` };
    }
  }
  const comment = /^\/\*\*[^]*?\*\//.exec(source)?.[0] ?? "";
  if (path.startsWith("lib/") && !comment.includes("@module")) {
    yield { at: 0, message: "the file does not start with a @module comment" };
  }
}

function* checkTestNames(path: string, source: string, code: string): Found {
  if (!namedTests.test(path)) return;
  for (const match of code.matchAll(/\bDeno\.test(?:\.\w+)?\(\s*(?:\{\s*name:\s*)?(["'`])/g)) {
    const at = match.index + match[0].length;
    const name = source.slice(at, source.indexOf(match[1]!, at));
    const className = /^([A-Z]\w*) \S/.exec(name)?.[1];
    const namesClass = className !== undefined && positions(code, className).length > 0;
    if (!namesClass && !/^(\$\{[^}]+\}|#?[A-Za-z][\w.#]*\(\)) \S/.test(name)) {
      yield { at, message: `"${name}" does not read "symbol() does what"` };
    }
  }
}

/** Where each function begins and ends: declarations, methods and arrow functions that have a body in braces. */
export function functionsOf(code: string): { at: number; end: number }[] {
  const found: { at: number; end: number }[] = [];
  for (const match of code.matchAll(/=>\s*\{/g)) {
    found.push({ at: match.index, end: closing(code, match.index + match[0].length - 1) });
  }
  const head =
    /\bfunction\b[^(]*\(|^[ \t]+(?:(?:static|async|get|set|override) +)*[*#]?[\w$]+\s*(?:<[^(){}]*>)?\(/gm;
  for (const match of code.matchAll(head)) {
    if (/^\s*(if|for|while|switch|catch|return|super|with)\b/.test(match[0])) continue;
    const body = bodyAfter(code, closing(code, match.index + match[0].length - 1) + 1);
    if (body !== null) found.push({ at: match.index + match[0].search(/\S/), end: closing(code, body) });
  }
  return found;
}

/** The brace that opens a function's body, from behind its parameters on; null when it has none. */
function bodyAfter(code: string, from: number): number | null {
  const next = /\S/g;
  next.lastIndex = from;
  const first = next.exec(code);
  if (first?.[0] === "{") return first.index;
  if (first?.[0] !== ":") return null;
  for (let at = first.index + 1; at < code.length; at++) {
    if (code[at] === ";" || /^=[^>]/.test(code.slice(at, at + 2))) return null;
    if (!"([{".includes(code[at]!)) continue;
    // In the return type a brace follows an operator: `: { a: 1 } | null {`.
    const inType = code[at] !== "{" || /([:|&,<]|=>|\bis|\bextends)\s*$/.test(code.slice(first.index, at));
    if (!inType) return at;
    at = closing(code, at);
  }
  return null;
}

/** Where the bracket that opens at `at` is closed. */
function closing(code: string, at: number): number {
  let depth = 0;
  for (let i = at; i < code.length; i++) {
    if ("([{".includes(code[i]!)) depth++;
    else if (")]}".includes(code[i]!) && --depth === 0) return i;
  }
  return code.length;
}

function lineAt(source: string, at: number): number {
  return source.slice(0, at).split("\n").length;
}

const comment = /\/\/.*|\/\*[^]*?\*\//y;
const text = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/y;
/** A template up to its end or to the next `${`; it begins with its own quote or behind the `}` of the one before. */
const templatePiece = /[`}](?:\\[^]|\$(?!\{)|[^`\\$])*(?:`|\$\{)/y;
const regExp = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^\\/[\n])+\/[a-z]*/y;

/**
 * The source with the contents of comments, strings, templates and regular expressions replaced by spaces. Line ends
 * and quotes stay, so that positions are those of the source. Code inside `${}` of a template is kept.
 */
export function blankOut(source: string): string {
  const inTemplate: number[] = []; // for each `${` that we are inside of, how many braces were open before it
  let code = "";
  let open = 0;
  while (code.length < source.length) {
    const at = code.length;
    const character = source[at]!;
    const take = (pattern: RegExp): string | null => {
      pattern.lastIndex = at;
      return pattern.exec(source)?.[0] ?? null;
    };
    let token: string | null = null;
    if (character === "/") token = take(comment) ?? (startsRegExp(code) ? take(regExp) : null);
    else if (character === '"' || character === "'") token = take(text);
    else if (character === "`" || (character === "}" && inTemplate.at(-1) === open)) {
      token = take(templatePiece);
      if (character === "}") inTemplate.pop();
      if (token?.endsWith("{")) inTemplate.push(open);
    }
    if (token !== null) {
      const edges = character === "/" ? [0, 0] : [1, token.endsWith("{") ? 2 : 1];
      const inside = token.slice(edges[0], token.length - edges[1]!);
      code += token.slice(0, edges[0]) + inside.replace(/[^\n]/g, " ") +
        token.slice(token.length - edges[1]!);
      continue;
    }
    if (character === "{") open++;
    if (character === "}") open--;
    code += character;
  }
  return code;
}

/** Behind a value a slash divides; elsewhere it opens a regular expression. */
function startsRegExp(before: string): boolean {
  const end = before.slice(-80).trimEnd();
  return !/[\w$)\]}"'`]$/.test(end) || /\b(return|typeof|case|in|of|yield|await)$/.test(end);
}
