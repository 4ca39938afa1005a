/**
 * The width of text on a terminal, without the tables of `@std/cli`: the scripts that are drawn wide, and the marks
 * that take no room of their own.
 *
 * @module
 */

const wide =
  /[\u{1100}-\u{115f}\u{2e80}-\u{303e}\u{3041}-\u{a4cf}\u{a960}-\u{a97f}\u{ac00}-\u{d7a3}\u{f900}-\u{faff}\u{fe30}-\u{fe6f}\u{ff01}-\u{ff60}\u{ffe0}-\u{ffe6}\u{20000}-\u{3fffd}]|(?!\p{RI})\p{Emoji_Presentation}/u;
const none = /[\p{Control}\p{Nonspacing_Mark}\p{Enclosing_Mark}\u{200b}-\u{200f}\u{2060}\u{feff}]/u;

/** The number of columns that a terminal gives to the text. */
export function unicodeWidth(str: string): number {
  let columns = 0;
  for (const character of str) columns += none.test(character) ? 0 : wide.test(character) ? 2 : 1;
  return columns;
}
