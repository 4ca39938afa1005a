/**
 * Real input for tests: a public list of English words, fetched as a package when the test runs. KVAPP_WORDS=3 takes every
 * third word, which is a long load; a sample serves without it.
 *
 * @module
 */

/** Its default export is the path of a text with one word a line. */
const listPackage = "npm:word-list@4.1.0";
const wordsMin = 20_000;
/** One word in so many is taken. */
const step = Number(Deno.env.get("KVAPP_WORDS") ?? 9);

/** The words, in order. */
export async function wordList(): Promise<string[]> {
  const all = (await Deno.readTextFile(await fetchList())).split("\n").filter((word) => word !== "");
  const words = all.filter((_, i) => i % step === 0);
  if (words.length < wordsMin) {
    throw new Error(`${listPackage} gives ${words.length} words, fewer than ${wordsMin}`);
  }
  return words;
}

/** Imported by a name that is no literal, so that without the package only those tests fail that need it. */
async function fetchList(): Promise<string> {
  try {
    return (await import(listPackage)).default;
  } catch (cause) {
    throw new Error(
      `this test stores the words of ${listPackage}, which could not be fetched: it needs the npm registry once`,
      { cause },
    );
  }
}
