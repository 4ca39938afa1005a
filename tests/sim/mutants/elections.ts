/**
 * Bugs of elections and terms (lib/raft/election.ts, transfer.ts).
 *
 * @module
 */

import type { Mutant } from "./mutant.ts";

/** By name. */
export const elections: Record<string, Mutant> = {
  "vote-not-persisted": {
    bug: "a node's disk never learns for whom it voted (paper figure 2)",
    classes: ["BE1", "S6"],
    changes: [{
      file: "lib/raft/ready.ts",
      from: "{ currentTerm: term, votedFor, admittedIndex }",
      to: "{ currentTerm: term, votedFor: null, admittedIndex }",
    }],
  },
  "vote-before-fsync": {
    bug: "a vote is given before this node's disk has it",
    classes: ["BE1"],
    changes: [{
      file: "lib/raft/election.ts",
      from: '  sendAfterWrite(state, {\n    type: "requestVoteResponse",',
      to: "  const queue = request.from === state.options.id ? state.outboxAfterWrite : state.outbox;\n" +
        '  queue.push({\n    type: "requestVoteResponse",',
    }],
  },
  "term-before-fsync": {
    bug: "a node speaks in a term that its disk does not have yet (rule of order 1)",
    classes: ["BE1"],
    changes: [{
      file: "lib/raft/state.ts",
      from: "if (state.durableTerm === state.currentTerm) state.outbox.push(message);",
      to: "if (state.durableTerm <= state.currentTerm) state.outbox.push(message);",
    }],
  },
  "leader-votes-again": {
    bug: "a leader forgets that it voted for itself, and gives a rival its vote in the same term",
    classes: ["S1", "BE2"],
    changes: [{
      file: "lib/raft/replication.ts",
      from: "  state.role = leader;\n",
      to: "  state.role = leader;\n  state.votedFor = null;\n",
    }, {
      file: "lib/raft/election.ts",
      from: "(state.votedFor === null && leaderOf(state) === null)",
      to: "(state.votedFor === null && leaderOf(state) !== -1)",
    }],
  },
  "second-vote": {
    bug: "a node votes for whoever asks, as often as it is asked",
    classes: ["BE2"],
    changes: [{
      file: "lib/raft/election.ts",
      from: "state.votedFor === request.from || (state.votedFor === null && leaderOf(state) === null)",
      to: "state.votedFor !== request.from || leaderOf(state) === null || leaderOf(state) !== null",
    }],
  },
  "late-votes-count": {
    bug: "a candidate counts votes that were given to it in an earlier term",
    classes: ["BE2"],
    changes: [{
      file: "lib/raft/election.ts",
      from: 'role.name !== "candidate" || response.term !== state.currentTerm',
      to: 'role.name !== "candidate"',
    }],
  },
  "log-not-compared": {
    bug: "a node votes for candidates whose log is behind its own (paper 5.4.1)",
    classes: [],
    changes: [{
      file: "lib/raft/election.ts",
      from: "state.log.isUpToDate({ index: request.lastLogIndex, term: request.lastLogTerm })",
      to: "request.lastLogIndex >= 0",
    }],
  },
  "no-pre-vote": {
    bug: "a node that hears no leader stands for election without asking whether it could win (thesis 9.6)",
    classes: ["BE3"],
    changes: [{
      file: "lib/raft/election.ts",
      from: '  state.role = { name: "preCandidate", votes: new Map([[state.options.id, true]]) };\n',
      to: "  if (Number(state.tick) >= 0) return startElection(state, false);\n" +
        '  state.role = { name: "preCandidate", votes: new Map([[state.options.id, true]]) };\n',
    }],
  },
  "no-stickiness": {
    bug: "a node that hears its leader helps others to depose it (thesis 4.2.3)",
    classes: ["BE3", "BE4"],
    changes: [{
      file: "lib/raft/election.ts",
      from: "state.electionElapsed < state.options.electionTimeoutTicks.min;",
      to: "state.electionElapsed < 0;",
    }],
  },
  "no-check-quorum": {
    bug: "a leader that hears nobody any more goes on leading (thesis 6.2)",
    classes: ["BE4"],
    changes: [{
      file: "lib/raft/election.ts",
      from: "if (heard < quorumSize(configuration)) becomeFollower",
      to: "if (heard < 0) becomeFollower",
    }],
  },
  "refusals-teach-nothing": {
    bug: "a candidate that is refused a pre-vote does not follow the refuser's later term (openraft #1796)",
    classes: ["BE5"],
    changes: [{
      file: "lib/raft/receive.ts",
      from: 'message.type === "requestVoteResponse" && message.preVote && message.voteGranted',
      to: 'message.type === "requestVoteResponse" && message.preVote',
    }],
  },
  "transfer-without-end": {
    bug:
      "a leader does not tell its successor to take over, and takes no proposals until it has (hashicorp/raft #696)",
    classes: ["BE6"],
    changes: [{
      file: "lib/raft/transfer.ts",
      from: "transfer.ticks >= state.options.electionTimeoutTicks.max || !isMember",
      to: "!isMember",
    }, {
      file: "lib/raft/transfer.ts",
      from: "  transfer.timeoutNowSent = true;\n",
      to: "  transfer.timeoutNowSent = true;\n  if (transfer.timeoutNowSent) return;\n",
    }],
  },
  "equal-timeouts": {
    bug: "all nodes wait equally long for a leader, and split the votes (paper 5.2)",
    classes: ["BE7"],
    changes: [{
      file: "lib/raft/state.ts",
      from: "state.electionTimeout = min + Math.floor(state.options.random() * (max - min));",
      to: "state.electionTimeout = min + Math.floor(state.options.random() * 0 * max);",
    }],
  },
};
