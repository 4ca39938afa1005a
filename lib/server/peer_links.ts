/**
 * The connections to the other nodes. Each node dials every other one and speaks on the connection that it dialled,
 * or, until that is there, on the one that it accepted. So the two need not agree who dials, and a restarted peer is
 * told apart from its predecessor: a new connection takes the place of the old one.
 *
 * @module
 */

import type { Connection, Io } from "../io/io.ts";
import { type Hello, partsOf, protocolVersions } from "../protocol/peer_protocol.ts";
import type { Message } from "../raft/messages.ts";
import type { NodeId } from "../raft/types.ts";
import { Handshake } from "./handshake.ts";
import { randomHex } from "./identity.ts";
import { type ServerOptions, waitingConnectionsMax } from "./options.ts";
import { type LinkOptions, type LinkOwner, PeerLink } from "./peer_link.ts";

/** What the server lends to its links. */
export interface PeerLinksOwner {
  /** What this node says of itself at the moment. */
  hello(): Hello;
  /** Index of the configuration by which `onHello` judges. */
  configurationIndex(): number;
  /** Judges a hello that fits the rules of this file. A text refuses it. */
  onHello(hello: Hello): string | null;
  /** A hello was accepted: somebody came, or got further. */
  onHelloAccepted(): void;
  /** It came from another process of that node than the one before. */
  onStarted(hello: Hello): void;
  /** A text refuses the message and ends the connection. */
  onMessage(message: Message): string | null;
  /** The connection on which this node speaks to `id` broke. */
  onUnreachable(id: NodeId): void;
}

interface Peer {
  id: NodeId;
  address: string;
  /** Dialled by this node. */
  outgoing: PeerLink | null;
  /** Dialled by the peer. */
  incoming: PeerLink | null;
  /** Latest hello that was accepted, kept when the peer goes. */
  known: Hello | null;
  /** Wait before the next attempt to dial; doubles with each failure. */
  backoffMs: number;
  /** Causes of trouble that were written to the journal since this node was last connected to it: each once. */
  causes: Set<string>;
}

const backoffMsMin = 10;
/** Strangers who pretend to be a node think of ever new causes; the journal stays readable. */
const causesMax = 16;

/** All connections on the raft port. */
export class PeerLinks implements LinkOwner {
  readonly #peers = new Map<NodeId, Peer>();
  readonly #io: Io;
  readonly #options: ServerOptions;
  readonly #owner: PeerLinksOwner;
  readonly #linkOptions: LinkOptions;
  readonly #backoffMsMax: number;
  /** Accepted connections that have not said, and where there is a secret proved, who they are. */
  readonly #strangers = new Set<PeerLink>();
  #isClosed = false;

  constructor(options: ServerOptions, io: Io, owner: PeerLinksOwner) {
    this.#io = io;
    this.#options = options;
    this.#owner = owner;
    const { timing, limits } = options;
    this.#linkOptions = {
      entryBytesMax: limits.peerLineBytesMax,
      queueBytesMax: limits.peerQueueBytesMax,
      pingMs: Math.max(1000, 2 * timing.electionTimeoutMaxMs),
      delayMs: timing.networkDelayMs,
      clientAddress: options.clientAddress,
    };
    this.#backoffMsMax = Math.max(200, timing.electionTimeoutMaxMs);
    for (const { id, address } of options.cluster) {
      if (id === options.nodeId) continue;
      const peer: Peer = {
        id,
        address,
        outgoing: null,
        incoming: null,
        known: null,
        backoffMs: backoffMsMin,
        causes: new Set(),
      };
      this.#peers.set(id, peer);
      this.#dial(peer);
    }
  }

  /** Sends a message to the node that it is for, or nowhere while there is no connection: Raft sends again. */
  send(message: Message): void {
    this.#linkTo(message.to)?.send(partsOf(message));
  }

  /** Tells everybody what has changed in this node's hello. */
  announce(): void {
    const hello = this.#owner.hello();
    for (const { outgoing, incoming } of this.#peers.values()) {
      // One that is not known yet is told when it is: until then its first hello counts.
      for (const link of [outgoing, incoming]) if (link?.hello != null) link.sayHello(hello);
    }
  }

  /** Hellos of the peers that are connected now. */
  liveHellos(): Map<NodeId, Hello> {
    const hellos = new Map<NodeId, Hello>();
    for (const id of this.#peers.keys()) {
      const hello = this.#linkTo(id)?.hello;
      if (hello != null) hellos.set(id, hello);
    }
    return hellos;
  }

  /** What each peer said last, also those that are gone. */
  lastHellos(): Map<NodeId, Hello> {
    return new Map(
      [...this.#peers].flatMap(([id, { known }]) => known === null ? [] : [[id, known] as const]),
    );
  }

  /** Whether this node can speak to `id` now. */
  isConnected(id: NodeId): boolean {
    return this.#linkTo(id) !== null;
  }

  /** Where the clients of `id` connect, as it said last; null: it has never been heard. */
  clientAddressOf(id: NodeId): string | null {
    return this.#peers.get(id)?.known?.clientAddress ?? null;
  }

  /** Another node, or a stranger, has connected. */
  accept(connection: Connection): void {
    if (this.#isClosed) return connection.destroy();
    // Strangers must not keep members out: the one that has hesitated longest goes.
    const [oldest] = this.#strangers;
    const { limits, cluster } = this.#options;
    if (this.#strangers.size >= waitingConnectionsMax(limits) + cluster.length) { // all may dial at once
      this.#strangers.delete(oldest!);
      oldest!.connection.destroy();
    }
    this.#strangers.add(this.#link(connection, false));
  }

  /** Ends all connections. */
  close(): void {
    this.#isClosed = true;
    for (const link of this.#strangers) link.connection.destroy();
    for (const { outgoing, incoming } of this.#peers.values()) {
      outgoing?.connection.destroy();
      incoming?.connection.destroy();
    }
  }

  /** The other end says who it is. Before it has proved that, nothing is made of it. */
  onHello(link: PeerLink, hello: Hello, line: Uint8Array): string | null {
    const peer = this.#peers.get(hello.nodeId);
    const { handshake } = link;
    const stranger = this.#misplaced(peer, link, hello) ?? handshake.onHello(hello, line);
    if (peer === undefined) return stranger;
    const problem = stranger ?? (handshake.isDone ? this.#judge(peer, hello) : null);
    if (problem !== null) return this.#refuse(peer, link, problem);
    if (handshake.isDone) this.#enter(peer, link, hello);
    else if (handshake.isDialler) link.sendLine({ type: "proof", proof: handshake.proof() });
    else link.sayHello(this.#owner.hello());
    return null;
  }

  /** The other end has proved that it has the secret, or has failed to. */
  onProof(link: PeerLink, proof: string): string | null {
    const { handshake } = link;
    const { theirs } = handshake;
    if (theirs === null || handshake.isDone) return "there is nothing to prove now";
    const peer = this.#peers.get(theirs.nodeId)!;
    const problem = handshake.onProof(proof) ?? this.#judge(peer, theirs);
    if (problem !== null) return this.#refuse(peer, link, problem);
    if (!handshake.isDialler) link.sendLine({ type: "proof", proof: handshake.proof() });
    this.#enter(peer, link, theirs);
    return null;
  }

  /** The other end is who it says it is, and nothing speaks against it. */
  #enter(peer: Peer, link: PeerLink, hello: Hello): void {
    const isNew = link.hello === null;
    link.hello = hello;
    link.judgedAt = this.#owner.configurationIndex();
    const isStarted = peer.known?.nonce !== hello.nonce;
    peer.known = hello;
    if (isStarted) this.#owner.onStarted(hello);
    // Another process speaks for this node now. What the one before it might still say counts no more.
    for (const other of [peer.outgoing, peer.incoming]) {
      if (other !== null && other.hello !== null && other.hello.nonce !== hello.nonce) {
        other.connection.destroy();
      }
    }
    if (link === peer.outgoing) {
      if (isNew) this.#options.log("info", `connected to node ${peer.id} at ${peer.address}`);
      peer.backoffMs = backoffMsMin;
      peer.causes.clear();
    } else if (isNew) {
      this.#strangers.delete(link);
      const old = peer.incoming;
      peer.incoming = link;
      old?.connection.destroy();
    }
    link.sayHello(this.#owner.hello());
    this.#owner.onHelloAccepted();
  }

  #refuse(peer: Peer, { connection }: PeerLink, problem: string): string {
    this.#report(peer, problem, `node ${peer.id} at ${connection.remote} is refused: ${problem}`);
    return problem;
  }

  /** Why the other end cannot be who belongs there, whether it is who it says it is or not; null: it can. */
  #misplaced(peer: Peer | undefined, link: PeerLink, hello: Hello): string | null {
    const { min, max } = hello.versions;
    if (min > protocolVersions.max || max < protocolVersions.min) {
      return `it speaks the protocol versions ${min} to ${max}, this node ${protocolVersions.min} to ` +
        `${protocolVersions.max}: upgrade one of them`;
    }
    if (hello.nodeId === this.#options.nodeId) {
      return `it calls itself node ${hello.nodeId}, as this node does: give each node an id of its own`;
    }
    if (peer === undefined) return `node ${hello.nodeId} is not in this node's --cluster`;
    const isOthers = [...this.#peers.values()].some((one) =>
      one !== peer && (one.outgoing === link || one.incoming === link)
    );
    if (!isOthers) return null;
    return `node ${hello.nodeId} answers where another node was expected: look at the addresses in --cluster`;
  }

  /** What speaks against a node that is who it says it is, or null. */
  #judge({ known }: Peer, hello: Hello): string | null {
    if (known !== null && known.incarnation === hello.incarnation) {
      if (hello.starts < known.starts) {
        return `its data folder is an older copy: it was started ${hello.starts} times, and ${known.starts} times before`;
      }
      if (hello.starts === known.starts && hello.nonce !== known.nonce) {
        return "two processes run on copies of one data folder: stop one of them";
      }
    }
    return this.#owner.onHello(hello);
  }

  /** A folder that was replaced since its hello speaks no more: its old process may still run. */
  onInput(link: PeerLink, message: Message): string | null {
    const configurationIndex = this.#owner.configurationIndex();
    if (link.judgedAt !== configurationIndex) {
      const problem = this.#owner.onHello(link.hello!);
      if (problem !== null) return problem;
      link.judgedAt = configurationIndex;
    }
    return this.#owner.onMessage(message);
  }

  onRefused(link: PeerLink, reason: string): void {
    for (const peer of this.#peers.values()) {
      if (peer.outgoing !== link) continue;
      this.#report(peer, reason, `node ${peer.id} at ${peer.address} refuses this node: ${reason}`);
      peer.backoffMs = Math.max(peer.backoffMs, this.#backoffMsMax);
    }
  }

  onGone(link: PeerLink, error: Error | null): void {
    this.#strangers.delete(link);
    for (const peer of this.#peers.values()) {
      const isIncoming = peer.incoming === link;
      if (!isIncoming && peer.outgoing !== link) continue;
      if (isIncoming) peer.incoming = null;
      else peer.outgoing = null;
      if (this.#isClosed) return;
      if (link.hello !== null) this.#owner.onUnreachable(peer.id); // what was on it may be lost
      if (isIncoming) return;
      const why = error === null ? `${peer.address} closed it` : error.message;
      if (!link.isRefused) this.#report(peer, why, `no connection to node ${peer.id}: ${why}`);
      this.#dialLater(peer);
    }
  }

  /** The link on which this node speaks to `id`, once both know each other. */
  #linkTo(id: NodeId): PeerLink | null {
    const { outgoing, incoming } = this.#peers.get(id) ?? {};
    if (outgoing?.hello != null) return outgoing;
    return incoming?.hello != null ? incoming : null;
  }

  /** The first attempts follow quickly: nodes are often started, and restarted, at the same moment. */
  #dialLater(peer: Peer): void {
    const { clock, random } = this.#io;
    clock.after(peer.backoffMs * (0.75 + 0.5 * random()), () => this.#dial(peer));
    peer.backoffMs = Math.min(2 * peer.backoffMs, this.#backoffMsMax);
  }

  #dial(peer: Peer): void {
    if (this.#isClosed) return;
    const connection = this.#io.network.connect(peer.address);
    const link = this.#link(connection, true);
    peer.outgoing = link;
    connection.onOpen = () => {
      link.sendsPings = true;
      link.sayHello(this.#owner.hello());
    };
  }

  #link(connection: Connection, isDialler: boolean): PeerLink {
    const { nodeId, secret = null } = this.#options;
    const handshake = new Handshake({ nodeId, secret, isDialler, challenge: randomHex(this.#io, 32) });
    return new PeerLink(connection, { owner: this, clock: this.#io.clock, handshake }, this.#linkOptions);
  }

  /** Writes a trouble into the journal, whichever end found its cause, unless that was done before. */
  #report({ causes }: Peer, cause: string, trouble: string): void {
    if (causes.has(cause) || causes.size >= causesMax) return;
    causes.add(cause);
    this.#options.log("warn", trouble.replace(/\p{Cc}/gu, " ")); // a stranger may have worded it
  }
}
