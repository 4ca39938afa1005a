/**
 * What somebody may have meant who mistyped a name.
 *
 * @module
 */

/** The one of `names` that is fewest edits away from `word`, or null when none is near. Case does not count. */
export function nearest(word: string, names: Iterable<string>): string | null {
  if (word.length > 32) return null; // no name is that long, and the comparison takes quadratic time
  const wanted = word.toLowerCase();
  let best: string | null = null;
  // A third of the letters may be wrong and one more, so that two swapped letters of three are forgiven.
  let editsMax = word.length < 3 ? 1 : Math.floor(word.length / 3) + 1;
  for (const name of names) {
    const edits = editDistance(wanted, name.toLowerCase());
    if (edits > editsMax) continue;
    best = name;
    editsMax = edits - 1; // of equally near ones the first
  }
  return best;
}

/** How many letters must be put in, taken out or replaced (Levenshtein). */
function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, above[j]! + 1, row[j - 1]! + 1));
    }
    above = row;
  }
  return above[b.length]!;
}
