/**
 * The unchanged Server on simulated machines, with the invariants watching.
 *
 * @module
 */

import type { ServerOptions } from "../../lib/server/options.ts";
import { Server } from "../../lib/server/server.ts";
import { DurableState } from "./durable_state.ts";
import { Invariants } from "./invariants.ts";
import type { Scenario } from "./scenario.ts";
import { Violation } from "./violation.ts";
import { watchWire } from "./wire.ts";
import type { Machine, World } from "./world.ts";

/** One node of the cluster. */
export interface Node {
  readonly id: number;
  readonly machine: Machine;
  readonly durable: DurableState;
  /** null: it is down. */
  server: Server | null;
  /** An operation of its disk was made to fail in this life, so it may stop by itself. */
  mayStop: boolean;
}

/** The nodes. */
export class Cluster {
  readonly nodes: Node[] = [];
  readonly invariants: Invariants;
  /** Called after a node has stopped by itself. */
  onStopped: (node: Node) => void = () => {};
  /** Called when a node is about to say for whom it votes, itself included. */
  onVote: (node: Node) => void = () => {};

  constructor(readonly world: World, readonly scenario: Scenario) {
    for (let id = 1; id <= scenario.nodes; id++) {
      const machine = world.machine(`n${id}`, (io) => {
        const server = new Server(this.#optionsOf(node), io);
        node.server = server;
        node.mayStop = false;
        this.invariants.onStart(id, server);
      });
      const durable = new DurableState(machine.name, machine.disk);
      const node: Node = { id, machine, durable, server: null, mayStop: false };
      this.nodes.push(node);
    }
    const durables = this.nodes.map((node) => node.durable);
    this.invariants = new Invariants(durables);
    watchWire(world.network, durables, (id) => this.onVote(this.nodes[id - 1]!));
  }

  /** The nodes that run. */
  get up(): Node[] {
    return this.nodes.filter((node) => node.server !== null);
  }

  /** The node that leads the latest term, or null. */
  get leader(): Node | null {
    let leader: Node | null = null;
    for (const node of this.up) {
      if (node.server!.raft.role !== "leader") continue;
      if (leader === null || node.server!.raft.currentTerm > leader.server!.raft.currentTerm) leader = node;
    }
    return leader;
  }

  /** Starts a node on what its disk holds. */
  start(node: Node): void {
    if (node.server !== null) return;
    try {
      node.machine.restart();
    } catch (error) {
      if (error instanceof Violation) throw error;
      throw new Violation(
        "running",
        `${node.machine.name} does not start: ${error instanceof Error ? error.stack : error}`,
      );
    }
  }

  /** Ends a node without warning. */
  crash(node: Node, kind: "power" | "kill"): void {
    if (node.server === null) return;
    node.server = null;
    this.invariants.onStop(node.id);
    node.machine.crash(kind);
  }

  /** Whether all nodes are up and hold the same, all of it committed and applied, under one leader. */
  get hasConverged(): boolean {
    const [first] = this.nodes;
    if (this.leader === null || this.up.length < this.nodes.length) return false;
    const { commitIndex } = first!.server!.raft;
    return this.nodes.every(({ server }) =>
      server!.raft.commitIndex === commitIndex && server!.raft.lastIndex === commitIndex &&
      server!.appliedIndex === commitIndex && server!.raft.leaderId === this.leader!.id
    );
  }

  /** In words, for the person who reads why a cluster did not converge. */
  describe(): string {
    return this.nodes.map(({ id, server, machine }) => {
      if (server === null) return `n${id} is down`;
      const { role, currentTerm, commitIndex, lastIndex, leaderId } = server.raft;
      const paused = machine.life?.paused ? " paused" : "";
      return `n${id}${paused} ${role} in term ${currentTerm} of leader ${leaderId}, ` +
        `committed ${commitIndex} of ${lastIndex}, applied ${server.appliedIndex}`;
    }).join("; ");
  }

  #optionsOf(node: Node): ServerOptions {
    const { id, machine } = node;
    const life = machine.life;
    return {
      nodeId: id,
      bindAddress: `n${id}:8080`,
      clientBindAddress: `n${id}:9080`,
      clientAddress: `n${id}:9080`,
      cluster: this.nodes.map((other) => ({ id: other.id, address: `n${other.id}:8080` })),
      timing: this.scenario.timing,
      limits: this.scenario.limits,
      log: (level, message) => this.world.note(machine.name, `${level}: ${message}`),
      onStop: (error) => {
        if (!node.mayStop) {
          throw new Violation("running", `${machine.name} stopped by itself: ${error.stack}`);
        }
        this.world.scheduler.schedule(0, null, `${machine.name} stops`, () => {
          if (machine.life !== life) return;
          this.crash(node, "power");
          this.onStopped(node);
        });
      },
    };
  }
}
