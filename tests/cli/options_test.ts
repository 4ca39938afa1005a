import { assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { UsageError } from "../../lib/cli/exit.ts";
import { commandHelp } from "../../lib/cli/help.ts";
import { journalOf, logOptions } from "../../lib/cli/log.ts";
import { type Option, parseOptions } from "../../lib/cli/options.ts";
import { duration } from "../../lib/cli/status.ts";
import { timingArguments, timingModes, timingOf, timingOptions } from "../../lib/cli/timing.ts";

const options: Option[] = [
  { name: "bind", value: "HOST:PORT", text: "where" },
  { name: "verbose", short: "v", text: "more" },
  { name: "secret", text: "not shown", hidden: true },
];

Deno.test("parseOptions() sorts values, switches and the rest, numbers and empty words unchanged", () => {
  const parsed = parseOptions(["put", "--bind=a:1", "-v", "007", "", "-", "--", "--x", "-5"], options);
  assertEquals(parsed.text("bind"), "a:1");
  assertEquals(parsed.flag("verbose"), true);
  assertEquals(parsed.flag("help"), false);
  assertEquals(parsed.rest, ["put", "007", "", "-", "--x", "-5"]);
});

Deno.test("parseOptions() takes the last of several values", () => {
  assertEquals(parseOptions(["--bind", "a:1", "--bind", "b:2"], options).text("bind"), "b:2");
});

Deno.test("parseOptions() with optionsFirst leaves everything behind the first word alone", () => {
  assertEquals(parseOptions(["-v", "key", "-5", "--bind"], options, { optionsFirst: true }).rest, [
    "key",
    "-5",
    "--bind",
  ]);
});

Deno.test("parseOptions() takes a negative number behind an option for its value, and words for what they are", () => {
  assertEquals(parseOptions(["--bind", "-5", "-v"], options).text("bind"), "-5");
  assertThrows(() => parseOptions(["-v", "-5"], options), UsageError, "unknown option -5");
  assertEquals(parseOptions(["--", "--bind", "-5"], options).rest, ["--bind", "-5"]);
  const first = parseOptions(["--bind", "a:1", "key", "--bind", "-5"], options, { optionsFirst: true });
  assertEquals([first.text("bind"), ...first.rest], ["a:1", "key", "--bind", "-5"]);
});

Deno.test("parseOptions() names unknown options with the nearest, and options without their value", () => {
  const cases: [string[], string][] = [
    [["--bnid", "x"], "unknown option --bnid. Did you mean --bind?"],
    [["--verbos"], "Did you mean --verbose?"],
    [["--verbose=1", "--zzzzzz=1"], "unknown option --zzzzzz=1."],
    [["-x"], `unknown option -x. To give it as a value, write "--" before it.`],
    [["-5"], `write "--" before it`],
    [["--bind"], "--bind needs a value: --bind HOST:PORT"],
    [["--bind="], "--bind needs a value"],
    [["--bind", "--verbose"], "--bind needs a value"],
  ];
  for (const [args, message] of cases) assertThrows(() => parseOptions(args, options), UsageError, message);
  const hidden = assertThrows(() => parseOptions(["--secre"], options), UsageError);
  assertEquals(hidden.message.includes("--secret"), false);
});

Deno.test("Parsed.integer() refuses what is no whole number or out of bounds, and says what is", () => {
  const bounds = { min: 1, max: 65535 };
  const integer = (text: string): number | undefined =>
    parseOptions([`--bind=${text}`], options).integer("bind", bounds);
  assertEquals(integer("65535"), 65535);
  assertEquals(parseOptions([], options).integer("bind", bounds), undefined);
  for (const text of ["0", "65536", "1.5", "1e3", "0x10", "ten", "9".repeat(20)]) {
    assertThrows(() => integer(text), UsageError, `--bind is a whole number from 1 to 65535, not "${text}"`);
  }
});

Deno.test("commandHelp() shows every option that is not hidden", () => {
  const help = commandHelp({
    name: "x",
    summary: "does x",
    usage: ["x [--bind]"],
    options,
    run: () => Promise.resolve(0),
  });
  assertStringIncludes(help, "--bind HOST:PORT  where");
  assertMatch(help, /-v, --verbose +more/);
  assertEquals(help.includes("secret"), false);
});

function timingFrom(...args: string[]): ReturnType<typeof timingOf> {
  return timingOf(parseOptions(args, timingOptions));
}

Deno.test("timingOf() knows the three modes by name and by switch, fast when nothing is said", () => {
  assertEquals(timingFrom(), timingModes.fast);
  for (const name of ["fast", "debug", "demo"] as const) {
    assertEquals(timingFrom("--timing-mode", name.toUpperCase()), timingModes[name]);
    assertEquals(timingFrom(`--${name}-mode`), timingModes[name]);
  }
  assertEquals(timingModes.fast.electionTimeoutMinMs, 150);
  assertEquals(timingModes.debug.electionTimeoutMaxMs, 2000);
  assertEquals(timingModes.demo.eventLoopDelayMs, 1000);
});

Deno.test("timingOf() lets each number be set on top of a mode", () => {
  const timing = timingFrom("--debug-mode", "--network-delay", "7", "--election-timeout-max=3000");
  assertEquals(timing, { ...timingModes.debug, networkDelayMs: 7, electionTimeoutMaxMs: 3000 });
});

Deno.test("timingOf() refuses numbers that contradict each other", () => {
  const cases: [string[], string][] = [
    [["--election-timeout-min", "300"], "must be less than --election-timeout-max (300 ms)"],
    [["--heartbeat-interval", "150"], "must be less than --election-timeout-min (150 ms)"],
    [["--heartbeat-interval", "100", "--event-loop-delay", "50"], "plus --event-loop-delay (50 ms)"],
    [["--network-delay", "75"], "a vote takes twice --network-delay"],
    [["--heartbeat-interval", "0"], "from 1 to"],
    [["--client-delay", "-1"], `--client-delay is a whole number from 0 to 3600000, not "-1"`],
    [["--client-delay", "1.5"], "whole number"],
    [["--demo-mode", "--fast-mode"], "give one timing mode"],
    [["--demo-mode", "--timing-mode", "demo"], "give one timing mode"],
    [["--timing-mode", "debgu"], "Did you mean debug?"],
  ];
  for (const [args, message] of cases) assertThrows(() => timingFrom(...args), UsageError, message);
});

Deno.test("timingArguments() gives another node the same timing", () => {
  const args = ["--demo-mode", "--client-delay", "5"];
  const again = timingArguments(parseOptions(args, timingOptions));
  assertEquals(timingFrom(...again), timingFrom(...args));
});

Deno.test("journalOf() refuses unknown levels and formats", () => {
  const journal = (...args: string[]): unknown => journalOf(parseOptions(args, logOptions), 1);
  assertThrows(() => journal("--log-level", "wran"), UsageError, "Did you mean warn?");
  assertThrows(() => journal("--log-format", "xml"), UsageError, "text, json");
});

Deno.test("duration() speaks in the two largest units", () => {
  const cases: [number, string][] = [
    [0, "0s"],
    [999, "0s"],
    [59_999, "59s"],
    [60_000, "1m 0s"],
    [3_599_000, "59m 59s"],
    [7_260_000, "2h 1m"],
    [90_000_000, "1d 1h"],
  ];
  for (const [ms, text] of cases) assertEquals(duration(ms), text);
});
