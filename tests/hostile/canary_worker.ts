/**
 * The canary's own thread: a request every 50 ms on one connection, whatever the answers do, each timed from the moment
 * at which it was due.
 *
 * @module
 */

import { LineConnection } from "../e2e/line_connection.ts";
import type { CanarySample } from "./canary.ts";

const intervalMs = 50;

/** What `self` is here; the types of a page do not have it. */
const scope = self as unknown as {
  postMessage(message: unknown): void;
  onmessage: (event: MessageEvent) => void;
};

async function sing(address: string): Promise<void> {
  using connection = await LineConnection.open(address);
  const due: { at: number; isWrite: boolean }[] = [];
  const origin = performance.now();
  let count = 0;
  const timer = setInterval(() => {
    for (; performance.now() - origin >= count * intervalMs; count++) {
      const isWrite = count % 2 === 0;
      due.push({ at: origin + count * intervalMs, isWrite });
      connection.send([
        isWrite ? { op: "put", key: "canary", value: `${count}` } : { op: "get", key: "canary" },
      ])
        .catch(fail);
    }
  }, 5);
  const fail = (error: unknown): void => {
    clearInterval(timer);
    scope.postMessage({ failed: String(error) });
  };
  for (;;) {
    const { ok, index, error } = await connection.reply();
    const { at, isWrite } = due.shift()!;
    if (!ok) throw new Error(`the canary was answered ${error?.code}: ${error?.message}`);
    const sample: CanarySample = { ms: performance.now() - at, writtenAt: isWrite ? index as number : null };
    scope.postMessage({ sample });
  }
}

scope.onmessage = ({ data }: MessageEvent<{ address: string }>) => {
  sing(data.address).catch((error) => scope.postMessage({ failed: String(error) }));
};
