/**
 * Numbers in the place of texts, for searching: to compare texts means to look at each of them, wherever it lies in
 * memory, and numbers lie side by side.
 *
 * @module
 */

/** So many characters make a digest: 48 bits of the 53 of a number. */
const digestUnits = 6;
/** Behind the point: whether nothing else can have this digest, which then comes before those of others. */
const exact = 0.25, inexact = 0.5;

/**
 * A number that is not greater than those of the texts that come after this one, if all begin with the same `skip`
 * characters. Texts of equal ones are equal or, when it is not exact, have to be compared. Never an integer: V8 keeps
 * arrays of numbers that are none as such.
 */
export function digestOf(key: string, skip: number): number {
  const end = skip + digestUnits;
  let digest = 0, i = skip;
  let isExact = key.length <= end;
  for (; i < end && i < key.length; i++) {
    const unit = key.charCodeAt(i);
    if (unit === 0 || unit >= 255) isExact = false; // as no character is there, or as one of those that are not told apart
    digest = digest * 256 + Math.min(unit, 255);
    if (unit < 255) continue;
    i++; // what follows does not count
    break;
  }
  for (; i < end; i++) digest *= 256;
  return digest + (isExact ? exact : inexact);
}

/** Whether texts with this digest are equal. */
export function isExact(digest: number): boolean {
  return digest - Math.floor(digest) === exact;
}

/** Those of several texts. By `push`, because V8 would think that an array made by `map` may have holes. */
export function digestsOf(keys: readonly string[], skip: number): number[] {
  const digests: number[] = [];
  for (const key of keys) digests.push(digestOf(key, skip));
  return digests;
}
