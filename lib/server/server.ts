/**
 * One node: the Raft core, the store, the files and both ports, held together by one loop. Events only note what
 * they bring; then `pump` takes one Ready after another and carries it out: messages, write, apply, reads, replies.
 * Nothing here waits, and all of the outside comes through Io, so the simulator runs this very code.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { Io, Listener, Timer } from "../io/io.ts";
import { Store } from "../kv/store.ts";
import { describeMessage } from "../protocol/peer_protocol.ts";
import type { Message } from "../raft/messages.ts";
import { OldEntryLost, Raft } from "../raft/raft.ts";
import type { Entry, Ready } from "../raft/types.ts";
import { Storage } from "../storage/storage.ts";
import { Clients } from "./clients.ts";
import { LogWriter } from "./log_writer.ts";
import { DiskWatch } from "./disk_watch.ts";
import { describeDamage, nextIdentity, NodeIdentity } from "./identity.ts";
import { Joining } from "./joining.ts";
import { raftOptions, type ServerOptions, tickMs } from "./options.ts";
import { PeerLinks } from "./peer_links.ts";
import { Rounds } from "./rounds.ts";
import { Snapshotter } from "./snapshotter.ts";
import { StateMachine } from "./state_machine.ts";
import { RoleJournal, statusReply } from "./status.ts";

/** One node. */
export class Server {
  /** The protocol's state; for others to look at only. */
  readonly raft: Raft;
  readonly #options: ServerOptions;
  readonly #io: Io;
  readonly #storage: Storage;
  readonly #writer: LogWriter;
  readonly #clients: Clients;
  readonly #identity: NodeIdentity;
  readonly #snapshotter: Snapshotter;
  readonly #disk: DiskWatch;
  readonly #listeners: Listener[] = [];
  readonly #timers: Timer[] = [];
  readonly #startedAt: number;
  /** null until the folder is ready. */
  #links: PeerLinks | null = null;
  #joining: Joining | null = null;
  readonly #machine: StateMachine;
  readonly #rounds: Rounds;
  readonly #roles: RoleJournal;
  #isPumping = false;
  #closing: { deadline: number; dones: (() => void)[] } | null = null;
  /** Nothing is taken, said or written any more. */
  #isOver = false;
  #isStopped = false;

  /**
   * Starts a node on its folder. Throws FolderError when the folder is not this node's or is damaged, and what the
   * network throws when a port cannot be bound.
   */
  constructor(options: ServerOptions, io: Io) {
    this.#options = options;
    this.#io = io;
    this.#startedAt = io.clock.now();
    this.#roles = new RoleJournal((text) => options.log("info", text));
    this.#rounds = new Rounds(io.clock, options.timing.eventLoopDelayMs, () => this.#pump());
    this.#machine = new StateMachine(options.limits.watchHistoryBytes);
    this.#storage = new Storage(io.disk, options.limits);
    let store = new Store();
    const recovered = this.#storage.recover(options.nodeId, () => store = new Store());
    for (const note of recovered.notes) options.log("info", note);
    const identity = nextIdentity(options, io, recovered);
    if (recovered.damage !== null) options.log("error", describeDamage(recovered.damage));
    const read = this.#storage.readEntries.bind(this.#storage);
    const { incarnation } = identity;
    this.raft = new Raft(raftOptions(options, { incarnation, random: () => io.random(), read }), recovered);
    this.#identity = new NodeIdentity(options, io, { raft: this.raft, identity, storage: this.#storage });
    this.#snapshotter = new Snapshotter(options, io, {
      raft: this.raft,
      storage: this.#storage,
      machine: this.#machine,
      clusterId: () => this.#identity.record.clusterId,
      onInstalled: (index) => this.#clients.onInstalled(index),
      onDiskError: (error) => this.#stop(error),
      onWork: () => this.#wake(),
    });
    if (recovered.snapshot !== null) this.#machine.takeOver(store, recovered.snapshot.lastIncludedIndex);
    this.#writer = new LogWriter(this.#storage, {
      onDurable: (messages) => this.#send(messages),
      onWritten: (writes) => this.#clients.onWritten(writes),
      onDiskError: (error) => this.#stop(error),
      soon: (f) => io.clock.soon(f),
    });
    this.#disk = new DiskWatch(options, {
      raft: this.raft,
      storage: this.#storage,
      writer: this.#writer,
      links: () => this.#links,
    });
    this.#clients = this.#makeClients();
    this.#listeners.push(
      io.network.listen(options.bindAddress, (connection) => {
        if (this.#links === null) connection.destroy(); // it will dial again
        else this.#links.accept(connection);
      }),
      io.network.listen(
        options.clientBindAddress,
        (connection) => this.#clients.connections.accept(connection),
      ),
    );
    this.#writer.whenIdle((done) => this.#storage.open(identity, done), () => this.#start());
  }

  /** What the committed entries made; for others to look at only. */
  get store(): Store {
    return this.#machine.store;
  }

  /** Index of the last entry that the store reflects. */
  get appliedIndex(): number {
    return this.#machine.appliedIndex;
  }

  /** The log is durable on this node's disk up to here. */
  get durableIndex(): number {
    return this.#storage.durableIndex;
  }

  /** So many frozen states of the store may be in use; for others to look at only. */
  get frozenStates(): number {
    return this.#clients.frozenStates + (this.#snapshotter.isTaking ? 1 : 0);
  }

  /** Its folder is whole, or as whole as a start can make it, and it speaks. */
  get isReady(): boolean {
    return this.#links !== null;
  }

  /** Its folder is known to be a member's: it takes part in decisions, also after a restart. */
  get isAdmitted(): boolean {
    return this.#storage.hardState.admittedIndex > 0;
  }

  /** It says and takes nothing any more; its disk may still have something to end. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Hands leadership over, finishes what is in flight, and calls `done` when nothing runs any more. */
  close(done: () => void): void {
    if (this.#closing !== null) {
      this.#closing.dones.push(done);
      return;
    }
    if (this.#isOver) return done();
    for (const listener of this.#listeners) listener.close();
    this.raft.transferLeadership();
    this.#closing = {
      deadline: this.#io.clock.now() + this.#options.timing.electionTimeoutMaxMs,
      dones: [done],
    };
    this.#wake();
  }

  /** The folder is ready: speak. */
  #start(): void {
    this.#links = new PeerLinks(this.#options, this.#io, {
      configurationIndex: () => this.raft.configurationIndex,
      hello: () => this.#identity.hello(!this.#writer.isFull),
      onHello: (hello) => this.#identity.judge(hello),
      onHelloAccepted: () => this.#joining?.takeFoundingStep(),
      onStarted: ({ nodeId, incarnation }) => this.raft.peerStarted(nodeId, incarnation),
      onMessage: (message) => this.#onMessage(message),
      onUnreachable: (id) => {
        this.raft.peerUnreachable(id);
        this.#wake();
      },
    });
    this.#joining = new Joining(this.#options, {
      raft: this.raft,
      identity: this.#identity,
      storage: this.#storage,
      writer: this.#writer,
      links: this.#links,
      wake: () => this.#wake(),
      stop: (error) => this.#stop(error),
    });
    this.#timers.push(this.#io.clock.every(tickMs(this.#options), () => this.#onTick()));
    this.#joining.takeFoundingStep();
    if (this.raft.configuration.members.length === 1) this.raft.campaign();
    this.#wake();
  }

  #onTick(): void {
    const now = this.#io.clock.now();
    this.raft.tick();
    this.#clients.onTick(now);
    this.#disk.onTick();
    this.#joining?.onTick(now);
    if (this.#isOver) return;
    if (this.#closing === null) this.#clients.keepFresh(now);
    this.#wake();
  }

  #onMessage(message: Message): string | null {
    if (!this.#identity.mayReceive) return null; // not founded yet: the sender will say it again
    if (this.#options.verbose) this.#options.log("debug", `got ${describeMessage(message)}`);
    const refusal = this.raft.receive(message);
    if (refusal === null) this.#clients.onMessage(message);
    this.#wake();
    if (refusal !== null) {
      this.#options.log("warn", `a message of node ${message.from} is refused: ${refusal}`);
    }
    return refusal;
  }

  #wake(): void {
    if (!this.#isPumping && !this.#isOver) this.#rounds.wake();
  }

  /** A round of work: takes what the protocol wants done until there is nothing more. True: there is more for another. */
  #pump(): boolean {
    if (this.#isOver) return false;
    this.#isPumping = true;
    this.#clients.askReads();
    let isSlice = false; // of a long log: others get their turn before the next one
    while (!isSlice && !this.#isOver) {
      this.raft.forgetLines(this.#writer.settledIndex);
      const ready = this.#takeReady();
      if (ready === null) break;
      this.#carryOut(ready);
      isSlice = ready.committed.length >= this.#options.limits.committedEntriesMax;
    }
    this.#isPumping = false;
    if (this.#isOver) return false;
    if (this.#closing === null) this.#snapshotter.takeWhenDue();
    const isMoreToTell = this.#clients.flush();
    this.#joining?.announceChanges();
    this.#roles.report(this.raft);
    this.#finishClosing();
    return isSlice || isMoreToTell;
  }

  /** What the protocol wants done; for it, it may look at old entries on the disk, and find them lost. */
  #takeReady(): Ready | null {
    try {
      return this.raft.takeReady();
    } catch (error) {
      if (!(error instanceof OldEntryLost)) throw error;
      if (this.#snapshotter.makesUpFor(error)) return this.#takeReady();
      this.#stop(error);
      return null;
    }
  }

  #carryOut(ready: Ready): void {
    this.#send(ready.messages);
    this.#clients.onReady(ready);
    if (ready.write !== null) this.#writer.submit(ready.write);
    for (const entry of ready.committed) this.#apply(entry);
  }

  /** Sends messages to other nodes, and those to this node itself to the protocol. */
  #send(messages: readonly Message[]): void {
    for (const message of messages) {
      if (message.to !== this.#options.nodeId) {
        this.#sendToPeer(message);
        continue;
      }
      if (message.type === "snapshotReceived") this.#snapshotter.onReceived(message.lastIncludedIndex);
      const refusal = this.raft.receive(message);
      assert(refusal === null, `a node accepts its own messages: ${refusal}`);
      this.#clients.onMessage(message);
    }
    this.#wake();
  }

  #sendToPeer(message: Message): void {
    const filled = message.type === "installSnapshot" ? this.#snapshotter.fill(message) : message;
    if (filled === null) return; // not there any more: the core begins anew when nothing moves
    if (this.#options.verbose) this.#options.log("debug", `sends ${describeMessage(filled)}`);
    this.#links?.send(filled);
  }

  #apply(entry: Entry): void {
    const result = this.#machine.apply(entry);
    this.#snapshotter.onApplied(entry);
    this.#clients.onApplied(entry, result);
  }

  /** The clients' side, and what it may see and use of this node. */
  #makeClients(): Clients {
    const { clientAddress, limits, nodeId } = this.#options;
    return new Clients(this.#options, this.#io, {
      raft: this.raft,
      machine: this.#machine,
      nodes: () => this.#identity.nodes(),
      clientAddressOf: (id) => id === nodeId ? clientAddress : this.#links?.clientAddressOf(id) ?? null,
      isDiskFull: () => this.#writer.isFull,
      isOverloaded: () => this.#writer.pendingBytes >= limits.uncommittedBytesMax || this.#closing !== null,
      status: (clients) =>
        statusReply({
          raft: this.raft,
          nodeId,
          machine: this.#machine,
          disk: { state: this.#disk.state, durableIndex: this.#storage.durableIndex },
          clients,
          identity: this.#identity,
          uptimeMs: Math.round(this.#io.clock.now() - this.#startedAt),
          isConnected: (id) => this.#links?.isConnected(id) ?? false,
        }),
      onWork: () => this.#wake(),
    });
  }

  /** On the way out: once others lead and nothing is in flight, or the time is over. */
  #finishClosing(): void {
    const closing = this.#closing;
    if (closing === null) return;
    const isOver = this.#io.clock.now() >= closing.deadline;
    const isDone = !this.raft.isTransferring && this.#clients.waiting === 0 && this.#writer.isIdle;
    if (!isDone && !isOver) return; // the next event, at the latest a tick, looks again
    this.#clients.connections.close();
    this.#isOver = true;
    this.#release();
    const end = (): void => {
      this.#closing = null;
      for (const done of closing.dones) done();
    };
    // A disk that is full or stuck is not waited for: what it was to take was never acknowledged.
    if (this.#disk.state === "ok") this.#writer.whenIdle((done) => this.#storage.close(done), end);
    else end();
  }

  /** Stops by itself: nothing is sent or acknowledged from here on. */
  #stop(error: Error): void {
    if (this.#isStopped) return;
    this.#isStopped = this.#isOver = true;
    this.#writer.stop();
    this.#release();
    this.#clients.connections.destroy();
    this.#options.onStop(error);
  }

  #release(): void {
    this.#snapshotter.stop();
    for (const timer of this.#timers) timer.cancel();
    for (const listener of this.#listeners) listener.close();
    this.#links?.close();
  }
}
