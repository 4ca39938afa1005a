import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../lib/cli/exit.ts";
import { splitWords } from "../../lib/cli/words.ts";

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
