/**
 * One node: the Raft core, the store, the files and both ports, held together by one loop. Events only note what
 * they bring; then `pump` takes one Ready after another and carries it out: messages, write, apply, reads, replies.
 * Nothing here waits, and all of the outside comes through Io, so the simulator runs this very code.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { Io, Listener, Timer } from "../io/io.ts";
import type { Command } from "../kv/command.ts";
import { Store } from "../kv/store.ts";
import { describeMessage } from "../protocol/peer_protocol.ts";
import type { Message } from "../raft/messages.ts";
import { Raft } from "../raft/raft.ts";
import type { Entry, Ready } from "../raft/types.ts";
import { Storage } from "../storage/storage.ts";
import { ClientConnections } from "./client_connections.ts";
import { LogWriter } from "./log_writer.ts";
import { Freshness } from "./freshness.ts";
import { NodeIdentity } from "./identity.ts";
import { raftOptions, type ServerOptions, tickMs } from "./options.ts";
import { PeerLinks } from "./peer_links.ts";
import { PendingRequests } from "./pending_requests.ts";
import { answerRequest, type RequestContext } from "./requests.ts";
import { describeRole, statusReply } from "./status.ts";

/** One node. */
export class Server {
  /** The protocol's state; for others to look at only. */
  readonly raft: Raft;
  /** What the committed entries made; for others to look at only. */
  readonly store: Store = new Store();
  readonly #options: ServerOptions;
  readonly #io: Io;
  readonly #storage: Storage;
  readonly #writer: LogWriter;
  readonly #pending: PendingRequests;
  readonly #clients: ClientConnections;
  readonly #identity: NodeIdentity;
  readonly #freshness: Freshness;
  readonly #listeners: Listener[] = [];
  readonly #timers: Timer[] = [];
  readonly #startedAt: number;
  /** null until the folder is ready. */
  #links: PeerLinks | null = null;
  #appliedIndex = 0;
  #isPumpDue = false;
  #isPumping = false;
  /** What the journal said last about who leads. */
  #reportedRole = "";
  #closing: { deadline: number; dones: (() => void)[] } | null = null;
  /** Nothing is taken, said or written any more. */
  #isOver = false;
  /** The disk failed, or the folder turned out to be the wrong one. */
  #isStopped = false;

  /**
   * Starts a node on its folder. Throws FolderError when the folder is not this node's or is damaged, and what the
   * network throws when a port cannot be bound.
   */
  constructor(options: ServerOptions, io: Io) {
    this.#options = options;
    this.#io = io;
    this.#startedAt = io.clock.now();
    this.#storage = new Storage(io.disk, options.limits);
    const recovered = this.#storage.recover(options.nodeId);
    for (const note of recovered.notes) options.log("info", note);
    this.raft = new Raft(raftOptions(options, () => io.random()), recovered);
    this.#identity = new NodeIdentity(options, io, { raft: this.raft, identity: recovered.identity });
    this.#writer = new LogWriter(this.#storage, {
      onDurable: (messages) => this.#send(messages),
      onDiskError: (error) => this.#stop(error),
    });
    this.#pending = new PendingRequests(options.limits.requestTimeoutMs);
    this.#freshness = new Freshness(this.raft, this.#pending, options.timing.heartbeatIntervalMs);
    const context = this.#requestContext();
    this.#clients = new ClientConnections(
      { clock: io.clock, limits: options.limits, delayMs: options.timing.clientDelayMs },
      {
        onRequest: (request, answer, order) => {
          answerRequest(request, answer, { context, order });
          this.#wake();
        },
        onWork: () => this.#wake(),
      },
    );
    this.#listeners.push(
      io.network.listen(options.bindAddress, (connection) => {
        if (this.#links === null) connection.destroy(); // it will dial again
        else this.#links.accept(connection);
      }),
      io.network.listen(options.clientBindAddress, (connection) => this.#clients.accept(connection)),
    );
    this.#writer.whenIdle(
      (done) => this.#storage.repair(done),
      () => this.#saveIdentity(() => this.#start()),
    );
  }

  /** Index of the last entry that the store reflects. */
  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  /** The log is durable on this node's disk up to here. */
  get durableIndex(): number {
    return this.#storage.durableIndex;
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

  #saveIdentity(then: () => void): void {
    this.#writer.whenIdle((done) => this.#storage.saveIdentity(this.#identity.record, done), then);
  }

  /** The folder is ready: speak. */
  #start(): void {
    const { clock } = this.#io;
    this.#links = new PeerLinks(this.#options, this.#io, {
      hello: () => this.#identity.hello(),
      onHello: (hello) => this.#identity.judge(hello),
      onHelloAccepted: () => this.#takeFoundingStep(),
      onMessage: (message) => this.#onMessage(message),
      onUnreachable: (id) => {
        this.raft.peerUnreachable(id);
        this.#wake();
      },
    });
    this.#timers.push(clock.every(tickMs(this.#options), () => this.#onTick()));
    this.#takeFoundingStep();
    if (this.raft.configuration.members.length === 1) this.raft.campaign();
    this.#wake();
  }

  /** Brings the founding of the cluster on as far as it goes. Each durable step is announced and leads to the next. */
  #takeFoundingStep(): void {
    if (this.#links === null || this.#isOver) return;
    const step = this.#identity.nextStep(this.#links.liveHellos());
    if (step === null) return;
    switch (step.do) {
      case "stop":
        return this.#stop(step.error);
      case "save":
        return this.#saveIdentity(() => {
          this.#identity.isSaved();
          this.#links!.announce();
          this.#takeFoundingStep();
        });
      case "founded":
        this.#links.announce();
        this.#wake();
        return this.#takeFoundingStep();
      case "campaign":
        this.raft.campaign();
        return this.#wake();
    }
  }

  #onTick(): void {
    const now = this.#io.clock.now();
    this.raft.tick();
    this.#pending.expire(now);
    this.#watchDisk();
    if (this.#closing === null) this.#freshness.onTick(now);
    this.#wake();
  }

  /**
   * After a second without writes the state file vouches for the log, so that rot of its end is found out. A leader
   * whose disk hangs hands over: its followers would never miss it, and its clients would only be told to wait.
   */
  #watchDisk(): void {
    const { isIdle } = this.#writer;
    const stillTicks = this.#writer.onTick();
    const stillMs = stillTicks * tickMs(this.#options);
    if (isIdle && stillTicks === Math.ceil(1000 / tickMs(this.#options))) {
      this.#writer.whenIdle((done) => this.#storage.flushMark(done), () => {});
    }
    const isHanging = !isIdle && stillMs >= 2 * this.#options.timing.electionTimeoutMaxMs;
    if (isHanging && this.raft.role === "leader" && !this.raft.isTransferring) {
      this.#options.log(
        "error",
        `the disk has not finished a write for ${stillMs} ms: leadership is handed over`,
      );
      this.raft.transferLeadership();
    }
  }

  #onMessage(message: Message): string | null {
    if (this.raft.configuration.members.length === 0) return null; // not founded yet: the sender will say it again
    if (this.#options.verbose) this.#options.log("debug", `got ${describeMessage(message)}`);
    const refusal = this.raft.receive(message);
    if (message.type === "appendEntries" && refusal === null) {
      this.#freshness.onAppendEntries(message, this.#io.clock.now());
    }
    this.#wake();
    if (refusal !== null) {
      this.#options.log("warn", `a message of node ${message.from} is refused: ${refusal}`);
    }
    return refusal;
  }

  /** Has the loop run soon, once for all that happens until then. */
  #wake(): void {
    if (this.#isPumpDue || this.#isPumping || this.#isOver) return;
    this.#isPumpDue = true;
    const { eventLoopDelayMs } = this.#options.timing;
    if (eventLoopDelayMs === 0) this.#io.clock.soon(() => this.#pump());
    else this.#io.clock.after(eventLoopDelayMs, () => this.#pump());
  }

  /** The loop: takes what the protocol wants done until there is nothing more. */
  #pump(): void {
    this.#isPumpDue = false;
    if (this.#isOver) return;
    this.#isPumping = true;
    this.#pending.askReads((attempt) => this.raft.read(attempt));
    let isSlice = false; // of a long log: others get their turn before the next one
    while (!isSlice && !this.#isOver) {
      const ready = this.raft.takeReady();
      if (ready === null) break;
      this.#carryOut(ready);
      isSlice = ready.committed.length >= this.#options.limits.committedEntriesMax;
    }
    this.#isPumping = false;
    if (this.#isOver) return;
    if (isSlice) this.#io.clock.after(0, () => this.#wake());
    this.#freshness.onApplied(this.#appliedIndex);
    this.#clients.flush();
    this.#report();
    this.#finishClosing();
  }

  #carryOut({ messages, write, committed, reads }: Ready): void {
    this.#send(messages);
    if (write !== null) this.#writer.submit(write);
    for (const { id, readIndex } of reads) this.#pending.onReadResult(id, readIndex);
    for (const entry of committed) this.#apply(entry);
  }

  /** Sends messages to other nodes, and those to this node itself to the protocol. */
  #send(messages: readonly Message[]): void {
    for (const message of messages) {
      if (message.to !== this.#options.nodeId) {
        if (this.#options.verbose) this.#options.log("debug", `sends ${describeMessage(message)}`);
        this.#links?.send(message);
        continue;
      }
      const refusal = this.raft.receive(message);
      assert(refusal === null, `a node accepts its own messages: ${refusal}`);
    }
    this.#wake();
  }

  #apply(entry: Entry): void {
    assert(entry.index === this.#appliedIndex + 1, "entries are applied in order, each once");
    this.#appliedIndex = entry.index;
    const result = entry.kind === "command" ? this.store.apply(entry.command as Command, entry.index) : null;
    this.#pending.onApplied(entry, result);
  }

  /** What requests may see and use of this node. */
  #requestContext(): RequestContext {
    const { clientAddress, limits, nodeId } = this.#options;
    const { clock } = this.#io;
    return {
      raft: this.raft,
      store: this.store,
      pending: this.#pending,
      clock,
      nodes: () => this.#identity.nodes(),
      clientAddressOf: (id) => id === nodeId ? clientAddress : this.#links?.clientAddressOf(id) ?? null,
      appliedIndex: () => this.#appliedIndex,
      ageMs: () => this.#freshness.ageMs(clock.now()),
      isOverloaded: () => this.#writer.pendingBytes >= limits.uncommittedBytesMax || this.#closing !== null,
      status: () =>
        statusReply({
          raft: this.raft,
          nodeId,
          appliedIndex: this.#appliedIndex,
          durableIndex: this.#storage.durableIndex,
          keys: this.store.size,
          clients: this.#clients.size,
          waitingFor: this.#identity.waitingFor,
          uptimeMs: Math.round(clock.now() - this.#startedAt),
          nodes: this.#identity.nodes(),
          isConnected: (id) => this.#links?.isConnected(id) ?? false,
        }),
    };
  }

  /** Tells the journal who leads when that has changed. */
  #report(): void {
    const text = describeRole(this.raft);
    if (text === this.#reportedRole || this.raft.currentTerm === 0) return;
    this.#reportedRole = text;
    this.#options.log("info", text);
  }

  /** On the way out: once others lead and nothing is in flight, or the time is over. */
  #finishClosing(): void {
    const closing = this.#closing;
    if (closing === null) return;
    const isOver = this.#io.clock.now() >= closing.deadline;
    const isDone = !this.raft.isTransferring && this.#pending.size === 0 && this.#writer.isIdle;
    if (!isDone && !isOver) return; // the next event, at the latest a tick, looks again
    this.#clients.close();
    this.#isOver = true;
    this.#release();
    this.#writer.whenIdle((done) => this.#storage.close(done), () => {
      this.#closing = null;
      for (const done of closing.dones) done();
    });
  }

  /** Stops by itself: nothing is sent or acknowledged from here on. */
  #stop(error: Error): void {
    if (this.#isStopped) return;
    this.#isStopped = this.#isOver = true;
    this.#writer.stop();
    this.#release();
    this.#clients.destroy();
    this.#options.onStop(error);
  }

  #release(): void {
    for (const timer of this.#timers) timer.cancel();
    for (const listener of this.#listeners) listener.close();
    this.#links?.close();
  }
}
