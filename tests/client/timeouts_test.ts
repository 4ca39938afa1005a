/**
 * Timeouts that share a timer.
 *
 * @module
 */

import { assertEquals, assertGreaterOrEqual } from "@std/assert";
import { sleep } from "../../lib/client/deadline.ts";
import { startTimeout } from "../../lib/client/timeouts.ts";

const forLong = new AbortController().signal;

Deno.test("startTimeout() lets those that were not stopped come in their order, each in its time", async () => {
  const came: { name: string; afterMs: number }[] = [];
  const start = (name: string, ms: number): () => void => {
    const from = performance.now();
    return startTimeout(ms, () => came.push({ name, afterMs: performance.now() - from - ms }));
  };
  const stopFirst = start("first", 60);
  start("second", 60);
  start("sooner", 30);
  const stopThird = start("third", 60);
  await sleep(20, forLong);
  stopFirst();
  stopThird();
  start("later", 60);
  await sleep(120, forLong);
  assertEquals(came.map(({ name }) => name), ["sooner", "second", "later"]);
  for (const { afterMs } of came) assertGreaterOrEqual(afterMs, -1); // not before its time, but for rounding
});

Deno.test("startTimeout() leaves no timer behind when all were stopped, also more than once and from within", async () => {
  const stops = Array.from({ length: 100 }, () => startTimeout(3_600_000, () => {}));
  for (const stop of [...stops.reverse(), ...stops]) stop();
  let count = 0;
  const stopLast = startTimeout(5, () => count += 100);
  startTimeout(4, () => {
    stopLast();
    startTimeout(4, () => count++); // of the same length, when the line is just empty
  });
  await sleep(50, forLong);
  assertEquals(count, 1);
});

Deno.test("startTimeout() waits for weeks like any other time", async () => {
  const { resolve, promise } = Promise.withResolvers<void>();
  const stop = startTimeout(2 ** 40, resolve);
  const stopForever = startTimeout(Infinity, resolve);
  const isOver = await Promise.race([promise.then(() => true), sleep(20, forLong).then(() => false)]);
  stop();
  stopForever();
  assertEquals(isOver, false);
});
