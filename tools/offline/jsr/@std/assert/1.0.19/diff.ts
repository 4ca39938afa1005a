/**
 * What a failed comparison shows: both values printed one property a line, with the lines that differ marked.
 *
 * @module
 */

/** Prints a value in full, one property a line. */
export function format(value: unknown): string {
  return Deno.inspect(value, {
    depth: Infinity,
    sorted: true,
    trailingComma: true,
    compact: false,
    iterableLimit: Infinity,
    getters: true,
    strAbbreviateSize: Infinity,
  });
}

/** Beyond this many pairs of lines the common lines in the middle are not searched for. */
const pairsMax = 4_000_000;

/** The lines of both texts: "-" stands before those of the actual, "+" before those of the expected value. */
export function diff(actual: string, expected: string): string {
  const a = actual.split("\n");
  const b = expected.split("\n");
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (
    end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]
  ) end++;
  const lines = [
    ...a.slice(0, start).map((line) => `    ${line}`),
    ...middle(a.slice(start, a.length - end), b.slice(start, b.length - end)),
    ...a.slice(a.length - end).map((line) => `    ${line}`),
  ];
  return `\n    [Diff] - Actual / + Expected\n\n${lines.join("\n")}\n`;
}

function middle(a: string[], b: string[]): string[] {
  const lengths = a.length * b.length <= pairsMax ? commonLengths(a, b) : null;
  const lines: string[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (lengths && i < a.length && j < b.length && a[i] === b[j]) {
      lines.push(`    ${a[i++]}`);
      j++;
    } else if (i < a.length && (!lengths || j >= b.length || lengths[i + 1]![j]! >= lengths[i]![j + 1]!)) {
      lines.push(`-   ${a[i++]}`);
    } else {
      lines.push(`+   ${b[j++]}`);
    }
  }
  return lines;
}

/** Longest common subsequence: the entry at [i][j] is its length for the lines from i and from j on. */
function commonLengths(a: string[], b: string[]): Uint32Array[] {
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i]![j] = a[i] === b[j]
        ? lengths[i + 1]![j + 1]! + 1
        : Math.max(lengths[i + 1]![j]!, lengths[i]![j + 1]!);
    }
  }
  return lengths;
}
