/**
 * What a client is told when an operation did not succeed, in one type: `code` says what happened, `definite`
 * whether it certainly had no effect, which is the only thing that a careful caller must know.
 *
 * @module
 */

/**
 * An operation that did not succeed.
 *
 * @example
 * ```ts no-assert
 * import { ClientError, connect } from "@kvapp/kvapp";
 *
 * async function takeLock(owner: string): Promise<boolean> {
 *   await using client = await connect("127.0.0.1:8080");
 *   try {
 *     await client.put("lock", owner, { ifVersion: 0 });
 *     return true;
 *   } catch (error) {
 *     if (error instanceof ClientError && error.code === "conditionFailed") return false;
 *     throw error;
 *   }
 * }
 * ```
 */
export class ClientError extends Error {
  /** Always "ClientError". */
  override readonly name = "ClientError";
  /**
   * A code of the client protocol (`conditionFailed`, `tooLarge`, `noLeader`, `outcomeUnknown`, ...) or one of the
   * client's own: `unreachable` (no node answered in time) and `closed` (the client was closed meanwhile).
   */
  readonly code: string;
  /** True: the operation certainly had no effect. False: it may have happened, or may still happen. */
  readonly definite: boolean;
  /** The error object of the reply, with what belongs to its code: `version`, `leader`, `retryAfterMs`, ... */
  readonly details: Readonly<Record<string, unknown>>;

  /** Usually made by the client itself. */
  constructor(
    code: string,
    message: string,
    options: { definite: boolean; details?: Readonly<Record<string, unknown>>; cause?: unknown },
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.definite = options.definite;
    this.details = options.details ?? { code, message, definite: options.definite };
  }
}
