import { assertEquals } from "@std/assert";
import { hmacSha256, isSameProof } from "../lib/hmac.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

Deno.test("hmacSha256() gives what RFC 4231 does, in however many parts the text comes", () => {
  const expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"; // its test case 2
  assertEquals(hmacSha256(bytes("Jefe"), [bytes("what do ya want for nothing?")]), expected);
  assertEquals(hmacSha256(bytes("Jefe"), [bytes("what do ya want "), bytes("for nothing?")]), expected);
});

Deno.test("isSameProof() takes equal texts only", () => {
  assertEquals(isSameProof("abc", "abc"), true);
  for (const other of ["abd", "ab", "abcd", "", "\u{e9}bc"]) assertEquals(isSameProof("abc", other), false);
});
