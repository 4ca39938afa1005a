/**
 * The shell on a terminal, as a person at the keys sees it. `script` lends the terminal.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { kvapp, withFolder, withNode } from "./processes.ts";

const main = fileURLToPath(new URL("../../main.ts", import.meta.url));
const keys = { tab: "\t", enter: "\r", up: "\x1b[A", left: "\x1b[D", ctrlC: "\x03", ctrlD: "\x04" };

/** A terminal in which the shell runs. */
class Terminal {
  #shown = "";
  /** What never comes must not be waited for without an end. */
  readonly #patience: ReturnType<typeof setTimeout>;
  readonly #child: Deno.ChildProcess;
  readonly #keyboard: WritableStreamDefaultWriter<Uint8Array>;
  readonly #screen: ReadableStreamDefaultReader<string>;

  constructor(cluster: readonly string[], history: string) {
    const command = `"${Deno.execPath()}" run -A "${main}" client ${cluster.join(" ")}`;
    this.#child = new Deno.Command("script", {
      args: ["-qec", command, "/dev/null"],
      env: { KVAPP_HISTORY: history, TERM: "xterm", NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#patience = setTimeout(() => this.#child.kill("SIGKILL"), 60_000);
    this.#keyboard = this.#child.stdin.getWriter();
    this.#screen = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  async type(text: string): Promise<void> {
    await this.#keyboard.write(new TextEncoder().encode(text));
  }

  /** Resolves when that is shown, behind what was waited for before. */
  async shows(text: string): Promise<void> {
    while (!this.#shown.includes(text)) {
      const { value, done } = await this.#screen.read();
      if (done) throw new Error(`ended without "${text}": ${this.#shown}`);
      this.#shown += value;
    }
    this.#shown = this.#shown.slice(this.#shown.indexOf(text) + text.length);
  }

  /** Resolves with the exit code. */
  async end(): Promise<number> {
    while (!(await this.#screen.read()).done);
    const { code } = await this.#child.status;
    clearTimeout(this.#patience);
    await this.#keyboard.close().catch(() => null); // null: whoever read it has ended
    return code;
  }
}

Deno.test({
  name: "the shell on a terminal completes, watches until Ctrl-C, ends at Ctrl-D and keeps its history",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    await withFolder(async (folder) => {
      await withNode(async (cluster) => {
        const first = new Terminal(cluster, `${folder}/history`);
        await first.shows("kvapp> ");
        await first.type(`put "two words" green${keys.enter}`);
        await first.shows("OK");
        await first.shows("kvapp> ");
        await first.type("get tw");
        await first.shows("tw");
        await first.type(keys.tab); // pasted with the rest it would stand for itself
        await first.shows('"two words"');
        await first.type(keys.enter);
        await first.shows("green");
        await first.shows("kvapp> ");
        await first.type(`watch${keys.enter}`);
        await first.shows("Ctrl-C ends it");
        await kvapp(["client", ...cluster, "put", "a", "\x1b[2J"]);
        await first.shows("put a\t\\u001b[2J");
        await first.type(keys.ctrlC);
        await first.shows("kvapp> ");
        await first.type(`quit${keys.left}${keys.ctrlC}`); // all of the line goes, on both sides of the cursor
        await first.type(keys.ctrlC);
        await first.shows("Ctrl-D or 'quit' ends the shell");
        await first.shows("kvapp> ");
        await first.type(keys.ctrlD);
        assertEquals(await first.end(), 0);
        const second = new Terminal(cluster, `${folder}/history`);
        await second.shows("kvapp> ");
        await second.type(keys.up + keys.up);
        await second.shows('get "two words"');
        await second.type(keys.enter);
        await second.shows("green");
        await second.shows("kvapp> ");
        await second.type(`watch${keys.enter}`);
        await second.shows("Ctrl-C ends it");
        await second.type(keys.ctrlD); // there will be no more input: nobody could end it by Ctrl-C
        assertEquals(await second.end(), 0);
      });
    });
  },
});
