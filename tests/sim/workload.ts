/**
 * The clients of a simulated cluster. They speak the real protocol over the fake network, several requests in
 * flight on several connections, and behave as clients do: they follow hints, give up waiting, try other nodes,
 * send a session's write again until it is answered, and close connections at any moment.
 *
 * @module
 */

import type { Connection, Io } from "../../lib/io/io.ts";
import { LineSplitter } from "../../lib/protocol/lines.ts";
import type { Attempt, History, Reply, Request } from "./history.ts";
import type { Random } from "./random.ts";
import { Violation } from "./violation.ts";

/** What clients do. */
export interface Workload {
  clients: number;
  /** Clients that only watch. */
  watchers: number;
  /** Requests that one client has under way at once. */
  inFlight: number;
  /** Average time between an answer and the next request. */
  thinkMsMean: number;
  /** Time without an answer after which a client goes on. */
  timeoutMs: number;
  keys: number;
  /** How often each operation is chosen. */
  weights: Record<
    "put" | "delete" | "increment" | "deleteRange" | "txn" | "get" | "staleGet" | "list",
    number
  >;
  /** The part of writes that belong to a session. */
  sessionChance: number;
  /** The part of puts that name a version. */
  conditionChance: number;
  /** The part of puts whose key goes by itself. */
  ttlChance: number;
  /** Values have up to so many characters. */
  valueCharsMax: number;
}

/** A connection to one node, and the requests on it, oldest first. */
interface Link {
  connection: Connection;
  splitter: LineSplitter;
  waiting: Attempt[];
}

/** What an attempt leads to, told once. */
type OnOutcome = (reply: Reply | null) => void;

const decoder = new TextDecoder();
const encoder = new TextEncoder();
/** Some keys sort differently in UTF-16 than in UTF-8; some have in them what separates things elsewhere. */
export const keyPrefixes: readonly string[] = ["a:", "b\n", "\u{1f511}", "\uffee"];
/** Their values are integers: they are only ever added to and deleted. */
const counters = ["n1", "n2", "n3"];

/** One client. */
export class Client {
  /** Answered and abandoned requests alike: nothing is under way. */
  get isIdle(): boolean {
    return this.#underWay === 0;
  }

  readonly #links = new Map<number, Link>();
  readonly #outcomes = new Map<number, OnOutcome>();
  #underWay = 0;
  #stopped = false;
  #leader: number;
  #session: string | null = null;
  #nextSeq = 1;
  #values = 0;
  #attempts = 0;

  constructor(
    readonly name: string,
    readonly io: Io,
    readonly options: { workload: Workload; nodes: number; history: History; random: Random },
  ) {
    this.#leader = 1 + options.random.below(options.nodes);
  }

  /** Sends requests from now on. */
  start(): void {
    for (let i = 0; i < this.options.workload.inFlight; i++) this.#think();
  }

  /** Starts no more requests; those under way are carried through. */
  stop(): void {
    this.#stopped = true;
  }

  /** Writes once more, and tries until it is acknowledged. */
  probe(done: () => void): void {
    const { random } = this.options;
    const tryOnce = (): void => {
      const request: Request = { op: "put", key: "probe", value: this.#newValue() };
      const node = this.#leader;
      this.#send(node, this.#attempt(request), (reply) => {
        this.#learn(reply, node);
        if (reply?.ok) done();
        else this.io.clock.after(random.between(10, 50), tryOnce);
      });
    };
    tryOnce();
  }

  #think(): void {
    const { random, workload } = this.options;
    this.io.clock.after(random.exponential(workload.thinkMsMean), () => {
      if (this.#stopped) return;
      this.#underWay++;
      this.#choose(() => {
        this.#underWay--;
        this.#think();
      });
    });
  }

  #choose(done: () => void): void {
    const { random, workload } = this.options;
    const kind = random.weighted(workload.weights);
    const key = this.#key();
    if (kind === "list") {
      const list = { prefix: random.pick(["", ...keyPrefixes]), limit: 1 + random.below(20) };
      return this.#list(list, done);
    }
    if (kind === "staleGet") return this.#read({ op: "get", key, consistency: "stale" }, done);
    if (kind === "get") return this.#read({ op: "get", key }, done);
    const inSession = random.chance(workload.sessionChance);
    if (inSession && this.#session === null) return this.#openSession(done);
    const request = this.#newWrite(kind, key);
    if ((kind === "put" || kind === "delete") && random.chance(0.2)) request.previous = true;
    if (kind === "put" && random.chance(workload.conditionChance)) request.ifVersion = this.#version(key);
    // Nobody looks for the entry of an empty value, as for that of a refused put.
    if (kind === "put" && request.ifVersion === undefined && this.#values % 8 === 0) request.value = "";
    if (kind === "put" && random.chance(workload.ttlChance)) {
      request.ttlMs = Math.ceil(random.between(1, 3000));
    }
    if (!inSession) return this.#writePlainly(request, done);
    request.session = this.#session!;
    request.seq = this.#nextSeq++;
    // Now and then a client starts over; what the old session still has under way goes on.
    if (random.chance(0.01)) this.#session = null;
    this.#writeOnce(request, this.options.history.newestKnown, done);
  }

  #newWrite(kind: "put" | "delete" | "increment" | "deleteRange" | "txn", key: string): Request {
    const { random } = this.options;
    const counter = random.pick(counters);
    const by = `${random.chance(0.5) ? "" : "-"}1${random.below(1e9)}${random.below(1e9)}`;
    switch (kind) {
      case "put":
        return { op: "put", key, value: this.#newValue() };
      case "delete":
        return { op: "delete", key };
      case "increment":
        return { op: "increment", key: counter, by };
      case "deleteRange":
        return { op: "deleteRange", prefix: random.pick(["n", ...keyPrefixes.map((it) => `${it}1`)]) };
      case "txn":
        return {
          op: "txn",
          if: [{ key, version: this.#version(key) }],
          then: [
            { op: "increment", key: counter, by },
            { op: "put", key, value: this.#newValue() },
            { op: "get", key: this.#key() },
          ],
          else: [{ op: "get", key }, { op: "deleteRange", prefix: counter }],
        };
    }
  }

  /** The version of a key as far as anybody was told, or sometimes that of no key. */
  #version(key: string): number {
    const { history, random } = this.options;
    const { index, value } = history.model.at(key, history.newestKnown);
    return value === null || random.chance(0.1) ? 0 : index;
  }

  /** A read may be asked again and again; each time is a read of its own. */
  #read(request: Request, done: () => void): void {
    const { random, nodes } = this.options;
    this.#send(1 + random.below(nodes), this.#attempt(request), (reply) => {
      if (reply === null || !reply.ok) this.io.clock.after(random.between(1, 50), done);
      else done();
    });
  }

  /** The pages of a list, for as long as its node has them. */
  #list(list: { prefix: string; limit: number }, done: () => void): void {
    const { random, nodes } = this.options;
    const node = 1 + random.below(nodes);
    const turn = (attempt: Attempt): void =>
      this.#send(node, attempt, (reply) => {
        if (reply === null || !reply.ok) return void this.io.clock.after(random.between(1, 50), done);
        const { next, entries, index } = reply;
        if (typeof next !== "string" || random.chance(0.2)) return done();
        const page = this.#attempt({ op: "list", cursor: next });
        page.list = { ...list, lastKey: entries!.at(-1)!.key, index };
        this.io.clock.after(random.exponential(20), () => turn(page));
      });
    turn(this.#attempt({ op: "list", ...list }));
  }

  /** Without a session a write is tried again only when it certainly did not happen, under a new value. */
  #writePlainly(request: Request, done: () => void): void {
    const { random } = this.options;
    const node = this.#target();
    this.#send(node, this.#attempt(request), (reply) => {
      this.#learn(reply, node);
      const { code, definite } = reply?.error ?? { code: "", definite: false };
      const again = definite && code !== "conditionFailed" && !this.#stopped && random.chance(0.9);
      if (!again) return done();
      if (request.value !== undefined) request = { ...request, value: this.#newValue() };
      this.io.clock.after(random.between(0, 30), () => this.#writePlainly(request, done));
    });
  }

  /** With a session a write is sent until it is answered; it must happen once. */
  #writeOnce(request: Request, floor: number, done: () => void): void {
    const { random } = this.options;
    const node = this.#target();
    this.#send(node, this.#attempt(request, floor), (reply) => {
      this.#learn(reply, node);
      if (reply?.ok || reply?.error?.code === "conditionFailed" || reply?.error?.code === "seqTooOld") {
        return done();
      }
      this.io.clock.after(random.between(0, 30), () => this.#writeOnce(request, floor, done));
    });
  }

  #openSession(done: () => void): void {
    const node = this.#target();
    this.#send(node, this.#attempt({ op: "session" }), (reply) => {
      this.#learn(reply, node);
      if (reply?.ok && this.#session === null) {
        this.#session = reply.session!;
        this.#nextSeq = 1;
      }
      done();
    });
  }

  /** The node to write to: where the leader is thought to be, sometimes another one. */
  #target(): number {
    const { random, nodes } = this.options;
    return random.chance(0.1) ? 1 + random.below(nodes) : this.#leader;
  }

  /** What came of asking `node` tells where to ask next. */
  #learn(reply: Reply | null, node: number): void {
    const { random, nodes } = this.options;
    if (reply?.error?.leader) this.#leader = reply.error.leader.id;
    else if (reply?.ok) return;
    else if (this.#stopped) { // no time is left for bad luck: one node after another
      if (node === this.#leader) this.#leader = 1 + node % nodes;
    } else if (random.chance(0.7)) this.#leader = 1 + random.below(nodes);
  }

  #key(): string {
    const { random, workload } = this.options;
    const number = random.below(workload.keys);
    return `${keyPrefixes[number % keyPrefixes.length]}${number}`;
  }

  #newValue(): string {
    const { random, workload } = this.options;
    const padding = "v".repeat(random.below(workload.valueCharsMax));
    const quote = ++this.#values % 8 === 4 ? '"' : " "; // some values cannot stand in JSON as they are
    return `${this.name}.${this.#values}${quote}${padding}`;
  }

  #attempt(request: Request, floor = this.options.history.newestKnown): Attempt {
    return {
      id: ++this.#attempts,
      client: this.name,
      request,
      calledAt: this.io.clock.now(),
      floor,
      returnedAt: null,
      outcome: "open",
      index: 0,
    };
  }

  #send(node: number, attempt: Attempt, onOutcome: OnOutcome): void {
    const { history, workload, random } = this.options;
    const link = this.#link(node);
    const timeout = this.io.clock.after(workload.timeoutMs, () => {
      // The answer may still come, and must still be true; or the client has had enough of this connection.
      if (random.chance(0.5)) link.connection.destroy();
      this.#end(attempt, null);
    });
    this.#outcomes.set(attempt.id, (reply) => {
      timeout.cancel();
      onOutcome(reply);
    });
    history.onCall(attempt);
    link.waiting.push(attempt);
    link.connection.send(encoder.encode(`${JSON.stringify({ ...attempt.request, id: attempt.id })}\n`));
    if (random.chance(0.003)) random.chance(0.5) ? link.connection.close() : link.connection.destroy();
  }

  /** The first outcome of an attempt counts; null: nobody knows. */
  #end(attempt: Attempt, reply: Reply | null): void {
    if (reply === null && attempt.outcome === "open") attempt.outcome = "unknown";
    const onOutcome = this.#outcomes.get(attempt.id);
    this.#outcomes.delete(attempt.id);
    onOutcome?.(reply);
  }

  #link(node: number): Link {
    const known = this.#links.get(node);
    if (known !== undefined) return known;
    const connection = this.io.network.connect(`n${node}:9080`);
    const link: Link = { connection, splitter: new LineSplitter(8 << 20), waiting: [] };
    this.#links.set(node, link);
    connection.onData = (bytes) => void link.splitter.push(bytes, (line) => this.#onLine(link, line));
    connection.onEnd = () => connection.close();
    connection.onClose = () => {
      if (this.#links.get(node) === link) this.#links.delete(node);
      for (const attempt of link.waiting) this.#end(attempt, null);
    };
    return link;
  }

  #onLine(link: Link, line: Uint8Array): void {
    const reply = JSON.parse(decoder.decode(line)) as Reply;
    const attempt = link.waiting.shift();
    if (attempt?.id !== reply.id) {
      throw new Violation(
        "replies",
        `${this.name} waits for the answer to ${JSON.stringify(attempt)} and got ${JSON.stringify(reply)}`,
      );
    }
    this.options.history.onReply(attempt, reply, this.io.clock.now());
    this.#end(attempt, reply);
  }
}
