/**
 * How the two ends of a connection on the raft port prove to each other that they have the cluster's secret. The proof
 * is an HMAC over both hellos, byte for byte as they were sent, so nothing in them can be forged. Each hello holds a
 * challenge that was never used before, so no old proof fits; each proof names its direction, so none fits the end that
 * made it. The dialler goes first: whoever only connects gets nothing that was made with the secret.
 *
 * ```text
 *   dialler  -- hello with a challenge -->  acceptor
 *            <-- hello with a challenge --
 *            -- proof -------------------->            right: the dialler's hello counts from now on
 *            <-- proof --------------------            right: the acceptor's hello counts from now on
 * ```
 *
 * @module
 */

import { hmacSha256, isSameProof } from "../hmac.ts";
import { encodeLinkLine, type Hello } from "../protocol/peer_protocol.ts";
import type { NodeId } from "../raft/types.ts";

/** What an end of a connection brings to it. */
export interface HandshakeOptions {
  nodeId: NodeId;
  /** null: there is nothing to prove. */
  secret: Uint8Array | null;
  /** This end dialled. */
  isDialler: boolean;
  /** 32 hex digits that nobody can foresee. */
  challenge: string;
}

/** The handshake of one connection, seen from one end. */
export class Handshake {
  /** The other end has proved that it has the secret, or it has said hello and there is nothing to prove. */
  isDone = false;
  /** The other end's first hello. */
  theirs: Hello | null = null;
  readonly #options: HandshakeOptions;
  /** The lines of both hellos with their newlines, once they have been said. */
  #ownLine: Uint8Array | null = null;
  #theirLine: Uint8Array | null = null;

  constructor(options: HandshakeOptions) {
    this.#options = options;
  }

  /** Whether this end dialled. */
  get isDialler(): boolean {
    return this.#options.isDialler;
  }

  /** The bytes of this end's first hello. */
  encodeHello(hello: Hello): Uint8Array {
    const { secret, challenge } = this.#options;
    this.#ownLine = encodeLinkLine(secret === null ? hello : { ...hello, challenge });
    return this.#ownLine;
  }

  /** Takes a hello that the other end said in this line; a text refuses it. It counts only when `isDone`. */
  onHello(hello: Hello, line: Uint8Array): string | null {
    if (this.isDone) return null;
    const { nodeId, secret } = this.#options;
    const hasSecret = hello.challenge !== undefined;
    if (hasSecret !== (secret !== null)) {
      const [having, lacking] = hasSecret ? [hello.nodeId, nodeId] : [nodeId, hello.nodeId];
      return `node ${having} has a secret and node ${lacking} has none: ${wayOut}`;
    }
    if (this.theirs !== null) return "a proof comes after the first hello";
    this.theirs = hello;
    this.#theirLine = line.slice(); // the buffer is used for something else
    this.isDone = secret === null;
    return null;
  }

  /** This end's proof. Both have said hello. */
  proof(): string {
    return this.#proofOf(this.#options.isDialler);
  }

  /** Takes the other end's proof; a text refuses it. Both have said hello, and it is not done yet. */
  onProof(proof: string): string | null {
    const { nodeId, isDialler } = this.#options;
    if (!isSameProof(proof, this.#proofOf(!isDialler))) {
      const [one, other] = [nodeId, this.theirs!.nodeId].sort((a, b) => a - b);
      return `nodes ${one} and ${other} have different secrets: ${wayOut}`;
    }
    this.isDone = true;
    return null;
  }

  #proofOf(dialler: boolean): string {
    const { secret, isDialler } = this.#options;
    const [own, their] = [this.#ownLine!, this.#theirLine!];
    const hellos = isDialler ? [own, their] : [their, own];
    return hmacSha256(secret!, [dialler ? diallersLine : acceptorsLine, ...hellos]);
  }
}

const wayOut = "start all nodes with the same --secret-file";
const encoder = new TextEncoder();
/** The first line of what a proof is made of. The lines of both hellos follow, the dialler's first. */
const diallersLine = encoder.encode("kvapp raft port, dialler\n");
const acceptorsLine = encoder.encode("kvapp raft port, acceptor\n");
