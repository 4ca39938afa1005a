import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../lib/cli/exit.ts";
import { quoteWord, readWords, splitWords } from "../../lib/cli/words.ts";

Deno.test("splitWords() splits at blanks and keeps quoted ones", () => {
  const cases: [string, string[]][] = [
    ["", []],
    ["  \t ", []],
    ["put a 1", ["put", "a", "1"]],
    ["  put   a\t1 \r", ["put", "a", "1"]],
    [`put k "two  spaces"`, ["put", "k", "two  spaces"]],
    [`put k 'it is "so"'`, ["put", "k", `it is "so"`]],
    [`put k "a\\nb\\t\\"\\\\"`, ["put", "k", `a\nb\t"\\`]],
    [`put k "\\x"`, ["put", "k", "\\x"]],
    [`put k '\\n'`, ["put", "k", "\\n"]],
    [`put a\\b ""`, ["put", "a\\b", ""]],
    [`a"b c"d`, ["ab cd"]],
    ["put 字 🙂", ["put", "字", "🙂"]],
  ];
  for (const [line, words] of cases) assertEquals(splitWords(line), words, line);
});

Deno.test("splitWords() says where a quote was left open", () => {
  assertThrows(() => splitWords(`put a "b`), UsageError, "the double quote at character 7 is not closed");
  assertThrows(() => splitWords(`'`), UsageError, "the single quote at character 1 is not closed");
  assertThrows(() => splitWords(`"a\\"`), UsageError, "not closed");
});

Deno.test("readWords() tells the unfinished word at the end, where it begins and whether its quote is open", () => {
  const at = (line: string): [string[], string | null, number | null, string | null] => {
    const { words, last, openQuote } = readWords(line);
    return [words, last?.text ?? null, last?.from ?? null, openQuote?.quote ?? null];
  };
  assertEquals(at("get "), [["get"], null, null, null]);
  assertEquals(at("get us"), [["get"], "us", 4, null]);
  assertEquals(at('put "a b" x"y z'), [["put", "a b"], "xy z", 10, '"']);
  assertEquals(at("get '"), [["get"], "", 4, "'"]);
});

Deno.test("quoteWord() gives what splitWords() reads back, plain where it can and in the quotes that were begun", () => {
  for (const word of ["a", "", "two words", 'it is "so"', "a'b", "a\\b", "a\\n b", "\n\t", "'", '"', "字"]) {
    for (const quote of [null, '"', "'"]) assertEquals(splitWords(quoteWord(word, quote)), [word]);
  }
  assertEquals(quoteWord("user/1"), "user/1");
  assertEquals(quoteWord("user/1", "'"), "'user/1'");
  assertEquals(quoteWord("user/1", '"'), '"user/1"');
});
