/**
 * A command that is not parsed. The protocol copies its bytes into the line of its entry; what they say is the state
 * machine's affair.
 *
 * @module
 */

/** A command by its JSON text. */
export abstract class EncodedCommand {
  /** Its text is the `length` bytes from `from` on, and a brace that closes it, which need not be there. */
  bytes: Uint8Array;
  from: number;
  readonly length: number;

  /** The bytes may be borrowed, until `settle`. */
  constructor(bytes: Uint8Array, from: number, length: number) {
    this.bytes = bytes;
    this.from = from;
    this.length = length;
  }

  /** Its text was copied to there, and stays: its entry has it. */
  settle(bytes: Uint8Array, from: number): void {
    this.bytes = bytes;
    this.from = from;
  }
}
